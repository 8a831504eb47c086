"""The files of docs/deployment.md as they are printed there, with the real programs: proxies that end TLS in front of a
real instance, and the service of systemd."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import httpx2
import pytest
from playwright.sync_api import expect, sync_playwright
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from responsa.auth.v1.api_key_pb2 import ApiKey
from responsa.auth.v1.auth_service_pb2 import CreateApiKeyRequest
from responsa.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from responsa.chat.v1.chat_service_pb2 import AskRequest
from responsa.chat.v1.chat_service_pb2_grpc import ChatServiceStub
from responsa_server.transports.ws.bridge import MOST_OF_ADDRESS
from tests.browser.conftest import ARGUMENTS, chromium
from tests.browser.person import PATIENCE as BROWSER_PATIENCE
from tests.docs.reader import blocks
from tests.gateway.wire import grpc_web
from tests.instance import PATIENCE, ROOT, Instance, eventually, free_port, instance_in
from tests.tied import tied
from tests.wire.smtp import certificate_in

PAGE: Final = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
HOST: Final = "responsa.example.org"
ENDLESS: Final = "tokens=2000 pace_ms=50"
FORGED: Final = "203.0.113.9"
STREAMS, CONNECTIONS = 2, 200
MEBIBYTE: Final = 1 << 20


def printed(path: str) -> str:
    """The file that the page prints under this path."""
    (found,) = [block.text for block in blocks(PAGE) if block.path == path]
    return found


def program(name: str, package: str) -> str:
    """The path of a program of the system. Without the program, the tests fail; they are never skipped."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        pytest.fail(
            f"{name} is missing: install the system's package `{package}` (as .ci/run does), then run the tests again"
        )
    return found


def replaced(text: str, **places: str) -> str:
    """A file of the page with other places. Each place must be in the file."""
    for old, new in places.items():
        assert old in text, f"the page has no {old!r}"
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def behind(folder: Path) -> Iterator[Instance]:
    """An instance with the settings of the page, small limits of addresses, and the testing agent, which is not for production."""
    (settings,) = [block.text for block in blocks(PAGE) if block.kind == "toml"]
    (folder / "responsa.toml").write_text(settings)
    limits = {"STREAMS": STREAMS, "CONNECTIONS": 4}
    variables = {
        "RESPONSA_CONFIG": str(folder / "responsa.toml"),
        "RESPONSA_ENVIRONMENT": "staging",
        "RESPONSA_TESTING__AGENT": "true",
        "RESPONSA_MODELS__SCRIPTED": "true",
        "RESPONSA_DOCS": "none",
        **{f"RESPONSA_LIMITS__ADDRESS__{name}": str(most) for name, most in limits.items()},
    }
    with instance_in(folder, **variables) as one:
        yield one


