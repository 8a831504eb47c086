"""A second question in a conversation waits, or replaces the current question. The end of each turn makes room for the next turn."""

from __future__ import annotations

import asyncio
from collections import Counter

import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain import names
from responsa_server.domain.errors import Conflict, Exhausted, NotFound, Reason
from responsa_server.domain.turns import Cursor, OnBusy, TurnState
from responsa_server.stores.postgres.database import Database
from tests.conftest import DatabaseUrls
from tests.contract.turn_steps import (
    FAILED,
    Store,
    cancelled,
    claim_of,
    end,
    locked,
    new_turn,
    race,
    row,
    until_somebody_waits,
)
from tests.edited import Edited
from tests.raising import raises


async def test_questions_queue_in_order_and_each_end_promotes_the_next(store: Store) -> None:
    first = await store.make()
    waiting = [new_turn(conversation=first.conversation_id, on_busy=OnBusy.QUEUE) for _ in range(3)]
    for new in waiting:
        accepted = await store.take(new)
        assert (accepted.state, accepted.attached) == (TurnState.QUEUED, False)
    places = [(await store.backlog(store.ann, new.id, 0, 9)).queue_place for new in [first, *waiting]]
    assert places == [0, 1, 2, 3]
    news = await store.poll([Cursor(new.id, 0) for new in [first, *waiting]], 9)
    assert sorted((one.turn_id, one.queue_place) for one in news) == sorted(
        zip([new.id for new in [first, *waiting]], places, strict=True)
    )
    conversation = await store.conversations.get(store.ann, first.conversation_id)
    assert conversation.active_turn == first.id
    assert await store.claim_all() == []

    promoted = await store.finish(claim_of(first), [row(2)], FAILED)
    assert promoted
    (claimed,) = await store.claim_all()
    assert (claimed.claim.turn_id, claimed.attempt, claimed.losses) == (waiting[0].id, 1, 0)
    assert (await store.backlog(store.ann, waiting[1].id, 0, 9)).queue_place == 1
    # A waiting turn may also be ended. Then the turn after it is next.
    assert (await store.cancel(store.ann, waiting[1].id, True, cancelled)).ended is not None
    assert (await store.backlog(store.ann, waiting[2].id, 0, 9)).queue_place == 1
    await store.cancel(store.ann, waiting[0].id, True, cancelled)
    assert await store.state(waiting[2]) is TurnState.PENDING
    (last,) = await store.claim_all()
    assert not await store.finish(last.claim, [row(2)], FAILED)


async def test_a_conversation_at_rest_is_nobodys_queue(store: Store) -> None:
    first = await store.make()
    await store.finish(claim_of(first), [row(2)], FAILED)
    for on_busy in OnBusy:
        new = new_turn(conversation=first.conversation_id, on_busy=on_busy)
        accepted = await store.take(new)
        assert (accepted.state, accepted.ended) == (TurnState.RUNNING, ())
        await store.finish(claim_of(new), [row(2)], FAILED)


async def test_a_queue_is_bounded_and_a_repetition_is_found_in_it(store: Store) -> None:
    first = await store.make()
    place = first.conversation_id
    queued = [
        new_turn(conversation=place, on_busy=OnBusy.QUEUE, max_queued=2, request_id=uuid7()) for _ in range(2)
    ]
    await store.take_all(*queued)
    before = store.count()
    caught = await raises(
        Exhausted,
        store.take(new_turn(conversation=place, on_busy=OnBusy.QUEUE, max_queued=2)),
    )
    assert caught.reason is Reason.QUEUE_FULL
    assert caught.metadata == {"conversation": names.conversation(place), "limit": "2"}
    assert caught.retry_after is not None
    again = await store.take(queued[0])
    assert (again.turn_id, again.attached, again.state) == (queued[0].id, False, TurnState.QUEUED)
    other = new_turn(conversation=place, on_busy=OnBusy.QUEUE, request_id=queued[1].request_id)
    attached = await store.take(other)
    assert (attached.turn_id, attached.attached, attached.state) == (queued[1].id, True, TurnState.QUEUED)
    await raises(Conflict, store.take(new_turn(conversation=place)))
    assert store.count() == before


async def test_many_that_queue_at_once_keep_to_the_bound(store: Store) -> None:
    first = await store.make()
    outcomes = await asyncio.gather(
        *(
            store.take(new_turn(conversation=first.conversation_id, on_busy=OnBusy.QUEUE, max_queued=5))
            for _ in range(12)
        ),
        return_exceptions=True,
    )
    assert Counter(type(outcome).__name__ for outcome in outcomes) == {"Accepted": 5, "Exhausted": 7}
    assert store.urls.value("SELECT count(*) FROM responsa.turn WHERE state = 'queued'") == 5


async def test_an_interrupt_ends_the_turn_at_work_and_those_that_wait(store: Store) -> None:
    first = await store.make()
    await store.write(first, row(2, 4))
    place = first.conversation_id
    waits = await store.make(conversation=place, on_busy=OnBusy.QUEUE)
    new = new_turn(conversation=place, on_busy=OnBusy.INTERRUPT)
    accepted = await store.take(new)
    assert accepted.state is TurnState.RUNNING
    assert [(one.turn_id, one.epoch, one.row.first_seq) for one in accepted.ended] == [
        (first.id, 2, 5),
        (waits.id, 2, 2),
    ]
    for ended, last_seq in ((first, 5), (waits, 2)):
        turn = await store.get(store.ann, ended.id)
        assert (turn.state, turn.last_seq, turn.terminal) == (TurnState.CANCELLED, last_seq, b"cancelled")
        assert (await store.rows(ended))[-1] == end(ended.id, last_seq, b"cancelled")
    # A repeated call finds its turn again and ends no turn.
    again = await store.take(new)
    assert (again.turn_id, again.attached, again.ended) == (new.id, False, ())
    assert await store.state(new) is TurnState.RUNNING


