import { create } from "@bufbuild/protobuf";
import { Code, createClient, createRouterTransport } from "@connectrpc/connect";
import { AgentSchema } from "@responsa/contract/responsa/chat/v1/agent_pb.js";
import { ChatService } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
import { ToolSchema } from "@responsa/contract/responsa/chat/v1/tool_pb.js";
import { describe, expect, it } from "vitest";
import { AgentChoice, agentOf, allAgents, allTools, labelOf, named, toolsOf, violationsOf } from "../src/chat/agents.js";
import { failureOf } from "../src/server/errors.js";
import { refusedFields, responsaError } from "../../typescript/tests/failures.js";
import { MemoryStorage } from "./memory.js";

const KEY = "responsa.agent";
const agent = (id: string, displayName: string, isDefault = false) => create(AgentSchema, { name: `agents/${id}`, displayName, isDefault });

describe("allAgents", () => {
  it("reads every page, and puts the default agent first and the others in order of their display names", async () => {
    const pages = [[agent("tutor", "Tutor"), agent("default", "Quotes", true)], [agent("chat", "Chat")]];
    const transport = createRouterTransport(({ service }) =>
      service(ChatService, {
        listAgents: ({ pageToken }) => ({ agents: pages[Number(pageToken)]!, nextPageToken: pageToken ? "" : "1" }),
      }),
    );
    const found = await allAgents({ chat: createClient(ChatService, transport) });
    expect(found.map((one) => one.displayName)).toEqual(["Quotes", "Chat", "Tutor"]);
  });
});

describe("names", () => {
  it("are read from versions and addresses", () => {
    expect(agentOf("agents/tutor/versions/12")).toBe("agents/tutor");
    for (const version of ["", "agents/tutor", "agents/T/versions/1", "agents/tutor/versions/x"]) expect(agentOf(version)).toBe("");
    expect(named("?agent=tutor")).toBe("agents/tutor");
    for (const search of ["", "?agent=", "?agent=../x", "?agent=Tutor", "?other=tutor"]) expect(named(search)).toBe("");
  });

  it("are display names if these are known", () => {
    const known = [agent("tutor", "Tutor"), agent("bare", "")];
    expect(["agents/tutor", "agents/bare", "agents/gone"].map((one) => labelOf(known, one))).toEqual(["Tutor", "bare", "gone"]);
  });
});

describe("AgentChoice", () => {
  it("survives a reload, with the parameters of each agent", () => {
    const storage = new MemoryStorage();
    const choice = new AgentChoice(storage);
    expect([choice.agent, choice.parametersOf("agents/tutor")]).toEqual(["", {}]);
    choice.choose("agents/tutor");
    choice.keep("agents/tutor", { level: "beginner" });
    choice.keep("agents/chat", { intent: "post" });
    const again = new AgentChoice(storage);
    expect([again.agent, again.parametersOf("agents/tutor"), again.parametersOf("agents/chat")]).toEqual(["agents/tutor", { level: "beginner" }, { intent: "post" }]);
  });

  it("is replaced by the agent in the page's address", () => {
    const storage = new MemoryStorage();
    new AgentChoice(storage).choose("agents/tutor");
    expect(new AgentChoice(storage, "agents/chat").agent).toBe("agents/chat");
  });

  it("ignores entries of other programs", () => {
    for (const found of ["{", "null", "7", '{"agent":"x"}', '{"agent":5,"parameters":[1]}', '{"parameters":{"agents/a":{"b":[]},"c":{}}}']) {
      const storage = new MemoryStorage();
      storage.setItem(KEY, found);
      const choice = new AgentChoice(storage);
      expect([choice.agent, choice.parametersOf("agents/a"), choice.parametersOf("c")], found).toEqual(["", {}, {}]);
    }
  });

  it("works in memory if storing is forbidden", () => {
    const storage = new MemoryStorage();
    storage.setItem = () => {
      throw new DOMException("full", "QuotaExceededError");
    };
    const choice = new AgentChoice(storage);
    choice.choose("agents/chat");
    expect(choice.agent).toBe("agents/chat");
  });
});

describe("violationsOf", () => {
  it("finds the refused parameters and their mistakes", () => {
    const fields = { "options.parameters.level": "choose one of beginner, advanced.", "options.parameters.a[0]": "No.", text: "Too long.", "options.parameters.bare": "" };
    const found = violationsOf(failureOf(refusedFields("PARAMETERS_INVALID", "The parameters do not fit.", fields)), "teacher_id");
    expect([...found]).toEqual([
      ["level", "Choose one of beginner, advanced."],
      ["a", "No."],
      ["bare", "The parameters do not fit."],
    ]);
  });

  it("finds the parameter that names a teacher who does not exist", () => {
    const gone = failureOf(responsaError(Code.NotFound, "TEACHER_NOT_FOUND", "There is no such teacher."));
    expect([...violationsOf(gone, "teacher_id")]).toEqual([["teacher_id", "There is no such teacher."]]);
    expect(violationsOf(gone, "").size).toBe(0);
    expect(violationsOf(failureOf(responsaError(Code.NotFound, "RESOURCE_NOT_FOUND", "No.")), "teacher_id").size).toBe(0);
  });
});

describe("toolsOf", () => {
  const tool = (id: string, title: string, ...agents: string[]) => create(ToolSchema, { name: `tools/${id}`, title, agents: agents.map((one) => `agents/${one}`) });

  it("names the tools of the agent, from every page, without those that do not work", async () => {
    const broken = create(ToolSchema, { name: "tools/web", title: "the web", agents: ["agents/chat"], problems: [{ message: "It needs a key." }] });
    const pages = [[tool("calculator", "the calculator", "chat", "tutor"), broken], [tool("wiki", "", "chat"), tool("time", "the clock", "tutor")]];
    const transport = createRouterTransport(({ service }) =>
      service(ChatService, { listTools: ({ pageToken }) => ({ tools: pages[Number(pageToken)]!, nextPageToken: pageToken ? "" : "1" }) }),
    );
    const found = await allTools({ chat: createClient(ChatService, transport) });
    expect(toolsOf(found, "agents/chat")).toBe("the calculator and wiki");
    expect(toolsOf(found, "agents/default")).toBe("");
  });
});