@dataclass
class Proxied:
    """A proxy in front of an instance."""

    port: int
    plain_port: int
    certificate: Path
    log: Path
    instance: Instance
    network: int
    """The callers of a proxy come from their own network, 127.0.NETWORK.0/24, because the limits of all proxies are the same."""

    @property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def address(self, number: int) -> str:
        return f"127.0.{self.network}.{number}"

    def caller(self, number: int, *, key: bool = True) -> httpx2.Client:
        """A client that comes from this address, and that sends a forged header."""
        own = {"authorization": f"Bearer {self.instance.key}"} if key else {}
        return httpx2.Client(
            base_url=f"https://127.0.0.1:{self.port}",
            headers={"host": HOST, "x-forwarded-for": FORGED, **own},
            transport=httpx2.HTTPTransport(verify=self.tls, local_address=self.address(number)),
            timeout=PATIENCE,
        )

    def connection(self, number: int) -> socket.socket:
        """An open connection from this address, without TLS."""
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE, (self.address(number), 0))

    def tls_connection(self, number: int) -> ssl.SSLSocket:
        """An open connection from this address, with TLS."""
        return self.tls.wrap_socket(self.connection(number), server_hostname=HOST)

    def web_socket(self, number: int, *, key: bool = True, query: str = "") -> ClientConnection:
        offered = [Subprotocol("responsa.v1")]
        if key:
            offered.append(Subprotocol(f"bearer.{self.instance.key}"))
        # The client reads in a second thread. With TLS 1.3, it may be reading the tickets that follow the handshake
        # while the request is sent, and Python 3.11 then sometimes
        # loses the request.
        tls = self.tls
        tls.maximum_version = ssl.TLSVersion.TLSv1_2
        return connect(
            f"wss://{HOST}/ws/chat{query}",
            sock=self.connection(number),
            ssl=tls,
            subprotocols=offered,
            additional_headers={"x-forwarded-for": FORGED},
            open_timeout=PATIENCE,
            # Envoy ends the TCP connection a second after the closing handshake; waiting for it tests nothing.
            close_timeout=0.1,
            max_size=None,
            proxy=None,
        )

    @contextmanager
    def relay(self, number: int) -> Generator[int]:
        """A port from which bytes pass to the proxy, from this address, for clients that cannot choose an address."""
        with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as stack:
            ended = threading.Event()

            def accept() -> None:
                with suppress(OSError):
                    while True:
                        near, _ = listener.accept()
                        far = self.connection(number)
                        far.settimeout(None)
                        stack.callback(near.close)
                        stack.callback(far.close)
                        for one, other in ((near, far), (far, near)):
                            threading.Thread(target=pass_on, args=(one, other), daemon=True).start()
                ended.set()

            threading.Thread(target=accept, daemon=True).start()
            yield listener.getsockname()[1]
            listener.shutdown(socket.SHUT_RDWR)
            assert ended.wait(PATIENCE)

    @contextmanager
    def channel(self, number: int) -> Generator[grpc.Channel]:
        """A native gRPC client over TLS."""
        trusted = grpc.ssl_channel_credentials(self.certificate.read_bytes())
        options = [("grpc.ssl_target_name_override", HOST), ("grpc.use_local_subchannel_pool", 1)]
        with (
            self.relay(number) as port,
            grpc.secure_channel(f"127.0.0.1:{port}", trusted, options) as channel,
        ):
            yield channel

    @property
    def metadata(self) -> Sequence[tuple[str, str]]:
        return (("authorization", f"Bearer {self.instance.key}"), ("x-forwarded-for", FORGED))


def pass_on(source: socket.socket, target: socket.socket) -> None:
    """Pass bytes on until one side ends."""
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def nginx(folder: Path, port: int, plain_port: int, instance: Instance) -> list[str]:
    """Write the page's configuration. Returns the command that runs it."""
    server_blocks = replaced(
        printed("/etc/nginx/conf.d/responsa.conf"),
        **{
            "    listen [::]:80;\n": "",
            "    listen [::]:443 ssl http2;\n": "",
            "listen 80;": f"listen 127.0.0.1:{plain_port};",
            "listen 443 ": f"listen 127.0.0.1:{port} ",
            "127.0.0.1:8080": instance.target,
            "/etc/ssl/responsa/fullchain.pem": str(folder / "certificate.pem"),
            "/etc/ssl/responsa/privkey.pem": str(folder / "certificate.pem"),
            "/var/log/nginx/responsa.log": str(folder / "proxy.log"),
        },
    )
    # What Debian's nginx.conf has, too.
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    around = f"daemon off; pid {folder}/nginx.pid; error_log stderr;\n"
    main = f"{around}{printed('/etc/nginx/nginx.conf')}http {{\n{temporary}\naccess_log off;\n{server_blocks}}}\n"
    (folder / "nginx.conf").write_text(main)
    return [program("nginx", "nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf")]


