"""The two deployments of histories: one with simulated processes within one process, and one with real processes."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing, suppress
from contextvars import copy_context
from typing import Any
from uuid import UUID

import grpc
import psycopg
from psycopg.conninfo import make_conninfo
from uuid_utils.compat import uuid7

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa_local.embedded import EmbeddedPostgres
from responsa_server.domain.people import Principal, Role
from responsa_server.stores.postgres.database import Database
from tests.faults.cluster import Caller, Cluster, Replica
from tests.faults.guards import Guard, without
from tests.faults.invariants import Ledger
from tests.faults.placed import Placed
from tests.faults.readers import Cut, Frame, GrpcWay, Refusal, Way
from tests.faults.simulated import OWNER, Process, Processes, SimulatedWay, owned_tasks, until_dead

DATABASES = 6


class SimulatedStage:
    """Makes deployments within this process. The deployments use the database of a cluster. Call `close` at the end."""

    def __init__(self, cluster: Cluster, guards_out: Sequence[Guard] = ()) -> None:
        """guards_out: the SQL guards to remove."""
        self.loop = asyncio.new_event_loop()
        self.loop.set_task_factory(owned_tasks)
        self._context = copy_context()
        self.dsn = cluster.dsn
        postgres = EmbeddedPostgres(cluster.layout)
        names = [f"process-{number}" for number in range(DATABASES)]
        self._databases = [
            Database(
                make_conninfo(postgres.dsn("app"), application_name=name),
                make_conninfo(postgres.dsn("log"), application_name=name),
                size=4,
            )
            for name in names
        ]
        self._queries = without(guards_out)
        for database in self._databases:
            self.loop.run_until_complete(database.open())

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task that belongs to the present deployment."""
        return self.loop.create_task(work, context=self._context)

    async def deployment(self, seed: int) -> SimulatedDeployment:
        tasks: set[asyncio.Task[Any]] = set()
        OWNER.set(tasks)
        caller = Principal(f"history-{uuid7()}", uuid7(), Role.USER, "api_key")
        with psycopg.connect(self.dsn) as connection:
            connection.execute(
                "INSERT INTO responsa.tenant (id, display_name) VALUES (%s, 'a history')", (caller.tenant_id,)
            )
            connection.execute(
                "INSERT INTO responsa.app_user (id, tenant_id, display_name, role) VALUES (%s, %s, 'a user', 'user')",
                (caller.user_id, caller.tenant_id),
            )
        dice = random.Random(seed)
        return SimulatedDeployment(
            Processes(self._databases, dice, tasks, self._queries), caller, Ledger(self.dsn, caller.tenant_id)
        )

    def close(self) -> None:
        for database in self._databases:
            self.loop.run_until_complete(database.close())
        self.loop.close()


class SimulatedDeployment:
    """A `Deployment` of simulated processes within this process."""

    def __init__(self, processes: Processes, caller: Principal, ledger: Ledger) -> None:
        self._processes = processes
        self._caller = caller
        self.ledger = ledger

    @property
    def alive(self) -> int:
        return len(self._processes.alive)

    @property
    def struck(self) -> int:
        return sum(process.struck for process in self._processes.processes)

    def _at(self, place: int) -> Process | None:
        serving = self._processes.alive
        return serving[place % len(serving)] if serving else None

    def way(self, place: int) -> Way:
        return SimulatedWay(self._caller, lambda: self._at(place))

    async def start(self) -> None:
        await self._processes.start()

    async def kill(self, place: int) -> None:
        if (process := self._at(place)) is not None:
            process.kill()

    async def stop(self, place: int) -> None:
        if (process := self._at(place)) is not None:
            process.gate.stop()

    async def go_on(self) -> None:
        for process in self._processes.alive:
            process.gate.go_on()

    async def drain(self, place: int) -> None:
        if (process := self._at(place)) is not None:
            process.gate.go_on()
            await process.drain()

    async def flush(self, how: int) -> None:
        self._processes.hints.loss = (0.0, 0.5, 1.0)[how]

    async def soothe(self) -> None:
        self._processes.hints.loss = 0.0
        for process in self._processes.alive:
            process.faults.place(())
            process.gate.go_on()

    async def cancel(self, place: int, turn: str) -> None:
        if (process := self._at(place)) is not None:
            await until_dead(process, process.turns.cancel(self._caller, UUID(turn.removeprefix("turns/"))))

    def place(self, place: int, fault: Placed) -> None:
        if (process := self._at(place)) is not None:
            process.faults.place([fault])

    async def calls(self) -> dict[UUID, int]:
        return {UUID(key.partition("/")[0]): count for key, count in self._processes.calls.items()}

    async def close(self) -> None:
        await self._processes.close()
        self.ledger.close()


