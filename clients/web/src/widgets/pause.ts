/** Says that the instance was restored from a backup and is paused, until it is not. */

import { t } from "../language/language.js";
import { element } from "./dom.js";

const LOOK_MS = 10_000;

/** A line that is empty and hidden unless the instance is paused. While it is, the server is asked again every ten seconds. */
export function pauseBanner(signal: AbortSignal): HTMLElement {
  const banner = element("p", { class: "banner", role: "status", hidden: true });
  const look = async (): Promise<void> => {
    const paused = await isPaused(signal).catch(() => undefined);
    if (signal.aborted || paused === undefined) return banner.hidden ? undefined : later();
    banner.hidden = !paused;
    banner.textContent = paused ? t("paused") : "";
    if (paused) later();
  };
  const later = () => {
    const timer = setTimeout(() => void look(), LOOK_MS);
    signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
  };
  void look();
  return banner;
}

/** Both statuses, 200 and 503, have the content. */
async function isPaused(signal: AbortSignal): Promise<boolean> {
  const response = await fetch("/health/ready", { signal, cache: "no-store" });
  return ((await response.json()) as { readonly paused?: boolean }).paused === true;
}
