"""Requests with bodies that never end: they use little memory, they are ended soon, and they do not block other callers."""

from __future__ import annotations

import json
import re
import selectors
import socket
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from responsa_local.envoy.envoy_config import EnvoyConfig, render
from tests.gateway.conftest import Place, start_place
from tests.instance import eventually
from tests.rpc import slow

STALLED = 240
PATIENCE = 60.0


def with_heap(mebibytes: int) -> Callable[[str], str]:
    """Gives Envoy another greatest size of its memory, so that a test fills it sooner."""

    def edit(text: str) -> str:
        config = json.loads(text)
        monitors = config["overload_manager"]["resource_monitors"]
        (heap,) = (one for one in monitors if one["name"].endswith("fixed_heap"))
        heap["typed_config"]["max_heap_size_bytes"] = mebibytes << 20
        return json.dumps(config)

    return edit


@pytest.fixture(scope="module")
def separate(web: Path) -> Generator[Place]:
    place = start_place((), web, edit=with_heap(400))
    try:
        yield place
    finally:
        place.stop()


@pytest.fixture
def own(separate: Place) -> Place:
    """An Envoy of these tests alone, which nothing is stalled in."""
    with httpx2.Client(base_url=separate.url, timeout=20) as http:
        eventually(lambda: http.get("/v1/turns").status_code == 200, "Envoy has let go of the former test")
    return separate


@contextmanager
def stalled(place: Place, path: str, size: int) -> Generator[None]:
    """POSTs that announce `size` bytes and leave out the last byte. The other bytes are sent as far as Envoy accepts them."""
    body = json.dumps({"text": "x" * (size - 12)}).encode()[:-1]
    assert len(body) == size - 1
    head = f"POST {path} HTTP/1.1\r\nHost: {place.target}\r\nContent-Type: application/json\r\nContent-Length: {len(body) + 1}\r\n\r\n"
    request = memoryview(head.encode() + body)
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        sent: dict[socket.socket, int] = {}
        for _ in range(STALLED):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", place.port)))
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_WRITE)
            sent[connection] = 0

        read, since, last = -1, time.monotonic(), 0.0
        deadline = since + PATIENCE
        # Wait until Envoy has read nothing for a second. The kernel then holds the rest.
        while time.monotonic() - since < 1.0:
            assert time.monotonic() < deadline
            for key, _ in selector.select(0.1) if selector.get_map() else ():
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                with suppress(ConnectionResetError, BrokenPipeError):
                    sent[connection] += connection.send(request[sent[connection] :])
                    if sent[connection] < len(request):
                        continue
                selector.unregister(connection)
            if time.monotonic() < last + 0.1:
                continue
            last = time.monotonic()
            if (now := bytes_read(place)) != read:
                read, since = now, last
        yield


def bytes_read(place: Place) -> int:
    """The bytes that Envoy has accepted from all callers so far."""
    return counted(place, "one_port.downstream_cx_rx_bytes_total")


