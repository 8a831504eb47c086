"""A worker ends its turn once, in one transaction, and makes room for the next turn. Turns that end at the same time
share a transaction, whatever their tenants, but each has its own result."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import product

import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.conversations import Speaker
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import (
    MAX_CITATIONS,
    ByteRange,
    Difference,
    DifferenceKind,
    JudgeVerdict,
    QuoteOrigin,
    RefusalReason,
    Usage,
)
from responsa_server.domain.turns import Conclusion, NewMessage, OnBusy, TurnLost, TurnState
from tests.contract.turn_harness import citation
from tests.contract.turn_steps import (
    FAILED,
    STARTED,
    Store,
    answered,
    append_of,
    cancelled,
    checkpoint,
    claim_of,
    end,
    locked,
    new_turn,
    outcome,
    race,
    row,
    until_somebody_waits,
)
from tests.raising import raises


async def test_a_finish_writes_everything_at_once(store: Store) -> None:
    new = await store.make("How long is the Nile?", request_id=uuid7())
    created = await store.conversations.get(store.ann, new.conversation_id)
    differences = (
        Difference(DifferenceKind.QUANTITY, ByteRange(4, 6), ByteRange(12, 17)),
        Difference(DifferenceKind.NAME, ByteRange(7, 9)),
    )
    cited = [
        replace(citation(), quote_origin=origin, verdict=verdict)
        for origin, verdict in zip((*QuoteOrigin, QuoteOrigin.COPIED), JudgeVerdict, strict=True)
    ]
    cited[0] = replace(cited[0], differences=differences)
    cited[2] = replace(cited[2], quote="")
    conclusion = answered(*cited)
    await store.finish(claim_of(new), [row(2, 3, deltas=True), row(4), row(5)], conclusion)
    turn = await store.get(store.ann, new.id)
    assert (turn.state, turn.last_seq, turn.terminal, turn.usage) == (
        TurnState.ANSWERED,
        5,
        b"answer",
        Usage(11),
    )
    assert turn.end_time is not None
    backlog = await store.backlog(store.ann, new.id, 1, 10)
    rows = [row(2, 3, deltas=True), row(4), end(new.id, 5, b"answer")]
    assert (list(backlog.rows), backlog.end_seq) == (rows, 5)
    conversation = await store.conversations.get(store.ann, new.conversation_id)
    assert conversation.title == "How long is the Nile?"
    assert conversation.active_turn is None
    assert conversation.update_time > created.update_time
    assert conversation.etag != created.etag
    asked, replied = await store.conversations.history(store.ann, new.conversation_id, 10)
    assert (asked.speaker, asked.text) == (Speaker.USER, "How long is the Nile?")
    assert (replied.speaker, list(replied.citations)) == (Speaker.ASSISTANT, cited)
    assert await store.conversations.answer_of(store.ann, new.id) == replied
    again = await store.take(new_turn("And now?", conversation=new.conversation_id))
    assert not again.attached


async def test_a_failure_leaves_no_message_and_the_conversation_as_it_was(store: Store) -> None:
    new = await store.make()
    before = await store.conversations.get(store.ann, new.conversation_id)
    await store.finish(claim_of(new), [row(2)], FAILED)
    after = await store.conversations.get(store.ann, new.conversation_id)
    assert (after.title, after.update_time, after.etag) == (before.title, before.update_time, before.etag)
    assert await store.conversations.history(store.ann, new.conversation_id, 10) == []
    assert await store.conversations.answer_of(store.ann, new.id) is None


# A turn that was stopped because its user lost access leaves no message.
@pytest.mark.parametrize("reason", [one for one in RefusalReason if one is not RefusalReason.NOT_PERMITTED])
async def test_a_refusal_leaves_the_question_and_the_typed_refusal(
    store: Store, reason: RefusalReason
) -> None:
    new = await store.make()
    messages = (
        NewMessage(uuid7(), Speaker.USER, "Who?"),
        NewMessage(uuid7(), Speaker.ASSISTANT, "Nobody says.", refusal=reason),
    )
    refused = Conclusion(TurnState.REFUSED, b"refused", Usage(3), messages, "Who?")
    await store.finish(claim_of(new), [row(2)], refused)
    _, reply = await store.conversations.history(store.ann, new.conversation_id, 10)
    assert (reply.refusal, reply.text, reply.citations) == (reason, "Nobody says.", ())


async def test_a_finish_books_all_that_was_spent_and_clears_the_scratch(store: Store) -> None:
    new, other = new_turn(), new_turn()
    for turn in (new, other):
        await store.take(turn)
        await store.write(turn, row(2), checkpoint=checkpoint(2))
    await store.finish(
        claim_of(new), [row(3)], Conclusion(TurnState.FAILED, b"x", Usage(1, 20, 300, 4000, 50000))
    )
    assert (await store.get(store.ann, new.id)).usage == Usage(1, 20, 300, 4000, 50000)
    left = "SELECT array_agg(turn_id) FROM responsa.turn_checkpoint"
    assert store.urls.value(left) == [other.id]


async def test_two_finishes_of_one_epoch_at_once_write_one(store: Store) -> None:
    """The first try's connection was lost, but its transaction still waits in PostgreSQL when the repetition arrives."""
    new = await store.make()
    conclusion = answered(citation())
    finish = lambda: store.finish(claim_of(new), [row(2)], conclusion)  # noqa: E731 - the same call twice
    assert await race(store.urls, new.id, finish, finish) == [False, False]
    assert store.count() == {"conversation": 1, "turn": 1, "turn_event": 1, "message": 2, "citation": 1}


