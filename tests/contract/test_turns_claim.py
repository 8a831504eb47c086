"""How workers claim pending, released and lost turns. Each turn goes to one worker, under the next epoch, with the
state that the last worker left.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import ToolCalled, Usage
from responsa_server.domain.turns import ClaimedTurn, TurnLost, TurnState
from responsa_server.stores.postgres.database import Database
from tests.contract.cut_database import CutDatabase
from tests.contract.turn_steps import (
    AGENT,
    FAILED,
    STARTED,
    Store,
    answered,
    append_of,
    checkpoint,
    claim_of,
    locked,
    new_turn,
    row,
    tool_ledger,
    until_somebody_waits,
)
from tests.edited import Edited
from tests.raising import raises

MAIL = ToolCalled("call-1", "tools/mail", {})


async def test_a_pending_turn_is_claimed_with_all_that_a_worker_needs(store: Store) -> None:
    new = await store.make("How long?", pending=True, parameters='{"level":"beginner"}', max_cost_micros=900)
    owner = uuid7()
    (claimed,) = await store.claim_all(owner, lease_seconds=7.5)
    assert (claimed.claim.turn_id, claimed.claim.tenant_id) == (new.id, "acme")
    assert (claimed.claim.epoch, claimed.claim.lease_seconds) == (2, 7.5)
    assert (claimed.caller.user_id, claimed.caller.credential) == (store.ann.user_id, "turn")
    assert (claimed.question, claimed.agent_version) == (new.question, AGENT)
    assert (claimed.last_seq, claimed.attempt, claimed.losses, claimed.age_seconds) == (1, 1, 0, 0.0)
    assert claimed.first_in_conversation
    assert (claimed.checkpoint, claimed.tools) == (None, {})
    assert await store.state(new) is TurnState.RUNNING
    assert await store.claim_all(owner) == []
    await store.write(claimed.claim, row(2))


async def test_a_lost_turn_is_taken_over_from_where_it_stood(store: Store) -> None:
    new, alive = new_turn(), new_turn()
    await store.take_all(new, alive)
    left = checkpoint(3, 12, b"graph")
    await store.write(new, row(2, 5), checkpoint=left, tools=[MAIL])
    store.run_out(new)
    store.urls.ask("UPDATE responsa.turn SET begin_time = begin_time - interval '20 s'")
    (claimed,) = await store.claim_all()
    assert (claimed.claim.turn_id, claimed.claim.epoch) == (new.id, 2)
    assert (claimed.last_seq, claimed.attempt, claimed.losses) == (5, 2, 1)
    assert 20 <= claimed.age_seconds < 80
    assert claimed.checkpoint == left
    assert tool_ledger(claimed) == {"call-1": (None, "")}
    for write in (row(6), row(2, 5)):
        assert isinstance((await store.append([append_of(claim_of(new), write)]))[new.id], TurnLost)
    assert await store.renew([claim_of(new), claim_of(alive)]) == [new.id]
    store.run_out(new)
    (again,) = await store.claim_all()
    assert (again.claim.epoch, again.attempt, again.losses) == (3, 3, 2)


async def test_a_checkpoint_sets_the_count_of_losses_to_0_and_an_event_does_not(store: Store) -> None:
    further, repeats = new_turn(), new_turn()
    await store.take_all(further, repeats)
    store.run_out(further, repeats)
    for claimed in await store.claim_all():
        left = checkpoint(2) if claimed.claim.turn_id == further.id else None
        await store.write(claimed.claim, row(2), checkpoint=left)
    store.run_out(further, repeats)
    taken = await store.claim_all()
    assert {one.claim.turn_id: one.losses for one in taken} == {further.id: 1, repeats.id: 2}


async def test_a_claim_takes_one_of_the_turns_that_lost_two_workers(store: Store) -> None:
    first, second, released, healthy = (new_turn() for _ in range(4))
    await store.take_all(first, second, released, healthy)
    suspects = [first.id, second.id, released.id]
    store.urls.ask("UPDATE responsa.turn SET losses = 1 WHERE id = ANY (%s)", suspects)
    store.urls.ask("UPDATE responsa.turn SET losses = 2 WHERE id = %s", released.id)
    store.run_out(first, second, healthy)
    await store.release([claim_of(released)])
    without = await store.claim(uuid7(), [AGENT], 60.0, 9, suspects=False)
    assert [one.claim.turn_id for one in without] == [healthy.id]
    taken = [[(one.claim.turn_id, one.losses) for one in await store.claim_all()] for _ in range(4)]
    assert taken == [[(first.id, 2)], [(second.id, 2)], [(released.id, 2)], []]


@pytest.mark.parametrize("how", ["lost", "released", "joined", "overtaken"])
async def test_only_a_turn_that_was_lost_alone_is_the_cause(store: Store, how: str) -> None:
    new = await store.make()
    await store.mark_alone(claim_of(new, epoch=7 if how == "overtaken" else 1), True)
    if how == "joined":
        await store.mark_alone(claim_of(new), False)
    if how == "released":
        await store.release([claim_of(new)])
    else:
        store.run_out(new)
    (claimed,) = await store.claim_all()
    assert claimed.lost_alone is (how == "lost")
    store.run_out(new)  # the next worker is lost before it has written the end
    (again,) = await store.claim_all()
    assert again.lost_alone is (how == "lost")


async def test_a_released_turn_is_taken_at_once_and_counts_no_loss(store: Store) -> None:
    new, kept, ended, late = (new_turn() for _ in range(4))
    await store.take_all(new, kept, ended, late)
    await store.finish(claim_of(ended), [row(2)], FAILED)
    store.urls.ask("UPDATE responsa.turn SET epoch = 2 WHERE id = %s", late.id)
    await store.release([claim_of(turn) for turn in (new, ended, late, new_turn())])
    (claimed,) = await store.claim_all()
    assert (claimed.claim.turn_id, claimed.attempt, claimed.losses) == (new.id, 2, 0)
    # A late repetition of a release does not release the turn that the next worker holds.
    await store.release([claim_of(new)])
    await store.release([])
    assert await store.claim_all() == []


async def test_the_first_question_of_a_conversation_is_known_to_have_no_history(store: Store) -> None:
    first = await store.make()
    for conclusion, expected in ((FAILED, True), (answered(), False)):
        await store.finish(claim_of(first), [row(2)], conclusion)
        await store.make(conversation=first.conversation_id, pending=True)
        (claimed,) = await store.claim_all()
        assert claimed.first_in_conversation is expected
        await store.finish(claimed.claim, [row(2)], FAILED)
        first = await store.make(conversation=first.conversation_id)


async def test_a_worker_takes_the_oldest_of_its_versions_and_no_more_than_it_has_places_for(
    store: Store,
) -> None:
    turns = [new_turn(pending=True) for _ in range(5)]
    foreign = new_turn(pending=True, version="agents/other/versions/1")
    await store.take_all(foreign, *turns)
    taken = [[one.claim.turn_id for one in await store.claim_all(most=2)] for _ in range(4)]
    assert taken == [[turns[0].id, turns[1].id], [turns[2].id, turns[3].id], [turns[4].id], []]
    assert await store.claim(uuid7(), [], 60.0, 9) == []
    assert await store.claim(uuid7(), ["agents/other/versions/1"], 60.0, 0) == []
    (other,) = await store.claim(uuid7(), [AGENT, "agents/other/versions/1"], 60.0, 9)
    assert other.claim.turn_id == foreign.id


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "pending"])
async def test_of_many_claimers_each_turn_has_one(store: Store, lost: bool) -> None:
    turns = [new_turn(pending=not lost) for _ in range(30)]
    await store.take_all(*turns)
    if lost:
        store.run_out(*turns)
    taken = await asyncio.gather(*(store.claim_all(most=7) for _ in range(8)))
    counted = Counter(one.claim.turn_id for part in taken for one in part)
    assert counted == dict.fromkeys((new.id for new in turns), 1)
    assert max(len(part) for part in taken) == 7
    assert store.urls.value("SELECT max(epoch) FROM responsa.turn") == 2


async def test_a_turn_that_is_being_claimed_is_passed_over_not_waited_for(store: Store) -> None:
    held, free = new_turn(pending=True), new_turn(pending=True)
    await store.take_all(held, free)
    async with locked(store.urls, "turn", held.id):
        assert [one.claim.turn_id for one in await store.claim_all()] == [free.id]
    assert [one.claim.turn_id for one in await store.claim_all()] == [held.id]


async def test_an_append_that_comes_first_keeps_the_turn_and_one_that_comes_later_is_lost(
    store: Store,
) -> None:
    """The lease expired while the turn's worker was paused. The worker that writes first gets the turn."""
    kept, taken = new_turn(), new_turn()
    await store.take_all(kept, taken)
    store.run_out(kept, taken)
    await store.write(kept, row(2))
    assert [one.claim.turn_id for one in await store.claim_all()] == [taken.id]
    assert await store.append([append_of(claim_of(kept), row(3))]) == {}
    assert isinstance((await store.append([append_of(claim_of(taken), row(2))]))[taken.id], TurnLost)
    assert await store.rows(taken) == [STARTED]


