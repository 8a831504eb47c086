"""Connections to PostgreSQL are cut immediately before or after a commit of accept, claim, append and finish. No event
is doubled or lost."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter

import pytest

from responsa_server.stores.postgres.database import Queries
from tests.faults.askers import Askers, answer_to, hold, question
from tests.faults.cluster import Cluster
from tests.faults.forms import Form, Report, forms
from tests.faults.guards import Guard
from tests.faults.postgres_proxy import PostgresProxy, When, Write, kind_of
from tests.faults.readers import GrpcWay, Seen, asking, follow
from tests.instance import eventually

PLACES: tuple[tuple[Write, When], ...] = tuple(
    itertools.product((Write.ACCEPT, Write.CLAIM, Write.APPEND, Write.FINISH), When)
)


def nothing(kind: Write) -> When | None:
    """Stop cutting."""
    del kind
    return None


def proxy_of(cluster: Cluster) -> PostgresProxy:
    return PostgresProxy(cluster.layout.run / "pg", cluster.layout.postgres_run / ".s.PGSQL.5432")


@forms(short=8, long=400)
async def test_a_commit_whose_connection_is_cut_is_neither_lost_nor_doubled(
    cluster: Cluster, form: Form, request: pytest.FixtureRequest
) -> None:
    report = Report("cut_commits", form)
    caller = await cluster.caller()
    dice = form.dice()
    left: Counter[tuple[Write, When]] = Counter(
        place for place, _ in zip(itertools.cycle(PLACES), range(form.count), strict=False)
    )

    def decide(kind: Write) -> When | None:
        """Cuts at each place as often as required. Most commits succeed, so that turns end."""
        due = [when for when in When if left[kind, when] > 0]
        if not due or dice.random() > (0.05 if kind is Write.APPEND else 0.3):
            return None
        when = dice.choice(due)
        left[kind, when] -= 1
        return when

    async with proxy_of(cluster) as proxy:
        # One replica accepts and another runs, so that turns are claimed.
        replica, worker = await asyncio.gather(
            cluster.soon("rpc", database=proxy.folder), cluster.soon("worker", database=proxy.folder)
        )
        proxy.decide = decide
        async with Askers(
            replica.address, caller, form.dice("crowd"), 6, question(tokens=48, pace_ms=2)
        ) as askers:
            await askers.until(lambda: left.total() == 0, "all cuts")
        proxy.decide = nothing
        hold(caller, askers.seen, report)
        for (kind, when), count in sorted(proxy.cuts.items()):
            report.count(f"{when.value} {kind.value}", count)
        # The proxy ends here, and the connections of these replicas end with it. Therefore kill the replicas first.
        await asyncio.to_thread(replica.kill)
        await asyncio.to_thread(worker.kill)
    report.count("cuts", proxy.cut_so_far())
    report.measured("gap", [gap for one in askers.seen for gap in one.gaps])
    report.tell(request)
    assert proxy.cut_so_far() == form.count
    assert all(one.text == answer_to(one.request.text) for one in askers.seen)


@pytest.mark.soak
async def test_without_its_fence_the_campaign_finds_what_was_written_twice(cluster: Cluster) -> None:
    """An append that is sent again without a check of the committed rows writes its events a second time."""
    caller = await cluster.caller()
    appends = 0

    def decide(kind: Write) -> When | None:
        nonlocal appends
        appends += kind is Write.APPEND
        return When.AFTER if kind is Write.APPEND and appends % 8 == 0 else None

    broken: set[str] = set()
    async with proxy_of(cluster) as proxy:
        replica = await cluster.soon(database=proxy.folder, guards_out=[Guard.REPEATABLE_WRITES])
        proxy.decide = decide
        async with GrpcWay(replica.address, caller.key) as way:
            while not broken:
                one = Seen(asking("tokens=64 pace_ms=5 seed=1"))
                following = asyncio.create_task(follow(way, one))
                await asyncio.to_thread(
                    eventually,
                    lambda following=following: following.done() or bool(caller.ledger.check(ended=False)),
                    "a violation",
                )
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
                broken = {violation.invariant for violation in caller.ledger.check(ended=False)}
        await asyncio.to_thread(replica.kill)
    assert "contiguous" in broken


def test_the_proxy_tells_statements_apart() -> None:
    """The proxy must recognise the product's statements; otherwise it would cut no connection, and the campaign would find no error."""
    queries = Queries("turns.sql", "turn_log.sql")
    assert kind_of([queries["accept_turn"]]) is Write.ACCEPT
    assert kind_of([queries["finish_turns"]]) is Write.FINISH
    assert kind_of([queries["append_fence"], queries["append_rows"]]) is Write.APPEND
    assert kind_of([queries["claim_turns"]]) is Write.CLAIM
    assert kind_of([queries["backlog"]]) is None
