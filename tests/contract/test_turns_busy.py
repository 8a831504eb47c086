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
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.turns import PostgresTurnStore
from tests.conftest import DatabaseUrls
from tests.contract.conftest import People, new_turn
from tests.contract.turn_steps import (
    FAILED,
    accept_all,
    accepted_turn,
    append,
    cancelled,
    claim_all,
    claim_of,
    count,
    end,
    locked,
    row,
    rows_of,
    until_somebody_waits,
)
from tests.edited import Edited
from tests.plain_codec import PlainCodec
from tests.raising import raises


async def test_questions_queue_in_order_and_each_end_promotes_the_next(
    turn_store: PostgresTurnStore, conversation_store: PostgresConversationStore, people: People
) -> None:
    first = await accepted_turn(turn_store, people.ann)
    waiting = [new_turn(conversation=first.conversation_id, on_busy=OnBusy.QUEUE) for _ in range(3)]
    for new in waiting:
        accepted = await turn_store.accept(people.ann, new, cancelled)
        assert (accepted.state, accepted.attached) == (TurnState.QUEUED, False)
    places = [(await turn_store.backlog(people.ann, new.id, 0, 9)).queue_place for new in [first, *waiting]]
    assert places == [0, 1, 2, 3]
    news = await turn_store.poll([Cursor(new.id, 0) for new in [first, *waiting]], 9)
    assert sorted((one.turn_id, one.queue_place) for one in news) == sorted(
        zip([new.id for new in [first, *waiting]], places, strict=True)
    )
    conversation = await conversation_store.get(people.ann, first.conversation_id)
    assert conversation.active_turn == first.id
    assert await claim_all(turn_store) == []

    promoted = await turn_store.finish(claim_of(first), [row(2)], FAILED)
    assert promoted
    (claimed,) = await claim_all(turn_store)
    assert (claimed.claim.turn_id, claimed.attempt, claimed.losses) == (waiting[0].id, 1, 0)
    assert (await turn_store.backlog(people.ann, waiting[1].id, 0, 9)).queue_place == 1
    # A waiting turn may also be ended. Then the turn after it is next.
    assert (await turn_store.cancel(people.ann, waiting[1].id, True, cancelled)).ended is not None
    assert (await turn_store.backlog(people.ann, waiting[2].id, 0, 9)).queue_place == 1
    await turn_store.cancel(people.ann, waiting[0].id, True, cancelled)
    assert (await turn_store.get(people.ann, waiting[2].id)).state is TurnState.PENDING
    (last,) = await claim_all(turn_store)
    assert not await turn_store.finish(last.claim, [row(2)], FAILED)


async def test_a_conversation_at_rest_is_nobodys_queue(turn_store: PostgresTurnStore, people: People) -> None:
    first = await accepted_turn(turn_store, people.ann)
    await turn_store.finish(claim_of(first), [row(2)], FAILED)
    for on_busy in OnBusy:
        new = new_turn(conversation=first.conversation_id, on_busy=on_busy)
        accepted = await turn_store.accept(people.ann, new, cancelled)
        assert (accepted.state, accepted.ended) == (TurnState.RUNNING, ())
        await turn_store.finish(claim_of(new), [row(2)], FAILED)


