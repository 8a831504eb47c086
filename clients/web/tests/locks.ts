/** The locks of a browser, in memory: exclusive, first come, first served. */

import type { Locks } from "../src/chat/streams.js";

interface Request {
  readonly name: string;
  readonly grant: () => void;
}

export class MemoryLocks {
  readonly #held = new Set<string>();
  #waiting: Request[] = [];

  get held(): readonly string[] {
    return [...this.#held].sort();
  }

  request(name: string, options: LockOptions, callback: (lock: Lock | null) => unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const { signal, ifAvailable } = options;
      if (signal?.aborted) return reject(signal.reason);
      const grant = async () => {
        this.#held.add(name);
        try {
          resolve(await callback({ name, mode: "exclusive" }));
        } catch (error) {
          reject(error);
        } finally {
          this.#held.delete(name);
          const next = this.#waiting.find((one) => one.name === name);
          this.#waiting = this.#waiting.filter((one) => one !== next);
          next?.grant();
        }
      };
      if (!this.#held.has(name)) return void grant();
      if (ifAvailable) return resolve(callback(null));
      const waiting = { name, grant: () => void grant() };
      this.#waiting.push(waiting);
      signal?.addEventListener("abort", () => {
        if (!this.#waiting.includes(waiting)) return;
        this.#waiting = this.#waiting.filter((one) => one !== waiting);
        reject(signal.reason);
      });
    });
  }

  query(): Promise<LockManagerSnapshot> {
    return Promise.resolve({ held: this.held.map((name) => ({ name })), pending: this.#waiting.map(({ name }) => ({ name })) });
  }

  asLocks(): Locks {
    return this as unknown as Locks;
  }
}
