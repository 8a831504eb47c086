"""Tenants on real PostgreSQL: suspension, complete erasure that any process can finish, and the races of owners."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import Precondition, Reason
from responsa_server.domain.people import NewKey, Principal, Role, User, UserChange
from responsa_server.domain.tenants import TenantState
from responsa_server.identity.credentials import CredentialCache
from responsa_server.identity.service import Identity
from responsa_server.identity.settings import Registration
from responsa_server.identity.tenants import TenantAdministration, TenantKeeper
from responsa_server.identity.users import UserAdministration
from responsa_server.stores import redis
from responsa_server.stores.cached import entries_of
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.tenants import PostgresTenants
from responsa_server.stores.postgres.users import PostgresUsers
from responsa_server.stores.redis import RedisCache, redis_client
from tests.conftest import DatabaseUrls
from tests.contract.tenant_rows import Rows, counts
from tests.contract.test_identity import identity_of, key, person, refused


@pytest.fixture
def superuser(database_urls: DatabaseUrls) -> Iterator[psycopg.Connection[Any]]:
    options = "-c search_path=public,procrastinate"  # the queue's triggers use names without a schema
    with psycopg.connect(database_urls.superuser, autocommit=True, options=options) as connection:
        yield connection


@pytest.fixture
def cache() -> CredentialCache:
    return CredentialCache()


@pytest.fixture
def identity(database: Database, cache: CredentialCache) -> Identity:
    return identity_of(database, cache)


def tenants_of(database: Database, cache: CredentialCache | None = None) -> TenantAdministration:
    return TenantAdministration(
        PostgresTenants(database), uuid7, cache or CredentialCache(), Registration.INVITED
    )


async def owner_of(identity: Identity) -> Principal:
    """The owner of the installation: the first administrator of its first tenant."""
    who, secret = await person(identity, "home", Role.ADMIN)
    found = await identity.authenticate(key(secret))
    assert found.owner
    assert found == who
    return found


async def no_turn(tenant_id: str, user_id: UUID, turn_id: UUID) -> None:
    """In these tests, no process runs turns."""


async def nothing(tenant_id: str) -> int:
    return 0


def keeper_of(store: PostgresTenants) -> TenantKeeper:
    return TenantKeeper(store, no_turn, nothing, settle_seconds=0.0)


async def erased(store: PostgresTenants, tenant_id: str) -> dict[str, int]:
    """Erase a tenant; returns its receipt."""
    await keeper_of(store).erase()
    found = await store.get(tenant_id)
    assert found.state is TenantState.ERASED
    assert found.end_time is not None
    return dict(found.erased)


async def test_everything_of_a_tenant_is_erased_and_nothing_of_another(
    identity: Identity, database: Database, superuser: psycopg.Connection[Any]
) -> None:
    owner = await owner_of(identity)
    for name in ("acme", "rival"):
        await identity.create_tenant(name, name)
        Rows(name).fill(superuser)
    before = {name: counts(superuser, name) for name in ("acme", "rival")}
    assert all(number > 0 for number in before["acme"].values()), before
    superuser.execute("UPDATE responsa.audit_event SET address = '192.0.2.1'")
    for name in ("acme", "rival"):
        superuser.execute(
            "INSERT INTO procrastinate.procrastinate_jobs (queue_name, task_name, args) VALUES ('knowledge', 'ingest', %s::jsonb)",
            (f'{{"tenant_id": "{name}", "id": "{uuid7()}"}}',),
        )
    await tenants_of(database).erase(owner, "acme", "acme")
    receipt = await erased(PostgresTenants(database), "acme")
    events = before["acme"].pop("audit_event")
    assert receipt == before["acme"]
    left = counts(superuser, "acme")
    assert left.pop("audit_event") == events + 1
    assert set(left.values()) == {0}
    assert counts(superuser, "rival") == before["rival"]
    assert superuser.execute(
        "SELECT DISTINCT args ->> 'tenant_id' FROM procrastinate.procrastinate_jobs"
    ).fetchall() == [("rival",)]
    addresses = dict(
        superuser.execute("SELECT tenant_id, max(address) FROM responsa.audit_event GROUP BY 1").fetchall()
    )
    assert (addresses["acme"], addresses["rival"]) == ("", "192.0.2.1")
    # What is left of the tenant has no name, and nobody gets its id.
    assert (await PostgresTenants(database).get("acme")).display_name == ""
    await refused(Reason.RESOURCE_ALREADY_EXISTS, tenants_of(database).create(owner, "acme", "", "", ""))


async def test_a_key_and_the_keys_made_with_it_are_erased_together(
    identity: Identity, database: Database
) -> None:
    owner = await owner_of(identity)
    _, secret = await person(identity, "acme")
    maker = await identity.authenticate(key(secret))
    for _ in range(3):
        _, secret = await identity.create_api_key(maker, NewKey("child"))
        maker = await identity.authenticate(key(secret))
    await tenants_of(database).erase(owner, "acme", "acme")
    assert (await erased(PostgresTenants(database, most_rows=1), "acme"))["api_key"] == 4


async def test_an_erasure_that_stopped_anywhere_is_finished_by_the_next_process(
    identity: Identity, database: Database, superuser: psycopg.Connection[Any]
) -> None:
    owner = await owner_of(identity)
    await identity.create_tenant("acme", "acme")
    Rows("acme").fill(superuser)
    before = counts(superuser, "acme")
    del before["audit_event"]
    await tenants_of(database).erase(owner, "acme", "acme")
    steps = 0
    # Each step is a process that is killed after it.
    while not (await PostgresTenants(database, most_rows=1, most_turns=1).erase_some("acme")):
        steps += 1
        found = await PostgresTenants(database).get("acme")
        assert found.state is TenantState.ERASING
        if steps % 8 == 0:
            left = counts(superuser, "acme")
            gone = {name: number - left[name] for name, number in before.items() if number > left[name]}
            assert gone == found.erased
    assert steps > 16
    assert dict((await PostgresTenants(database).get("acme")).erased) == before
    assert await PostgresTenants(database).erase_some("acme") is True


async def test_a_killed_transaction_of_an_erasure_counts_nothing(
    identity: Identity, database: Database, superuser: psycopg.Connection[Any]
) -> None:
    """The receipt changes in the transaction that deletes."""
    owner = await owner_of(identity)
    await identity.create_tenant("acme", "acme")
    Rows("acme").fill(superuser)
    await tenants_of(database).erase(owner, "acme", "acme")
    store = PostgresTenants(database)
    # A lock on a table that comes late in the step makes the step fail in the middle.
    with superuser.transaction():
        superuser.execute("LOCK TABLE responsa.turn IN ACCESS EXCLUSIVE MODE")
        before = counts(superuser, "acme")
        step = asyncio.create_task(store.erase_some("acme"))
        async with asyncio.timeout(10):
            while not (  # noqa: ASYNC110 - PostgreSQL sends no signal
                waiting := superuser.execute(
                    "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
                ).fetchall()
            ):
                await asyncio.sleep(0.01)
        for (pid,) in waiting:
            superuser.execute("SELECT pg_terminate_backend(%s)", (pid,))
        with pytest.raises(Exception, match="connection to the database was lost"):
            await step
    assert counts(superuser, "acme") == before
    assert not (await store.get("acme")).erased
    assert await erased(store, "acme")


async def test_two_processes_erase_a_tenant_together(
    identity: Identity, database: Database, superuser: psycopg.Connection[Any]
) -> None:
    owner = await owner_of(identity)
    await identity.create_tenant("acme", "acme")
    Rows("acme").fill(superuser)
    before = counts(superuser, "acme")
    del before["audit_event"]
    await tenants_of(database).erase(owner, "acme", "acme")
    keepers = [keeper_of(PostgresTenants(database, most_rows=1, most_turns=1)) for _ in range(4)]
    while (await PostgresTenants(database).get("acme")).state is not TenantState.ERASED:
        await asyncio.gather(*(keeper.erase() for keeper in keepers))
    assert dict((await PostgresTenants(database).get("acme")).erased) == before


async def test_a_suspension_does_not_wait_for_the_erasure_of_another_tenant(
    identity: Identity, database: Database, superuser: psycopg.Connection[Any]
) -> None:
    owner = await owner_of(identity)
    for name in ("acme", "rival"):
        await identity.create_tenant(name, name)
    Rows("rival").fill(superuser)
    superuser.execute("UPDATE responsa.turn SET state = 'queued' WHERE tenant_id = 'rival'")
    erasing, stopped, gate = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stop_turn(tenant_id: str, user_id: UUID, turn_id: UUID) -> None:
        assert tenant_id == "rival"
        stopped.set()

    async def forget(tenant_id: str) -> int:
        """The end of an erasure that takes long."""
        erasing.set()
        await gate.wait()
        return 0

    keeper = TenantKeeper(PostgresTenants(database), stop_turn, forget, seconds=0.0, settle_seconds=0.0)
    await tenants_of(database).erase(owner, "acme", "acme")
    await keeper.start()
    try:
        async with asyncio.timeout(30):
            await erasing.wait()
            await tenants_of(database).suspend(owner, "rival")
            await stopped.wait()
    finally:
        await keeper.close()


async def test_only_a_tenant_that_is_being_erased_can_lose_rows(
    identity: Identity, database_urls: DatabaseUrls
) -> None:
    """The function checks this itself, because it runs with the rights of the tables' owner."""
    await person(identity, "acme")
    for tenant in ("acme", "home", "nobody", ""):
        with psycopg.connect(database_urls.app, autocommit=True) as app:
            app.execute("SELECT set_config('responsa.tenant_id', %s, false)", (tenant,))
            for call in ("erase_tenant_rows('app_user', NULL, NULL)", "erase_audit_addresses()"):
                with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
                    app.execute(f"SELECT responsa.{call}".encode())


