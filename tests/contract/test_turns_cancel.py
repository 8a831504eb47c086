"""Turns that a caller cancels, and turns that end because they have no followers. The first terminal event wins; no event follows it."""

from __future__ import annotations

import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.events import Usage
from responsa_server.domain.turns import Claim, OnBusy, TurnLost, TurnState
from tests.contract.turn_steps import (
    STARTED,
    Store,
    answered,
    append_of,
    cancelled,
    checkpoint,
    claim_of,
    locked,
    new_turn,
    race,
    row,
)
from tests.raising import raises


async def test_a_turn_at_work_is_ended_and_its_worker_writes_nothing_more(store: Store) -> None:
    new = await store.make()
    await store.write(new, row(2, 4), checkpoint=checkpoint(3))
    done = await store.cancel(store.ann, new.id, True, cancelled)
    assert done.ended is not None
    assert (done.ended.turn_id, done.ended.epoch, done.ended.row.first_seq) == (new.id, 2, 5)
    assert (done.turn.state, done.turn.last_seq, done.turn.epoch) == (TurnState.CANCELLED, 5, 2)
    assert (done.turn.terminal, done.turn.end_time is not None) == (b"cancelled", True)
    assert done.turn == await store.get(store.ann, new.id)
    backlog = await store.backlog(store.ann, new.id, 4, 9)
    assert (backlog.rows, backlog.end_seq, backlog.terminal) == ([done.ended.row], 5, b"cancelled")
    assert store.urls.value("SELECT count(*) FROM responsa.turn_checkpoint") == 0

    before = store.count()
    assert isinstance((await store.append([append_of(claim_of(new), row(5))]))[new.id], TurnLost)
    assert await store.renew([claim_of(new)]) == [new.id]
    await raises(TurnLost, store.finish(claim_of(new), [row(5)], answered()))
    # The turn has the cost up to its last checkpoint; the worker records the rest.
    assert done.turn.usage == Usage(1, 2, 3, 40, 50)
    await store.record_usage(claim_of(new), Usage(0, 10, 20, 300, 400))
    assert store.count() == before
    assert (await store.get(store.ann, new.id)).usage == Usage(1, 12, 23, 340, 450)
    assert (await store.cancel(store.ann, new.id, True, cancelled)).turn.usage == Usage(1, 12, 23, 340, 450)
    conversation = await store.conversations.get(store.ann, new.conversation_id)
    assert (conversation.active_turn, conversation.etag) == (None, "1")
    assert await store.conversations.history(store.ann, new.conversation_id, 9) == []
    await store.take(new_turn(conversation=new.conversation_id))


async def test_turns_that_nobody_runs_are_ended_as_well(store: Store) -> None:
    pending, lost, running = new_turn(pending=True), new_turn(), new_turn()
    await store.take_all(pending, lost, running)
    queued = await store.make(conversation=running.conversation_id, on_busy=OnBusy.QUEUE)
    store.run_out(lost)
    for new in (pending, lost, queued):
        assert (await store.cancel(store.ann, new.id, True, cancelled)).ended is not None
    assert await store.claim_all() == []
    assert await store.state(running) is TurnState.RUNNING


@pytest.mark.parametrize("finish_first", [True, False])
async def test_a_cancel_and_a_finish_that_race_have_one_winner_that_both_name(
    store: Store, finish_first: bool
) -> None:
    new = await store.make()
    finish = lambda: store.finish(claim_of(new), [row(2)], answered())  # noqa: E731 - two calls in either order
    cancel = lambda: store.cancel(store.ann, new.id, True, cancelled)  # noqa: E731
    results = await race(store.urls, new.id, *((finish, cancel) if finish_first else (cancel, finish)))
    turn = await store.get(store.ann, new.id)
    assert turn.last_seq == 2
    assert len(await store.rows(new)) == 2
    ended = await store.cancel(store.ann, new.id, True, cancelled)
    assert ended.turn.terminal == turn.terminal
    if finish_first:
        assert (turn.state, results[0]) == (TurnState.ANSWERED, False)
        assert store.count()["message"] == 2
    else:
        assert turn.state is TurnState.CANCELLED
        assert isinstance(results[1], TurnLost)
        assert store.count()["message"] == 0


