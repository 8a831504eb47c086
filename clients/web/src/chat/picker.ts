/** The list of agents to choose from, and the form for the parameters of the chosen agent. */

import { Bot } from "lucide";
import type { Agent } from "@responsa/contract/responsa/chat/v1/agent_pb.js";
import { agentOf, allAgents, labelOf, localised, violationsOf, type AgentChoice, type Choice } from "./agents.js";
import type { Api } from "../server/api.js";
import { icon } from "../widgets/icons.js";
import { element, replace, WRITTEN } from "../widgets/dom.js";
import type { Failure } from "../server/errors.js";
import { ParametersForm } from "./form.js";
import { fieldsOf, type Field } from "./schema.js";
import { cleanLabel } from "../text/names.js";
import { t } from "../language/language.js";

export class AgentPicker {
  /** The choice of the agent. */
  readonly root: HTMLElement;
  /** The fields of the agent's parameters. */
  readonly parameters: HTMLElement;
  readonly #api: Pick<Api, "chat">;
  readonly #choice: AgentChoice;
  readonly #changed: (agent: Agent | undefined) => void;
  readonly #select = element("select", { id: "agent", change: () => void this.choose(this.#select.value) });
  readonly #form: ParametersForm;
  #agents: readonly Agent[] = [];
  /** The agent and parameters of the shown conversation's last question; undefined if the tab's own choice applies. */
  #adopted: Choice | undefined;
  /** The shown fields, their agent, and the source of their values: a conversation's choice, or undefined for this tab's own choice. */
  #shown: { readonly agent: string; readonly fields: readonly Field[]; readonly from: Choice | undefined } | undefined;

