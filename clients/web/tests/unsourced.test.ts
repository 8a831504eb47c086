import { beforeAll, describe, expect, it } from "vitest";
import { loadMarkdown } from "../src/text/markdown.js";
import { unsourced } from "../src/text/unsourced.js";

beforeAll(() => loadMarkdown());

const bare = (text: string, ...cited: readonly string[]) => {
  const places = cited.map((words) => ({ from: text.indexOf(words), to: text.indexOf(words) + words.length }));
  return unsourced(text, places).map(({ from, to }) => text.slice(from, to));
};

describe("the sentences that name no source", () => {
  it("are those without a citation in or behind them", () => {
    expect(bare("One costs 5. Two costs 6. Three costs 7.", "One costs 5.", "Two costs 6.")).toEqual(["Three costs 7."]);
    expect(bare("One costs 5.\n\nTwo costs **6**.", "One costs 5.")).toEqual(["Two costs **6**."]);
  });

  it("are none before a citation at the end of their paragraph", () => expect(bare("One costs 5. Two costs 6.", "Two costs 6.")).toEqual([]));

  it("are no headings, lead-ins, questions, code and names of columns", () => {
    const text = "# Prices of all\n\nThe prices are:\n\n- one: 5 [x](https://x.example)\n- two: 6\n\nDoes that help?\n\n```sh\nmake it so\n```\n\n| Country | Price |\n|---|---|\n| Italy | 4 |\n| Spain | 3 |";
    expect(bare(text, "one: 5", "| Italy | 4 |")).toEqual(["two: 6", "| Spain | 3 |"]);
  });
});
