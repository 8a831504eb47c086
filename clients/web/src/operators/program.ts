/** Shows how a program asks an agent: its id, and a line of curl, into which a new key can be put. */

import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Agent } from "@responsa/contract/responsa/chat/v1/agent_pb.js";
import { UserRole } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { uuid } from "@responsa/client/parts.js";
import { recently } from "../account/recent.js";
import { copyButton } from "../chat/copy.js";
import { t } from "../language/operators/texts.js";
import type { Api } from "../server/api.js";
import { failureOf } from "../server/errors.js";
import type { Administrator } from "../server/people.js";
import { shown } from "../widgets/dialog.js";
import { button, element, mixed, replace } from "../widgets/dom.js";

const VALID = 30 * 86_400_000; // milliseconds

/** The line for a shell that asks the agent. `key`: an API key, or the variable that holds one. */
export function curlLine(origin: string, agent: string, question: string, key: string): string {
  const body = JSON.stringify({ agent, text: question }).replaceAll("'", String.raw`\u0027`);
  return `curl -s ${origin}/v1/turns:answer -H "authorization: Bearer ${key}" -H "content-type: application/json" -d '${body}'`;
}

export async function programDialog(api: Pick<Api, "auth">, { name, displayName, examples }: Agent, me: Administrator, say: (text: string) => void): Promise<void> {
  let line = "";
  const code = element("code", {});
  const problem = element("p", { class: "problem", role: "alert" });
  const note = element("p", { class: "note" });
  const paint = (key: string, why: string) => {
    line = curlLine(location.origin, name, examples[0] ?? t("exampleQuestion"), key);
    code.textContent = line;
    note.textContent = why;
  };
  const make = async () => {
    problem.textContent = "";
    try {
      const apiKey = { displayName: t("keyOfAgent", { agent: displayName }), role: UserRole.USER, expireTime: timestampFromDate(new Date(Date.now() + VALID)) };
      const { secret } = await recently(api, me, () => api.auth.createApiKey({ apiKey, requestId: uuid() }));
      paint(secret, t("keyPutIn"));
      replace(add);
      say(t("keyPutIn"));
      copy.focus();
    } catch (error) {
      problem.textContent = failureOf(error).message;
    }
  };
  const copy = copyButton(t("copyLine"), () => line, say);
  const add = element("div", { class: "row" }, button(t("makeKey"), () => void make(), { class: "quiet" }));
  paint("$RESPONSA_API_KEY", t("keyNeeded"));
  const ids = element("p", {}, ...mixed(t("agentIds", { name: "\0", id: "\0" }), element("code", {}, name), element("code", {}, name.replace("agents/", ""))));
  await shown(t("useFromProgramOf", { agent: displayName }), t("close"), [ids, element("div", { class: "row program" }, element("pre", { tabindex: "0" }, code), copy), note, add, problem], copy);
}
