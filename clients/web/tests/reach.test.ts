import { expect, it } from "vitest";
import { curlLine } from "../src/operators/program.js";
import { isInClear } from "../src/widgets/reach.js";

it("what travels in clear is what goes to another computer without TLS", () => {
  const inClear = (protocol: string, hostname: string) => isInClear({ protocol, hostname });
  expect([inClear("http:", "192.168.1.5"), inClear("https:", "192.168.1.5"), inClear("http:", "127.0.0.1"), inClear("http:", "localhost")]).toEqual([true, false, false, false]);
});

it("the line for a shell asks the agent, whatever its question contains", () => {
  const line = curlLine("http://h:1", "agents/house", `It's "so"?`, "rsp_x");
  const body = /-d '([^']*)'$/.exec(line)?.[1] ?? "";
  expect(JSON.parse(body)).toEqual({ agent: "agents/house", text: `It's "so"?` });
  expect(line).toContain('-H "authorization: Bearer rsp_x"');
});
