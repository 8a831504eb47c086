import { create } from "@bufbuild/protobuf";
import { Code, createRouterTransport, createClient, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { AuthService } from "@responsa/contract/responsa/auth/v1/auth_service_pb.js";
import { UserSchema } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { describe, expect, it } from "vitest";
import { watchingSession } from "../src/server/api.js";
import { CUT, failureOf, ofOtherUser, withWait } from "../src/server/errors.js";
import { askForReset, begin, beginWith, claim, comesBack, comesToLink, confirmEmail, confirmLink, goes, goesToLink, hasSecret, isOthers, ofOther, onLoopback, signIn, signOut, takeSecret } from "../src/account/session.js";
import { responsaError } from "../../typescript/tests/failures.js";
import { MemoryStorage } from "./memory.js";

class Bar {
  readonly written: string[] = [];
  constructor(readonly hash: string) {}
  readonly pathname = "/";
  readonly search = "?a=1";
  readonly replaceState = (_: unknown, __: string, url?: string | URL | null) => void this.written.push(String(url));
}

describe("onLoopback", () => {
  it("knows the machine of the browser", () => {
    for (const one of ["localhost", "responsa.localhost", "127.0.0.1", "127.3.2.1", "[::1]"]) expect(onLoopback(one)).toBe(true);
    for (const one of ["responsa.example.org", "localhost.example.org", "127.0.0.1.example.org", "10.0.0.1", "notlocalhost", ""]) expect(onLoopback(one)).toBe(false);
  });
});

describe("takeSecret", () => {
  it("takes the secret, and removes the secret from the address", () => {
    for (const [hash, kind, value] of [["#code=rsc_abc", "code", "rsc_abc"], ["#invitation=rsi_abc", "invitation", "rsi_abc"], ["#reset=rsx_abc", "reset", "rsx_abc"], ["#/reset=rsx_abc", "reset", "rsx_abc"], ["#/confirm=rse_abc", "confirm", "rse_abc"], ["#confirm=rse_abc", "confirm", "rse_abc"]] as const) {
      const bar = new Bar(hash);
      expect(hasSecret(hash)).toBe(true);
      expect(takeSecret(bar, bar)).toEqual({ kind, value, email: "" });
      expect(bar.written).toEqual(["/?a=1"]);
    }
  });

  it("takes the address that an invitation names", () => {
    const bar = new Bar("#invitation=rsi_abc&email=ada%2Bx%40example.org");
    expect(takeSecret(bar, bar)).toEqual({ kind: "invitation", value: "rsi_abc", email: "ada+x@example.org" });
  });

  it("removes an empty code, too", () => {
    const bar = new Bar("#code=");
    expect(takeSecret(bar, bar)).toEqual({ kind: "code", value: "", email: "" });
    expect(bar.written).toEqual(["/?a=1"]);
  });

  it("leaves other fragments alone", () => {
    for (const hash of ["", "#/documents", "#/conversations/1", "#/profile/keys?code"]) {
      const bar = new Bar(hash);
      expect(hasSecret(hash)).toBe(false);
      expect(takeSecret(bar, bar)).toBeUndefined();
      expect(bar.written).toEqual([]);
    }
  });
});

describe("claim", () => {
  it("keeps what a user left in the tab, and deletes what another user left", () => {
    const storage = new MemoryStorage();
    storage.setItem("responsa.draft", "from a release that did not note the user");
    expect(claim(storage, "users/a")).toBe(false);
    expect(storage.getItem("responsa.draft")).toBeNull();
    storage.setItem("responsa.draft", "a question");
    expect(claim(storage, "users/a")).toBe(false);
    expect(storage.getItem("responsa.draft")).toBe("a question");
    expect([isOthers(storage, "users/a"), isOthers(storage, "users/b"), isOthers(new MemoryStorage(), "users/b")]).toEqual([false, true, false]);
    expect(claim(storage, "users/b")).toBe(true);
    expect(storage.length).toBe(1);
    expect(claim(storage, "users/b")).toBe(false);
  });
});

describe("comesBack", () => {
  it("tells once that the visitor went to a provider", () => {
    const storage = new MemoryStorage();
    expect(comesBack(storage)).toBe(false);
    goes(storage);
    expect([comesBack(storage), comesBack(storage)]).toEqual([true, false]);
  });
});

function api(getMe: ServiceImpl<typeof AuthService>["getMe"], interceptors: Parameters<typeof createRouterTransport>[1] = {}) {
  const transport = createRouterTransport((router) => router.service(AuthService, { getMe }), interceptors);
  return { auth: createClient(AuthService, transport) };
}

const somebody = () => create(UserSchema, { displayName: "Ada" });
const nobody = () => {
  throw responsaError(Code.Unauthenticated, "CREDENTIAL_MISSING", "Sign in.");
};

/** The server's replies: the n-th request gets the n-th one, and further requests get the last one. */
function answering(...replies: readonly (readonly [status: number, body: string])[]) {
  const asked: { url: string; body: string }[] = [];
  const users: (string | null)[] = [];
  const ask = (url: string, init: RequestInit) => {
    const [status, body] = replies[Math.min(asked.length, replies.length - 1)]!;
    asked.push({ url, body: String(init.body) });
    users.push(new Headers(init.headers).get("responsa-user"));
    return Promise.resolve(new Response(body, { status }));
  };
  return { asked, users, ask: ask as unknown as typeof fetch };
}

const began = () => undefined;
const never = () => Promise.reject(new Error("nobody was asked"));
const OTHER = '{"code":6,"message":"no","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"responsa","reason":"RESOURCE_ALREADY_EXISTS","metadata":{"resource_type":"session"}}]}';
const REPLACED = '{"code":16,"message":"no","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"responsa","reason":"CREDENTIAL_OF_OTHER_USER"}]}';

describe("signIn", () => {
  it("exchanges the code in the body of a request, never in an address", async () => {
    const { asked, ask } = answering([200, "{}"]);
    let times = 0;
    const found = await signIn(api(somebody), "rsc_secret", { began: () => (times += 1), replaces: never, ask });
    expect("user" in found && found.user.displayName).toBe("Ada");
    expect(times).toBe(1);
    expect(asked).toEqual([{ url: "/v1/sessions", body: '{"code":"rsc_secret"}' }]);
  });

  it("exchanges nothing without a code", async () => {
    const { asked, ask } = answering([200, "{}"]);
    expect(await signIn(api(nobody), undefined, { began, replaces: never, ask })).toEqual({ problem: "", cut: false });
    expect(asked).toEqual([]);
  });

  it("says that the session has begun, even if its user is then not learnt", async () => {
    let times = 0;
    const lost = () => {
      throw new ConnectError("Failed to fetch", Code.Unavailable);
    };
    expect(await signIn(api(lost), "rsc_x", { began: () => (times += 1), replaces: never, ask: answering([200, "{}"]).ask })).toMatchObject({ cut: true });
    expect(times).toBe(1);
    await signIn(api(somebody), "rsc_x", { began: () => (times += 1), replaces: () => Promise.resolve(false), ask: answering([409, OTHER]).ask });
    expect(times).toBe(1);
  });

  it("reports a used code, but keeps a user signed in who is already signed in", async () => {
    const spent = '{"code":16,"message":"no","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"responsa","reason":"SESSION_CODE_INVALID"}]}';
    const { ask } = answering([401, spent]);
    expect(await signIn(api(nobody), "rsc_x", { began, replaces: never, ask })).toEqual({ problem: "This link has already been used or has expired. Sign in below, or ask for a new link.", cut: false });
    expect("user" in (await signIn(api(somebody), "rsc_x", { began, replaces: never, ask }))).toBe(true);
  });

  it("asks before it replaces another user's session", async () => {
    const asked: string[] = [];
    const answer = (yes: boolean) => (present: { displayName: string } | undefined) => {
      asked.push(present?.displayName ?? "");
      return Promise.resolve(yes);
    };
    const kept = answering([409, OTHER]);
    expect("user" in (await signIn(api(somebody), "rsc_x", { began, replaces: answer(false), ask: kept.ask }))).toBe(true);
    expect(kept.asked.map((one) => one.body)).toEqual(['{"code":"rsc_x"}']);
    const replaced = answering([409, OTHER], [200, "{}"]);
    expect("user" in (await signIn(api(somebody), "rsc_x", { began, replaces: answer(true), ask: replaced.ask }))).toBe(true);
    expect(replaced.asked.map((one) => one.body)).toEqual(['{"code":"rsc_x"}', '{"code":"rsc_x","replace":true}']);
    expect(asked).toEqual(["Ada", "Ada"]);
  });

  it.each([
    [Code.Unauthenticated, "USER_DISABLED"],
    [Code.PermissionDenied, "TENANT_SUSPENDED"],
  ])("reports that the user is kept out, and offers the sign-in", async (code, reason) => {
    const keptOut = () => {
      throw responsaError(code, reason, "You are kept out.");
    };
    expect(await signIn(api(keptOut), undefined, { began, replaces: never })).toEqual({ problem: "You are kept out.", cut: false });
  });

  it("offers another try if the server could not be reached", async () => {
    const unreachable = () => {
      throw new ConnectError("Failed to fetch", Code.Unavailable);
    };
    const broken = (() => Promise.reject(new TypeError("Failed to fetch"))) as unknown as typeof fetch;
    expect(await signIn(api(unreachable), "rsc_x", { began, replaces: never, ask: broken })).toEqual({ problem: "Responsa cannot be reached.", cut: true });
  });
});

describe("begin", () => {
  it("reads the fields and the time that the server names", async () => {
    const body = JSON.stringify({
      code: 3,
      message: "email: must be a string",
      details: [
        { "@type": "type.googleapis.com/google.rpc.ErrorInfo", domain: "responsa", reason: "INVALID_FIELD" },
        { "@type": "type.googleapis.com/google.rpc.BadRequest", fieldViolations: [{ field: "email", description: "must be a string" }] },
        { "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "90.5s" },
      ],
    });
    const failure = await begin({ tenant: "", email: "", password: "x" }, false, answering([400, body]).ask);
    expect(failure).toMatchObject({ reason: "INVALID_FIELD", violations: [{ field: "email", description: "must be a string" }], retryAfter: 90_500 });
    expect(failure && withWait(failure)).toBe("email: must be a string Try again in 2 minutes.");
    expect(failure && ofOther(failure)).toBe(false);
    expect(await begin({ code: "x" }, false, answering([200, "{}"]).ask)).toBeUndefined();
    expect((await begin({ code: "x" }, false, answering([502, "<html>"]).ask))?.reason).toBe("");
  });
});

describe("beginWith", () => {
  it("returns the provider's address, and never one that runs a script", async () => {
    const { asked, users, ask } = answering([200, '{"authorizationUri": "https://login.example/a?state=1"}']);
    expect(await beginWith("oidcProviders/work", "/?tenant=acme#/", {}, ask)).toEqual(new URL("https://login.example/a?state=1"));
    await beginWith("oidcProviders/work", "/", { invitation: "rsi_x" }, ask);
    await beginWith("oidcProviders/work", "/", { replace: true }, ask);
    await beginWith("oidcProviders/work", "/", { link: "users/a" }, ask);
    expect(asked).toEqual([
      { url: "/v1/oidc/work:start", body: '{"returnTo":"/?tenant=acme#/"}' },
      { url: "/v1/oidc/work:start", body: '{"returnTo":"/","invitation":"rsi_x"}' },
      { url: "/v1/oidc/work:start", body: '{"returnTo":"/","replace":true}' },
      { url: "/v1/oidc/work:start", body: '{"returnTo":"/","link":true}' },
    ]);
    expect(users).toEqual([null, null, null, "users/a"]);
    for (const body of ['{"authorizationUri": "javascript:alert(1)"}', "{}", "[", '{"authorizationUri": "/here"}']) expect(await beginWith("oidcProviders/work", "/", {}, answering([200, body]).ask)).toBe(CUT);
    expect(await beginWith("oidcProviders/work", "/", {}, answering([409, OTHER]).ask)).toMatchObject({ reason: "RESOURCE_ALREADY_EXISTS" });
  });
});

describe("confirmLink", () => {
  it("names the user, and confirms only what the tab has begun", async () => {
    const { asked, users, ask } = answering([200, "{}"], [401, REPLACED]);
    expect(await confirmLink("oidcProviders/work", "sealed", "users/a", ask)).toBeUndefined();
    expect((await confirmLink("oidcProviders/work", "sealed", "users/a", ask))?.reason).toBe("CREDENTIAL_OF_OTHER_USER");
    expect(asked[0]).toEqual({ url: "/v1/oidc/work:link", body: '{"link":"sealed"}' });
    expect(users).toEqual(["users/a", "users/a"]);
    const storage = new MemoryStorage();
    goesToLink(storage, "oidcProviders/work");
    expect([comesToLink(storage, "oidcProviders/other"), comesToLink(storage, "oidcProviders/work")]).toEqual([false, false]);
    goesToLink(storage, "oidcProviders/work");
    expect([comesToLink(storage, "oidcProviders/work"), comesToLink(storage, "oidcProviders/work")]).toEqual([true, false]);
  });
});

describe("signOut", () => {
  it("names the user whose session is to end", async () => {
    const { users, ask } = answering([200, "{}"], [401, REPLACED]);
    expect(await signOut("users/a", ask)).toBeUndefined();
    const failure = await signOut("users/a", ask);
    expect(failure && ofOtherUser(failure)).toBe(true);
    expect(users).toEqual(["users/a", "users/a"]);
    expect(await signOut("users/a", () => Promise.reject(new TypeError("Failed to fetch")))).toBe(CUT);
  });
});

describe("confirmEmail", () => {
  const served = (emails: readonly (string | undefined)[], confirmEmail: ServiceImpl<typeof AuthService>["confirmEmail"]) => {
    let calls = 0;
    const getMe = () => {
      const email = emails[Math.min(calls++, emails.length - 1)];
      return email === undefined ? nobody() : create(UserSchema, { name: "users/a", email });
    };
    return { auth: createClient(AuthService, createRouterTransport((router) => router.service(AuthService, { getMe, confirmEmail }))) };
  };

  it("says whether the address of the signed-in user has changed", async () => {
    const calls: string[] = [];
    const good: ServiceImpl<typeof AuthService>["confirmEmail"] = ({ code, password }) => (calls.push(`${code} ${password}`), {});
    expect((await confirmEmail(served(["old@example.org", "new@example.org"], good), "rse_a", ""))?.email).toBe("new@example.org");
    expect(await confirmEmail(served(["old@example.org"], good), "rse_b", "")).toBeUndefined();
    expect(await confirmEmail(served([undefined], good), "rse_c", "four uncommon marmots")).toBeUndefined();
    expect(calls).toEqual(["rse_a ", "rse_b ", "rse_c four uncommon marmots"]);
  });

  it("raises the server's refusal", async () => {
    const bad = () => {
      throw responsaError(Code.Unauthenticated, "CODE_INVALID", "No.");
    };
    expect(failureOf(await confirmEmail(served([undefined], bad), "rse_a", "").catch((error: unknown) => error)).reason).toBe("CODE_INVALID");
  });
});

describe("askForReset", () => {
  const served = (requestReset: ServiceImpl<typeof AuthService>["requestReset"]) => ({ auth: createClient(AuthService, createRouterTransport((router) => router.service(AuthService, { requestReset }))) });

  it("names the tenant and the address, and says the same for every address", async () => {
    const asked: string[] = [];
    const api = served(({ tenant, email }) => (asked.push(`${tenant} ${email}`), {}));
    expect(await askForReset(api, "acme", "ann@example.org")).toMatch(/^If an account has this e-mail address, an e-mail is on its way\./);
    expect(await askForReset(api, "acme", "ann@example.org")).toBe(await askForReset(api, "", "nobody@example.org"));
    expect(asked).toEqual(["acme ann@example.org", "acme ann@example.org", " nobody@example.org"]);
  });

  it("names the administrator where no mails are sent, and returns other failures", async () => {
    const refusing = (code: Code, reason: string) => served(() => {
      throw responsaError(code, reason, "No.");
    });
    expect(await askForReset(refusing(Code.FailedPrecondition, "MAIL_NOT_CONFIGURED"), "", "a@example.org")).toMatch(/Ask an administrator for a reset code/);
    expect(await askForReset(refusing(Code.ResourceExhausted, "TOO_MANY_ATTEMPTS"), "", "a@example.org")).toMatchObject({ reason: "TOO_MANY_ATTEMPTS" });
  });
});

describe("watchingSession", () => {
  it("reports only calls that fail because the session has ended, before they fail", async () => {
    let over = 0;
    const counted = async () => {
      await Promise.resolve();
      over += 1;
    };
    const watched = { transport: { interceptors: [watchingSession(counted)] } };
    await expect(api(nobody, watched).auth.getMe({})).rejects.toBeInstanceOf(ConnectError);
    expect(over).toBe(1);
    const missing = () => {
      throw responsaError(Code.NotFound, "RESOURCE_NOT_FOUND", "No.");
    };
    await expect(api(missing, watched).auth.getMe({})).rejects.toBeInstanceOf(ConnectError);
    expect(over).toBe(1);
  });
});
