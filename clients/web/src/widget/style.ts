/** The widget's own styles. A constructed style sheet needs no permission of the page's security policy. */
export function style(): CSSStyleSheet {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    :host { display: block; font: inherit; line-height: 1.5; color-scheme: light dark; --accent: light-dark(#1f4e5f, #8fc7db); --line: light-dark(#d5dada, #444b4f); }
    form { display: flex; gap: .5rem; }
    input, button { font: inherit; border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .75rem; }
    input { flex: 1; min-inline-size: 0; }
    form button { background: var(--accent); border-color: var(--accent); color: light-dark(#fff, #10222a); cursor: pointer; }
    :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
    .answer { margin-block-start: .75rem; overflow-wrap: anywhere; }
    .answer pre { overflow-x: auto; padding: .75rem; border: 1px solid var(--line); border-radius: .5rem; }
    .answer table { display: block; overflow-x: auto; }
    .note { opacity: .8; }
    .problem { color: light-dark(#a3261d, #ff9d93); }
    .chip { min-inline-size: 1.5rem; min-block-size: 1.5rem; margin-inline-start: .2rem; padding: 0 .3rem; font-size: .75rem; background: none; color: var(--accent); cursor: pointer; }
    .flawed { border: 2px solid currentColor; border-radius: 3px; font-weight: 600; }
    .bare { background: none; border: none; padding: 0; color: var(--accent); text-decoration: underline; cursor: pointer; font-size: .9rem; }
    .unsourced { text-decoration: underline dotted 2px; text-underline-offset: 4px; }
    .sources { padding-inline-start: 1.5rem; font-size: .9rem; }
    summary { cursor: pointer; }
    blockquote { margin: .25rem 0 .5rem; padding-inline-start: .75rem; border-inline-start: 3px solid var(--line); white-space: pre-line; }
  `);
  return sheet;
}
