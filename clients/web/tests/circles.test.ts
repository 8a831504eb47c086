import { expect, it } from "vitest";

const files = import.meta.glob<string>("../src/**/*.ts", { eager: true, query: "?raw", import: "default" });

/** The modules of the page that a module names, for their types alone or later too. */
function named(file: string): string[] {
  const paths = [...files[file]!.matchAll(/(?:\bfrom|\bimport\(|^import) ?"(\.{1,2}\/[^"]+)\.js"/gm)];
  return paths.map(([, path]) => new URL(`${path}.ts`, `file:///${file.slice(3)}`).pathname.replace("/", "../"));
}

it("no module of the page is imported by what it imports itself", () => {
  const left = new Map(Object.keys(files).map((file) => [file, new Set(named(file).filter((one) => one in files))]));
  for (let size = 0; size !== left.size; ) {
    size = left.size;
    for (const [file, imports] of left) if (![...imports].some((one) => left.has(one))) left.delete(file);
  }
  expect([...left.keys()]).toEqual([]);
});
