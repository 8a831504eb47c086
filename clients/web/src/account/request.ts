/** The address with the request of a program that wants to be connected: `#/connect?client_id=…`. */

const REQUEST = /^#\/connect\?(.{1,4096})$/;

/** The request in a fragment; undefined without one. */
export function requestAt(fragment: string): string | undefined {
  return REQUEST.exec(fragment)?.[1];
}