def counted(place: Place, name: str) -> int:
    """A counter of Envoy. name: the end of its name."""
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(str(place.folder / "a.sock"))
        admin.sendall(
            f"GET /stats?filter={name} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: admin.recv(65_536), b""))
    found = re.search(rf"{re.escape(name)}: (\d+)".encode(), answer)
    assert found is not None, answer
    return int(found[1])


@pytest.mark.parametrize(("path", "size"), [("/v1/documents", 1_048_576), ("/v1/turns:answer", 65_536)])
def test_bodies_that_never_end_keep_nobody_out(own: Place, path: str, size: int) -> None:
    with stalled(own, path, size), httpx2.Client(base_url=own.url, timeout=20) as http:
        until = time.monotonic() + 1.0  # the overload manager checks every 0.25 s
        while time.monotonic() < until:
            assert http.get("/v1/turns").status_code == 200
            assert http.post("/v1/turns:answer", json={"text": "why"}).status_code == 200
            assert http.post("/v1/documents", json={"text": "x" * 100_000}).status_code == 200
            time.sleep(0.05)  # a pace, not a wait for a condition


def test_calls_that_their_caller_resets_at_once_do_not_reach_the_server(own: Place) -> None:
    """Otherwise, each of them would take time of the server's event loop, and gRPC would cancel calls of others when too many wait."""
    calls, cancelled = 50, (8).to_bytes(4)
    block = slow.head("/responsa.chat.v1.ChatService/ListTurns", "rsp_good", authority=own.target)
    burst = b"".join(
        slow.frame(slow.HEADERS, slow.END_HEADERS, stream, block)
        + slow.frame(slow.RESET, 0, stream, cancelled)
        for stream in range(1, 2 * calls, 2)
    )
    assert len(burst) < 16_384  # Envoy reads it at once
    before = counted(own, "cluster.server.upstream_rq_total")
    with socket.create_connection(("127.0.0.1", own.port), timeout=20) as connection:
        connection.sendall(
            slow.PREFACE
            + slow.frame(slow.SETTINGS, 0, 0, b"")
            + burst
            + slow.frame(slow.PING, 0, 0, b"all read")
        )
        received = b""
        while slow.frame(slow.PING, slow.ACK, 0, b"all read") not in received:
            piece = connection.recv(65_536)
            assert piece, "Envoy has closed the connection"
            received += piece
    assert counted(own, "cluster.server.upstream_rq_total") - before < calls / 5


def test_a_sign_in_that_arrives_too_slowly_is_ended() -> None:
    """Each byte ends the silence, so only the time of the whole stream limits it. Here, the limit is a second."""
    whole, shorter = '"max_stream_duration": "60s"', '"max_stream_duration": "1s"'
    place = start_place(edit=lambda text: text.replace(whole, shorter))
    try:
        with socket.create_connection(("127.0.0.1", place.port), timeout=0.1) as connection:
            connection.sendall(
                f"POST /v1/sessions HTTP/1.1\r\nHost: {place.target}\r\nContent-Length: 9999\r\n\r\n".encode()
            )
            answer = b""
            for _ in range(900):
                with suppress(TimeoutError):
                    answer = connection.recv(65_536)
                    break
                connection.sendall(b" ")
            assert b"REASON_DEADLINE_EXCEEDED" in answer or b'"DEADLINE_EXCEEDED"' in answer, answer
    finally:
        place.stop()


def test_very_many_calls_that_never_end_leave_room_for_others() -> None:
    """6,000 calls over 60 connections fill Envoy's memory, which is smaller here. Without pressure, each of them may be
    silent for 300 s."""

    def smaller(text: str) -> str:
        config = json.loads(with_heap(200)(text))
        actions = config["overload_manager"]["actions"]
        (action,) = (one for one in actions if one["name"].endswith("reduce_timeouts"))
        action["typed_config"]["timer_scale_factors"][0]["min_scale"]["value"] = 1
        return json.dumps(config)

    place = start_place(edit=smaller)
    try:
        block = slow.head("/grpc.health.v1.Health/Check", "", authority=place.target)
        calls = b"".join(
            slow.frame(slow.HEADERS, slow.END_HEADERS, stream, block)
            + slow.frame(slow.DATA, 0, stream, b"x" * 15_000)
            for stream in range(1, 200, 2)
        )
        request = slow.PREFACE + slow.frame(slow.SETTINGS, 0, 0, b"") + calls
        with ExitStack() as stack, httpx2.Client(base_url=place.url, timeout=60) as http:
            for _ in range(60):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", place.port)))
                connection.settimeout(60)
                with suppress(ConnectionError, TimeoutError):
                    connection.sendall(request)
            eventually(
                lambda: counted(place, "one_port.downstream_rq_idle_timeout") > 0, "Envoy ends silent calls"
            )
            eventually(lambda: http.get("/v1/turns").status_code == 200, "a call of somebody else succeeds")
    finally:
        place.stop()


def held(route: dict[str, Any]) -> int:
    """The largest body that Envoy holds until it is complete, in bytes; 0 if it passes the body on as it arrives."""
    settings = route.get("typed_per_filter_config", {}).get("envoy.filters.http.buffer")
    return 0 if settings is None else settings["buffer"]["max_request_bytes"]


def test_what_is_gathered_is_bounded_in_size_and_time() -> None:
    config = json.loads(
        render(EnvoyConfig(port=8080, endpoints=Path("/run/replicas"), listen_address="127.0.0.1"))
    )
    (listener,) = config["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    routes = manager["route_config"]["virtual_hosts"][0]["routes"]
    small = 16_384
    gathered = {
        match.get("path") or match.get("prefix") or match["safe_regex"]["regex"]: held(route)
        for route in routes
        if (match := route["match"]) and held(route)
    }
    assert gathered == {
        "/responsa.auth.v1.AuthService/": small,
        "/grpc.health.": small,
        "/v1/sessions": small,
        "/v1/oidc/": small,
        "/oauth/(authorize|consent/[^/]+|token|revoke|register)": small,
    }
    # The server admits other bodies before they have arrived.
    compressed, rest = (route for route in routes if route["match"].get("prefix") == "/v1/")
    assert compressed["direct_response"] == {"status": 422}
    assert rest["route"]["cluster"] == "gateway"
    accounts = next(
        route for route in routes if route["match"].get("prefix", "").startswith("/responsa.auth.")
    )
    actions = {one["name"].rpartition(".")[2] for one in config["overload_manager"]["actions"]}
    assert {"reset_high_memory_stream", "reduce_timeouts"} <= actions
    # A short request has a limit for its body and its answer together.
    for route in routes:
        if route.get("route", {}).get("timeout") == "30s":
            assert route["route"]["max_stream_duration"]["max_stream_duration"] in ("30s", "60s"), route[
                "match"
            ]
    assert accounts["route"]["max_stream_duration"] == {
        "max_stream_duration": "60s",
        "grpc_timeout_header_max": "60s",
    }
    assert config["overload_manager"]["buffer_factory_config"]
