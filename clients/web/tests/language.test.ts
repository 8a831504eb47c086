import { describe, expect, it } from "vitest";
import { around, t } from "../src/language/language.js";
import { de } from "../src/language/de.js";
import { en } from "../src/language/en.js";

const places = (text: unknown) => new Set([...JSON.stringify(text).matchAll(/\{\w+\}/g)].map(([place]) => place));

describe("the texts of the page", () => {
  it("have the same places for values in every language", () => {
    for (const key of Object.keys(en) as (keyof typeof en)[]) expect([key, places(de[key])]).toEqual([key, places(en[key])]);
  });

  it("have the form that the number needs", () => {
    expect(t("documentCount", { count: 1 })).toBe("1 document");
    expect(t("documentCount", { count: 1200 })).toBe("1,200 documents");
  });

  it("show a value as it is", () => {
    expect(t("nothingAt", { address: "$& {count}" })).toBe("Nothing was found at the address $& {count}. Check the address.");
    expect(around("more", "count", "x" as unknown as Node)).toEqual(["", "x", " more"]);
  });
});
