from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import replace

import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain import names
from responsa_server.domain.errors import (
    AlreadyExists,
    Conflict,
    Exhausted,
    NotFound,
    Reason,
    Unauthenticated,
)
from responsa_server.domain.limits import AcceptLimits
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.turns import OnBusy, Question, TurnState
from tests.contract.turn_steps import STARTED, Store, locked, new_turn, until_somebody_waits
from tests.raising import raises


async def test_a_turn_is_written_with_its_conversation_its_claim_and_its_first_event(store: Store) -> None:
    new = new_turn(request_id=uuid7())
    accepted = await store.take(new)
    assert (accepted.turn_id, accepted.conversation_id, accepted.attached) == (
        new.id,
        new.conversation_id,
        False,
    )
    turn = await store.get(store.ann, new.id)
    assert (turn.state, turn.epoch, turn.last_seq, turn.terminal) == (TurnState.RUNNING, 1, 1, None)
    assert turn.question == new.question
    assert turn.request_id == new.request_id
    backlog = await store.backlog(store.ann, new.id, 0, 10)
    assert (backlog.rows, backlog.last_seq, backlog.end_seq, backlog.terminal) == ([STARTED], 1, None, None)
    assert (backlog.queue_place, backlog.watched) == (0, False)
    conversation = await store.conversations.get(store.ann, new.conversation_id)
    assert re.fullmatch(r"Chat \d{4}-\d\d-\d\d \d\d:\d\d", conversation.title)
    assert conversation.title == f"Chat {conversation.create_time:%Y-%m-%d %H:%M}"
    assert conversation.active_turn == new.id


async def test_fifty_concurrent_calls_with_one_request_id_make_one_turn(store: Store) -> None:
    request_id = uuid7()
    answers = await asyncio.gather(*(store.take(new_turn(request_id=request_id)) for _ in range(50)))
    assert len({answer.turn_id for answer in answers}) == 1
    assert len({answer.conversation_id for answer in answers}) == 1
    assert Counter(answer.attached for answer in answers) == {False: 1, True: 49}
    assert store.count() == {"conversation": 1, "turn": 1, "turn_event": 1}


async def test_the_same_call_again_is_the_same_turn_with_and_without_a_request_id(store: Store) -> None:
    for new in (new_turn(), new_turn(request_id=uuid7())):
        first = await store.take(new)
        assert await store.take(new) == first
    assert store.count()["turn"] == 2


@pytest.mark.parametrize(
    "field",
    [
        "conversation",
        "agent",
        "text",
        "options.scope",
        "options.scope.filter",
        "options.on_busy",
        "options.parameters",
        "options.max_cost_usd_micros",
    ],
)
async def test_a_request_id_with_another_body_names_the_difference(store: Store, field: str) -> None:
    request_id = uuid7()
    first = await store.make("What is a reed?", request_id=request_id)
    elsewhere = await store.make()
    before = store.count()
    changed = {
        "conversation": new_turn(
            "What is a reed?", request_id=request_id, conversation=elsewhere.conversation_id
        ),
        "text": new_turn("What is a rush?", request_id=request_id),
        "agent": new_turn("What is a reed?", request_id=request_id, agent="botanist"),
        "options.scope": new_turn("What is a reed?", request_id=request_id, collections=("plants",)),
        "options.scope.filter": new_turn(
            "What is a reed?", request_id=request_id, document_filter="title:reed"
        ),
        "options.on_busy": new_turn("What is a reed?", request_id=request_id, on_busy=OnBusy.QUEUE),
        "options.parameters": new_turn(
            "What is a reed?", request_id=request_id, parameters='{"level":"advanced"}'
        ),
        "options.max_cost_usd_micros": new_turn("What is a reed?", request_id=request_id, max_cost_micros=7),
    }[field]
    for call in (
        store.take(changed),
        store.find(store.ann, changed.question, request_id),
    ):
        caught = await raises(AlreadyExists, call)
        assert caught.reason is Reason.REQUEST_ID_REUSED
        assert caught.metadata == {
            "request_id": str(request_id),
            "resource_name": names.turn(first.id),
            "difference": field.removesuffix(".filter"),
        }
    assert store.count() == before


