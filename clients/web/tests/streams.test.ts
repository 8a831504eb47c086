import { afterEach, describe, expect, it } from "vitest";
import { FrameReader, type Frame } from "@responsa/client/parts.js";
import { SharedStreams, SHARING, type Sharing } from "../src/chat/streams.js";
import { MemoryLocks } from "./locks.js";
import { frame, hang, heartbeat, reconnect, started, TURN, whole } from "../../typescript/tests/turns.js";

/** A server whose log grows when the test calls `grow`. It counts the open streams. */
class Server {
  streams = 0;
  most = 0;
  calls: bigint[] = [];
  readonly #log: Frame[] = [];
  #grown: () => void = () => undefined;
  #growing = new Promise<void>((resolve) => (this.#grown = resolve));

  grow(...frames: Frame[]): void {
    this.#log.push(...frames);
    this.#grown();
    this.#growing = new Promise((resolve) => (this.#grown = resolve));
  }

  readonly resume = (turn: string, after: bigint, signal: AbortSignal) => this.#stream(turn, after, signal);
  readonly ask = (signal: AbortSignal) => this.#stream(TURN, 0n, signal);

  async *#stream(turn: string, after: bigint, signal: AbortSignal): AsyncGenerator<Frame> {
    this.calls.push(after);
    this.streams += 1;
    this.most = Math.max(this.most, this.streams);
    let place = 0;
    try {
      while (!signal.aborted) {
        const next = this.#log[place];
        if (!next) {
          await Promise.race([this.#growing, hang(signal)]);
          continue;
        }
        place += 1;
        if (next.throughSeq <= after && next.afterSeq < next.throughSeq) continue;
        if (next.afterSeq < after) continue;
        yield { ...next, turn };
        if (next.events.some(({ event }) => event.case === "answer")) return;
      }
    } finally {
      this.streams -= 1;
    }
  }
}

const QUICK: Sharing = { ...SHARING, slice: 5, answer: 5_000 };
const open: SharedStreams[] = [];

function tabs(server: Server, count: number, sharing = QUICK, locks: MemoryLocks | undefined = new MemoryLocks()): SharedStreams[] {
  const made = Array.from({ length: count }, () => new SharedStreams(server.resume, new BroadcastChannel("test"), locks?.asLocks(), sharing));
  open.push(...made);
  return made;
}

afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

class Tab {
  readonly seqs: number[] = [];
  readonly places: number[] = [];
  readonly ended: Promise<void>;
  readonly #leave = new AbortController();

  constructor(open: (signal: AbortSignal) => AsyncIterable<Frame>, turn = TURN) {
    this.ended = this.#read(open, turn);
  }

  leave(): void {
    this.#leave.abort();
  }

