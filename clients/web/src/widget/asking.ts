/** Asks over REST and follows the answer's server-sent events, through lost connections too. Nothing here touches the page. */

import { uuid } from "@responsa/client/parts.js";

interface Range {
  readonly start?: string;
  readonly end?: string;
}

export interface Citation {
  readonly title?: string;
  readonly uri?: string;
  readonly quote?: string;
  readonly answerRange?: Range;
  readonly quoteOrigin?: string;
  readonly verdict?: string;
  readonly differences?: readonly object[];
}

/** The end of a turn: the answer, or a problem to show. */
export interface Ended {
  readonly text: string;
  readonly citations: readonly Citation[];
  /** The sentences that name no source. */
  readonly unsourced: readonly Range[];
  /** Whether the text is passages, which nobody has read for the question. */
  readonly passages: boolean;
  readonly problem: string;
}

interface Frame {
  readonly turn: string;
  readonly throughSeq: string;
  readonly events?: readonly {
    readonly delta?: { readonly text?: string };
    readonly attemptRestarted?: object;
    readonly answer?: { readonly text?: string; readonly model?: string; readonly citations?: readonly Citation[]; readonly unsourced?: readonly Range[] };
    readonly refused?: object;
    readonly failed?: { readonly status?: { readonly message?: string } };
    readonly cancelled?: object;
  }[];
}

/** Milliseconds before each further connection; after the last, the question has failed. */
const WAITS = [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000];
const LOST = "The connection was lost. Ask again.";
export const NONE = "The documents have no answer to this.";

/** Ask, and call `show` with the text that has arrived. The same request id makes a repeated request the same question. */
export async function ask(server: string, key: string, question: { readonly text: string; readonly agent: string }, show: (text: string) => void, signal: AbortSignal): Promise<Ended> {
  const body = JSON.stringify({ text: question.text, requestId: uuid(), includeDeltas: true, ...(question.agent && { agent: `agents/${question.agent}` }) });
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json", accept: "text/event-stream" };
  let [turn, seq, text, tries] = ["", "0", "", 0];
  while (!signal.aborted) {
    try {
      const address = turn ? `${server}/v1/${turn}/events?includeDeltas=true&afterSeq=${seq}` : `${server}/v1/turns:ask`;
      const response = await fetch(address, { headers, credentials: "omit", signal, ...(!turn && { method: "POST", body }) });
      if (!response.ok && response.status < 500) return failed(((await response.json()) as { message?: string }).message ?? LOST);
      if (!response.ok || !response.body) throw new TypeError("no answer");
      for await (const frame of frames(response.body)) {
        [turn, seq, tries] = [frame.turn, frame.throughSeq, 0];
        for (const { delta, attemptRestarted, answer, refused, failed: failure, cancelled } of frame.events ?? []) {
          if (answer) return { text: answer.text ?? "", citations: answer.citations ?? [], unsourced: answer.unsourced ?? [], passages: answer.model === "passages", problem: "" };
          if (refused) return failed(NONE);
          if (failure || cancelled) return failed(failure?.status?.message ?? LOST);
          if (attemptRestarted) text = "";
          if (delta) show((text += delta.text ?? ""));
        }
      }
    } catch (error) {
      if (!(error instanceof TypeError) && !(error instanceof DOMException)) throw error; // anything else is a mistake of this script
    }
    const wait = WAITS[tries++];
    if (wait === undefined) break;
    await new Promise((done) => setTimeout(done, wait));
  }
  return failed(LOST);
}

function failed(problem: string): Ended {
  return { text: "", citations: [], unsourced: [], passages: false, problem };
}

async function* frames(body: ReadableStream<Uint8Array>): AsyncGenerator<Frame> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop()!;
    for (const block of blocks) {
      if (block.includes("event: error_status")) return;
      const data = block.split("\n").flatMap((line) => (line.startsWith("data: ") ? [line.slice(6)] : []));
      if (data.length > 0) yield JSON.parse(data.join("\n")) as Frame;
    }
  }
}
