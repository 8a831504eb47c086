/** Elements without markup strings: whatever a document or an answer holds can only ever be text. */

type Attributes = Record<string, string | boolean | ((event: Event) => void) | undefined>;

export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(name, value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

export function replace(parent: Element, ...children: (Node | string)[]): void {
  parent.replaceChildren(...children);
}
