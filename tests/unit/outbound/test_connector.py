"""The guarded connector, tested with real sockets. Only the look-up of names is a double, because tests must not ask a name server."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import subprocess
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpcore2
import httpx2
import pytest

from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer
from responsa_server.domain.models import ModelError, ModelPiece, ModelPrompt, PromptMessage, Role, TextPiece
from responsa_server.outbound import authorities
from responsa_server.outbound.addresses import Allowed, IpAddress, OutboundError, origin_of, read_allowed
from responsa_server.outbound.authorities import create_trust, is_untrusted
from responsa_server.outbound.connector import (
    Connector,
    ForbiddenRequest,
    Outgoing,
    ReachableHosts,
    Times,
    TooLarge,
    Unreadable,
    look_up,
)
from responsa_server.providers.http_model import CERTIFICATE
from responsa_server.providers.openai_chat import OpenAiChat
from responsa_server.providers.settings import CompatibleSettings, GuardedSettings
from tests.certificates import certificate
from tests.raising import raises

PUBLIC = "93.184.216.34"
NAMES = {
    "loop.example": ["127.0.0.1"],
    "loop6.example": ["::1"],
    "rebound.example": ["127.0.0.1"],
    "cname.example": ["169.254.169.254"],
    "metadata.google.internal": ["169.254.169.254"],
    "instance-data.ec2.internal": ["169.254.169.254"],
    "aws6.example": ["fd00:ec2::254"],
    "alibaba.example": ["100.100.100.200"],
    "azure.example": ["168.63.129.16"],
    "oracle.example": ["192.0.0.192"],
    "mixed.example": [PUBLIC, "127.0.0.1"],
    "mixed6.example": ["2606:2800:220:1::1", "::1"],
    "zero.example": ["0.0.0.0"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "private.example": ["10.0.0.1"],
    "127.0.0.1.nip.example": ["127.0.0.1"],
    "xn--lclhst-9ta6m.example": ["127.0.0.1"],
    "intranet.example": ["10.1.2.3"],
}
ATTEMPTS = [
    # loopback and this host, as IPv4
    "http://127.0.0.1:{port}/",
    "http://127.0.0.2:{port}/",
    "http://127.255.255.254:{port}/",
    "http://0.0.0.0:{port}/",
    "http://0:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7F.0.0.1:{port}/",
    "http://0x7f.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://017700000001:{port}/",
    "http://127.0.0.0x1:{port}/",
    "http://127.0.0.01:{port}/",
    "http://4294967297:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://%31%32%37.0.0.1:{port}/",
    "http://127。0。0。1:{port}/",
    "http://１２７.0.0.1:{port}/",
    "http://①②⑦.⓪.⓪.①:{port}/",
    # loopback and others, as IPv6
    "http://[::1]:{port}/",
    "http://[0:0:0:0:0:0:0:1]:{port}/",
    "http://[::]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://[64:ff9b:1::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[2001:0:7f00:1::1]:{port}/",
    "http://[::1%25lo]:{port}/",
    "http://[fe80::1%25eth0]:{port}/",
    "http://[fe80::1]:{port}/",
    "http://[ff02::1]:{port}/",
    "http://[fd00:ec2::254]:{port}/",
    "http://[fc00::1]:{port}/",
    # names
    "http://localhost:{port}/",
    "http://LOCALHOST:{port}/",
    "http://localhost.:{port}/",
    "http://ⓛocalhost:{port}/",
    *(f"http://{name}:{{port}}/" for name in NAMES if name != "intranet.example"),
    # networks of the organisation and of the cloud
    "http://10.0.0.1:{port}/",
    "http://172.16.0.1:{port}/",
    "http://192.168.1.1:{port}/",
    "http://100.64.0.1:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.170.2/v2/credentials",
    "http://2852039166/latest/meta-data/",
    "http://0xA9FEA9FE/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/latest/meta-data/",
    "http://100.100.100.200/latest/meta-data/",
    "http://198.18.0.1:{port}/",
    "http://224.0.0.1:{port}/",
    "http://255.255.255.255:{port}/",
    "http://240.0.0.1:{port}/",
    # other parts of a URL
    "http://public.example@127.0.0.1:{port}/",
    "http://public.example:80@127.0.0.1:{port}/",
    "http://public.example\\@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@public.example/",
    "http://127.0.0.1:{port}#@public.example/",
    "http://127.0.0.1%2f@public.example:{port}/",
    "http:\\\\127.0.0.1:{port}\\",
    "http:///127.0.0.1:{port}/",
    "HTTP://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\r\nX: y/",
    "http:// 127.0.0.1:{port}/",
    "http://localhost\t:{port}/",
    "gopher://127.0.0.1:{port}/_GET",
    "file:///etc/passwd",
    "ftp://127.0.0.1:{port}/",
    "unix:///var/run/docker.sock",
    "data:text/plain,x",
    "//127.0.0.1:{port}/",
    "127.0.0.1:{port}",
    "",
]


class Names:
    """Looks names up in NAMES; others as the system does, which reads numbers in every form. asked: all names that were looked up."""

    def __init__(self, names: dict[str, list[str]] | None = None) -> None:
        self.names = NAMES if names is None else names
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[IpAddress]:
        self.asked.append(host)
        if host in self.names:
            return [ip_address(one) for one in self.names[host]]
        return await look_up(host, port)


@asynccontextmanager
async def trap() -> AsyncGenerator[tuple[int, list[str]]]:
    """A server on all addresses of this machine. Yields its port, and the list of the connections that it accepted."""
    reached: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(str(writer.get_extra_info("sockname")))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecret")
        await writer.drain()
        writer.close()

    if socket.has_dualstack_ipv6():
        listening = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    else:
        listening = socket.create_server(("", 0))
    server = await asyncio.start_server(handle, sock=listening)
    try:
        yield listening.getsockname()[1], reached
    finally:
        server.close()
        await server.wait_closed()


async def test_no_attempt_to_reach_an_address_that_is_not_public_gets_through() -> None:
    assert len(set(ATTEMPTS)) >= 60
    connector = Connector(Names())
    async with trap() as (port, reached):
        for attempt in ATTEMPTS:
            with pytest.raises(ForbiddenRequest):
                await connector.fetch(
                    ReachableHosts(None), Outgoing("GET", attempt.format(port=port)), Times(5, 20), 100
                )
            assert reached == [], attempt
        # The same trap is reached where a declaration allows it.
        reach = ReachableHosts(None, read_allowed(["127.0.0.1"]))
        got = await connector.fetch(reach, Outgoing("GET", f"http://loop.example:{port}/"), Times(), 100)
        assert got.body == b"secret"
        assert len(reached) == 1
    await connector.close()


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rebinding: the first look-up gives the allowed address, every later one another."""
    hosts: list[str] = []
    system = socket.getaddrinfo

    def rebinding(host: Any, *rest: Any, **more: Any) -> Any:
        if host not in ("rebound.example", b"rebound.example"):
            return system(host, *rest, **more)
        hosts.append(str(host))
        return system("127.0.0.1" if len(hosts) == 1 else "127.0.0.2", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    connector = Connector()
    reach = ReachableHosts(None, read_allowed(["127.0.0.1"]))
    async with trap() as (port, reached):
        outgoing = Outgoing("GET", f"http://rebound.example:{port}/")
        assert (await connector.fetch(reach, outgoing, Times(), 100)).status == 200
        assert len(hosts) == 1
        with pytest.raises(ForbiddenRequest):
            await connector.fetch(reach, outgoing, Times(), 100)
        assert [one for one in reached if "127.0.0.2" in one] == []
        assert len(reached) == 1
    await connector.close()


async def test_neither_redirects_nor_other_origins_nor_proxies_lead_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with trap() as (port, reached):

        async def handle(exchange: LoopbackExchange) -> None:
            await exchange.reply(302, b"", {"location": f"http://127.0.0.1:{port}/"})

        server = LoopbackServer(handle)
        await server.start()
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        connector = Connector()
        reach = ReachableHosts(frozenset([origin_of(server.url)]), read_allowed(["127.0.0.0/8"]))
        got = await connector.fetch(reach, Outgoing("GET", f"{server.url}/here"), Times(), 100)
        assert (got.status, got.headers["location"]) == (302, f"http://127.0.0.1:{port}/")
        async with await connector.client(reach, Times()) as client:
            with pytest.raises(ForbiddenRequest):  # even if a library follows redirects
                await client.get(server.url, follow_redirects=True)
        assert reached == []
        await server.close()
        await connector.close()


@pytest.mark.parametrize("name", ["good.example", "other.example"])
async def test_the_certificate_must_be_the_hosts_although_the_address_was_looked_up_before(
    name: str, tmp_path: Path
) -> None:
    key, own = certificate("good.example")
    (tmp_path / "server.pem").write_bytes(key + own)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "server.pem")
    requests: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=serving)
    port = server.sockets[0].getsockname()[1]
    reach = ReachableHosts(None, read_allowed(["127.0.0.1"]))
    outgoing = Outgoing("GET", f"https://{name}:{port}/")
    trusting = ssl.create_default_context(cadata=own.decode())
    connector = Connector(Names({name: ["127.0.0.1"]}), trusting)
    if name == "good.example":
        assert (await connector.fetch(reach, outgoing, Times(), 100)).body == b"ok"
        assert f"Host: {name}:{port}".lower().encode() in requests[0].lower()
    else:
        with pytest.raises(httpx2.ConnectError):
            await connector.fetch(reach, outgoing, Times(), 100)
        assert requests == []
    plain = Connector(Names({name: ["127.0.0.1"]}))
    with pytest.raises(httpx2.ConnectError) as refused:  # the system does not trust this certificate
        await plain.fetch(reach, outgoing, Times(), 100)
    assert is_untrusted(refused.value)
    server.close()
    await connector.close()


