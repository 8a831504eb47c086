"""Users on real PostgreSQL: their administration, the last administrator, and the end of a disabled user's credentials."""

from __future__ import annotations

import asyncio

import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import Precondition, Reason
from responsa_server.domain.people import Principal, Role, User, UserChange
from responsa_server.identity.credentials import CredentialCache
from responsa_server.identity.service import Identity
from responsa_server.identity.users import UserAdministration
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.users import PostgresUsers
from tests.contract.test_identity import identity_of, key, person, refused, session_of


@pytest.fixture
def cache() -> CredentialCache:
    return CredentialCache()


@pytest.fixture
def identity(database: Database, cache: CredentialCache) -> Identity:
    return identity_of(database, cache)


@pytest.fixture
def users(database: Database, cache: CredentialCache) -> UserAdministration:
    return UserAdministration(PostgresUsers(database), uuid7, cache)


async def administrators(users: UserAdministration, identity: Identity, count: int) -> list[User]:
    """An administrator who acts, and further ones; all administrators of the tenant."""
    found = [
        await users.store.get(who.tenant_id, who.user_id)
        for who, _ in [await person(identity, role=Role.ADMIN)]
    ]
    acting = Principal("acme", found[0].id, Role.ADMIN, "api_key")
    return found + [await users.create(acting, "x", "", Role.ADMIN, None) for _ in range(count - 1)]


async def test_a_new_role_counts_at_the_next_call(identity: Identity, users: UserAdministration) -> None:
    admin, _ = await person(identity, role=Role.ADMIN)
    who, secret = await person(identity)
    assert (await identity.authenticate(key(secret))).role is Role.USER
    await users.update(admin, who.user_id, UserChange(role=Role.ADMIN), "")
    assert (await identity.authenticate(key(secret))).role is Role.ADMIN


async def test_which_callers_have_ended_is_asked_for_all_at_once(
    identity: Identity, users: UserAdministration
) -> None:
    admin, _ = await person(identity, role=Role.ADMIN)
    callers: list[Principal] = []
    for tenant in ("acme", "acme", "rival"):
        _, secret = await person(identity, tenant)
        callers.append(await identity.authenticate(key(secret)))
    assert await identity.recheck(callers) == [None, None, None]
    await users.update(admin, callers[0].user_id, UserChange(disabled=True), "")
    assert callers[2].key_id is not None
    await identity.revoke_api_key(callers[2], callers[2].key_id)
    found = await identity.recheck(
        [*callers, await identity.authenticate(await session_of(identity, callers[1]))]
    )
    assert [one and one.reason for one in found] == [
        Reason.USER_DISABLED,
        None,
        Reason.CREDENTIAL_REVOKED,
        None,
    ]


async def struggle(identity: Identity, users: UserAdministration, rounds: int) -> None:
    """In each round, four administrators disable or demote one another at the same time. One of them must remain."""
    found = await administrators(users, identity, 4)
    for _ in range(rounds):

        async def end(user: User, place: int) -> str:
            acting = Principal("acme", found[place - 1].id, Role.ADMIN, "api_key")
            try:
                if place % 2:
                    await users.update(acting, user.id, UserChange(disabled=True), "")
                else:
                    await users.update(acting, user.id, UserChange(role=Role.USER), "")
            except Precondition as error:
                return f"{error.reason} {error.metadata['user']}"
            return ""

        refused = [one for one in await asyncio.gather(*map(end, found, range(len(found)))) if one]
        now = [await users.store.get("acme", one.id) for one in found]
        left = [one for one in now if one.role is Role.ADMIN and one.disable_time is None]
        assert refused == [f"LAST_ADMINISTRATOR users/{one.id}" for one in left]
        assert len(left) == 1
        acting = Principal("acme", left[0].id, Role.ADMIN, "api_key")
        for one in now:
            await users.update(acting, one.id, UserChange(role=Role.ADMIN), "")
            await users.update(acting, one.id, UserChange(disabled=False), "")


async def test_one_administrator_always_remains(identity: Identity, users: UserAdministration) -> None:
    await struggle(identity, users, 10)


async def test_other_tenants_administrators_do_not_count(
    identity: Identity, users: UserAdministration
) -> None:
    admin, _ = await person(identity, role=Role.ADMIN)
    await person(identity, "rival", Role.ADMIN)
    await refused(
        Reason.LAST_ADMINISTRATOR, users.update(admin, admin.user_id, UserChange(disabled=True), "")
    )


async def test_a_disabled_administrator_may_be_demoted_and_does_not_count(
    identity: Identity, users: UserAdministration
) -> None:
    first, second = await administrators(users, identity, 2)
    acting = Principal("acme", first.id, Role.ADMIN, "api_key")
    await users.update(acting, second.id, UserChange(disabled=True), "")
    await refused(
        Reason.LAST_ADMINISTRATOR, users.update(acting, first.id, UserChange(role=Role.SERVICE), "")
    )
    assert (await users.update(acting, second.id, UserChange(role=Role.USER), "")).role is Role.USER
