/** The address with the id of a request of a program that wants to be connected: `#/connect?ID`. */

const REQUEST = /^#\/connect\?([A-Za-z0-9_-]{22})$/;

/** The id of the request in a fragment; undefined without one. */
export function requestAt(fragment: string): string | undefined {
  return REQUEST.exec(fragment)?.[1];
}
