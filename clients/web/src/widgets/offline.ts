/** Installs the service worker, with which the page opens without a connection. */

const WORKER = "/worker.js";

/** What browsers with trusted types have; TypeScript does not know it yet. */
interface Policies {
  createPolicy(name: string, rules: { createScriptURL: () => string }): { createScriptURL(text: string): string };
}

export function installWorker(): void {
  // Browsers offer service workers over TLS and on the loopback interface only.
  const { serviceWorker } = navigator as { readonly serviceWorker?: ServiceWorkerContainer };
  if (!serviceWorker || !import.meta.env.PROD) return;
  // The policy allows this name alone, and it makes this address alone.
  const policy = (globalThis as { readonly trustedTypes?: Policies }).trustedTypes?.createPolicy("responsa-worker", { createScriptURL: () => WORKER });
  serviceWorker.register(policy?.createScriptURL("") ?? WORKER, { updateViaCache: "none" }).catch(() => undefined); // without it, the page only lacks a screen for being offline
}
