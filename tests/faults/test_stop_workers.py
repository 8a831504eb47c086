"""Workers are stopped for longer than their lease and then continued. Other workers take their turns over, and the
stopped workers can no longer write."""

from __future__ import annotations

import asyncio
import random
import signal

import pytest

from responsa_server.domain import names
from responsa_server.domain.faults import Fault
from tests.faults.askers import Askers, all_answered, ask_all, differences, hold, question
from tests.faults.cluster import ABSENT, Cluster, Replica
from tests.faults.forms import Form, Report, forms
from tests.faults.guards import Guard
from tests.faults.placed import Act, Placed
from tests.faults.readers import GrpcWay, Seen, asking, follow
from tests.instance import eventually

WORKERS = 4
LASTING = {"RESPONSA_TURNS__LEASE_SECONDS": "0.5"}
# No lease expires during a test.
PATIENT = {"RESPONSA_TURNS__LEASE_SECONDS": "300"}


async def stop_and_go(askers: Askers, form: Form, report: Report, worker: Replica) -> None:
    """Stop a worker during its work until other workers have taken all its turns, then continue the worker. Repeat this."""
    ledger = askers.caller.ledger
    while report.counts.get("stops", 0) < form.count:
        report.count("stops")
        await askers.more(askers.dice.randrange(5, 80))
        held = await asyncio.to_thread(ledger.held_by, worker.name)
        worker.signal(signal.SIGSTOP)
        try:
            # The worker may have claimed more turns between the query and the stop. Wait only until the turns that the
            # query found are with other workers.
            while held & await asyncio.to_thread(ledger.held_by, worker.name):
                await askers.more(1)
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
    workers = await asyncio.gather(
        *(cluster.soon("worker", sweep_seconds=0.1, **LASTING) for _ in range(WORKERS))
    )
    async with (
        Askers(
            cluster.target, caller, form.dice(), 16, question(tokens=96, pace_ms=5, tool="idempotent")
        ) as askers,
        asyncio.TaskGroup() as group,
    ):
        # One worker is never stopped, because a running worker must take over the turns.
        for worker in workers[1:]:
            group.create_task(stop_and_go(askers, form, report, worker))
    hold(caller, askers.seen, report)
    report.measured("gap", [gap for one in askers.seen for gap in one.gaps])
    report.count(
        "rows by an old epoch", sum(1 for one in caller.ledger.check() if one.invariant == "one_writer")
    )
    report.tell(request)
    assert report.counts["turns taken from a stopped worker"] > 0
    all_answered(askers.seen, cluster.layout.logs)


async def lose_two(cluster: Cluster, way: GrpcWay, *guards_out: Guard) -> tuple[Replica, Seen, Seen]:
    """Stop one worker and kill another, each with a turn under a long lease, then start a third one without these
    guards. Returns the stopped worker and the followed turns of the two."""
    cluster.admit(await cluster.soon("rpc"))
    workers: list[Replica] = []
    turns: list[Seen] = []
    for seed in (1, 2):
        workers.append(await cluster.soon("worker", **PATIENT))
        turn = Seen(asking(f"tokens=600 pace_ms=5 seed={seed}"))
        await follow(way, turn, until=lambda seen: seen.through > 5)
        turns.append(turn)
        workers[-1].signal(signal.SIGSTOP)
    stopped, killed = workers
    await asyncio.to_thread(killed.kill)
    await cluster.soon("worker", guards_out=guards_out, **PATIENT)
    return stopped, turns[0], turns[1]


async def test_the_turns_of_a_killed_worker_do_not_wait_for_its_lease_and_those_of_a_silent_one_do(
    cluster: Cluster,
) -> None:
    caller = await cluster.caller()
    async with GrpcWay(cluster.target, caller.key) as way:
        stopped, silent, lost = await lose_two(cluster, way)
        await follow(way, lost)
        assert caller.ledger.held_by(stopped.name) == {silent.turn.removeprefix("turns/")}
        stopped.signal(signal.SIGCONT)
        await follow(way, silent)
    assert not [*caller.ledger.check(), *differences(caller.ledger, [silent, lost])]
    turns = caller.ledger.turns()
    attempts = [turns[names.parse_uuid("turns", one.turn)].row["attempt"] for one in (silent, lost)]
    assert attempts == [1, 2]


@pytest.mark.soak
async def test_without_looking_for_lost_workers_their_turns_wait_for_the_lease(cluster: Cluster) -> None:
    caller = await cluster.caller()
    async with GrpcWay(cluster.target, caller.key) as way:
        _, silent, lost = await lose_two(cluster, way, Guard.LOOKING)
        # A later turn is answered, but the turn of the killed worker is not.
        await ask_all(lambda: way, ["tokens=200 pace_ms=10 seed=3"])
    assert {one.turn for one in caller.ledger.check() if one.invariant == "one_end"} == {
        one.turn.removeprefix("turns/") for one in (silent, lost)
    }


@pytest.mark.soak
async def test_without_the_lock_a_silent_worker_loses_its_turns_and_still_writes_nothing(
    cluster: Cluster,
) -> None:
    caller = await cluster.caller()
    async with GrpcWay(cluster.target, caller.key) as way:
        stopped, silent, lost = await lose_two(cluster, way, Guard.PRESENCE)
        await asyncio.to_thread(
            eventually, lambda: not caller.ledger.held_by(stopped.name), "the claim by another"
        )
        stopped.signal(signal.SIGCONT)
        await asyncio.gather(*(follow(way, one) for one in (silent, lost)))
    assert not [*caller.ledger.check(), *differences(caller.ledger, [silent, lost])]


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
