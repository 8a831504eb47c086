"""All sessions and keys of a user, ended by an administrator with one call."""

from __future__ import annotations

import asyncio

import grpc

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa_server.domain.errors import Unauthenticated
from responsa_server.domain.people import NewKey, Origin, Role
from responsa_server.identity.service import Credential
from tests.people import GOOD
from tests.raising import raises
from tests.rpc.served import Caller, Metadata, Served, bearer, caller, failed, zoe


async def revoke(served: Served, name: str, caller: Caller) -> tuple[int, int]:
    found = await caller.RevokeCredentials(name=name)
    return found.session_count, found.api_key_count


async def test_every_session_and_key_of_the_user_ends_and_no_other(served: Served) -> None:
    user = await zoe(served)
    name = f"users/{user.id}"
    credentials: list[Metadata] = []
    for _ in range(2):
        signed, _ = await served.accounts.login("acme", "zoe@example.org", GOOD, Origin())
        credentials.append(bearer(signed.access_token))
    key = await served.sending(credentials[0]).CreateApiKey()
    child = await served.sending(bearer(key.secret)).CreateApiKey()
    credentials += [bearer(key.secret), bearer(child.secret)]
    for credential in credentials:
        assert (await served.sending(credential).GetMe()).name == name

    assert await revoke(served, name, served.ann) == (2, 2)
    for credential in credentials:
        error = await failed(served.sending(credential).GetMe())
        assert error.code is grpc.StatusCode.UNAUTHENTICATED
    assert await revoke(served, name, served.ann) == (0, 0)
    for who in (served.ann, served.bob):
        await who.GetMe()
    # The user is not disabled.
    await served.accounts.login("acme", "zoe@example.org", GOOD, Origin())

    log = await served.ann.ListAuditEvents(filter=f'affected_user = "{name}" AND action = "*.revoke*"')
    assert sorted((audit_event.action, audit_event.outcome) for audit_event in log.audit_events) == [
        *[("api_key.revoke", "OK")] * 2,
        *[("session.revoke", "OK")] * 2,
        *[("user.revoke_credentials", "OK")] * 2,
    ]


async def test_only_owners_revoke_the_credentials_of_an_owner(served: Served) -> None:
    second = await caller(served.identity, served.channel, "acme", Role.ADMIN)
    request = admin.RevokeCredentialsRequest(name=served.ann.name)
    error = await failed(second.RevokeCredentials(request))
    assert (error.reason, error.metadata) == ("ROLE_REQUIRED", {"required_role": "OWNER"})
    await served.ann.GetMe()
    # This holds for oneself too.
    assert await revoke(served, request.name, served.ann) == (0, 1)
    error = await failed(served.ann.GetMe())
    assert error.reason == "CREDENTIAL_REVOKED"


async def test_a_key_that_a_session_creates_meanwhile_is_not_left(served: Served) -> None:
    """The call that creates the key has checked its session before the session ends."""
    await zoe(served)
    signed, _ = await served.accounts.login("acme", "zoe@example.org", GOOD, Origin())
    caller = await served.identity.authenticate(Credential("token", signed.access_token))
    name = f"users/{caller.user_id}"
    # The session has ended before the key is stored.
    await revoke(served, name, served.ann)
    await raises(Unauthenticated, served.identity.create_api_key(caller, NewKey("late")))

    # The key is stored before the session ends, and is revoked with the others.
    signed, _ = await served.accounts.login("acme", "zoe@example.org", GOOD, Origin())
    caller = await served.identity.authenticate(Credential("token", signed.access_token))
    results = await asyncio.gather(
        served.identity.create_api_key(caller, NewKey("late")),
        revoke(served, name, served.ann),
        return_exceptions=True,
    )
    assert not isinstance(results[1], BaseException)
    keys = await served.ann.ListTenantApiKeys(filter=f'owner = "{name}"')
    assert all(api_key.HasField("revoke_time") for api_key in keys.api_keys)
