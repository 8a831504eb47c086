from __future__ import annotations

import asyncio

import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.conversations import MAX_SUMMARY_BYTES, Summary
from responsa_server.domain.errors import Unavailable
from responsa_server.stores.postgres.conversations import PostgresSummaries
from responsa_server.stores.postgres.database import Database
from tests.contract.cut_database import CutDatabase
from tests.contract.turn_steps import Store, until_somebody_waits
from tests.raising import raises

COUNT = "SELECT count(*) FROM responsa.conversation_summary"


@pytest.fixture
def summaries(database: Database) -> PostgresSummaries:
    return PostgresSummaries(database)


async def test_a_conversation_has_one_summary_the_last_that_was_kept(
    store: Store, summaries: PostgresSummaries
) -> None:
    talk, other = [(await store.conversations.create(store.ann, uuid7(), "", {}, None)).id for _ in range(2)]
    assert await summaries.find(store.ann, talk) is None
    for text in ("They spoke of rivers.", "ä" * (MAX_SUMMARY_BYTES // 2), ""):
        kept = Summary(text, uuid7())
        await summaries.keep(store.ann, talk, kept)
        assert await summaries.find(store.ann, talk) == kept
    assert await summaries.find(store.ann, other) is None
    assert store.urls.value(COUNT) == 1
    await raises(
        psycopg.errors.CheckViolation,
        summaries.keep(store.ann, talk, Summary("x" * (MAX_SUMMARY_BYTES + 1), uuid7())),
    )


async def test_nobody_else_reads_or_writes_it(store: Store, summaries: PostgresSummaries) -> None:
    talk = (await store.conversations.create(store.ann, uuid7(), "", {}, None)).id
    kept = Summary("They spoke of rivers.", uuid7())
    for stranger in (store.bob, store.eve):
        await summaries.keep(stranger, talk, Summary("They spoke of nothing.", uuid7()))
        assert store.urls.value(COUNT) == 0
    await summaries.keep(store.ann, talk, kept)
    for stranger in (store.bob, store.eve):
        await summaries.keep(stranger, talk, Summary("They spoke of nothing.", uuid7()))
        assert await summaries.find(stranger, talk) is None
    assert await summaries.find(store.ann, talk) == kept


async def test_it_goes_with_its_conversation_and_is_kept_for_none_that_is_gone(
    store: Store, summaries: PostgresSummaries
) -> None:
    talk = (await store.conversations.create(store.ann, uuid7(), "", {}, None)).id
    await summaries.keep(store.ann, talk, Summary("They spoke of rivers.", uuid7()))
    await store.conversations.delete(store.ann, talk, "")
    assert store.urls.value(COUNT) == 0
    await summaries.keep(store.ann, talk, Summary("They spoke of rivers.", uuid7()))
    assert store.urls.value(COUNT) == 0


async def test_one_that_is_kept_while_its_conversation_is_deleted_goes_with_it(
    store: Store, summaries: PostgresSummaries
) -> None:
    talk = (await store.conversations.create(store.ann, uuid7(), "", {}, None)).id
    async with await psycopg.AsyncConnection.connect(store.urls.superuser) as deleter:
        await deleter.execute("DELETE FROM responsa.conversation WHERE id = %s", (talk,))
        keeping = asyncio.ensure_future(summaries.keep(store.ann, talk, Summary("Rivers.", uuid7())))
        await until_somebody_waits(store.urls, keeping)
        await deleter.commit()
    await keeping
    assert store.urls.value(COUNT) == 0


async def test_keeping_may_be_repeated(cut_database: CutDatabase, cut_store: Store) -> None:
    talk = (await cut_store.conversations.create(cut_store.ann, uuid7(), "", {}, None)).id
    summaries, kept = PostgresSummaries(cut_database), Summary("They spoke of rivers.", uuid7())
    cut_database.cut = 1
    await raises(Unavailable, summaries.keep(cut_store.ann, talk, kept))
    await summaries.keep(cut_store.ann, talk, kept)
    assert await summaries.find(cut_store.ann, talk) == kept
