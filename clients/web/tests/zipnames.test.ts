import { describe, expect, it } from "vitest";
import { readNames } from "../src/documents/zipnames.js";

/** Names in the code pages of the systems that have written them, in hexadecimal, the language of the browser, and what they read. The last ones are Western. */
const NAMES: readonly (readonly [string, string, string])[] = [
  ["8b4b91a52f905682b582a295b68f912e6d64", "en-US", "規則/新しい文書.md"],
  ["975c92e8955c2e6d64", "ja", "予定表.md"],
  ["8b638e96985e5f32303236944e93782e646f6378", "en-US", "議事録_2026年度.docx"],
  ["835c815b8358955c8ea6945c97cd2e747874", "de", "ソース表示能力.txt"],
  ["8eca905e2f8d6082cc926e907d2e706466", "en-US", "写真/港の地図.pdf"],
  ["b9e6d5c22fcda3b3b5b9e6b6a82e6d64", "en-US", "规章/停车规定.md"],
  ["bbe1d2e92e6d64", "zh-CN", "会议.md"],
  ["cfeec4bfbcc6bbaed3ebd4a4cbe3b1ed2e786c7378", "de", "项目计划与预算表.xlsx"],
  ["bacfcdacc9a8c3e8bcfe2e706466", "en-US", "合同扫描件.pdf"],
  ["b77cc4b3acf6bffd2e646f6378", "zh-TW", "會議紀錄.docx"],
  ["a4bda571b357b3b92e6d64", "zh-Hant-HK", "公司規章.md"],
  ["b0b1a8aeb3f5badeb27abfecaa6bbb50b77cc4b3acf6bffd2e706466", "en-US", "停車場管理辦法與會議紀錄.pdf"],
  ["c8b8c0c7b7cf2fbfb9bbea2e747874", "ko-KR", "회의록/예산.txt"],
  ["c1d6c2f7c0e520c0ccbfeb20b1d4c1a42e6d64", "en-US", "주차장 이용 규정.md"],
  ["c8b8c0c7b7cf20bfb9bbeabec82e747874", "en-US", "회의록 예산안.txt"],
  ["8fe0a0a2a8aba02fafaba0ad2e747874", "ru", "Правила/план.txt"],
  ["8ee2e7f1e220a7a020adaeefa1e0ec2e646f6378", "en-US", "Отчёт за ноябрь.docx"],
  ["9a62657273696368742f477294e1652e6d64", "de", "Übersicht/Größe.md"],
  ["728273756d82202d208274822e747874", "en-US", "résumé - été.txt"],
  ["4d84726b74652066817220996c2e6d64", "de", "Märkte für Öl.md"],
  ["4368837465617520852076656e6472652e706466", "fr", "Château à vendre.pdf"],
];
const WESTERN = 4;

describe("the names in ZIP archives without a mark of UTF-8", () => {
  it.each(NAMES)("%s with %s reads %s", (hex, language, text) => {
    const raw = Uint8Array.from(hex.match(/../g)!, (byte) => Number.parseInt(byte, 16));
    const western = NAMES.slice(-WESTERN).some(([one]) => one === hex) ? text : "not western";
    expect(readNames([{ raw, text: western, isUnicode: false }], [language])).toEqual([text]);
  });

  it("share a code page, and names with a mark stay", () => {
    const of = (hex: string) => Uint8Array.from(hex.match(/../g)!, (byte) => Number.parseInt(byte, 16));
    const names = [{ raw: of("e38182"), text: "あ", isUnicode: true }, { raw: of("612e6d64"), text: "a.md", isUnicode: false }, { raw: of("975c92e8955c2e6d64"), text: "ù\\", isUnicode: false }];
    expect(readNames(names, [])).toEqual(["あ", "a.md", "予定表.md"]);
  });
});
