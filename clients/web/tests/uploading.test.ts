import { create } from "@bufbuild/protobuf";
import { IngestResultSchema, LeftOutKind } from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import { expect, test } from "vitest";
import { remarkOf } from "../src/documents/uploading.js";

test("the remark names what was left out, by kind, and a doubtful character set", () => {
  const leftOut = [
    { kind: LeftOutKind.COMMENT, count: 2 },
    { kind: LeftOutKind.HIDDEN_SHEET, count: 1 },
    { kind: 99 as LeftOutKind, count: 1 }, // of a newer server
  ];
  expect(remarkOf(create(IngestResultSchema, { leftOut, guessedCharset: "windows-1250" }))).toBe(
    "left out: 2 comments, 1 hidden sheet, 1 part; read as windows-1250, which is a guess; if letters are wrong, save the file as UTF-8",
  );
  expect(remarkOf(create(IngestResultSchema, {}))).toBe("");
});
