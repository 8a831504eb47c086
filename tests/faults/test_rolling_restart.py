"""All replicas are replaced one after the other while streams are open. Clients notice at most a pause."""

from __future__ import annotations

import asyncio
import random
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import httpx2
import pytest

from responsa_client import AsyncResponsa
from tests.faults.askers import Askers, answer_to, hold, question
from tests.faults.cluster import Caller, Cluster, Replica
from tests.faults.forms import Form, Report, forms
from tests.faults.guards import Guard
from tests.faults.readers import GrpcWay, Seen, SseWay, asking, follow
from tests.faults.sockets import SocketSeen, keep_asking_on_sockets
from tests.instance import eventually

REPLICAS = 2
STREAMS_A_CHANNEL = 50
LONG = question(tokens=300, pace_ms=20)
ROOMY = {
    "RESPONSA_TURNS__MAX_RUNNING": "600",
    "RESPONSA_DRAIN_SECONDS": "2",
    # This is the default lease, because this campaign tests the handover and not takeovers. A process with hundreds of
    # turns, on a machine that is busy with five hundred clients, may renew its leases a second late.
    "RESPONSA_TURNS__LEASE_SECONDS": "6",
}


@dataclass
class Users:
    """Users of the public client. Every error that the client raises is a failure that a user would see."""

    url: str
    caller: Caller
    dice: random.Random
    size: int
    seen: list[Seen] = field(default_factory=list[Seen])
    enough: bool = False

    async def ask(self, stack: AsyncExitStack, group: asyncio.TaskGroup) -> None:
        """Keep this number of streams open."""
        for first in range(0, self.size, STREAMS_A_CHANNEL):
            client = await stack.enter_async_context(AsyncResponsa(self.url, api_key=self.caller.key))
            for _ in range(first, min(first + STREAMS_A_CHANNEL, self.size)):
                group.create_task(self._keep_asking(client))

    async def _keep_asking(self, client: AsyncResponsa) -> None:
        # The answers are so slow that a small machine can run five hundred of them together with the clients. At
        # four words per second, the answers alone used all of the machine's CPU.
        ask = (
            question(tokens=15, pace_ms=1000)
            if self.size > STREAMS_A_CHANNEL
            else question(tokens=60, pace_ms=40)
        )
        while not self.enough:
            reader = Seen(asking(ask(self.dice)))
            self.seen.append(reader)
            async with client.ask(
                reader.request.text,
                agent="testing",
                request_id=reader.request.request_id,
                include_deltas=True,
            ) as stream:
                async for event in stream:
                    reader.events.append(event)
                reader.turn = stream.turn


async def replace(cluster: Cluster, old: Replica) -> Replica:
    """Replace a replica in the same steps as an operator: start the next replica, add it to Envoy, stop the old
    replica, and remove it from Envoy's list when it has ended."""
    new = await cluster.soon(**ROOMY)
    await asyncio.to_thread(cluster.admit, new)
    old.signal(signal.SIGTERM)
    code = await asyncio.to_thread(old.until_ended)
    assert code == 0, f"{old.name} ended with {code}: {old.said()}"
    cluster.dismiss(old)
    return new


def reconnects(askers: Askers) -> int:
    """The number of times the server asked a client to reconnect."""
    return sum(one.reconnects for one in askers.seen)


@forms(long=20)
async def test_a_rolling_restart_is_a_pause_at_most(
    cluster: Cluster, form: Form, request: pytest.FixtureRequest
) -> None:
    report = Report("rolling_restart", form)
    caller = await cluster.caller()
    replicas = list(await asyncio.gather(*(cluster.soon(**ROOMY) for _ in range(REPLICAS))))
    await asyncio.to_thread(cluster.admit, *replicas)
    streams = 500 if form.limits else 6
    readers = 4 if form.limits else 2
    on_sockets: list[SocketSeen] = []
    users = Users(f"http://{cluster.target}", caller, form.dice(), streams)
    async with AsyncExitStack() as stack:
        # A few strict readers among the clients count repeated and missing events, which the other clients do not notice.
        # If the answers were shorter, they would end before Envoy notices the change.
        askers = await stack.enter_async_context(
            Askers(cluster.target, caller, form.dice("crowd"), 2 * readers, LONG)
        )
        http = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False))
        events = await stack.enter_async_context(
            Askers(
                cluster.target,
                caller,
                form.dice("events"),
                readers,
                LONG,
                way=lambda: SseWay(cluster.target, caller.key, http),
            )
        )
        async with asyncio.TaskGroup() as group:
            await users.ask(stack, group)
            for number in range(readers):
                dice = form.dice(f"socket {number}")
                group.create_task(
                    keep_asking_on_sockets(
                        cluster.target, caller.key, LONG, dice, on_sockets, lambda: users.enough
                    )
                )
            await askers.more(50)
            # Repeat if no reader was connected to the replaced replica.
            while report.counts.get("rounds", 0) < form.count or not (
                reconnects(askers) and reconnects(events) and any(one.reconnects for one in on_sockets)
            ):
                for place, old in enumerate(replicas):
                    replicas[place] = await replace(cluster, old)
                report.count("rounds")
            users.enough = True
    report.count("open streams", streams)
    report.count("reconnects told", reconnects(askers))
    report.count("reconnects of event streams", reconnects(events))
    report.count("sockets closed for a restart", sum(one.reconnects for one in on_sockets))
    report.measured("gap", [gap for one in askers.seen for gap in one.gaps])
    report.measured("gap of event streams", [gap for one in events.seen for gap in one.gaps])
    report.measured("gap on sockets", [gap for one in on_sockets for gap in one.gaps])
    seen = [*users.seen, *askers.seen, *events.seen]
    hold(caller, seen, report)
    report.tell(request)
    failed = [one for one in seen if one.outcome != "answer"]
    assert not failed, [(one.turn, one.terminal) for one in failed]
    assert all(one.text == answer_to(one.request.text) for one in seen)
    for one in on_sockets:
        one.check()
    assert report.counts["reconnects told"] > 0


@pytest.mark.soak
async def test_without_handing_over_the_campaign_finds_turns_that_failed(cluster: Cluster) -> None:
    caller = await cluster.caller()
    old = await cluster.soon(guards_out=[Guard.HANDOVER], RESPONSA_DRAIN_SECONDS="0.5")
    await asyncio.to_thread(cluster.admit, old)
    async with GrpcWay(cluster.target, caller.key) as way:
        reader = Seen(asking("tokens=2000 pace_ms=20 seed=1"))
        following = asyncio.create_task(follow(way, reader, until=lambda seen: seen.ended))
        await asyncio.to_thread(eventually, lambda: reader.through > 5, "its first words")
        await replace(cluster, old)
        await following
    assert reader.outcome == "failed"
