import { describe, expect, it } from "vitest";
import { sentence } from "../src/widgets/fields.js";
import { callName, oneOf, peopleFilter } from "../src/server/people.js";
import { deviceOf } from "../src/account/useragent.js";
import { viewAt, viewFragment } from "../src/widgets/views.js";

describe("places of views", () => {
  it("are written and read", () => {
    const places = [
      { area: "profile", tab: "", query: {} },
      { area: "profile", tab: "keys", query: {} },
      { area: "administration", tab: "audit", query: { who: "ada & bob?", from: "2026-11-22" } },
    ] as const;
    for (const place of places) expect(viewAt(viewFragment(place))).toEqual(place);
    expect(viewFragment({ area: "administration", tab: "users", query: { search: "", role: "" } })).toBe("#/administration/users");
  });

  it("are not read from other fragments", () => {
    for (const fragment of ["", "#/", "#/profiles", "#/profile/../x", "#/administration/Users", "#/documents", "#/profile/keys/1"]) expect(viewAt(fragment)).toBeUndefined();
  });
});

describe("people", () => {
  it("are called by their name, or their address", () => {
    expect(callName({ displayName: "Ada", email: "ada@example.org", name: "users/1" })).toBe("Ada");
    expect(callName({ displayName: " ", email: "ada@example.org", name: "users/1" })).toBe("ada@example.org");
    expect(callName({ displayName: "", email: "", name: "users/1" })).toBe("users/1");
  });

  it("are found by text that stands for itself", () => {
    expect(peopleFilter(' a"*\\ ')).toBe('(display_name:"a\\"\\*\\\\" OR email:"a\\"\\*\\\\")');
    expect(oneOf("owner", ["users/1", "users/2"])).toBe('(owner = "users/1" OR owner = "users/2")');
  });
});

describe("deviceOf", () => {
  it.each([
    ["Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0", "Firefox on Windows"],
    ["Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15", "Safari on macOS"],
    ["Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1", "Safari on iPhone"],
    ["Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36", "Chrome on Android"],
    ["Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0", "Edge on Windows"],
    ["Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/142.0.0.0 Safari/537.36", "Chrome on Linux"],
    ["grpc-python/1.76.0 grpc-c/51.0.0 (linux; chttp2)", "A Python program or the command line"],
    ["curl/8.5.0", "curl/8.5.0"],
    ["", "Unknown device"],
  ])("names the device of %s", (agent, device) => {
    expect(deviceOf(agent)).toBe(device);
  });
});

describe("sentence", () => {
  it("joins a field and the server's description", () => {
    expect(sentence("Password", "is too easy to guess")).toBe("Password is too easy to guess.");
    expect(sentence("Name", "is too long!")).toBe("Name is too long!");
  });
});
