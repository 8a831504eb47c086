/** Shows a secret that the server sends only once, such as the code of an invitation or the secret of an API key. */

import { copyButton } from "../chat/copy.js";
import { shown } from "../widgets/dialog.js";
import { element } from "../widgets/dom.js";

export interface ShownSecret {
  readonly title: string;
  /** Explains the use of the secret. */
  readonly text: string;
  /** The secret's name, such as "Code". */
  readonly label: string;
  readonly secret: string;
  /** A link to the page that carries the secret in its fragment. */
  readonly link?: string;
  readonly say: (text: string) => void;
  /** The view that asked for the secret. */
  readonly view: HTMLElement;
}

/** Show the secret until the user closes the dialog; then the page forgets it. If the user has left the view or the session meanwhile, nothing is shown. */
export async function showSecret({ title, text, label, secret, link, say, view }: ShownSecret): Promise<void> {
  if (!view.isConnected) return;
  const field = line(label, secret, say);
  const rows = [element("p", {}, text), field.root];
  if (link) rows.push(line("Link", link, say).root);
  rows.push(element("p", { class: "note" }, "Copy it now. The server keeps no copy, so nobody can show it again."));
  await shown(title, "Done", rows, field.copy);
}

function line(label: string, value: string, say: (text: string) => void) {
  const id = `secret-${label.toLowerCase()}`;
  const control = element("input", { id, type: "text", readonly: true, class: "secret", autocomplete: "off", spellcheck: "false", focus: () => control.select() });
  control.value = value;
  const copy = copyButton(`Copy the ${label.toLowerCase()}`, () => value, say);
  return { root: element("div", { class: "field" }, element("label", { for: id }, label), element("div", { class: "row" }, control, copy)), copy };
}
