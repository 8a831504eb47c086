import { describe, expect, it } from "vitest";
import { PendingQuestions, type Pending } from "../src/chat/pending.js";
import { MemoryStorage } from "./memory.js";

const KEY = "responsa.pending";

function question(requestId: string, begun = "", turn = ""): Pending {
  return { requestId, text: "Why?", conversation: "", collections: ["collections/a"], agent: "", parameters: { level: "beginner" }, begun, turn, stopping: false };
}

describe("PendingQuestions", () => {
  it("survives a reload", () => {
    const storage = new MemoryStorage();
    new PendingQuestions(storage).keep(question("1", "conversations/a"));
    expect(new PendingQuestions(storage).of("conversations/a")).toEqual([question("1", "conversations/a")]);
  });

  it("returns a question for its conversation after the conversation is known", () => {
    const waiting = new PendingQuestions(new MemoryStorage());
    waiting.keep(question("1"));
    expect(waiting.of("").map((one) => one.requestId)).toEqual(["1"]);
    waiting.keep(question("1", "conversations/a"));
    expect(waiting.of("")).toEqual([]);
    expect(waiting.of("conversations/a")[0]?.conversation).toBe(""); // the page sends the question again unchanged
    expect(waiting.of("conversations/b")).toEqual([]);
  });

  it("keeps the order in which the questions were asked, whatever becomes known later", () => {
    const waiting = new PendingQuestions(new MemoryStorage());
    waiting.keep(question("1", "conversations/a"));
    waiting.keep(question("2", "conversations/a"));
    waiting.keep({ ...question("1", "conversations/a", "turns/1"), stopping: true });
    expect(waiting.of("conversations/a").map((one) => [one.requestId, one.turn, one.stopping])).toEqual([
      ["1", "turns/1", true],
      ["2", "", false],
    ]);
  });

  it("leaves nothing in the storage after all questions are answered", () => {
    const storage = new MemoryStorage();
    const waiting = new PendingQuestions(storage);
    waiting.keep(question("1", "conversations/a"));
    waiting.keep(question("2", "conversations/b"));
    waiting.drop(question("1"));
    expect(waiting.of("conversations/b")).toHaveLength(1);
    waiting.dropOf("conversations/b");
    expect(storage.length).toBe(0);
  });

  it("keeps only a limited number of questions", () => {
    const storage = new MemoryStorage();
    const waiting = new PendingQuestions(storage);
    for (let number = 0; number < 40; number += 1) waiting.keep(question(String(number), `conversations/${number}`));
    expect(waiting.of("conversations/0")).toEqual([]);
    expect(waiting.of("conversations/39")).toHaveLength(1);
    expect((JSON.parse(storage.getItem(KEY)!) as unknown[]).length).toBeLessThanOrEqual(16);
  });

  it("reads entries without parameters, and ignores entries with invalid parameters", () => {
    const storage = new MemoryStorage();
    const { parameters: _, ...older } = question("1");
    storage.setItem(KEY, JSON.stringify([older, { ...question("2"), parameters: { level: ["x"] } }, { ...question("3"), parameters: 3 }]));
    expect(new PendingQuestions(storage).of("")).toEqual([{ ...question("1"), parameters: {} }]);
  });

  it("ignores entries of other programs", () => {
    for (const found of ["{", "null", "7", '{"requestId":"1"}', '[null, 3, {"requestId": 5}, {"requestId":"1","text":"a","conversation":"","begun":"","collections":[1]}]']) {
      const storage = new MemoryStorage();
      storage.setItem(KEY, found);
      expect(new PendingQuestions(storage).of(""), found).toEqual([]);
    }
  });

  it("works in memory if storing is forbidden", () => {
    const storage = new MemoryStorage();
    storage.setItem = () => {
      throw new DOMException("full", "QuotaExceededError");
    };
    const waiting = new PendingQuestions(storage);
    waiting.keep(question("1", "conversations/a"));
    expect(waiting.of("conversations/a")).toHaveLength(1);
  });
});
