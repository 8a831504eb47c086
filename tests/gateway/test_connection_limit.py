"""The limit of open connections per network address. Envoy itself counts and closes them."""

from __future__ import annotations

import json
import random
import re
import socket
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from responsa_local.envoy.envoy_config import EnvoyConfig, render
from responsa_server.domain.addresses import network_of
from tests.gateway.conftest import ROOT, Place, start_place
from tests.gateway.sockets import KEY
from tests.gateway.test_stalled_bodies import counted
from tests.instance import eventually
from tests.rpc import slow

MOST = 6
HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"
REFUSED = "wasmcustom.responsa.connections_refused"
ACTIVE = "http.one_port.downstream_cx_active"
TOTAL = "http.one_port.downstream_cx_total"
SETTINGS = slow.frame(slow.SETTINGS, 0, 0, b"")


@pytest.fixture(scope="module")
def limited() -> Iterator[Place]:
    """An Envoy whose two threads share one count."""
    place = start_place(connections=MOST, threads=2)
    until_started(place)
    yield place
    place.stop()


@pytest.fixture
def stack(limited: Place) -> Iterator[ExitStack]:
    """Closes the connections of a test. The next test begins when Envoy has closed them, too."""
    with ExitStack() as stack:
        yield stack
    until_closed(limited)


def until_started(place: Place) -> None:
    """Wait until Envoy has closed the first connection. `start_place` makes it to see whether Envoy listens."""
    eventually(lambda: counted(place, TOTAL) == 1, "Envoy saw a connection")
    until_closed(place)


def until_closed(place: Place) -> None:
    """Wait until Envoy has closed all connections."""
    eventually(lambda: counted(place, ACTIVE) == 0, "no connection is open")


def begin(place: Place, stack: ExitStack, address: str = HERE) -> socket.socket:
    """A connection from this address. Envoy may have closed it already."""
    target = ("127.0.0.1", place.port)
    return stack.enter_context(socket.create_connection(target, timeout=60, source_address=(address, 0)))


def received(connection: socket.socket, request: bytes) -> bytes:
    """What Envoy sends first after the request; empty if it has closed the connection."""
    try:
        connection.sendall(request)
        return connection.recv(65_536)
    except ConnectionError:
        return b""


def over_http1(place: Place, connection: socket.socket) -> bool:
    request = f"GET /v1/turns HTTP/1.1\r\nHost: {place.target}\r\nAuthorization: Bearer {KEY}\r\n\r\n"
    reply = received(connection, request.encode())
    if not reply.startswith(b"HTTP/1.1 200 "):
        return False
    # The body may arrive later, and is not the reply to the next request.
    head, _, body = reply.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None, head
    while len(body) < int(length[1]):
        body += connection.recv(65_536)
    return True


def over_http2(place: Place, connection: socket.socket) -> bool:
    del place
    return received(connection, slow.PREFACE + SETTINGS)[3:4] == bytes([slow.SETTINGS])


def over_websocket(place: Place, connection: socket.socket) -> bool:
    request = (
        f"GET /ws/chat HTTP/1.1\r\nHost: {place.target}\r\nAuthorization: Bearer {KEY}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    return received(connection, request.encode()).startswith(b"HTTP/1.1 101 ")


WAYS = (over_http1, over_http2, over_websocket)


@pytest.mark.parametrize("way", WAYS)
def test_a_connection_beyond_the_limit_is_closed_and_other_addresses_go_on(
    limited: Place, stack: ExitStack, way: Callable[[Place, socket.socket], bool]
) -> None:
    refused = counted(limited, REFUSED)
    # All ways of talking to the server count.
    opened = [begin(limited, stack) for _ in range(MOST)]
    for number, connection in enumerate(opened):
        assert WAYS[number % len(WAYS)](limited, connection)
    assert counted(limited, REFUSED) == refused
    for _ in range(3):
        assert not way(limited, begin(limited, stack))
    assert counted(limited, REFUSED) == refused + 3
    assert way(limited, begin(limited, stack, ELSEWHERE))
    # The other connections of the address go on.
    assert over_http1(limited, opened[0])

    opened[1].close()
    eventually(lambda: way(limited, begin(limited, stack)), "there is room for one more")
    assert not way(limited, begin(limited, stack))


def test_the_first_refusal_is_logged(limited: Place, stack: ExitStack) -> None:
    total = counted(limited, TOTAL) + MOST + 1
    for _ in range(MOST + 1):
        begin(limited, stack)
    eventually(lambda: counted(limited, TOTAL) == total, "Envoy saw all")
    log = limited.folder / "envoy.log"
    line = rf"127\.0\.0\.1:\d+ was refused: its address has {MOST} open connections"
    eventually(lambda: re.search(line, log.read_text()) is not None, "a line in the log")


def test_no_count_is_left_over(limited: Place, stack: ExitStack) -> None:
    """2,000 connections: some wait for a reply, some close at once, some are reset, and many are beyond the limit."""
    accepted = counted(limited, TOTAL)

    def connect(number: int) -> None:
        with ExitStack() as own:
            connection = begin(limited, own)
            if number % 3 == 0:
                over_http1(limited, connection)
            if number % 3 == 1:
                # Closing then sends a reset.
                connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
                )

    with ThreadPoolExecutor(16) as pool:
        for _ in pool.map(connect, range(2_000)):
            pass
    total = accepted + 2_000
    eventually(lambda: counted(limited, TOTAL) == total, "Envoy saw all")
    until_closed(limited)
    assert all(over_http1(limited, one) for one in [begin(limited, stack) for _ in range(MOST)])
    assert not over_http1(limited, begin(limited, stack))


