/** The time to parse and lay out Markdown, without the browser: `npm run bench --workspace @responsa/web`. */

import { bench, describe } from "vitest";
import { Cited } from "../src/text/prose.js";

const SIZE = 24 * 1024;
const DELTAS = 500;
const never = () => {
  throw new Error("no element is needed");
};

function filled(text: string): string {
  return text.repeat(Math.ceil(SIZE / text.length)).slice(0, SIZE);
}

const KINDS: Readonly<Record<string, string>> = {
  "paragraphs, lists, tables and code": filled("## A heading\n\nA *paragraph* with `code`, **strong words** and [a link](https://x.example/).\n\n- one\n- two `x`\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```sh\nmake up\n```\n\n"),
  "one list": filled("- an item with `code` and *emphasis*\n"),
  "one table": `| a | b |\n|---|---|\n${filled("| one `x` | two |\n")}`,
  "one paragraph": filled("Words with `code`, and *emphasis* in lines.\n"),
  "one block of code": `\`\`\`\n${filled("make up # a line of code\n")}`,
};

describe(`24 KiB in ${DELTAS} deltas`, () => {
  for (const [name, text] of Object.entries(KINDS)) {
    bench(
      name,
      () => {
        const growing = new Cited(never);
        for (let delta = 1; delta <= DELTAS; delta += 1) growing.views(text.slice(0, Math.round((text.length * delta) / DELTAS)), []);
      },
      { iterations: 3, time: 0, warmupIterations: 1, warmupTime: 0 },
    );
  }
});

describe("24 KiB at once", () => {
  for (const [name, text] of Object.entries(KINDS)) bench(name, () => void new Cited(never).views(text, []), { iterations: 10, time: 0, warmupIterations: 2, warmupTime: 0 });
});
