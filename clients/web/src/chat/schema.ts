/** Makes fields from the JSON Schema of an agent's parameters. The parameters are one flat object. Nothing here touches the page. */

import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { t } from "../language/language.js";

export type Scalar = string | number | boolean;

export interface Choice {
  readonly value: Scalar;
  readonly label: string;
}

interface Common {
  readonly name: string;
  readonly label: string;
  /** A line of help, or "". */
  readonly note: string;
  readonly required: boolean;
  readonly initial: Scalar | undefined;
  /** The kind of record that the parameter names, e.g. "teachers"; "" if it does not name a record. */
  readonly resource: string;
}

export type Field = Common &
  (
    | { readonly kind: "choice"; readonly choices: readonly Choice[] }
    | { readonly kind: "number"; readonly whole: boolean; readonly step: number | undefined; readonly limits: Limits }
    | { readonly kind: "switch" }
    | { readonly kind: "text"; readonly format: string; readonly least: number; readonly most: number | undefined; readonly pattern: RegExp | undefined }
  );

interface Limits {
  readonly minimum: number | undefined;
  readonly maximum: number | undefined;
  readonly above: number | undefined;
  readonly below: number | undefined;
}

/** The value of a field on the page: a boolean for a checkbox, the index of the choice as text for a list, and text for all other fields. */
export type Raw = string | boolean;

/** The fields to fill in. The properties of a schema have no order: required fields come first, then optional fields, both ordered by their labels. Properties without a fitting field are left out. */
export function fieldsOf(schema: JsonObject | undefined): Field[] {
  const properties = record(schema?.["properties"]);
  const required = new Set(list(schema?.["required"]));
  return Object.entries(properties)
    .flatMap(([name, one]) => fieldOf(name, record(one), required.has(name)) ?? [])
    .sort((a, b) => Number(b.required) - Number(a.required) || (a.label < b.label ? -1 : 1));
}

function fieldOf(name: string, property: JsonObject, required: boolean): Field | undefined {
  const common: Common = {
    name,
    label: text(property["title"]) || words(name),
    note: text(property["description"]),
    required,
    initial: undefined,
    resource: text(property["x-resource"]),
  };
  const made = typed(common, property);
  const initial = scalar(property["default"]);
  // A default that does not fit, such as a deleted record, is ignored.
  return made && fits(made, initial) ? { ...made, initial } : made;
}

function typed(common: Common, property: JsonObject): Field | undefined {
  const choices = choicesOf(property);
  if (choices) return { ...common, kind: "choice", choices };
  const type = Array.isArray(property["type"]) ? property["type"].find((one) => one !== "null") : property["type"];
  if (type === "boolean") return { ...common, kind: "switch" };
  if (type === "number" || type === "integer") {
    const limits: Limits = {
      minimum: number(property["minimum"]),
      maximum: number(property["maximum"]),
      above: number(property["exclusiveMinimum"]),
      below: number(property["exclusiveMaximum"]),
    };
    return { ...common, kind: "number", whole: type === "integer", step: number(property["multipleOf"]), limits };
  }
  if (type !== "string" && type !== undefined) return undefined;
  return {
    ...common,
    kind: "text",
    format: text(property["format"]),
    least: number(property["minLength"]) ?? 0,
    most: number(property["maxLength"]),
    pattern: pattern(property["pattern"]),
  };
}

/** The choices of a property; undefined if the property lists no choices. A record is always chosen from a list, because nobody remembers its UUID. */
function choicesOf(property: JsonObject): readonly Choice[] | undefined {
  const { enum: values, oneOf } = property;
  if (Array.isArray(oneOf)) {
    const choices = oneOf.map(record).flatMap((one): Choice[] => {
      const value = scalar(one["const"]);
      return value === undefined ? [] : [{ value, label: text(one["title"]) || String(value) }];
    });
    if (choices.length === oneOf.length) return choices;
  }
  if (Array.isArray(values)) {
    return values.flatMap((one): Choice[] => {
      const value = scalar(one);
      return value === undefined ? [] : [{ value, label: String(value) }];
    });
  }
  return property["x-resource"] ? [] : undefined;
}

/** The content of the field for a value, or for the field's default if the value does not fit. */
export function rawOf(field: Field, value: JsonValue | undefined): Raw {
  const wanted = fits(field, value) ? value : field.initial;
  switch (field.kind) {
    case "switch":
      return wanted === true;
    case "choice": {
      const place = field.choices.findIndex((one) => one.value === wanted);
      return place < 0 ? "" : String(place);
    }
    default:
      return wanted === undefined ? "" : String(wanted);
  }
}

function fits(field: Field, value: JsonValue | undefined): boolean {
  switch (field.kind) {
    case "switch":
      return typeof value === "boolean";
    case "choice":
      return field.choices.some((one) => one.value === value);
    case "number":
      return typeof value === "number";
    case "text":
      return typeof value === "string";
  }
}

/** The value to send, or undefined to send nothing. */
export function valueOf(field: Field, raw: Raw): Scalar | undefined {
  switch (field.kind) {
    case "switch":
      // An optional checkbox that is off need not be sent.
      return raw === true || field.initial !== undefined || field.required ? raw === true : undefined;
    case "choice":
      return raw === "" ? undefined : field.choices[Number(raw)]?.value;
    case "number":
      return raw === "" || !Number.isFinite(Number(raw)) ? undefined : Number(raw);
    case "text":
      return raw === "" ? undefined : String(raw);
  }
}

/** Why the field's content is not valid; "" if it is valid. The browser itself checks numbers and missing values. */
export function problemOf(field: Field, raw: Raw): string {
  const value = valueOf(field, raw);
  if (value === undefined) return "";
  if (field.kind === "number") {
    const { above, below } = field.limits;
    if (above !== undefined && Number(value) <= above) return t("parameterAbove", { limit: String(above) });
    if (below !== undefined && Number(value) >= below) return t("parameterBelow", { limit: String(below) });
  }
  if (field.kind === "text") {
    const length = [...String(value)].length; // JSON Schema counts code points
    if (length < field.least) return t("parameterShort", { limit: field.least, length });
    if (field.most !== undefined && length > field.most) return t("parameterLong", { limit: field.most, length });
    if (field.format === "uuid" && !UUID.test(String(value))) return t("parameterUuid", { example: "0192f3c8-0000-7000-8000-000000000000" });
    if (field.pattern && !field.pattern.test(String(value))) return t("parameterPattern", { pattern: field.pattern.source });
  }
  return "";
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Whether a value can be stored as parameters. */
export function isParameters(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && Object.values(value).every((one) => scalar(one as JsonValue) !== undefined);
}

/** `teacher_id` → "Teacher id". */
function words(name: string): string {
  const spaced = name.replace(/[_-]+/g, " ").trim();
  return spaced ? spaced[0]!.toUpperCase() + spaced.slice(1) : name;
}

function record(value: JsonValue | undefined): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}

function list(value: JsonValue | undefined): readonly JsonValue[] {
  return Array.isArray(value) ? value : [];
}

function text(value: JsonValue | undefined): string {
  return typeof value === "string" ? value : "";
}

function number(value: JsonValue | undefined): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

function scalar(value: JsonValue | undefined): Scalar | undefined {
  return typeof value === "string" || typeof value === "boolean" || number(value) !== undefined ? (value as Scalar) : undefined;
}

/** The regular expression of a pattern; undefined if this browser cannot read the pattern. Then only the server checks the value. */
function pattern(value: JsonValue | undefined): RegExp | undefined {
  try {
    return typeof value === "string" ? new RegExp(value, "u") : undefined;
  } catch {
    return undefined;
  }
}
