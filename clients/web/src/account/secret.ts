/** Shows a secret that the server sends only once, such as the code of an invitation or the secret of an API key. */

import { copyButton } from "../chat/copy.js";
import { t } from "../language/account/texts.js";
import { shown } from "../widgets/dialog.js";
import { element } from "../widgets/dom.js";

/** What a line shows. */
type Kind = "secret" | "code" | "link" | "setting" | "html";

export interface ShownSecret {
  readonly title: string;
  /** Explains the use of the secret. */
  readonly text: string;
  /** The secret, and what belongs to it, such as a link to the page that carries it in its fragment. `whose`: whom it is for, if there are several. */
  readonly lines: readonly (readonly [kind: Kind, value: string, whose?: string])[];
  readonly say: (text: string) => void;
  /** The view that asked for the secret. */
  readonly view: HTMLElement;
}

/** Show the secret until the user closes the dialog; then the page forgets it. If the user has left the view or the session meanwhile, nothing is shown. */
export async function showSecret({ title, text, lines, say, view }: ShownSecret): Promise<void> {
  if (!view.isConnected) return;
  const rows = lines.map(([kind, value, whose], place) => line(`${kind}${place}`, kind, value, say, whose));
  const note = element("p", { class: "note" }, t("copyNow"));
  await shown(title, t("done"), [element("p", {}, text), ...rows.map((one) => one.root), note], rows[0]!.copy);
}

function line(name: string, kind: Kind, value: string, say: (text: string) => void, whose = "") {
  const labels = { secret: [t("secret"), t("copySecret")], code: [t("code"), t("copyCode")], link: [t("link"), t("copyLink")], setting: [t("setting"), t("copySetting")], html: [t("html"), t("copyHtml")] } as const;
  const [label, act] = labels[kind];
  const id = `secret-${name}`;
  const control = element("input", { id, type: "text", readonly: true, class: "secret", autocomplete: "off", spellcheck: "false", focus: () => control.select() });
  control.value = value;
  const copy = copyButton(whose ? `${act} (${whose})` : act, () => value, say);
  return { root: element("div", { class: "field" }, element("label", { for: id }, whose || label), element("div", { class: "row" }, control, copy)), copy };
}
