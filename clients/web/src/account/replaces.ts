import { confirmed } from "../widgets/dialog.js";
import { t } from "../language/language.js";
import { callName } from "../server/people.js";

/** Ask whether the session of the user who is signed in may end. */
export function replaces(present: Parameters<typeof callName>[0] | undefined): Promise<boolean> {
  const name = present ? callName(present) : t("anotherUser");
  return confirmed({
    title: t("endOther"),
    text: t("endOtherText", { name }),
    action: t("signInAsOther"),
    cancel: present ? t("stayAs", { name }) : t("stay"),
  });
}
