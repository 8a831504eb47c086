"""Checkpoints: how long they are kept, and what deletes them earlier."""

from __future__ import annotations

import asyncio

from uuid_utils.compat import uuid7

from responsa_server.domain.agents import Barrier, Milestone
from responsa_server.domain.events import Delta, Usage
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.turns import NewTurn, OnBusy, TurnState
from responsa_server.stores.postgres.turns import PostgresTurnStore
from responsa_server.turns.settings import TurnOptions
from tests.contract.turn_harness import QUICK, RIVER, SEARCHING, Cast, Script, Services, answer
from tests.contract.turn_steps import FAILED, Store, cancelled, checkpoint, claim_of, locked, new_turn, row

LEFT = "SELECT coalesce(array_agg(turn_id ORDER BY turn_id), '{}') FROM responsa.turn_checkpoint"
AGE = "UPDATE responsa.turn_checkpoint SET update_time = now() - interval '25 h' WHERE turn_id = ANY (%s)"


class PrunedStore(PostgresTurnStore):
    """A turn store that reports when checkpoints have been deleted."""

    def __init__(self, store: PostgresTurnStore, pruned: asyncio.Event) -> None:
        self.__dict__.update(store.__dict__)
        self._pruned = pruned

    async def prune_checkpoints(self, hours: float) -> int:
        dropped = await super().prune_checkpoints(hours)
        if dropped:
            self._pruned.set()
        return dropped


async def checkpointed(store: Store, number: int) -> list[NewTurn]:
    """Accept `number` running turns, each with a checkpoint."""
    made = [new_turn() for _ in range(number)]
    for new in made:
        await store.take(new)
        await store.write(new, row(2), checkpoint=checkpoint(2))
    return made


async def test_what_is_too_old_goes_where_nobody_runs_the_turn(store: Store) -> None:
    lost, young, runs, released = await checkpointed(store, 4)
    store.run_out(lost, young)
    await store.release([claim_of(released)])
    store.urls.ask(AGE, [lost.id, runs.id, released.id])
    assert await store.prune_checkpoints(26) == 0
    assert await store.prune_checkpoints(24) == 2
    assert store.urls.value(LEFT) == [young.id, runs.id]
    assert await store.prune_checkpoints(24) == 0

    # A worker that takes over a turn without its checkpoint starts the turn from the beginning. The turn's earlier cost still counts.
    taken = {one.claim.turn_id: one for one in await store.claim_all()}
    assert set(taken) == {lost.id, young.id, released.id}
    assert taken[lost.id].checkpoint is taken[released.id].checkpoint is None
    assert taken[young.id].checkpoint == checkpoint(2)
    await store.record_usage(claim_of(lost), Usage(0, 0, 5))
    await store.finish(taken[lost.id].claim, [row(3)], FAILED)
    spent = checkpoint(2).usage + Usage(0, 0, 5)
    assert (await store.get(store.ann, lost.id)).usage == spent
    page = await store.list(store.ann, ListQuery(10, Order("create_time")))
    assert page.items[0].usage == spent


async def test_one_that_is_written_again_is_young_again(store: Store) -> None:
    (new,) = await checkpointed(store, 1)
    store.urls.ask(AGE, [new.id])
    await store.write(new, row(3), checkpoint=checkpoint(3))
    store.run_out(new)
    assert await store.prune_checkpoints(24) == 0


async def test_a_turn_that_is_just_being_taken_keeps_what_it_goes_on_from(store: Store) -> None:
    held, other = await checkpointed(store, 2)
    store.run_out(held, other)
    store.urls.ask(AGE, [held.id, other.id])
    async with locked(store.urls, "turn", held.id):
        assert await store.prune_checkpoints(24) == 1
    assert store.urls.value(LEFT) == [held.id]


async def test_what_has_outlived_its_turn_goes(store: Store) -> None:
    ended, gone = await checkpointed(store, 2)
    store.end_alone(ended)
    store.urls.ask("DELETE FROM responsa.turn WHERE id = %s", gone.id)
    assert await store.prune_checkpoints(24) == 0
    store.urls.ask(AGE, [ended.id, gone.id])
    assert await store.prune_checkpoints(24) == 2
    assert store.urls.value(LEFT) == []
    assert store.urls.value("SELECT count(*) FROM responsa.turn_spent") == 0


async def test_the_end_of_a_turn_and_of_its_conversation_take_it_away_at_once(store: Store) -> None:
    finished, stopped, interrupted, deleted = await checkpointed(store, 4)
    await store.finish(claim_of(finished), [row(3)], FAILED)
    await store.cancel(store.ann, stopped.id, True, cancelled)
    await store.make(conversation=interrupted.conversation_id, on_busy=OnBusy.INTERRUPT)
    assert store.urls.value(LEFT) == [deleted.id]
    # If a bug left a checkpoint, it is deleted with its conversation.
    store.end_alone(deleted)
    await store.conversations.delete(store.ann, deleted.conversation_id, "")
    assert store.urls.value(LEFT) == []


async def test_a_process_prunes_what_its_options_say(store: Store, services: Services) -> None:
    young, old = await checkpointed(store, 2)
    store.run_out(young, old)
    store.urls.ask(AGE, [young.id, old.id])
    store.urls.ask(AGE.replace("25 h", "27 h"), [old.id])
    # This process has no workers, so that it does not claim the turns.
    options = TurnOptions(works=False, checkpoint_hours=26.0, prune_seconds=0.02)
    pruned = asyncio.Event()
    async with services.turns(options=options, store=lambda store: PrunedStore(store, pruned)):
        await pruned.wait()
        assert store.urls.value(LEFT) == [young.id]


async def test_a_turn_goes_on_with_its_version_wherever_that_still_is_and_nowhere_else(
    store: Store, services: Services
) -> None:
    """A newer version of the agent answers new questions, but it cannot use a checkpoint of an older version."""
    v1, v2 = (f"agents/default/versions/{number}" for number in (1, 2))
    steps = [SEARCHING, Delta("It ", 0), Milestone(b"of version 1"), Barrier(), asyncio.Event()]
    first = Script(steps, version=v1)
    async with services.turns(first, QUICK) as turns:
        accepted = await turns.accept(store.ann, RIVER, None)
        await first.waiting.wait()
    assert store.urls.value(LEFT) == [accepted.turn_id]
    newer = Script(version=v2)
    async with services.turns(newer, QUICK) as turns:
        other = await turns.accept(store.ann, RIVER, None)
        assert (await turns.wait(store.ann, other.turn_id)).agent_version == v2
        assert await store.claim(uuid7(), [v2], 30.0, 9) == []
    assert [task.turn_id for task in newer.tasks] == [other.turn_id]
    older = Script(resumed=[answer("It is.")], version=v1)
    async with services.turns(Cast({"": newer, "superseded": older}), QUICK) as turns:
        turn = await turns.wait(store.ann, accepted.turn_id)
        asked = await turns.accept(store.ann, RIVER, None)
        assert (await turns.wait(store.ann, asked.turn_id)).agent_version == v2
    assert (turn.state, turn.agent_version) == (TurnState.ANSWERED, v1)
    assert [task.resume for task in older.tasks] == [b"of version 1"]
    assert store.urls.value(LEFT) == []