  /** `changed` is called when another agent is shown, or when the page knows more about the agent. */
  constructor(api: Pick<Api, "chat">, choice: AgentChoice, changed: (agent: Agent | undefined) => void) {
    this.#api = api;
    this.#choice = choice;
    this.#changed = changed;
    this.#form = new ParametersForm((values) => {
      this.#own();
      this.#choice.keep(this.#name, values);
    });
    const label = element("label", { for: this.#select.id, class: "unseen" }, t("agent"));
    this.root = element("div", { class: "pill" }, icon(Bot), label, this.#select);
    this.parameters = this.#form.root;
    this.#list();
  }

  /** The chosen agent, or undefined while the page does not know this agent. */
  get agent(): Agent | undefined {
    return this.#agents.find((one) => one.name === this.#name);
  }

  /** Whether the chosen agent has no language model, because none is set: the default agent has none either. */
  get modelless(): boolean {
    return this.agent?.models.length === 0 && this.#agents.some((one) => one.isDefault && one.models.length === 0);
  }

  /** The id of the chosen agent if the server does not list it; otherwise "". */
  get gone(): string {
    return this.#agents.length > 0 && this.#wanted.agent && !this.agent ? labelOf([], this.#wanted.agent) : "";
  }

  /** The agent that answers without a choice, or undefined while the page does not know it. */
  get default(): Agent | undefined {
    return this.#agents.find((one) => one.isDefault);
  }

  /** The listed agents that are not chosen. */
  get others(): readonly Agent[] {
    return this.#agents.filter((one) => one.listed && one.name !== this.#name);
  }

  /** The listed agents, and the chosen one. */
  get #offered(): readonly Agent[] {
    return this.#agents.filter((agent) => agent.listed || agent.name === this.#name);
  }

  /** Whether a parameter of an agent that is offered names records of this kind, e.g. "teachers". */
  names(resource: string): boolean {
    return this.#offered.some((agent) => fieldsOf(agent.parametersSchema).some((field) => field.resource === resource));
  }

  /** The agent and parameters for a question that is asked now. */
  get asked(): Choice {
    const known = this.#shown?.agent === this.#name;
    return { agent: this.#wanted.agent, parameters: known ? this.#form.values : this.#wanted.parameters };
  }

  /** The display name of the agent with this version, `agents/{id}/versions/{n}`. */
  label(version: string): string {
    const name = agentOf(version);
    return name && labelOf(this.#agents, name);
  }

  /** Read agents and parameters again. After an error, the page keeps what it knows, and the user can still ask. */
  async load(): Promise<void> {
    const found = await allAgents(this.#api).catch(() => undefined);
    if (found) {
      this.#agents = found;
      this.#list();
    }
    await this.#detail();
  }

  /** Show the choice of a conversation's last question; undefined shows this tab's own choice. */
  adopt(choice: Choice | undefined): void {
    this.#adopted = choice;
    this.#list();
    void this.#detail();
  }

  /** Show the errors of refused parameters at their fields. Returns false if the form does not show such fields. */
  async refused(failure: Failure, agent: string): Promise<boolean> {
    if (agent !== this.#wanted.agent) return false; // another agent is shown by now
    if (failure.reason === "RESOURCE_NOT_FOUND" || failure.reason.startsWith("TEACHER_")) await this.load(); // the chosen record may have been deleted
    let shown = false;
    for (const [name, why] of violationsOf(failure, this.#form.naming("teachers"))) shown = this.#form.refuse(name, why) || shown;
    return shown;
  }

  /** The name of the wanted agent, `agents/{id}`. Without a choice, this is the default agent; "" if the default agent is unknown. */
  get #name(): string {
    return this.#wanted.agent || this.default?.name || "";
  }

  get #wanted(): Choice {
    const { agent } = this.#choice;
    if (this.#adopted) return this.#adopted;
    const name = agent || this.default?.name || "";
    return { agent, parameters: this.#choice.parametersOf(name) };
  }

  /** Choose an agent, `agents/{id}`. Resolves when its parameters are shown. */
  async choose(agent: string): Promise<void> {
    this.#adopted = undefined;
    this.#choice.choose(agent);
    this.#list();
    await this.#detail();
  }

  /** Make the choice this tab's own, because the user has changed it. */
  #own(): void {
    if (!this.#adopted) return;
    this.#choice.choose(this.#adopted.agent);
    this.#adopted = undefined;
    if (this.#shown) this.#shown = { ...this.#shown, from: undefined };
  }

  #list(): void {
    const name = this.#name;
    const known = this.#agents.some((one) => one.name === name);
    const options = this.#offered.map((one) => element("option", { value: one.name, selected: one.name === name, ...WRITTEN }, one.displayName || labelOf([], one.name)));
    if (!known) {
      const label = !name ? t("default") : this.#agents.length > 0 ? t("notListed", { agent: labelOf([], name) }) : labelOf([], name);
      options.unshift(element("option", { value: name, selected: true }, label));
    }
    replace(this.#select, ...options);
    this.root.hidden = known && options.length < 2; // there is nothing to choose
    this.#select.title = cleanLabel(this.agent?.description ?? "");
    this.#fill();
    this.#changed(this.agent);
  }

  /** Read the chosen agent again, with the records that its parameters may name. */
  async #detail(): Promise<void> {
    const name = this.#name;
    if (!name) return;
    const found = await this.#api.chat.getAgent({ name }).then(localised, () => undefined);
    if (!found) return;
    this.#agents = this.#agents.map((one) => (one.name === name ? found : one));
    if (name !== this.#name) return;
    this.#fill(true);
    this.#changed(this.agent);
  }

  /** Show the fields of the chosen agent. `whole` says that the records to choose from are known too. */
  #fill(whole = false): void {
    const name = this.#name;
    const from = this.#adopted;
    const fields = fieldsOf(this.agent?.parametersSchema);
    const stands = this.#shown?.agent === name && this.#shown.from === from ? this.#shown : undefined;
    const known = this.agent && (whole || fields.every((one) => one.kind !== "choice" || one.choices.length > 0));
    if (!known) {
      if (!stands) this.#clear();
      return;
    }
    // Unchanged fields stay, so that the user does not lose the focus or typed text.
    if (stands && same(stands.fields, fields)) return;
    this.#form.show(fields, stands ? this.#form.values : this.#wanted.parameters);
    this.#shown = { agent: name, fields, from };
  }

  #clear(): void {
    this.#form.show([], {});
    this.#shown = undefined;
  }
}

function same(one: readonly Field[], other: readonly Field[]): boolean {
  return JSON.stringify(one, plain) === JSON.stringify(other, plain);
}

function plain(_: string, value: unknown): unknown {
  return value instanceof RegExp ? value.source : value;
}