async def test_the_erasure_of_one_tenant_cannot_reach_another(
    identity: Identity, database: Database, database_urls: DatabaseUrls, superuser: psycopg.Connection[Any]
) -> None:
    owner = await owner_of(identity)
    for name in ("acme", "rival"):
        await identity.create_tenant(name, name)
        Rows(name).fill(superuser)
    before = counts(superuser, "rival")
    await tenants_of(database).erase(owner, "acme", "acme")
    with psycopg.connect(database_urls.app, autocommit=True) as app:
        app.execute("SELECT set_config('responsa.tenant_id', 'acme', false)")
        for table in before:
            try:
                app.execute("SELECT responsa.erase_tenant_rows(%s, NULL, NULL)", (table,))
            except psycopg.errors.ForeignKeyViolation:
                continue
        with pytest.raises(psycopg.Error):
            app.execute(
                "SELECT responsa.erase_tenant_rows('audit_event; DROP TABLE responsa.turn', NULL, NULL)"
            )
    assert counts(superuser, "rival") == before
    assert counts(superuser, "acme")["audit_event"] > 0


async def test_the_cache_of_a_tenant_is_erased_and_no_other(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine, Redis may answer later than the cache waits, and entries would then seem to be missing.
    monkeypatch.setattr(redis, "PATIENCE", 30.0)
    cache = RedisCache(redis_url, "tenants-test:")
    entries = [
        f"{entries_of(name)}vectors:model:{one}" for name in ("acme", "acme-2", "a") for one in range(700)
    ]
    await cache.put(dict.fromkeys(entries, b"x"), 60)
    assert await cache.forget(entries_of("acme")) == 700
    assert set(await cache.get(entries)) == {
        entry for entry in entries if not entry.startswith("cache:acme:")
    }
    client = redis_client(redis_url, 5.0)
    await client.set("tenants-test2:cache:a:", b"x", ex=60)
    assert await cache.forget(entries_of("*")) == 0
    assert await cache.forget("") == 1400
    assert await client.get("tenants-test2:cache:a:") == b"x"
    await client.aclose()
    await cache.close()
    away = RedisCache("redis://127.0.0.1:1")
    assert await away.forget("") == 0
    await away.close()


async def test_a_tenant_settles_before_it_is_erased(identity: Identity, database: Database) -> None:
    """A call that was admitted just before may still write."""
    owner = await owner_of(identity)
    await person(identity, "acme")
    await tenants_of(database).erase(owner, "acme", "acme")
    store = PostgresTenants(database)
    await TenantKeeper(store, no_turn, nothing, settle_seconds=60.0).erase()
    assert not (await store.get("acme")).erased
    assert await erased(store, "acme")


async def contest(identity: Identity, database: Database, rounds: int) -> None:
    """In each round, four owners end one another's ownership, disable or demote one another at the same time. One of them must remain."""
    users = UserAdministration(PostgresUsers(database), uuid7, CredentialCache())
    first = await owner_of(identity)
    made = [await users.create(first, "x", "", Role.ADMIN, None) for _ in range(4)]
    # An administrator who is not in the contest, so that the last administrator is never the reason.
    found = [await users.store.get(first.tenant_id, first.user_id), *made[:3]]
    for owner in found:
        await users.update(first, owner.id, UserChange(owner=True), "")

    def acting(user: User) -> Principal:
        return Principal("home", user.id, Role.ADMIN, "api_key", owner=True)

    for number in range(rounds):

        async def end(user: User, place: int, number: int = number) -> str:
            caller = acting(found[place - 1])
            try:
                match (number + place) % 3:
                    case 0:
                        await users.update(caller, user.id, UserChange(disabled=True), "")
                    case 1:
                        await users.update(caller, user.id, UserChange(role=Role.USER), "")
                    case _:
                        await users.update(caller, user.id, UserChange(owner=False), "")
            except Precondition as error:
                return f"{error.reason} {error.metadata['user']}"
            return ""

        refused = [one for one in await asyncio.gather(*map(end, found, range(len(found)))) if one]
        now = [await users.store.get(first.tenant_id, owner.id) for owner in found]
        left = [one for one in now if one.owner and one.role is Role.ADMIN and one.disable_time is None]
        assert refused == [f"LAST_OWNER users/{one.id}" for one in left]
        assert len(left) == 1
        for user in now:
            await users.update(acting(left[0]), user.id, UserChange(role=Role.ADMIN), "")
            await users.update(acting(left[0]), user.id, UserChange(disabled=False), "")
            await users.update(acting(left[0]), user.id, UserChange(owner=True), "")


async def test_one_owner_always_remains(identity: Identity, database: Database) -> None:
    await contest(identity, database, 12)
