// The official client of Node against the address and the key in the environment. Prints what it got as JSON.
import { randomUUID } from "node:crypto";
import { TaskState } from "@a2a-js/sdk";
import { ClientFactory, DefaultAgentCardResolver, JsonRpcTransportFactory } from "@a2a-js/sdk/client";

const [quick, endless] = process.argv.slice(2);
const base = `${process.env.A2A_URL}/a2a/testing/`;
const fetchImpl = (url, init) =>
  fetch(url, { ...init, headers: { ...init?.headers, authorization: `Bearer ${process.env.A2A_KEY}` } });
const cardResolver = new DefaultAgentCardResolver({ fetchImpl });
const factory = new ClientFactory({
  transports: [new JsonRpcTransportFactory({ fetchImpl })],
  cardResolver,
});
const card = await cardResolver.resolve(base);
const client = await factory.createFromAgentCard(card);

const asked = (text, configuration) => ({
  message: { messageId: randomUUID(), role: 1, parts: [{ content: { $case: "text", value: text } }] },
  configuration,
});
const textOf = (artifact) =>
  artifact.parts.map((part) => (part.content.$case === "text" ? part.content.value : "")).join("");

const task = await client.sendMessage(asked(quick));
let streamed = "";
for await (const { payload } of client.sendMessageStream(asked(quick))) {
  if (payload.$case !== "artifactUpdate") continue;
  streamed = (payload.value.append ? streamed : "") + textOf(payload.value.artifact);
}

const running = await client.sendMessage(asked(endless, { acceptedOutputModes: [], returnImmediately: true }));
const followed = [];
let cancelled;
for await (const { payload } of client.resubscribeTask({ id: running.id })) {
  if (followed.length === 0) followed.push(payload.$case);
  if (payload.$case === "artifactUpdate" && !cancelled) cancelled = await client.cancelTask({ id: running.id });
  if (payload.$case === "statusUpdate") followed[1] = TaskState[payload.value.status.state];
}
const error = await client
  .getTask({ id: randomUUID() })
  .catch((caught) => [caught.name, caught.envelopeCode, caught.data[0].metadata.reason]);

console.log(
  JSON.stringify({
    answer: textOf(task.artifacts[0]),
    streamed,
    followed,
    cancelled: TaskState[cancelled.status.state],
    error,
  }),
);
