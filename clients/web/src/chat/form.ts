/** The form for an agent's parameters. Its controls belong to the question's own form, so that the browser checks them before anything is sent. */

import type { JsonObject } from "@bufbuild/protobuf";
import { element, WRITTEN } from "../widgets/dom.js";
import { t } from "../language/language.js";
import { problemOf, rawOf, valueOf, type Field, type Raw } from "./schema.js";

type Control = HTMLInputElement | HTMLSelectElement;

/** The kinds of text for which browsers have controls. */
const TYPES: Readonly<Record<string, string>> = { email: "email", uri: "url", date: "date", time: "time" };

interface Row {
  readonly field: Field;
  readonly control: Control;
  readonly problem: HTMLElement;
}

export class ParametersForm {
  /** The fields. */
  readonly root = element("div", { class: "parameters" });
  readonly #changed: (values: JsonObject) => void;
  #rows: readonly Row[] = [];

  /** `changed` is called after the user has changed a value. */
  constructor(changed: (values: JsonObject) => void) {
    this.#changed = changed;
  }

  /** Build the fields again, with these values. */
  show(fields: readonly Field[], values: JsonObject): void {
    this.#rows = fields.map((field) => this.#row(field, rawOf(field, values[field.name])));
    this.root.replaceChildren(...this.#rows.map(({ field, control, problem }) => wrapped(field, control, problem)));
  }

  get values(): JsonObject {
    const found: JsonObject = {};
    for (const { field, control } of this.#rows) {
      const value = valueOf(field, raw(control));
      if (value !== undefined) found[field.name] = value;
    }
    return found;
  }

  /** Show the error at the field, and focus the field. Returns false if no field has that name. */
  refuse(name: string, why: string): boolean {
    const row = this.#rows.find((one) => one.field.name === name);
    if (!row) return false;
    tell(row, why);
    row.control.focus();
    return true;
  }

  /** The name of the field whose value is a record of that kind, or "". */
  naming(resource: string): string {
    return this.#rows.find((one) => one.field.resource === resource)?.field.name ?? "";
  }

  #row(field: Field, value: Raw): Row {
    const id = `parameter-${field.name}`;
    const control = controlOf(field, id);
    if (control instanceof HTMLInputElement && control.type === "checkbox") control.checked = value === true;
    else control.value = String(value);
    const row: Row = { field, control, problem: element("p", { class: "problem", id: `${id}-problem` }) };
    const check = () => control.setCustomValidity(problemOf(field, raw(control)));
    check();
    control.addEventListener("input", () => {
      tell(row, "");
      check();
      this.#changed(this.values);
    });
    control.addEventListener("invalid", () => tell(row, control.validationMessage));
    return row;
  }
}

function controlOf(field: Field, id: string): Control {
  const about = [field.note && `${id}-note`, `${id}-problem`].filter(Boolean).join(" ");
  const placeholder = field.required ? undefined : t("optional");
  const common = { id, name: field.name, "aria-describedby": about };
  switch (field.kind) {
    case "choice": {
      const options = field.choices.map((one, place) => element("option", { value: String(place), ...WRITTEN }, one.label));
      const none = element("option", { value: "" }, t(field.choices.length === 0 ? (field.resource === "teachers" ? "noTeachers" : "noChoice") : field.required ? "choose" : "noneChosen"));
      // An empty choice would mean the default, which is in the list anyway.
      return element("select", { ...common, required: field.required }, ...(field.initial === undefined ? [none] : []), ...options);
    }
    case "switch":
      return element("input", { ...common, type: "checkbox" });
    case "number": {
      const { minimum, maximum } = field.limits;
      const step = field.step ?? (field.whole ? 1 : undefined);
      return element("input", {
        ...common,
        type: "number",
        placeholder,
        required: field.required,
        min: minimum === undefined ? undefined : String(minimum),
        max: maximum === undefined ? undefined : String(maximum),
        step: step === undefined ? "any" : String(step),
        inputmode: field.whole && (minimum ?? -1) >= 0 ? "numeric" : undefined,
      });
    }
    case "text":
      return element("input", { ...common, ...WRITTEN, placeholder, type: TYPES[field.format] ?? "text", required: field.required, autocomplete: "off" });
  }
}

function wrapped(field: Field, control: Control, problem: HTMLElement): HTMLElement {
  const label = element("label", { for: control.id, ...WRITTEN }, field.label);
  const note = field.note ? [element("p", { class: "note", id: `${control.id}-note`, ...WRITTEN }, field.note)] : [];
  if (field.kind === "switch") return element("div", { class: "field" }, element("div", { class: "row" }, control, label), ...note, problem);
  return element("div", { class: "field" }, label, control, ...note, problem);
}

function raw(control: Control): Raw {
  return control instanceof HTMLInputElement && control.type === "checkbox" ? control.checked : control.value;
}

function tell({ control, problem }: Row, why: string): void {
  problem.textContent = why;
  if (why) control.setAttribute("aria-invalid", "true");
  else control.removeAttribute("aria-invalid");
}
