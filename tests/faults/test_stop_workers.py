"""Workers are stopped for longer than their lease and then continued. Other workers take their turns over, and the stopped workers can no longer write."""

from __future__ import annotations

import asyncio
import random
import signal

import pytest

from responsa_server.domain.faults import Fault
from tests.faults.cluster import ABSENT, Cluster, Replica
from tests.faults.crowd import Crowd, hold, question
from tests.faults.forms import Form, Report, forms
from tests.faults.guards import Guard
from tests.faults.placed import Act, Placed
from tests.faults.readers import GrpcWay, Seen, asking, follow
from tests.instance import eventually

WORKERS = 4
LASTING = {
    "RESPONSA_TURNS__MAX_LOSSES": "100",
    "RESPONSA_TURNS__LEASE_SECONDS": "0.5",
    "RESPONSA_TURNS__SWEEP_SECONDS": "0.1",
}


async def stop_and_go(crowd: Crowd, form: Form, report: Report, worker: Replica) -> None:
    """Stop a worker during its work until other workers have taken all its turns, then continue the worker. Repeat this."""
    ledger = crowd.caller.ledger
    while report.counts.get("stops", 0) < form.count:
        report.count("stops")
        await crowd.more(crowd.dice.randrange(5, 80))
        held = await asyncio.to_thread(ledger.held_by, worker.name)
        worker.signal(signal.SIGSTOP)
        try:
            # The worker may have claimed more turns between the query and the stop. Wait only until the turns that the
            # query found are with other workers.
            while held & await asyncio.to_thread(ledger.held_by, worker.name):
                await crowd.more(1)
        finally:
            worker.signal(signal.SIGCONT)
        report.count("turns taken from a stopped worker", len(held))


@forms(long=500)
async def test_a_worker_that_was_stopped_writes_nothing_of_what_was_taken_from_it(
    cluster: Cluster, form: Form, request: pytest.FixtureRequest
) -> None:
    report = Report("stop_workers", form)
    caller = await cluster.caller()
    cluster.admit(await cluster.soon("rpc"))
    workers = await asyncio.gather(*(cluster.soon("worker", **LASTING) for _ in range(WORKERS)))
    async with (
        Crowd(
            cluster.target, caller, form.dice(), 16, question(tokens=96, pace_ms=5, tool="idempotent")
        ) as crowd,
        asyncio.TaskGroup() as group,
    ):
        # One worker is never stopped, because a running worker must take over the turns.
        for worker in workers[1:]:
            group.create_task(stop_and_go(crowd, form, report, worker))
    hold(caller, crowd.seen, report)
    report.measured("gap", [gap for one in crowd.seen for gap in one.gaps])
    report.count(
        "rows by an old epoch", sum(1 for one in caller.ledger.check() if one.invariant == "one_writer")
    )
    report.tell(request)
    assert report.counts["turns taken from a stopped worker"] > 0
    assert all(one.outcome == "answer" for one in crowd.seen)


@pytest.mark.soak
async def test_without_the_epoch_check_the_campaign_finds_rows_by_an_old_epoch(cluster: Cluster) -> None:
    """The check matters only between another worker's claim of the turn and that worker's first write."""
    caller = await cluster.caller()
    cluster.admit(await cluster.soon("rpc"))
    # The campaign runs without Redis, so that no hint can reach the worker in time.
    stopped = await cluster.soon("worker", guards_out=[Guard.EPOCH_CHECK], REDIS_URL=ABSENT)
    async with GrpcWay(cluster.target, caller.key) as way:
        one = Seen(asking(question(tokens=1000, pace_ms=5)(random.Random(1))))
        following = asyncio.create_task(follow(way, one))
        await asyncio.to_thread(eventually, lambda: one.through > 10, "its first words")
        stopped.signal(signal.SIGSTOP)
        slow = await cluster.soon("worker", faults=[Placed(Fault.AFTER_CLAIM, Act.DELAY, seconds=2.0)])
        await asyncio.to_thread(
            eventually, lambda: bool(caller.ledger.held_by(slow.name)), "the claim by another"
        )
        stopped.signal(signal.SIGCONT)
        await asyncio.to_thread(eventually, lambda: bool(caller.ledger.check(ended=False)), "a violation")
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert "one_writer" in {one.invariant for one in caller.ledger.check(ended=False)}
