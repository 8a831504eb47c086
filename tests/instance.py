"""A complete real instance, started as a user starts it: `responsa up` in its own process, with its own home and port.

The tests of a run share the fixture `instance`, which starts when the first test uses it and is purged at the
end. Tests create their own collections, users or tenants in it. A test that kills or changes an instance starts
another one with `instance_in(folder)`.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil
import pytest
from pydantic import BaseModel

from responsa_local.embedded import LocalLayout, purge
from responsa_server.identity.settings import LimitSettings
from tests import seeds
from tests.forked import responsa
from tests.tied import tied
from tests.wire.otlp import Receiver, receiving
from tests.wire.smtp import MailServer, serving

ROOT = Path(__file__).resolve().parents[1]
WIDGET: Final = "0190f3a2-7c1d-7b3e-9f6e-0d4f6a1b2c3d"
SITE: Final = "https://www.example.org"
"""The id of the key of a widget that the settings of the run's shared instance name, and its origin. A test gives the id to its key."""
PATIENCE = 90.0
"""How many seconds a test on a loaded machine waits for a condition before the test fails."""
START_PATIENCE = 600.0
"""How many seconds a start may take on a loaded machine. A start creates a database, loads a model and reads all of Responsa's documents.
Many tests depend on one start.
"""
FOREIGN = ("COV", "RESPONSA_", "DATABASE_", "REDIS_", "LANGSMITH_", "LANGCHAIN_")


FOREIGN_ORIGINS: Final = ("http://127.0.0.1:1", SITE)
"""Origins whose pages may call the shared instance: one of `allowed_origins`, on the server's own site, and one of `widget_keys`."""
LIFTED: Final[Mapping[str, str]] = {
    f"RESPONSA_LIMITS__{group}__{name}".upper(): "0"
    for group, field in LimitSettings.model_fields.items()
    if isinstance(kind := field.annotation, type) and issubclass(kind, BaseModel)
    for name in kind.model_fields
}
"""The settings that switch all limits of callers off. Tests ask more than ten questions a minute; tests of limits set their own."""


def eventually(
    condition: Callable[[], bool], what: Callable[[], str] | str, patience: float = PATIENCE
) -> None:
    """Wait until the condition holds, for at most `patience` seconds."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        if waited > patience:
            raise AssertionError(f"the condition never held: {what if isinstance(what, str) else what()}")
        time.sleep(pause(waited))


def pause(waited: float) -> float:
    """How many seconds to sleep between two checks of a condition: a tenth of the time waited so far, from 20 to 200
    ms. Some checks read the list of all processes or ask a browser, which takes 10 ms of CPU time.
    """
    return min(max(waited / 10, 0.02), 0.2)


def free_port() -> int:
    """A loopback port that is free at the moment. Linux gives outgoing connections higher ports, so none of them takes
    the port before a server listens on it."""
    while True:
        port = 15_000 + secrets.randbelow(15_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def left_of(home: Path, seen: Iterable[psutil.Process]) -> list[str]:
    """The processes that still run: those that were seen, or else those that belong to this home."""
    remains: list[str] = []
    for process in seen:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                remains.append(f"{process.pid} {process.name()}")
    if not remains:
        for process in psutil.process_iter(["cmdline", "pid"]):
            line = " ".join(process.info["cmdline"] or [])
            if str(home) in line and process.pid != os.getpid():
                remains.append(f"{process.pid} {line}")
    return remains


def plain_environment(**values: str) -> dict[str, str]:
    """This process's environment, with these values but without a developer's settings and without limits of callers."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return {**kept, **LIFTED, **values}


