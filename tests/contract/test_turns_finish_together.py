"""Several finishes of one transaction: each is fenced for itself."""

from __future__ import annotations

import asyncio
from itertools import product

from responsa_server.domain.ports.turns import TurnLost
from responsa_server.domain.turns import TurnState
from responsa_server.stores.postgres.turns import PostgresTurnStore
from tests.conftest import DatabaseUrls
from tests.contract.conftest import People, new_turn
from tests.contract.turn_steps import (
    FAILED,
    STARTED,
    answered,
    cancelled,
    change,
    citation,
    claim_of,
    count,
    outcome,
    row,
    rows_of,
)


async def test_an_older_hold_on_a_turn_that_ends_at_the_same_time_writes_nothing(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    """A process may have lost a turn and taken it again while its first finish is on the way."""
    for late_first, conclusion in product((True, False), (FAILED, answered(citation()))):
        new = new_turn()
        await turn_store.accept(people.ann, new, cancelled)
        change(database_urls, "UPDATE responsa.turn SET epoch = 2 WHERE id = %s", new.id)
        before = count(database_urls)
        late = outcome(
            lambda new=new, conclusion=conclusion: turn_store.finish(claim_of(new), [row(2, 3)], conclusion)
        )
        own = turn_store.finish(claim_of(new, epoch=2), [row(2, 5)], answered())
        results = await asyncio.gather(*((late, own) if late_first else (own, late)))
        lost, ended = results if late_first else reversed(results)
        assert isinstance(lost, TurnLost)
        assert ended is False
        after = count(database_urls)
        assert (after["message"], after["citation"]) == (before["message"] + 2, before["citation"])
        assert await rows_of(turn_store, people.ann, new) == [STARTED, row(2, 5)]
        assert (await turn_store.get(people.ann, new.id)).state is TurnState.ANSWERED