def haproxy(folder: Path, port: int, plain_port: int, instance: Instance) -> list[str]:
    """Write the page's configuration. Returns the command that runs it."""
    text = replaced(
        printed("/etc/haproxy/haproxy.cfg"),
        **{
            # Only root can change the user.
            "    user haproxy\n    group haproxy\n": "",
            "bind :80\n": f"bind 127.0.0.1:{plain_port}\n",
            "bind :443 ": f"bind 127.0.0.1:{port} ",
            "127.0.0.1:8080": instance.target,
            "/etc/ssl/responsa/responsa.pem": str(folder / "certificate.pem"),
        },
    )
    (folder / "haproxy.cfg").write_text(text)
    return [program("haproxy", "haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]


@pytest.fixture(scope="module", params=[nginx, haproxy], ids=["nginx", "haproxy"])
def proxied(request: pytest.FixtureRequest, behind: Instance, folder: Path) -> Iterator[Proxied]:
    """A proxy with the configuration of the page."""
    own = folder / request.param.__name__
    own.mkdir()
    certificate = certificate_in(own, HOST)
    port, plain_port = free_port(), free_port()
    command = request.param(own, port, plain_port, behind)
    log = own / "proxy.log"
    # nginx writes its own log.
    with (own / "output").open("wb") as output, log.open("ab") as logged:
        process = subprocess.Popen(tied(*command), stdout=logged, stderr=output)
    try:

        def listens() -> bool:
            assert process.poll() is None, (own / "output").read_text()
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                return True
            return False

        eventually(listens, "the proxy listens")
        yield Proxied(port, plain_port, certificate, log, behind, 11 if request.param is nginx else 12)
        # No warning and no error.
        assert "[warn]" not in (own / "output").read_text()
        assert "WARNING" not in (own / "output").read_text()
    finally:
        process.terminate()
        process.wait(PATIENCE)


def blocking(stub: Any, channel: grpc.Channel) -> Any:
    """A stub over a blocking channel. The generated types know only the asyncio channel."""
    return stub(channel)


def reason(reply: httpx2.Response) -> str:
    return next(one["reason"] for one in reply.json()["details"] if "reason" in one)


def test_plain_http_leads_to_tls(proxied: Proxied) -> None:
    reply = httpx2.get(f"http://127.0.0.1:{proxied.plain_port}/v1/users/me?x=1", headers={"host": HOST})
    assert (reply.status_code, reply.headers["location"]) == (301, f"https://{HOST}/v1/users/me?x=1")
    with proxied.caller(1) as caller:
        assert caller.get("/v1/users/me").headers["strict-transport-security"] == "max-age=31536000"
        # Only the page under the name of the site is served.
        other = {"host": "other.example.org", "origin": "https://other.example.org"}
        assert caller.get("/v1/users/me", headers=other).status_code == 403


def test_the_audit_log_has_the_address_of_the_caller(proxied: Proxied) -> None:
    """Over REST, gRPC and gRPC-Web."""
    with proxied.caller(2) as caller:
        assert caller.post("/v1/apiKeys", json={"apiKey": {"displayName": "a"}}).status_code == 200
    request = CreateApiKeyRequest(api_key=ApiKey(display_name="a"))
    with proxied.channel(3) as channel:
        blocking(AuthServiceStub, channel).CreateApiKey(request, metadata=proxied.metadata, timeout=PATIENCE)
    with proxied.caller(4) as caller:
        answer = grpc_web(caller, "/responsa.auth.v1.AuthService/CreateApiKey", request)
        assert answer.trailers["grpc-status"] == "0"
        events = caller.get("/v1/auditEvents", params={"filter": 'action = "api_key.create"'}).json()[
            "auditEvents"
        ]
    assert [event["address"] for event in events[:3]] == [proxied.address(number) for number in (4, 3, 2)]


def test_a_session_has_the_address_of_the_caller_and_a_secure_cookie(proxied: Proxied) -> None:
    with proxied.caller(5) as caller:
        code = caller.post("/v1/sessionCodes", json={}).json()["code"]
    origin = {"origin": f"https://{HOST}"}
    with proxied.caller(6, key=False) as browser:
        reply = browser.post("/v1/sessions", json={"code": code}, headers=origin)
        assert reply.status_code == 200, reply.text
        cookie = reply.headers["set-cookie"]
        assert cookie.startswith("__Host-responsa_session")
        assert "Secure" in cookie
        sessions = browser.get("/v1/users/me/sessions", headers=origin).json()["sessions"]
        assert proxied.address(6) in [session["address"] for session in sessions]
        # The page of another site cannot use the cookie.
        other = browser.get("/v1/users/me/sessions", headers={"origin": "https://other.example.org"})
        assert (other.status_code, reason(other)) == (403, "ORIGIN_NOT_ALLOWED")


def test_streams_arrive_in_pieces_and_count_for_their_caller(proxied: Proxied) -> None:
    """As server-sent events and over gRPC. No answer of this test has ended when its first words arrive."""
    body = {"text": ENDLESS, "agent": "agents/testing", "includeDeltas": True}
    events = {"accept": "text/event-stream"}
    with (
        proxied.caller(7) as caller,
        proxied.caller(8) as other,
        proxied.channel(7) as channel,
        ExitStack() as stack,
    ):
        stream = stack.enter_context(caller.stream("POST", "/v1/turns:ask", json=body, headers=events))
        assert stream.status_code == 200
        lines = stream.iter_lines()
        found = [json.loads(line.removeprefix("data: ")) for line in first_deltas(lines)]
        turn = found[0]["turn"]
        assert caller.get(f"/v1/{turn}").json()["state"] == "TURN_STATE_RUNNING"

        request = AskRequest(text=ENDLESS, agent="agents/testing", include_deltas=True)
        frames = blocking(ChatServiceStub, channel).Ask(request, metadata=proxied.metadata, timeout=PATIENCE)
        over_grpc: str = ""
        for frame in frames:
            over_grpc = frame.turn
            if any(event.HasField("delta") for event in frame.events):
                break
        assert caller.get(f"/v1/{over_grpc}").json()["state"] == "TURN_STATE_RUNNING"

        # This address now has all the streams that it may have, over any transport.
        with pytest.raises(grpc.RpcError) as beyond:
            next(blocking(ChatServiceStub, channel).Ask(request, metadata=proxied.metadata, timeout=PATIENCE))
        assert "LIMIT_REACHED" in str(beyond.value.trailing_metadata())
        refused = caller.post("/v1/turns:ask", json=body, headers=events)
        assert (refused.status_code, reason(refused)) == (429, "LIMIT_REACHED")
        upload = {"collection": "collections/default", "source_key": "a.md"}
        refused = caller.put("/v1/uploads", params=upload, content=b"# A\n")
        assert (refused.status_code, reason(refused)) == (429, "LIMIT_REACHED")
        assert other.put("/v1/uploads", params=upload, content=b"# A\n").status_code == 200

        for name in (turn, over_grpc):
            assert other.post(f"/v1/{name}:cancel", json={}).status_code == 200
        assert '"cancelled"' in "".join(lines)
        assert [*frames][-1].events[-1].HasField("cancelled")


def first_deltas(lines: Iterator[str]) -> Iterator[str]:
    """The data of the events up to the first words of the answer."""
    for line in lines:
        if line.startswith("data: "):
            yield line
            if '"delta"' in line:
                return
    raise AssertionError("the stream ended without a delta")


def test_web_sockets_answer_and_count_for_their_caller(proxied: Proxied) -> None:
    def frames(web_socket: ClientConnection) -> Iterator[Any]:
        while True:
            yield json.loads(web_socket.recv(PATIENCE))

    with ExitStack() as stack:
        # Sockets that wait for their sign-in.
        for _ in range(MOST_OF_ADDRESS):
            stack.enter_context(proxied.web_socket(9, key=False))
        beyond = stack.enter_context(proxied.web_socket(9, key=False))
        with pytest.raises(ConnectionClosed) as closed:
            beyond.recv(PATIENCE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013

        other = stack.enter_context(proxied.web_socket(10))
        other.send(json.dumps({"content": ENDLESS, "agent": "testing", "deltas": True}))
        turn = ""
        for frame in frames(other):
            turn = frame.get("turn", turn)
            if frame["type"] == "delta":
                break
        with proxied.caller(10) as caller:
            assert caller.get(f"/v1/{turn}").json()["state"] == "TURN_STATE_RUNNING"
            assert caller.post(f"/v1/{turn}:cancel", json={}).status_code == 200


def test_a_document_of_the_largest_size_arrives(proxied: Proxied) -> None:
    # A damaged PDF, which the parser soon gives up.
    content = b"%PDF-1.7\n".ljust(64 * MEBIBYTE, b"0")
    upload = {"collection": "collections/default", "source_key": "large.pdf", "media_type": "application/pdf"}
    with proxied.caller(11) as caller:
        reply = caller.put("/v1/uploads", params=upload, content=content)
        assert reply.status_code == 200, reply.text
        reply = caller.put("/v1/uploads", params=upload, content=content + b"0")
        assert (reply.status_code, reason(reply)) == (400, "DOCUMENT_TOO_LARGE")


def test_the_log_of_the_proxy_has_addresses_and_no_credentials(proxied: Proxied) -> None:
    with proxied.web_socket(12, key=False, query=f"?token={proxied.instance.key}") as web_socket:
        web_socket.send(json.dumps({"content": "Hello", "agent": "testing"}))
        web_socket.recv(PATIENCE)
    eventually(lambda: proxied.address(12) in proxied.log.read_text(), "a line of the call")
    (line,) = [line for line in proxied.log.read_text().splitlines() if proxied.address(12) in line]
    assert "/ws/chat" in line
    assert proxied.instance.key not in line


def refused(begin: Callable[[int], ssl.SSLSocket]) -> bool:
    """Whether the proxy refuses one more request from the address 13, or its connection."""
    try:
        reply = begin(13).recv(100)
    except OSError:
        return True
    return reply == b"" or reply.startswith(b"HTTP/1.1 429 ")


def test_a_caller_may_have_only_some_connections(proxied: Proxied) -> None:
    """nginx counts requests that have begun, HAProxy counts connections."""
    begun = f"POST /v1/sessions HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"

    def begin(number: int) -> ssl.SSLSocket:
        opened = stack.enter_context(proxied.tls_connection(number))
        opened.sendall(begun.encode())
        return opened

    with ExitStack() as stack:
        opened = [begin(13) for _ in range(CONNECTIONS)]
        assert refused(begin)
        for one in (opened[0], opened[-1], begin(14)):
            one.sendall(b'{"a":"b"}')
            assert one.recv(100).startswith(b"HTTP/1.1 400 ")


def test_the_page_works_over_tls(proxied: Proxied) -> None:
    with proxied.caller(15) as caller:
        code = caller.post("/v1/sessionCodes", json={}).json()["code"]
    with proxied.relay(16) as port, sync_playwright() as playwright:
        rule = f"--host-resolver-rules=MAP {HOST}:443 127.0.0.1:{port}"
        browser = playwright.chromium.launch(executable_path=chromium(), args=[*ARGUMENTS, rule])
        try:
            context = browser.new_context(ignore_https_errors=True)
            context.set_default_timeout(BROWSER_PATIENCE)
            page = context.new_page()
            troubles: list[str] = []
            page.on("pageerror", lambda error: troubles.append(str(error)))
            page.goto(f"https://{HOST}/#code={code}")
            page.get_by_label("Your question").fill("What is a lease?")
            page.keyboard.press("Enter")
            expect(page.locator("li.assistant:not([aria-busy])")).to_have_count(1, timeout=BROWSER_PATIENCE)
            (cookie,) = context.cookies()
            assert cookie.get("name", "").startswith("__Host-")
            assert cookie.get("secure") is True
            protocol = page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol")
            assert protocol == "h2"
            # A socket of the page, with the session's cookie.
            first = page.evaluate(
                """() => new Promise((resolve, reject) => {
                    const socket = new WebSocket(`wss://${location.host}/ws/chat`, ["responsa.v1"]);
                    socket.onopen = () => socket.send(JSON.stringify({content: "tokens=2", agent: "testing"}));
                    socket.onmessage = ({data}) => resolve(JSON.parse(data).type);
                    socket.onclose = ({code}) => reject(new Error(`closed: ${code}`));
                })"""
            )
            assert first != "error"
            assert troubles == []
        finally:
            browser.close()
    with proxied.caller(15) as caller:
        sessions = caller.get("/v1/users/me/sessions").json()["sessions"]
        assert proxied.address(16) in [session["address"] for session in sessions]


def verified(unit: str, file: Path) -> subprocess.CompletedProcess[str]:
    """What systemd says about a unit in this file."""
    file.write_text(unit)
    command = [program("systemd-analyze", "systemd"), "verify", "--man=no", "--generators=no", str(file)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


@pytest.mark.parametrize("name", ["responsa", "responsa-worker", "responsa-backup"])
def test_systemd_accepts_the_unit(name: str, tmp_path: Path) -> None:
    responsa = Path(sys.executable).with_name("responsa")
    unit = replaced(
        (ROOT / "deploy" / "systemd" / f"{name}.service").read_text(encoding="utf-8"),
        **{"/opt/responsa/.venv/bin/responsa": str(responsa)},
    )
    file = tmp_path / f"{name}.service"
    done = verified(unit, file)
    assert (done.returncode, done.stdout) == (0, "")
    assert "\nStartLimitIntervalSec=0\n" in unit, "a database that is away for long must not end it for good"
    # systemd would only warn of an unknown line, and start the service without it.
    assert "Unknown key" in verified(replaced(unit, KillMode="KillMod"), file).stdout
    assert verified(replaced(unit, **{str(responsa): "/opt/none/responsa"}), file).returncode != 0
