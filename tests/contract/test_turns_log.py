"""`append` and `renew`. One fenced statement writes many turns and can be repeated. Checkpoints and the ledger of tool
calls use the same fence."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import (
    ByteRange,
    Effect,
    SourcePassage,
    ToolCalled,
    ToolFault,
    ToolOutcome,
    ToolReturned,
    ToolSource,
    Usage,
)
from responsa_server.domain.turns import LogRow, ToolRecord, TurnLost, TurnState
from tests.contract.cut_database import CutDatabase
from tests.contract.turn_steps import (
    FAILED,
    STARTED,
    Store,
    append_of,
    checkpoint,
    claim_of,
    end,
    locked,
    new_turn,
    row,
    tool_ledger,
)
from tests.raising import raises

CALLED = ToolCalled("call-1", "tools/mail", {"to": "ann", "text": "\x00 'quoted' \\ ü"})
DONE = ToolReturned("call-1", ToolOutcome.OK, "sent")


async def test_rows_follow_each_other_and_renew_the_lease(store: Store) -> None:
    new = await store.make()
    lease = "SELECT lease_until FROM responsa.turn"
    before = store.urls.value(lease)
    await store.write(new, row(2), row(3, 7, deltas=True))
    await store.write(new, row(8, 9))
    assert await store.rows(new) == [
        STARTED,
        row(2),
        row(3, 7, deltas=True),
        row(8, 9),
    ]
    assert (await store.get(store.ann, new.id)).last_seq == 9
    backlog = await store.backlog(store.ann, new.id, 4, 1)
    assert (backlog.rows, backlog.last_seq) == ([row(3, 7, deltas=True)], 9)
    assert (await store.backlog(store.ann, new.id, 7, 9)).rows == [row(8, 9)]
    assert (await store.backlog(store.ann, new.id, 9, 9)).rows == []
    assert (await store.backlog(store.ann, new.id, 99, 9)).rows == []
    after = store.urls.value(lease)
    assert before < after
    assert await store.renew([claim_of(new)]) == []
    assert store.urls.value(lease) > after
    # An attempt that began within the claim counts for whoever continues the log.
    attempt = "SELECT attempt FROM responsa.turn"
    await store.write(new, row(10), attempt=3)
    await store.write(new, row(11))
    assert store.urls.value(attempt) == 3


async def test_many_turns_of_many_tenants_are_written_in_one_statement(store: Store) -> None:
    turns = [(who, new_turn()) for who in (store.ann, store.bob, store.eve) for _ in range(5)]
    for who, new in turns:
        await store.take(new, who)
    batch = [append_of(claim_of(new), row(2), row(3, 3 + place)) for place, (_, new) in enumerate(turns)]
    assert await store.append(batch) == {}
    for place, (who, new) in enumerate(turns):
        assert await store.rows(new, who) == [STARTED, row(2), row(3, 3 + place)]
    writers = "SELECT count(DISTINCT xmin::text) FROM responsa.turn_event WHERE seq > 1"
    assert store.urls.value(writers) == 1
    assert await store.append([]) == {}


async def test_who_is_lost_locked_or_out_of_place_falls_out_alone(store: Store) -> None:
    good, late, held, early, ended, gone = (new_turn() for _ in range(6))
    await store.take_all(good, late, held, early, ended)
    store.urls.ask("UPDATE responsa.turn SET epoch = 2 WHERE id = %s", late.id)
    await store.finish(claim_of(ended), [row(2)], FAILED)
    everyone = (good, late, held, early, ended, gone)
    batch = [
        append_of(claim_of(new), row(3 if new is early else 2), checkpoint=checkpoint(1)) for new in everyone
    ]
    async with locked(store.urls, "turn", held.id):
        left_out = await store.append(batch)
    assert {turn: type(error) for turn, error in left_out.items()} == {
        late.id: TurnLost,
        held.id: Unavailable,
        early.id: TurnLost,
        ended.id: TurnLost,
        gone.id: TurnLost,
    }
    assert await store.rows(good) == [STARTED, row(2)]
    for new in (late, held, early):
        assert await store.rows(new) == [STARTED]
    assert store.urls.value("SELECT array_agg(turn_id) FROM responsa.turn_checkpoint") == [good.id]
    # Once the row is no longer locked, the same append succeeds. Earlier rows stay unchanged.
    assert await store.append([append_of(claim_of(new), row(2)) for new in (good, held)]) == {}
    assert await store.rows(held) == [STARTED, row(2)]
    assert await store.rows(good) == [STARTED, row(2)]


async def test_one_that_cannot_be_stored_takes_back_its_statement_alone(store: Store) -> None:
    good, bad = new_turn(), new_turn()
    await store.take_all(good, bad)
    before = store.count()
    too_long = ToolReturned("call-1", ToolOutcome.OK, "x" * 33_000)
    await raises(
        psycopg.errors.CheckViolation,
        store.append([append_of(claim_of(good), row(2)), append_of(claim_of(bad), tools=[CALLED, too_long])]),
    )
    assert store.count() == before
    await store.write(good, row(2))


async def test_an_older_epoch_writes_nothing_not_even_a_checkpoint(store: Store) -> None:
    new = await store.make()
    store.urls.ask("UPDATE responsa.turn SET epoch = 2")
    before = store.count()
    late = claim_of(new)
    for write in (
        append_of(late, row(2)),
        append_of(late, row(2), checkpoint=checkpoint(2), tools=[CALLED]),
        append_of(late, checkpoint=checkpoint(1)),
    ):
        assert isinstance((await store.append([write]))[new.id], TurnLost)
    assert await store.renew([late]) == [new.id]
    assert store.count() == before
    for table in ("turn_checkpoint", "turn_tool"):
        assert store.urls.value(f"SELECT count(*) FROM responsa.{table}") == 0
    await store.write(claim_of(new, epoch=2), row(2))


async def test_rows_out_of_place_are_refused(store: Store) -> None:
    new = await store.make()
    for first in (1, 3):
        await raises(TurnLost, store.write(new, row(first), row(first + 1, 9)))
    assert await store.rows(new) == [STARTED]


async def test_nothing_follows_a_terminal_event(store: Store) -> None:
    new = await store.make()
    await store.finish(claim_of(new), [row(2)], FAILED)
    for rows in ([row(3)], [row(2)], []):
        await raises(TurnLost, store.write(new, *rows, checkpoint=checkpoint(2)))
    assert await store.renew([claim_of(new)]) == [new.id]
    assert await store.rows(new) == [STARTED, end(new.id, 2)]


async def test_renewals_tell_who_is_lost_and_pass_over_who_is_locked(store: Store) -> None:
    good, late, held, gone = (new_turn() for _ in range(4))
    await store.take_all(good, late, held)
    store.run_out(good, late, held)
    store.urls.ask("UPDATE responsa.turn SET epoch = 2 WHERE id = %s", late.id)
    async with locked(store.urls, "turn", held.id):
        lost = await store.renew([claim_of(new) for new in (good, late, held, gone)])
    assert set(lost) == {late.id, gone.id}
    live = "SELECT array_agg(id) FROM responsa.turn WHERE lease_until > now()"
    assert store.urls.value(live) == [good.id]
    assert await store.renew([]) == []


async def test_a_checkpoint_rides_with_rows_or_alone_and_the_last_one_counts(store: Store) -> None:
    new = await store.make()
    await store.write(new, row(2, 4), checkpoint=checkpoint(3, 10, b"one"))
    last = replace(checkpoint(4, 25, b"two\x00"), usage=Usage(5, 6, 7, 8, 9))
    for _ in range(2):
        await store.write(new, checkpoint=last)
    assert (await store.get(store.ann, new.id)).last_seq == 4
    await store.write(new, row(5))
    store.run_out(new)
    (claimed,) = await store.claim_all()
    assert (claimed.checkpoint, claimed.last_seq) == (last, 5)


async def test_the_ledger_holds_what_was_called_and_what_came_of_it(store: Store) -> None:
    new = await store.make()
    both = ToolCalled("call-2", "tools/clock", {}), ToolReturned("call-2", ToolOutcome.ERROR, "no\ufffdne")
    unknown = ToolCalled("call-3", "tools/mail", {"to": "bob"})
    await store.write(new, row(2), tools=[CALLED])
    await store.write(new, row(3, 6), tools=[DONE, *both, unknown])
    source = ToolSource(
        "https://example.org",
        "ü\x00",
        datetime(2026, 3, 1, tzinfo=UTC),
        "text",
        SourcePassage(UUID(int=1), UUID(int=2), 3, ByteRange(4, 8)),
    )
    typed = [
        ToolCalled("call-4", "tools/web", {}, effect=Effect.NONE),
        ToolReturned("call-4", ToolOutcome.OK, "found", {"n": [1, None, "\x00ü"]}, [source]),
        ToolCalled("call-5", "tools/web", {}),
    ]
    lost = ToolReturned("call-5", ToolOutcome.ERROR, "late", fault=ToolFault.TIMEOUT)
    await store.write(new, row(7), tools=typed)
    await store.write(new, row(8), tools=[lost])
    store.run_out(new)
    (claimed,) = await store.claim_all()
    assert replace(claimed.tools["call-4"], tool="") == ToolRecord(
        ToolOutcome.OK, "found", {"n": [1, None, "\x00ü"]}, (source,), None, Effect.NONE
    )
    assert replace(claimed.tools["call-5"], tool="") == ToolRecord(
        ToolOutcome.ERROR, "late", fault=ToolFault.TIMEOUT, effect=Effect.ONCE
    )
    assert {call: one for call, one in tool_ledger(claimed).items() if call < "call-4"} == {
        "call-1": ("ok", "sent"),
        "call-2": ("error", "no\ufffdne"),
        "call-3": (None, ""),
    }
    # Neither a repetition nor the turn's end deletes a tool call.
    await store.write(claimed.claim, row(9), tools=[CALLED])
    await store.write(claimed.claim, row(10), tools=[ToolReturned("call-3", ToolOutcome.UNKNOWN, "")])
    await store.finish(claimed.claim, [row(11)], FAILED)
    ledger = (
        "SELECT array_agg(call_id || ' ' || outcome || ' ' || epoch ORDER BY call_id) FROM responsa.turn_tool"
    )
    assert store.urls.value(ledger) == [
        "call-1 ok 1",
        "call-2 error 1",
        "call-3 unknown 1",
        "call-4 ok 1",
        "call-5 error 1",
    ]
    arguments = "SELECT arguments ->> 'to' FROM responsa.turn_tool WHERE call_id = 'call-3'"
    assert store.urls.value(arguments) == "bob"


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    batches=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), max_size=6),
    cuts=st.sets(st.integers(0, 6)),
)
async def test_the_log_is_contiguous_whatever_the_batches_and_cuts(
    cut_database: CutDatabase, cut_store: Store, batches: list[list[int]], cuts: set[int]
) -> None:
    new = await cut_store.make(request_id=uuid7())
    last = 1
    for place, sizes in enumerate(batches):
        rows: list[LogRow] = []
        for size in sizes:
            rows.append(row(last + 1, last + size))
            last += size
        if place in cuts:
            cut_database.cut = 1
            await raises(Unavailable, cut_store.write(new, *rows))
        await cut_store.write(new, *rows)
    written = await cut_store.rows(new)
    assert [one.first_seq for one in written] == [1, *(one.last_seq + 1 for one in written[:-1])]
    turn = await cut_store.get(cut_store.ann, new.id)
    assert (turn.last_seq, turn.state) == (last, TurnState.RUNNING)
    assert written[-1].last_seq == last


async def test_what_comes_late_does_not_undo_a_release(store: Store) -> None:
    new, committed = new_turn(), new_turn()
    await store.take_all(new, committed)
    await store.write(committed, row(2))
    await store.release([claim_of(new), claim_of(committed)])
    assert sorted(await store.renew([claim_of(new), claim_of(committed)])) == sorted([new.id, committed.id])
    late = sorted(
        [append_of(claim_of(new), row(2)), append_of(claim_of(committed), row(2))],
        key=lambda one: one.claim.turn_id,
    )
    left_out = await store.append(late)
    assert [(turn, type(error)) for turn, error in left_out.items()] == [(new.id, TurnLost)]
    taken = {one.claim.turn_id: one for one in await store.claim_all()}
    assert {turn: (one.last_seq, one.losses) for turn, one in taken.items()} == {
        new.id: (1, 0),
        committed.id: (2, 0),
    }
