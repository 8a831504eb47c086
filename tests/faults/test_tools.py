"""Workers are killed around a tool call. A call with a side effect is made at most once, and an unknown outcome is reported as unknown."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import pytest

from responsa_server.domain.faults import Fault
from tests.faults.cluster import Caller, Cluster
from tests.faults.crowd import Crowd, ask_all, hold, question
from tests.faults.forms import Form, Report, forms
from tests.faults.guards import Guard
from tests.faults.placed import Act, Placed
from tests.faults.readers import GrpcWay, Seen, asking, follow
from tests.faults.test_kill_workers import MANY_LOSSES

AROUND = (Fault.BEFORE_TOOL, Fault.INSIDE_TOOL, Fault.AFTER_TOOL, Fault.BEFORE_APPEND, Fault.AFTER_APPEND)
SLOTS = 4


async def lose_workers(
    cluster: Cluster, crowd: Crowd, form: Form, report: Report, places: Iterator[Fault]
) -> None:
    """Start workers one after the other. Each dies around a tool call."""
    while report.counts.get("kills", 0) < form.count:
        place = next(places)
        report.count("kills")
        worker = await cluster.soon(
            "worker", faults=[Placed(place, Act.KILL, skip=crowd.dice.randrange(4))], **MANY_LOSSES
        )
        await crowd.more(400, unless=lambda worker=worker: not worker.alive)
        report.count(place.value if not worker.alive else "elsewhere")
        await asyncio.to_thread(worker.kill)


def calls_of(cluster: Cluster, caller: Caller) -> dict[str, int]:
    """The number of calls that the tool sink received for this caller, by turn."""
    turns = {str(identity) for identity in caller.ledger.turns()}
    found: dict[str, int] = {}
    for key, one in cluster.tool_calls().items():
        for turn in turns:
            if turn in key:
                found[turn] = found.get(turn, 0) + int(one["calls"])
    return found


def told(seen: Seen) -> str:
    """The outcome of the call in the turn's log."""
    (result,) = [event.tool_result for event in seen.events if event.HasField("tool_result")]
    return ("", "ok", "error", "unknown")[result.outcome]


@forms(long=500)
async def test_a_call_with_a_side_effect_is_made_once_at_most(
    cluster: Cluster, form: Form, request: pytest.FixtureRequest
) -> None:
    report = Report("tools", form)
    caller = await cluster.caller()
    cluster.admit(await cluster.soon("rpc"))
    ask = question(tokens=6, pace_ms=2, tool="once", tool_ms=10)
    async with Crowd(cluster.target, caller, form.dice(), 6, ask) as crowd:
        async with asyncio.TaskGroup() as group:
            # The slots share the places, so that five kills are one at each place.
            places = itertools.cycle(AROUND)
            for _ in range(SLOTS):
                group.create_task(lose_workers(cluster, crowd, form, report, places))
        await cluster.soon("worker", **MANY_LOSSES)
    hold(caller, crowd.seen, report)
    calls = calls_of(cluster, caller)
    for one in crowd.seen:
        count = calls.get(one.turn.removeprefix("turns/"), 0)
        outcome = told(one)
        report.count(f"told as {outcome}")
        report.count(f"called {count} times")
        assert count <= 1, f"{one.turn} called its tool {count} times"
        # Every call that is reported as done was made. A call with an unknown outcome may or may not have been
        # made.
        assert outcome != "ok" or count == 1, one.turn
        assert outcome in ("ok", "unknown"), one.turn
    report.tell(request)
    assert report.counts["told as ok"] > 0


@pytest.mark.soak
async def test_an_idempotent_call_is_made_again(cluster: Cluster) -> None:
    caller = await cluster.caller()
    cluster.admit(await cluster.soon("rpc"))
    await cluster.soon("worker", faults=[Placed(Fault.INSIDE_TOOL, Act.KILL)])
    async with GrpcWay(cluster.target, caller.key) as way:
        one = Seen(asking("tokens=6 pace_ms=2 tool=idempotent seed=3"))
        following = asyncio.create_task(follow(way, one))
        (first,) = [replica for replica in cluster.replicas.values() if replica.name.startswith("worker")]
        await asyncio.to_thread(first.until_ended)
        await cluster.soon("worker")
        await following
    assert told(one) == "ok"
    assert sum(calls_of(cluster, caller).values()) in (1, 2)
    assert not caller.ledger.check()


@pytest.mark.soak
async def test_without_the_ledger_the_campaign_finds_a_second_call(cluster: Cluster) -> None:
    caller = await cluster.caller()
    cluster.admit(await cluster.soon("rpc"))
    first = await cluster.soon("worker", faults=[Placed(Fault.AFTER_TOOL, Act.KILL)])
    async with GrpcWay(cluster.target, caller.key) as way:
        asked = asyncio.create_task(ask_all(lambda: way, ["tokens=6 pace_ms=2 tool=once tool_ms=10 seed=3"]))
        await asyncio.to_thread(first.until_ended)
        await cluster.soon("worker", guards_out=[Guard.LEDGER])
        await asked
    assert max(calls_of(cluster, caller).values()) == 2
