// The official client of Node against the address and the key in the environment. Prints what it got as JSON.
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0 });
const question = { model: "testing", messages: [{ role: "user", content: process.argv[2] }] };

const completion = await client.chat.completions.create(question);
let streamed = "";
for await (const chunk of await client.chat.completions.create({ ...question, stream: true })) {
  streamed += chunk.choices[0]?.delta.content ?? "";
}
const response = await client.responses.create({ model: "testing", input: process.argv[2] });
let resumed = "";
for await (const event of await client.responses.retrieve(response.id, { stream: true, starting_after: 10 })) {
  if (event.type === "response.output_text.delta") resumed += event.delta;
}
const models = [];
for await (const model of client.models.list()) models.push(model.id);
const embeddings = await client.embeddings.create({ model: "", input: ["a text"] });
const error = await client.chat.completions.create({ ...question, n: 2 }).catch((caught) => [caught.code, caught.param]);

console.log(
  JSON.stringify({
    answer: completion.choices[0].message.content,
    streamed,
    response: response.output_text,
    resumed,
    models,
    dimensions: embeddings.data[0].embedding.length,
    error,
  }),
);
