"""Versions of agents in the database: numbers, versions stored by other processes, and versions that open turns need."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from responsa_server.domain.agents import NewVersion
from responsa_server.domain.errors import Unavailable
from responsa_server.stores.postgres.agent_versions import PostgresAgentVersions
from responsa_server.stores.postgres.database import Database
from tests.conftest import DatabaseUrls
from tests.contract.turn_steps import Store, cancelled
from tests.raising import raises


def version(agent: str, text: str, engine: int = 1) -> NewVersion:
    content = text.encode()
    return NewVersion(agent, engine, hashlib.sha256(content).digest(), content)


@pytest.fixture
def versions(database: Database) -> PostgresAgentVersions:
    return PostgresAgentVersions(database)


async def names(versions: PostgresAgentVersions, *offered: NewVersion) -> list[str]:
    return [one.name for one in await versions.register(offered)]


async def test_each_agent_counts_its_own_versions_and_the_same_bytes_keep_their_number(
    versions: PostgresAgentVersions,
) -> None:
    first = [version("tutor", "a"), version("chat", "a")]
    assert await names(versions, *first) == ["agents/tutor/versions/1", "agents/chat/versions/1"]
    assert await names(versions, version("tutor", "b")) == ["agents/tutor/versions/2"]
    # Register the same versions again in a different order, with a new version among them. A version that occurs twice in a
    # call counts once.
    again = [version("chat", "a"), version("tutor", "a"), version("tutor", "c"), version("tutor", "c")]
    assert await names(versions, *again) == [
        "agents/chat/versions/1",
        "agents/tutor/versions/1",
        "agents/tutor/versions/3",
        "agents/tutor/versions/3",
    ]
    assert await versions.register([]) == []


async def test_servers_that_start_together_get_the_same_numbers(versions: PostgresAgentVersions) -> None:
    wanted = [version(f"agent-{number}", text) for number in range(5) for text in ("x", "y")]
    orders = [wanted, wanted[::-1], wanted[5:] + wanted[:5]] * 3
    found = await asyncio.gather(*(versions.register(order) for order in orders))
    numbered = [
        {(new.agent, new.content): one.number for new, one in zip(order, kept, strict=True)}
        for order, kept in zip(orders, found, strict=True)
    ]
    assert all(one == numbered[0] for one in numbered)
    for agent in {new.agent for new in wanted}:
        assert sorted(number for (name, _), number in numbered[0].items() if name == agent) == [1, 2]


async def test_what_was_kept_since_is_found_by_those_who_can_run_it(versions: PostgresAgentVersions) -> None:
    assert await versions.newest() == 0
    await versions.register([version("a", "1"), version("b", "1")])
    since = await versions.newest()
    await versions.register([version("a", "2"), version("b", "2", engine=2), version("c", "1")])
    found = await versions.since(since, 1)
    assert [(one.name, one.content) for one in found] == [
        ("agents/a/versions/2", b"2"),
        ("agents/c/versions/1", b"1"),
    ]
    assert [one.ordinal for one in found] == sorted(one.ordinal for one in found)
    assert await versions.since(await versions.newest(), 1) == []


async def test_versions_are_found_by_name_those_of_earlier_engines_among_them(
    versions: PostgresAgentVersions,
) -> None:
    await versions.register(
        [version("default", "", engine=0), version("a", "1"), version("b", "1", engine=7)]
    )
    wanted = [
        "agents/default/versions/1",
        "agents/a/versions/1",
        "agents/b/versions/1",
        "agents/a/versions/9",
    ]
    found = await versions.find(wanted, 1)
    assert [(one.name, one.content, one.engine) for one in found] == [
        ("agents/default/versions/1", b"", 0),
        ("agents/a/versions/1", b"1", 1),
    ]
    assert await versions.find([], 1) == []
    assert await versions.find(["agents/a", "agents/a/versions/x", "agents/a/versions/99999999999"], 1) == []


async def test_open_turns_of_all_tenants_say_what_they_run_on(
    store: Store, versions: PostgresAgentVersions
) -> None:
    assert await versions.open() == frozenset()
    running = await store.make(version="agents/a/versions/1")
    await store.make(caller=store.eve, version="agents/b/versions/2", pending=True)
    assert await versions.open() == {"agents/a/versions/1", "agents/b/versions/2"}
    await store.cancel(store.ann, running.id, True, cancelled)
    assert await versions.open() == {"agents/b/versions/2"}


async def test_a_database_that_is_away_is_told(database_urls: DatabaseUrls) -> None:
    pools = Database(database_urls.app, database_urls.log, size=2)
    versions = PostgresAgentVersions(pools)
    await pools.open()
    await pools.close()
    await raises(Unavailable, versions.register([version("a", "1")]))
    await raises(Unavailable, versions.newest())
