/** What stands in the question box and was not asked yet: kept by this tab over a reload and the end of a session. */

const KEY = "responsa.draft";

/** Take what was kept, once. */
export function takeDraft(storage: Storage): string {
  const kept = storage.getItem(KEY) ?? "";
  storage.removeItem(KEY);
  return kept;
}

/** Keep this text; where the storage is full or forbidden, nothing is kept. */
export function keepDraft(storage: Storage, text: string): void {
  if (!text.trim()) return;
  try {
    storage.setItem(KEY, text);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}
