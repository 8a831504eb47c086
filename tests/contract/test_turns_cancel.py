"""Turns that a caller cancels, and turns that end because they have no followers. The first terminal event wins; no event follows it."""

from __future__ import annotations

import asyncio

import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import Usage
from responsa_server.domain.turns import Claim, OnBusy, TurnLost, TurnState
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.turns import PostgresTurnStore
from tests.conftest import DatabaseUrls
from tests.contract.conftest import People, new_turn
from tests.contract.turn_steps import (
    STARTED,
    accept_all,
    accepted_turn,
    answered,
    append,
    append_of,
    cancelled,
    checkpoint,
    claim_all,
    claim_of,
    count,
    locked,
    outcome,
    row,
    rows_of,
    run_out,
    until_somebody_waits,
)
from tests.raising import raises


async def test_a_turn_at_work_is_ended_and_its_worker_writes_nothing_more(
    turn_store: PostgresTurnStore,
    conversation_store: PostgresConversationStore,
    people: People,
    database_urls: DatabaseUrls,
) -> None:
    new = await accepted_turn(turn_store, people.ann)
    await append(turn_store, claim_of(new), row(2, 4), checkpoint=checkpoint(3))
    done = await turn_store.cancel(people.ann, new.id, True, cancelled)
    assert done.ended is not None
    assert (done.ended.turn_id, done.ended.epoch, done.ended.row.first_seq) == (new.id, 2, 5)
    assert (done.turn.state, done.turn.last_seq, done.turn.epoch) == (TurnState.CANCELLED, 5, 2)
    assert (done.turn.terminal, done.turn.end_time is not None) == (b"cancelled", True)
    assert done.turn == await turn_store.get(people.ann, new.id)
    backlog = await turn_store.backlog(people.ann, new.id, 4, 9)
    assert (backlog.rows, backlog.end_seq, backlog.terminal) == ([done.ended.row], 5, b"cancelled")
    assert database_urls.value("SELECT count(*) FROM responsa.turn_checkpoint") == 0

    before = count(database_urls)
    assert isinstance((await turn_store.append([append_of(claim_of(new), row(5))]))[new.id], TurnLost)
    assert await turn_store.renew([claim_of(new)]) == [new.id]
    await raises(TurnLost, turn_store.finish(claim_of(new), [row(5)], answered()))
    # The turn has the cost up to its last checkpoint; the worker records the rest.
    assert done.turn.usage == Usage(1, 2, 3, 40, 50)
    await turn_store.record_usage(claim_of(new), Usage(0, 10, 20, 300, 400))
    assert count(database_urls) == before
    assert (await turn_store.get(people.ann, new.id)).usage == Usage(1, 12, 23, 340, 450)
    assert (await turn_store.cancel(people.ann, new.id, True, cancelled)).turn.usage == Usage(
        1, 12, 23, 340, 450
    )
    conversation = await conversation_store.get(people.ann, new.conversation_id)
    assert (conversation.active_turn, conversation.etag) == (None, "1")
    assert await conversation_store.history(people.ann, new.conversation_id, 9) == []
    await turn_store.accept(people.ann, new_turn(conversation=new.conversation_id), cancelled)


