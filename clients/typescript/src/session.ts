/** The session of a person for whom a program calls. */

import type { Client } from "@connectrpc/connect";
import type { AuthService } from "@responsa/contract/responsa/auth/v1/auth_service_pb.js";
import type { SessionTokens } from "@responsa/contract/responsa/auth/v1/session_pb.js";
import { uuid } from "./bytes.js";

/** Milliseconds before its end at which an access token is refreshed. */
const EARLY = 60_000;

/** The tokens of a session. They are kept in memory only. */
export class Session {
  #tokens: SessionTokens;
  #requestId = "";
  #refreshing: Promise<void> | undefined;

  /** auth: the AuthService of a client without a credential. tokens: those of a `LoginResponse`. */
  constructor(
    private readonly auth: Pick<Client<typeof AuthService>, "refreshToken" | "logout">,
    tokens: SessionTokens | undefined,
  ) {
    if (!tokens) throw new TypeError("The response has no tokens.");
    this.#tokens = tokens;
  }

  /** The newest access token, refreshed a minute before it expires. Use it as a client's `credential`. Raises ResponsaError; the reason TOKEN_INVALID means that the session has ended. */
  readonly token = async (): Promise<string> => {
    if (Number(this.#tokens.accessExpireTime?.seconds ?? 0n) * 1000 - Date.now() < EARLY) {
      await (this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = undefined)));
    }
    return this.#tokens.accessToken;
  };

  /** End the session on the server. */
  async end(): Promise<void> {
    await this.auth.logout({ refreshToken: this.#tokens.refreshToken });
  }

  async #refresh(): Promise<void> {
    // If a refresh fails, the next one repeats it with the same id. Another id would end the session.
    this.#requestId ||= uuid();
    const { tokens } = await this.auth.refreshToken({ refreshToken: this.#tokens.refreshToken, requestId: this.#requestId });
    if (tokens) this.#tokens = tokens;
    this.#requestId = "";
  }
}
