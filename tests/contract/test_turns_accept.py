from __future__ import annotations

import asyncio
import re
from collections import Counter

import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain import names
from responsa_server.domain.errors import AlreadyExists, Conflict, NotFound, Reason
from responsa_server.domain.ports.turns import NewTurn
from responsa_server.domain.turns import LogRow, Question, TurnState
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.turns import PostgresTurnStore
from tests.conftest import DatabaseUrls
from tests.contract.conftest import People, new_turn


def count(urls: DatabaseUrls) -> dict[str, int]:
    """Rows of all tables that a turn writes."""
    with psycopg.connect(urls.superuser) as connection:
        found: dict[str, int] = {}
        for table in ("conversation", "turn", "turn_event", "message", "citation"):
            row = connection.execute(f"SELECT count(*) FROM responsa.{table}".encode()).fetchone()
            assert row is not None
            found[table] = row[0]
        return found


async def test_a_turn_is_written_with_its_conversation_its_claim_and_its_first_event(
    turn_store: PostgresTurnStore, conversation_store: PostgresConversationStore, people: People
) -> None:
    new = new_turn(request_id=uuid7())
    accepted = await turn_store.accept(people.ann, new)
    assert (accepted.turn_id, accepted.conversation_id, accepted.attached) == (
        new.id,
        new.conversation_id,
        False,
    )
    turn = await turn_store.get(people.ann, new.id)
    assert (turn.state, turn.epoch, turn.last_seq, turn.terminal) == (TurnState.RUNNING, 1, 1, None)
    assert turn.question == new.question
    assert turn.request_id == new.request_id
    backlog = await turn_store.backlog(people.ann, new.id, 0, 10)
    assert (backlog.rows, backlog.end_seq) == ([LogRow(1, 1, False, b"started")], None)
    conversation = await conversation_store.get(people.ann, new.conversation_id)
    assert re.fullmatch(r"Chat \d{4}-\d\d-\d\d \d\d:\d\d", conversation.title)
    assert conversation.title == f"Chat {conversation.create_time:%Y-%m-%d %H:%M}"
    assert conversation.active_turn == new.id


async def test_fifty_concurrent_calls_with_one_request_id_make_one_turn(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    request_id = uuid7()
    answers = await asyncio.gather(
        *(turn_store.accept(people.ann, new_turn(request_id=request_id)) for _ in range(50))
    )
    assert len({one.turn_id for one in answers}) == 1
    assert len({one.conversation_id for one in answers}) == 1
    assert Counter(one.attached for one in answers) == {False: 1, True: 49}
    assert count(database_urls) == {
        "conversation": 1,
        "turn": 1,
        "turn_event": 1,
        "message": 0,
        "citation": 0,
    }


async def test_the_same_call_again_is_the_same_turn_with_and_without_a_request_id(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    for new in (new_turn(), new_turn(request_id=uuid7())):
        first = await turn_store.accept(people.ann, new)
        assert await turn_store.accept(people.ann, new) == first
    assert count(database_urls)["turn"] == 2


@pytest.mark.parametrize("field", ["conversation", "text", "options.scope"])
async def test_a_request_id_with_another_body_names_the_difference(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls, field: str
) -> None:
    request_id = uuid7()
    first = new_turn("What is a reed?", request_id=request_id)
    await turn_store.accept(people.ann, first)
    elsewhere = new_turn()
    await turn_store.accept(people.ann, elsewhere)
    before = count(database_urls)
    changed = {
        "conversation": new_turn(
            "What is a reed?", request_id=request_id, conversation=elsewhere.conversation_id
        ),
        "text": new_turn("What is a rush?", request_id=request_id),
        "options.scope": new_turn("What is a reed?", request_id=request_id, collections=("plants",)),
    }[field]
    for call in (
        turn_store.accept(people.ann, changed),
        turn_store.find(people.ann, changed.question, request_id),
    ):
        with pytest.raises(AlreadyExists) as caught:
            await call
        assert caught.value.reason is Reason.REQUEST_ID_REUSED
        assert caught.value.metadata == {
            "request_id": str(request_id),
            "resource_name": names.turn(first.id),
            "difference": field,
        }
    assert count(database_urls) == before


async def test_a_request_id_is_its_users_own(turn_store: PostgresTurnStore, people: People) -> None:
    request_id = uuid7()
    turns = [
        await turn_store.accept(who, new_turn(request_id=request_id))
        for who in (people.ann, people.bob, people.eve)
    ]
    assert len({one.turn_id for one in turns}) == 3
    assert not any(one.attached for one in turns)


async def test_attaching_works_in_a_busy_conversation_and_after_the_end(
    turn_store: PostgresTurnStore, people: People
) -> None:
    first = await turn_store.accept(people.ann, new_turn())
    request_id = uuid7()
    with pytest.raises(Conflict) as caught:
        await turn_store.accept(
            people.ann, new_turn(conversation=first.conversation_id, request_id=request_id)
        )
    assert caught.value.reason is Reason.CONVERSATION_BUSY
    assert caught.value.metadata == {
        "conversation": names.conversation(first.conversation_id),
        "active_turn": names.turn(first.turn_id),
    }
    assert await turn_store.find(people.ann, Question("x"), request_id) is None


async def test_only_one_of_many_questions_at_once_gets_the_conversation(
    turn_store: PostgresTurnStore, conversation_store: PostgresConversationStore, people: People
) -> None:
    place = await conversation_store.create(people.ann, uuid7(), "", {}, None)
    outcomes = await asyncio.gather(
        *(turn_store.accept(people.ann, new_turn(conversation=place.id)) for _ in range(20)),
        return_exceptions=True,
    )
    assert Counter(type(one).__name__ for one in outcomes) == {"Accepted": 1, "Conflict": 19}


async def test_a_conversation_of_somebody_else_is_not_found_and_nothing_is_left(
    turn_store: PostgresTurnStore,
    conversation_store: PostgresConversationStore,
    people: People,
    database_urls: DatabaseUrls,
) -> None:
    place = await conversation_store.create(people.ann, uuid7(), "", {}, None)
    unknown = uuid7()
    for who, conversation in ((people.bob, place.id), (people.eve, place.id), (people.ann, unknown)):
        with pytest.raises(NotFound) as caught:
            await turn_store.accept(who, new_turn(conversation=conversation))
        assert caught.value.metadata == {
            "resource_type": "conversation",
            "resource_name": names.conversation(conversation),
        }
    assert count(database_urls) == {
        "conversation": 1,
        "turn": 0,
        "turn_event": 0,
        "message": 0,
        "citation": 0,
    }


async def test_a_turn_is_seen_by_its_user_alone(turn_store: PostgresTurnStore, people: People) -> None:
    new: NewTurn = new_turn()
    await turn_store.accept(people.ann, new)
    for stranger in (people.bob, people.eve):
        with pytest.raises(NotFound):
            await turn_store.get(stranger, new.id)
        with pytest.raises(NotFound):
            await turn_store.backlog(stranger, new.id, 0, 10)