async def test_what_is_written_just_before_a_claim_is_read_by_it(store: Store) -> None:
    """The last worker writes to the turn and releases it after the claim has begun. The claim must use the turn's new state and ledger."""
    gate = (
        "claim_turns",
        "SELECT id, state, lease_until FROM responsa.turn",
        "SELECT id, state, lease_until FROM (SELECT pg_advisory_xact_lock(7)) AS gate, responsa.turn",
    )
    told = ("claim_turns", "FOR NO KEY UPDATE SKIP LOCKED", "FOR NO KEY UPDATE OF turn SKIP LOCKED")
    gated = Store(store.urls, store.database, queries=Edited(gate, told))
    new = await store.make()
    store.run_out(new)
    with psycopg.connect(store.urls.superuser) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(7)")
        claiming = asyncio.ensure_future(gated.claim_all())
        await until_somebody_waits(store.urls, claiming)
        await store.write(new, row(2), checkpoint=checkpoint(2), tools=[MAIL])
        await store.release([claim_of(new)])
    (claimed,) = await claiming
    assert (claimed.last_seq, claimed.checkpoint) == (2, checkpoint(2))
    assert tool_ledger(claimed) == {"call-1": (None, "")}


async def test_a_claim_whose_commit_was_not_heard_of_is_taken_up_again(
    cut_database: CutDatabase, cut_store: Store
) -> None:
    owner = uuid7()
    fresh, lost = new_turn(pending=True), new_turn()
    await cut_store.take_all(fresh, lost)
    await cut_store.write(lost, row(2), checkpoint=checkpoint(2), tools=[MAIL])
    cut_store.run_out(lost)
    # The first cut comes after the statement that promotes turns, and before any claim.
    for cuts in (1, 2, 2):
        await raises(Unavailable, _claim_and_cut(cut_store, cut_database, owner, cuts))
    taken = {one.claim.turn_id: one for one in await cut_store.claim_all(owner)}
    assert {turn: one.claim.epoch for turn, one in taken.items()} == {fresh.id: 2, lost.id: 2}
    assert (taken[lost.id].attempt, taken[lost.id].losses) == (2, 1)
    assert (taken[lost.id].checkpoint, tool_ledger(taken[lost.id])) == (checkpoint(2), {"call-1": (None, "")})
    assert await cut_store.claim_all(owner) == []
    assert (
        await cut_store.append(
            [append_of(taken[fresh.id].claim, row(2)), append_of(taken[lost.id].claim, row(3))]
        )
        == {}
    )


