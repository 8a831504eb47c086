import { expect, test } from "vitest";
import type { Failure } from "../src/errors.js";
import { CUT } from "../src/errors.js";
import { UploadQueue, type Item } from "../src/queue.js";
import { UploadRefused, type Upload } from "../src/send.js";

const DEFAULT = { name: "collections/default", label: "default" };
const refusal = (reason: string): Failure => ({ ...CUT, reason, message: `${reason}.` });
const settled = () => new Promise((resolve) => setTimeout(resolve));

/** A queue whose uploads end when the test says so. */
class Trial {
  readonly running = new Map<string, { readonly upload: Upload; readonly end: (unchanged?: boolean) => Promise<unknown>; readonly fail: (error: Error) => Promise<unknown> }>();
  readonly ended: string[] = [];
  idle = 0;
  readonly queue = new UploadQueue({
    perform: (upload, tell, signal) =>
      new Promise((resolve, reject) => {
        tell(0.5, "halfway");
        const end = (unchanged = false) => (this.running.delete(upload.path), resolve(unchanged), settled());
        const fail = (error: Error) => (this.running.delete(upload.path), reject(error), settled());
        this.running.set(upload.path, { upload, end, fail });
        signal.addEventListener("abort", () => void fail(new DOMException("Aborted", "AbortError")));
      }),
    changed: () => undefined,
    ended: (item) => this.ended.push(`${item.path} ${item.state}`),
    idle: () => (this.idle += 1),
  });

  constructor(...paths: readonly string[]) {
    this.queue.add(paths.map((path) => ({ path, file: new File(["Rye"], path) })), DEFAULT);
  }

  get states(): Record<string, string> {
    return Object.fromEntries([...this.queue.items].map(({ path, state }) => [path, state]));
  }

  item(path: string): Item {
    return [...this.queue.items].find((one) => one.path === path)!;
  }

  of(path: string) {
    const found = this.running.get(path);
    if (!found) throw new Error(`${path} does not run`);
    return found;
  }
}

test("two files are sent at a time, in order", async () => {
  const trial = new Trial("a", "b", "c");
  expect(trial.states).toEqual({ a: "running", b: "running", c: "waiting" });
  await trial.of("b").end(true);
  expect(trial.states).toEqual({ a: "running", b: "unchanged", c: "running" });
  await trial.of("a").end();
  await trial.of("c").end();
  expect(trial.ended).toEqual(["b unchanged", "a added", "c added"]);
  expect(trial.idle).toBe(1);
  expect(trial.queue.isBusy).toBe(false);
});

test("a stopped queue sends nothing more until it goes on", async () => {
  const trial = new Trial("a", "b", "c");
  trial.queue.stop("Enough.");
  await trial.of("a").end();
  expect(trial.states).toEqual({ a: "added", b: "running", c: "waiting" });
  expect(trial.queue.stopped).toBe("Enough.");
  trial.queue.goOn();
  expect(trial.states["c"]).toBe("running");
});

test("a lost connection stops the queue, and the file can be tried again with the same request", async () => {
  const trial = new Trial("a", "b", "c");
  const before = trial.of("a").upload.requestId;
  await trial.of("a").fail(new UploadRefused(CUT));
  expect(trial.states).toEqual({ a: "refused", b: "running", c: "waiting" });
  expect(trial.queue.stopped).toBe(CUT.message);
  trial.queue.allAgain();
  expect(trial.queue.stopped).toBe("");
  await trial.of("b").end();
  await trial.of("c").end();
  expect(trial.of("a").upload.requestId).toBe(before);
});

test("an upload that failed on the server gets another request", async () => {
  const trial = new Trial("a");
  const before = trial.of("a").upload.requestId;
  await trial.of("a").fail(new UploadRefused(refusal("PART_UNAVAILABLE"), true));
  trial.queue.again(trial.item("a"));
  expect(trial.of("a").upload.requestId).not.toBe(before);
});

test("the content of a file is kept only as long as the file may be sent", async () => {
  const trial = new Trial("a", "b", "c");
  await trial.of("a").end();
  await trial.of("b").fail(new UploadRefused(refusal("DOCUMENT_MALFORMED")));
  await trial.of("c").fail(new UploadRefused(CUT));
  expect(["a", "b", "c"].map((path) => (trial.item(path) as { readonly upload?: unknown }).upload !== undefined)).toEqual([false, false, true]);
});

test("a refused document does not stop the others, and is not tried again", async () => {
  const trial = new Trial("a", "b", "c");
  await trial.of("a").fail(new UploadRefused(refusal("DOCUMENT_MALFORMED")));
  expect(trial.states).toEqual({ a: "refused", b: "running", c: "running" });
  expect(trial.item("a").again).toBe(false);
  expect(trial.item("a").note).toBe("DOCUMENT_MALFORMED.");
  trial.queue.again(trial.item("a"));
  expect(trial.states["a"]).toBe("refused");
});

test("all files can be cancelled, and tried again with other requests", async () => {
  const trial = new Trial("a", "b", "c");
  const before = trial.of("a").upload.requestId;
  trial.queue.cancelAll();
  await settled();
  expect(trial.states).toEqual({ a: "cancelled", b: "cancelled", c: "cancelled" });
  expect(trial.ended).toEqual([]);
  trial.queue.again(trial.item("a"));
  expect(trial.of("a").upload.requestId).not.toBe(before);
});

test("the counts and the work include each file once", async () => {
  const trial = new Trial("a", "b", "c");
  trial.queue.add([{ path: ".git", rule: "HIDDEN", why: "hidden" }, { path: "x", rule: undefined, why: "unreadable" }], DEFAULT);
  expect(trial.queue.count("running", "waiting")).toBe(3);
  expect(trial.queue.count("skipped")).toBe(1);
  expect(trial.queue.count("refused")).toBe(1);
  const { total } = trial.queue.work;
  expect(trial.queue.work.done).toBeCloseTo(total / 3); // two files are halfway
  await trial.of("a").end();
  trial.queue.clear();
  expect(trial.states).toEqual({ b: "running", c: "running" });
  expect(trial.queue.count("added", "skipped", "refused")).toBe(0);
  expect(trial.queue.work.total).toBeCloseTo((total * 2) / 3);
  await trial.of("b").end();
  await trial.of("c").end();
  expect(trial.queue.work.done).toBe(trial.queue.work.total);
});