def behind_a_proxy(text: str) -> str:
    """The configuration of an Envoy that reads the caller's address from the PROXY protocol, so that a test can come from any address."""
    config = json.loads(text)
    (listener,) = config["static_resources"]["listeners"]
    kind = "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"
    listener["listener_filters"] = [{"name": "proxy_protocol", "typed_config": {"@type": kind}}]
    return json.dumps(config)


def pairs() -> Iterator[tuple[str, str]]:
    """Pairs of addresses in many notations, about half of them in one network."""
    yield from [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.2"),
        ("192.0.2.1", "193.0.2.1"),
        ("192.0.2.255", "::ffff:192.0.2.255"),
        ("192.0.2.1", "::ffff:192.0.2.2"),
        ("::1", "::2"),
        ("2001:db8::", "2001:db8::ffff"),
        ("2001:db8::", "2001:db8:0:1::"),
        ("::1:2:3:4:5", "0:0:0:1::"),
        ("1:2:3::", "1:2:3:0:5:6:7:8"),
    ]
    chance = random.Random(27853)
    for _ in range(25):
        # Groups of zero are frequent, because they change the notation. All groups are so small that no address is a
        # multicast address, which Envoy refuses.
        groups = [chance.choice([0, 0, 1, chance.randrange(0x4000)]) for _ in range(8)]
        others = [*groups]
        others[chance.randrange(8)] = chance.randrange(0x4000)
        yield written(groups), written(others)


def written(groups: list[int]) -> str:
    return str(IPv6Address(b"".join(group.to_bytes(2) for group in groups)))


@pytest.fixture
def proxied() -> Iterator[Place]:
    """An Envoy that accepts one connection per address, and reads the address from the PROXY protocol."""
    place = start_place(connections=1, edit=behind_a_proxy)
    yield place
    place.stop()


def test_an_ipv6_network_counts_as_one_address(proxied: Place) -> None:
    def accepted(connection: socket.socket, address: str) -> bool:
        kind, to = ("TCP6", "::1") if ":" in address else ("TCP4", "127.0.0.1")
        header = f"PROXY {kind} {address} {to} 1 2\r\n"
        return received(connection, header.encode() + slow.PREFACE + SETTINGS) != b""

    for one, other in pairs():
        with ExitStack() as own:
            assert accepted(begin(proxied, own), one), one
            assert accepted(begin(proxied, own), other) == (network_of(one) != network_of(other)), (
                one,
                other,
            )
        until_closed(proxied)


def test_an_instance_that_fails_locks_nobody_out(tmp_path: Path) -> None:
    """No connection makes the filter fail. This filter fails at a connection of another address, so that the test can show what follows."""
    source = (ROOT / "envoy" / "connection_limit.ts").read_text()
    for old, new in [
        # The test does not wait until a new instance no longer counts as one of the first.
        ("const START: u64 = 10_000_000_000;", "const START: u64 = 0;"),
        (
            "if (add(1) <=",
            f"if (peer() == (IPV4 | {int(IPv4Address(ELSEWHERE))})) unreachable();\n  if (add(1) <=",
        ),
    ]:
        assert source.count(old) == 1
        source = source.replace(old, new)
    (tmp_path / "failing.ts").write_text(source)
    compiler = ROOT / "node_modules" / ".bin" / "asc"
    options = ("--outFile", "failing.wasm", "--runtime", "stub", "--use", "abort=")
    subprocess.run([compiler, "failing.ts", *options], cwd=tmp_path, check=True)
    failing = b64encode((tmp_path / "failing.wasm").read_bytes()).decode()

    place = start_place(
        connections=MOST, edit=lambda text: re.sub(r'(?<="inline_bytes": ")[^"]+', failing, text)
    )
    try:
        until_started(place)
        with ExitStack() as stack:
            opened = [begin(place, stack) for _ in range(MOST)]
            assert over_http1(place, opened[-1])
            assert not over_http1(place, begin(place, stack, ELSEWHERE))
            # Envoy has closed the connections of the failed instance.
            assert not any(over_http1(place, one) for one in opened)

        def accepted() -> int:
            with ExitStack() as stack:
                return sum(over_http1(place, one) for one in [begin(place, stack) for _ in range(MOST + 1)])

        eventually(lambda: accepted() == MOST, "all connections of the address but one are accepted")
    finally:
        place.stop()


def test_0_switches_the_limit_off() -> None:
    config = EnvoyConfig(port=8080, endpoints=Path("/run/replicas"), listen_address="127.0.0.1")
    for most, names in [
        (0, ["http_connection_manager"]),
        (7, ["connection_limit", "http_connection_manager"]),
    ]:
        text = render(replace(config, connections_per_address=most))
        (listener,) = json.loads(text)["static_resources"]["listeners"]
        found = listener["filter_chains"][0]["filters"]
        assert [one["name"].rpartition(".")[2] for one in found] == names
