/** What an administrator does first. Each step says what is so now, until all are done or skipped in this browser. */

import { Check, Circle } from "lucide";
import { UserRole } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { CollectionKind } from "@responsa/contract/responsa/type/v1/collection_kind_pb.js";
import { onLoopback } from "../account/session.js";
import { allCollections } from "../documents/library.js";
import { t } from "../language/administration/texts.js";
import type { Api } from "../server/api.js";
import { keep } from "../server/kept.js";
import { modelName } from "../text/names.js";
import { shown } from "../widgets/dialog.js";
import { button, element, renew, WRITTEN } from "../widgets/dom.js";
import { icon } from "../widgets/icons.js";
import { isInClear, reachNotes } from "../widgets/reach.js";
import type { Part } from "../widgets/tabbed.js";
import { viewFragment } from "../widgets/views.js";

const KEY = "responsa.first-steps";
/** The value of the key when nothing is left to do. */
const DONE = "done";

type Id = "address" | "model" | "documents" | "people";

interface Step {
  readonly id: Id;
  readonly title: string;
  /** What is so now. */
  readonly state: string;
  readonly done: boolean;
  /** What opens its form. */
  readonly way: HTMLElement;
}

/** `owns`: whether the administrator owns the installation, and so sets its model. */
export function firstSteps(api: Pick<Api, "admin" | "auth" | "knowledge">, owns: boolean): Part {
  const root = element("section", { class: "first-steps", "aria-label": t("firstSteps") });
  const show = async () => {
    const before = localStorage.getItem(KEY) ?? "";
    root.hidden = before === DONE;
    if (root.hidden) return;
    const skipped = new Set(before.split(" "));
    const steps = await Promise.all([addressStep(), ...(owns ? [modelStep(api)] : []), documentsStep(api), peopleStep(api)]).catch(() => undefined);
    root.hidden = !steps; // the tabs say what is wrong
    if (!steps) return;
    const left = steps.filter(({ id, done }) => !done && !skipped.has(id));
    if (left.length === 0) {
      root.hidden = true;
      return keep(localStorage, KEY, DONE);
    }
    const skip = (id: Id) => {
      keep(localStorage, KEY, [...skipped, id].join(" "));
      void show().then(() => (root.querySelector<HTMLElement>("button, a") ?? document.querySelector<HTMLElement>("#administration-title"))?.focus());
    };
    const rows = steps.map(({ id, title, state, done, way }) => {
      const open = left.some((step) => step.id === id);
      const acts = open ? [way, button(t("skipStep"), () => skip(id), { "aria-label": t("skipStepNamed", { title }) })] : [];
      return element("li", done ? { class: "taken" } : {}, icon(done ? Check : Circle), element("div", { class: "about" }, element("strong", {}, title), element("p", { class: "note", ...WRITTEN }, state)), ...(acts.length > 0 ? [element("div", { class: "row acts" }, ...acts)] : []));
    });
    renew(root, element("h3", {}, t("firstSteps")), element("ol", {}, ...rows));
  };
  return { root, show, reread: show };
}

function link(href: string, label: string): HTMLElement {
  return element("a", { href }, label);
}

function addressStep(): Promise<Step> {
  const { host, hostname } = location;
  const alone = onLoopback(hostname);
  const how: HTMLButtonElement = button(t("howToReach"), () => void shown(t("stepAddress"), t("done"), reachNotes(), how).then(() => how.focus()));
  return Promise.resolve({ id: "address", title: t("stepAddress"), done: !alone && !isInClear(location), state: alone ? t("addressAlone") : t(isInClear(location) ? "addressInClear" : "addressOf", { host }), way: how });
}

async function modelStep(api: Pick<Api, "admin">): Promise<Step> {
  const { models } = await api.admin.getModels({});
  const done = models.length > 0;
  return { id: "model", title: t("stepModel"), done, state: done ? t("modelInUse", { model: models.map(modelName).join(t("thenModel")) }) : t("noModelInUse"), way: link(viewFragment({ area: "administration", tab: "model", query: {} }), t("setModel")) };
}

async function documentsStep(api: Pick<Api, "knowledge">): Promise<Step> {
  const own = (await allCollections(api)).filter(({ kind }) => kind === CollectionKind.OWN);
  const count = own.reduce((all, { documentCount }) => all + Number(documentCount), 0);
  return { id: "documents", title: t("stepDocuments"), done: count > 0, state: t(count > 0 ? "documentsNow" : "noDocumentsNow", { count }), way: link("#/documents", t("addDocuments")) };
}

async function peopleStep(api: Pick<Api, "admin" | "auth">): Promise<Step> {
  const [{ users }, { invitations }] = await Promise.all([api.admin.listUsers({ pageSize: 20 }), api.auth.listInvitations({ pageSize: 100 })]);
  const done = users.filter(({ role }) => role !== UserRole.SERVICE).length > 1 || invitations.length > 0;
  const state = invitations.length > 0 ? t("invitedNow", { count: invitations.length }) : t(done ? "peopleNow" : "nobodyElse");
  return { id: "people", title: t("stepPeople"), done, state, way: link(viewFragment({ area: "administration", tab: "users", query: { invite: "1" } }), t("invite")) };
}