async def test_a_finish_under_an_older_epoch_or_out_of_place_writes_nothing(store: Store) -> None:
    new = await store.make()
    store.urls.ask("UPDATE responsa.turn SET epoch = 2")
    before = store.count()
    for claim, rows in (
        (claim_of(new), [row(2)]),
        (claim_of(new, epoch=3), [row(2)]),
        (claim_of(new, epoch=2), [row(3)]),
        (claim_of(new, epoch=2), [row(1)]),
        (claim_of(new, epoch=2, tenant="rival"), [row(2)]),
    ):
        await raises(TurnLost, store.finish(claim, rows, answered(citation())))
    assert store.count() == before
    assert await store.state(new) is TurnState.RUNNING
    await store.finish(claim_of(new, epoch=2), [row(2)], FAILED)
    await raises(TurnLost, store.finish(claim_of(new, epoch=2), [row(3)], FAILED))


@pytest.mark.parametrize("terminal", [FAILED.terminal, b"cancelled"])
async def test_nothing_is_appended_to_a_turn_that_ends_while_it_waits(store: Store, terminal: bytes) -> None:
    new = await store.make()
    late = [append_of(claim_of(new), row(2, 5))]
    async with locked(store.urls, "turn", new.id):
        ending: asyncio.Task[object] = asyncio.ensure_future(
            store.finish(claim_of(new), [row(2)], FAILED)
            if terminal == FAILED.terminal
            else store.cancel(store.ann, new.id, True, cancelled)
        )
        await until_somebody_waits(store.urls, ending)
        # The append skips the locked turn and does not wait for it; the caller sends the rows again.
        assert isinstance((await store.append(late))[new.id], Unavailable)
    await ending
    assert isinstance((await store.append(late))[new.id], TurnLost)
    assert await store.rows(new) == [STARTED, end(new.id, 2, terminal)]


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
    conclusions = (FAILED, answered(*[citation() for _ in range(MAX_CITATIONS + 1)]), answered(citation()))
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
    # It leaves nothing, and another end can be stored.
    assert (store.count()["message"], store.count()["citation"]) == (2, 1)
    await store.finish(claim_of(news[1]), [row(2)], FAILED)
