"""The address of a caller behind a proxy. Envoy itself reads it from X-Forwarded-For, but only if the peer is a trusted proxy."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import grpc
import httpx2
import pytest

from responsa.auth.v1.auth_service_pb2 import GetMeRequest
from responsa.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from responsa.auth.v1.user_pb2 import User
from responsa_server.domain.addresses import parse_network
from tests.gateway.conftest import Place, start_place
from tests.gateway.wire import grpc_web, metadata_seen

PROXY, STRANGER, CALLER = "127.0.0.1", "127.0.0.2", "203.0.113.9"
TRUSTED = (PROXY, "10.0.0.0/8", "2001:db8:1::/48")
CONNECTIONS = 6
ME = "/responsa.auth.v1.AuthService/GetMe"


@pytest.fixture(scope="module")
def behind() -> Iterator[Place]:
    place = start_place(connections=CONNECTIONS, trusted_proxies=[*map(parse_network, TRUSTED)])
    yield place
    place.stop()


def peer(place: Place, address: str) -> httpx2.Client:
    """A client that comes from this address."""
    return httpx2.Client(
        base_url=place.url, timeout=30, transport=httpx2.HTTPTransport(local_address=address)
    )


@pytest.fixture
def proxy(behind: Place) -> Iterator[httpx2.Client]:
    with peer(behind, PROXY) as client:
        yield client


@pytest.fixture
def stranger(behind: Place) -> Iterator[httpx2.Client]:
    with peer(behind, STRANGER) as client:
        yield client


@pytest.fixture
async def channel(behind: Place) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(behind.target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield channel


def seen(client: httpx2.Client, *headers: tuple[str, str]) -> dict[str, list[str]]:
    """The metadata that the server receives of a REST call with these headers."""
    reply = client.get("/v1/users/me", headers=[("authorization", "Bearer rsp_good"), *headers])
    assert reply.status_code == 200, reply.text
    return metadata_seen(reply.json()["displayName"])


LISTS = [
    # What a proxy writes.
    (CALLER, CALLER),
    ("2001:db8::5", "2001:db8::5"),
    ("::ffff:203.0.113.9", "::ffff:203.0.113.9"),
    # A caller has written something before the proxy did.
    (f"127.0.0.1, 10.0.0.1, {CALLER}", CALLER),
    (f"nonsense, {CALLER}", CALLER),
    (f",,{CALLER}", CALLER),
    # A chain of proxies.
    (f"192.0.2.1, {CALLER}, 10.1.2.3", CALLER),
    (f"192.0.2.1,{CALLER},10.1.2.3,2001:db8:1::7,127.0.0.1", CALLER),
    (f"{CALLER}, ::ffff:10.1.2.3", CALLER),
    (f"{CALLER}, 2001:db8:1:ffff::1, ::ffff:127.0.0.1", CALLER),
    ("10.1.2.3, 10.1.2.4", "10.1.2.3"),
    # A hundred entries.
    ("192.0.2.1, " * 99 + CALLER, CALLER),
    ("10.0.0.1, " * 99 + CALLER, CALLER),
    ("nonsense, " * 99 + "2001:db8::5", "2001:db8::5"),
    # The last entry is not an address: the caller is the proxy.
    ("", PROXY),
    (",", PROXY),
    ("nonsense", PROXY),
    (f"{CALLER}, nonsense", PROXY),
    (f"{CALLER}:443", PROXY),
    ("[2001:db8::5]:443", PROXY),
    ("192.0.2.1, " * 99 + "[2001:db8::5]:443", PROXY),
    ("999.0.0.1", PROXY),
    ("x" * 8_000, PROXY),
    # The last entry of a chain that is an address.
    (f"{CALLER}, nonsense, 10.1.2.3", "10.1.2.3"),
    (f"{CALLER}, [2001:db8::5]:443, 10.1.2.3", "10.1.2.3"),
]


@pytest.mark.parametrize(("forwarded", "address"), LISTS)
def test_the_caller_is_the_last_address_that_is_not_a_proxy(
    proxy: httpx2.Client, stranger: httpx2.Client, forwarded: str, address: str
) -> None:
    header = ("x-forwarded-for", forwarded)
    assert seen(proxy, header)["x-forwarded-for"] == [address]
    # Others cannot use the header.
    assert seen(stranger, header)["x-forwarded-for"] == [STRANGER]


def test_a_list_may_be_in_several_headers(proxy: httpx2.Client) -> None:
    lists = ("192.0.2.1", f"192.0.2.2, {CALLER}", "10.0.0.1")
    found = seen(proxy, *(("x-forwarded-for", one) for one in lists))
    assert found["x-forwarded-for"] == [CALLER]


def test_without_the_header_the_caller_is_the_proxy(proxy: httpx2.Client, stranger: httpx2.Client) -> None:
    assert seen(proxy)["x-forwarded-for"] == [PROXY]
    assert seen(stranger)["x-forwarded-for"] == [STRANGER]


async def test_over_grpc_and_grpc_web(channel: grpc.aio.Channel, proxy: httpx2.Client) -> None:
    for forwarded, address in [(f"192.0.2.1, {CALLER}, 10.0.0.1", CALLER), ("nonsense", PROXY)]:
        sent = {"x-forwarded-for": forwarded, "authorization": "Bearer rsp_good"}
        user = await AuthServiceStub(channel).GetMe(GetMeRequest(), metadata=[*sent.items()])
        assert metadata_seen(user.display_name)["x-forwarded-for"] == [address]
        answer = grpc_web(proxy, ME, GetMeRequest(), headers=sent)
        (message,) = answer.messages
        assert metadata_seen(User.FromString(message).display_name)["x-forwarded-for"] == [address]


@pytest.mark.parametrize("way", ["proxy", "stranger"])
def test_no_other_header_of_a_proxy_arrives(way: str, request: pytest.FixtureRequest) -> None:
    client: httpx2.Client = request.getfixturevalue(way)
    removed = {
        "x-responsa-user": "root",
        "x-forwarded-user": "root",
        "x-forwarded-host": "other.example.org",
        "x-forwarded-port": "443",
        "x-forwarded-prefix": "/admin",
        "x-forwarded-": "root",
        "x-forwarded-f": "root",
        "x-forwarded-fo": "root",
        "x-forwarded-fort": "root",
        "x-forwarded-for-user": "root",
        "x-envoy-original-path": "/v1/documents",
        "x-envoy-external-address": "192.0.2.1",
        "forwarded": "for=192.0.2.1",
        "x-real-ip": "192.0.2.1",
    }
    sent = {**removed, "x-forwarded-proto": "gopher", "x-request-id": "mine", "x-other": "stays"}
    # Over gRPC-Web, because the server reads no other headers of REST calls.
    answer = grpc_web(client, ME, GetMeRequest(), headers={**sent, "authorization": "Bearer rsp_good"})
    (message,) = answer.messages
    seen = metadata_seen(User.FromString(message).display_name)
    assert seen["x-other"] == ["stays"]
    # Envoy itself sets some of these.
    assert not [name for name, value in removed.items() if value in seen.get(name, [])]
    # Envoy says how the proxy has connected.
    assert seen["x-forwarded-proto"] == ["http"]
    assert len(seen["x-request-id"]) == 1
    assert seen["x-request-id"] != ["mine"]


def test_a_proxy_may_hold_more_connections_than_a_caller(behind: Place) -> None:
    def accepted(address: str) -> int:
        """How many of some connections get a reply while all of them are open."""
        request = (
            f"GET /v1/users/me HTTP/1.1\r\nHost: {behind.target}\r\nAuthorization: Bearer rsp_good\r\n\r\n"
        )
        count = 0
        with ExitStack() as stack:
            target = ("127.0.0.1", behind.port)
            opened = [
                stack.enter_context(socket.create_connection(target, 60, (address, 0)))
                for _ in range(4 * CONNECTIONS)
            ]
            for one in opened:
                try:
                    one.sendall(request.encode())
                    count += one.recv(65_536).startswith(b"HTTP/1.1 200 ")
                except ConnectionError:
                    continue
        return count

    assert accepted(PROXY) == 4 * CONNECTIONS
    assert accepted("127.0.0.3") == CONNECTIONS
