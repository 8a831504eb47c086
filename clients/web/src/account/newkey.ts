/** Asks for the name and the validity of a new API key, makes the key and shows its secret once. */

import { timestampFromDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import { UserRole } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { filled } from "../widgets/dialog.js";
import type { Failure } from "../server/errors.js";
import { choiceEntry, placed, textEntry } from "../widgets/fields.js";
import { uuid } from "@responsa/client/parts.js";
import { showSecret } from "./secret.js";

const DAY = 86_400_000; // milliseconds

/** For how long a new key is valid, in days. */
const TERMS: readonly (readonly [value: string, label: string])[] = [
  ["30", "30 days"],
  ["90", "90 days"],
  ["365", "1 year"],
  ["", "Until it is revoked"],
];

export interface WantedKey {
  readonly apiKey: { readonly displayName: string; readonly expireTime?: Timestamp; readonly role?: UserRole };
  readonly requestId: string;
}

export interface NewKeyHooks {
  /** The title of the dialog that asks. */
  readonly title: string;
  /** The title of the dialog that shows the secret. */
  readonly shown: string;
  /** In whose name the key makes calls, as in "in your name". */
  readonly whose: string;
  /** Whether the dialog offers a key with the rights of a user without a role. */
  readonly narrower?: boolean;
  readonly make: (wanted: WantedKey) => Promise<{ readonly secret: string }>;
  /** The key exists: read the list that shows it again. */
  readonly made: () => void;
  readonly say: (text: string) => void;
  /** Show a problem in the view. */
  readonly refuse: (why: string) => void;
  /** The view that asks. */
  readonly view: HTMLElement;
}

/** Resolves to whether a key was made. */
export async function newKey({ title, shown, whose, narrower = false, make, made, say, refuse, view }: NewKeyHooks): Promise<boolean> {
  const name = textEntry("Name", { required: true, maxlength: "200" }, "The purpose of the key, so that you recognise it later.");
  const term = choiceEntry("Valid for", TERMS);
  term.control.value = "90";
  const rights = choiceEntry("Rights", [["", "Everything that you may do"], ["user", "What users may do: no administration"]]);
  // The request_id is the same for every try with the same content, because an interrupted try may have made the key.
  let tried = { body: "", requestId: "" };
  let key = { secret: "", name: "" };
  let expires: Date | undefined;
  const act = async () => {
    const displayName = name.control.value.trim();
    const days = Number(term.control.value);
    const role = rights.control.value ? UserRole.USER : UserRole.UNSPECIFIED;
    const body = `${days} ${role} ${displayName}`;
    if (body !== tried.body) {
      tried = { body, requestId: uuid() };
      expires = days > 0 ? new Date(Date.now() + days * DAY) : undefined;
    }
    const { secret } = await make({ apiKey: { displayName, role, ...(expires && { expireTime: timestampFromDate(expires) }) }, requestId: tried.requestId });
    key = { secret, name: displayName };
  };
  const explain = (failure: Failure) => Promise.resolve(placed({ "api_key.display_name": name, "api_key.expire_time": term, "api_key.role": rights }, failure));
  if (!(await filled({ title, action: "Create", fields: [name.root, term.root, ...(narrower ? [rights.root] : [])], first: name.control, act, explain }))) return false;
  say("API key created.");
  made();
  if (key.secret) {
    const text = `The key “${key.name}” is ready. A program sends the key in the header “authorization”, after the word “Bearer”. Whoever has the key can act ${whose}.`;
    await showSecret({ title: shown, text, label: "Secret", secret: key.secret, say, view });
  } else refuse("The key was created, but its secret did not arrive. Revoke the key and create another one.");
  return true;
}
