import { fileURLToPath } from "node:url";
import { defaultClientConditions, defaultServerConditions } from "vite";
import { defineConfig } from "vitest/config";
import { packed, shell } from "./shell.js";

// The client's sources, so that nothing must build it first.
const SOURCES = "responsa";

export default defineConfig({
  plugins: [shell(), packed(/^assets\/.*\.(?:js|css)$/)],
  resolve: {
    conditions: [SOURCES, ...defaultClientConditions],
    alias: [{ find: /^.*\/buf\/validate\/validate_pb\.js$/, replacement: fileURLToPath(new URL("src/server/validate.ts", import.meta.url)) }],
  },
  ssr: { resolve: { conditions: [SOURCES, ...defaultServerConditions] } },
  // The page's content security policy allows neither inline code nor data: scripts.
  build: {
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 800,
    rollupOptions: {
      input: ["index.html", "docs.html", "src/worker/worker.ts"],
      // The address of the service worker stays the same, and is at the top, so that it serves the whole page.
      output: { entryFileNames: ({ name }) => (name === "worker" ? "worker.js" : "assets/[name]-[hash].js") },
    },
  },
  // Files share their modules: no test replaces a module or a global, and loading the modules for each file took most of the time.
  test: { include: ["tests/**/*.test.ts"], setupFiles: "tests/setup.ts", isolate: false },
});