  async #read(open: (signal: AbortSignal) => AsyncIterable<Frame>, turn: string): Promise<void> {
    const reader = new FrameReader({ includeDeltas: true, turn });
    reader.begin();
    for await (const one of open(this.#leave.signal)) {
      this.seqs.push(...reader.take(one).map(({ seq }) => Number(seq)));
      this.places.push(reader.place);
      if (reader.terminal) return;
    }
  }
}

const resuming = (streams: SharedStreams, turn = TURN, after = 0n) => new Tab((signal) => streams.resume(turn, after, signal), turn);

describe("SharedStreams", () => {
  it("sends a turn's events to all tabs over one stream", async () => {
    const server = new Server();
    const [one, two, three] = tabs(server, 3) as [SharedStreams, SharedStreams, SharedStreams];
    const log = whole(6);
    server.grow(...log.slice(0, 2));
    const first = resuming(one);
    await expect.poll(() => first.seqs).toEqual([1, 2]);
    const second = resuming(two);
    await expect.poll(() => second.seqs).toEqual([1, 2]);
    server.grow(...log.slice(2, 4));
    const third = resuming(three);
    server.grow(...log.slice(4));
    await Promise.all([first.ended, second.ended, third.ended]);
    for (const tab of [first, second, third]) expect(tab.seqs).toEqual([1, 2, 3, 4, 5, 6]);
    expect(server.most).toBe(1);
  });

  it("also sends the frames of a tab that asks", async () => {
    const server = new Server();
    const [one, two] = tabs(server, 2) as [SharedStreams, SharedStreams];
    const log = whole(4);
    server.grow(...log.slice(0, 2));
    const asking = new Tab((signal) => one.ask(server.ask, signal));
    await expect.poll(() => asking.seqs).toEqual([1, 2]);
    const other = resuming(two);
    await expect.poll(() => other.seqs).toEqual([1, 2]);
    server.grow(...log.slice(2));
    await Promise.all([asking.ended, other.ended]);
    expect(other.seqs).toEqual([1, 2, 3, 4]);
    expect(server.most).toBe(1);
  });

  it("leaves the stream to another tab that found the turn before the asking tab knew the turn's name", async () => {
    const server = new Server();
    const [one, two] = tabs(server, 2) as [SharedStreams, SharedStreams];
    const log = whole(4);
    const asking = new Tab((signal) => one.ask(server.ask, signal));
    await expect.poll(() => server.streams).toBe(1);
    const other = resuming(two);
    await expect.poll(() => server.streams).toBe(2);
    server.grow(...log.slice(0, 2));
    for (const tab of [asking, other]) await expect.poll(() => tab.seqs).toEqual([1, 2]);
    await expect.poll(() => server.streams).toBe(1);
    server.grow(...log.slice(2));
    await Promise.all([asking.ended, other.ended]);
    for (const tab of [asking, other]) expect(tab.seqs).toEqual([1, 2, 3, 4]);
  });

  it("continues in another tab, after that tab's last frame, when the tab that follows closes", async () => {
    const server = new Server();
    const [one, two, three] = tabs(server, 3) as [SharedStreams, SharedStreams, SharedStreams];
    const log = whole(6);
    server.grow(...log.slice(0, 3));
    const first = resuming(one);
    await expect.poll(() => first.seqs).toEqual([1, 2, 3]);
    const others = [resuming(two), resuming(three)];
    for (const tab of others) await expect.poll(() => tab.seqs).toEqual([1, 2, 3]);
    first.leave();
    await first.ended;
    server.grow(...log.slice(3));
    await Promise.all(others.map((tab) => tab.ended));
    for (const tab of others) expect(tab.seqs).toEqual([1, 2, 3, 4, 5, 6]);
    expect(server.calls).toEqual([0n, 3n]);
    expect(server.most).toBe(1);
  });

  it("sends places in the queue to other tabs, but not that a server shuts down", async () => {
    const server = new Server();
    const [one, two] = tabs(server, 2) as [SharedStreams, SharedStreams];
    server.grow(frame(0, 1, started(1)));
    const first = resuming(one);
    await expect.poll(() => first.seqs).toEqual([1]);
    const second = resuming(two);
    await expect.poll(() => second.seqs).toEqual([1]);
    server.grow(frame(1, 1, heartbeat(2)), frame(1, 1, reconnect()), frame(1, 1, heartbeat(1)));
    await expect.poll(() => second.places).toEqual([0, 2, 1]);
    first.leave();
    second.leave();
    await Promise.all([first.ended, second.ended]);
  });

  it("follows alone if the tab that holds the lock does not respond", async () => {
    const server = new Server();
    const locks = new MemoryLocks();
    const frozen = new AbortController();
    void locks.request(`responsa.turn.${TURN}`, {}, () => hang(frozen.signal));
    const [one] = tabs(server, 1, { ...QUICK, answer: 1 }, locks) as [SharedStreams];
    server.grow(...whole(3));
    const tab = resuming(one);
    await tab.ended;
    expect(tab.seqs).toEqual([1, 2, 3]);
    frozen.abort();
  });

  it("follows alone if the tab that follows does not have the first frames", async () => {
    const server = new Server();
    const [one, two] = tabs(server, 2, { ...QUICK, answer: 1 }) as [SharedStreams, SharedStreams];
    const log = whole(4);
    server.grow(...log.slice(0, 3));
    const leave = new AbortController();
    const late = one.resume(TURN, 2n, leave.signal);
    expect((await late.next()).value).toMatchObject({ afterSeq: 2n });
    const tab = resuming(two);
    await expect.poll(() => tab.seqs).toEqual([1, 2, 3]);
    expect(server.calls).toEqual([2n, 0n]);
    server.grow(...log.slice(3));
    await tab.ended;
    leave.abort();
    await late.return(undefined);
  });

  it("shares a few connections between the streams of many turns, and closes the streams afterwards", async () => {
    const server = new Server();
    const locks = new MemoryLocks();
    const log = whole(5);
    server.grow(...log.slice(0, 2));
    const many = tabs(server, 7, { ...QUICK, slots: 2 }, locks).map((one, number) => resuming(one, `turns/${number}`));
    for (const tab of many) await expect.poll(() => tab.seqs).toEqual([1, 2]);
    expect(server.most).toBe(2);
    server.grow(...log.slice(2));
    await Promise.all(many.map((tab) => tab.ended));
    for (const tab of many) expect(tab.seqs).toEqual([1, 2, 3, 4, 5]);
    await expect.poll(() => locks.held).toEqual([]);
    expect(server.streams).toBe(0);
  });

  it("follows in each tab if the browser has no locks", async () => {
    const server = new Server();
    const made = [0, 1].map(() => new SharedStreams(server.resume, new BroadcastChannel("test"), undefined));
    open.push(...made);
    server.grow(...whole(3));
    const both = made.map((one) => resuming(one));
    await Promise.all(both.map((tab) => tab.ended));
    for (const tab of both) expect(tab.seqs).toEqual([1, 2, 3]);
    expect(server.calls).toEqual([0n, 0n]);
  });

  it("ignores unknown messages of another release of the page", async () => {
    const server = new Server();
    const [one] = tabs(server, 1) as [SharedStreams];
    const stranger = new BroadcastChannel("test");
    for (const said of [null, 7, {}, { kind: "want" }, { kind: "frames", turn: TURN, frames: [1] }, { kind: "new", turn: TURN }]) stranger.postMessage(said);
    server.grow(...whole(2));
    const tab = resuming(one);
    await tab.ended;
    expect(tab.seqs).toEqual([1, 2]);
    stranger.close();
  });
});
