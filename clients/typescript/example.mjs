/**
 * Loads a document, searches it, asks about it, reads the answer again, and cancels a question. Then it asks as programs of the code assistant do.
 *
 * Usage: RESPONSA_URL=http://127.0.0.1:8080 RESPONSA_API_KEY=… node example.mjs
 */

import { createAgent, Responsa, ResponsaError, turnError } from "@responsa/client";

const NOTES = "# The office\n\nThe key of the bicycle shed hangs behind the green door.\n";
const QUESTION = "Where does the key of the bicycle shed hang?";

const client = new Responsa({ url: process.env.RESPONSA_URL, credential: process.env.RESPONSA_API_KEY });
try {
  const notes = new Blob([NOTES], { type: "text/markdown" }); // openAsBlob of node:fs opens a file
  await client.finished(await client.upload(notes, { collection: "collections/default", sourceKey: "office.md" }));
  for (const { score, passage } of await client.search("bicycle shed", { topK: 3 })) console.log(score.toFixed(2), passage.title);

  const answer = client.ask(QUESTION);
  for await (const { event } of answer) {
    if (event.case === "delta") process.stdout.write(event.value.text);
  }
  const failure = turnError(answer.terminal);
  if (failure) throw failure;
  for (const { title, quote } of answer.citations) console.log(`\n${title}: ${quote}`);

  const again = client.resume(answer.turn); // any program can read the turn again, from any seq on
  for await (const { seq, event } of again) console.log(seq, event.case);
  console.log("the same text:", again.text === answer.text);

  const stopped = client.ask(QUESTION);
  console.log("cancelled:", (await stopped.stop()).name);

  const agent = createAgent(QUESTION, [], client);
  agent.on("data", (json) => console.log("agent:", JSON.parse(json).type));
  await new Promise((resolve, reject) => agent.on("end", resolve).on("error", reject));
} catch (error) {
  process.exitCode = 1;
  console.error(error instanceof ResponsaError ? `${error.reason}: ${error.message} ${error.remedy}` : error);
} finally {
  client.close();
}
