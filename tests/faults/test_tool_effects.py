"""Workers are killed while they call tools of all three effects: over `http_api`, MCP (HTTP and programs) and web
search. What has an effect once is never done twice, and what nobody knows is reported as unknown.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from responsa_server.domain.faults import Fault
from responsa_server.domain.tools import Effect
from tests.faults.acting import SEARCH, TOOLS, WAYS, Effects, effects, question
from tests.faults.askers import Askers, all_answered, hold
from tests.faults.cluster import Cluster
from tests.faults.forms import Form, Report, forms
from tests.faults.guards import Guard
from tests.faults.placed import Act, Placed
from tests.faults.readers import GrpcWay, Seen, asking, follow

PLACES = (
    None,
    Fault.BEFORE_TOOL,
    Fault.INSIDE_TOOL,
    Fault.AFTER_TOOL,
    Fault.BEFORE_APPEND,
    Fault.AFTER_APPEND,
)
"""The places of the kills; None for a random moment."""
SLOTS = 3
AGENT = "agents/actor"
OUTCOMES = ("", "ok", "error", "unknown")


async def lose_workers(
    cluster: Cluster,
    askers: Askers,
    form: Form,
    report: Report,
    places: Iterator[Fault | None],
    served: Effects,
) -> None:
    """Start workers one after the other. Each dies around its calls of tools, or at a random moment."""
    while report.counts.get("kills", 0) < form.count:
        place = next(places)
        report.count("kills")
        skip = askers.dice.randrange(8)
        faults = [] if place is None else [Placed(place, Act.KILL, skip=skip)]
        worker = await cluster.soon("worker", faults=faults, **served.settings)
        frames = askers.dice.randrange(60) if place is None else 400
        await askers.more(frames, unless=lambda worker=worker: not worker.alive)
        report.count("at a random moment" if worker.alive or place is None else place.value)
        await asyncio.to_thread(worker.kill)


def check(reader: Seen, served: Effects, report: Report) -> None:
    """Compare what the events of a turn report with what was done."""
    results = {
        event.tool_result.call_id: event.tool_result
        for event in reader.events
        if event.HasField("tool_result")
    }
    turn = reader.turn.removeprefix("turns/")
    for event in reader.events:
        if not event.HasField("tool_call"):
            continue
        call = event.tool_call
        tool = call.tool.removeprefix("tools/")
        outcome = OUTCOMES[results[call.call_id].outcome]
        effect = TOOLS[tool]
        where = f"{reader.turn} {call.call_id} {tool}: {outcome}"
        report.count(f"{effect} {outcome}")
        report.count(f"{tool.partition('_')[0]} ok", int(outcome == "ok"))
        done = served.done[tool].get(f"{turn}/{call.call_id}")
        # Search services have no keys, and only answer.
        assert outcome != "ok" or done is not None or tool == SEARCH, f"{where}, but nobody called"
        if done is None:
            report.count("unknown, and not done", int(outcome == "unknown"))
            continue
        assert done.notes == {str(call.arguments["note"])}, f"{where} did {done.notes}"
        if effect is Effect.NONE:
            # It is called again, so a kill does not show, unless the turn ends meanwhile.
            assert outcome != "unknown" or reader.outcome == "failed", where
            report.count("read again", done.calls - 1)
            continue
        assert done.effects == 1, f"{where} was done {done.effects} times"
        assert effect is Effect.IDEMPOTENT or done.calls == 1, f"{where} was called {done.calls} times"
        # A fault of a busy machine, such as a timeout, must not hide that something was done.
        assert outcome != "error", f"{where}, but it was done"
        report.count("called again, without another effect", done.calls - 1)
        report.count("unknown, and done", int(outcome == "unknown"))


@forms(long=500)
async def test_no_effect_happens_twice_whatever_workers_are_killed(
    cluster: Cluster, form: Form, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    report = Report("tool_effects", form)
    caller = await cluster.caller()
    cluster.load("responsa_server.tools.mcp_server")
    async with effects(tmp_path, form.dice("world")) as served:
        cluster.admit(await cluster.soon("rpc", **served.settings))
        askers = Askers(cluster.target, caller, form.dice(), 6, question, agent=AGENT)
        async with askers:
            async with asyncio.TaskGroup() as group:
                places = itertools.cycle(PLACES)
                for _ in range(SLOTS):
                    group.create_task(lose_workers(cluster, askers, form, report, places, served))
            await cluster.soon("worker", **served.settings)
        hold(caller, askers.seen, report, script=False)
        for one in askers.seen:
            report.count(one.outcome)
            check(one, served, report)
    report.tell(request)
    all_answered(askers.seen, cluster.layout.logs)
    assert min(report.counts.get(f"{way} ok", 0) for way in (*WAYS, SEARCH)) > 0
    assert report.counts["once unknown"] > 0 or form.count < 50


@pytest.mark.soak
@pytest.mark.parametrize("tool", [one for one, effect in TOOLS.items() if effect is Effect.ONCE])
async def test_without_the_ledger_the_campaign_finds_a_second_effect(
    cluster: Cluster, tmp_path: Path, tool: str
) -> None:
    caller = await cluster.caller()
    async with effects(tmp_path, Form(1, limits=False, seed=1).dice()) as served:
        cluster.admit(await cluster.soon("rpc", **served.settings))
        first = await cluster.soon("worker", faults=[Placed(Fault.AFTER_TOOL, Act.KILL)], **served.settings)
        async with GrpcWay(cluster.target, caller.key) as way:
            one = Seen(asking(f'call {tool} {{"note": "x"}}', agent=AGENT))
            asked = asyncio.create_task(follow(way, one))
            await asyncio.to_thread(first.until_ended)
            await cluster.soon("worker", guards_out=[Guard.LEDGER], **served.settings)
            await asked
        assert sum(done.effects for done in served.done[tool].values()) == 2
