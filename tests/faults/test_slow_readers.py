"""A thousand readers read one byte per second. They cost the server very little, and other readers do not notice them."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

import psutil
import pytest

from responsa.chat.v1 import chat_service_pb2 as chat
from tests.faults.askers import Askers, answer_to, hold, question
from tests.faults.cluster import Caller, Cluster, Replica
from tests.faults.forms import Form, Report, forms
from tests.faults.readers import GrpcWay, Seen, asking, follow

MOST_BYTES_A_READER = 20 * 1024
"""The limit of the additional memory: 20 MiB for a thousand readers."""
TURNS = 4
SECONDS = 600.0
"""The reading time in the long form."""


class SlowReader:
    """A follower of a turn. It has a separate connection with a tiny kernel buffer."""

    def __init__(self, port: int, request: bytes, then: bytes = b"") -> None:
        """request: the bytes that open the stream. then: the bytes to send after the head of the response has arrived.
        Fails if the server refuses the stream."""
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        self._socket.connect(("127.0.0.1", port))
        self._socket.sendall(request)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self._socket.recv(1)
            assert byte, f"the server closed the connection after {head!r}"
            head += byte
        assert head.startswith(b"HTTP/1.1 101 " if then else b"HTTP/1.1 200 "), head
        # gRPC reports a refusal in a trailer, which may be part of the head.
        assert b"\r\ngrpc-status:" not in head.lower(), head
        self._socket.sendall(then)
        self._socket.setblocking(False)

    def read_one(self) -> None:
        """Read a byte, if one is available."""
        with suppress(BlockingIOError):
            assert self._socket.recv(1), "the server closed the connection"

    def close(self) -> None:
        """Leave."""
        self._socket.close()


def over_grpc_web(port: int, key: str, turn: str) -> SlowReader:
    """gRPC-Web."""
    request = chat.ResumeTurnRequest(turn=turn, include_deltas=True).SerializeToString()
    body = struct.pack(">BI", 0, len(request)) + request
    head = (
        "POST /responsa.chat.v1.ChatService/ResumeTurn HTTP/1.1\r\n"
        f"host: 127.0.0.1:{port}\r\nauthorization: Bearer {key}\r\nx-grpc-web: 1\r\n"
        f"content-type: application/grpc-web+proto\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return SlowReader(port, head.encode() + body)


def over_events(port: int, key: str, turn: str) -> SlowReader:
    """Server-sent events."""
    head = (
        f"GET /v1/{turn}/events?includeDeltas=true HTTP/1.1\r\n"
        f"host: 127.0.0.1:{port}\r\nauthorization: Bearer {key}\r\naccept: text/event-stream\r\n\r\n"
    )
    return SlowReader(port, head.encode())


def over_socket(port: int, key: str, turn: str) -> SlowReader:
    """A WebSocket. The mask of its single message is zero, which leaves the bytes unchanged (RFC 6455, 5.3)."""
    head = (
        f"GET /ws/chat HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {key}\r\n"
        "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
        f"sec-websocket-key: {base64.b64encode(bytes(16)).decode()}\r\n\r\n"
    )
    message = json.dumps({"type": "resume", "turn": turn, "deltas": True}).encode()
    return SlowReader(port, head.encode(), struct.pack(">BB4x", 0x81, 0x80 | len(message)) + message)


WAYS = (over_grpc_web, over_events, over_socket)


def memory(replica: Replica) -> int:
    """The memory of the replica's process, in bytes."""
    return psutil.Process(replica.pid).memory_info().rss


async def begin(way: GrpcWay, texts: Sequence[str]) -> list[Seen]:
    """Send these questions and disconnect as soon as they have begun."""
    seen = [Seen(asking(text)) for text in texts]
    for reader in seen:
        await follow(way, reader, until=lambda found: bool(found.turn))
    return seen


async def with_readers(
    cluster: Cluster,
    caller: Caller,
    replica: Replica,
    turns: Sequence[Seen],
    count: int,
    seconds: float,
    report: Report,
) -> int:
    """Open slow readers of these turns while other callers ask. Returns the replica's peak memory."""
    readers = await asyncio.to_thread(
        lambda: [
            WAYS[n % len(WAYS)](cluster.port, caller.key, turns[n % len(turns)].turn) for n in range(count)
        ]
    )
    most = 0
    try:
        async with Askers(
            cluster.target, caller, report.form.dice("others"), 4, question(tokens=48, pace_ms=5)
        ) as askers:
            began = asyncio.get_running_loop().time()
            rounds = 0
            while rounds < 3 or asyncio.get_running_loop().time() - began < seconds:
                await askers.more(100)
                for reader in readers:
                    reader.read_one()
                most = max(most, memory(replica))
                rounds += 1
                if seconds:
                    # Each reader reads one byte per second.
                    await askers.until(
                        lambda rounds=rounds: asyncio.get_running_loop().time() > began + rounds,
                        "the next second",
                    )
        report.measured("others", [gap for one in askers.seen for gap in _between(one)])
        report.count("answers to others", askers.ended)
        assert all(one.text == answer_to(one.request.text) for one in askers.seen)
        assert not any(one.cuts for one in askers.seen), [one.reasons for one in askers.seen if one.cuts]
    finally:
        for reader in readers:
            reader.close()
    return most


def _between(reader: Seen) -> Sequence[float]:
    return [later - earlier for earlier, later in zip(reader.arrivals, reader.arrivals[1:], strict=False)]


async def grown(
    cluster: Cluster,
    caller: Caller,
    report: Report,
    count: int,
    seconds: float,
) -> int:
    """The additional memory, in bytes, that a replica needs for slow readers, compared with the same number of idle streams."""
    sizes: list[int] = []
    # The first turns are silent, so their readers have nothing to read. The later turns send much text.
    for text in ("tokens=10 stall_after=1", "tokens=2000 pace_ms=1"):
        replica = await cluster.soon()
        await asyncio.to_thread(cluster.admit, replica)
        async with AsyncExitStack() as stack:
            way = await stack.enter_async_context(GrpcWay(cluster.target, caller.key))
            turns = await begin(way, [f"{text} seed={seed}" for seed in range(TURNS)])
            sizes.append(
                await with_readers(cluster, caller, replica, turns, count, seconds if sizes else 0.0, report)
            )
            for turn in turns:
                await way.stub.CancelTurn(chat.CancelTurnRequest(name=turn.turn), metadata=way.metadata)
        cluster.dismiss(replica)
        await asyncio.to_thread(replica.kill)
    return sizes[1] - sizes[0]


@forms(long=1000)
async def test_slow_readers_cost_the_server_little(
    cluster: Cluster, form: Form, request: pytest.FixtureRequest
) -> None:
    report = Report("slow_readers", form)
    caller = await cluster.caller()
    more = await grown(cluster, caller, report, form.count, SECONDS if form.limits else 0.0)
    report.count("readers", form.count)
    report.count("KiB more than idle streams", more // 1024)
    hold(caller, [], report)
    report.tell(request)
    if form.limits:
        assert more <= MOST_BYTES_A_READER * form.count
