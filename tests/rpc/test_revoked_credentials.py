"""All sessions and keys of a user, ended by an administrator with one call."""

# Requests are written as plain literals here.
# pyright: reportUnknownMemberType=false, reportArgumentType=false

from __future__ import annotations

import asyncio

import grpc
import pytest

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa.auth.v1 import auth_service_pb2 as auth
from responsa_server.domain.errors import Unauthenticated
from responsa_server.domain.people import Origin, Role
from responsa_server.identity.service import Credential
from tests.people import GOOD
from tests.rpc.served import Caller, Served, caller, failed, zoe

Metadata = tuple[tuple[str, str], ...]


def bearer(secret: str) -> Metadata:
    return (("authorization", f"Bearer {secret}"),)


async def revoke(served: Served, name: str, who: Caller) -> tuple[int, int]:
    request = admin.RevokeCredentialsRequest(name=name)
    found = await served.admin.RevokeCredentials(request, metadata=who.metadata)
    return found.session_count, found.api_key_count


async def test_every_session_and_key_of_the_user_ends_and_no_other(served: Served) -> None:
    user = await zoe(served)
    name = f"users/{user.id}"
    credentials: list[Metadata] = []
    for _ in range(2):
        signed, _ = await served.accounts.login("acme", "zoe@example.org", GOOD, Origin())
        credentials.append(bearer(signed.access_token))
    key = await served.auth.CreateApiKey(auth.CreateApiKeyRequest(), metadata=credentials[0])
    child = await served.auth.CreateApiKey(auth.CreateApiKeyRequest(), metadata=bearer(key.secret))
    credentials += [bearer(key.secret), bearer(child.secret)]
    for credential in credentials:
        assert (await served.auth.GetMe(auth.GetMeRequest(), metadata=credential)).name == name

    assert await revoke(served, name, served.ann) == (2, 2)
    for credential in credentials:
        error = await failed(served.auth.GetMe(auth.GetMeRequest(), metadata=credential))
        assert error.code is grpc.StatusCode.UNAUTHENTICATED
    assert await revoke(served, name, served.ann) == (0, 0)
    for who in (served.ann, served.bob):
        await served.auth.GetMe(auth.GetMeRequest(), metadata=who.metadata)
    # The user is not disabled.
    await served.accounts.login("acme", "zoe@example.org", GOOD, Origin())

    log = await served.admin.ListAuditEvents(
        admin.ListAuditEventsRequest(
            filter=f'affected_user = "{name}" AND action != user.create_reset_code AND actor != local'
        ),
        metadata=served.ann.metadata,
    )
    assert sorted((audit_event.action, audit_event.outcome) for audit_event in log.audit_events) == [
        *[("api_key.revoke", "OK")] * 2,
        *[("session.revoke", "OK")] * 2,
        *[("user.revoke_credentials", "OK")] * 2,
    ]


async def test_only_owners_revoke_the_credentials_of_an_owner(served: Served) -> None:
    second = await caller(served.identity, served.channel, "acme", Role.ADMIN)
    request = admin.RevokeCredentialsRequest(name=f"users/{served.ann.who.user_id}")
    error = await failed(served.admin.RevokeCredentials(request, metadata=second.metadata))
    assert (error.reason, error.metadata) == ("ROLE_REQUIRED", {"required_role": "OWNER"})
    await served.auth.GetMe(auth.GetMeRequest(), metadata=served.ann.metadata)
    # This holds for oneself too.
    assert await revoke(served, request.name, served.ann) == (0, 1)
    error = await failed(served.auth.GetMe(auth.GetMeRequest(), metadata=served.ann.metadata))
    assert error.reason == "CREDENTIAL_REVOKED"


async def test_a_key_that_a_session_creates_meanwhile_is_not_left(served: Served) -> None:
    """The call that creates the key has checked its session before the session ends."""
    await zoe(served)
    signed, _ = await served.accounts.login("acme", "zoe@example.org", GOOD, Origin())
    who = await served.identity.authenticate(Credential("token", signed.access_token))
    name = f"users/{who.user_id}"
    # The session has ended before the key is stored.
    await revoke(served, name, served.ann)
    with pytest.raises(Unauthenticated):
        await served.identity.create_api_key(who, "late", None)

    # The key is stored before the session ends, and is revoked with the others.
    signed, _ = await served.accounts.login("acme", "zoe@example.org", GOOD, Origin())
    who = await served.identity.authenticate(Credential("token", signed.access_token))
    results = await asyncio.gather(
        served.identity.create_api_key(who, "late", None),
        revoke(served, name, served.ann),
        return_exceptions=True,
    )
    assert not isinstance(results[1], BaseException)
    keys = await served.admin.ListTenantApiKeys(
        admin.ListTenantApiKeysRequest(filter=f'owner = "{name}"'), metadata=served.ann.metadata
    )
    assert all(api_key.HasField("revoke_time") for api_key in keys.api_keys)
