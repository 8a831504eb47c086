/** The health of the server's parts, for operators. */

import { Health, type PartStatus, type SystemStatus } from "@responsa/contract/responsa/admin/v1/system_status_pb.js";
import { t } from "../language/operators/texts.js";
import { moment } from "../text/facts.js";
import { element, WRITTEN } from "../widgets/dom.js";
import { factsList } from "../widgets/resourcelist.js";

const NAMES: Readonly<Record<string, string>> = {
  postgresql: t("partDatabase"),
  redis: "Redis",
  embedding: t("embeddingModel"),
  jobs: t("partQueue"),
  agents: t("partAgents"),
  models: t("partModels"),
  tools: t("tools"),
  sources: t("partSources"),
  servers: t("partServers"),
  disk: t("partDisk"),
  log: t("partLog"),
  restore: t("partRestore"),
};
const WORDS: Readonly<Record<Health, string>> = { [Health.UNSPECIFIED]: t("unknown"), [Health.OK]: t("works"), [Health.DEGRADED]: t("impaired"), [Health.DOWN]: t("down") };

/** What the server says about itself. Only owners of the installation get its errors. */
export function healthOf({ version, migration, migrationsPending, parts, embeddingModel, answerModel, errors }: SystemStatus): HTMLElement[] {
  const ill = parts.filter((one) => one.health !== Health.OK);
  const worst = ill.some((one) => one.health === Health.DOWN) ? "bad" : ill.length > 0 || migrationsPending ? "warn" : "good";
  const line = ill.length > 0 ? t("needAttention", { count: ill.length, all: parts.length }) : t(migrationsPending ? "migrationsPending" : "everythingWorks");
  const facts: readonly (readonly [string, string])[] = [
    [t("answers"), answerModel === "passages" ? t("passagesOnly") : answerModel],
    [t("embeddingModel"), embeddingModel],
    [t("release"), t(migrationsPending ? "releaseBehind" : "releaseOf", { version, migration: String(migration) })],
  ];
  const failed = errors.map(({ error, place, count, lastTime, lastId: id }) => {
    return element("li", {}, element("code", {}, `${error} ${place}`), element("p", { class: "note" }, t("errorTimes", { count: Number(count), time: moment(lastTime), id })));
  });
  return [
    element("p", { class: "row" }, dot(worst), element("strong", {}, line)),
    ...(ill.length > 0 ? [element("ul", { class: "parts" }, ...ill.map(partRow))] : []),
    ...(failed.length > 0 ? [element("details", { class: "raw" }, element("summary", {}, t("unexpectedErrors", { count: failed.length })), element("ul", { class: "problems" }, ...failed))] : []),
    element(
      "details",
      { class: "raw" },
      element("summary", {}, t("allParts")),
      element("ul", { class: "parts" }, ...parts.filter((one) => one.health === Health.OK).map(partRow)),
      factsList(facts),
    ),
  ];
}

function partRow({ part, health, version, detail }: PartStatus): HTMLElement {
  const colour = health === Health.DOWN ? "bad" : health === Health.OK ? "good" : "warn";
  return element("li", {}, dot(colour), element("strong", {}, NAMES[part] ?? part), element("span", { class: "note lines", ...WRITTEN }, [WORDS[health], version, detail].filter(Boolean).join(" · ")));
}

function dot(colour: string): HTMLElement {
  return element("span", { class: `dot ${colour}`, "aria-hidden": "true" });
}
