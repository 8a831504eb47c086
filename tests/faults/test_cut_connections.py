"""Connections are cut after random numbers of bytes, between client and Envoy and between Envoy and replica. Every
reader still receives the golden stream."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from clients.conformance.proxies import Budget, CuttingProxy, random_cuts
from responsa_client import AsyncResponsa, CannotConnect
from tests.faults.askers import answer_to, differences, hold, question
from tests.faults.cluster import Caller, Cluster
from tests.faults.forms import Form, Report, forms
from tests.faults.golden import is_terminal, same
from tests.faults.guards import Guard
from tests.faults.readers import GrpcWay, Seen, SseWay, Way, WebWay, asking, follow
from tests.faults.sockets import SocketSeen, as_golden_on_sockets, keep_asking_on_sockets

MOST_BYTES = 6000
"""Connections are cut after fewer bytes to the client than this number."""


@dataclass
class Cutting:
    """Proxies on both sides of Envoy. `cuts` counts their cuts."""

    front: CuttingProxy
    back: CuttingProxy
    gateway: CuttingProxy
    """The proxy in front of the same replica's event streams and WebSockets."""
    dice: random.Random
    whole: str
    """The gRPC target of a replica without cuts."""

    @property
    def cuts(self) -> int:
        return self.front.cuts + self.back.cuts + self.gateway.cuts

    def stop(self) -> None:
        """Stop cutting."""
        for proxy in (self.front, self.back, self.gateway):
            proxy.stop_cutting()


@asynccontextmanager
async def cutting(
    cluster: Cluster, dice: random.Random, guards_out: Sequence[Guard] = ()
) -> AsyncGenerator[Cutting]:
    """Two replicas. One of them is behind a proxy that cuts connections. All clients connect through another such proxy."""
    cut_off, plain = await asyncio.gather(
        cluster.soon(guards_out=guards_out), cluster.soon(guards_out=guards_out)
    )
    back, gateway = (_in_front_of(address) for address in (cut_off.address, cut_off.http))
    front = CuttingProxy(
        ("127.0.0.1", cluster.front_port), ("127.0.0.1", cluster.port), random_cuts(dice, MOST_BYTES)
    )
    async with front, back, gateway:
        through = {cut_off.address: f"unix:{back.listen}", cut_off.http: f"unix:{gateway.listen}"}
        await asyncio.to_thread(cluster.admit, cut_off, plain, through=through)
        # Envoy's health checks go through these proxies too. Therefore the budgets here are larger than those in front of
        # Envoy, and cuts are rarer.
        back.draw = gateway.draw = lambda: Budget(to_client=dice.randrange(1000, 10 * MOST_BYTES))
        yield Cutting(front, back, gateway, dice, plain.address)
        back.stop_cutting()
        gateway.stop_cutting()


def _in_front_of(address: str) -> CuttingProxy:
    socket = Path(address.removeprefix("unix:"))
    return CuttingProxy(socket.with_name(f"{socket.name}.proxy"), socket)


@dataclass
class Readers:
    """Readers that ask through the cutting proxies until the number of cuts is reached."""

    form: Form
    report: Report
    cut: Cutting
    seen: list[Seen] = field(default_factory=list[Seen])
    on_sockets: list[SocketSeen] = field(default_factory=list[SocketSeen])

    def enough(self) -> bool:
        """Whether the required number of cuts has been reached."""
        return self.cut.cuts >= self.form.count

    async def keep_asking(self, way: Way) -> None:
        """A strict reader that asks one question after another, with and without deltas."""
        ask = question(tokens=200, pace_ms=2)
        while not self.enough():
            reader = Seen(asking(ask(self.cut.dice), deltas=self.cut.dice.random() < 0.8))
            self.seen.append(reader)
            await follow(way, reader)

    async def keep_asking_as_users_do(self, client: AsyncResponsa) -> None:
        """The public client as a reader. It hides all cuts."""
        ask = question(tokens=200, pace_ms=2)
        while not self.enough():
            reader = Seen(asking(ask(self.cut.dice)))
            try:
                async with client.ask(
                    reader.request.text,
                    agent="testing",
                    request_id=reader.request.request_id,
                    include_deltas=True,
                ) as stream:
                    async for event in stream:
                        reader.events.append(event)
                    reader.turn = stream.turn
            except CannotConnect:
                # The very first connection was cut before it reached the server. A user would get this error and
                # try again.
                continue
            self.seen.append(reader)
            self.report.count("turns by the public client")


