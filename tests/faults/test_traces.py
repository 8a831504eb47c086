"""Workers are killed while every turn is traced. The trace of each turn is whole, and has a link from the attempt that
took the turn over."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from uuid import UUID

import pytest

from responsa_server.app.traces import SEND_SECONDS
from responsa_server.domain import names
from tests.faults.askers import Askers, hold, question
from tests.faults.cluster import Cluster
from tests.faults.forms import Form, Report, forms
from tests.faults.invariants import StoredTurn
from tests.instance import eventually
from tests.wire.otlp import Span, receiving

LEAST_WHOLE = 0.999


def breach(attempts: int, spans: Sequence[Span], by_id: Mapping[str, Span]) -> str:
    """What the trace of a turn lacks; "" if it is whole. attempts: how many the turn had. spans: those of the turn's trace."""
    if not spans:
        return "nothing of its last attempt arrived"
    (last,) = [span for span in spans if span.attributes.get("responsa.attempt") == attempts] or [None]
    if last is None:
        return "no span of the last attempt"
    if not any(span.name == "finish" and span.within(last) for span in spans):
        return "no end"
    accepted = by_id.get(last.parent)
    if accepted is None or accepted.name != "accept" or accepted.parent not in by_id:
        return "not connected with the call"
    if (attempts > 1) != (last.links == [accepted.id]):
        return "no link to the accepted call"
    # The spans of an attempt whose worker was killed have lost their parent.
    lost = [span for span in spans if span.parent not in by_id and span.begun >= last.begun]
    return f"the parent of {lost[0].name} is missing" if lost else ""


def breaches_of(turns: Mapping[UUID, StoredTurn], spans: Sequence[Span]) -> dict[UUID, str]:
    """What the traces of turns lack, by turn."""
    by_id = {span.id: span for span in spans}
    traces: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        traces[span.trace].append(span)
    trace_of = {
        span.attributes["responsa.turn"]: span.trace
        for span in spans
        if span.name.startswith("invoke_agent ")
    }
    return {
        turn: found
        for turn, kept in turns.items()
        if (found := breach(int(kept.row["attempt"]), traces[trace_of.get(names.turn(turn), "")], by_id))
    }


@forms(short=5, long=2000)
async def test_the_traces_of_turns_whose_workers_are_killed_are_whole(
    cluster: Cluster, form: Form, request: pytest.FixtureRequest
) -> None:
    report = Report("traces", form)
    with receiving() as receiver:
        settings = {"RESPONSA_TELEMETRY__ENDPOINT": receiver.grpc}
        caller = await cluster.caller()
        await asyncio.to_thread(cluster.admit, await cluster.soon("rpc", **settings))
        asked, size, most = question(tokens=48, pace_ms=10), *((12, 600) if form.limits else (4, 200))
        async with Askers(cluster.target, caller, form.dice(), size, asked) as askers:
            while askers.ended < form.count or not report.counts.get("kills"):
                worker = await cluster.soon("worker", **settings)
                await askers.more(askers.dice.randrange(most // 10, most))
                await asyncio.to_thread(worker.kill)
                report.count("kills")
            await cluster.soon("worker", **settings)
        hold(caller, askers.seen, report)
        turns = caller.ledger.turns()

        # A process that is killed loses the spans that it has not sent.
        lost = _ended_just_before_a_kill(turns, sorted(cluster.ended_at.values()))
        wanted = {turn: kept for turn, kept in turns.items() if turn not in lost}
        breaches: dict[UUID, str] = {}

        def whole() -> bool:
            breaches.clear()
            breaches.update(breaches_of(wanted, list(receiver.spans)))
            return not breaches

        with suppress(AssertionError):  # what does not arrive is counted below
            await asyncio.to_thread(eventually, whole, "the traces", 20 * SEND_SECONDS)
    report.count("spans", len(receiver.spans))
    report.count("taken over", sum(int(kept.row["attempt"]) > 1 for kept in turns.values()))
    report.count("ended just before a kill", len(lost))
    report.count("not whole", len(breaches))
    for turn, found in breaches.items():
        report.count(f"not whole: {found}")
        ended = turns[turn].row["end_time"].timestamp()
        report.measured(
            "not whole: until a kill",
            min((at - ended for at in cluster.ended_at.values() if at > ended), default=0),
        )
    report.tell(request)
    assert len(breaches) <= (1 - LEAST_WHOLE) * (len(turns) - len(lost)), [*breaches.items()][:10]


def _ended_just_before_a_kill(turns: Mapping[UUID, StoredTurn], kills: Sequence[float]) -> set[UUID]:
    """The turns that ended so shortly before a worker was killed that it may not have sent their last spans."""
    return {
        turn
        for turn, kept in turns.items()
        if any(-0.1 <= kill - kept.row["end_time"].timestamp() <= 2 * SEND_SECONDS for kill in kills)
    }