@pytest.mark.parametrize("way", ["setting", "SSL_CERT_FILE", "SSL_CERT_DIR"])
async def test_additional_authorities_are_trusted_beside_the_systems(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, own = certificate("localhost")
    (tmp_path / "server.pem").write_bytes(key + own)
    authority = tmp_path / "authority.pem"
    authority.write_bytes(own)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "server.pem")
    # Other tests share one context.
    monkeypatch.setattr(httpcore2, "default_ssl_context", vars(httpcore2.default_ssl_context)["__wrapped__"])
    begun = len(create_trust().get_ca_certs())

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"content-length: (\d+)", request)
        length = int(found[1]) if found else 0
        await reader.readexactly(length)
        body = b'data: {"choices": [{"delta": {"content": "ok"}, "finish_reason": "stop"}]}\n\n'
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(body)
        writer.write(head + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=serving)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}/v1"
    settings = CompatibleSettings(url=url)
    guarded = GuardedSettings(url=url, allowed=read_allowed(["127.0.0.1", "localhost"]))
    for each in (settings, guarded):
        model = OpenAiChat(each, "m")
        error = await raises(ModelError, gathered_of(model))
        assert (error.kind, error.passing) == (CERTIFICATE, False)
        await model.close()
    monkeypatch.setenv("SSL_CERT_FILE", "")  # and back at the end
    match way:
        case "setting":
            authorities.trust_also(authority)
        case "SSL_CERT_DIR":
            # OpenSSL looks authorities up by the hash of their names.
            named = ["openssl", "x509", "-subject_hash", "-noout", "-in", str(authority)]
            said = await asyncio.to_thread(subprocess.run, named, check=True, capture_output=True, text=True)
            (tmp_path / f"{said.stdout.strip()}.0").write_bytes(own)
            monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
        case _:
            monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    for each in (settings, guarded):
        model = OpenAiChat(each, "m")
        assert TextPiece("ok") in await gathered_of(model)
        await model.close()
    assert len(create_trust().get_ca_certs()) >= begun
    server.close()