class ClusterStage:
    """Makes deployments of real processes."""

    def __init__(self, cluster: Cluster) -> None:
        self.loop = asyncio.new_event_loop()
        self._cluster = cluster

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self.loop.create_task(work)

    async def deployment(self, seed: int) -> ClusterDeployment:
        del seed
        return ClusterDeployment(self._cluster, await self._cluster.caller())

    def close(self) -> None:
        self.loop.close()


class ClusterDeployment:
    """A `Deployment` of replicas. Faults cannot be placed inside a running replica, so the whole replica is killed."""

    def __init__(self, cluster: Cluster, caller: Caller) -> None:
        self._cluster = cluster
        self._caller = caller
        self.ledger = caller.ledger
        self._ways: dict[str, GrpcWay] = {}
        self._killed: list[Replica] = []

    @property
    def _serving(self) -> Sequence[Replica]:
        return [replica for replica in self._cluster.replicas.values() if replica.alive]

    @property
    def alive(self) -> int:
        return len(self._serving)

    @property
    def struck(self) -> int:
        return 0

    def _at(self, place: int) -> Replica | None:
        serving = self._serving
        return serving[place % len(serving)] if serving else None

    def _to(self, replica: Replica) -> GrpcWay:
        if replica.name not in self._ways:
            self._ways[replica.name] = GrpcWay(replica.address, self._caller.key)
        return self._ways[replica.name]

    def way(self, place: int) -> Way:
        return _Choosing(self, place)

    def chosen(self, place: int) -> GrpcWay:
        replica = self._at(place)
        if replica is None:
            raise Cut("nobody serves")
        return self._to(replica)

    async def start(self) -> None:
        await self._cluster.soon(
            sweep_seconds=0.1,
            RESPONSA_TURNS__LEASE_SECONDS="0.5",
            RESPONSA_DRAIN_SECONDS="0.5",
            RESPONSA_NOTICE_SECONDS="0",
        )

    async def kill(self, place: int) -> None:
        if (replica := self._at(place)) is not None:
            await asyncio.to_thread(replica.kill)

    async def stop(self, place: int) -> None:
        if (replica := self._at(place)) is not None:
            replica.signal(signal.SIGSTOP)

    async def go_on(self) -> None:
        for replica in self._serving:
            if replica.stopped:
                replica.signal(signal.SIGCONT)

    async def drain(self, place: int) -> None:
        if (replica := self._at(place)) is not None:
            replica.signal(signal.SIGCONT)
            replica.signal(signal.SIGTERM)
            await asyncio.to_thread(replica.until_ended)

    async def flush(self, how: int) -> None:
        if not self._cluster.redis.alive:
            await asyncio.to_thread(self._cluster.redis.start)
        elif how == 0:
            await asyncio.to_thread(self._cluster.redis.stop)
        else:
            await asyncio.to_thread(self._cluster.ask_redis, "FLUSHALL")

    async def soothe(self) -> None:
        await self.go_on()
        if not self._cluster.redis.alive:
            await asyncio.to_thread(self._cluster.redis.start)
        # A replica whose end was not reported yet counts as alive, and then nobody would start another one.
        for replica in self._killed:
            await asyncio.to_thread(replica.until_ended)

    async def cancel(self, place: int, turn: str) -> None:
        way = self.chosen(place)
        with suppress(grpc.RpcError, Refusal):
            await way.stub.CancelTurn(chat.CancelTurnRequest(name=turn), metadata=way.metadata)

    def place(self, place: int, fault: Placed) -> None:
        del fault
        if (replica := self._at(place)) is not None:
            replica.signal(signal.SIGKILL)
            self._killed.append(replica)

    async def calls(self) -> dict[UUID, int]:
        found = await asyncio.to_thread(self._cluster.tool_calls)
        return {UUID(key.partition("/")[0]): int(one["calls"]) for key, one in found.items()}

    async def close(self) -> None:
        for way in self._ways.values():
            await way.__aexit__()
        await asyncio.to_thread(self._cluster.clear)


class _Choosing:
    """A `Way` that chooses a replica by its index each time a stream begins."""

    def __init__(self, deployment: ClusterDeployment, place: int) -> None:
        self._deployment = deployment
        self._place = place

    async def ask(self, request: chat.AskRequest) -> AsyncGenerator[Frame]:
        async with aclosing(self._deployment.chosen(self._place).ask(request)) as frames:
            async for frame in frames:
                yield frame

    async def resume(self, request: chat.ResumeTurnRequest) -> AsyncGenerator[Frame]:
        async with aclosing(self._deployment.chosen(self._place).resume(request)) as frames:
            async for frame in frames:
                yield frame
