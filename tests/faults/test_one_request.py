"""A hundred callers send the same request_id at once, on several replicas. The result is one turn, one call of the
model, and a hundred equal streams."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import pytest

from tests.faults.askers import differences, hold, open_ways, question
from tests.faults.cluster import Caller, Cluster
from tests.faults.forms import Form, Report, forms
from tests.faults.golden import same
from tests.faults.guards import Guard
from tests.faults.readers import GrpcWay, Seen, asking, follow

CALLERS = 100


async def send_together(ways: list[GrpcWay], text: str, callers: int = CALLERS) -> list[Seen]:
    """Send the same question with the same request_id from this number of callers."""
    request_id = str(uuid4())
    seen = [Seen(asking(text, request_id=request_id)) for _ in range(callers)]
    async with asyncio.TaskGroup() as group:
        for place, one in enumerate(seen):
            group.create_task(follow(ways[place % len(ways)], one))
    return seen


async def ways_to(
    stack: AsyncExitStack, cluster: Cluster, caller: Caller, count: int, guards_out: Sequence[Guard] = ()
) -> list[GrpcWay]:
    """Channels to this number of new replicas, assigned in rotation."""
    replicas = await asyncio.gather(*(cluster.soon(guards_out=guards_out) for _ in range(count)))
    found: list[GrpcWay] = []
    for replica in replicas:
        found.extend(await open_ways(stack, replica.address, caller.key, 2))
    return found


@forms(long=200)
async def test_a_request_sent_a_hundred_times_is_one_turn(
    cluster: Cluster, form: Form, request: pytest.FixtureRequest
) -> None:
    report = Report("one_request", form)
    caller = await cluster.caller()
    dice = form.dice()
    seen: list[Seen] = []
    async with AsyncExitStack() as stack:
        ways = await ways_to(stack, cluster, caller, 3)
        for _ in range(form.count):
            together = await send_together(ways, question(tokens=16, pace_ms=1)(dice))
            report.count("times")
            report.count("streams", len(together))
            for one in together:
                same(one.events, together[0].events)
            assert len({one.turn for one in together}) == 1
            seen.append(together[0])
    hold(caller, seen, report)
    turns = caller.ledger.turns()
    assert len(turns) == form.count
    asked = await asyncio.to_thread(cluster.model_requests)
    # The testing agent calls its model twice: once to decide whether to call a tool, and once for the answer.
    calls = [asked.get(f"turns/{identity}", 0) for identity in turns]
    report.count("model calls a turn", max(calls))
    report.tell(request)
    assert set(calls) == {2}, sorted(calls)


@pytest.mark.soak
async def test_without_uniqueness_the_campaign_finds_several_turns(cluster: Cluster) -> None:
    caller = await cluster.caller()
    async with AsyncExitStack() as stack:
        ways = await ways_to(stack, cluster, caller, 2, guards_out=[Guard.ONE_TURN])
        seen = await send_together(ways, question(tokens=4, pace_ms=1)(random.Random(1)), 20)
    assert "one_turn" in {difference.invariant for difference in differences(caller.ledger, seen)}
    assert len({UUID(one.turn.removeprefix("turns/")) for one in seen}) > 1
