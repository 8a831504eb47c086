/** The parts of the client, for programs that follow turns in their own way. The page shares the streams of its tabs. */

export * from "./bytes.js";
export * from "./errors.js";
export * from "./following.js";
export * from "./frames.js";
export * from "./operations.js";
export * from "./patience.js";