async def test_a_request_id_is_its_users_own(store: Store) -> None:
    request_id = uuid7()
    turns = [
        await store.take(new_turn(request_id=request_id), who) for who in (store.ann, store.bob, store.eve)
    ]
    assert len({turn.turn_id for turn in turns}) == 3
    assert not any(turn.attached for turn in turns)


async def test_attaching_works_in_a_busy_conversation_and_after_the_end(store: Store) -> None:
    first = await store.take(new_turn())
    request_id = uuid7()
    caught = await raises(
        Conflict,
        store.take(new_turn(conversation=first.conversation_id, request_id=request_id)),
    )
    assert caught.reason is Reason.CONVERSATION_BUSY
    assert caught.metadata == {
        "conversation": names.conversation(first.conversation_id),
        "active_turn": names.turn(first.turn_id),
    }
    assert await store.find(store.ann, Question("x"), request_id) is None


async def test_only_one_of_many_questions_at_once_gets_the_conversation(store: Store) -> None:
    place = await store.conversations.create(store.ann, uuid7(), "", {}, None)
    outcomes = await asyncio.gather(
        *(store.take(new_turn(conversation=place.id)) for _ in range(20)),
        return_exceptions=True,
    )
    assert Counter(type(outcome).__name__ for outcome in outcomes) == {"Accepted": 1, "Conflict": 19}


async def test_a_conversation_of_somebody_else_is_not_found_and_nothing_is_left(store: Store) -> None:
    place = await store.conversations.create(store.ann, uuid7(), "", {}, None)
    unknown = uuid7()
    for who, conversation in ((store.bob, place.id), (store.eve, place.id), (store.ann, unknown)):
        caught = await raises(NotFound, store.take(new_turn(conversation=conversation), who))
        assert caught.metadata == {
            "resource_type": "conversation",
            "resource_name": names.conversation(conversation),
        }
    assert store.count() == {"conversation": 1}


async def test_a_turn_that_nobody_has_room_for_is_pending_for_any_worker(store: Store) -> None:
    new = new_turn(pending=True, request_id=uuid7(), watched=True)
    accepted = await store.take(new)
    assert (accepted.state, accepted.ended) == (TurnState.PENDING, ())
    assert new.request_id is not None
    found = await store.find(store.ann, new.question, new.request_id)
    assert found is not None
    assert (found.turn_id, found.attached, found.state) == (new.id, True, TurnState.PENDING)
    assert await store.rows(new) == [STARTED]
    assert (await store.backlog(store.ann, new.id, 0, 10)).watched


async def test_no_more_turns_wait_for_a_worker_than_may_whosever_they_are(store: Store) -> None:
    known = new_turn(pending=True, max_pending=3, request_id=uuid7())
    for who, new in ((store.ann, known), (store.bob, None), (store.eve, None)):
        await store.take(new or new_turn(pending=True, max_pending=3), who)
    before = store.count()
    caught = await raises(Exhausted, store.take(new_turn(pending=True, max_pending=3)))
    assert (caught.reason, caught.metadata) == (Reason.OVERLOADED, {"limit": "3"})
    assert caught.retry_after is not None
    assert store.count() == before
    # A repeated request still finds its turn, and a process that has room for a turn still accepts it.
    assert (await store.take(known)).turn_id == known.id
    await store.take(new_turn(max_pending=3))
    await store.claim_all(most=1)
    assert (await store.take(new_turn(pending=True, max_pending=3))).state is TurnState.PENDING


_COLLECTION = """INSERT INTO responsa.collection (tenant_id, id, slug, owner_id, max_tokens, overlap_tokens, embedding)
    VALUES ('acme', %s, 'plants', %s, 100, 10, 'x')"""


async def test_a_worker_acts_for_who_asked_in_the_role_they_had(store: Store) -> None:
    service = Principal(store.ann.tenant_id, store.ann.user_id, Role.SERVICE, "api_key")
    store.urls.ask(_COLLECTION, "plants", store.ann.user_id)
    new = new_turn("Who?", pending=True, agent="botanist", collections=("plants",))
    await store.take(new, service)
    (claimed,) = await store.claim_all()
    assert claimed.caller == Principal("acme", store.ann.user_id, Role.SERVICE, "turn")
    assert (claimed.question, claimed.conversation_id) == (new.question, new.conversation_id)


