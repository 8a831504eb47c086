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
from responsa_server.stores.postgres.turns import PostgresTurnStore
from tests.conftest import DatabaseUrls
from tests.contract.conftest import People, new_turn
from tests.contract.turn_harness import citation
from tests.contract.turn_steps import (
    FAILED,
    accepted_turn,
    answered,
    append,
    cancelled,
    checkpoint,
    claim_of,
    count,
    row,
)
from tests.raising import raises

BY_TIME = Order("create_time")
FETCHED = datetime(2026, 11, 22, 23, 40, tzinfo=UTC)


async def ask(
    store: PostgresTurnStore, people: People, place: Conversation | None = None, *, finish: bool = True
) -> NewTurn:
    new = await accepted_turn(store, people.ann, conversation=place.id if place else None)
    if finish:
        await store.finish(claim_of(new), [row(2)], answered(citation()))
    return new


async def test_creating_is_idempotent_by_request_id(
    conversation_store: PostgresConversationStore, people: People, database_urls: DatabaseUrls
) -> None:
    request_id = uuid7()
    made = await asyncio.gather(
        *(conversation_store.create(people.ann, uuid7(), "Rivers", {"a": "b"}, request_id) for _ in range(20))
    )
    assert len({one.id for one in made}) == 1
    assert (made[0].title, made[0].labels) == ("Rivers", {"a": "b"})
    assert (await conversation_store.create(people.bob, uuid7(), "Lakes", {}, request_id)).id != made[0].id
    assert count(database_urls)["conversation"] == 2


async def test_a_title_that_was_set_stays_and_an_empty_one_gives_way(
    conversation_store: PostgresConversationStore, turn_store: PostgresTurnStore, people: People
) -> None:
    mine = await conversation_store.create(people.ann, uuid7(), "Mine", {}, None)
    await ask(turn_store, people, mine)
    assert (await conversation_store.get(people.ann, mine.id)).title == "Mine"
    reset = await conversation_store.update(people.ann, mine.id, title="", labels=None, etag="")
    assert reset.title == f"Chat {mine.create_time:%Y-%m-%d %H:%M}"
    await ask(turn_store, people, mine)
    assert (await conversation_store.get(people.ann, mine.id)).title == "How long is the Nile?"


async def test_old_conversations_are_pruned_unless_a_turn_is_at_work_in_them(
    conversation_store: PostgresConversationStore,
    turn_store: PostgresTurnStore,
    people: People,
    database_urls: DatabaseUrls,
    database: Database,
) -> None:
    old, busy, new = [await ask(turn_store, people, finish=finish) for finish in (True, False, True)]
    collections = CollectionStore(database)
    for clip, turn in (("old", old), ("new", new)):
        await collections.create(
            people.ann,
            clip,
            CollectionFields(""),
            Chunking(),
            "x",
            None,
            conversation_id=turn.conversation_id,
        )
    with psycopg.connect(database_urls.superuser) as connection:
        connection.execute(
            "UPDATE responsa.conversation SET update_time = now() - interval '8 days' WHERE id = ANY(%s)",
            [[old.conversation_id, busy.conversation_id]],
        )
    assert await conversation_store.prune(9) == 0
    assert await conversation_store.prune(7) == 1
    with pytest.raises(NotFound):
        await conversation_store.get(people.ann, old.conversation_id)
    for kept in (busy, new):
        await conversation_store.get(people.ann, kept.conversation_id)
    assert count(database_urls)["turn"] == 2
    await collections.get(people.ann, "new")
    with pytest.raises(NotFound):
        await collections.get(people.ann, "old")


async def test_a_conversation_with_a_turn_at_work_is_not_deleted(
    conversation_store: PostgresConversationStore, turn_store: PostgresTurnStore, people: People
) -> None:
    new = await ask(turn_store, people, finish=False)
    caught = await raises(Conflict, conversation_store.delete(people.ann, new.conversation_id, ""))
    assert caught.reason is Reason.CONVERSATION_BUSY
    assert caught.metadata["active_turn"] == names.turn(new.id)
    waits = await accepted_turn(
        turn_store, people.ann, conversation=new.conversation_id, on_busy=OnBusy.QUEUE
    )
    caught = await raises(Conflict, conversation_store.delete(people.ann, new.conversation_id, ""))
    assert caught.metadata["active_turn"] == names.turn(new.id)
    await turn_store.cancel(people.ann, waits.id, True, cancelled)
    await turn_store.finish(claim_of(new), [row(2)], FAILED)
    await conversation_store.delete(people.ann, new.conversation_id, "")


async def test_all_that_was_kept_of_a_conversations_turns_goes_with_it(
    conversation_store: PostgresConversationStore,
    turn_store: PostgresTurnStore,
    people: People,
    database_urls: DatabaseUrls,
) -> None:
    gone, kept = new_turn(), new_turn()
    called = ToolCalled("call-1", "tools/mail", {})
    for new in (gone, kept):
        await turn_store.accept(people.ann, new, cancelled)
        await append(turn_store, claim_of(new), row(2), checkpoint=checkpoint(2), tools=[called])
        await turn_store.record_usage(claim_of(new), Usage(1, 2, 3))
    await turn_store.finish(claim_of(gone), [row(3)], answered(citation()))
    await conversation_store.delete(people.ann, gone.conversation_id, "")
    for table in ("turn_event", "turn_checkpoint", "turn_tool", "turn_spent"):
        left = f"SELECT array_agg(DISTINCT turn_id) FROM responsa.{table}"
        assert database_urls.value(left) == [kept.id], table
    left_over = {"conversation": 1, "turn": 1, "turn_event": 2, "message": 0, "citation": 0}
    assert count(database_urls) == left_over


async def test_deleting_and_asking_at_once_leaves_no_turn_without_its_conversation(
    conversation_store: PostgresConversationStore,
    turn_store: PostgresTurnStore,
    people: People,
    database_urls: DatabaseUrls,
) -> None:
    for _ in range(10):
        place = await conversation_store.create(people.ann, uuid7(), "", {}, None)
        new = new_turn(conversation=place.id)
        asked, deleted = await asyncio.gather(
            turn_store.accept(people.ann, new, cancelled),
            conversation_store.delete(people.ann, place.id, ""),
            return_exceptions=True,
        )
        assert isinstance(asked, NotFound) != isinstance(deleted, Conflict)
        if isinstance(deleted, Conflict):
            await turn_store.finish(claim_of(new), [row(2)], FAILED)
            await conversation_store.delete(people.ann, place.id, "")
    assert count(database_urls) == {
        "conversation": 0,
        "turn": 0,
        "turn_event": 0,
        "message": 0,
        "citation": 0,
    }


async def test_messages_come_in_the_order_they_were_written_with_their_citations(
    conversation_store: PostgresConversationStore, turn_store: PostgresTurnStore, people: People
) -> None:
    place = await conversation_store.create(people.ann, uuid7(), "", {}, None)
    for _ in range(3):
        await ask(turn_store, people, place)
    page = await conversation_store.messages(people.ann, place.id, ListQuery(4, BY_TIME))
    rest = await conversation_store.messages(people.ann, place.id, ListQuery(4, BY_TIME, page.next_after))
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
        one.id for one in await conversation_store.history(people.ann, place.id, 10)
    ]
    assert [one.id for one in await conversation_store.history(people.ann, place.id, 2)] == [
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
