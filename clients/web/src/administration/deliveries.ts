/** Lists the notifications to webhooks, and sends one again. */

import { toJson } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { DeliveryState, type Delivery } from "@responsa/contract/responsa/admin/v1/delivery_pb.js";
import { PATIENCE } from "@responsa/client/parts.js";
import { t } from "../language/administration/texts.js";
import type { Api } from "../server/api.js";
import { failureOf } from "../server/errors.js";
import { moment } from "../text/facts.js";
import { button, element, WRITTEN } from "../widgets/dom.js";
import { ResourceList, type Row } from "../widgets/resourcelist.js";
import type { Part } from "../widgets/tabbed.js";

const PAGE = 20;
/** The number of looks at a notification that was sent again. */
const LOOKS = 8;

const EVENTS: Readonly<Record<string, string>> = {
  "source.failed": t("runFailed"),
  "source.confirmation_wanted": t("confirmationWanted"),
  "source.succeeded": t("runSucceeded"),
  "ingestion.failed": t("ingestionsFailed"),
};

export type Outcome = Pick<Delivery, "state" | "attempts">;

/** The state of a notification in words. */
export function stateOf({ state, attempts }: Outcome): string {
  if (state === DeliveryState.DELIVERED) return t("delivered");
  if (state === DeliveryState.FAILED) return t("failedAfter", { count: attempts });
  return attempts > 0 ? t("triesAgain", { count: attempts }) : t("waiting");
}

/** The list, and `leave` for when it is not shown any more: what is being sent then goes on. */
export function deliveriesPart(api: Pick<Api, "admin">, say: (text: string) => void): Part & { readonly leave: () => void } {
  let showing = new AbortController();

  /** Send a notification again, and look at it until the first attempt has ended. Raises ConnectError. */
  const redeliver = async ({ name, webhook, createTime }: Delivery, paint: (one: Delivery) => void) => {
    const { signal } = showing;
    let now = await api.admin.redeliverDelivery({ name });
    paint(now);
    const filter = createTime && `webhook = ${JSON.stringify(webhook)} AND create_time <= ${toJson(TimestampSchema, createTime)}`;
    for (let look = 1; filter && look <= LOOKS && now.state === DeliveryState.WAITING && now.attempts === 0; look += 1) {
      await PATIENCE.sleep(250 * 2 ** (look - 1), signal);
      if (signal.aborted) return;
      const { deliveries } = await api.admin.listDeliveries({ filter, pageSize: 1 }, { signal });
      const found = deliveries.find((one) => one.name === name);
      if (!found) return;
      paint((now = found));
    }
  };
  const row = (first: Delivery): Row => {
    let sending = false;
    const badge = element("span", {});
    const problem = element("p", { class: "problem whole", ...WRITTEN });
    const paint = (one: Delivery) => {
      badge.className = one.state === DeliveryState.DELIVERED ? "badge good" : one.state === DeliveryState.FAILED ? "badge warn" : "badge";
      badge.textContent = stateOf(one);
      problem.textContent = one.state === DeliveryState.WAITING && one.attempts === 0 ? "" : one.problem; // a notification that is sent again keeps its problem until the next attempt
    };
    const again = async () => {
      if (sending) return;
      sending = true;
      try {
        await redeliver(first, paint);
        say(t("notificationState", { state: badge.textContent ?? "" }));
      } catch (error) {
        problem.textContent = failureOf(error).message;
      } finally {
        sending = false;
      }
    };
    paint(first);
    const facts = [first.source.replace(/^sources\//, ""), moment(first.createTime)];
    return { name: `${first.webhook}: ${EVENTS[first.event] ?? first.event}`, badges: [badge], problem, facts, acts: [button(t("sendAgain"), () => void again(), { class: "quiet" })] };
  };
  const list = new ResourceList({
    label: t("notifications"),
    heading: "h3",
    about: [t("notificationsAbout")],
    list: (asked) => api.admin.listDeliveries({ ...asked, pageSize: PAGE }),
    items: ({ deliveries }) => deliveries,
    row,
    empty: t("noNotifications"),
    say,
  });
  const leave = () => showing.abort();
  const show = () => {
    leave();
    showing = new AbortController();
    return list.again();
  };
  return { root: list.root, show, reread: list.reread, leave };
}