async def test_a_queue_is_bounded_and_a_repetition_is_found_in_it(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    first = await accepted_turn(turn_store, people.ann)
    place = first.conversation_id
    queued = [
        new_turn(conversation=place, on_busy=OnBusy.QUEUE, max_queued=2, request_id=uuid7()) for _ in range(2)
    ]
    await accept_all(turn_store, people.ann, *queued)
    before = count(database_urls)
    caught = await raises(
        Exhausted,
        turn_store.accept(
            people.ann, new_turn(conversation=place, on_busy=OnBusy.QUEUE, max_queued=2), cancelled
        ),
    )
    assert caught.reason is Reason.QUEUE_FULL
    assert caught.metadata == {"conversation": names.conversation(place), "limit": "2"}
    assert caught.retry_after is not None
    again = await turn_store.accept(people.ann, queued[0], cancelled)
    assert (again.turn_id, again.attached, again.state) == (queued[0].id, False, TurnState.QUEUED)
    other = new_turn(conversation=place, on_busy=OnBusy.QUEUE, request_id=queued[1].request_id)
    attached = await turn_store.accept(people.ann, other, cancelled)
    assert (attached.turn_id, attached.attached, attached.state) == (queued[1].id, True, TurnState.QUEUED)
    await raises(Conflict, turn_store.accept(people.ann, new_turn(conversation=place), cancelled))
    assert count(database_urls) == before


async def test_many_that_queue_at_once_keep_to_the_bound(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    first = await accepted_turn(turn_store, people.ann)
    outcomes = await asyncio.gather(
        *(
            turn_store.accept(
                people.ann,
                new_turn(conversation=first.conversation_id, on_busy=OnBusy.QUEUE, max_queued=5),
                cancelled,
            )
            for _ in range(12)
        ),
        return_exceptions=True,
    )
    assert Counter(type(outcome).__name__ for outcome in outcomes) == {"Accepted": 5, "Exhausted": 7}
    assert database_urls.value("SELECT count(*) FROM responsa.turn WHERE state = 'queued'") == 5


async def test_an_interrupt_ends_the_turn_at_work_and_those_that_wait(
    turn_store: PostgresTurnStore, people: People
) -> None:
    first = await accepted_turn(turn_store, people.ann)
    await append(turn_store, claim_of(first), row(2, 4))
    place = first.conversation_id
    waits = await accepted_turn(turn_store, people.ann, conversation=place, on_busy=OnBusy.QUEUE)
    new = new_turn(conversation=place, on_busy=OnBusy.INTERRUPT)
    accepted = await turn_store.accept(people.ann, new, cancelled)
    assert accepted.state is TurnState.RUNNING
    assert [(one.turn_id, one.epoch, one.row.first_seq) for one in accepted.ended] == [
        (first.id, 2, 5),
        (waits.id, 2, 2),
    ]
    for ended, last_seq in ((first, 5), (waits, 2)):
        turn = await turn_store.get(people.ann, ended.id)
        assert (turn.state, turn.last_seq, turn.terminal) == (TurnState.CANCELLED, last_seq, b"cancelled")
        assert (await rows_of(turn_store, people.ann, ended))[-1] == end(ended.id, last_seq, b"cancelled")
    # A repeated call finds its turn again and ends no turn.
    again = await turn_store.accept(people.ann, new, cancelled)
    assert (again.turn_id, again.attached, again.ended) == (new.id, False, ())
    assert (await turn_store.get(people.ann, new.id)).state is TurnState.RUNNING


async def test_an_interrupt_that_cannot_be_accepted_ends_nothing(
    turn_store: PostgresTurnStore, people: People
) -> None:
    first = await accepted_turn(turn_store, people.ann)
    await turn_store.accept(people.bob, new_turn(pending=True), cancelled)
    interrupting = new_turn(
        conversation=first.conversation_id, on_busy=OnBusy.INTERRUPT, pending=True, max_pending=1
    )
    await raises(Exhausted, turn_store.accept(people.ann, interrupting, cancelled))
    for stranger in (people.bob, people.eve):
        await raises(
            NotFound,
            turn_store.accept(
                stranger, new_turn(conversation=first.conversation_id, on_busy=OnBusy.INTERRUPT), cancelled
            ),
        )
    assert (await turn_store.get(people.ann, first.id)).state is TurnState.RUNNING
    await append(turn_store, claim_of(first), row(2))


async def test_interrupts_that_race_leave_one_turn_at_work(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    first = await accepted_turn(turn_store, people.ann)
    place = first.conversation_id
    outcomes = await asyncio.gather(
        *(
            turn_store.accept(people.ann, new_turn(conversation=place, on_busy=OnBusy.INTERRUPT), cancelled)
            for _ in range(8)
        )
    )
    assert len({one.turn_id for one in outcomes}) == 8
    states = "SELECT count(*) FROM responsa.turn WHERE state = %s"
    assert (database_urls.value(states, "running"), database_urls.value(states, "cancelled")) == (1, 8)
    assert sorted(one.turn_id for outcome in outcomes for one in outcome.ended) == sorted(
        {first.id, *(one.turn_id for one in outcomes)}
        - {database_urls.value("SELECT id FROM responsa.turn WHERE state = 'running'")}
    )


async def test_an_interrupt_and_a_finish_that_race_have_one_winner(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    """Tests both orders. The first session holds the conversation's lock and waits for the turn; the second session
    waits for the conversation."""
    for finish_first in (True, False):
        first = await accepted_turn(turn_store, people.ann)
        new = new_turn(conversation=first.conversation_id, on_busy=OnBusy.INTERRUPT)
        async with locked(database_urls, "turn", first.id):
            works = [
                lambda first=first: turn_store.finish(claim_of(first), [row(2)], FAILED),
                lambda new=new: turn_store.accept(people.ann, new, cancelled),
            ]
            tasks: list[asyncio.Task[object]] = []
            for waiters, work in enumerate(works if finish_first else works[::-1], start=1):
                tasks.append(asyncio.ensure_future(work()))
                await until_somebody_waits(database_urls, tasks[-1], waiters)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        turn = await turn_store.get(people.ann, first.id)
        assert turn.state is (TurnState.FAILED if finish_first else TurnState.CANCELLED), outcomes
        assert turn.last_seq == 2
        assert len(await rows_of(turn_store, people.ann, first)) == 2
        assert (await turn_store.get(people.ann, new.id)).state is TurnState.RUNNING


@pytest.mark.parametrize("guarded", [True, False])
async def test_a_question_that_queues_while_its_predecessor_ends_is_promoted_all_the_same(
    database: Database, people: People, database_urls: DatabaseUrls, guarded: bool
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
    store = PostgresTurnStore(database, PlainCodec(), queries=queries)
    first = await accepted_turn(store, people.ann)
    new = new_turn(conversation=first.conversation_id, on_busy=OnBusy.QUEUE)
    with psycopg.connect(database_urls.superuser) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(7)")
        queueing = asyncio.ensure_future(store.accept(people.ann, new, cancelled))
        await until_somebody_waits(database_urls, queueing)
        finishing = asyncio.ensure_future(store.finish(claim_of(first), [row(2)], FAILED))
        if guarded:
            await until_somebody_waits(database_urls, finishing, 2)
        else:
            assert not await finishing
    assert (await queueing).state is TurnState.QUEUED
    assert await finishing is guarded
    state = (await store.get(people.ann, new.id)).state
    assert state is (TurnState.PENDING if guarded else TurnState.QUEUED)


async def test_what_was_not_promoted_is_promoted_by_the_next_claim(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    first = await accepted_turn(turn_store, people.ann)
    waiting = [new_turn(conversation=first.conversation_id, on_busy=OnBusy.QUEUE) for _ in range(2)]
    await accept_all(turn_store, people.ann, *waiting)
    database_urls.ask(
        "UPDATE responsa.turn SET state = 'failed', terminal = 'x', end_time = now() WHERE id = %s",
        first.id,
    )
    taken = await asyncio.gather(*(claim_all(turn_store) for _ in range(4)))
    assert [one.claim.turn_id for part in taken for one in part] == [waiting[0].id]
    assert (await turn_store.get(people.ann, waiting[1].id)).state is TurnState.QUEUED


async def test_the_sweep_gives_way_to_a_question_that_takes_the_place_meanwhile(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    """If another turn begins in the conversation before a promotion commits, the promotion has no effect, and the
    queued turn waits for the other turn's end."""
    first, other = new_turn(), new_turn(pending=True)
    await turn_store.accept(people.ann, first, cancelled)
    await turn_store.accept(people.bob, other, cancelled)
    new = await accepted_turn(
        turn_store, people.ann, conversation=first.conversation_id, on_busy=OnBusy.QUEUE
    )
    database_urls.ask(
        "UPDATE responsa.turn SET state = 'failed', terminal = 'x', end_time = now() WHERE id = %s",
        first.id,
    )
    async with locked(database_urls, "turn", new.id):
        claiming = asyncio.ensure_future(claim_all(turn_store))
        await until_somebody_waits(database_urls, claiming)
        taker = new_turn(conversation=first.conversation_id)
        assert (await turn_store.accept(people.ann, taker, cancelled)).state is TurnState.RUNNING
    assert [one.claim.turn_id for one in await claiming] == [other.id]
    assert (await turn_store.get(people.ann, new.id)).state is TurnState.QUEUED
    assert await turn_store.finish(claim_of(taker), [row(2)], FAILED)
