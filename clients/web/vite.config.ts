import { defaultClientConditions, defaultServerConditions } from "vite";
import { defineConfig } from "vitest/config";

// The client's sources, so that nothing must build it first.
const SOURCES = "responsa";

export default defineConfig({
  resolve: { conditions: [SOURCES, ...defaultClientConditions] },
  ssr: { resolve: { conditions: [SOURCES, ...defaultServerConditions] } },
  // The page's content security policy allows neither inline code nor data: scripts.
  build: {
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 800,
    rollupOptions: { input: ["index.html", "docs.html"] },
  },
  // Files share their modules: no test replaces a module or a global, and loading the modules for each file took most of the time.
  test: { include: ["tests/**/*.test.ts"], isolate: false },
});
