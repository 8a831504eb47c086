from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain import names
from responsa_server.domain.conversations import Conversation, Speaker
from responsa_server.domain.errors import Conflict, NotFound, Reason
from responsa_server.domain.events import (
    Citation,
    ToolCalled,
    Usage,
)
from responsa_server.domain.knowledge import Chunking, CollectionFields
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.turns import NewTurn, OnBusy
from responsa_server.stores.postgres.collections import CollectionStore
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.database import Connection, Database
from tests.contract.people import People
from tests.contract.turn_harness import citation
from tests.contract.turn_steps import FAILED, Store, answered, cancelled, checkpoint, claim_of, new_turn, row
from tests.raising import raises

BY_TIME = Order("create_time")
FETCHED = datetime(2026, 11, 22, 23, 40, tzinfo=UTC)


async def ask(store: Store, place: Conversation | None = None, *, finish: bool = True) -> NewTurn:
    new = await store.make(conversation=place.id if place else None)
    if finish:
        await store.finish(claim_of(new), [row(2)], answered(citation()))
    return new


async def test_creating_is_idempotent_by_request_id(store: Store) -> None:
    request_id = uuid7()
    made = await asyncio.gather(
        *(store.conversations.create(store.ann, uuid7(), "Rivers", {"a": "b"}, request_id) for _ in range(20))
    )
    assert len({one.id for one in made}) == 1
    assert (made[0].title, made[0].labels) == ("Rivers", {"a": "b"})
    assert (await store.conversations.create(store.bob, uuid7(), "Lakes", {}, request_id)).id != made[0].id
    assert store.count()["conversation"] == 2


async def test_a_title_that_was_set_stays_and_an_empty_one_gives_way(store: Store) -> None:
    mine = await store.conversations.create(store.ann, uuid7(), "Mine", {}, None)
    await ask(store, mine)
    assert (await store.conversations.get(store.ann, mine.id)).title == "Mine"
    reset = await store.conversations.update(store.ann, mine.id, title="", labels=None, etag="")
    assert reset.title == f"Chat {mine.create_time:%Y-%m-%d %H:%M}"
    await ask(store, mine)
    assert (await store.conversations.get(store.ann, mine.id)).title == "How long is the Nile?"


async def test_old_conversations_are_pruned_unless_a_turn_is_at_work_in_them(
    store: Store, database: Database
) -> None:
    old, busy, new = [await ask(store, finish=finish) for finish in (True, False, True)]
    collections = CollectionStore(database)
    for clip, turn in (("old", old), ("new", new)):
        await collections.create(
            store.ann,
            clip,
            CollectionFields(""),
            Chunking(),
            "x",
            None,
            conversation_id=turn.conversation_id,
        )
    with psycopg.connect(store.urls.superuser) as connection:
        connection.execute(
            "UPDATE responsa.conversation SET update_time = now() - interval '8 days' WHERE id = ANY(%s)",
            [[old.conversation_id, busy.conversation_id]],
        )
    assert await store.conversations.prune(9) == 0
    assert await store.conversations.prune(7) == 1
    with pytest.raises(NotFound):
        await store.conversations.get(store.ann, old.conversation_id)
    for kept in (busy, new):
        await store.conversations.get(store.ann, kept.conversation_id)
    assert store.count()["turn"] == 2
    await collections.get(store.ann, "new")
    with pytest.raises(NotFound):
        await collections.get(store.ann, "old")


async def test_a_conversation_with_a_turn_at_work_is_not_deleted(store: Store) -> None:
    new = await ask(store, finish=False)
    caught = await raises(Conflict, store.conversations.delete(store.ann, new.conversation_id, ""))
    assert caught.reason is Reason.CONVERSATION_BUSY
    assert caught.metadata["active_turn"] == names.turn(new.id)
    waits = await store.make(conversation=new.conversation_id, on_busy=OnBusy.QUEUE)
    caught = await raises(Conflict, store.conversations.delete(store.ann, new.conversation_id, ""))
    assert caught.metadata["active_turn"] == names.turn(new.id)
    await store.cancel(store.ann, waits.id, True, cancelled)
    await store.finish(claim_of(new), [row(2)], FAILED)
    await store.conversations.delete(store.ann, new.conversation_id, "")


