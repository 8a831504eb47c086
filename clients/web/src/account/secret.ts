/** Shows a secret that the server sends only once, such as the code of an invitation or the secret of an API key. */

import { copyButton, copyText } from "../chat/copy.js";
import { t } from "../language/account/texts.js";
import { shown } from "../widgets/dialog.js";
import { button, element, INSTALLATION } from "../widgets/dom.js";
import { reachNotes } from "../widgets/reach.js";

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
  const notes = lines.some(([kind]) => kind === "link") ? reachNotes() : [];
  const listed = lines.flatMap(([, value, whose]) => (whose ? [`${whose}\t${value}`] : []));
  const all = listed.length > 1 ? [element("div", { class: "row" }, textButton(t("copyAll"), () => listed.join("\n"), say))] : [];
  await shown(title, t("done"), [element("p", {}, text), ...notes, note, ...all, element("div", { class: "secrets" }, ...rows.map((one) => one.root))], rows[0]!.copy);
}

/** A button with words that copies a text. */
function textButton(label: string, text: () => string, say: (text: string) => void): HTMLElement {
  return button(label, () => void copyText(text(), say), { class: "quiet" });
}

function line(name: string, kind: Kind, value: string, say: (text: string) => void, whose = "") {
  const labels = { secret: [t("secret"), t("copySecret")], code: [t("code"), t("copyCode")], link: [t("link"), t("copyLink")], setting: [t("setting"), t("copySetting")], html: [t("html"), t("copyHtml")] } as const;
  const [label, act] = labels[kind];
  const id = `secret-${name}`;
  const control = element("input", { id, type: "text", readonly: true, class: "secret", autocomplete: "off", spellcheck: "false", focus: () => control.select() });
  control.value = value;
  const copy = copyButton(whose ? `${act} (${whose})` : act, () => value, say);
  const mail = kind === "link" && whose ? [element("a", { href: mailOf(whose, value), "aria-label": t("mailTo", { whose }) }, t("mail"))] : [];
  return { root: element("div", { class: "field" }, element("label", { for: id }, whose || label), element("div", { class: "row" }, control, copy, ...mail)), copy };
}

/** The address that opens a mail with the link in the person's own mail program. */
function mailOf(email: string, link: string): string {
  const text = t("mailText", { installation: INSTALLATION, link });
  return `mailto:${encodeURIComponent(email)}?subject=${encodeURIComponent(t("mailSubject", { installation: INSTALLATION }))}&body=${encodeURIComponent(text)}`;
}
