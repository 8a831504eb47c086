/** Limits of one user: each is an amount, the value of the user's role, or no limit. */

import { t } from "../language/administration/texts.js";
import type { Failure } from "../server/errors.js";
import { filled } from "../widgets/dialog.js";
import { element } from "../widgets/dom.js";
import { Entry, placed } from "../widgets/fields.js";
import { badge } from "../widgets/resourcelist.js";
import { sameRule, type Rule, type Unit } from "./amounts.js";

const KINDS = [
  ["role", t("ruleRole")],
  ["most", t("ruleMost")],
  ["unlimited", t("ruleUnlimited")],
] as const;

export class AmountEntry extends Entry<HTMLInputElement> {
  readonly #unit: Unit;
  readonly #least: bigint;
  readonly #before: Rule;
  /** Chooses the kind of limit. */
  readonly choice: HTMLSelectElement;

  /** `now`: the limit in effect; undefined if there is no limit. `least`: the smallest amount. */
  constructor(label: string, unit: Unit, before: Rule, now: bigint | undefined, least = 0n) {
    const control = element("input", { type: "text", inputmode: "decimal", autocomplete: "off", maxlength: "40" });
    const kind = element("select", { "aria-label": t("whichLimit", { label }), change: () => this.#chosen() }, ...KINDS.map(([value, text]) => element("option", { value }, text)));
    super(label, control, "", kind);
    this.#unit = unit;
    this.#least = least;
    this.#before = before;
    this.choice = kind;
    kind.value = before.kind;
    control.value = before.kind === "most" ? unit.text(before.amount) : "";
    control.placeholder = before.kind !== "role" ? "" : now === undefined ? t("noLimit") : unit.text(now);
    control.addEventListener("input", () => {
      this.choice.value = "most";
      this.#check();
    });
    control.addEventListener("invalid", () => this.refuse(control.validationMessage));
    this.#check();
  }

  /** The limit that the fields show. The form checks the amount before it calls its act. */
  get rule(): Rule {
    const kind = this.choice.value as Rule["kind"];
    return kind === "most" ? { kind, amount: this.#unit.parse(this.control.value) ?? 0n } : { kind };
  }

  get changed(): boolean {
    return !sameRule(this.rule, this.#before);
  }

  #chosen(): void {
    if (this.#limits) this.control.focus();
    else this.control.value = "";
    this.refuse("");
    this.#check();
  }

  /** Whether the amount is the limit. */
  get #limits(): boolean {
    return this.choice.value === "most";
  }

  #check(): void {
    const amount = this.#unit.parse(this.control.value);
    const wrong = this.#limits && (amount === undefined || amount < this.#least);
    this.control.setCustomValidity(wrong ? t("enterAmount", { example: this.#unit.example }) : "");
  }
}

/** A limit in a dialog: its field, the field's path in an update mask, and the control. */
export type LimitRow<Field> = readonly [field: Field, path: string, entry: AmountEntry];

/** What the dialog about a user's limits needs. `places`: the paths at which the server's errors name a limit. `save` gets the limits that changed. */
export interface LimitsForm<Field> {
  readonly title: string;
  readonly about: string;
  readonly rows: readonly [LimitRow<Field>, ...LimitRow<Field>[]];
  readonly places: (path: string) => readonly string[];
  readonly save: (changed: readonly LimitRow<Field>[]) => Promise<unknown>;
}

/** Ask for limits, and save those that changed. Resolves to whether the administrator saved. */
export function editAmounts<Field>({ title, about, rows, places, save }: LimitsForm<Field>): Promise<boolean> {
  const act = async () => {
    const changed = rows.filter(([, , entry]) => entry.changed);
    if (changed.length > 0) await save(changed);
  };
  const named = Object.fromEntries(rows.flatMap(([, path, entry]) => places(path).map((place) => [place, entry])));
  const explain = (failure: Failure) => Promise.resolve(failure.reason === "ETAG_MISMATCH" ? t("limitsChanged") : placed(named, failure));
  return filled({ title, action: t("save"), fields: [element("p", { class: "note" }, about), ...rows.map(([, , one]) => one.root)], first: rows[0][2].choice, act, explain });
}

/** A table of limits. The first cell of a row is its heading; `exception` marks a limit that was set for this user alone. */
export function amountsTable(label: string, heads: readonly string[], rows: readonly { readonly cells: readonly string[]; readonly exception: boolean }[]): HTMLElement {
  const drawn = rows.map(({ cells: [name = "", ...others], exception }) => {
    const cells = others.map((text) => element("td", {}, text));
    if (exception) cells.at(-1)?.append(" ", badge(t("exception")));
    return element("tr", {}, element("th", { scope: "row" }, name), ...cells);
  });
  const head = element("tr", {}, ...heads.map((name) => element("th", { scope: "col" }, name)));
  return element("table", { class: "amounts", "aria-label": label }, element("thead", {}, head), element("tbody", {}, ...drawn));
}
