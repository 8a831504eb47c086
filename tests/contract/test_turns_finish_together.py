"""Turns that end at the same time share a transaction, whatever their tenants, but each has its own result."""

from __future__ import annotations

import asyncio
from itertools import product

import psycopg
import pytest

from responsa_server.domain.turns import OnBusy, TurnLost, TurnState
from tests.contract.turn_harness import citation
from tests.contract.turn_steps import (
    FAILED,
    STARTED,
    Store,
    answered,
    claim_of,
    end,
    locked,
    new_turn,
    outcome,
    row,
    until_somebody_waits,
)


async def test_an_older_hold_on_a_turn_that_ends_at_the_same_time_writes_nothing(store: Store) -> None:
    """A process may have lost a turn and claimed it again while the first finish of that turn is still on the way."""
    for late_first, conclusion in product((True, False), (FAILED, answered(citation()))):
        new = await store.make()
        store.urls.ask("UPDATE responsa.turn SET epoch = 2 WHERE id = %s", new.id)
        before = store.count()
        late = outcome(
            lambda new=new, conclusion=conclusion: store.finish(claim_of(new), [row(2), row(3)], conclusion)
        )
        own = store.finish(claim_of(new, epoch=2), [row(2, 4), row(5)], answered())
        results = await asyncio.gather(*((late, own) if late_first else (own, late)))
        lost, ended = results if late_first else reversed(results)
        assert isinstance(lost, TurnLost)
        assert ended is False
        after = store.count()
        assert (after["message"], after["citation"]) == (before["message"] + 2, before["citation"])
        assert await store.rows(new) == [STARTED, row(2, 4), end(new.id, 5, b"answer")]
        assert await store.state(new) is TurnState.ANSWERED


async def test_turns_that_end_at_once_end_in_one_transaction_each_with_what_is_its_own(store: Store) -> None:
    cited = citation()
    ends = [
        (store.ann, new_turn(), [row(2, 3, deltas=True), row(4), row(5)], answered(cited)),
        (store.bob, new_turn(), [row(2)], FAILED),
        (store.ann, new_turn(), [row(2, 6), row(7)], answered()),
        (store.eve, new_turn(), [row(2, 3), row(4)], FAILED),
    ]
    for caller, new, *_ in ends:
        await store.take(new, caller)
    waits = await store.make(caller=store.bob, conversation=ends[1][1].conversation_id, on_busy=OnBusy.QUEUE)
    promoted = await asyncio.gather(
        *(
            store.finish(claim_of(new, tenant=who.tenant_id), rows, conclusion)
            for who, new, rows, conclusion in ends
        )
    )
    assert promoted == [False, True, False, False]
    assert await store.state(waits, store.bob) is TurnState.PENDING
    for caller, new, rows, conclusion in ends:
        assert await store.state(new, caller) is conclusion.state
        assert await store.rows(new, caller) == [
            STARTED,
            *rows[:-1],
            end(new.id, rows[-1].last_seq, conclusion.terminal),
        ]
        said = await store.conversations.history(caller, new.conversation_id, 10)
        assert [(one.id, tuple(one.citations)) for one in said] == [
            (message.id, tuple(message.citations)) for message in conclusion.messages
        ]
    transactions = "SELECT count(DISTINCT xmin::text) FROM responsa.turn WHERE end_time IS NOT NULL"
    assert store.urls.value(transactions) == 1


@pytest.mark.parametrize("table", ["conversation", "turn"])
async def test_a_turn_that_has_to_wait_keeps_no_other_from_its_end(store: Store, table: str) -> None:
    news = [new_turn() for _ in range(3)]
    await store.take_all(*news)
    _, held, _ = news
    waits = await store.make(conversation=held.conversation_id, on_busy=OnBusy.QUEUE)
    async with locked(store.urls, table, held.id if table == "turn" else held.conversation_id):
        one, waiting, other = (
            asyncio.ensure_future(store.finish(claim_of(new), [row(2)], FAILED)) for new in news
        )
        assert await asyncio.gather(one, other) == [False, False]
        await until_somebody_waits(store.urls, waiting)
    assert await waiting
    assert await store.state(waits) is TurnState.PENDING
    assert [(await store.state(new)) for new in news] == [TurnState.FAILED] * 3


async def test_a_turn_whose_end_cannot_be_stored_keeps_no_other_from_its_end(store: Store) -> None:
    news = [new_turn() for _ in range(3)]
    await store.take_all(*news)
    conclusions = (FAILED, answered(*[citation() for _ in range(65)]), answered(citation()))
    outcomes = await asyncio.gather(
        *(
            store.finish(claim_of(new), [row(2)], conclusion)
            for new, conclusion in zip(news, conclusions, strict=True)
        ),
        return_exceptions=True,
    )
    assert [outcomes[0], type(outcomes[1]), outcomes[2]] == [False, psycopg.errors.CheckViolation, False]
    states = [(await store.state(new)) for new in news]
    assert states == [TurnState.FAILED, TurnState.RUNNING, TurnState.ANSWERED]
