import { create } from "@bufbuild/protobuf";
import { ToolOutcome, TurnToolResultSchema } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { describe, expect, it } from "vitest";
import { endOf, hostOf, linkOf, toolOf } from "../src/chat/fetched.js";

describe("linkOf", () => {
  it("makes links of addresses of the web only", () => {
    expect(linkOf("https://example.org/a b?x=1#y")).toBe("https://example.org/a%20b?x=1#y");
    expect(linkOf("HTTP://Example.org")).toBe("http://example.org/");
    const others = ["", "javascript:alert(1)", " javascript:alert(1)", "data:text/html,x", "ftp://example.org/", "file:///etc/passwd", "//example.org/", "https://", "https:///x", "/etc", "mailto:a@example.org"];
    for (const one of others) expect(linkOf(one), one).toBeUndefined();
  });

  it("names the host of a link, and everything else as it is", () => {
    expect(hostOf("https://docs.example.org:8443/a")).toBe("docs.example.org:8443");
    expect(hostOf("handbook.md")).toBe("handbook.md");
  });
});

describe("endOf", () => {
  it("says how a call ended, after how long, and how many sources it has", () => {
    const result = (outcome: ToolOutcome, sources = 0) => create(TurnToolResultSchema, { outcome, sources: Array.from({ length: sources }, () => ({})) });
    expect(endOf(result(ToolOutcome.OK, 3), 1_234)).toBe("done in 1.2 s, 3 sources");
    expect(endOf(result(ToolOutcome.OK), 80)).toBe("done in 80 ms");
    expect(endOf(result(ToolOutcome.ERROR), 80)).toBe("failed after 80 ms");
    expect(endOf(result(ToolOutcome.UNKNOWN), 80)).toBe("it is not known whether the call took effect");
    expect(toolOf("tools/web_search")).toBe("web_search");
  });
});
