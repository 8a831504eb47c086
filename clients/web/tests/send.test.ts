import { expect, test } from "vitest";
import { send } from "../src/documents/send.js";

test("an upload that was cancelled before it begins is not sent", async () => {
  const upload = { file: new File(["Rye"], "rye.md"), path: "a.md", collection: "collections/default", subject: "", requestId: "" };
  // Node has no XMLHttpRequest, so an attempt to send would fail with a different error.
  await expect(send(upload, () => undefined, AbortSignal.abort())).rejects.toMatchObject({ name: "AbortError" });
});