async def _claim_and_cut(store: Store, database: CutDatabase, owner: UUID, cuts: int) -> None:
    """Claim turns. The connection is lost after commit number `cuts`."""
    database.skip, database.cut = cuts - 1, 1
    await store.claim_all(owner)


async def test_a_claim_that_was_not_heard_of_is_not_taken_up_once_somebody_else_has_it(
    cut_database: CutDatabase, cut_store: Store
) -> None:
    owner = uuid7()
    new = await cut_store.make(pending=True)
    await raises(Unavailable, _claim_and_cut(cut_store, cut_database, owner, 2))
    cut_store.run_out(new)
    other = Store(cut_store.urls, cut_database)
    (taken,) = await other.claim_all()
    assert (taken.claim.epoch, taken.losses) == (3, 1)
    assert await cut_store.claim_all(owner) == []


async def test_what_is_spent_on_a_turn_that_was_taken_is_booked_once_an_epoch(
    cut_database: CutDatabase, cut_store: Store
) -> None:
    new = await cut_store.make()
    cut_store.run_out(new)
    (claimed,) = await cut_store.claim_all()
    cut_database.cut = 1
    await raises(Unavailable, cut_store.record_usage(claim_of(new), Usage(1, 10, 100, 7, 8)))
    await cut_store.record_usage(claim_of(new), Usage(1, 10, 100, 7, 8))
    await cut_store.record_usage(claimed.claim, Usage(0, 2, 3, 20, 30))
    await cut_store.record_usage(claim_of(new_turn()), Usage(5, 5, 5))
    await cut_store.finish(claimed.claim, [row(2)], FAILED)
    assert (await cut_store.get(cut_store.ann, new.id)).usage == Usage(1, 12, 103, 27, 38)
    assert cut_store.urls.value("SELECT count(*) FROM responsa.turn_spent") == 2


async def test_a_worker_that_stops_in_the_midst_of_a_finish_does_not_keep_its_turn(
    store: Store, database: Database
) -> None:
    """A session locks the turn's row and then does nothing. PostgreSQL ends the session's transaction after a time limit, which is short in
    this test.
    """
    new = await store.make()
    store.run_out(new)
    taken: list[ClaimedTurn] = []

    async def stops() -> None:
        async with database.locking("acme", 1) as connection:
            await connection.execute("SELECT FROM responsa.turn FOR UPDATE")
            assert await store.claim_all() == []
            while not taken:
                taken.extend(await store.claim_all())
            await connection.execute("SELECT 1")

    await raises(Unavailable, stops())
    assert [one.claim.turn_id for one in taken] == [new.id]


async def test_a_worker_takes_nothing_from_itself_that_it_still_runs(store: Store) -> None:
    owner, other = uuid7(), uuid7()
    new = await store.make(pending=True)
    (claimed,) = await store.claim_all(owner)
    store.run_out(new)
    assert await store.claim(owner, [AGENT], 60.0, 9, [new.id]) == []
    assert await store.renew([claimed.claim]) == []
    store.run_out(new)
    # The call names the turn, but another process owns it.
    (taken,) = await store.claim(other, [AGENT], 60.0, 9, [new.id])
    assert taken.claim.epoch == 3
    store.run_out(new)
    # The turn ran here under an older epoch and was lost to another process, whose lease has now expired.
    (again,) = await store.claim(owner, [AGENT], 60.0, 9, [new.id])
    assert again.claim.epoch == 4
    store.run_out(new)
    # This process owns the turn, but does not run it.
    (left,) = await store.claim(owner, [AGENT], 60.0, 9, [uuid7()])
    assert left.claim.epoch == 5
