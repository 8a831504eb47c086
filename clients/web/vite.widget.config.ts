/** Builds the widget: one script, which the pages of other origins load. */

import { defaultClientConditions, defineConfig } from "vite";
import { packed } from "./shell.js";

export default defineConfig({
  plugins: [packed(/^widget\.js$/)],
  resolve: { conditions: ["responsa", ...defaultClientConditions] },
  publicDir: false,
  build: {
    target: "es2022",
    emptyOutDir: false,
    modulePreload: { polyfill: false },
    rollupOptions: { input: "src/widget/widget.ts", output: { format: "iife", entryFileNames: "widget.js", inlineDynamicImports: true } },
  },
});
