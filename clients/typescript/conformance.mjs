/**
 * Plays the cases of the conformance kit (clients/conformance) with this client.
 *
 * Usage: python -m clients.conformance -- node clients/typescript/conformance.mjs
 */

import { createHash } from "node:crypto";
import { createInterface } from "node:readline";
import { Code } from "@connectrpc/connect";
import { BrokenAnswer, CannotConnect, Responsa, ResponsaError } from "@responsa/client";
import { PATIENCE } from "@responsa/client/parts.js";

/** The words of the kit for the errors that the client itself raises. */
function reasonOf(error) {
  if (error.reason) return error.reason;
  if (error instanceof BrokenAnswer) return "broken";
  if (error instanceof CannotConnect) return "unreachable";
  return { [Code.DeadlineExceeded]: "deadline", [Code.Unavailable]: "cut" }[error.code] ?? Code[error.code];
}

function described(error) {
  return {
    reason: reasonOf(error),
    message: error.message,
    fields: error.violations.map(({ field, rule, description }) => [field, rule, description]),
    retry_after_ms: error.retryAfter ?? null,
    turn: error.turn,
    after_seq: Number(error.afterSeq),
  };
}

/** The name of an event's kind as in protobuf. */
function snake(kind) {
  return kind.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function clientOf(order, pauses) {
  const tokens = [...order.tokens];
  const patience = {
    pause: (attempt) => order.backoff_ms * 2 ** (attempt - 1),
    silence: order.silence_ms,
    giveUp: order.patience_ms,
    farewell: 0,
    sleep: (milliseconds, signal) => {
      pauses.push(milliseconds);
      return PATIENCE.sleep(milliseconds, signal);
    },
  };
  return new Responsa({ url: `http://${order.address}`, credential: () => (tokens.length > 1 ? tokens.shift() : tokens[0]), patience });
}

function begin(client, { start, text, agent, turn, after_seq: afterSeq, include_deltas: includeDeltas, timeout_ms: timeoutMs }, places) {
  const options = { place: (place) => places.push(place), ...(timeoutMs !== null && { timeoutMs }) };
  return start === "ask" ? client.ask({ text, agent: agent && `agents/${agent}`, includeDeltas }, options) : client.resume(turn, BigInt(afterSeq), { ...options, includeDeltas });
}

async function play(order) {
  const [events, places, pauses] = [[], [], []];
  const client = clientOf(order, pauses);
  const stream = begin(client, order, places);
  let error = null;
  try {
    for await (const { seq, event } of stream) {
      events.push([Number(seq), snake(event.case)]);
      if (Number(seq) === order.cancel_after) await stream.stop();
    }
  } catch (thrown) {
    if (!(thrown instanceof ResponsaError)) throw thrown;
    error = described(thrown);
  } finally {
    client.close();
  }
  const { turn, text, citations, terminal } = stream;
  const sha256 = createHash("sha256").update(text).digest("hex");
  return { case: order.case, turn, events, text, sha256, citations: citations.length, terminal: snake(terminal?.event.case ?? ""), error, places, pauses_ms: pauses };
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await play(JSON.parse(line)))}\n`);
}
