/** Builds elements without markup strings, so the content of a document or an answer is always text. */

import { cleanLabel, cleanText } from "../text/names.js";

/** The attributes that hold labels, in which names of people's texts may stand. */
const LABELS: readonly string[] = ["aria-label", "title"];

type Listener = (event: Event) => void;
type Attributes = Record<string, string | boolean | Listener | undefined>;

/**
 * Creates an element with attributes and children. The value `true` makes an attribute without a value; a function becomes the listener of the event with the
 * attribute's name. Children that are strings become text; names in it reorder no other letters.
 */
export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(name, value);
    else made.setAttribute(name, value === true ? "" : LABELS.includes(name) ? cleanLabel(value) : value);
  }
  made.append(...children.map(upright));
  return made;
}

function upright(child: Node | string): Node | string {
  return typeof child === "string" ? cleanText(child) : child;
}

/** What the installation is called: the title with which the server sends the page. */
export const INSTALLATION = typeof document === "undefined" ? "Responsa" : document.title;

/** A button that does not submit a form. */
export function button(label: string, click: () => void, attributes: Attributes = {}): HTMLButtonElement {
  return element("button", { type: "button", class: "plain", ...attributes, click }, label);
}

export function replace(parent: Element, ...children: (Node | string)[]): void {
  parent.replaceChildren(...children.map(upright));
}

/** Gives an element these children. A child that stays in its place is not touched, so it keeps the focus. */
export function arrange(parent: Element, children: readonly Element[]): void {
  const wanted = new Set(children);
  for (const one of [...parent.children]) if (!wanted.has(one)) one.remove();
  children.forEach((one, index) => {
    const here = parent.children[index];
    if (here !== one) parent.insertBefore(one, here ?? null);
  });
}

/** Gives an element these children if they say something else than the present ones. What is unfolded stays unfolded. */
export function renew(parent: Element, ...children: (Node | string)[]): void {
  const wanted = element("div", {}, ...children);
  if (wanted.textContent === parent.textContent) return;
  const unfolded = [...parent.querySelectorAll("details")].map(({ open }) => open);
  parent.replaceChildren(...wanted.childNodes);
  [...parent.querySelectorAll("details")].forEach((details, place) => (details.open ||= unfolded[place] ?? false));
}

/** A text with nodes in the places of its characters “\0”. */
export function mixed(text: string, ...nodes: readonly Node[]): (Node | string)[] {
  return text.split("\0").flatMap((part, place) => (place === 0 ? [part] : [nodes[place - 1]!, part]));
}

/** The parts of a message, with what stands between backticks as code. */
export function coded(message: string): (Node | string)[] {
  return message.split(/`([^`]+)`/).map((part, place) => (place % 2 === 0 ? part : element("code", {}, part)));
}

/** A control with its label and its note. The control refers to the note with `aria-describedby`: the control's id and `-note`. */
export function field(label: Node | string, control: HTMLElement, note = ""): HTMLElement {
  const notes = note ? [element("p", { class: "note", id: `${control.id}-note` }, note)] : [];
  return element("div", { class: "field" }, element("label", { for: control.id }, label), control, ...notes);
}

/** Attributes for text that people wrote, in any language and direction. */
export const WRITTEN: Attributes = { dir: "auto" };

/** Whether a key belongs to a text that is being composed (Japanese, Chinese, Korean). In one engine, the composition has ended before its last key, which has this code. */
export function composes({ isComposing, keyCode }: KeyboardEvent): boolean {
  return isComposing || keyCode === 229;
}

/** The focused element, if there is one. */
export function focused(): HTMLElement | undefined {
  const active = document.activeElement;
  return active instanceof HTMLElement && active !== document.body ? active : undefined;
}
