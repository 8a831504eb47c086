"""Finds out who calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.calls.call import Call
from responsa_server.calls.interceptors.shape import Interceptor
from responsa_server.domain.errors import Reason, Unauthenticated
from responsa_server.domain.people import Principal
from responsa_server.identity.service import Credential

SESSION_COOKIE = "responsa_session"
MAX_SESSIONS = 4


class Authenticator(Protocol):
    """Tells whose a credential is; `identity.service.Identity` is one."""

    async def authenticate(self, credential: Credential) -> Principal:
        """Return the principal. Raises Unauthenticated."""
        ...


class CredentialCheck(Interceptor[None]):
    """Reads `authorization: Bearer KEY`, else the session's cookie, and sets the call's principal."""

    def __init__(self, identity: Authenticator, cookie_name: str = SESSION_COOKIE) -> None:
        """Build it. cookie_name: of the sessions that this server begins."""
        self._identity = identity
        self._cookie_name = cookie_name

    async def on_start(self, call: Call) -> None:
        """Authenticate the caller. Raises Unauthenticated."""
        if RULES.get(call.method) is Rule.PUBLIC:
            return
        first: Unauthenticated | None = None
        for credential in credentials_of(call, self._cookie_name):
            try:
                call.principal = await self._identity.authenticate(credential)
            except Unauthenticated as error:
                first = first or error
            else:
                return
        raise first or Unauthenticated(
            Reason.CREDENTIAL_MISSING,
            "This call needs a credential: send `authorization: Bearer rsp_…` with an API key, or sign in with a link from `responsa open`.",
        )


def credentials_of(call: Call, cookie_name: str = SESSION_COOKIE) -> Sequence[Credential]:
    """The credentials that a call carries: its header's alone, or else its session cookies, four at most, those called `cookie_name` first.

    Browsers send a host's cookies to all its ports, so the sessions of several instances on one machine come together: `responsa_session`, and
    `responsa_session_` with anything behind it. Raises Unauthenticated (CREDENTIAL_MALFORMED).
    """
    headers = call.metadata.get("authorization", ())
    if headers:
        scheme, _, secret = headers[0].partition(" ")
        if len(headers) > 1 or scheme.lower() != "bearer" or not secret.strip():
            raise Unauthenticated(
                Reason.CREDENTIAL_MALFORMED,
                "The authorization header must read `Bearer rsp_…`, once, with an API key of this server.",
            )
        return (Credential("api_key", secret.strip()),)
    pairs = (
        pair.strip().partition("=")
        for cookies in call.metadata.get("cookie", ())
        for pair in cookies.split(";")
    )
    found = [
        (name, value.strip('"'))
        for name, _, value in pairs
        if name == SESSION_COOKIE or name.startswith(f"{SESSION_COOKIE}_")
    ]
    # However many other instances left a cookie on this host, this server's own is among those tried.
    found.sort(key=lambda one: one[0] != cookie_name)
    return [Credential("session", token) for _, token in found[:MAX_SESSIONS]]
