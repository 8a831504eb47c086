import { describe, expect, it } from "vitest";
import { PendingQuestions, type Pending } from "../src/pending.js";
import { MemoryStorage } from "./memory.js";

const KEY = "responsa.pending";

function question(requestId: string, begun = "", text = "Why?"): Pending {
  return { requestId, text, conversation: "", collections: ["collections/a"], begun };
}

describe("PendingQuestions", () => {
  it("outlives a reload", () => {
    const storage = new MemoryStorage();
    new PendingQuestions(storage).keep(question("1", "conversations/a"));
    expect(new PendingQuestions(storage).of("conversations/a")).toEqual(question("1", "conversations/a"));
  });

  it("belongs to one conversation, once that is known", () => {
    const waiting = new PendingQuestions(new MemoryStorage());
    waiting.keep(question("1"));
    expect(waiting.of("")?.requestId).toBe("1");
    waiting.keep(question("1", "conversations/a"));
    expect(waiting.of("")).toBeUndefined();
    expect(waiting.of("conversations/a")?.conversation).toBe(""); // sent again just as it was
    expect(waiting.of("conversations/b")).toBeUndefined();
  });

  it("leaves nothing behind when all is answered", () => {
    const storage = new MemoryStorage();
    const waiting = new PendingQuestions(storage);
    waiting.keep(question("1", "conversations/a"));
    waiting.keep(question("2", "conversations/b"));
    waiting.drop(question("1"));
    expect(waiting.of("conversations/b")?.requestId).toBe("2");
    waiting.dropOf("conversations/b");
    expect(storage.length).toBe(0);
  });

  it("keeps a bounded number", () => {
    const storage = new MemoryStorage();
    const waiting = new PendingQuestions(storage);
    for (let number = 0; number < 40; number += 1) waiting.keep(question(String(number), `conversations/${number}`));
    expect(waiting.of("conversations/0")).toBeUndefined();
    expect(waiting.of("conversations/39")).toBeDefined();
    expect((JSON.parse(storage.getItem(KEY)!) as unknown[]).length).toBeLessThanOrEqual(16);
  });

  it("passes over what is not its own", () => {
    for (const found of ["{", "null", "7", '{"requestId":"1"}', '[null, 3, {"requestId": 5}, {"requestId":"1","text":"a","conversation":"","begun":"","collections":[1]}]']) {
      const storage = new MemoryStorage();
      storage.setItem(KEY, found);
      expect(new PendingQuestions(storage).of(""), found).toBeUndefined();
    }
  });

  it("works in memory where storing is refused", () => {
    const storage = new MemoryStorage();
    storage.setItem = () => {
      throw new DOMException("full", "QuotaExceededError");
    };
    const waiting = new PendingQuestions(storage);
    waiting.keep(question("1", "conversations/a"));
    expect(waiting.of("conversations/a")?.requestId).toBe("1");
  });
});
