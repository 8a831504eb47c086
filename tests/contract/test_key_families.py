"""API keys that were created with other keys: they end with these keys, however they were made (C12)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import Reason, ResponsaError
from responsa_server.domain.people import ApiKey, NewKey, Principal, Role, UserChange
from responsa_server.identity.credentials import CredentialCache
from responsa_server.identity.service import Credential, Identity
from responsa_server.identity.users import UserAdministration
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.users import PostgresUsers
from tests.conftest import DatabaseUrls
from tests.contract.test_identity import (
    NEWEST,
    audited,
    forget_time,
    identity_of,
    key,
    person,
    refusal,
    refused,
    session_of,
)

TOMORROW = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def identity(database: Database) -> Identity:
    return identity_of(database)


async def signed_in(identity: Identity, secret: str) -> Principal:
    return await identity.authenticate(key(secret))


async def child(identity: Identity, secret: str, expire_time: datetime | None = None) -> tuple[ApiKey, str]:
    return await identity.create_api_key(await signed_in(identity, secret), NewKey("child", expire_time))


async def test_a_key_without_an_end_gets_the_end_of_its_maker(identity: Identity) -> None:
    who, first = await person(identity)
    parent, secret = await child(identity, first, TOMORROW)
    made, _ = await child(identity, secret)
    assert made.expire_time == parent.expire_time
    assert made.parent_id == parent.id
    assert (await signed_in(identity, first)).key_id == parent.parent_id
    earlier, _ = await child(identity, secret, TOMORROW - timedelta(hours=1))
    assert earlier.expire_time == TOMORROW - timedelta(hours=1)
    error = await refusal(child(identity, secret, TOMORROW + timedelta(seconds=1)))
    assert error.violations[0].field == "api_key.expire_time"
    assert "leave it unset" in error.message
    # A key of the command line on the server's machine has no maker.
    assert [item.parent_id for item in (await identity.store.list_keys(who, NEWEST)).items][-1] is None


async def test_neither_a_session_nor_its_keys_outlive_the_key_that_began_it(
    identity: Identity, database_urls: DatabaseUrls
) -> None:
    caller, first = await person(identity)
    parent, secret = await child(identity, first, datetime.now(UTC) + timedelta(hours=1))
    code, _ = await identity.create_session_code(await signed_in(identity, secret))
    token, ends = await identity.exchange_code(code)
    assert ends == parent.expire_time
    session = Credential("session", token)
    made, _ = await identity.create_api_key(await identity.authenticate(session), NewKey("page"))
    assert (made.parent_id, made.expire_time) == (parent.id, parent.expire_time)
    left, _ = await identity.create_session_code(caller)
    forget_time(database_urls, "api_key")
    fresh = identity_of(identity.store._database)
    await refused(Reason.CREDENTIAL_EXPIRED, fresh.authenticate(session))
    # A code that nobody's key made is good without one.
    assert (await fresh.exchange_code(left))[0]


async def test_a_revocation_takes_all_descendants_and_their_sessions_and_nothing_else(
    identity: Identity, database_urls: DatabaseUrls
) -> None:
    caller, first = await person(identity)
    parent, secret = await child(identity, first)
    _, sibling = await child(identity, first)
    made, grandchild = await child(identity, secret)
    last, great_grandchild = await child(identity, grandchild)
    sessions = [
        await session_of(identity, await signed_in(identity, one)) for one in (secret, great_grandchild)
    ]
    kept = await session_of(identity, await signed_in(identity, sibling))
    code, _ = await identity.create_session_code(await signed_in(identity, great_grandchild))
    every = [key(secret), key(grandchild), key(great_grandchild), *sessions]
    for good in every:
        await identity.authenticate(good)
    before = len(audited(database_urls))
    await identity.revoke_api_key(caller, parent.id)
    reasons = [(await refusal(identity.authenticate(one))).reason for one in every]
    assert reasons == [Reason.CREDENTIAL_REVOKED] * 3 + [Reason.CREDENTIAL_EXPIRED] * 2
    await refused(Reason.SESSION_CODE_INVALID, identity.exchange_code(code))
    for left in (key(first), key(sibling), kept):
        assert (await identity.authenticate(left)).user_id == caller.user_id
    assert audited(database_urls)[before:] == [
        (f"users/{caller.user_id}", "", f"apiKeys/{one.id}") for one in (parent, made, last)
    ]
    await identity.revoke_api_key(caller, parent.id)
    assert len(audited(database_urls)) == before + 3


async def test_no_key_escapes_the_revocation_of_its_maker(identity: Identity) -> None:
    """Keys are created with a key while the key is revoked."""
    caller, first = await person(identity)
    for _ in range(10):
        parent, secret = await child(identity, first)
        maker = await signed_in(identity, secret)

        async def make(maker: Principal = maker) -> str:
            _, one = await identity.create_api_key(maker, NewKey("late"))
            return one

        made = [asyncio.create_task(make()) for _ in range(4)]
        await identity.revoke_api_key(caller, parent.id)
        for one in await asyncio.gather(*made, return_exceptions=True):
            if isinstance(one, str):
                await refused(Reason.CREDENTIAL_REVOKED, identity.authenticate(key(one)))
            else:
                assert isinstance(one, ResponsaError)
                assert one.reason is Reason.CREDENTIAL_REVOKED


async def test_a_key_of_a_service_ends_with_the_service_and_not_with_its_maker(
    identity: Identity, database: Database, database_urls: DatabaseUrls
) -> None:
    admin, first = await person(identity, role=Role.ADMIN)
    robot, _ = await person(identity, role=Role.SERVICE)
    parent, secret = await child(identity, first, TOMORROW)
    maker = await signed_in(identity, secret)

    async def make(most: int = 10) -> tuple[ApiKey, str]:
        return await identity.create_api_key(maker, NewKey("nightly"), None, most, service_id=robot.user_id)

    made, good = await make()
    assert (made.user_id, made.parent_id, made.expire_time) == (robot.user_id, None, None)
    assert audited(database_urls)[-1] == (f"users/{admin.user_id}", "", f"apiKeys/{made.id}")
    await identity.revoke_api_key(admin, parent.id)
    who = await signed_in(identity, good)
    assert (who.user_id, who.role) == (robot.user_id, Role.SERVICE)
    await refused(Reason.LIMIT_REACHED, make(most=2))
    # What the service creates with the key is revoked with the key.
    _, grandchild = await child(identity, good)
    users = UserAdministration(PostgresUsers(database), uuid7, CredentialCache())
    await users.update(admin, robot.user_id, UserChange(role=Role.USER), "")
    fresh = identity_of(database)
    for one in (good, grandchild):
        await refused(Reason.CREDENTIAL_REVOKED, fresh.authenticate(key(one)))
    assert sorted(one[1] for one in audited(database_urls)[-4:]) == ["", *["api_key.revoke"] * 3]
    # A person makes keys alone, so that nobody else has their secrets.
    error = await refusal(make())
    assert error.violations[0].field == "user"


async def test_no_key_of_a_service_outlives_the_role(identity: Identity, database: Database) -> None:
    """An administrator creates keys while another one gives the service another role."""
    admin, _ = await person(identity, role=Role.ADMIN)
    users = UserAdministration(PostgresUsers(database), uuid7, CredentialCache())
    for _ in range(10):
        robot, _ = await person(identity, role=Role.SERVICE)
        made = [
            asyncio.create_task(
                identity.create_api_key(admin, NewKey(""), None, 10, service_id=robot.user_id)
            )
            for _ in range(4)
        ]
        await users.update(admin, robot.user_id, UserChange(role=Role.ADMIN), "")
        for result in await asyncio.gather(*made, return_exceptions=True):
            if isinstance(result, tuple):
                await refused(Reason.CREDENTIAL_REVOKED, identity.authenticate(key(result[1])))
            else:
                assert isinstance(result, ResponsaError)
                assert result.violations[0].field == "user"
