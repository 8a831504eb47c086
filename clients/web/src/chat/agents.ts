/** The agents, and this tab's choice of agent and parameters. Nothing here touches the page. */

import type { JsonObject } from "@bufbuild/protobuf";
import type { Agent } from "@responsa/contract/responsa/chat/v1/agent_pb.js";
import type { Tool } from "@responsa/contract/responsa/chat/v1/tool_pb.js";
import { rememberTool, titleOf } from "./fetched.js";
import type { Api } from "../server/api.js";
import type { Failure } from "../server/errors.js";
import { allItems } from "../server/pages.js";
import { keep } from "../server/kept.js";
import { isParameters } from "./schema.js";
import { described, locale } from "../language/language.js";

const KEY = "responsa.agent";
const NAME = /^agents\/[a-z0-9][a-z0-9-]{0,62}$/;
const VERSION = /^(agents\/[a-z0-9][a-z0-9-]{0,62})\/versions\/\d+$/;

/** All agents: first the default agent, then the others in order of their display names. Raises ConnectError. */
export async function allAgents(api: Pick<Api, "chat">): Promise<Agent[]> {
  const found = await allItems(async (pageToken) => {
    const { agents, nextPageToken } = await api.chat.listAgents({ pageSize: 200, pageToken });
    return { items: agents, next: nextPageToken };
  });
  return found.map(localised).sort((a, b) => Number(b.isDefault) - Number(a.isDefault) || a.displayName.localeCompare(b.displayName));
}

/** The agent with the words of the page's language, if it comes with Responsa. */
export function localised(agent: Agent): Agent {
  return { ...agent, displayName: described(agent.displayName), description: described(agent.description) };
}

/** All tools that the user may use; the page remembers what they are called. Raises ConnectError. */
export async function allTools(api: Pick<Api, "chat">): Promise<Tool[]> {
  const found = await allItems(async (pageToken) => {
    const { tools, nextPageToken } = await api.chat.listTools({ pageSize: 200, pageToken });
    return { items: tools, next: nextPageToken };
  });
  for (const one of found) rememberTool(one);
  return found;
}

/** What people call the tools that an agent, `agents/{id}`, can use: "the calculator and the documents"; "" if it uses no tools. */
export function toolsOf(tools: readonly Tool[], agent: string): string {
  const usable = tools.filter((one) => one.agents.includes(agent) && one.problems.length === 0);
  return new Intl.ListFormat(locale()).format(usable.map((one) => described(one.title) || titleOf(one.name)));
}

/** The agent `agents/{id}` of a version `agents/{id}/versions/{n}`; "" for any other text. */
export function agentOf(version: string): string {
  return VERSION.exec(version)?.[1] ?? "";
}

/** The display name of an agent, or its id if `agents` does not contain it. */
export function labelOf(agents: readonly Agent[], name: string): string {
  return agents.find((one) => one.name === name)?.displayName || name.replace("agents/", "");
}

/** `agents/{id}` if the page's address names an agent (`?agent=tutor`), else "". */
export function named(search: string): string {
  const name = `agents/${new URLSearchParams(search).get("agent") ?? ""}`;
  return NAME.test(name) ? name : "";
}

/** An agent, `agents/{id}` or "" for the default, and its parameters. */
export interface Choice {
  readonly agent: string;
  readonly parameters: JsonObject;
}

/** This tab's choice of an agent. The choice survives a reload, with the parameters of each agent that this tab has chosen. */
export class AgentChoice {
  readonly #storage: Storage;
  #agent: string;
  #parameters: ReadonlyMap<string, JsonObject>;

  /** `named` is the agent in the page's address, or "". This agent takes precedence over the stored choice. */
  constructor(storage: Storage, named = "") {
    this.#storage = storage;
    const kept = read(storage);
    this.#agent = named || kept.agent;
    this.#parameters = kept.parameters;
  }

  get agent(): string {
    return this.#agent;
  }

  parametersOf(agent: string): JsonObject {
    return this.#parameters.get(agent) ?? {};
  }

  choose(agent: string): void {
    this.#agent = agent;
    this.#write();
  }

  keep(agent: string, parameters: JsonObject): void {
    this.#parameters = new Map([...this.#parameters, [agent, parameters]]);
    this.#write();
  }

  #write(): void {
    keep(this.#storage, KEY, JSON.stringify({ agent: this.#agent, parameters: Object.fromEntries(this.#parameters) }));
  }
}

function read(storage: Storage): { readonly agent: string; readonly parameters: ReadonlyMap<string, JsonObject> } {
  try {
    const value: unknown = JSON.parse(storage.getItem(KEY) ?? "{}");
    if (typeof value === "object" && value !== null) {
      const { agent, parameters } = value as Record<string, unknown>;
      const kept = typeof parameters === "object" && parameters !== null ? Object.entries(parameters) : [];
      return {
        agent: typeof agent === "string" && NAME.test(agent) ? agent : "",
        parameters: new Map(kept.filter((one): one is [string, JsonObject] => NAME.test(one[0]) && isParameters(one[1]))),
      };
    }
  } catch {
    // another program wrote the stored text, or the text cannot be read
  }
  return { agent: "", parameters: new Map() };
}

const PATH = "options.parameters.";

/** Maps the name of each refused parameter to its error. `teacher` is the name of the parameter that names a teacher, or "". */
export function violationsOf(failure: Failure, teacher: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const { field, description } of failure.violations) {
    if (field.startsWith(PATH)) found.set(field.slice(PATH.length).split(/[.[]/, 1)[0]!, sentence(description || failure.message));
  }
  if (found.size === 0 && teacher && failure.reason.startsWith("TEACHER_")) found.set(teacher, failure.message);
  return found;
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
