"""Checkpoints: how long they are kept, and what deletes them earlier."""

from __future__ import annotations

import asyncio

from uuid_utils.compat import uuid7

from responsa_server.domain.agents import Barrier, Milestone
from responsa_server.domain.events import Delta, Usage
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.turns import NewTurn, OnBusy, Question, TurnState
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.turns import PostgresTurnStore
from responsa_server.turns.settings import TurnOptions
from tests.conftest import DatabaseUrls
from tests.contract.conftest import People, new_turn
from tests.contract.turn_harness import QUICK, SEARCHING, Cast, Script, Services, answer
from tests.contract.turn_steps import (
    FAILED,
    accepted_turn,
    append,
    cancelled,
    checkpoint,
    claim_all,
    claim_of,
    locked,
    row,
    run_out,
)

LEFT = "SELECT coalesce(array_agg(turn_id ORDER BY turn_id), '{}') FROM responsa.turn_checkpoint"
AGE = "UPDATE responsa.turn_checkpoint SET update_time = now() - interval '25 h' WHERE turn_id = ANY (%s)"
RIVER = Question("How long is the river?")


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


async def checkpointed(store: PostgresTurnStore, people: People, number: int) -> list[NewTurn]:
    """Accept `number` running turns, each with a checkpoint."""
    made = [new_turn() for _ in range(number)]
    for new in made:
        await store.accept(people.ann, new, cancelled)
        await append(store, claim_of(new), row(2), checkpoint=checkpoint(2))
    return made


async def test_what_is_too_old_goes_where_nobody_runs_the_turn(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    lost, young, runs, released = await checkpointed(turn_store, people, 4)
    run_out(database_urls, lost.id, young.id)
    await turn_store.release([claim_of(released)])
    database_urls.ask(AGE, [lost.id, runs.id, released.id])
    assert await turn_store.prune_checkpoints(26) == 0
    assert await turn_store.prune_checkpoints(24) == 2
    assert database_urls.value(LEFT) == [young.id, runs.id]
    assert await turn_store.prune_checkpoints(24) == 0

    # A worker that takes over a turn without its checkpoint starts the turn from the beginning. The turn's earlier cost still counts.
    taken = {one.claim.turn_id: one for one in await claim_all(turn_store)}
    assert set(taken) == {lost.id, young.id, released.id}
    assert taken[lost.id].checkpoint is taken[released.id].checkpoint is None
    assert taken[young.id].checkpoint == checkpoint(2)
    await turn_store.record_usage(claim_of(lost), Usage(0, 0, 5))
    await turn_store.finish(taken[lost.id].claim, [row(3)], FAILED)
    spent = checkpoint(2).usage + Usage(0, 0, 5)
    assert (await turn_store.get(people.ann, lost.id)).usage == spent
    page = await turn_store.list(people.ann, ListQuery(10, Order("create_time")))
    assert page.items[0].usage == spent


async def test_one_that_is_written_again_is_young_again(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    (new,) = await checkpointed(turn_store, people, 1)
    database_urls.ask(AGE, [new.id])
    await append(turn_store, claim_of(new), row(3), checkpoint=checkpoint(3))
    run_out(database_urls, new.id)
    assert await turn_store.prune_checkpoints(24) == 0


async def test_a_turn_that_is_just_being_taken_keeps_what_it_goes_on_from(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    held, other = await checkpointed(turn_store, people, 2)
    run_out(database_urls, held.id, other.id)
    database_urls.ask(AGE, [held.id, other.id])
    async with locked(database_urls, "turn", held.id):
        assert await turn_store.prune_checkpoints(24) == 1
    assert database_urls.value(LEFT) == [held.id]


async def test_what_has_outlived_its_turn_goes(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    ended, gone = await checkpointed(turn_store, people, 2)
    database_urls.ask(
        "UPDATE responsa.turn SET state = 'failed', terminal = 'x', end_time = now() WHERE id = %s",
        ended.id,
    )
    database_urls.ask("DELETE FROM responsa.turn WHERE id = %s", gone.id)
    assert await turn_store.prune_checkpoints(24) == 0
    database_urls.ask(AGE, [ended.id, gone.id])
    assert await turn_store.prune_checkpoints(24) == 2
    assert database_urls.value(LEFT) == []
    assert database_urls.value("SELECT count(*) FROM responsa.turn_spent") == 0


async def test_the_end_of_a_turn_and_of_its_conversation_take_it_away_at_once(
    turn_store: PostgresTurnStore,
    conversation_store: PostgresConversationStore,
    people: People,
    database_urls: DatabaseUrls,
) -> None:
    finished, stopped, interrupted, deleted = await checkpointed(turn_store, people, 4)
    await turn_store.finish(claim_of(finished), [row(3)], FAILED)
    await turn_store.cancel(people.ann, stopped.id, True, cancelled)
    await accepted_turn(
        turn_store, people.ann, conversation=interrupted.conversation_id, on_busy=OnBusy.INTERRUPT
    )
    assert database_urls.value(LEFT) == [deleted.id]
    # If a bug left a checkpoint, it is deleted with its conversation.
    database_urls.ask(
        "UPDATE responsa.turn SET state = 'failed', terminal = 'x', end_time = now() WHERE id = %s",
        deleted.id,
    )
    await conversation_store.delete(people.ann, deleted.conversation_id, "")
    assert database_urls.value(LEFT) == []


async def test_a_process_prunes_what_its_options_say(
    services: Services, turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    young, old = await checkpointed(turn_store, people, 2)
    run_out(database_urls, young.id, old.id)
    database_urls.ask(AGE, [young.id, old.id])
    database_urls.ask(AGE.replace("25 h", "27 h"), [old.id])
    # This process has no workers, so that it does not claim the turns.
    options = TurnOptions(works=False, checkpoint_hours=26.0, prune_seconds=0.02)
    pruned = asyncio.Event()
    async with services.turns(options=options, store=lambda store: PrunedStore(store, pruned)):
        await pruned.wait()
        assert database_urls.value(LEFT) == [young.id]


async def test_a_turn_goes_on_with_its_version_wherever_that_still_is_and_nowhere_else(
    services: Services, turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    """A newer version of the agent answers new questions, but it cannot use a checkpoint of an older version."""
    v1, v2 = (f"agents/default/versions/{number}" for number in (1, 2))
    steps = [SEARCHING, Delta("It ", 0), Milestone(b"of version 1"), Barrier(), asyncio.Event()]
    first = Script(steps, version=v1)
    async with services.turns(first, QUICK) as turns:
        accepted = await turns.accept(people.ann, RIVER, None)
        await first.waiting.wait()
    assert database_urls.value(LEFT) == [accepted.turn_id]
    newer = Script(version=v2)
    async with services.turns(newer, QUICK) as turns:
        other = await turns.accept(people.ann, RIVER, None)
        assert (await turns.wait(people.ann, other.turn_id)).agent_version == v2
        assert await turn_store.claim(uuid7(), [v2], 30.0, 9) == []
    assert [task.turn_id for task in newer.tasks] == [other.turn_id]
    older = Script(resumed=[answer("It is.")], version=v1)
    async with services.turns(Cast({"": newer, "superseded": older}), QUICK) as turns:
        turn = await turns.wait(people.ann, accepted.turn_id)
        asked = await turns.accept(people.ann, RIVER, None)
        assert (await turns.wait(people.ann, asked.turn_id)).agent_version == v2
    assert (turn.state, turn.agent_version) == (TurnState.ANSWERED, v1)
    assert [task.resume for task in older.tasks] == [b"of version 1"]
    assert database_urls.value(LEFT) == []