async def gathered_of(model: OpenAiChat) -> list[ModelPiece]:
    prompt = ModelPrompt([PromptMessage(Role.USER, "Why?")], "")
    async with aclosing(model.stream(prompt)) as pieces:
        return [piece async for piece in pieces]


def test_programs_get_one_file_and_a_file_without_a_certificate_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "")  # and back at the end
    system = authorities.authorities_file()
    (tmp_path / "own.pem").write_bytes(certificate("localhost")[1])
    authorities.trust_also(tmp_path / "own.pem")
    every = Path(authorities.authorities_file()).read_text()
    assert (tmp_path / "own.pem").read_text() in every
    assert not system or Path(system).read_text() in every
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(OSError, match="certificate"):
        authorities.trust_also(tmp_path / "empty.pem")


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", httpx2.RequestError),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000, TooLarge),
        (b"HTTP/1.1 200 OK\r\n" + b"".join(b"h%d: x\r\n" % n for n in range(100_000)), httpx2.RequestError),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nbomb", Unreadable),
        (b"SSH-2.0-OpenSSH_9.9\r\n", httpx2.RequestError),
        (b"", httpx2.RequestError),
        (None, TimeoutError),
    ],
    ids=["half a body", "large", "many headers", "compressed", "not HTTP", "nothing", "silent"],
)
async def test_a_response_that_is_not_as_it_should_be_ends_in_time_and_size(
    raw: bytes | None, error: type[Exception]
) -> None:
    async def handle(exchange: LoopbackExchange) -> None:
        if raw is None:
            await asyncio.Event().wait()
        else:
            await exchange.raw(raw)
            exchange.cut()

    server = LoopbackServer(handle)
    await server.start()
    connector = Connector()
    reach = ReachableHosts(None, read_allowed(["127.0.0.1"]))
    times = Times(all=0.2) if raw is None else Times()
    with pytest.raises(error):
        await connector.fetch(reach, Outgoing("GET", server.url), times, 100_000)
    await server.close()
    await connector.close()


