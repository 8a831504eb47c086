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

from responsa_server.calls.interceptors.validation import MAX_BYTES
from responsa_server.envoy.envoy_config import EnvoyConfig, render
from tests.gateway.conftest import DESCRIPTOR, Place, start_place
from tests.gateway.wire import of_rest
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

        read, since, asked = -1, time.monotonic(), 0.0
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
            if time.monotonic() < asked + 0.1:
                continue
            asked = time.monotonic()
            if (now := bytes_read(place)) != read:
                read, since = now, asked
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
            time.sleep(0.05)  # a pace, not a wait for a condition


@pytest.mark.parametrize("path", ["/v1/documents", "/v1/passages:search"])
def test_documents_over_rest_are_refused_as_overload_while_too_many_never_end(own: Place, path: str) -> None:
    """Documents and large searches share one limit."""
    with stalled(own, path, 100_000), httpx2.Client(base_url=own.url, timeout=20) as http:
        answer = http.post("/v1/documents", json={"text": "x"})
        assert (answer.status_code, of_rest(answer).reason) == (429, "OVERLOADED")
        assert http.post("/v1/turns:answer", json={"text": "why"}).status_code == 200
    with httpx2.Client(base_url=own.url, timeout=20) as http:
        deadline = time.monotonic() + PATIENCE
        while http.post("/v1/documents", json={"text": "x"}).status_code != 200:
            assert time.monotonic() < deadline, "a request that was given up still counts"


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
    """6,000 calls over 60 connections fill Envoy's memory, which is smaller here. Without pressure, each of them may be silent for 300 s."""

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
    """The largest body that Envoy holds until it is complete, in bytes."""
    return route["typed_per_filter_config"]["envoy.filters.http.buffer"]["buffer"]["max_request_bytes"]


def test_what_is_gathered_is_bounded_in_size_and_time() -> None:
    config = json.loads(
        render(
            EnvoyConfig(
                port=8080, endpoints=Path("/run/replicas"), descriptor=DESCRIPTOR, listen_address="127.0.0.1"
            )
        )
    )
    (listener,) = config["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    routes = manager["route_config"]["virtual_hosts"][0]["routes"]
    gathering = {
        route["match"].get("path")
        or route["match"].get("prefix")
        or route["match"]["safe_regex"]["regex"]: route
        for route in routes
        if "envoy.filters.http.grpc_json_transcoder" in route.get("typed_per_filter_config", {})
    }
    asking = "/v1/turns(:ask|:answer)?"
    assert set(gathering) == {
        "/v1/documents",
        "/v1/passages:search",
        "/v1/passages:batchSearch",
        asking,
        "/v1/",
    }
    compressed, known, too_large, unknown = (
        route for route in routes if route["match"].get("prefix") == "/v1/"
    )
    assert compressed["direct_response"] == {"status": 422}
    document = gathering["/v1/documents"]["route"]
    assert (document["priority"], document["max_stream_duration"]) == ("HIGH", {"max_stream_duration": "30s"})
    for path in ("/v1/passages:search", "/v1/passages:batchSearch"):
        search = gathering[path]
        assert search["route"] == gathering["/v1/documents"]["route"]
        (length,) = (
            one["range_match"] for one in search["match"]["headers"] if one["name"] == "content-length"
        )
        # Larger than any allowed body, up to the server's limit for a message.
        assert length == {"start": 65_536 + 1, "end": MAX_BYTES + 1}
    # The server admits a body whose length is known before it has arrived. Envoy holds other bodies, and those of sign-ins.
    (length,) = known["match"]["headers"]
    assert length["range_match"] == {"start": 0, "end": 65_536 + 1}
    assert "envoy.filters.http.buffer" not in known["typed_per_filter_config"]
    assert too_large["direct_response"] == {"status": 413}
    sign_in = next(route for route in routes if route["match"].get("path") == "/v1/sessions")
    accounts = next(
        route for route in routes if route["match"].get("prefix", "").startswith("/responsa.auth.")
    )
    assert held(unknown) == held(sign_in) == held(accounts) == 16_384
    assert held(gathering[asking]) == 32_768
    assert (
        sum("envoy.filters.http.buffer" in route.get("typed_per_filter_config", {}) for route in routes) == 6
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
