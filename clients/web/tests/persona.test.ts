import { create } from "@bufbuild/protobuf";
import { AgentReloadSchema } from "@responsa/contract/responsa/admin/v1/admin_service_pb.js";
import { describe, expect, it } from "vitest";
import { reloaded } from "../src/operators/agentspart.js";
import { changedPaths, draftOf, textProblem } from "../src/administration/persona.js";
import { linesOf, valuesOf, valuesProblem } from "../src/text/values.js";

describe("a teacher's values", () => {
  it("are read line by line", () => {
    expect(valuesOf("subject: biology\n\n grade : 7\nopen: true\nmotto: look: twice\nquoted: \"7\"\nempty:")).toEqual({
      subject: "biology",
      grade: 7,
      open: true,
      motto: "look: twice",
      quoted: "7",
      empty: "",
    });
    expect(valuesOf("")).toEqual({});
  });

  it("name the line that cannot be read", () => {
    expect(valuesOf("a: 1\nno colon")).toBe("Line 2 must read “name: value”.");
    expect(valuesOf(": x")).toBe("Line 1 must read “name: value”.");
    expect(valuesOf("a: 1\na: 2")).toBe("Line 2 repeats “a”.");
    expect(valuesProblem(`a: ${"x".repeat(5000)}`)).toMatch(/^This is \d+ bytes too long\.$/);
    expect(valuesProblem("a: 1")).toBe("");
  });

  it("are the same after writing and reading", () => {
    const values = { subject: "biology", grade: 7, word: "7", list: [1, "b"], nested: { a: null }, lines: "one\ntwo", spaced: " x ", yes: true, said: "true", none: "", "a:b": 1, "two\nlines": "one\rtwo", "": 0, '"quoted"': '"x"' };
    expect(valuesOf(linesOf(values))).toEqual(values);
    expect(linesOf(undefined)).toBe("");
  });
});

describe("a teacher's texts", () => {
  it("are measured in bytes, as on the server", () => {
    expect(textProblem("é".repeat(100), 200)).toBe("");
    expect(textProblem("é".repeat(101), 200)).toBe("This is 2 bytes too long; the limit is 200.");
    expect(textProblem(" \n", 200)).toBe("Enter a text.");
  });

  it("are sent only if they have changed", () => {
    const before = draftOf({ displayName: "Ada", persona: "You teach.", parameters: { grade: 7 } });
    expect(changedPaths(before, before)).toEqual([]);
    expect(changedPaths(before, { ...before, values: " grade:   7 " })).toEqual([]);
    expect(changedPaths(before, { displayName: "Eva", persona: "You sing.", values: "" })).toEqual(["display_name", "persona", "parameters"]);
  });
});

describe("reloaded", () => {
  const one = (agent: string, changed: boolean, problems = 0) =>
    create(AgentReloadSchema, { agent: `agents/${agent}`, changed, problems: Array.from({ length: problems }, () => ({ message: "wrong" })) });

  it("names the agents that changed and those whose files are not valid", () => {
    expect(reloaded([one("chat", false)])).toBe("Nothing changed.");
    expect(reloaded([one("chat", true), one("tutor", true), one("default", false)])).toBe("Changed: chat, tutor.");
    expect(reloaded([one("chat", true), one("mine", false, 2)])).toBe("Changed: chat; the files of 1 agent are not valid: mine.");
  });
});
