import { expect, it } from "vitest";
import { plainText } from "../src/text/prose.js";
import { cutAtWords, withoutHalves } from "../src/text/words.js";

it("words of a search are found in any case, also in longer words, and mean what they are", () => {
  expect(cutAtWords("The Coffeepot and coffee", ["coffee", "the"])).toEqual(["", "The", " ", "Coffee", "pot and ", "coffee", ""]);
  expect(cutAtWords("a (b) c", ["(b)"])).toEqual(["a ", "(b)", " c"]);
  expect(cutAtWords("a/b-c", ["b-c", "/"])).toEqual(["a", "/", "", "b-c", ""]);
  expect(cutAtWords("a", [])).toEqual(["a"]);
});

it("an excerpt of Markdown has no marks, also where it cuts them in two", () => {
  expect(withoutHalves(plainText("machine** stands *here*, see `the"))).toBe("machine stands here, see the");
  expect(withoutHalves("2 * 3 and SELECT * FROM t")).toBe("2 * 3 and SELECT * FROM t");
});
