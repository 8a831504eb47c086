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
from responsa_server.stores.postgres.turns import PostgresTurnStore
from tests.conftest import DatabaseUrls
from tests.contract.conftest import AGENT, People, new_turn
from tests.contract.cut_database import CutDatabase
from tests.contract.turn_steps import (
    FAILED,
    STARTED,
    accept_all,
    accepted_turn,
    answered,
    append,
    append_of,
    checkpoint,
    claim_all,
    claim_of,
    locked,
    row,
    rows_of,
    run_out,
    tool_ledger,
    until_somebody_waits,
)
from tests.edited import Edited
from tests.plain_codec import PlainCodec
from tests.raising import raises

MAIL = ToolCalled("call-1", "tools/mail", {})


async def test_a_pending_turn_is_claimed_with_all_that_a_worker_needs(
    turn_store: PostgresTurnStore, people: People
) -> None:
    new = await accepted_turn(
        turn_store,
        people.ann,
        "How long?",
        pending=True,
        parameters='{"level":"beginner"}',
        max_cost_micros=900,
    )
    owner = uuid7()
    (claimed,) = await claim_all(turn_store, owner, lease_seconds=7.5)
    assert (claimed.claim.turn_id, claimed.claim.tenant_id) == (new.id, "acme")
    assert (claimed.claim.epoch, claimed.claim.lease_seconds) == (2, 7.5)
    assert (claimed.caller.user_id, claimed.caller.credential) == (people.ann.user_id, "turn")
    assert (claimed.question, claimed.agent_version) == (new.question, AGENT)
    assert (claimed.last_seq, claimed.attempt, claimed.losses, claimed.age_seconds) == (1, 1, 0, 0.0)
    assert claimed.first_in_conversation
    assert (claimed.checkpoint, claimed.tools) == (None, {})
    assert (await turn_store.get(people.ann, new.id)).state is TurnState.RUNNING
    assert await claim_all(turn_store, owner) == []
    await append(turn_store, claimed.claim, row(2))


