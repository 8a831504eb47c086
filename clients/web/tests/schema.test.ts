import type { JsonObject } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { fieldsOf, isParameters, problemOf, rawOf, valueOf, type Field } from "../src/chat/schema.js";

const ADA = "62f746b4-84e6-4ceb-95bd-447e7184d454";
const SCHEMA: JsonObject = {
  required: ["teacher_id"],
  properties: {
    level: { enum: ["beginner", "advanced"], default: "advanced", title: "Level" },
    teacher_id: { type: "string", title: "Teacher", "x-resource": "teachers", oneOf: [{ const: ADA, title: "Ada" }, { const: "2" }] },
    words: { type: "integer", minimum: 10, maximum: 500, description: "How long it may be." },
    heat: { type: ["null", "number"], exclusiveMinimum: 0, exclusiveMaximum: 2, multipleOf: 0.5 },
    brief: { type: "boolean" },
    motto: { type: "string", minLength: 2, maxLength: 4, pattern: "^[a-z💡]+$" },
  },
};

function field(name: string, schema = SCHEMA): Field {
  return fieldsOf(schema).find((one) => one.name === name)!;
}

function one(property: JsonObject): Field {
  return field("x", { properties: { x: property } });
}

describe("fieldsOf", () => {
  it("puts required fields first, and the others in order of their labels", () => {
    expect(fieldsOf(SCHEMA).map((one) => [one.label, one.kind, one.required])).toEqual([
      ["Teacher", "choice", true],
      ["Brief", "switch", false],
      ["Heat", "number", false],
      ["Level", "choice", false],
      ["Motto", "text", false],
      ["Words", "number", false],
    ]);
  });

  it("lists the choices, with their titles if they have titles", () => {
    expect(field("teacher_id")).toMatchObject({ resource: "teachers", choices: [{ value: ADA, label: "Ada" }, { value: "2", label: "2" }] });
    expect(one({ enum: [1, 2.5, true, null, ["x"]] })).toMatchObject({ choices: [{ value: 1 }, { value: 2.5 }, { value: true }] });
  });

  it("has no choices if there are no records", () => {
    expect(one({ type: "string", "x-resource": "teachers" })).toMatchObject({ kind: "choice", choices: [] });
    expect(one({ type: "string", oneOf: [{ pattern: "a" }, { pattern: "b" }] })).toMatchObject({ kind: "text" }); // no list of values
  });

  it("leaves out properties without a fitting field, and returns no fields without a schema", () => {
    expect(fieldsOf({ properties: { list: { type: "array" }, object: { type: "object" }, odd: 3 as never } }).map((one) => one.name)).toEqual(["odd"]);
    for (const schema of [undefined, {}, { properties: [] }, { properties: "x" }, { required: 3 }] as (JsonObject | undefined)[]) expect(fieldsOf(schema)).toEqual([]);
  });

  it("ignores a default that does not fit", () => {
    expect(one({ enum: ["a"], default: "b" }).initial).toBeUndefined();
    expect(one({ type: "integer", default: "7" }).initial).toBeUndefined();
    expect(one({ type: "integer", default: 7 }).initial).toBe(7);
  });

  it("leaves a pattern that the browser cannot read to the server", () => {
    expect(one({ type: "string", pattern: "(?<" })).toMatchObject({ pattern: undefined });
  });
});

describe("a field's content", () => {
  it("is the known value, otherwise the default, otherwise nothing", () => {
    expect(rawOf(field("level"), "beginner")).toBe("0");
    expect(rawOf(field("level"), "gone")).toBe("1");
    expect(rawOf(field("teacher_id"), undefined)).toBe("");
    expect(rawOf(field("words"), 20)).toBe("20");
    expect(rawOf(field("words"), "20")).toBe("");
    expect(rawOf(field("brief"), true)).toBe(true);
    expect(rawOf(field("brief"), "true")).toBe(false);
    expect(rawOf(field("motto"), "abc")).toBe("abc");
  });

  it("becomes a value of the schema's type again", () => {
    expect(valueOf(field("teacher_id"), "0")).toBe(ADA);
    expect(valueOf(field("teacher_id"), "")).toBeUndefined();
    expect(valueOf(one({ enum: [1, 2.5] }), "1")).toBe(2.5);
    expect(valueOf(field("words"), "20")).toBe(20);
    expect(valueOf(field("words"), "")).toBeUndefined();
    expect(valueOf(field("motto"), "abc")).toBe("abc");
    expect(valueOf(field("motto"), "")).toBeUndefined();
    expect(valueOf(field("brief"), true)).toBe(true);
  });

  it("sends an unticked box only if the value makes a difference", () => {
    expect(valueOf(field("brief"), false)).toBeUndefined();
    expect(valueOf(one({ type: "boolean", default: true }), false)).toBe(false);
    expect(valueOf(field("x", { required: ["x"], properties: { x: { type: "boolean" } } }), false)).toBe(false);
  });

  it.each<[Field, string, string]>([
    [field("heat"), "0", "The value must be more than 0."],
    [field("heat"), "2", "The value must be less than 2."],
    [field("heat"), "1.5", ""],
    [field("motto"), "a", "Enter at least 2 characters; this has 1."],
    [field("motto"), "💡💡💡💡", ""],
    [field("motto"), "💡💡💡💡💡", "Enter at most 4 characters; this has 5."],
    [field("motto"), "A!", "The value must match ^[a-z💡]+$."],
    [one({ type: "string", format: "uuid" }), "x", "The value must be a UUID, such as 0192f3c8-0000-7000-8000-000000000000."],
    [one({ type: "string", format: "uuid" }), ADA, ""],
    [field("motto"), "", ""],
  ])("is looked at before it is sent (%#)", (field, raw, problem) => {
    expect(problemOf(field, raw)).toBe(problem);
  });
});

describe("isParameters", () => {
  it("is true only for one flat object", () => {
    for (const value of [{}, { a: 1, b: "x", c: false }]) expect(isParameters(value)).toBe(true);
    for (const value of [null, [], "x", 1, { a: {} }, { a: null }, { a: [1] }]) expect(isParameters(value), JSON.stringify(value)).toBe(false);
  });
});
