// Keeps the whole page in the browser, so that it opens and writes without a network. Publishing puts two lines above this:
// VERSION, which is made of the files' contents, and FILES, the paths of all of them.

const { scope } = self.registration;
const CACHE = scope + VERSION;
const old = (name) => name.startsWith(scope) && !name.slice(scope.length).includes("/") && name !== CACHE;

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(fill());
});

self.addEventListener("activate", (event) => {
  event.waitUntil(settle());
});

self.addEventListener("fetch", (event) => {
  if (event.request.method === "GET" && event.request.url.startsWith(scope)) event.respondWith(answer(event.request));
});

/** Fetch what is not there yet; the model is, since it was kept when it was loaded. */
async function fill() {
  const cache = await caches.open(CACHE);
  const kept = new Set((await cache.keys()).map((request) => request.url));
  const missing = FILES.map((path) => new URL(path, scope).href).filter((url) => !kept.has(url));
  await cache.addAll(missing.map((url) => new Request(url, { cache: "no-cache" })));
}

async function settle() {
  await Promise.all((await caches.keys()).filter(old).map((name) => caches.delete(name)));
  await self.clients.claim();
}

/** What is kept comes first: it is of one publication, and quicker. */
async function answer(request) {
  const kept = await (await caches.open(CACHE)).match(request, { ignoreSearch: true });
  return kept ?? fetch(request);
}
