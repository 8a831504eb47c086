"""A whole installation that a campaign controls: PostgreSQL, Redis, Envoy, a scripted model, and any number of replicas
with injected faults.

All parts are real and run in separate processes. The model and the tool sink continue when a replica ends. Each replica
is identified by the application_name of its connections.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx2
import redis
from psycopg.conninfo import make_conninfo

from responsa_local.embedded import EmbeddedPostgres, EmbeddedRedis, LocalLayout
from responsa_local.envoy.envoy_config import EnvoyConfig, render
from responsa_local.envoy.replicas import Replica as Endpoint
from responsa_local.envoy.replicas import Replicas
from responsa_server.app.resources import bring_up_to_date, open_identity
from responsa_server.app.settings import load
from responsa_server.domain.addresses import UnixAddress, parse
from responsa_server.domain.people import Role
from tests import seeds
from tests.faults.forms import ROOT
from tests.faults.guards import Guard
from tests.faults.invariants import Ledger, witness
from tests.faults.part_runner import PartRunner, RunPart
from tests.faults.placed import Placed
from tests.faults.replica import Order
from tests.instance import PATIENCE, eventually, free_port, plain_environment, short_folder

LEASE_SECONDS = 1.0
ABSENT = "unix:///nowhere/redis.sock"
"""The URL of a Redis that does not exist."""
_URLS: Sequence[tuple[str, Literal["owner", "app", "log"]]] = (
    ("DATABASE_URL", "owner"),
    ("DATABASE_APP_URL", "app"),
    ("DATABASE_LOG_URL", "log"),
)
QUICK: Mapping[str, str] = {
    "RESPONSA_TURNS__LEASE_SECONDS": str(LEASE_SECONDS),
    # The campaigns kill from outside, so no turn is the cause.
    "RESPONSA_TURNS__MAX_LOSSES": "100",
    "RESPONSA_TURNS__ALONE_AFTER_LOSSES": "100",
    "RESPONSA_RETRIEVAL__EMBEDDING_THREADS": "1",
    "RESPONSA_LOG_LEVEL": "warning",
    "RESPONSA_TESTING__AGENT": "true",
    "RESPONSA_DOCS": "none",
}
"""Settings of every replica, unless a campaign says otherwise."""
_SWEEP_SECONDS = 0.2
_JOB_LOSSES = 100


@dataclass
class Caller:
    """A tenant of one campaign, with the keys of a user and of its administrator."""

    tenant: str
    key: str
    admin_key: str
    ledger: Ledger


@dataclass
class Replica:
    """A process that serves, works, or does both. pid: 0 before its start."""

    name: str
    pid: int
    address: str
    """The replica's gRPC address, as a gRPC target."""
    http: str
    """The address of the replica's gateway, which serves event streams, WebSockets and uploads."""
    log: Path
    cluster: Cluster
    stopped: bool = False

    @property
    def alive(self) -> bool:
        """Whether the replica is still running."""
        return self.name not in self.cluster.ended_at

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the replica, unless it has ended."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
        if number in (signal.SIGSTOP, signal.SIGCONT):
            self.stopped = number is signal.SIGSTOP

    def kill(self) -> None:
        """Send SIGKILL, and wait until the process has ended."""
        self.signal(signal.SIGKILL)
        self.until_ended()

    def until_ended(self) -> int:
        """Wait until the replica ends. Returns its exit code."""
        eventually(lambda: not self.alive, lambda: f"an end of {self.name}; {self.said()}")
        return self.cluster.ended[self.pid]

    def until_ready(self, patience: float = PATIENCE) -> Replica:
        """Wait until the replica serves, for at most `patience` seconds."""

        def serves() -> bool:
            assert self.alive, f"{self.name} ended with {self.cluster.ended[self.pid]}: {self.said()}"
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                return probe.connect_ex(self.address.removeprefix("unix:")) == 0

        eventually(serves, lambda: f"{self.name} serving; {self.said()}", patience)
        return self

    def said(self) -> str:
        """The end of the replica's log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-3000:] if self.log.is_file() else ""


class Cluster:
    """The installation. All parts except the replicas run from `start` to `close`. `start` blocks, and starts all these
    parts from the calling thread."""

    def __init__(self, folder: Path) -> None:
        """folder: the folder for the home of the cluster. Its path must be short, because the length of socket paths is limited."""
        self.layout = LocalLayout.of(folder / "home").prepare()
        seeds.plant(self.layout)
        self.port = free_port()
        self.front_port = free_port()
        """The port of the proxy in front of Envoy. Envoy accepts calls for this port."""
        self._keeper = PartRunner(self.layout.home, self.port, self._environment())
        self.postgres = RunPart(self._keeper, "postgres")
        self.redis = RunPart(self._keeper, "redis")
        self._envoy = RunPart(self._keeper, "envoy")
        self.ended: dict[int, int] = {}
        self.replicas: dict[str, Replica] = {}
        self.endpoints = Replicas(self.layout.replicas)
        self._numbers = itertools.count(1)
        self.ended_at: dict[str, float] = {}
        """The time at which each replica ended (time.time()), by the replica's name."""
        self._callers: list[Caller] = []
        self._lock = threading.Lock()
        self._born: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._forker: subprocess.Popen[bytes] | None = None
        self._testing: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self.model_url = ""
        self.tool_url = ""

    @property
    def target(self) -> str:
        """Envoy's address as a gRPC target."""
        return f"127.0.0.1:{self.port}"

    @property
    def front(self) -> str:
        """The proxy in front of Envoy, if a campaign runs one."""
        return f"127.0.0.1:{self.front_port}"

    @property
    def dsn(self) -> str:
        """The database, as a role that sees all rows."""
        return EmbeddedPostgres(self.layout).dsn("superuser")

    @property
    def redis_url(self) -> str:
        """The URL of the running Redis."""
        return EmbeddedRedis(self.layout).url

    def start(self) -> None:
        """Start all parts except the replicas."""
        self.postgres.start()
        self.redis.start()
        settings = load(home=self.layout.home, port=self.port, DATABASE_URL=None)
        asyncio.run(bring_up_to_date(settings, self.layout))
        witness(self.dsn)
        self._start_testing()
        self._start_forker()
        # Envoy waits for these files, which are empty before the first replica starts.
        self.endpoints.add(Endpoint("nobody", UnixAddress(self.layout.run / "nobody.sock")))
        self.endpoints.remove("nobody")
        config = EnvoyConfig(
            port=self.port,
            listen_address=settings.listen,
            endpoints=self.layout.replicas,
            admin_socket=self.layout.envoy_admin_socket,
            allowed_hosts=("127.0.0.1", "localhost", self.front),
        )
        self.layout.envoy_config.write_text(render(config), encoding="utf-8")
        self._envoy.start()

    def close(self) -> None:
        """Stop all."""
        for replica in self.replicas.values():
            if replica.alive:
                replica.signal(signal.SIGKILL)
        if self._forker is not None and self._forker.stdin is not None:
            self._forker.stdin.close()
            self._forker.wait(PATIENCE)
        if self._reader is not None:
            self._reader.join()
        if self._forker is not None and self._forker.stdout is not None:
            self._forker.stdout.close()
        if self._testing is not None:
            for pipe in (self._testing.stdin, self._testing.stdout):
                if pipe is not None:
                    pipe.close()
            self._testing.wait(PATIENCE)
        for caller in self._callers:
            caller.ledger.close()
        self._keeper.close()

    def ask_redis(self, *command: str) -> object:
        """Send a command to Redis. Returns its result."""
        client: Any = redis.Redis.from_url(self.redis_url)
        with client:
            return client.execute_command(*command)

    def _environment(self) -> dict[str, str]:
        # Coverage is not measured in replicas. A killed replica could not report its coverage, and replicas run faster without
        # the measurement.
        plain = plain_environment(PYTHONPATH=str(ROOT), OPENBLAS_NUM_THREADS="1")
        return {name: value for name, value in plain.items() if not name.startswith("COV")}

    def _start_forker(self) -> None:
        with (self.layout.logs / "forker.log").open("wb") as log:
            self._forker = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.forker"],
                cwd=ROOT,
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._listen, name="forker", daemon=True)
        self._reader.start()

        def ready() -> bool:
            assert self._forker is not None
            assert self._forker.poll() is None, (self.layout.logs / "forker.log").read_text()
            return "" in self._born

        eventually(ready, "the forker")

    def _listen(self) -> None:
        assert self._forker is not None
        assert self._forker.stdout is not None
        for line in self._forker.stdout:
            notice: dict[str, Any] = json.loads(line)
            if "ready" in notice:
                self._born[""] = notice["ready"]
            elif "name" in notice:
                # In a long run, the system may give a new replica the process id of an ended one.
                self.ended.pop(notice["pid"], None)
                self._names[notice["pid"]] = notice["name"]
                self._born[notice["name"]] = notice["pid"]
            else:
                self.ended[notice["pid"]] = notice["status"]
                self.ended_at[self._names[notice["pid"]]] = time.time()

    def _start_testing(self) -> None:
        """The scripted model and the counting tool sink, in a separate process."""
        # The new process always ends together with this process, because its stdin closes when this process ends.
        self._testing = subprocess.Popen(
            [sys.executable, "-m", "responsa_lab.testing", "--until-eof"],
            cwd=ROOT,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._testing.stdout is not None
        told: dict[str, dict[str, str]] = {}
        for _ in range(2):
            line = json.loads(self._testing.stdout.readline())
            told[line["part"]] = line
        self.model_url, self.tool_url = told["model"]["url"], told["tool"]["url"]

    def model_stats(self) -> dict[str, Any]:
        """The counts of the scripted model's server, by event: started, streaming, finished, sockets. Also its list of disconnects (label,
        at, pieces).
        """
        return httpx2.get(f"{self.model_url.removesuffix('/v1')}/stats", trust_env=False).json()

    def model_requests(self) -> dict[str, int]:
        """The number of completions that have begun, by the turn's name."""
        return httpx2.get(f"{self.model_url.removesuffix('/v1')}/requests", trust_env=False).json()

    def tool_calls(self) -> dict[str, dict[str, Any]]:
        """The tool sink's counts, by the key of the call."""
        return httpx2.get(f"{self.tool_url}/calls", trust_env=False).json()["calls"]

    def order(
        self,
        role: str = "all",
        *,
        faults: Sequence[Placed] = (),
        guards_out: Sequence[Guard] = (),
        database: Path | None = None,
        seed: int = 0,
        sync_deaths: Mapping[str, int] | None = None,
        sweep_seconds: float = _SWEEP_SECONDS,
        job_losses: int = _JOB_LOSSES,
        **settings: str,
    ) -> Replica:
        """Start a replica, but do not wait until it serves. Envoy sends the replica no calls before `admit`. database:
        the folder of a proxy in front of PostgreSQL; None for a direct connection. sync_deaths, job_losses: see `Order`.
        sweep_seconds: how often it looks for turns.
        """
        replica, environment = self.planned(role, database=database, **settings)
        name, log = replica.name, str(replica.log)
        order = Order(
            name,
            environment,
            log,
            tuple(faults),
            tuple(guards_out),
            seed,
            dict(sync_deaths or {}),
            {"sweep_seconds": sweep_seconds},
            job_losses,
        )
        assert self._forker is not None
        assert self._forker.stdin is not None
        with self._lock:
            self._forker.stdin.write(order.to_json().encode() + b"\n")
            self._forker.stdin.flush()
        eventually(lambda: name in self._born, f"the birth of {name}")
        replica.pid = self._born[name]
        self.replicas[name] = replica
        return replica

    def planned(
        self, role: str = "all", *, database: Path | None = None, **settings: str
    ) -> tuple[Replica, Mapping[str, str]]:
        """A replica that nobody has started, and its environment. The arguments are the same as for `order`."""
        number = next(self._numbers)
        name = f"{role}-{number}"
        address, http = (f"unix:{self.layout.run}/{number}.{part}" for part in ("sock", "http"))
        log = self.layout.logs / f"{name}.log"
        urls = {
            variable: make_conninfo(
                EmbeddedPostgres(self.layout).dsn(kind),
                application_name=name,
                **({} if database is None else {"host": str(database)}),
            )
            for variable, kind in _URLS
        }
        return Replica(name, 0, address, http, log, self), {
            "RESPONSA_HOME": str(self.layout.home),
            "RESPONSA_PORT": str(self.port),
            "RESPONSA_GRPC_LISTEN": address,
            "RESPONSA_HTTP_LISTEN": http,
            "RESPONSA_ALLOWED_HOSTS": self.front,
            "RESPONSA_ROLE": role,
            "RESPONSA_TESTING__MODEL_URL": self.model_url,
            "RESPONSA_TESTING__TOOL_URL": self.tool_url,
            "REDIS_URL": self.redis_url,
            **urls,
            **QUICK,
            **settings,
        }

    def load(self, module: str) -> None:
        """Import a module once for all replicas that start from now on."""
        assert self._forker is not None
        assert self._forker.stdin is not None
        with self._lock:
            self._forker.stdin.write(f"import {module}\n".encode())
            self._forker.stdin.flush()

    async def soon(self, role: str = "all", **order: Any) -> Replica:
        """Start a replica and wait until it serves, without blocking the event loop. The arguments are the same as for `order`."""
        return await asyncio.to_thread(self.replica, role, **order)

    def replica(self, role: str = "all", **order: Any) -> Replica:
        """Start a replica and wait until it serves. The arguments are the same as for `order`."""
        return self.order(role, **order).until_ready()

    def admit(self, *replicas: Replica, through: Mapping[str, str] | None = None, wait: bool = True) -> None:
        """Make Envoy send calls to these replicas. wait: whether to wait until Envoy counts the replicas as healthy.
        through: the addresses of proxies, by the address of the replica behind each proxy."""
        proxies = through or {}
        for replica in replicas:
            grpc, http = (parse(proxies.get(address, address)) for address in (replica.address, replica.http))
            self.endpoints.add(Endpoint(replica.name, grpc, http))
        if wait:
            self.until_healthy(len(self.endpoints.all()))

    def dismiss(self, *replicas: Replica) -> None:
        """Remove these replicas from Envoy's rotation."""
        for replica in replicas:
            self.endpoints.remove(replica.name)

    def until_healthy(self, count: int) -> None:
        """Wait until Envoy counts this number of healthy replicas, for RPCs and for the gateway."""
        eventually(
            lambda: all(self._healthy(kind) == count for kind in ("server", "gateway")),
            lambda: f"{count} healthy replicas, not {self._healthy('server')} and {self._healthy('gateway')}",
        )

    def _healthy(self, kind: str) -> int:
        text = self._admin(f"/stats?filter=cluster.{kind}.membership_healthy")
        return int(text.rpartition(":")[2] or 0)

    def _admin(self, path: str) -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            client.connect(str(self.layout.envoy_admin_socket))
            client.sendall(f"GET {path} HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n".encode())
            answer = b""
            while piece := client.recv(1 << 16):
                answer += piece
        head, _, body = answer.partition(b"\r\n\r\n")
        if b"chunked" in head:
            body = b"".join(body.split(b"\r\n")[1::2])
        return body.decode().strip()

    def clear(self) -> None:
        """Kill all replicas and remove them from Envoy before the next campaign."""
        for one in self.endpoints.all():
            self.endpoints.remove(one.name)
        for replica in self.replicas.values():
            replica.signal(signal.SIGKILL)
        for replica in self.replicas.values():
            replica.until_ended()
        self.replicas.clear()
        for caller in self._callers:
            caller.ledger.close()
        self._callers.clear()

    async def caller(self) -> Caller:
        """A tenant that no other campaign uses."""
        tenant = f"campaign-{next(self._numbers)}"
        settings = load(home=self.layout.home, port=self.port, DATABASE_URL=None)
        async with open_identity(settings, self.layout) as identity:
            await identity.create_tenant(tenant, tenant)
            keys: list[str] = []
            for role in (Role.USER, Role.ADMIN):
                user = await identity.create_user(tenant, role.value, f"{role.value}@{tenant}.example", role)
                keys.append((await identity.create_key(tenant, user.id, tenant))[1])
        found = Caller(tenant, keys[0], keys[1], Ledger(self.dsn, tenant))
        self._callers.append(found)
        return found


@contextmanager
def clusters() -> Generator[Cluster]:
    """A cluster in a separate folder, which is removed at the end of the block."""
    with short_folder() as folder, closing(Cluster(folder)) as cluster:
        cluster.start()
        yield cluster
