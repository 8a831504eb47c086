/** Tabs of one browser notify each other of changes, so that every tab shows the current state. */

export type News =
  /** A conversation has a new message or title, or was deleted. */
  | { readonly kind: "conversation"; readonly name: string }
  /** Documents or collections changed. */
  | { readonly kind: "documents" }
  /** A session has just begun. The tab that says so does not know yet whose it is, and may never learn it. */
  | { readonly kind: "sessionBegan" }
  /** A tab shows the page to this user, `users/{uuid}`. */
  | { readonly kind: "signedIn"; readonly user: string }
  | { readonly kind: "signedOut" };

const KINDS: readonly unknown[] = ["conversation", "documents", "sessionBegan", "signedIn", "signedOut"] satisfies News["kind"][];

export class Tabs {
  readonly #channel = new BroadcastChannel("responsa");

  constructor(heard: (news: News) => void) {
    this.#channel.addEventListener("message", ({ data }: MessageEvent<unknown>) => {
      // A tab with a different release of the page may send messages that this tab does not know.
      if (typeof data === "object" && data !== null && "kind" in data && KINDS.includes(data.kind)) heard(data as News);
    });
  }

  readonly tell = (news: News): void => this.#channel.postMessage(news);
}
