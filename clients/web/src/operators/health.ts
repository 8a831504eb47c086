/** The health of the server's parts, for operators. */

import { timestampDate } from "@bufbuild/protobuf/wkt";
import { Health, type PartStatus, type SystemStatus } from "@responsa/contract/responsa/admin/v1/system_status_pb.js";
import { count, momentOf } from "../text/facts.js";
import { element, WRITTEN } from "../widgets/dom.js";

const NAMES: Readonly<Record<string, string>> = {
  postgresql: "Database",
  redis: "Redis",
  embedding: "Embedding model",
  jobs: "Queue",
  agents: "Agents’ files",
  models: "Language models",
  tools: "Tools",
  servers: "Servers",
  disk: "Disk",
  log: "Log",
};
const WORDS: Readonly<Record<Health, string>> = { [Health.UNSPECIFIED]: "unknown", [Health.OK]: "works", [Health.DEGRADED]: "impaired", [Health.DOWN]: "down" };

/** What the server says about itself. Only owners of the installation get its errors. */
export function healthOf({ version, migration, migrationsPending, parts, embeddingModel, answerModel, errors }: SystemStatus): HTMLElement[] {
  const ill = parts.filter((one) => one.health !== Health.OK);
  const worst = ill.some((one) => one.health === Health.DOWN) ? "bad" : ill.length > 0 || migrationsPending ? "warn" : "good";
  const line = ill.length > 0 ? `${count(ill.length, "part")} of ${parts.length} ${ill.length === 1 ? "needs" : "need"} attention` : migrationsPending ? "Migrations are pending" : "Everything works";
  const facts: readonly (readonly [string, string])[] = [
    ["Answers", answerModel === "passages" ? "passages of the documents, without a model" : answerModel],
    ["Embedding model", embeddingModel],
    ["Release", `${version}, database ${migration}${migrationsPending ? " (the server has migrations that the database lacks: run “responsa migrate”)" : ""}`],
  ];
  const failed = errors.map(({ error, place, count: times, lastTime, lastId }) => {
    const last = lastTime ? `, last on ${momentOf(timestampDate(lastTime))}` : "";
    return element("li", {}, element("code", {}, `${error} ${place}`), element("p", { class: "note" }, `${count(times, "time")}${last} (${lastId})`));
  });
  return [
    element("p", { class: "row" }, dot(worst), element("strong", {}, line)),
    ...(ill.length > 0 ? [element("ul", { class: "parts" }, ...ill.map(partRow))] : []),
    ...(failed.length > 0 ? [element("details", { class: "raw" }, element("summary", {}, `${count(failed.length, "unexpected error")} since the start`), element("ul", { class: "problems" }, ...failed))] : []),
    element(
      "details",
      { class: "raw" },
      element("summary", {}, "All parts"),
      element("ul", { class: "parts" }, ...parts.filter((one) => one.health === Health.OK).map(partRow)),
      element("dl", { class: "facts-list" }, ...facts.map(([label, text]) => element("div", {}, element("dt", {}, label), element("dd", {}, text)))),
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
