"""Decisions that the client makes without a server: addresses, keys, and when to try again."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from responsa_client import Backoff, ResourceExhausted, Responsa, ServerFault, Unavailable
from responsa_client.address import Address
from responsa_client.retries import may_pass
from responsa_client.stubs import channel_options, credentials


@pytest.mark.parametrize(
    ("text", "target", "url", "tls", "loopback"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080", "http://127.0.0.1:8080", False, True),
        ("127.0.0.1:8080", "127.0.0.1:8080", "http://127.0.0.1:8080", False, True),
        ("localhost:1", "localhost:1", "http://localhost:1", False, True),
        (" http://example.org/ ", "example.org:80", "http://example.org:80", False, False),
        ("https://example.org", "example.org:443", "https://example.org:443", True, False),
        ("http://[::1]:9", "[::1]:9", "http://[::1]:9", False, True),
        ("[::1]:9", "[::1]:9", "http://[::1]:9", False, True),
        ("unix:/run/x.sock", "unix:/run/x.sock", "unix:/run/x.sock", False, True),
    ],
)
def test_addresses(text: str, target: str, url: str, tls: bool, loopback: bool) -> None:
    assert Address.parse(text) == Address(target, url, tls, loopback)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.org",
        "ftp://x:1",
        "http://",
        "http://x:99999",
        "http://x:y",
        "http://x:1/v1",
        "http://x:1?a",
        "unix:",
        "http://user:pw@x:1",
        "http://[::1",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        Address.parse(text)


def test_a_key_that_cannot_be_sent_is_refused_without_being_repeated() -> None:
    with pytest.raises(ValueError, match="API key") as caught:
        Responsa("127.0.0.1:1", "rsp_secret\nx")
    assert "secret" not in str(caught.value)
    assert credentials(None) == ()
    with pytest.raises(ValueError, match="timeout"):
        Responsa("127.0.0.1:1", timeout=0)
    with pytest.raises(ValueError, match="silence"):
        Responsa("127.0.0.1:1", silence=0)


def test_channels_keep_alive_and_stay_apart() -> None:
    options = dict(channel_options(Address.parse("127.0.0.1:1")))
    assert options["grpc.keepalive_time_ms"] > 0
    assert options["grpc.max_reconnect_backoff_ms"] < 10_000
    assert options["grpc.use_local_subchannel_pool"] == 1
    assert options["grpc.enable_http_proxy"] == 0
    assert "grpc.enable_http_proxy" not in dict(channel_options(Address.parse("http://example.org")))


def test_backoff_grows_to_its_cap_and_listens_to_the_server() -> None:
    backoff = Backoff(attempts=4, base=1.0, cap=3.0, jitter=lambda: 1.0)
    assert [backoff.next(), backoff.next(), backoff.next(retry_after=10), backoff.next(), backoff.next()] == [
        1.0,
        2.0,
        10,
        3.0,
        None,
    ]
    backoff.reset()
    assert backoff.next() == 1.0
    assert Backoff(base=1.0, jitter=lambda: 0.0).next() == 0.0
    endless = Backoff(attempts=1, base=1.0, cap=3.0, jitter=lambda: 1.0)
    assert [endless.pause() for _ in range(2000)][-1] == 3.0


def test_what_may_pass() -> None:
    internal, unavailable = grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE
    assert may_pass(ServerFault(internal, "RST_STREAM"))
    assert may_pass(Unavailable(unavailable, "x", reason="DRAINING"))
    assert not may_pass(Unavailable(unavailable, "x", reason="WORKER_LOST"))
    assert not may_pass(ServerFault(internal, "x", reason="INTERNAL"))
    assert not may_pass(ServerFault(grpc.StatusCode.UNIMPLEMENTED, "x"))
    full = grpc.StatusCode.RESOURCE_EXHAUSTED
    assert may_pass(ResourceExhausted(full, "x", reason="RATE_LIMIT", retry_after=60.0))
    assert may_pass(ResourceExhausted(full, "x", reason="LIMIT_REACHED", retry_after=1.0))
    # Nobody waits for hours, or for what only the caller can change.
    assert not may_pass(ResourceExhausted(full, "x", reason="RATE_LIMIT", retry_after=3600.0))
    assert not may_pass(ResourceExhausted(full, "x", reason="LIMIT_REACHED"))
    assert not may_pass(ResourceExhausted(full, "x", reason="TOO_MANY_ATTEMPTS", retry_after=60.0))


def test_a_question_that_is_not_a_string_is_named() -> None:
    question: Any = 5
    with (
        Responsa("http://127.0.0.1:9", "rsp_key") as client,
        pytest.raises(TypeError, match="text must be a string, but is int"),
    ):
        client.answer(question)
