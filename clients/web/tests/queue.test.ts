import { expect, test } from "vitest";
import type { Failure } from "../src/server/errors.js";
import { CUT } from "../src/server/errors.js";
import type { Found, Looking } from "../src/documents/folders.js";
import { UploadQueue, type Item } from "../src/documents/queue.js";
import { UploadRefused, type Upload } from "../src/documents/upload.js";

const DEFAULT = { name: "collections/default", label: "default" };
const refusal = (reason: string): Failure => ({ ...CUT, reason, message: `${reason}.` });
const settled = () => new Promise((resolve) => setTimeout(resolve));

/** A queue whose uploads end when the test says so. */
class Trial {
  readonly running = new Map<string, { readonly upload: Upload; readonly end: (unchanged?: boolean, remark?: string, replaced?: boolean) => Promise<unknown>; readonly fail: (error: Error) => Promise<unknown> }>();
  readonly ended: string[] = [];
  idle = 0;
  readonly queue = new UploadQueue({
    perform: (upload, tell, signal) =>
      new Promise((resolve, reject) => {
        tell(0.5, "halfway");
        const end = (unchanged = false, remark = "", replaced = false) => (this.running.delete(upload.path), resolve({ unchanged, replaced, remark }), settled());
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

test("a subject stays with the files that were added with it, and with new tries", async () => {
  const trial = new Trial("a");
  trial.queue.add([{ path: "b", file: new File(["Rye"], "b") }], DEFAULT, "keeper-7");
  expect([trial.of("a").upload.subject, trial.of("b").upload.subject]).toEqual(["", "keeper-7"]);
  trial.queue.cancel(trial.item("b"));
  await settled();
  trial.queue.again(trial.item("b"));
  expect(trial.of("b").upload.subject).toBe("keeper-7");
});

test("a file that has ended says what its text lacks", async () => {
  const trial = new Trial("a");
  await trial.of("a").end(false, "left out: 1 picture");
  expect(trial.item("a").note).toBe("searchable; left out: 1 picture");
});

test("a new version of a document is not an added file", async () => {
  const trial = new Trial("a");
  await trial.of("a").end(false, "", true);
  expect([trial.states["a"], trial.item("a").note]).toEqual(["replaced", "searchable"]);
});

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

/** A search whose batches the test hands over one by one. Each batch stands for an archive. */
class Search {
  readonly asked: string[] = [];
  #hand: (paths: readonly string[] | undefined) => void = () => undefined;
  readonly found: Promise<void>;

  constructor(trial: Trial) {
    this.found = trial.queue.find((looking) => this.#search(looking), DEFAULT, "");
  }

  async *#search({ signal, room }: Looking): AsyncGenerator<Found[]> {
    for (;;) {
      await room();
      this.asked.push("archive");
      const paths = await new Promise<readonly string[] | undefined>((resolve) => {
        this.#hand = resolve;
        signal.addEventListener("abort", () => resolve(undefined));
      });
      if (!paths) return;
      yield paths.map((path) => ({ path, file: new File(["Rye"], path) }));
    }
  }

  async hand(...paths: readonly string[]): Promise<void> {
    this.#hand(paths.length > 0 ? paths : undefined);
    await settled();
  }
}

test("an archive is unpacked when few files wait, one archive at a time", async () => {
  const trial = new Trial();
  const [one, other] = [new Search(trial), new Search(trial)];
  await settled();
  expect([one.asked.length, other.asked.length]).toEqual([1, 0]);
  await one.hand("a", "b", "c", "d", "e");
  expect([one.asked.length, other.asked.length]).toEqual([1, 0]); // three files wait
  await trial.of("a").end();
  expect([one.asked.length, other.asked.length]).toEqual([1, 1]);
  await other.hand();
  await other.found;
  expect(one.asked.length).toBe(2);
});

test("the uploads end when no more files are looked for", async () => {
  const trial = new Trial();
  const search = new Search(trial);
  await settled();
  expect([trial.queue.isLooking, trial.queue.isBusy]).toEqual([true, true]);
  await search.hand("a");
  await trial.of("a").end();
  expect(trial.idle).toBe(0);
  await search.hand();
  expect([trial.idle, trial.queue.isLooking, trial.queue.isBusy]).toEqual([1, false, false]);
});

test("cancelling all files also ends the search for more", async () => {
  const trial = new Trial();
  const [search, other] = [new Search(trial), new Search(trial)];
  await settled();
  await search.hand("a", "b", "c", "d", "e");
  trial.queue.stop("Enough.");
  trial.queue.cancelAll();
  await Promise.all([search.found, other.found]);
  expect(new Set(Object.values(trial.states))).toEqual(new Set(["cancelled"]));
  expect([trial.queue.isLooking, trial.queue.stopped, other.asked.length]).toEqual([false, "", 0]);
});

test("a stop ends when no file is left that it could hold up", async () => {
  const trial = new Trial("a", "b", "c");
  trial.queue.stop("Enough.");
  trial.queue.cancel(trial.item("a"));
  expect(trial.queue.stopped).toBe("Enough.");
  trial.queue.cancel(trial.item("c"));
  expect(trial.queue.stopped).toBe("");
  await settled();
  trial.queue.add([{ path: "d", file: new File(["Rye"], "d") }], DEFAULT);
  expect(trial.states["d"]).toBe("running");
});