@forms(short=20, long=10_000)
async def test_a_reader_whose_connection_is_cut_sees_what_one_saw_who_kept_it(
    cluster: Cluster, form: Form, request: pytest.FixtureRequest
) -> None:
    report = Report("cut_connections", form)
    caller = await cluster.caller()
    async with AsyncExitStack() as stack:
        cut = await stack.enter_async_context(cutting(cluster, form.dice()))
        http = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False))
        readers = Readers(form, report, cut)
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                way = await stack.enter_async_context(GrpcWay(cluster.front, caller.key))
                group.create_task(readers.keep_asking(way))
                group.create_task(readers.keep_asking(WebWay(cluster.front, caller.key, http)))
                group.create_task(readers.keep_asking(SseWay(cluster.front, caller.key, http)))
                group.create_task(
                    keep_asking_on_sockets(
                        cluster.front,
                        caller.key,
                        question(tokens=200, pace_ms=2),
                        cut.dice,
                        readers.on_sockets,
                        readers.enough,
                    )
                )
                client = await stack.enter_async_context(
                    AsyncResponsa(f"http://{cluster.front}", api_key=caller.key)
                )
                group.create_task(readers.keep_asking_as_users_do(client))
        cut.stop()
        await as_golden(cut.whole, caller, readers.seen)
        await as_golden_on_sockets(cluster.target, caller.key, readers.on_sockets)
    report.count("cuts at the client", cut.front.cuts)
    report.count("cuts at a replica", cut.back.cuts)
    report.count("cuts at a replica's gateway", cut.gateway.cuts)
    report.count("turns on sockets", len(readers.on_sockets))
    report.count("sockets cut", sum(one.cuts for one in readers.on_sockets))
    report.measured("gap on sockets", [gap for one in readers.on_sockets for gap in one.gaps])
    report.measured("gap", [gap for one in readers.seen for gap in one.gaps])
    report.count("lost", sum(one.holes for one in readers.seen))
    report.count("doubled", sum(one.doubled for one in (*readers.seen, *readers.on_sockets)))
    hold(caller, readers.seen, report)
    report.tell(request)
    assert readers.enough()
    assert any(one.cuts for one in readers.on_sockets), "no socket was cut in mid-turn"
    assert all(one.text == answer_to(one.request.text) for one in readers.seen)


async def as_golden(target: str, caller: Caller, seen: Sequence[Seen]) -> None:
    """A stream with many cuts has the same bytes as a stream without cuts."""
    async with GrpcWay(target, caller.key) as way:
        for one in seen:
            whole = Seen(one.request, turn=one.turn)
            await follow(way, whole)
            assert whole.cuts == 0
            same(one.events, whole.events)


async def test_a_follower_from_the_beginning_and_one_that_resumes_see_the_same_at_every_seq(
    cluster: Cluster,
) -> None:
    """A reader that resumes after any seq, during or after the turn, receives the rest of the golden stream."""
    caller = await cluster.caller()
    cluster.admit(await cluster.soon(), await cluster.soon())
    async with GrpcWay(cluster.target, caller.key, fresh=True) as way:
        golden = Seen(asking("tokens=40 pace_ms=3 tool=idempotent seed=5"))
        resumed: list[Seen] = []
        tasks: list[asyncio.Task[Seen]] = []

        def more(reader: Seen) -> bool:
            if reader.ended:
                return True
            late = Seen(reader.request, turn=reader.turn, through=reader.through)
            resumed.append(late)
            tasks.append(asyncio.create_task(follow(way, late)))
            return False

        await follow(way, golden, until=more)
        await asyncio.gather(*tasks)
        for after in range(golden.events[-1].seq):
            late = Seen(golden.request, turn=golden.turn, through=after)
            resumed.append(await follow(way, late))
    for late in resumed:
        if late.events:
            same(late.events, golden.events[late.events[0].seq - 1 :])
            assert is_terminal(late.events[-1])
    assert not differences(caller.ledger, [golden])


@pytest.mark.soak
@pytest.mark.parametrize("guard", [Guard.OVERLAP_DROPPED, Guard.SUBSCRIBE_BEFORE_READ])
async def test_without_its_guard_the_campaign_finds_what_was_lost_or_doubled(
    cluster: Cluster, guard: Guard
) -> None:
    caller = await cluster.caller()
    dice = Form(0, limits=False, seed=2).dice()
    async with cutting(cluster, dice, guards_out=[guard]), GrpcWay(cluster.front, caller.key) as way:
        failures: list[str] = []
        while not failures:
            one = Seen(asking(question(tokens=200, pace_ms=2)(dice)))
            try:
                await follow(way, one)
            except AssertionError as error:
                failures.append(str(error))
            failures.extend(violation.invariant for violation in differences(caller.ledger, [one]))
    assert failures
