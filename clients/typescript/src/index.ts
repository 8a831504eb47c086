/** A client of Responsa, for Node and browsers. */

export { createAgent, createAgentById, type AgentEmitter, type AgentOptions, type AgentSource } from "./agent.js";
export { unitsAt } from "./bytes.js";
export { ResponsaChatTransport, type ChatMessage, type ChatTransportOptions } from "./chat.js";
export { Responsa, type ClientOptions } from "./client.js";
export type { ConnectionOptions, Credential } from "./connection.js";
export { BrokenAnswer, CannotConnect, RefusedByProxy, ResponsaError, turnError, type Violation } from "./errors.js";
export type { Notices } from "./following.js";
export type { Patience } from "./patience.js";
export { Session } from "./session.js";
export type { FollowOptions, Question, TurnStream } from "./stream.js";
export type { DocumentFields, UploadOptions } from "./upload.js";
