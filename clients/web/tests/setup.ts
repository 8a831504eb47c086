// What Node lacks of a browser and the page asks for when its modules are loaded.
Object.assign(globalThis, { localStorage: { getItem: () => null } });
Object.defineProperty(globalThis, "navigator", { value: { languages: ["en"] }, configurable: true });

export {};

const { loadMarkdown } = await import("../src/text/markdown.js");
await loadMarkdown();
