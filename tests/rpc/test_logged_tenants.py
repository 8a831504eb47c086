"""The tenant in the line of each call: of calls without a credential, and of refused credentials."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import pytest

from responsa.auth.v1 import auth_service_pb2 as auth
from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.domain.people import NewKey, Role
from tests.people import GOOD
from tests.rpc.served import Served, bearer, failed, zoe

OTHER = "seven purple walruses hum"
AUTH = "/responsa.auth.v1.AuthService/"
ELSEWHERE = frozenset({"ConfirmEmail"})
"""Needs mails: tests/contract/test_mail.py."""
WITHOUT = frozenset({"ListSignInMethods", "GetJwks", "RequestReset"})
"""These do not look the tenant up: the first replies from the settings, the second is about the installation, and the
third leaves that to the job that sends the mail."""


async def login(served: Served, password: str = GOOD) -> auth.LoginResponse:
    return await served.nobody.Login(tenant="acme", email="zoe@example.org", password=password)


async def signs_in(served: Served) -> None:
    await zoe(served)
    await login(served)
    assert (await failed(login(served, OTHER))).reason == "SIGN_IN_FAILED"


async def refreshes(served: Served) -> None:
    user = await zoe(served)
    token = (await login(served)).tokens.refresh_token
    request = auth.RefreshTokenRequest(refresh_token=token)
    await served.auth.RefreshToken(request)
    assert (await failed(served.auth.RefreshToken(request))).reason == "TOKEN_INVALID"
    token = (await login(served)).tokens.refresh_token
    served.harness.ask("UPDATE responsa.app_user SET disable_time = now() WHERE id = %s RETURNING 1", user.id)
    assert (await failed(served.nobody.RefreshToken(refresh_token=token))).reason == "TOKEN_INVALID"


async def signs_out(served: Served) -> None:
    await zoe(served)
    token = (await login(served)).tokens.refresh_token
    await served.nobody.Logout(refresh_token=token)


async def registers(served: Served) -> None:
    await zoe(served)
    for email, password in (("yan@example.org", GOOD), ("zoe@example.org", GOOD), ("x@example.org", "weak")):
        code, _ = await served.accounts.create_invitation(served.ann.who, Role.USER, "", 60)
        request = auth.RegisterRequest(invitation=code, email=email, password=password)
        if password is GOOD:
            await served.auth.Register(request)
        else:
            assert (await failed(served.auth.Register(request))).reason == "INVALID_FIELD"


async def resets(served: Served) -> None:
    user = await zoe(served)
    code, _ = await served.accounts.create_reset_code(served.ann.who, user.id)
    assert (
        await failed(served.nobody.ResetPassword(code=code, new_password="weak"))
    ).reason == "INVALID_FIELD"
    await served.nobody.ResetPassword(code=code, new_password=OTHER)


CALLS: Mapping[str, Callable[[Served], Awaitable[None]]] = {
    "Login": signs_in,
    "RefreshToken": refreshes,
    "Logout": signs_out,
    "Register": registers,
    "ResetPassword": resets,
}


def test_every_method_without_a_credential_is_listed() -> None:
    public = {
        one.removeprefix(AUTH) for one, rule in RULES.items() if rule is Rule.PUBLIC if one.startswith(AUTH)
    }
    assert public == CALLS.keys() | ELSEWHERE | WITHOUT


@pytest.mark.parametrize("method", CALLS)
async def test_a_call_without_a_credential_logs_the_tenant(served: Served, method: str) -> None:
    await CALLS[method](served)
    lines = [one for one in served.lines.of("call") if one["method"] == AUTH + method]
    assert lines
    assert {line["tenant"] for line in lines} == {"acme"}, lines


async def revoked(served: Served) -> str:
    key, secret = await served.identity.create_api_key(served.bob.who, NewKey("former"))
    await served.identity.revoke_api_key(served.bob.who, key.id)
    return secret


async def expired(served: Served) -> str:
    key, secret = await served.identity.create_api_key(served.bob.who, NewKey("former"))
    served.harness.ask("UPDATE responsa.api_key SET expire_time = now() WHERE id = %s RETURNING 1", key.id)
    return secret


async def disabled(served: Served) -> str:
    await served.ann.DisableUser(name=served.bob.name)
    return served.bob.secret


async def suspended(served: Served) -> str:
    await served.ann.SuspendTenant(name="tenants/rival")
    return served.eve.secret


async def ended(served: Served) -> str:
    """The access token of a session that has ended."""
    await zoe(served)
    tokens = (await login(served)).tokens
    await served.nobody.Logout(refresh_token=tokens.refresh_token)
    return tokens.access_token


@pytest.mark.parametrize(
    ("credential", "reason"),
    [
        (revoked, "CREDENTIAL_REVOKED"),
        (expired, "CREDENTIAL_EXPIRED"),
        (disabled, "USER_DISABLED"),
        (suspended, "TENANT_SUSPENDED"),
        (ended, "TOKEN_INVALID"),
    ],
)
async def test_a_refused_credential_logs_its_tenant(
    served: Served, credential: Callable[[Served], Awaitable[str]], reason: str
) -> None:
    signed_in = served.sending(bearer(await credential(served)))
    assert (await failed(signed_in.GetMe())).reason == reason
    (line,) = [one for one in served.lines.of("call") if one["method"] == AUTH + "GetMe"]
    tenant = "rival" if credential is suspended else "acme"
    assert (line["reason"], line["tenant"], line["user"]) == (reason, tenant, "")


async def test_the_log_names_no_tenant_that_the_server_has_not_found(served: Served) -> None:
    """Somebody who calls without a credential could otherwise fill the log of any tenant."""
    await failed(served.nobody.Login(tenant="acme", email="nobody@example.org", password=GOOD))
    await failed(served.sending((("authorization", f"Bearer rsp_{'A' * 43}"),)).GetMe())
    assert {one["tenant"] for one in served.lines.of("call")} == {""}
