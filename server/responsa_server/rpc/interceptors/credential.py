"""Finds out who calls."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from typing import Protocol

from responsa_server.domain.errors import Reason, Unauthenticated
from responsa_server.domain.people import Principal
from responsa_server.identity.service import Credential
from responsa_server.rpc.authorisation import RULES, Rule
from responsa_server.rpc.call import Call
from responsa_server.rpc.interceptors.shape import Interceptor

SESSION_COOKIE = "responsa_session"


class Authenticator(Protocol):
    """Tells whose a credential is; `identity.service.Identity` is one."""

    async def authenticate(self, credential: Credential) -> Principal:
        """Return the principal. Raises Unauthenticated."""
        ...


class CredentialCheck(Interceptor[None]):
    """Reads `authorization: Bearer KEY`, else the session's cookie, and sets the call's principal."""

    def __init__(self, identity: Authenticator) -> None:
        self._identity = identity

    async def on_start(self, call: Call) -> None:
        """Authenticate the caller. Raises Unauthenticated."""
        if RULES.get(call.method) is not Rule.PUBLIC:
            call.principal = await self._identity.authenticate(credential_of(call))


def credential_of(call: Call) -> Credential:
    """The credential that a call carries; a header goes before a cookie. Raises Unauthenticated."""
    headers = call.metadata.get("authorization", ())
    if headers:
        scheme, _, secret = headers[0].partition(" ")
        if len(headers) > 1 or scheme.lower() != "bearer" or not secret.strip():
            raise Unauthenticated(
                Reason.CREDENTIAL_MALFORMED,
                "The authorization header must read `Bearer rsp_…`, once, with an API key of this server.",
            )
        return Credential("api_key", secret.strip())
    for cookies in call.metadata.get("cookie", ()):
        token = _session(cookies)
        if token is not None:
            return Credential("session", token)
    raise Unauthenticated(
        Reason.CREDENTIAL_MISSING,
        "This call needs a credential: send `authorization: Bearer rsp_…` with an API key, or sign in with a link from `responsa open`.",
    )


def _session(cookies: str) -> str | None:
    try:
        found = SimpleCookie(cookies).get(SESSION_COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value
