import { create } from "@bufbuild/protobuf";
import { Code, createRouterTransport, createClient, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { AuthService } from "@responsa/contract/responsa/auth/v1/auth_service_pb.js";
import { UserSchema } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { describe, expect, it } from "vitest";
import { watchingSession } from "../src/api.js";
import { signIn, takeCode } from "../src/session.js";
import { responsaError } from "./failures.js";

class Bar {
  readonly written: string[] = [];
  constructor(readonly hash: string) {}
  readonly pathname = "/";
  readonly search = "?a=1";
  readonly replaceState = (_: unknown, __: string, url?: string | URL | null) => void this.written.push(String(url));
}

describe("takeCode", () => {
  it("takes the code, and removes the code from the address", () => {
    const bar = new Bar("#code=rsc_abc");
    expect(takeCode(bar, bar)).toBe("rsc_abc");
    expect(bar.written).toEqual(["/?a=1"]);
  });

  it("removes an empty code, too", () => {
    const bar = new Bar("#code=");
    expect(takeCode(bar, bar)).toBe("");
    expect(bar.written).toEqual(["/?a=1"]);
  });

  it("leaves other fragments alone", () => {
    for (const hash of ["", "#/documents", "#/conversations/1"]) {
      const bar = new Bar(hash);
      expect(takeCode(bar, bar)).toBeUndefined();
      expect(bar.written).toEqual([]);
    }
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

function answering(status: number, body = "{}") {
  const asked: { url: string; body: string }[] = [];
  const ask = (url: string, init: RequestInit) => {
    asked.push({ url, body: String(init.body) });
    return Promise.resolve(new Response(body, { status }));
  };
  return { asked, ask: ask as unknown as typeof fetch };
}

describe("signIn", () => {
  it("exchanges the code in the body of a request, never in an address", async () => {
    const { asked, ask } = answering(200);
    const found = await signIn(api(somebody), "rsc_secret", ask);
    expect("user" in found && found.user.displayName).toBe("Ada");
    expect(asked).toEqual([{ url: "/v1/sessions", body: '{"code":"rsc_secret"}' }]);
  });

  it("exchanges nothing without a code", async () => {
    const { asked, ask } = answering(200);
    expect(await signIn(api(nobody), undefined, ask)).toEqual({ problem: "You are not signed in.", cut: false });
    expect(asked).toEqual([]);
  });

  it("reports a used code, but keeps a user signed in who is already signed in", async () => {
    const spent = '{"code":16,"message":"no","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"responsa","reason":"SESSION_CODE_INVALID"}]}';
    expect(await signIn(api(nobody), "rsc_x", answering(401, spent).ask)).toEqual({ problem: "This link has already been used or has expired.", cut: false });
    expect("user" in (await signIn(api(somebody), "rsc_x", answering(401, spent).ask))).toBe(true);
  });

  it("offers another try if the server could not be reached", async () => {
    const unreachable = () => {
      throw new ConnectError("Failed to fetch", Code.Unavailable);
    };
    const broken = (() => Promise.reject(new TypeError("Failed to fetch"))) as unknown as typeof fetch;
    expect(await signIn(api(unreachable), "rsc_x", broken)).toEqual({ problem: "Responsa cannot be reached.", cut: true });
  });
});

describe("watchingSession", () => {
  it("reports only calls that fail because the session has ended", async () => {
    let over = 0;
    const watched = { transport: { interceptors: [watchingSession(() => (over += 1))] } };
    await expect(api(nobody, watched).auth.getMe({})).rejects.toBeInstanceOf(ConnectError);
    expect(over).toBe(1);
    const missing = () => {
      throw responsaError(Code.NotFound, "RESOURCE_NOT_FOUND", "No.");
    };
    await expect(api(missing, watched).auth.getMe({})).rejects.toBeInstanceOf(ConnectError);
    expect(over).toBe(1);
  });
});
