import { expect, test } from "vitest";
import { fragmentOf, fragmentOfKeys, keysAt, keysOf, placeAt } from "../src/documents/place.js";

const NAME = "documents/0190f3a2-0000-7000-8000-000000000001";

test("an address names a document, a version, a tab and a page", () => {
  const places = [
    { name: NAME, tab: undefined, page: 0 },
    { name: `${NAME}/versions/12`, tab: "pages", page: 7 },
    { name: NAME, tab: "details", page: 0 },
  ] as const;
  expect(places.map(fragmentOf)).toEqual([`#/${NAME}`, `#/${NAME}/versions/12?tab=pages&page=7`, `#/${NAME}?tab=details`]);
  expect(places.map((one) => placeAt(fragmentOf(one)))).toEqual(places);
});

test("what an address cannot mean is left out", () => {
  expect(placeAt(`#/${NAME}?tab=secrets&page=-1`)).toEqual({ name: NAME, tab: undefined, page: 0 });
  expect(placeAt(`#/${NAME}?page=99999999999`)?.page).toBe(0);
  for (const other of ["#/documents", "#/documents/1", `#/${NAME}/versions/0`, `#/${NAME}/x`, `${NAME}`]) expect(placeAt(other)).toBeUndefined();
});

test("a link of a document names a source key, seen from the document's folder or from the root", () => {
  expect(keysOf("catalogues/job/map-maker.md", "aptitude/career_recommendations/1.md")).toEqual(["aptitude/career_recommendations/catalogues/job/map-maker.md", "catalogues/job/map-maker.md"]);
  expect(keysOf("../b%20c.md#part", "guide/parts/a.md")).toEqual(["guide/b c.md"]);
  expect(keysOf("./b.md?x=1", "a.md")).toEqual(["b.md"]);
  for (const other of ["//evil.example/a.md", "/a.md", "#part", "?x", "..", "\\\\evil"]) expect(keysOf(other, "a.md")).toEqual([]);
  const keys = ["a b/c&d.md", "c#d.md"];
  for (const near of ["collections/guides", ""]) expect(keysAt(fragmentOfKeys({ keys, near }))).toEqual({ keys, near });
  for (const other of ["#/documents", "#/documents?key=", "#/search?key=a"]) expect(keysAt(other)).toBeUndefined();
});
