/** A field for a limit of one user: an amount, the value of the user's role, or no limit. */

import { sameRule, type Rule, type Unit } from "./amounts.js";
import { element } from "../widgets/dom.js";
import { Entry } from "../widgets/fields.js";

const KINDS = [
  ["role", "The role’s limit"],
  ["most", "At most"],
  ["unlimited", "No limit"],
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
    const kind = element("select", { "aria-label": `${label}: which limit`, change: () => this.#chosen() }, ...KINDS.map(([value, text]) => element("option", { value }, text)));
    super(label, control, "", kind);
    this.#unit = unit;
    this.#least = least;
    this.#before = before;
    this.choice = kind;
    kind.value = before.kind;
    control.value = before.kind === "most" ? unit.text(before.amount) : "";
    control.placeholder = before.kind !== "role" ? "" : now === undefined ? "no limit" : unit.text(now);
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
    this.control.setCustomValidity(wrong ? `Enter an amount, for example ${this.#unit.example}.` : "");
  }
}
