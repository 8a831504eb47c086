/** Fields of forms about accounts. The server alone checks their values; its errors appear next to the fields. */

import { button, element, WRITTEN } from "./dom.js";
import { withWait, type Failure } from "../server/errors.js";
import { ruled, t } from "../language/language.js";

type Attributes = Readonly<Record<string, string | boolean | undefined>>;
type Control = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;

let numbers = 0;

/** A control with its label, its note and the place for its problem. */
export class Entry<C extends Control = Control> {
  readonly root: HTMLElement;
  readonly control: C;
  readonly label: string;
  readonly #problem: HTMLElement;

  /** `after`: elements in the control's row, such as a button. */
  constructor(label: string, control: C, note = "", ...after: readonly HTMLElement[]) {
    const id = `entry-${(numbers += 1)}`;
    this.label = label;
    this.control = control;
    control.id = id;
    this.#problem = element("p", { class: "problem", id: `${id}-problem` });
    const notes = note ? [element("p", { class: "note", id: `${id}-note` }, note)] : [];
    control.setAttribute("aria-describedby", [...notes.map((one) => one.id), this.#problem.id].join(" "));
    control.addEventListener("input", () => this.refuse(""));
    const row = after.length > 0 ? element("div", { class: "row" }, control, ...after) : control;
    this.root = element("div", { class: "field" }, element("label", { for: id }, label), row, ...notes, this.#problem);
  }

  /** Show a problem next to the control, which is unfolded if it was not visible; "" removes it. */
  refuse(why: string): void {
    this.#problem.textContent = why;
    if (why) {
      this.control.setAttribute("aria-invalid", "true");
      this.root.closest("details")?.setAttribute("open", "");
    } else this.control.removeAttribute("aria-invalid");
  }
}

/** The attributes of a field for an e-mail address. A control of the type "email" would check the address itself, and change addresses in other scripts. */
export const EMAIL = { inputmode: "email", maxlength: "254", spellcheck: "false", autocapitalize: "none" } as const;

export function textEntry(label: string, attributes: Attributes = {}, note = ""): Entry<HTMLInputElement> {
  return new Entry(label, element("input", { type: "text", autocomplete: "off", ...WRITTEN, ...attributes }), note);
}

/** A field for a password, with a button that shows the password. */
export function passwordEntry(label: string, autocomplete: "current-password" | "new-password", note = ""): Entry<HTMLInputElement> {
  const control = element("input", { type: "password", autocomplete, required: true, spellcheck: "false", autocapitalize: "none" });
  const toggle = () => {
    const hidden = control.type === "password";
    control.type = hidden ? "text" : "password";
    look.setAttribute("aria-pressed", String(hidden));
  };
  const look = button(t("show"), toggle, { class: "quiet", "aria-label": t("showField", { label }), "aria-pressed": "false" });
  return new Entry(label, control, note, look);
}

export type Choice = readonly [value: string, label: string];

/** Boxes for these choices, and for what was chosen before and is no longer there, with the label that `gone` gives it. */
export function checklist(legend: string, note: string, choices: readonly Choice[], chosen: readonly string[], gone = (value: string) => value) {
  const lost = chosen.filter((value) => choices.every(([known]) => known !== value)).map((value): Choice => [value, gone(value)]);
  const boxes = [...choices, ...lost].map(([value, label]) => ({ label, box: element("input", { type: "checkbox", value, checked: chosen.includes(value) }) }));
  const rows = boxes.map(({ label, box }) => element("label", { class: "inline" }, box, element("span", WRITTEN, label)));
  const root = element("fieldset", { class: "plain-set" }, element("legend", {}, legend), element("div", { class: "checks" }, ...rows), element("p", { class: "note" }, note));
  return { root, chosen: () => boxes.filter(({ box }) => box.checked).map(({ box }) => box.value) };
}

export function choiceEntry(label: string, choices: readonly Choice[], note = ""): Entry<HTMLSelectElement> {
  return new Entry(label, element("select", {}, ...choices.map(([value, text]) => element("option", { value }, text))), note);
}

export function boxEntry(label: string, note = ""): Entry<HTMLInputElement> {
  return new Entry(label, element("input", { type: "checkbox" }), note);
}

/** The note below the field of a new password. It does not repeat the server's rules; the server's errors name them. */
export const passwordNote = (): string => t("passwordNote");

/** Show problems of required fields that are empty, and focus the first such field. Returns whether there are any. */
export function lacking(entries: readonly Entry[]): boolean {
  const empty = entries.filter(({ control }) => control.required && !control.value.trim());
  for (const one of empty) one.refuse(t("needed", { label: one.label }));
  empty[0]?.control.focus();
  return empty.length > 0;
}

/**
 * Show a failure next to the fields that it names, and focus the first of them. `entries` maps the paths of the request's fields to the fields of the form, in the
 * order of the form. `taken`: the field whose value no other resource may have. Returns the text for the whole form: "" if the fields show everything.
 */
export function placed(entries: Readonly<Record<string, Entry>>, failure: Failure, taken?: Entry): string {
  if (taken && failure.reason === "RESOURCE_ALREADY_EXISTS") {
    taken.refuse(failure.message);
    taken.control.focus();
    return "";
  }
  if (failure.violations.length === 0) return withWait(failure);
  const others: string[] = [];
  const wrong = new Set<Entry>();
  for (const { field, rule, description } of failure.violations) {
    const wanted = ruled(rule, description);
    const entry = entries[field];
    if (entry) {
      entry.refuse(sentence(entry.label, wanted));
      wrong.add(entry);
    } else others.push(sentence(field || t("theRequest"), wanted));
  }
  Object.values(entries).find((one) => wrong.has(one))?.control.focus();
  return others.join(" ");
}

/** Joins the server's description of a mistake, which begins with its verb, with the name of its field. */
export function sentence(subject: string, description: string): string {
  const text = `${subject} ${description}`;
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
