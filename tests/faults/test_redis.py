"""Redis is flushed, stopped or restarted, or is missing from the start. No event is lost, and readers only wait a little longer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import pytest

from tests.faults.askers import Askers, all_answered, hold, question
from tests.faults.cluster import ABSENT, Cluster
from tests.faults.forms import Form, Report, forms
from tests.faults.guards import Guard
from tests.faults.readers import GrpcWay, Seen, asking, follow

MOST_LATENCY = 0.6
"""The limit in seconds from an event's commit to a reader, whatever happens to Redis."""


def disturbances(cluster: Cluster) -> Sequence[tuple[str, Callable[[], object]]]:
    """The disturbances of Redis, in rotation."""

    def ask(*command: str) -> object:
        return cluster.ask_redis(*command)

    return (
        ("flushed", lambda: ask("FLUSHALL")),
        ("stopped", cluster.redis.stop),
        ("started", cluster.redis.start),
        ("cut", lambda: ask("CLIENT", "KILL", "TYPE", "pubsub")),
        ("paused", lambda: ask("CLIENT", "PAUSE", "300")),
    )


def latencies(askers: Askers) -> Sequence[float]:
    """The times from commit to reader of all events that readers received live."""
    offset = time.time() - time.monotonic()
    return askers.caller.ledger.latencies(
        (
            one.turn,
            {event.seq: at + offset for event, at in zip(one.events, one.arrivals, strict=True)},
        )
        for one in askers.seen
    )


@forms(short=5, long=100)
async def test_whatever_becomes_of_redis_nothing_is_lost(
    cluster: Cluster, form: Form, request: pytest.FixtureRequest
) -> None:
    report = Report("redis", form)
    caller = await cluster.caller()
    # One process runs a turn and another follows it, so that hints go through Redis.
    follower, _ = await asyncio.gather(cluster.soon("rpc"), cluster.soon("worker"))
    steps = disturbances(cluster)
    try:
        async with Askers(follower.address, caller, form.dice(), 8, question(tokens=64, pace_ms=5)) as askers:
            for number in range(form.count):
                await askers.more(60)
                name, disturb = steps[number % len(steps)]
                await asyncio.to_thread(disturb)
                report.count(name)
            await askers.more(60)
    finally:
        if not cluster.redis.alive:
            cluster.redis.start()
    report.measured("latency", latencies(askers))
    hold(caller, askers.seen, report)
    report.count("lost", sum(one.holes for one in askers.seen))
    report.tell(request)
    all_answered(askers.seen, cluster.layout.logs)
    assert all(one.cuts == 0 for one in askers.seen)
    if form.limits:
        assert report.quantile("latency", 1.0) <= MOST_LATENCY


@forms(short=4, long=200)
async def test_without_redis_from_the_start_all_is_as_ever_and_a_little_later(
    cluster: Cluster, form: Form, request: pytest.FixtureRequest
) -> None:
    report = Report("redis_absent", form)
    caller = await cluster.caller()
    follower, _ = await asyncio.gather(
        cluster.soon("rpc", REDIS_URL=ABSENT), cluster.soon("worker", REDIS_URL=ABSENT)
    )
    async with Askers(follower.address, caller, form.dice(), 8, question(tokens=32, pace_ms=5)) as askers:
        await askers.until(lambda: askers.ended >= form.count, "answers")
    report.measured("latency", latencies(askers))
    hold(caller, askers.seen, report)
    report.tell(request)
    all_answered(askers.seen, cluster.layout.logs)
    assert all(one.cuts == 0 for one in askers.seen)
    if form.limits:
        assert report.quantile("latency", 1.0) <= MOST_LATENCY


@pytest.mark.soak
async def test_without_reading_the_log_the_campaign_finds_what_redis_lost(cluster: Cluster) -> None:
    """A reader that relies only on Redis still gets heartbeats long after its turn has ended."""
    caller = await cluster.caller()
    follower, _ = await asyncio.gather(
        cluster.soon("rpc", guards_out=[Guard.POLL], REDIS_URL=ABSENT),
        cluster.soon("worker"),
    )
    async with GrpcWay(follower.address, caller.key) as way:
        reader = Seen(asking("tokens=8 pace_ms=1 seed=1"))
        beats = 0

        def until(seen: Seen) -> bool:
            nonlocal beats
            if caller.ledger.open_turns() == 0 and seen.events:
                beats += 1
            return seen.ended or beats > 2

        await follow(way, reader, until=until)
    assert not reader.ended
    (turn,) = caller.ledger.turns().values()
    assert turn.outcome == "answered"
