"""Turns are cancelled at random times, even just as they finish. Each turn soon has exactly one terminal event, and the
socket to its model is closed."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import grpc
import pytest

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1 import turn_pb2
from responsa_server.domain.faults import Fault
from tests.faults.askers import hold, question
from tests.faults.cluster import ABSENT, Cluster
from tests.faults.forms import Form, Report, forms
from tests.faults.guards import Guard
from tests.faults.placed import Act, Placed
from tests.faults.readers import GrpcWay, Seen, asking, follow
from tests.instance import eventually

AT_ONCE = 8
MOST_FRAMES = 30


@dataclass
class Cancels:
    """For each turn that a cancel ended, the time (time.time()) at which the cancel was sent."""

    sent: dict[str, float] = field(default_factory=dict[str, float])


async def cancel_once(
    way: GrpcWay, other: GrpcWay, report: Report, cancels: Cancels, reader: Seen, after: int
) -> None:
    """Ask through one replica, cancel through the other after this number of frames, and read how the turn ends."""
    cancelled_at = 0.0
    cancelling: asyncio.Task[turn_pb2.Turn] | None = None
    frames = 0

    async def cancel() -> turn_pb2.Turn:
        return await other.stub.CancelTurn(chat.CancelTurnRequest(name=reader.turn), metadata=other.metadata)

    def until(seen: Seen) -> bool:
        nonlocal cancelling, cancelled_at, frames
        frames += 1
        if cancelling is None and frames >= after and seen.turn:
            cancelled_at = time.monotonic()
            cancels.sent[seen.turn] = time.time()
            cancelling = asyncio.create_task(cancel())
        return seen.ended

    await follow(way, reader, until=until)
    if cancelling is None:
        cancelling = asyncio.create_task(cancel())
    turn = await cancelling
    if not turn.HasField("terminal_event"):
        # An administrator does not get the content of a turn that had ended before.
        assert other.metadata != way.metadata
        turn = await way.stub.GetTurn(chat.GetTurnRequest(name=reader.turn), metadata=way.metadata)
    # The response of the cancel has the terminal event that was committed, and every reader received the same event.
    assert turn.terminal_event == reader.terminal, (turn.terminal_event, reader.terminal)
    report.count(reader.outcome)
    if reader.outcome == "cancelled":
        report.measured("terminal event", max(0.0, reader.arrivals[-1] - cancelled_at))
    else:
        cancels.sent.pop(reader.turn, None)


@pytest.mark.parametrize("redis", [True, False], ids=["redis", "no redis"])
@forms(short=12, long=500)
async def test_a_cancel_ends_a_turn_soon_and_once(
    cluster: Cluster, form: Form, redis: bool, request: pytest.FixtureRequest
) -> None:
    report = Report("cancel" if redis else "cancel_without_redis", form)
    caller = await cluster.caller()
    settings = {} if redis else {"REDIS_URL": ABSENT}
    # One process answers and another receives the cancel.
    first, second = await asyncio.gather(cluster.soon("all", **settings), cluster.soon("rpc", **settings))
    dice = form.dice()
    seen: list[Seen] = []
    cancels = Cancels()
    async with AsyncExitStack() as stack:
        pairs = [
            (
                await stack.enter_async_context(GrpcWay(first.address, caller.key)),
                await stack.enter_async_context(
                    GrpcWay(second.address, caller.admin_key if n % 4 == 0 else caller.key)
                ),
            )
            for n in range(AT_ONCE)
        ]

        async def keep_cancelling(way: GrpcWay, other: GrpcWay) -> None:
            while report.counts.get("cancels", 0) < form.count:
                report.count("cancels")
                one = Seen(asking(question(tokens=24, pace_ms=4)(dice)))
                seen.append(one)
                await cancel_once(way, other, report, cancels, one, dice.randrange(1, MOST_FRAMES))

        async with asyncio.TaskGroup() as group:
            for way, other in pairs:
                group.create_task(keep_cancelling(way, other))
    hold(caller, seen, report)
    await asyncio.to_thread(sockets_closed, cluster, cancels, report)
    report.tell(request)
    assert report.counts.get("cancelled", 0) > 0
    if form.limits:
        assert report.quantile("terminal event", 0.99) <= 1.0
        assert report.quantile("model's socket", 0.99) <= (0.25 if redis else 1.5)


def sockets_closed(cluster: Cluster, cancels: Cancels, report: Report) -> None:
    """Check that the model call of every cancelled turn has ended, and that interrupted calls ended soon after the cancel."""
    eventually(lambda: cluster.model_stats()["streaming"] == 0, "the end of all calls of the model")
    for left in cluster.model_stats()["disconnects"]:
        if left["label"] in cancels.sent:
            report.measured("model's socket", max(0.0, left["at"] - cancels.sent[left["label"]]))
    report.count("model calls cut short", len(report.samples.get("model's socket", ())))


@pytest.mark.parametrize("place", [Fault.BEFORE_CANCEL, Fault.AFTER_CANCEL])
async def test_a_cancel_survives_the_death_of_who_was_asked_for_it(cluster: Cluster, place: Fault) -> None:
    caller = await cluster.caller()
    works, dies = await asyncio.gather(cluster.soon(), cluster.soon("rpc", faults=[Placed(place, Act.KILL)]))
    async with GrpcWay(works.address, caller.key) as way, GrpcWay(dies.address, caller.key) as other:
        reader = Seen(asking("tokens=2000 pace_ms=20 seed=1"))
        following = asyncio.create_task(follow(way, reader))
        await asyncio.to_thread(eventually, lambda: reader.through > 3, "its first words")
        with pytest.raises(grpc.RpcError):
            await other.stub.CancelTurn(chat.CancelTurnRequest(name=reader.turn), metadata=other.metadata)
        await asyncio.to_thread(dies.until_ended)
        turn = await way.stub.CancelTurn(chat.CancelTurnRequest(name=reader.turn), metadata=way.metadata)
        await following
    assert reader.outcome == "cancelled"
    assert turn.terminal_event == reader.terminal
    assert not caller.ledger.check()


@pytest.mark.soak
async def test_without_its_lock_the_campaign_finds_a_cancel_that_lost_against_a_finish(
    cluster: Cluster,
) -> None:
    """Without the lock, a cancel reads first and writes later, so the turn can change between the read and the write."""
    caller = await cluster.caller()
    replica = await cluster.soon(guards_out=[Guard.CANCEL_LOCK])
    report = Report("cancel", Form(1, limits=False, seed=1))
    async with GrpcWay(replica.address, caller.key) as way:
        failed: list[str] = []
        for _ in range(20):
            one = Seen(asking("tokens=4 pace_ms=5 seed=1"))
            try:
                await cancel_once(way, way, report, Cancels(), one, 2)
            except (AssertionError, grpc.RpcError) as error:
                failed.append(repr(error))
                break
    assert failed or caller.ledger.check()