async def test_a_lost_turn_is_taken_over_from_where_it_stood(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    new, alive = new_turn(), new_turn()
    await accept_all(turn_store, people.ann, new, alive)
    left = checkpoint(3, 12, b"graph")
    await append(turn_store, claim_of(new), row(2, 5), checkpoint=left, tools=[MAIL])
    run_out(database_urls, new.id)
    database_urls.ask("UPDATE responsa.turn SET begin_time = begin_time - interval '20 s'")
    (claimed,) = await claim_all(turn_store)
    assert (claimed.claim.turn_id, claimed.claim.epoch) == (new.id, 2)
    assert (claimed.last_seq, claimed.attempt, claimed.losses) == (5, 2, 1)
    assert 20 <= claimed.age_seconds < 80
    assert claimed.checkpoint == left
    assert tool_ledger(claimed) == {"call-1": (None, "")}
    for write in (row(6), row(2, 5)):
        assert isinstance((await turn_store.append([append_of(claim_of(new), write)]))[new.id], TurnLost)
    assert await turn_store.renew([claim_of(new), claim_of(alive)]) == [new.id]
    run_out(database_urls, new.id)
    (again,) = await claim_all(turn_store)
    assert (again.claim.epoch, again.attempt, again.losses) == (3, 3, 2)


async def test_a_checkpoint_sets_the_count_of_losses_to_0_and_an_event_does_not(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    further, repeats = new_turn(), new_turn()
    await accept_all(turn_store, people.ann, further, repeats)
    run_out(database_urls, further.id, repeats.id)
    for claimed in await claim_all(turn_store):
        left = checkpoint(2) if claimed.claim.turn_id == further.id else None
        await append(turn_store, claimed.claim, row(2), checkpoint=left)
    run_out(database_urls, further.id, repeats.id)
    taken = await claim_all(turn_store)
    assert {one.claim.turn_id: one.losses for one in taken} == {further.id: 1, repeats.id: 2}


async def test_a_claim_takes_one_of_the_turns_that_lost_two_workers(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    first, second, released, healthy = (new_turn() for _ in range(4))
    await accept_all(turn_store, people.ann, first, second, released, healthy)
    suspects = [first.id, second.id, released.id]
    database_urls.ask("UPDATE responsa.turn SET losses = 1 WHERE id = ANY (%s)", suspects)
    database_urls.ask("UPDATE responsa.turn SET losses = 2 WHERE id = %s", released.id)
    run_out(database_urls, first.id, second.id, healthy.id)
    await turn_store.release([claim_of(released)])
    without = await turn_store.claim(uuid7(), [AGENT], 60.0, 9, suspects=False)
    assert [one.claim.turn_id for one in without] == [healthy.id]
    taken = [[(one.claim.turn_id, one.losses) for one in await claim_all(turn_store)] for _ in range(4)]
    assert taken == [[(first.id, 2)], [(second.id, 2)], [(released.id, 2)], []]


@pytest.mark.parametrize("how", ["lost", "released", "joined", "overtaken"])
async def test_only_a_turn_that_was_lost_alone_is_the_cause(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls, how: str
) -> None:
    new = await accepted_turn(turn_store, people.ann)
    await turn_store.mark_alone(claim_of(new, epoch=7 if how == "overtaken" else 1), True)
    if how == "joined":
        await turn_store.mark_alone(claim_of(new), False)
    if how == "released":
        await turn_store.release([claim_of(new)])
    else:
        run_out(database_urls, new.id)
    (claimed,) = await claim_all(turn_store)
    assert claimed.lost_alone is (how == "lost")
    run_out(database_urls, new.id)  # the next worker is lost before it has written the end
    (again,) = await claim_all(turn_store)
    assert again.lost_alone is (how == "lost")


async def test_a_released_turn_is_taken_at_once_and_counts_no_loss(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    new, kept, ended, late = (new_turn() for _ in range(4))
    await accept_all(turn_store, people.ann, new, kept, ended, late)
    await turn_store.finish(claim_of(ended), [row(2)], FAILED)
    database_urls.ask("UPDATE responsa.turn SET epoch = 2 WHERE id = %s", late.id)
    await turn_store.release([claim_of(turn) for turn in (new, ended, late, new_turn())])
    (claimed,) = await claim_all(turn_store)
    assert (claimed.claim.turn_id, claimed.attempt, claimed.losses) == (new.id, 2, 0)
    # A late repetition of a release does not release the turn that the next worker holds.
    await turn_store.release([claim_of(new)])
    await turn_store.release([])
    assert await claim_all(turn_store) == []


async def test_the_first_question_of_a_conversation_is_known_to_have_no_history(
    turn_store: PostgresTurnStore, people: People
) -> None:
    first = await accepted_turn(turn_store, people.ann)
    for conclusion, expected in ((FAILED, True), (answered(), False)):
        await turn_store.finish(claim_of(first), [row(2)], conclusion)
        await accepted_turn(turn_store, people.ann, conversation=first.conversation_id, pending=True)
        (claimed,) = await claim_all(turn_store)
        assert claimed.first_in_conversation is expected
        await turn_store.finish(claimed.claim, [row(2)], FAILED)
        first = await accepted_turn(turn_store, people.ann, conversation=first.conversation_id)


async def test_a_worker_takes_the_oldest_of_its_versions_and_no_more_than_it_has_places_for(
    turn_store: PostgresTurnStore, people: People
) -> None:
    turns = [new_turn(pending=True) for _ in range(5)]
    foreign = new_turn(pending=True, version="agents/other/versions/1")
    await accept_all(turn_store, people.ann, foreign, *turns)
    taken = [[one.claim.turn_id for one in await claim_all(turn_store, most=2)] for _ in range(4)]
    assert taken == [[turns[0].id, turns[1].id], [turns[2].id, turns[3].id], [turns[4].id], []]
    assert await turn_store.claim(uuid7(), [], 60.0, 9) == []
    assert await turn_store.claim(uuid7(), ["agents/other/versions/1"], 60.0, 0) == []
    (other,) = await turn_store.claim(uuid7(), [AGENT, "agents/other/versions/1"], 60.0, 9)
    assert other.claim.turn_id == foreign.id


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "pending"])
async def test_of_many_claimers_each_turn_has_one(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls, lost: bool
) -> None:
    turns = [new_turn(pending=not lost) for _ in range(30)]
    await accept_all(turn_store, people.ann, *turns)
    if lost:
        run_out(database_urls, *(new.id for new in turns))
    taken = await asyncio.gather(*(claim_all(turn_store, most=7) for _ in range(8)))
    counted = Counter(one.claim.turn_id for part in taken for one in part)
    assert counted == dict.fromkeys((new.id for new in turns), 1)
    assert max(len(part) for part in taken) == 7
    assert database_urls.value("SELECT max(epoch) FROM responsa.turn") == 2


async def test_a_turn_that_is_being_claimed_is_passed_over_not_waited_for(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    held, free = new_turn(pending=True), new_turn(pending=True)
    await accept_all(turn_store, people.ann, held, free)
    async with locked(database_urls, "turn", held.id):
        assert [one.claim.turn_id for one in await claim_all(turn_store)] == [free.id]
    assert [one.claim.turn_id for one in await claim_all(turn_store)] == [held.id]


async def test_an_append_that_comes_first_keeps_the_turn_and_one_that_comes_later_is_lost(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    """The lease expired while the turn's worker was paused. The worker that writes first gets the turn."""
    kept, taken = new_turn(), new_turn()
    await accept_all(turn_store, people.ann, kept, taken)
    run_out(database_urls, kept.id, taken.id)
    await append(turn_store, claim_of(kept), row(2))
    assert [one.claim.turn_id for one in await claim_all(turn_store)] == [taken.id]
    assert await turn_store.append([append_of(claim_of(kept), row(3))]) == {}
    assert isinstance((await turn_store.append([append_of(claim_of(taken), row(2))]))[taken.id], TurnLost)
    assert await rows_of(turn_store, people.ann, taken) == [STARTED]


async def test_what_is_written_just_before_a_claim_is_read_by_it(
    database: Database, people: People, database_urls: DatabaseUrls
) -> None:
    """The last worker writes to the turn and releases it after the claim has begun. The claim must use the turn's new state and ledger."""
    gate = (
        "claim_turns",
        "SELECT id, state, lease_until FROM responsa.turn",
        "SELECT id, state, lease_until FROM (SELECT pg_advisory_xact_lock(7)) AS gate, responsa.turn",
    )
    told = ("claim_turns", "FOR NO KEY UPDATE SKIP LOCKED", "FOR NO KEY UPDATE OF turn SKIP LOCKED")
    store = PostgresTurnStore(database, PlainCodec())
    gated = PostgresTurnStore(database, PlainCodec(), queries=Edited(gate, told))
    new = await accepted_turn(store, people.ann)
    run_out(database_urls, new.id)
    with psycopg.connect(database_urls.superuser) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(7)")
        claiming = asyncio.ensure_future(claim_all(gated))
        await until_somebody_waits(database_urls, claiming)
        await append(store, claim_of(new), row(2), checkpoint=checkpoint(2), tools=[MAIL])
        await store.release([claim_of(new)])
    (claimed,) = await claiming
    assert (claimed.last_seq, claimed.checkpoint) == (2, checkpoint(2))
    assert tool_ledger(claimed) == {"call-1": (None, "")}


async def test_a_claim_whose_commit_was_not_heard_of_is_taken_up_again(
    cut_database: CutDatabase, people: People, database_urls: DatabaseUrls
) -> None:
    store = PostgresTurnStore(cut_database, PlainCodec())
    owner = uuid7()
    fresh, lost = new_turn(pending=True), new_turn()
    await accept_all(store, people.ann, fresh, lost)
    await append(store, claim_of(lost), row(2), checkpoint=checkpoint(2), tools=[MAIL])
    run_out(database_urls, lost.id)
    # The first cut comes after the statement that promotes turns, and before any claim.
    for cuts in (1, 2, 2):
        await raises(Unavailable, _claim_and_cut(store, cut_database, owner, cuts))
    taken = {one.claim.turn_id: one for one in await claim_all(store, owner)}
    assert {turn: one.claim.epoch for turn, one in taken.items()} == {fresh.id: 2, lost.id: 2}
    assert (taken[lost.id].attempt, taken[lost.id].losses) == (2, 1)
    assert (taken[lost.id].checkpoint, tool_ledger(taken[lost.id])) == (checkpoint(2), {"call-1": (None, "")})
    assert await claim_all(store, owner) == []
    assert (
        await store.append(
            [append_of(taken[fresh.id].claim, row(2)), append_of(taken[lost.id].claim, row(3))]
        )
        == {}
    )


async def _claim_and_cut(store: PostgresTurnStore, database: CutDatabase, owner: UUID, cuts: int) -> None:
    """Claim turns. The connection is lost after commit number `cuts`."""
    database.skip, database.cut = cuts - 1, 1
    await claim_all(store, owner)


async def test_a_claim_that_was_not_heard_of_is_not_taken_up_once_somebody_else_has_it(
    cut_database: CutDatabase, people: People, database_urls: DatabaseUrls
) -> None:
    store = PostgresTurnStore(cut_database, PlainCodec())
    owner = uuid7()
    new = await accepted_turn(store, people.ann, pending=True)
    await raises(Unavailable, _claim_and_cut(store, cut_database, owner, 2))
    run_out(database_urls, new.id)
    other = PostgresTurnStore(cut_database, PlainCodec())
    (taken,) = await claim_all(other)
    assert (taken.claim.epoch, taken.losses) == (3, 1)
    assert await claim_all(store, owner) == []


async def test_what_is_spent_on_a_turn_that_was_taken_is_booked_once_an_epoch(
    cut_database: CutDatabase, people: People, database_urls: DatabaseUrls
) -> None:
    store = PostgresTurnStore(cut_database, PlainCodec())
    new = await accepted_turn(store, people.ann)
    run_out(database_urls, new.id)
    (claimed,) = await claim_all(store)
    cut_database.cut = 1
    await raises(Unavailable, store.record_usage(claim_of(new), Usage(1, 10, 100, 7, 8)))
    await store.record_usage(claim_of(new), Usage(1, 10, 100, 7, 8))
    await store.record_usage(claimed.claim, Usage(0, 2, 3, 20, 30))
    await store.record_usage(claim_of(new_turn()), Usage(5, 5, 5))
    await store.finish(claimed.claim, [row(2)], FAILED)
    assert (await store.get(people.ann, new.id)).usage == Usage(1, 12, 103, 27, 38)
    assert database_urls.value("SELECT count(*) FROM responsa.turn_spent") == 2


async def test_a_worker_that_stops_in_the_midst_of_a_finish_does_not_keep_its_turn(
    turn_store: PostgresTurnStore, database: Database, people: People, database_urls: DatabaseUrls
) -> None:
    """A session locks the turn's row and then does nothing. PostgreSQL ends the session's transaction after a time limit, which is short in
    this test.
    """
    new = await accepted_turn(turn_store, people.ann)
    run_out(database_urls, new.id)
    taken: list[ClaimedTurn] = []

    async def stops() -> None:
        async with database.locking("acme", 1) as connection:
            await connection.execute("SELECT FROM responsa.turn FOR UPDATE")
            assert await claim_all(turn_store) == []
            while not taken:
                taken.extend(await claim_all(turn_store))
            await connection.execute("SELECT 1")

    await raises(Unavailable, stops())
    assert [one.claim.turn_id for one in taken] == [new.id]


async def test_a_worker_takes_nothing_from_itself_that_it_still_runs(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    owner, other = uuid7(), uuid7()
    new = await accepted_turn(turn_store, people.ann, pending=True)
    (claimed,) = await claim_all(turn_store, owner)
    run_out(database_urls, new.id)
    assert await turn_store.claim(owner, [AGENT], 60.0, 9, [new.id]) == []
    assert await turn_store.renew([claimed.claim]) == []
    run_out(database_urls, new.id)
    # The call names the turn, but another process owns it.
    (taken,) = await turn_store.claim(other, [AGENT], 60.0, 9, [new.id])
    assert taken.claim.epoch == 3
    run_out(database_urls, new.id)
    # The turn ran here under an older epoch and was lost to another process, whose lease has now expired.
    (again,) = await turn_store.claim(owner, [AGENT], 60.0, 9, [new.id])
    assert again.claim.epoch == 4
    run_out(database_urls, new.id)
    # This process owns the turn, but does not run it.
    (left,) = await turn_store.claim(owner, [AGENT], 60.0, 9, [uuid7()])
    assert left.claim.epoch == 5