@dataclass
class Instance:
    """One instance, and the process that a user would start, and stop with Ctrl-C."""

    home: Path
    port: int
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    within: Sequence[str] = ()
    """A prefix for the instance's command and for other `responsa` commands, e.g. `unshare --net`, `setpriv …`."""
    new: bool = False
    """Whether the first start creates the database. Otherwise it finds the database of the run, without rows."""
    _process: subprocess.Popen[bytes] | None = None
    _seen: set[psutil.Process] = field(default_factory=set[psutil.Process])

    @property
    def url(self) -> str:
        """The URL of the instance, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def target(self) -> str:
        """The instance's address as a gRPC target."""
        return f"127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        """The administrator's API key."""
        return (self.home / "api-key").read_text(encoding="utf-8").strip()

    @property
    def out(self) -> Path:
        """The stdout of `responsa up`."""
        return self.home.with_name(f"{self.home.name}.out")

    @property
    def err(self) -> Path:
        """The stderr of `responsa up`."""
        return self.home.with_name(f"{self.home.name}.err")

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which `responsa` uses this instance."""
        return plain_environment(
            RESPONSA_HOME=str(self.home),
            RESPONSA_PORT=str(self.port),
            XDG_STATE_HOME=str(self.home.parent / "state"),
            # On every machine, the server is one process, unless a test wants more.
            **{"RESPONSA_SERVERS": "1", "RESPONSA_INGESTION__OWN_PROCESS": "false", **self.settings},
        )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that the user started."""
        assert self._process is not None, "it was not started"
        return self._process

    def said(self) -> str:
        """The output of `responsa up` since its last start."""
        return self.out.read_text(encoding="utf-8") + self.err.read_text(encoding="utf-8")

    def page(self) -> str:
        """The last URL that `responsa up` printed; its code signs a browser in once."""
        return re.findall(r"Responsa is ready: (\S+)", self.said())[-1]

    def start(self, *options: str) -> Instance:
        """Start the instance. Does not wait until it is ready. options: of `responsa up`."""
        # A prefix may start the instance as another user, who must own the database. Benchmarks have no seed.
        if seeds.FOLDER in os.environ and not (self.new or self.within or self.home.exists()):
            seeds.plant(LocalLayout.of(self.home).prepare())
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self._process = subprocess.Popen(
                tied(*self.within, *self.command("up", *options)),
                cwd=self.home.parent,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        return self

    def until_ready(self) -> Instance:
        """Wait until the instance is ready."""

        def ready() -> bool:
            assert self.process.poll() is None, f"it ended: {self.said()}{self.log('server')[-3000:]}"
            return "Responsa is ready" in self.said()

        eventually(ready, lambda: f"readiness; it said {self.said()!r}", START_PATIENCE)
        self.processes()
        return self

    def command(self, *arguments: str) -> list[str]:
        """The `responsa` command line with these arguments."""
        return [sys.executable, "-m", "responsa_server", *arguments]

    def run(
        self,
        *arguments: str,
        stdin: str | None = None,
        check: bool = True,
        module: str = "",
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run the `responsa` command line, or a module, against this instance."""
        program = [sys.executable, "-m", module] if module else responsa()
        done = subprocess.run(
            [*self.within, *self.command(*arguments)] if self.within else [*program, *arguments],
            cwd=self.home.parent,
            env={**self.environment, **environment},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"responsa {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done

    def log(self, name: str) -> str:
        """The log of one part: postgres, redis, server or envoy."""
        path = self.home / "logs" / f"{name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    def processes(self) -> dict[str, psutil.Process]:
        """The running processes by role: guard, supervisor, postgres, redis, server, envoy; stored for `left`."""
        try:
            guard = psutil.Process(self.process.pid)
            self._seen.update([guard, *guard.children(recursive=True)])
        except psutil.NoSuchProcess:
            return {}
        parts: dict[str, psutil.Process] = {"guard": guard}
        for child in guard.children():
            parts.setdefault("supervisor", child)
        for child in parts["supervisor"].children() if "supervisor" in parts else []:
            try:
                name, line = child.name(), child.cmdline()
            except psutil.NoSuchProcess:
                continue
            roles = {"postgres": "postgres", "valkey-server": "redis", "envoy": "envoy"}
            if name in roles:
                parts[roles[name]] = child
            elif "serve" in line:
                parts["server"] = child
        return parts

    def left(self) -> list[str]:
        """The processes that still run, and that belong to this home or were seen earlier."""
        return left_of(self.home, self._seen)

    def interrupt(self) -> int:
        """Press Ctrl-C: send the signal to the whole process group, as a terminal does. Returns the exit code."""
        self.processes()
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(PATIENCE)

    def until_nothing_left(self) -> None:
        """Wait until no process of the instance is left."""
        eventually(lambda: not self.left(), lambda: f"an end of {self.left()}; it said {self.said()!r}")

    def end(self) -> None:
        """Stop the remaining processes, and purge the home."""
        if self._process is not None and self._process.poll() is None:
            assert self.interrupt() == 0, self.said()
        self.until_nothing_left()
        purge(LocalLayout.of(self.home))


@contextmanager
def short_folder() -> Generator[Path]:
    """A folder whose path leaves room for the names of sockets, even on a machine where pytest's folders have long paths.
    At the end of the block, the homes in it are purged."""
    with tempfile.TemporaryDirectory(prefix="rs-") as name:
        try:
            yield Path(name)
        finally:
            for home in Path(name).glob("*/.responsa-home"):
                purge(LocalLayout.of(home.parent))


def instance_in(folder: Path, /, **settings: str) -> AbstractContextManager[Instance]:
    """A ready instance with its home in this folder. The instance is purged at the end of the block."""
    return running(Instance(folder / "home", free_port(), settings))


@contextmanager
def running(instance: Instance) -> Generator[Instance]:
    """The instance, ready. It is purged at the end of the block."""
    try:
        yield instance.start().until_ready()
    finally:
        instance.end()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A short folder of a module, for the homes of its own instances."""
    with short_folder() as path:
        yield path


@pytest.fixture(scope="session")
def mail_server() -> Iterator[MailServer]:
    """The mail server of the run's shared instance."""
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def spans() -> Iterator[Receiver]:
    """The collector of the run's shared instance. It gets the traces whose callers ask for them."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def instance(mail_server: MailServer, spans: Receiver) -> Iterator[Instance]:
    """The instance that all tests of a run share, with scripted models and without documents."""
    # The time limit for searches is long, because tests lock tables, and a search must then wait.
    with (
        short_folder() as folder,
        instance_in(
            folder,
            RESPONSA_DOCS="none",
            RESPONSA_MODELS__SCRIPTED="true",
            RESPONSA_ALLOWED_ORIGINS=FOREIGN_ORIGINS[0],
            RESPONSA_TELEMETRY__METRICS="true",
            RESPONSA_RETRIEVAL__SEARCH_SECONDS="30",
            # A server whose searches waited has measured a low rate, and would admit few questions.
            RESPONSA_TURNS__ANSWER_SECONDS="60",
            RESPONSA_WIDGET_KEYS=f"apiKeys/0190f3a2-7c1d-7b3e-9f6e-0d4f6a1b2c3d={FOREIGN_ORIGINS[1]},apiKeys/{WIDGET}={SITE}",
            RESPONSA_MAIL__HOST="127.0.0.1",
            RESPONSA_MAIL__PORT=str(mail_server.port),
            RESPONSA_MAIL__TLS="none",
            RESPONSA_MAIL__SENDER="responsa@example.org",
            RESPONSA_SOURCES__ALLOW_PRIVATE="127.0.0.1",
            RESPONSA_SOURCES__PATHS=str(folder / "shared" / "{tenant}"),
            RESPONSA_TELEMETRY__ENDPOINT=spans.grpc,
            RESPONSA_TELEMETRY__SAMPLE_RATIO="0",
        ) as one,
    ):
        yield one