async def test_turns_that_nobody_runs_are_ended_as_well(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    pending, lost, running = new_turn(pending=True), new_turn(), new_turn()
    await accept_all(turn_store, people.ann, pending, lost, running)
    queued = await accepted_turn(
        turn_store, people.ann, conversation=running.conversation_id, on_busy=OnBusy.QUEUE
    )
    run_out(database_urls, lost.id)
    for new in (pending, lost, queued):
        assert (await turn_store.cancel(people.ann, new.id, True, cancelled)).ended is not None
    assert await claim_all(turn_store) == []
    assert (await turn_store.get(people.ann, running.id)).state is TurnState.RUNNING


@pytest.mark.parametrize("finish_first", [True, False])
async def test_a_cancel_and_a_finish_that_race_have_one_winner_that_both_name(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls, finish_first: bool
) -> None:
    new = await accepted_turn(turn_store, people.ann)
    finish = lambda: turn_store.finish(claim_of(new), [row(2)], answered())  # noqa: E731 - two calls in either order
    cancel = lambda: turn_store.cancel(people.ann, new.id, True, cancelled)  # noqa: E731
    async with locked(database_urls, "turn", new.id):
        tasks: list[asyncio.Task[object]] = []
        for waiters, work in enumerate((finish, cancel) if finish_first else (cancel, finish), start=1):
            tasks.append(asyncio.ensure_future(outcome(work)))
            await until_somebody_waits(database_urls, tasks[-1], waiters)
    results = await asyncio.gather(*tasks)
    turn = await turn_store.get(people.ann, new.id)
    assert turn.last_seq == 2
    assert len(await rows_of(turn_store, people.ann, new)) == 2
    ended = await turn_store.cancel(people.ann, new.id, True, cancelled)
    assert ended.turn.terminal == turn.terminal
    if finish_first:
        assert (turn.state, results[0]) == (TurnState.ANSWERED, False)
        assert count(database_urls)["message"] == 2
    else:
        assert turn.state is TurnState.CANCELLED
        assert isinstance(results[1], TurnLost)
        assert count(database_urls)["message"] == 0


@pytest.mark.parametrize("append_first", [True, False])
async def test_a_cancel_and_an_append_that_race_leave_the_terminal_event_last(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls, append_first: bool
) -> None:
    new = await accepted_turn(turn_store, people.ann)
    if append_first:
        async with locked(database_urls, "turn", new.id):
            cancelling = asyncio.ensure_future(turn_store.cancel(people.ann, new.id, True, cancelled))
            await until_somebody_waits(database_urls, cancelling)
            # The append skips the locked turn and does not wait for it; the caller sends the rows again.
            assert isinstance(
                (await turn_store.append([append_of(claim_of(new), row(2, 3))]))[new.id], Unavailable
            )
        await cancelling
        assert isinstance((await turn_store.append([append_of(claim_of(new), row(2, 3))]))[new.id], TurnLost)
        expected = [1, 2]
    else:
        await append(turn_store, claim_of(new), row(2, 3))
        await turn_store.cancel(people.ann, new.id, True, cancelled)
        expected = [1, 3, 4]
    assert [one.last_seq for one in await rows_of(turn_store, people.ann, new)] == expected


async def test_a_watched_turn_ends_when_no_process_says_that_it_is_followed(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    watched, plain = new_turn(watched=True), new_turn()
    await accept_all(turn_store, people.ann, watched, plain)
    here, there = uuid7(), uuid7()
    followed = "SELECT count(*) FROM responsa.turn_follower"
    await turn_store.follows(here, [watched.id, plain.id, uuid7()], 10.0)
    await turn_store.follows(there, [watched.id], 10.0)
    assert database_urls.value(followed) == 2
    assert await turn_store.cancel_unfollowed(people.ann, watched.id, cancelled) is None
    await turn_store.follows(here, [], 10.0)
    assert await turn_store.cancel_unfollowed(people.ann, watched.id, cancelled) is None
    # A dead process no longer records that it follows turns, and its records expire.
    database_urls.ask("UPDATE responsa.turn_follower SET until = now() - interval '1 ms'")
    await append(turn_store, claim_of(watched), row(2))
    assert await turn_store.cancel_unfollowed(people.bob, watched.id, cancelled) is None
    ended = await turn_store.cancel_unfollowed(people.ann, watched.id, cancelled)
    assert ended is not None
    assert (ended.turn_id, ended.epoch, ended.row.first_seq) == (watched.id, 2, 3)
    assert (await turn_store.get(people.ann, watched.id)).state is TurnState.CANCELLED
    # A second call has no effect. Calls for turns that are not watched, or that belong to another user or tenant, have
    # no effect either.
    assert await turn_store.cancel_unfollowed(people.ann, watched.id, cancelled) is None
    assert await turn_store.cancel_unfollowed(people.ann, plain.id, cancelled) is None
    other = await accepted_turn(turn_store, people.eve, watched=True)
    assert await turn_store.cancel_unfollowed(people.ann, other.id, cancelled) is None
    assert await turn_store.cancel_unfollowed(people.eve, other.id, cancelled) is not None


async def test_who_leaves_what_it_cannot_end_waits_for_nobody(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    plain, watched = new_turn(), new_turn(watched=True)
    await accept_all(turn_store, people.ann, plain, watched)
    for who, new in ((people.ann, plain), (people.bob, watched)):
        async with locked(database_urls, "conversation", new.conversation_id):
            assert await turn_store.cancel_unfollowed(who, new.id, cancelled) is None


async def test_what_followers_said_long_ago_is_swept_away(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    turns = [new_turn(watched=True) for _ in range(3)]
    await accept_all(turn_store, people.ann, *turns)
    here, dead = uuid7(), uuid7()
    await turn_store.follows(dead, [new.id for new in turns], 10.0)
    await turn_store.follows(here, [turns[0].id, turns[1].id], 10.0)
    database_urls.ask(
        "UPDATE responsa.turn_follower SET until = now() - interval '2 min' WHERE process = %s OR turn_id = %s",
        dead,
        turns[0].id,
    )
    await turn_store.follows(here, [turns[0].id], 10.0)
    left = "SELECT array_agg(turn_id) FROM responsa.turn_follower WHERE until > now()"
    assert database_urls.value(left) == [turns[0].id]
    assert database_urls.value("SELECT count(*) FROM responsa.turn_follower") == 1


async def test_each_end_promotes_the_turn_that_waits(turn_store: PostgresTurnStore, people: People) -> None:
    for watched in (False, True):
        first = await accepted_turn(turn_store, people.ann, watched=watched)
        waits = await accepted_turn(
            turn_store, people.ann, conversation=first.conversation_id, on_busy=OnBusy.QUEUE
        )
        if watched:
            await turn_store.cancel_unfollowed(people.ann, first.id, cancelled)
        else:
            await turn_store.cancel(people.ann, first.id, True, cancelled)
        assert (await turn_store.get(people.ann, waits.id)).state is TurnState.PENDING
        (claimed,) = await claim_all(turn_store)
        assert claimed.claim == Claim(waits.id, "acme", 2, 60.0)
        assert await rows_of(turn_store, people.ann, waits) == [STARTED]
