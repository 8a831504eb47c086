/** Uploads a document, finds it, asks about it, resumes an answer and cancels one. Set RESPONSA_URL and RESPONSA_API_KEY. */

import { openAsBlob } from "node:fs";
import { createAgentById, Responsa, ResponsaError, turnError } from "@responsa/client";

const client = new Responsa({ url: process.env.RESPONSA_URL, credential: process.env.RESPONSA_API_KEY });

const file = await openAsBlob(new URL("tides.md", import.meta.url), { type: "text/markdown" });
const operation = await client.upload(file, { collection: "collections/default", sourceKey: "tides.md" }, { onProgress: (share) => console.log(`sent ${Math.round(share * 100)} %`) });
await client.finished(operation, { onState: ({ name }) => console.log("waiting for", name) });

const [hit] = await client.search("tide table", { topK: 1 });
console.log("found:", hit.passage.title);

const stream = client.ask({ text: "Where does the tide table hang?", includeDeltas: true }, { paused: (error) => console.log("waiting:", error.message) });
let begun = 0n;
for await (const { seq, event } of stream) {
  if (event.case === "started") begun = seq;
}
console.log(stream.terminal.event.case, "of", stream.turn);

// Any program can read the turn again from any seq on.
const again = client.resume(stream.turn, begun);
for await (const { seq, event } of again) console.log(seq, event.case);
console.log("the same text:", again.text === stream.text);

const stopped = client.ask({ text: "Where is the harbour office?", conversation: "" });
await stopped.stop();
for await (const _ of stopped);
console.log(turnError(stopped.terminal)?.message ?? `ended before: ${stopped.terminal.event.case}`);

try {
  await client.chat.getTurn({ name: "turns/0" });
} catch (error) {
  if (!(error instanceof ResponsaError)) throw error;
  console.log(error.reason, "–", error.remedy);
}

// The face of the code assistant's former back end.
const agent = await createAgentById("Where does the tide table hang?", [], "default", client);
agent.on("data", (json) => console.log("agent:", JSON.parse(json).type));
agent.on("error", (json) => console.error("agent:", json));
agent.on("end", () => client.close());
