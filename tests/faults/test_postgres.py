"""PostgreSQL is restarted and killed, and its connections are cut. No committed event is lost, and clients continue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import psycopg
import pytest

from tests.faults.askers import Askers, all_answered, differences, hold, question
from tests.faults.cluster import Cluster
from tests.faults.forms import Form, Report, forms
from tests.faults.guards import Guard
from tests.faults.readers import GrpcWay, Seen, asking, follow
from tests.instance import eventually

PAUSE = 10.0
"""The number of seconds between two disturbances in the long form. 360 disturbances take an hour."""


def kill_all(cluster: Cluster) -> None:
    """Kill all processes of PostgreSQL at once with SIGKILL, then start it again."""
    cluster.postgres.kill()
    cluster.postgres.start()


def disturbances(cluster: Cluster) -> Sequence[tuple[str, Callable[[], object]]]:
    """The disturbances of PostgreSQL, in rotation."""

    def cut() -> None:
        with psycopg.connect(cluster.dsn, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    def restart() -> None:
        cluster.postgres.stop()
        cluster.postgres.start()

    return (("connections cut", cut), ("restarted", restart), ("killed", lambda: kill_all(cluster)))


@forms(long=360)
async def test_clients_go_on_whatever_becomes_of_postgresql(
    cluster: Cluster, form: Form, request: pytest.FixtureRequest
) -> None:
    report = Report("postgres", form)
    caller = await cluster.caller()
    replicas = await asyncio.gather(cluster.soon(), cluster.soon())
    await asyncio.to_thread(cluster.admit, *replicas)
    steps = disturbances(cluster)
    async with Askers(
        cluster.target, caller, form.dice(), 12 if form.limits else 6, question(tokens=96, pace_ms=10)
    ) as askers:
        for number in range(form.count):
            due = time.monotonic() + PAUSE
            # The long form waits for this time between two disturbances. The short form waits only for a number of frames.
            await askers.more(150 if form.limits else 60)
            if form.limits:
                await askers.until(lambda due=due: time.monotonic() > due, "the next disturbance")
            name, disturb = steps[number % len(steps)]
            await asyncio.to_thread(disturb)
            report.count(name)
    report.measured("gap", [gap for one in askers.seen for gap in one.gaps])
    hold(caller, askers.seen, report)
    report.tell(request)
    all_answered(askers.seen, cluster.layout.logs)
    assert all(replica.alive for replica in replicas)


@pytest.mark.soak
async def test_without_synchronous_commits_the_campaign_finds_events_that_were_lost(cluster: Cluster) -> None:
    caller = await cluster.caller()
    replica = await cluster.soon(guards_out=[Guard.SYNCHRONOUS_COMMIT])
    async with GrpcWay(replica.address, caller.key) as way:
        broken: set[str] = set()
        for _ in range(10):
            one = Seen(asking("tokens=400 pace_ms=2 seed=1"))
            following = asyncio.create_task(follow(way, one))
            # A crash may also lose the turn itself, or data that this question needs. Then the next question is tried.
            await asyncio.to_thread(
                eventually,
                lambda one=one, following=following: one.through > 30 or following.done(),
                "its first words",
            )
            await asyncio.to_thread(kill_all, cluster)
            # The comparison uses the log after the crash, or the log that another attempt has continued. In both cases,
            # the log differs from the events that the reader received.
            await asyncio.to_thread(
                eventually,
                lambda one=one, following=following: (
                    following.done() or bool(differences(caller.ledger, [one]))
                ),
                "a difference, or the end",
            )
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            broken = {violation.invariant for violation in differences(caller.ledger, [one])}
            if "contiguous" in broken:
                break
    assert "contiguous" in broken