async def test_an_interrupt_that_cannot_be_accepted_ends_nothing(store: Store) -> None:
    first = await store.make()
    await store.take(new_turn(pending=True), store.bob)
    interrupting = new_turn(
        conversation=first.conversation_id, on_busy=OnBusy.INTERRUPT, pending=True, max_pending=1
    )
    await raises(Exhausted, store.take(interrupting))
    for stranger in (store.bob, store.eve):
        await raises(
            NotFound,
            store.take(new_turn(conversation=first.conversation_id, on_busy=OnBusy.INTERRUPT), stranger),
        )
    assert await store.state(first) is TurnState.RUNNING
    await store.write(first, row(2))


async def test_interrupts_that_race_leave_one_turn_at_work(store: Store) -> None:
    first = await store.make()
    place = first.conversation_id
    outcomes = await asyncio.gather(
        *(store.take(new_turn(conversation=place, on_busy=OnBusy.INTERRUPT)) for _ in range(8))
    )
    assert len({one.turn_id for one in outcomes}) == 8
    states = "SELECT count(*) FROM responsa.turn WHERE state = %s"
    assert (store.urls.value(states, "running"), store.urls.value(states, "cancelled")) == (1, 8)
    assert sorted(one.turn_id for outcome in outcomes for one in outcome.ended) == sorted(
        {first.id, *(one.turn_id for one in outcomes)}
        - {store.urls.value("SELECT id FROM responsa.turn WHERE state = 'running'")}
    )


async def test_an_interrupt_and_a_finish_that_race_have_one_winner(store: Store) -> None:
    """Tests both orders. The first session holds the conversation's lock and waits for the turn; the second session
    waits for the conversation."""
    for finish_first in (True, False):
        first = await store.make()
        new = new_turn(conversation=first.conversation_id, on_busy=OnBusy.INTERRUPT)
        works = [
            lambda first=first: store.finish(claim_of(first), [row(2)], FAILED),
            lambda new=new: store.take(new),
        ]
        outcomes = await race(store.urls, first.id, *(works if finish_first else works[::-1]))
        turn = await store.get(store.ann, first.id)
        assert turn.state is (TurnState.FAILED if finish_first else TurnState.CANCELLED), outcomes
        assert turn.last_seq == 2
        assert len(await store.rows(first)) == 2
        assert await store.state(new) is TurnState.RUNNING


@pytest.mark.parametrize("guarded", [True, False])
async def test_a_question_that_queues_while_its_predecessor_ends_is_promoted_all_the_same(
    database_urls: DatabaseUrls, database: Database, guarded: bool
) -> None:
    """The accept of the new turn begins while the previous turn runs, and the accept writes after the previous turn has
    ended. Without the conversation's lock, no process would promote the new turn.
    """
    gate = (
        "accept_turn",
        "%(state)s::text <> 'pending'",
        "(%(state)s::text <> 'queued' OR pg_advisory_xact_lock(7)::text = '') AND %(state)s::text <> 'pending'",
    )
    unlocked = ("finish_turns", "FOR NO KEY UPDATE OF c, t SKIP LOCKED", "FOR NO KEY UPDATE OF t SKIP LOCKED")
    # To count the turn's bytes locks the conversation, too.
    uncounted = ("finish_turns", "c.id = f.conversation_id AND", "false AND")
    queries = Edited(gate) if guarded else Edited(gate, unlocked, uncounted)
    store = Store(database_urls, database, queries=queries)
    first = await store.make()
    new = new_turn(conversation=first.conversation_id, on_busy=OnBusy.QUEUE)
    with psycopg.connect(database_urls.superuser) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(7)")
        queueing = asyncio.ensure_future(store.take(new))
        await until_somebody_waits(database_urls, queueing)
        finishing = asyncio.ensure_future(store.finish(claim_of(first), [row(2)], FAILED))
        if guarded:
            await until_somebody_waits(database_urls, finishing, 2)
        else:
            assert not await finishing
    assert (await queueing).state is TurnState.QUEUED
    assert await finishing is guarded
    state = await store.state(new)
    assert state is (TurnState.PENDING if guarded else TurnState.QUEUED)


async def test_what_was_not_promoted_is_promoted_by_the_next_claim(store: Store) -> None:
    first = await store.make()
    waiting = [new_turn(conversation=first.conversation_id, on_busy=OnBusy.QUEUE) for _ in range(2)]
    await store.take_all(*waiting)
    store.end_alone(first)
    taken = await asyncio.gather(*(store.claim_all() for _ in range(4)))
    assert [one.claim.turn_id for part in taken for one in part] == [waiting[0].id]
    assert await store.state(waiting[1]) is TurnState.QUEUED


async def test_the_sweep_gives_way_to_a_question_that_takes_the_place_meanwhile(store: Store) -> None:
    """If another turn begins in the conversation before a promotion commits, the promotion has no effect, and the
    queued turn waits for the other turn's end."""
    first, other = new_turn(), new_turn(pending=True)
    await store.take(first)
    await store.take(other, store.bob)
    new = await store.make(conversation=first.conversation_id, on_busy=OnBusy.QUEUE)
    store.end_alone(first)
    async with locked(store.urls, "turn", new.id):
        claiming = asyncio.ensure_future(store.claim_all())
        await until_somebody_waits(store.urls, claiming)
        taker = new_turn(conversation=first.conversation_id)
        assert (await store.take(taker)).state is TurnState.RUNNING
    assert [one.claim.turn_id for one in await claiming] == [other.id]
    assert await store.state(new) is TurnState.QUEUED
    assert await store.finish(claim_of(taker), [row(2)], FAILED)