async def test_a_question_about_a_collection_that_is_not_there_is_refused_and_leaves_nothing(
    store: Store,
) -> None:
    store.urls.ask(_COLLECTION, "plants", store.ann.user_id)
    first = await store.make("Who?", collections=("plants", "plants"))
    before = store.count()
    for collections in (("plants", "birds", "apes"), ("birds",)):
        for new in (
            new_turn(collections=collections),
            new_turn(conversation=first.conversation_id, collections=collections, on_busy=OnBusy.INTERRUPT),
        ):
            refused = await raises(NotFound, store.take(new))
            assert refused.metadata["resource_name"] == "collections/birds"
    # A collection of another tenant also counts as missing.
    await raises(NotFound, store.take(new_turn(collections=("plants",)), store.eve))
    assert store.count() == before
    assert await store.state(first) is TurnState.RUNNING


async def test_a_lease_counts_from_when_the_turn_is_written_not_from_when_its_accept_began(
    store: Store,
) -> None:
    place = await store.conversations.create(store.ann, uuid7(), "", {}, None)
    new = new_turn(conversation=place.id, lease_seconds=6.0)
    async with locked(store.urls, "conversation", place.id):
        accepting = asyncio.create_task(store.take(new))
        await until_somebody_waits(store.urls, accepting)
        let_go = store.urls.value("SELECT clock_timestamp()")
    await accepting
    counted = (
        "SELECT lease_until - interval '6 s' >= %s AND begin_time >= %s FROM responsa.turn WHERE id = %s"
    )
    assert store.urls.value(counted, let_go, let_go, new.id)


async def test_questions_that_arrive_at_once_share_a_transaction_and_each_is_its_users_own(
    store: Store,
) -> None:
    asked = [(who, new_turn()) for who in (store.eve, store.bob, store.ann, store.bob)]
    accepted = await asyncio.gather(*(store.take(new, who) for who, new in asked))
    assert [one.turn_id for one in accepted] == [new.id for _, new in asked]
    assert store.urls.value("SELECT count(DISTINCT xmin::text) FROM responsa.turn") == 1
    for who, new in asked:
        assert await store.rows(new, who) == [STARTED]
        for other in {store.ann, store.bob, store.eve} - {who}:
            await raises(NotFound, store.get(other, new.id))


async def test_a_question_that_cannot_be_accepted_keeps_no_other_from_being_accepted(store: Store) -> None:
    busy = await store.make()
    gone = Principal("acme", uuid7(), Role.USER, "api_key")
    accepting = [
        (store.ann, new_turn(conversation=busy.conversation_id)),
        (store.bob, new_turn()),
        (store.eve, new_turn(collections=("no-such",))),
        (store.ann, new_turn()),
        (gone, new_turn()),
    ]
    outcomes = await asyncio.gather(*(store.take(new, who) for who, new in accepting), return_exceptions=True)
    kinds = [type(outcome) for outcome in outcomes if isinstance(outcome, Exception)]
    assert kinds == [Conflict, NotFound, Unauthenticated]
    for place in (1, 3):
        who, new = accepting[place]
        assert await store.state(new, who) is TurnState.RUNNING


async def test_a_user_for_whom_another_call_holds_a_lock_keeps_no_other_waiting(store: Store) -> None:
    accepting = [
        (who, replace(new_turn(), limits=AcceptLimits(user=5))) for who in (store.ann, store.bob, store.eve)
    ]
    with psycopg.connect(store.urls.superuser) as holder:
        holder.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('responsa.turns ' || %s::uuid::text, 0))",
            (store.ann.user_id,),
        )
        waiting, *others = (asyncio.ensure_future(store.take(new, who)) for who, new in accepting)
        await asyncio.gather(*others)
        await until_somebody_waits(store.urls, waiting)
    assert (await waiting).turn_id == accepting[0][1].id
