"""Workers are killed at random times and at each named place, with many turns for each kill. Every accepted turn ends
as it would without a kill."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from responsa_server.domain import names
from responsa_server.domain.faults import Fault
from responsa_server.domain.turns import ALONE_AFTER_LOSSES
from responsa_server.turns.settings import TurnOptions
from tests.faults.askers import Askers, all_answered, ask_all, differences, hold, question
from tests.faults.cluster import Cluster, Replica
from tests.faults.forms import Form, Report, forms
from tests.faults.guards import Guard
from tests.faults.placed import Act, Placed
from tests.faults.readers import GrpcWay, Seen, asking, follow
from tests.instance import eventually

PLACES = (
    None,
    Fault.AFTER_CLAIM,
    Fault.BETWEEN_CHUNKS,
    Fault.BEFORE_APPEND,
    None,
    Fault.AFTER_APPEND,
    Fault.BEFORE_TOOL,
    Fault.INSIDE_TOOL,
    None,
    Fault.AFTER_TOOL,
    Fault.BEFORE_FINISH,
    Fault.AFTER_FINISH,
)
"""The places of the kills. The value `None` stands for a kill at a random moment."""
ACCEPTING = (Fault.BEFORE_ACCEPT, Fault.AFTER_ACCEPT)
SLOTS = 3
MOST_FRAMES = 600
"""The number of frames after which the campaign no longer waits for a fault that has not happened."""


def mixed(dice: random.Random) -> str:
    """Creates a question. A third of the questions call the tool."""
    tool = dice.choice(("none", "none", "idempotent"))
    return question(tokens=dice.randrange(8, 128), pace_ms=dice.choice((2, 5, 10)), tool=tool)(dice)


async def lose_workers(
    cluster: Cluster,
    askers: Askers,
    form: Form,
    report: Report,
    places: Iterator[Fault | None],
    **settings: Any,
) -> None:
    """Start workers one after the other, and wait until each of them is killed."""
    dice = askers.dice
    while report.counts.get("kills", 0) < form.count:
        place = next(places)
        faults = [] if place is None else [Placed(place, Act.KILL, skip=dice.randrange(30))]
        worker: Replica = await cluster.soon("worker", faults=faults, **settings)
        frames = dice.randrange(150) if place is None else MOST_FRAMES
        await askers.more(frames, unless=lambda worker=worker: not worker.alive)
        report.count("at a place" if not worker.alive else "at random")
        await asyncio.to_thread(worker.kill)
        report.count("kills")


async def lose_replicas(cluster: Cluster, askers: Askers, report: Report, enough: Callable[[], bool]) -> None:
    """Start replicas one after the other. Each accepts questions and dies while it does so."""
    for place in itertools.cycle(ACCEPTING):
        if enough():
            return
        faults = [Placed(place, Act.KILL, skip=askers.dice.randrange(3))]
        replica: Replica = await cluster.soon(faults=faults)
        await asyncio.to_thread(cluster.admit, replica, wait=False)
        await askers.more(MOST_FRAMES, unless=lambda replica=replica: not replica.alive)
        report.count(place.value, int(not replica.alive))
        await asyncio.to_thread(replica.kill)
        cluster.dismiss(replica)
        report.count("kills")


async def campaign(
    cluster: Cluster,
    form: Form,
    report: Report,
    size: int,
    places: Iterator[Fault | None],
    but: str = "",
    **settings: Any,
) -> None:
    """but: the reason for which turns may fail."""
    caller = await cluster.caller()
    cluster.admit(await cluster.soon("rpc"))
    async with Askers(cluster.target, caller, form.dice(), size, mixed, fresh=True) as askers:
        async with asyncio.TaskGroup() as group:
            group.create_task(
                lose_replicas(cluster, askers, report, lambda: report.counts.get("kills", 0) >= form.count)
            )
            for _ in range(min(SLOTS, form.count)):
                group.create_task(lose_workers(cluster, askers, form, report, places, **settings))
        # A worker that survives, so that all turns end.
        await cluster.soon("worker", **settings)
    report.measured("takeover", caller.ledger.takeovers(cluster.ended_at))
    report.measured("gap", [gap for one in askers.seen for gap in one.gaps])
    report.count("attempts", sum(int(turn.row["attempt"]) for turn in caller.ledger.turns().values()))
    hold(caller, askers.seen, report)
    report.count("failed", sum(one.outcome == "failed" for one in askers.seen))
    all_answered(askers.seen, cluster.layout.logs, but)


@forms(short=3, long=1000)
async def test_every_accepted_turn_ends_whatever_workers_are_killed(
    cluster: Cluster, form: Form, request: pytest.FixtureRequest
) -> None:
    report = Report("kill_workers", form)
    await campaign(cluster, form, report, 24 if form.limits else 12, itertools.cycle(PLACES))
    report.tell(request)
    assert report.counts["kills"] >= form.count


@pytest.mark.soak
@pytest.mark.timeout(3600)
@forms(short=2, long=50)
async def test_a_turn_is_taken_over_soon_at_the_default_lease(
    cluster: Cluster, form: Form, request: pytest.FixtureRequest
) -> None:
    report = Report("kill_workers_default_lease", form)
    settings: dict[str, Any] = {"RESPONSA_TURNS__LEASE_SECONDS": "6", "sweep_seconds": 0.5}
    # A worker that is not killed, so that no takeover waits until a worker has started.
    await cluster.soon("worker", **settings)
    await campaign(cluster, form, report, 24, itertools.repeat(None), **settings)
    report.tell(request)
    assert report.quantile("takeover", 0.99) <= 1.5


@forms(long=18)
async def test_a_turn_fails_only_because_it_lost_many_workers(
    cluster: Cluster, form: Form, request: pytest.FixtureRequest
) -> None:
    """At the default limits, a turn that loses one worker after the other looks like their cause, though they are
    killed from outside. Nothing else makes a turn fail."""
    report = Report("kill_workers_default_losses", form)
    settings = {
        "RESPONSA_TURNS__ALONE_AFTER_LOSSES": str(ALONE_AFTER_LOSSES),
        "RESPONSA_TURNS__MAX_LOSSES": str(TurnOptions().max_losses),
    }
    await campaign(cluster, form, report, 24, itertools.cycle(PLACES), "WORKER_LOST", **settings)
    report.tell(request)


@pytest.mark.soak
async def test_a_turn_that_kills_every_worker_is_ended(cluster: Cluster) -> None:
    """The workers of a poison turn die one after the other, until the limit of attempts is reached."""
    caller = await cluster.caller()
    cluster.admit(await cluster.soon("rpc"))
    async with GrpcWay(cluster.target, caller.key) as way:
        reader = Seen(asking("tokens=64 pace_ms=5 seed=1"))
        following = asyncio.create_task(follow(way, reader))
        for _ in range(3):
            worker = await cluster.soon(
                "worker",
                faults=[Placed(Fault.BETWEEN_CHUNKS, Act.KILL, skip=5)],
                RESPONSA_TURNS__MAX_LOSSES="1",
            )
            await asyncio.to_thread(
                eventually, lambda worker=worker: not worker.alive or reader.ended, "its end"
            )
            if reader.ended:
                break
        await following
    assert reader.outcome == "failed"
    assert reader.terminal.failed.retriable
    assert not caller.ledger.check()


@pytest.mark.soak
async def test_a_turn_that_kills_its_workers_ends_and_the_others_are_answered(cluster: Cluster) -> None:
    """The question kills each worker that answers it. All questions run together at first, and the one that is the cause is found."""
    caller = await cluster.caller()
    cluster.admit(await cluster.soon("rpc"))
    async with GrpcWay(cluster.target, caller.key) as way:
        poison, *others = readers = [Seen(asking(f"tokens=64 pace_ms=5 seed={n}")) for n in range(8)]
        following = asyncio.gather(*(follow(way, one) for one in readers))
        await asyncio.to_thread(eventually, lambda: all(one.turn for one in readers), "the turns")
        faults = [
            Placed(Fault.BETWEEN_CHUNKS, Act.KILL, skip=5, turn=str(names.parse_uuid("turns", poison.turn)))
        ]
        deaths = 0
        while not following.done():
            worker = await cluster.soon("worker", faults=faults, RESPONSA_TURNS__ALONE_AFTER_LOSSES="2")
            await asyncio.to_thread(
                eventually, lambda worker=worker: not worker.alive or following.done(), "its end"
            )
            deaths += not worker.alive
        await following
    # A checkpoint sets the count of losses to 0. The first worker may die before its own is committed; then the second one saves it.
    assert deaths in (3, 4)
    assert poison.outcome == "failed"
    assert b"WORKER_LOST" in poison.terminal.failed.status.SerializeToString()
    assert [other.outcome for other in others] == ["answer"] * len(others)
    assert not [*caller.ledger.check(), *differences(caller.ledger, readers, script=False)]


@pytest.mark.soak
async def test_without_taking_over_the_campaign_finds_turns_that_never_end(cluster: Cluster) -> None:
    caller = await cluster.caller()
    cluster.admit(await cluster.soon("rpc"))
    worker = await cluster.soon("worker", guards_out=[Guard.TAKEOVER])
    async with GrpcWay(cluster.target, caller.key) as way:
        one = Seen(asking("tokens=600 pace_ms=10 seed=1"))
        await follow(way, one, until=lambda seen: seen.through > 5)
        await asyncio.to_thread(worker.kill)
        await cluster.soon("worker", guards_out=[Guard.TAKEOVER])
        # After a pause that is longer than a lease, a later turn is answered, but the poison turn is not.
        await asyncio.to_thread(
            eventually, lambda: caller.ledger.leases_ran_out() == 1, "the end of the lease"
        )
        await ask_all(lambda: way, ["tokens=4 seed=2"])
    assert {one.invariant for one in caller.ledger.check()} == {"one_end"}
