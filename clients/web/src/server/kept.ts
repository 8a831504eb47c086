/** Keep a value in the browser's storage; "" removes it. If the storage is full or forbidden, only this page has the value. */
export function keep(storage: Storage, key: string, value: string): void {
  try {
    if (value) storage.setItem(key, value);
    else storage.removeItem(key);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}
