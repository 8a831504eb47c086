import { defineConfig } from "vitest/config";

export default defineConfig({
  // The page's content security policy allows neither inline code nor data: scripts.
  build: { target: "es2022", modulePreload: { polyfill: false }, assetsInlineLimit: 0, chunkSizeWarningLimit: 800 },
  test: { include: ["tests/**/*.test.ts"] },
});