async def test_all_that_was_kept_of_a_conversations_turns_goes_with_it(store: Store) -> None:
    gone, kept = new_turn(), new_turn()
    called = ToolCalled("call-1", "tools/mail", {})
    for new in (gone, kept):
        await store.take(new)
        await store.write(new, row(2), checkpoint=checkpoint(2), tools=[called])
        await store.record_usage(claim_of(new), Usage(1, 2, 3))
    await store.finish(claim_of(gone), [row(3)], answered(citation()))
    await store.conversations.delete(store.ann, gone.conversation_id, "")
    for table in ("turn_event", "turn_checkpoint", "turn_tool", "turn_spent"):
        left = f"SELECT array_agg(DISTINCT turn_id) FROM responsa.{table}"
        assert store.urls.value(left) == [kept.id], table
    assert store.count() == {"conversation": 1, "turn": 1, "turn_event": 2}


async def test_deleting_and_asking_at_once_leaves_no_turn_without_its_conversation(store: Store) -> None:
    for _ in range(10):
        place = await store.conversations.create(store.ann, uuid7(), "", {}, None)
        new = new_turn(conversation=place.id)
        asked, deleted = await asyncio.gather(
            store.take(new),
            store.conversations.delete(store.ann, place.id, ""),
            return_exceptions=True,
        )
        assert isinstance(asked, NotFound) != isinstance(deleted, Conflict)
        if isinstance(deleted, Conflict):
            await store.finish(claim_of(new), [row(2)], FAILED)
            await store.conversations.delete(store.ann, place.id, "")
    assert not store.count()


async def test_messages_come_in_the_order_they_were_written_with_their_citations(store: Store) -> None:
    place = await store.conversations.create(store.ann, uuid7(), "", {}, None)
    for _ in range(3):
        await ask(store, place)
    page = await store.conversations.messages(store.ann, place.id, ListQuery(4, BY_TIME))
    rest = await store.conversations.messages(store.ann, place.id, ListQuery(4, BY_TIME, page.next_after))
    messages = [*page.items, *rest.items]
    assert rest.next_after is None
    assert [message.speaker for message in messages] == [Speaker.USER, Speaker.ASSISTANT] * 3
    assert [len(message.citations) for message in messages] == [0, 1] * 3
    (cited,) = messages[1].citations
    assert isinstance(cited, Citation)
    assert (cited.page, cited.boxes, cited.path, cited.date) == (
        3,
        ((100, 200, 900, 250),),
        "Rivers!A4",
        "2025-02-01",
    )
    assert [message.id for message in messages] == [
        one.id for one in await store.conversations.history(store.ann, place.id, 10)
    ]
    assert [one.id for one in await store.conversations.history(store.ann, place.id, 2)] == [
        message.id for message in messages[-2:]
    ]


class Timed(PostgresConversationStore):
    """Records the time limit of a transaction that holds locks for which other sessions wait."""

    bounds: ClassVar[dict[str, str]] = {}

    async def _row(
        self, connection: Connection, query: str, parameters: Mapping[str, object]
    ) -> dict[str, Any] | None:
        found = await super()._row(connection, query, parameters)
        shown = await (await connection.execute("SHOW transaction_timeout")).fetchone()
        assert shown is not None
        self.bounds[query] = shown[0]
        return found


async def test_a_process_that_is_stopped_in_the_midst_of_a_change_keeps_others_waiting_for_a_while_only(
    database: Database, people: People
) -> None:
    store = Timed(database)
    place = await store.create(people.ann, uuid7(), "", {}, None)
    await store.update(people.ann, place.id, title="New", labels=None, etag="")
    await store.delete(people.ann, place.id, "")
    assert store.bounds["update_conversation"] == "5s"
    assert store.bounds["lock_conversation"] == "15s"
