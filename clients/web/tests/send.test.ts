import { expect, test, vi } from "vitest";
import { send } from "../src/documents/send.js";

const upload = { file: new File(["Rye"], "rye.md"), path: "a.md", collection: "collections/default", subject: "", requestId: "" };

test("an upload that was cancelled before it begins is not sent", async () => {
  // Node has no XMLHttpRequest, so an attempt to send would fail with a different error.
  await expect(send(upload, "users/a", () => undefined, AbortSignal.abort())).rejects.toMatchObject({ name: "AbortError" });
});

test("an upload names the user for whom the page is drawn", async () => {
  const headers: [string, string][] = [];
  class Request extends EventTarget {
    readonly upload = new EventTarget();
    readonly status = 200;
    readonly responseText = '{"name": "operations/1"}';
    readonly open = () => undefined;
    readonly setRequestHeader = (name: string, value: string) => void headers.push([name, value]);
    readonly send = () => this.dispatchEvent(new Event("load"));
  }
  vi.stubGlobal("XMLHttpRequest", Request);
  try {
    expect((await send(upload, "users/a", () => undefined, new AbortController().signal)).name).toBe("operations/1");
  } finally {
    vi.unstubAllGlobals();
  }
  expect(headers).toEqual([["responsa-user", "users/a"]]);
});
