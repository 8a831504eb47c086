import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { around, t } from "../src/language/language.js";

// Each part of the page has the files `en.ts` and `de.ts`.
const files = import.meta.glob<Readonly<Record<string, Readonly<Record<string, unknown>>>>>("../src/language/**/{en,de}.ts", { eager: true });
const english = Object.keys(files).filter((file) => file.endsWith("/en.ts"));

const places = (text: unknown) => new Set([...JSON.stringify(text).matchAll(/\{\w+\}/g)].map(([place]) => place));

it("German has words for every agent, tool and format that Responsa ships, and no others", async () => {
  const { de } = await import("../src/language/de.js");
  const folder = new URL("../../../server/responsa_server/agents/shipped/", import.meta.url);
  const shipped = readdirSync(folder).filter((name) => existsSync(new URL(`${name}/agent.toml`, folder)));
  const declared = shipped.map((name) => readFileSync(new URL(`${name}/agent.toml`, folder), "utf8"));
  const descriptions = declared.map((text) => /^description = "(.*)"$/m.exec(text)?.[1]);
  const names = declared.map((text) => /^name = "(.*)"$/m.exec(text)?.[1]);
  const table = readFileSync(new URL("../../../server/responsa_formats/parsers/table.py", import.meta.url), "utf8");
  const formats = [...table.matchAll(/^ +(?:display_name=|(?:\*\()?"[A-Z]+", )"([^"]*)",/gm)].map((found) => found[1]!).concat(["text", "spreadsheet"].map((kind) => `OpenDocument ${kind}`));
  const tools = ["knowledge_search", "web_search"].map((tool) => /^ +title="(.*)",$/m.exec(readFileSync(new URL(`../../../server/responsa_server/tools/${tool}.py`, import.meta.url), "utf8"))?.[1]);
  const words = Object.keys(de.shipped ?? {});
  expect(descriptions.length).toBeGreaterThan(0);
  expect(words).toEqual(expect.arrayContaining([...descriptions, ...tools, ...formats.filter((name) => /^[a-z-]+( |$)/.test(name))]));
  expect([...descriptions, ...names, ...tools, ...formats]).toEqual(expect.arrayContaining(words));
});

describe("the texts of the page", () => {
  it.each(english)("have the same places for values in every language: %s", (file) => {
    const en = files[file]!["en"]!;
    const de = files[file.replace(/en\.ts$/, "de.ts")]!["de"]!;
    for (const key of Object.keys(en)) expect([key, places(de[key])]).toEqual([key, places(en[key])]);
  });

  it.each(["en", "de"])("name a control by its own words, and whom it is for: %s", (language) => {
    const texts = files[`../src/language/administration/${language}.ts`]![language]!;
    const pairs = { inviteAdministrator: "inviteAdministratorOf", endAccess: "endAccessOf", endOwnership: "endOwnershipOf", makeOwner: "makeOwnerName", resetCode: "resetCodeFor" };
    for (const [label, name] of Object.entries(pairs)) expect(texts[name]).toContain(texts[label]);
  });

  it("have the form that the number needs", () => {
    expect(t("documentCount", { count: 1 })).toBe("1 document");
    expect(t("documentCount", { count: 1200 })).toBe("1,200 documents");
  });

  it("show a value as it is", () => {
    expect(t("nothingAt", { address: "$& {count}" })).toBe("There’s nothing at $& {count}. Check the address.");
    expect(around("more", "count", "x" as unknown as Node)).toEqual(["", "x", " more"]);
  });
});