async def test_a_watched_turn_ends_when_no_process_says_that_it_is_followed(store: Store) -> None:
    watched, plain = new_turn(watched=True), new_turn()
    await store.take_all(watched, plain)
    here, there = uuid7(), uuid7()
    followed = "SELECT count(*) FROM responsa.turn_follower"
    await store.follows(here, [watched.id, plain.id, uuid7()], 10.0)
    await store.follows(there, [watched.id], 10.0)
    assert store.urls.value(followed) == 2
    assert await store.cancel_unfollowed(store.ann, watched.id, cancelled) is None
    await store.follows(here, [], 10.0)
    assert await store.cancel_unfollowed(store.ann, watched.id, cancelled) is None
    # A dead process no longer records that it follows turns, and its records expire.
    store.urls.ask("UPDATE responsa.turn_follower SET until = now() - interval '1 ms'")
    await store.write(watched, row(2))
    assert await store.cancel_unfollowed(store.bob, watched.id, cancelled) is None
    ended = await store.cancel_unfollowed(store.ann, watched.id, cancelled)
    assert ended is not None
    assert (ended.turn_id, ended.epoch, ended.row.first_seq) == (watched.id, 2, 3)
    assert await store.state(watched) is TurnState.CANCELLED
    # A second call has no effect. Calls for turns that are not watched, or that belong to another user or tenant, have
    # no effect either.
    assert await store.cancel_unfollowed(store.ann, watched.id, cancelled) is None
    assert await store.cancel_unfollowed(store.ann, plain.id, cancelled) is None
    other = await store.make(caller=store.eve, watched=True)
    assert await store.cancel_unfollowed(store.ann, other.id, cancelled) is None
    assert await store.cancel_unfollowed(store.eve, other.id, cancelled) is not None


async def test_who_leaves_what_it_cannot_end_waits_for_nobody(store: Store) -> None:
    plain, watched = new_turn(), new_turn(watched=True)
    await store.take_all(plain, watched)
    for who, new in ((store.ann, plain), (store.bob, watched)):
        async with locked(store.urls, "conversation", new.conversation_id):
            assert await store.cancel_unfollowed(who, new.id, cancelled) is None


async def test_what_followers_said_long_ago_is_swept_away(store: Store) -> None:
    turns = [new_turn(watched=True) for _ in range(3)]
    await store.take_all(*turns)
    here, dead = uuid7(), uuid7()
    await store.follows(dead, [new.id for new in turns], 10.0)
    await store.follows(here, [turns[0].id, turns[1].id], 10.0)
    store.urls.ask(
        "UPDATE responsa.turn_follower SET until = now() - interval '2 min' WHERE process = %s OR turn_id = %s",
        dead,
        turns[0].id,
    )
    await store.follows(here, [turns[0].id], 10.0)
    left = "SELECT array_agg(turn_id) FROM responsa.turn_follower WHERE until > now()"
    assert store.urls.value(left) == [turns[0].id]
    assert store.urls.value("SELECT count(*) FROM responsa.turn_follower") == 1


async def test_each_end_promotes_the_turn_that_waits(store: Store) -> None:
    for watched in (False, True):
        first = await store.make(watched=watched)
        waits = await store.make(conversation=first.conversation_id, on_busy=OnBusy.QUEUE)
        if watched:
            await store.cancel_unfollowed(store.ann, first.id, cancelled)
        else:
            await store.cancel(store.ann, first.id, True, cancelled)
        assert await store.state(waits) is TurnState.PENDING
        (claimed,) = await store.claim_all()
        assert claimed.claim == Claim(waits.id, "acme", 2, 60.0)
        assert await store.rows(waits) == [STARTED]