@pytest.mark.parametrize(
    ("entries", "host", "address", "reached"),
    [
        (["10.0.0.0/8"], "a.example", "10.1.2.3", True),
        (["10.0.0.0/8"], "a.example", "192.168.0.1", False),
        (["Intranet.Example."], "intranet.example", "10.1.2.3", True),
        (["intranet.example"], "a.example", "10.1.2.3", False),
        (["intranet.example"], "intranet.example", "127.0.0.1", False),
        (["intranet.example"], "intranet.example", "169.254.169.254", False),
        (["localhost"], "localhost", "127.0.0.1", True),
        (["::1"], "a.example", "::1", True),
        (["fd00::/8"], "a.example", "fd00::1", True),
        (["fd00::/8"], "a.example", "fd00:ec2::254", False),
        (["64:ff9b::/96"], "a.example", "64:ff9b::a9fe:a9fe", False),
        (["64:ff9b::/96"], "a.example", "64:ff9b::808:808", True),
        ([], "a.example", "2606:4700::1111", True),
        ([], "a.example", "1.1.1.1", True),
    ],
)
def test_what_a_declaration_allows(entries: Sequence[str], host: str, address: str, reached: bool) -> None:
    assert read_allowed(entries).may_reach(host, ip_address(address)) is reached


@pytest.mark.parametrize(
    "entry", ["169.254.169.254", "0.0.0.0/0", "::/0", "224.0.0.0/8", "10.0.0.1/8", "2130706433", "a b", ""]
)
def test_what_no_declaration_can_allow(entry: str) -> None:
    with pytest.raises(OutboundError):
        read_allowed([entry])


def test_a_refusal_says_nothing_of_the_url() -> None:
    with pytest.raises(OutboundError) as caught:
        origin_of("https://user:hunter2@api.example.org/?key=hunter2")
    assert "hunter2" not in str(caught.value)
    assert Allowed() == read_allowed([])
