/** The service worker: keeps the files of one build of the page, so that the page opens without a connection. It never sees a call of the API. */

declare const self: ServiceWorkerGlobalScope;

// The build fills in these two. The first file is the entry of the page.
const CACHE = "page @version@";
const FILES = "@files@".split(" ");
/** The builds whose files are kept: a tab that was opened before an update still loads its views. */
const BUILDS = 2;

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(activate()));
self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== self.location.origin) return;
  if (request.mode === "navigate" && pathname === "/") event.respondWith(fetch(request).catch(kept));
  else if (pathname.startsWith("/assets/")) event.respondWith(caches.match(request, { ignoreVary: true }).then((found) => found ?? fetch(request)));
});

/** While servers are updated, one with another build may answer. Then the installation fails, nothing is kept, and the next visit tries again. */
async function install(): Promise<void> {
  try {
    const cache = await caches.open(CACHE);
    const page = await fetch("/", { cache: "no-store" });
    if (!page.ok || !(await page.clone().text()).includes(FILES[0]!)) throw new TypeError("the page is of another build");
    await cache.addAll(FILES);
    await cache.put("/", page);
  } catch (error) {
    await caches.delete(CACHE);
    throw error;
  }
  await self.skipWaiting();
}

async function activate(): Promise<void> {
  const others = (await caches.keys()).filter((name) => name !== CACHE);
  await Promise.all(others.slice(0, Math.max(0, others.length - BUILDS + 1)).map((name) => caches.delete(name)));
  await self.clients.claim();
}

async function kept(error: unknown): Promise<Response> {
  const found = await (await caches.open(CACHE)).match("/");
  if (!found) throw error;
  return found;
}

export {};
