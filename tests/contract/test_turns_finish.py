"""A worker ends its turn once, in one transaction, and makes room for the next turn."""

from __future__ import annotations

import asyncio
from dataclasses import replace

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
from responsa_server.domain.turns import Conclusion, NewMessage, TurnLost, TurnState
from tests.contract.turn_harness import citation
from tests.contract.turn_steps import (
    FAILED,
    STARTED,
    Store,
    answered,
    append_of,
    checkpoint,
    claim_of,
    end,
    locked,
    new_turn,
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


async def test_a_finish_that_cannot_be_stored_leaves_nothing(store: Store) -> None:
    new = await store.make()
    before = store.count()
    await raises(
        psycopg.errors.CheckViolation,
        store.finish(claim_of(new), [row(2)], answered(*[citation() for _ in range(MAX_CITATIONS + 1)])),
    )
    assert store.count() == before
    assert await store.state(new) is TurnState.RUNNING
    await store.finish(claim_of(new), [row(2)], FAILED)


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
    async with locked(store.urls, "turn", new.id):
        tries: list[asyncio.Task[bool]] = []
        for waiters in (1, 2):
            tries.append(asyncio.ensure_future(store.finish(claim_of(new), [row(2)], conclusion)))
            await until_somebody_waits(store.urls, tries[-1], waiters)
    assert await asyncio.gather(*tries) == [False, False]
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


async def test_nothing_is_appended_to_what_is_finished_while_it_waits(store: Store) -> None:
    new = await store.make()
    async with locked(store.urls, "turn", new.id):
        finishing = asyncio.ensure_future(store.finish(claim_of(new), [row(2)], FAILED))
        await until_somebody_waits(store.urls, finishing)
        left_out = await store.append([append_of(claim_of(new), row(2, 5))])
        assert isinstance(left_out[new.id], Unavailable)
    await finishing
    assert isinstance((await store.append([append_of(claim_of(new), row(2, 5))]))[new.id], TurnLost)
    assert await store.rows(new) == [STARTED, end(new.id, 2)]
