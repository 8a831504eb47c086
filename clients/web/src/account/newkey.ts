/** Asks for the name and the validity of a new API key, makes the key and shows its secret once. */

import { timestampFromDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import type { ApiKey } from "@responsa/contract/responsa/auth/v1/api_key_pb.js";
import type { Agent } from "@responsa/contract/responsa/chat/v1/agent_pb.js";
import { UserRole } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { t } from "../language/account/texts.js";
import type { Failure } from "../server/errors.js";
import { filled } from "../widgets/dialog.js";
import { choiceEntry, placed, textEntry } from "../widgets/fields.js";
import { tries, type Stage } from "../widgets/resourcelist.js";
import { showSecret } from "./secret.js";

const DAY = 86_400_000; // milliseconds

/** For how long a new key is valid, in days. */
const TERMS = [
  ["30", t("days30")],
  ["90", t("days90")],
  ["365", t("year1")],
  ["", t("untilRevoked")],
] as const;

export interface WantedKey {
  readonly apiKey: { readonly displayName: string; readonly expireTime?: Timestamp; readonly role?: UserRole; readonly widget?: boolean; readonly agent?: string };
  readonly requestId: string;
}

export interface NewKeyHooks {
  /** The service whose key it is, as text; "" for the user's own key. */
  readonly service?: string;
  /** The agents that the key of a widget may ask, for a service. */
  readonly agents?: () => Promise<readonly Agent[]>;
  /** Whether the dialog offers a key with the rights of a user without a role. */
  readonly narrower?: boolean;
  readonly make: (wanted: WantedKey) => Promise<{ readonly secret: string; readonly apiKey?: ApiKey | undefined }>;
}

/** Everybody can read the key of a widget, so the dialog offers it for a service alone, which reads no more than what is shared with it. */
export async function newKey(stage: Stage, { service = "", agents, narrower = false, make }: NewKeyHooks): Promise<void> {
  const name = textEntry(t("name"), { required: true, maxlength: "200" }, t("keyNameNote"));
  const term = choiceEntry(t("validFor"), TERMS);
  term.control.value = "90";
  const rights = choiceEntry(t("rights"), [["", t("rightsAll")], ["user", t("rightsUser")]]);
  const use = choiceEntry(t("keyFor"), [["", t("forProgram")], ["widget", t("forWidget")]], t("forWidgetNote"));
  // Without the list, the default agent is the only choice.
  const choices = ((await agents?.().catch(() => [])) ?? []).filter((one) => !one.isDefault);
  const agent = choiceEntry(t("widgetAgent"), [["", t("defaultAgent")], ...choices.map((one) => [one.name, one.displayName || one.name] as const)], t("widgetAgentNote"));
  const only = () => (agent.root.hidden = use.control.value === "");
  use.control.addEventListener("input", only);
  only();
  const requestId = tries();
  const opened = Date.now();
  let made: Awaited<ReturnType<typeof make>> | undefined;
  const act = async () => {
    const days = Number(term.control.value);
    const wanted = { displayName: name.control.value.trim(), role: rights.control.value ? UserRole.USER : UserRole.UNSPECIFIED, widget: use.control.value !== "", agent: use.control.value && agent.control.value };
    const expires = days > 0 && { expireTime: timestampFromDate(new Date(opened + days * DAY)) };
    made = await make({ apiKey: { ...wanted, ...expires }, requestId: requestId([days, wanted]) });
  };
  const explain = (failure: Failure) => Promise.resolve(placed({ "api_key.display_name": name, "api_key.expire_time": term, "api_key.role": rights, "api_key.agent": agent }, failure));
  const fields = [name, ...(service ? [use, agent] : []), term, ...(narrower ? [rights] : [])].map((one) => one.root);
  if (!(await filled({ title: service ? t("newKeyFor", { service }) : t("newKey"), action: t("create"), fields, first: name.control, act, explain })) || !made) return;
  stage.say(t("keyCreated"));
  await stage.again();
  const { secret, apiKey } = made;
  if (!secret) return stage.refuse(t("secretLost"));
  const values = { key: name.control.value.trim(), service };
  const lines = [["secret", secret], ...(apiKey?.widget ? [["setting", `RESPONSA_WIDGET_KEYS=${apiKey.name}=https://www.example.org`] as const, ["html", `<responsa-answers key="${secret}"></responsa-answers><script src="${location.origin}/widget.js" async></script>`] as const] : [])] as const;
  await showSecret({
    title: service ? t("theNewKeyFor", values) : t("yourNewKey"),
    text: apiKey?.widget ? t("widgetKeyReady", values) : service ? t("serviceKeyReady", values) : t("ownKeyReady", values),
    lines,
    say: stage.say,
    view: stage.root,
  });
}
