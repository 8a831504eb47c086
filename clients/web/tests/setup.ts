import { loadMarkdown } from "../src/text/markdown.js";

await loadMarkdown();
