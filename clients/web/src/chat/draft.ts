/** Stores the text of the question box that was not sent yet. The text survives a reload of the tab and the end of a session. */

import { keep } from "../server/kept.js";

const KEY = "responsa.draft";

/** Return the stored text and delete it. */
export function takeDraft(storage: Storage): string {
  const kept = storage.getItem(KEY) ?? "";
  storage.removeItem(KEY);
  return kept;
}

/** Store this text; if the storage is full or forbidden, the text is lost. */
export function keepDraft(storage: Storage, text: string): void {
  if (text.trim()) keep(storage, KEY, text);
}
