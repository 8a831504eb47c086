"""The list of replicas, and a real Envoy that reads its changes while it runs."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from responsa_local.envoy.envoy_config import EnvoyConfig
from responsa_local.envoy.replicas import Replica, ReplicaError, Replicas, own_name
from responsa_server.app.envoy_hosts import HostState, host_states
from responsa_server.domain.addresses import UnixAddress, parse
from tests.gateway.conftest import start_envoy
from tests.instance import free_port

SERVICE = "responsa.chat.v1.ChatService"
WHO = f"/{SERVICE}/Answer"
FOLLOW = f"/{SERVICE}/Ask"
UNIX = parse("unix:/run/a.sock")
TCP = parse("10.0.0.5:9001")


def test_replicas_are_kept_in_order_with_those_of_up_first(tmp_path: Path) -> None:
    replicas = Replicas(tmp_path / "replicas")
    assert replicas.all() == ()
    two = Replica("rpc-2", TCP, parse("10.0.0.5:9002"))
    replicas.add(two)
    own = [Replica("up-1", UNIX), Replica("up-2", parse("unix:/run/b.sock"))]
    replicas.put_own(own)
    assert replicas.all() == (*own, two)
    replaced = Replica(own_name(1, twin=True), parse("unix:/run/c.sock"))
    replicas.put_own([replaced])
    assert Replicas(tmp_path / "replicas").all() == (replaced, two)
    replicas.remove("rpc-2")
    assert replicas.all() == (replaced,)


def test_wrong_replicas_are_told(tmp_path: Path) -> None:
    replicas = Replicas(tmp_path / "replicas")
    replicas.add(Replica("one", UNIX, TCP))
    for wrong in ("", "Two", "two two", "-two", "x" * 64):
        with pytest.raises(ReplicaError, match="not a name for a replica"):
            Replica(wrong, TCP)
    with pytest.raises(ReplicaError, match="both the gRPC and the HTTP address"):
        Replica("two", TCP, TCP)
    with pytest.raises(ReplicaError, match="there is already a replica one"):
        replicas.add(Replica("one", parse("10.0.0.6:9001")))
    with pytest.raises(ReplicaError, match="already an address of the replica one"):
        replicas.add(Replica("two", TCP))
    with pytest.raises(ReplicaError, match="there is no replica two"):
        replicas.remove("two")
    assert [one.name for one in replicas.all()] == ["one"]
    (tmp_path / "replicas" / "replicas.json").write_text("{")
    with pytest.raises(ReplicaError, match="cannot be read"):
        replicas.all()


def test_two_may_edit_at_a_time(tmp_path: Path) -> None:
    def add(first: int) -> None:
        for number in range(first, first + 20):
            Replicas(tmp_path).add(Replica(f"r-{number}", parse(f"10.0.0.5:{9000 + number}")))

    threads = [threading.Thread(target=add, args=(first,)) for first in (0, 20, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.name for one in Replicas(tmp_path).all()} == {f"r-{number}" for number in range(60)}


class Named(grpc.GenericRpcHandler):
    """A replica that answers with its name, in one message or in a stream that ends on request."""

    def __init__(self, name: str, folder: Path, *, knows_the_service: bool = True) -> None:
        self.replica = Replica(name, UnixAddress(folder / f"{name}.sock"))
        self._told = name.encode()
        self.let = asyncio.Event()
        self.health = HealthServicer()
        self._service = SERVICE if knows_the_service else ""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if handler_call_details.method == WHO:
            return grpc.unary_unary_rpc_method_handler(self._who)
        if handler_call_details.method == FOLLOW:
            return grpc.unary_stream_rpc_method_handler(self._follow)
        return None

    async def _who(self, request: bytes, context: object) -> bytes:
        return self._told

    async def _follow(self, request: bytes, context: object) -> AsyncIterator[bytes]:
        yield self._told
        await self.let.wait()
        yield self._told

    async def start(self) -> Named:
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((self,))
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        self._server.add_insecure_port(str(self.replica.grpc))
        await self.health.set(self._service, health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()
        return self

    async def tell_not_serving(self) -> None:
        await self.health.set(self._service, health_pb2.HealthCheckResponse.NOT_SERVING)

    async def stop(self) -> None:
        await self._server.stop(None)


@dataclass
class Harness:
    """Envoy, and replicas in this process."""

    folder: Path
    port: int
    replicas: Replicas
    started: list[Named] = field(default_factory=list[Named])

    async def replica(self, name: str, *, knows_the_service: bool = True) -> Named:
        """A replica that serves and is in the list."""
        found = await Named(name, self.folder, knows_the_service=knows_the_service).start()
        self.started.append(found)
        self.replicas.add(found.replica)
        return found

    async def until(self, **states: HostState | None) -> None:
        """Wait until Envoy reports these states for the replicas. None means that Envoy does not know the replica."""
        wanted = {str(UnixAddress(self.folder / f"{name}.sock")): state for name, state in states.items()}
        while True:
            known = {
                host_state.address: host_state.state for host_state in host_states(self.folder / "a.sock")
            }
            if all(known.get(address) is state for address, state in wanted.items()):
                return
            await asyncio.sleep(0.02)  # between two checks of the condition

    async def ask(self, count: int) -> Counter[str]:
        """The number of calls that each replica answers. Raises if a call fails."""
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            call = channel.unary_unary(WHO)
            return Counter([(await call(b"", timeout=30)).decode() for _ in range(count)])


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    folder = Path(tempfile.mkdtemp(prefix="rgr"))
    replicas = Replicas(folder / "replicas")
    # These tests do not use the gateway's HTTP side.
    replicas.add(Replica("up", UnixAddress(folder / "up.sock"), UnixAddress(folder / "up-http.sock")))
    own = await Named("up", folder).start()
    config = EnvoyConfig(free_port(), replicas.folder, "127.0.0.1", admin_socket=folder / "a.sock")
    envoy = await asyncio.to_thread(start_envoy, config, folder)
    built = Harness(folder, config.port, replicas, [own])
    try:
        await built.until(up=HostState.SERVING)
        yield built
    finally:
        envoy.terminate()
        await asyncio.to_thread(envoy.wait, 20)
        for one in built.started:
            await one.stop()
        shutil.rmtree(folder)


async def test_envoy_follows_the_list_while_it_runs(harness: Harness) -> None:
    assert set(await harness.ask(5)) == {"up"}
    await harness.replica("two")
    await harness.replica("three")
    await harness.until(two=HostState.SERVING, three=HostState.SERVING)
    assert set(await harness.ask(60)) == {"up", "two", "three"}
    harness.replicas.remove("two")
    await harness.until(two=None)
    assert set(await harness.ask(30)) == {"up", "three"}


async def test_a_stream_outlives_its_replicas_removal_from_the_list(harness: Harness) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{harness.port}") as channel:
        stream = channel.unary_stream(FOLLOW)(b"", timeout=30)
        assert await stream.read() == b"up"
        await harness.replica("two")
        await harness.until(two=HostState.SERVING)
        harness.replicas.remove("up")
        await harness.until(up=None)
        harness.started[0].let.set()
        assert await stream.read() == b"up"
        assert await stream.read() is grpc.aio.EOF


async def test_who_drains_leaves_the_rotation_and_harms_nobody(harness: Harness) -> None:
    two = await harness.replica("two")
    await harness.until(two=HostState.SERVING)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{harness.port}") as channel:
        # Each replica gets streams, because the replica with fewer streams gets the next one.
        streams = [channel.unary_stream(FOLLOW)(b"", timeout=60) for _ in range(8)]
        served = [await stream.read() for stream in streams]
        assert set(served) == {b"up", b"two"}
        await two.tell_not_serving()
        await harness.until(two=HostState.FAILING)
        assert set(await harness.ask(30)) == {"up"}
        for one in harness.started:
            one.let.set()
        for stream, name in zip(streams, served, strict=True):
            assert [await stream.read(), await stream.read()] == [name, grpc.aio.EOF]


async def test_calls_pass_by_a_replica_that_is_dead_from_the_first_moment_on(harness: Harness) -> None:
    two = await harness.replica("two")
    await harness.until(two=HostState.SERVING)
    await two.stop()
    assert set(await harness.ask(60)) == {"up"}


async def test_a_worker_is_never_asked(harness: Harness) -> None:
    await harness.replica("worker", knows_the_service=False)
    await harness.until(worker=HostState.FAILING)
    assert set(await harness.ask(40)) == {"up"}


async def test_when_all_fail_their_checks_each_is_tried(harness: Harness) -> None:
    await harness.started[0].tell_not_serving()
    await harness.until(up=HostState.FAILING)
    assert set(await harness.ask(5)) == {"up"}
