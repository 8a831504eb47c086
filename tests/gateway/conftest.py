from __future__ import annotations

import gzip
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from responsa_local.embedded.envoy import envoy_binary
from responsa_local.envoy.envoy_config import EnvoyConfig, render
from responsa_local.envoy.replicas import Replica, Replicas
from responsa_server.domain.addresses import Network, UnixAddress
from responsa_server.identity.settings import AddressLimitSettings
from tests.instance import free_port
from tests.tied import tied

ROOT = Path(__file__).resolve().parents[2]
OTHER_ORIGIN = "https://chat.example.org"


@dataclass
class Place:
    """Envoy in front of the stand-in server, both real processes."""

    folder: Path
    port: int
    server: subprocess.Popen[str]
    envoy: subprocess.Popen[bytes]

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.target}"

    def raw(self, request: bytes) -> bytes:
        """All that comes back until the connection ends."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65_536), b""))

    def stop(self) -> None:
        for process in (self.envoy, self.server):
            if process.poll() is None:
                process.terminate()
        for process in (self.envoy, self.server):
            process.wait(20)
        if self.server.stdout is not None:
            self.server.stdout.close()
        shutil.rmtree(self.folder)


def start_server(folder: Path, port: int, patience: float = 60.0) -> subprocess.Popen[str]:
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            tied(
                sys.executable,
                "-m",
                "tests.gateway.stand_in",
                *(str(folder / n) for n in ("s.sock", "g.sock", "web")),
                str(patience),
                str(port),
            ),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n", (folder / "server.log").read_text()
    return server


def endpoints(folder: Path) -> Path:
    """The endpoint files of one replica with the sockets s.sock and g.sock in `folder`."""
    replicas = Replicas(folder / "replicas")
    replicas.add(Replica("one", UnixAddress(folder / "s.sock"), UnixAddress(folder / "g.sock")))
    return replicas.folder


def start_envoy(
    config: EnvoyConfig, folder: Path, *, threads: int = 1, edit: Callable[[str], str] = str
) -> subprocess.Popen[bytes]:
    """A running Envoy. edit: changes the text of its configuration."""
    file = folder / "envoy.json"
    file.write_text(edit(render(config)))
    with (folder / "envoy.log").open("wb") as log:
        envoy = subprocess.Popen(
            tied(
                str(envoy_binary()),
                "-c",
                str(file),
                "--disable-hot-restart",
                "--concurrency",
                str(threads),
                "-l",
                "warn",
            ),
            stdout=log,
            stderr=log,
        )
    while True:
        assert envoy.poll() is None, (folder / "envoy.log").read_text()
        try:
            with socket.create_connection(("127.0.0.1", config.port)):
                return envoy
        except OSError:
            time.sleep(0.01)  # between two checks of the condition


def start_place(
    allowed_origins: tuple[str, ...] = (),
    web: Path | None = None,
    patience: float = 60.0,
    *,
    connections: int = AddressLimitSettings().connections,
    threads: int = 1,
    edit: Callable[[str], str] = str,
    trusted_proxies: Sequence[Network] = (),
) -> Place:
    folder = Path(tempfile.mkdtemp(prefix="rgw"))
    if web is not None:
        shutil.copytree(web, folder / "web", symlinks=True)
    port = free_port()
    server = start_server(folder, port, patience)
    config = EnvoyConfig(
        port=port,
        endpoints=endpoints(folder),
        admin_socket=folder / "a.sock",
        listen_address="127.0.0.1",
        allowed_origins=allowed_origins,
        connections_per_address=connections,
        trusted_proxies=trusted_proxies,
    )
    return Place(folder, config.port, server, start_envoy(config, folder, threads=threads, edit=edit))


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a built page."""
    root = tmp_path_factory.mktemp("page") / "web"
    (root / "assets").mkdir(parents=True)
    for name in ("index.html", "docs.html"):
        (root / name).write_text("<!doctype html><title>Responsa</title>")
    (root / "assets" / "index-abc123.js").write_text("export {};\n")
    (root / "assets" / "index-abc123.js.gz").write_bytes(gzip.compress(b"export {};\n"))
    brotli = bytes.fromhex("0b05806578706f7274207b7d3b0a03")  # the same, by Node
    (root / "assets" / "index-abc123.js.br").write_bytes(brotli)
    (root / "widget.js").write_text("customElements;\n")
    (root / "favicon.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (root / ".hidden.txt").write_text("hidden")
    (root / "assets" / "link.txt").symlink_to("/etc/passwd")
    (root.parent / "outside.txt").write_text("outside")
    return root


@pytest.fixture(scope="session")
def place(web: Path) -> Iterator[Place]:
    """One instance for all tests that do not change it."""
    place = start_place(web=web)
    yield place
    place.stop()


@pytest.fixture(scope="session")
def hasty() -> Iterator[Place]:
    """A gateway whose sockets send heartbeats, and time out, after half a second."""
    place = start_place(patience=0.5)
    yield place
    place.stop()


@pytest.fixture
def http(place: Place) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=place.url, timeout=30) as client:
        yield client
