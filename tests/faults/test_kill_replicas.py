"""Replicas are killed while clients follow turns through them. Every follower continues through another replica within a second."""

from __future__ import annotations

import asyncio

import pytest

from responsa_server.domain.faults import Fault
from tests.faults.askers import Askers, all_answered, differences, hold, question
from tests.faults.cluster import Cluster
from tests.faults.forms import Form, Report, forms
from tests.faults.guards import Guard
from tests.faults.placed import Act, Placed
from tests.faults.readers import GrpcWay, Seen, asking, follow
from tests.instance import eventually

REPLICAS = 3


@forms(long=200)
async def test_followers_of_a_replica_that_is_killed_go_on_within_a_second(
    cluster: Cluster, form: Form, request: pytest.FixtureRequest
) -> None:
    report = Report("kill_replicas", form)
    caller = await cluster.caller()
    replicas = list(await asyncio.gather(*(cluster.soon("rpc") for _ in range(REPLICAS))))
    await cluster.soon("worker")
    await asyncio.to_thread(cluster.admit, *replicas)
    size = 24 if form.limits else 9
    async with Askers(cluster.target, caller, form.dice(), size, question(tokens=128, pace_ms=10)) as askers:
        for _ in range(form.count):
            await askers.more(askers.dice.randrange(100, 400))
            # The dead replica stays on Envoy's list while the next one starts, because Envoy gets no report
            # of a crash.
            victim = replicas.pop(0)
            await asyncio.to_thread(victim.kill)
            report.count("kills")
            replicas.append(await cluster.soon("rpc"))
            cluster.dismiss(victim)
            await asyncio.to_thread(cluster.admit, replicas[-1])
    gaps = [gap for one in askers.seen for gap in one.gaps]
    report.measured("gap", gaps)
    report.count("followers cut", len(gaps))
    hold(caller, askers.seen, report)
    report.tell(request)
    all_answered(askers.seen, cluster.layout.logs)
    if form.limits:
        assert report.quantile("gap", 0.99) <= 1.0


@pytest.mark.soak
async def test_without_commit_before_visible_the_campaign_finds_events_that_never_were(
    cluster: Cluster,
) -> None:
    """If the process dies before a commit, a reader that received the uncommitted rows has events that no log contains."""
    caller = await cluster.caller()
    # The process dies a moment before a commit. The delay lets a reader receive the uncommitted rows first.
    faults = [
        Placed(Fault.BEFORE_APPEND, Act.DELAY, skip=20, seconds=0.2),
        Placed(Fault.BEFORE_APPEND, Act.KILL, skip=20),
    ]
    dying = await cluster.soon(guards_out=[Guard.COMMIT_BEFORE_VISIBLE], faults=faults)
    await asyncio.to_thread(cluster.admit, dying)
    async with GrpcWay(cluster.target, caller.key) as way:
        one = Seen(asking("tokens=200 pace_ms=5 seed=1"))
        following = asyncio.create_task(follow(way, one))
        await asyncio.to_thread(dying.until_ended)
        other = await cluster.soon()
        cluster.dismiss(dying)
        await asyncio.to_thread(cluster.admit, other)
        await asyncio.to_thread(
            eventually, lambda: following.done() or caller.ledger.open_turns() == 0, "the end of the turn"
        )
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert "contiguous" in {found.invariant for found in differences(caller.ledger, [one])}
