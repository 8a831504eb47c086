/** Lists the notifications to webhooks, and sends one again. */

import { toJson } from "@bufbuild/protobuf";
import { timestampDate, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { DeliveryState, type Delivery } from "@responsa/contract/responsa/admin/v1/delivery_pb.js";
import type { Api } from "../server/api.js";
import { button, element, WRITTEN } from "../widgets/dom.js";
import { failureOf } from "../server/errors.js";
import { count, momentOf } from "../text/facts.js";
import { Listing } from "../widgets/listing.js";
import { PATIENCE } from "@responsa/client/parts.js";

const PAGE = 20;
/** The number of looks at a notification that was sent again. */
const LOOKS = 8;

const EVENTS: Readonly<Record<string, string>> = { "source.failed": "run failed", "source.confirmation_wanted": "confirmation wanted", "source.succeeded": "run succeeded", "ingestion.failed": "ingestions failed" };

export type Outcome = Pick<Delivery, "state" | "attempts">;

/** The state of a notification in words. */
export function stateOf({ state, attempts }: Outcome): string {
  if (state === DeliveryState.DELIVERED) return "delivered";
  if (state === DeliveryState.FAILED) return `failed after ${count(attempts, "attempt")}`;
  return attempts > 0 ? `${count(attempts, "attempt")} failed; the server will try again` : "waiting";
}

export class DeliveriesPart {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "admin">;
  readonly #say: (text: string) => void;
  readonly #list: Listing<Delivery>;
  #showing = new AbortController();

  constructor(api: Pick<Api, "admin">, say: (text: string) => void) {
    this.#api = api;
    this.#say = say;
    this.#list = new Listing<Delivery>({
      label: "Notifications",
      read: async (pageToken) => {
        const { deliveries, nextPageToken } = await api.admin.listDeliveries({ pageSize: PAGE, pageToken });
        return { items: deliveries, next: nextPageToken };
      },
      row: (one) => this.#row(one),
      empty: () => "No notifications yet.",
    });
    const about = element("p", { class: "note" }, "When a run has ended or ingestions have failed, the server notifies the webhooks that the owner of the installation has declared. Failed ingestions cause at most one notification an hour. The server tries to send each notification up to eight times within 18 hours.");
    this.root = element("section", { class: "stack", "aria-label": "Notifications to webhooks" }, element("h3", {}, "Notifications"), about, this.#list.root);
  }

  async show(): Promise<void> {
    this.leave();
    this.#showing = new AbortController();
    await this.#list.refresh();
  }

  /** The list is not shown any more. What is being sent goes on. */
  leave(): void {
    this.#showing.abort();
  }

  #row(first: Delivery): HTMLElement {
    let sending = false;
    const badge = element("span", {});
    const facts = element("p", { class: "note whole", ...WRITTEN });
    const problem = element("p", { class: "problem whole", ...WRITTEN });
    const paint = (one: Delivery) => {
      badge.className = one.state === DeliveryState.DELIVERED ? "badge good" : one.state === DeliveryState.FAILED ? "badge warn" : "badge";
      badge.textContent = stateOf(one);
      facts.textContent = [one.source.replace(/^sources\//, ""), one.createTime && momentOf(timestampDate(one.createTime))].filter(Boolean).join(" · ");
      problem.textContent = one.state === DeliveryState.WAITING && one.attempts === 0 ? "" : one.problem; // a notification that is sent again keeps its problem until the next attempt
    };
    const again = async () => {
      if (sending) return;
      sending = true;
      try {
        await this.#again(first, paint);
        this.#say(`Notification: ${badge.textContent ?? ""}.`);
      } catch (error) {
        problem.textContent = failureOf(error).message;
      } finally {
        sending = false;
      }
    };
    paint(first);
    const name = element("span", { class: "name", ...WRITTEN }, `${first.webhook}: ${EVENTS[first.event] ?? first.event}`);
    return element("li", { class: "wrapping" }, element("div", { class: "about" }, badge, name, facts, problem), button("Send again", () => void again(), { class: "quiet" }));
  }

  /** Send a notification again, and look at it until the first attempt has ended. Raises ConnectError. */
  async #again({ name, webhook, createTime }: Delivery, paint: (one: Delivery) => void): Promise<void> {
    const { signal } = this.#showing;
    let now = await this.#api.admin.redeliverDelivery({ name });
    paint(now);
    const filter = createTime && `webhook = ${JSON.stringify(webhook)} AND create_time <= ${toJson(TimestampSchema, createTime)}`;
    for (let look = 1; filter && look <= LOOKS && now.state === DeliveryState.WAITING && now.attempts === 0; look += 1) {
      await PATIENCE.sleep(250 * 2 ** (look - 1), signal);
      if (signal.aborted) return;
      const { deliveries } = await this.#api.admin.listDeliveries({ filter, pageSize: 1 }, { signal });
      const found = deliveries.find((one) => one.name === name);
      if (!found) return;
      paint((now = found));
    }
  }
}
