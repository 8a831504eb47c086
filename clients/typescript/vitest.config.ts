import { defaultServerConditions } from "vite";
import { defineConfig } from "vitest/config";

export default defineConfig({
  ssr: { resolve: { conditions: ["responsa", ...defaultServerConditions] } },
  // Files share their modules, as the page's tests do.
  test: { include: ["tests/**/*.test.ts"], isolate: false },
});
