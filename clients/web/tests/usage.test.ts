import { create } from "@bufbuild/protobuf";
import { DeletionReceiptSchema } from "@responsa/contract/responsa/auth/v1/deletion_receipt_pb.js";
import { PeriodUsageSchema, StorageUsageSchema } from "@responsa/contract/responsa/auth/v1/user_usage_pb.js";
import { describe, expect, it } from "vitest";
import { receiptRows } from "../src/widgets/receipt.js";
import { storageRows, usageRows } from "../src/account/usage.js";

describe("usageRows", () => {
  it("says what is used, reserved and left", () => {
    const tokens = { used: 40_000n, reserved: 10_000n, limit: 100_000n };
    expect(usageRows(create(PeriodUsageSchema, { messageCount: 12n, tokens, costUsdMicros: { used: 2_100n } }))).toEqual([
      { label: "Questions", text: "12", share: undefined },
      { label: "Tokens", text: "40,000 of 100,000 used, and 10,000 reserved by open questions; 50,000 left", share: 0.5 },
      { label: "Cost, as far as it is known", text: "0.0021 USD; no limit", share: undefined },
    ]);
  });

  it("never shows less than nothing", () => {
    const [, tokens] = usageRows(create(PeriodUsageSchema, { tokens: { used: 12n, limit: 10n } }));
    expect(tokens).toEqual({ label: "Tokens", text: "12 of 10 used; 0 left", share: 1 });
    expect(usageRows(create(PeriodUsageSchema, { tokens: { limit: 0n } }))[1]).toMatchObject({ text: "0 of 0 used; 0 left", share: 1 });
  });
});

describe("storageRows", () => {
  it("says what is stored, and what the limit leaves", () => {
    const stored = { storedBytes: 512n * 1024n, documentCount: 3n, collectionCount: 1n };
    expect(storageRows(create(StorageUsageSchema, stored)).map((one) => one.text)).toEqual(["512 KiB; no limit", "3 documents in all collections", "1; no limit", "0; no limit"]);
    expect(storageRows(create(StorageUsageSchema, { ...stored, limitBytes: 1024n * 1024n }))[0]).toEqual({ label: "Size", text: "512 KiB of 1.0 MiB used; 512 KiB left", share: 0.5 });
    expect(storageRows(create(StorageUsageSchema, { ...stored, collectionLimit: 4n, conversationCount: 2n, conversationLimit: 10_000n })).slice(2)).toEqual([
      { label: "Collections", text: "1 of 4 used; 3 left", share: 0.25 },
      { label: "Conversations", text: "2 of 10,000 used; 9,998 left", share: 0.0002 },
    ]);
  });
});

describe("receiptRows", () => {
  it("leaves out what was not there", () => {
    expect(receiptRows(create(DeletionReceiptSchema, { user: "users/1" }), true)).toEqual([]);
    expect(receiptRows(create(DeletionReceiptSchema, { conversations: 1n, sessions: 2n, handedOverCollections: 1n, withdrawnAnswers: 3n }), true)).toEqual([
      "1 conversation deleted",
      "2 sessions ended",
      "1 collection handed over",
      "3 answers of other people withdrawn, because they quoted your documents",
    ]);
  });
});
