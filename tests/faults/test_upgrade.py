"""Servers of two releases answer beside each other on one database. Envoy is switched from the ones to the others and
back, some are killed, and no stream loses anything.

The old release is the newest one; before the first one, the wheel of the checked out commit stands for it. The new
release is the wheel of the checked out commit with two more migrations: one that old servers bear, and one that waits
until they have ended.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from responsa_server.app.envoy_hosts import HostState, host_states
from tests.architecture.test_wheel import DIST, Installed
from tests.faults.askers import Askers, all_answered, hold, question
from tests.faults.cluster import Cluster, Replica, clusters
from tests.faults.forms import ROOT, Form, Report, forms
from tests.faults.test_rolling_restart import ROOMY
from tests.instance import PATIENCE, START_PATIENCE, eventually, free_port, plain_environment
from tests.tied import tied
from tools.baseline import releases
from tools.install import UV

STREAMS = 50
PAIR = 2
PLACES = frozenset(f"RESPONSA_{name}" for name in ("HOME", "PORT", "GRPC_LISTEN", "HTTP_LISTEN", "ROLE"))
SETTINGS = {**ROOMY, "RESPONSA_TURNS__MAX_LOSSES": "100"}
PRE = "ALTER TABLE responsa.turn ADD COLUMN campaign text;\n"
POST = "ALTER TABLE responsa.turn DROP COLUMN campaign;\n"


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout


@dataclass
class Release:
    """Wheels that are installed in a virtual environment of their own, which shares the other packages of this one."""

    folder: Path
    commit: str

    @property
    def source(self) -> Path:
        return self.folder / "source"

    @property
    def python(self) -> Path:
        return self.folder / "venv" / "bin" / "python"

    def unpack(self) -> Release:
        """Write the commit's files to `source`, with the page of this checkout."""
        self.source.mkdir(parents=True)
        subprocess.run(["tar", "x"], cwd=self.source, input=git("archive", self.commit), check=True)
        shutil.copytree(ROOT / DIST, self.source / DIST)
        return self

    def install(self) -> None:
        """Build the wheels of the server, its client and its parsers from `source` and install them."""
        plain = plain_environment(UV_OFFLINE="1")
        build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", self.folder]
        for project in map(self.source.joinpath, (".", "clients/python", "server/responsa_formats")):
            if not (project / "pyproject.toml").exists():
                continue  # an older release has its parsers in the server's wheel
            subprocess.run(build, cwd=project, env=plain, check=True, capture_output=True)
        wheels = self.folder.glob("*.whl")
        venv = self.folder / "venv"
        subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, venv], env=plain, check=True)
        subprocess.run(
            [UV, "pip", "install", "--quiet", "--no-deps", "--python", self.python, *wheels],
            env=plain,
            check=True,
        )
        # The files .pth of the other environment are not read, so its editable Responsa is not found.
        others = sysconfig.get_path("purelib")
        site = Path(sysconfig.get_path("purelib", vars={"base": str(venv)}))
        (site / "others.pth").write_text(f"{others}\n", encoding="utf-8")


@dataclass
class Server:
    """A running server of a release."""

    replica: Replica
    process: subprocess.Popen[bytes]

    def end(self, how: signal.Signals) -> int:
        """Send the signal. Returns the exit code."""
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)


@dataclass
class Blues:
    """The installation in which servers of both releases run."""

    cluster: Cluster
    old: Release
    new: Release
    servers: list[Server] = field(default_factory=list[Server])

    def spawn(self, release: Release) -> Server:
        """Start a server, and do not wait until it serves."""
        replica, environment = self.cluster.planned(**SETTINGS)
        command = [str(release.python), "-m", "responsa_server", "serve"]
        with replica.log.open("wb") as log:
            process = subprocess.Popen(
                tied(*command),
                cwd=release.folder,
                env=plain_environment(**environment),
                stdout=log,
                stderr=log,
            )
        self.servers.append(Server(replica, process))
        return self.servers[-1]

    def pair(self, release: Release) -> list[Server]:
        """Start two servers, and let Envoy send calls to them too."""
        found = [self.spawn(release) for _ in range(PAIR)]
        for replica in [one.replica.until_ready(START_PATIENCE) for one in found]:
            self.cluster.admit(replica, wait=False)
            eventually(partial(self.serves, replica), f"calls for {replica.name}", START_PATIENCE)
        return found

    def serves(self, replica: Replica) -> bool:
        """Whether Envoy sends calls to this server. On a busy machine, hardly ever do all servers at once answer its checks in time."""
        states = host_states(self.cluster.layout.envoy_admin_socket)
        serving = {one.address for one in states if one.state is HostState.SERVING}
        return {replica.address, replica.http} <= serving

    def leave(self, servers: list[Server], dice: random.Random) -> None:
        """Take servers out: one is killed while Envoy knows it, the other ends in order after Envoy has left it."""
        killed, stopped = dice.sample(servers, PAIR)
        killed.end(signal.SIGKILL)
        self.cluster.dismiss(killed.replica, stopped.replica)
        code = stopped.end(signal.SIGTERM)
        assert code == 0, f"it ended with {code}: {stopped.replica.said()}"

    def migrate(self) -> str:
        """Run `responsa migrate` of the new release. Returns what it printed."""
        _, environment = self.cluster.planned()
        done = subprocess.run(
            [self.new.python, "-m", "responsa_server", "migrate"],
            cwd=self.new.folder, env=plain_environment(**environment), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def up(self) -> tuple[str, str]:
        """Run `responsa up` of the new release on this database until it is ready. Returns what it printed and what its server logged."""
        _, environment = self.cluster.planned(**SETTINGS)
        shared = {name: value for name, value in environment.items() if name not in PLACES}
        one = Installed(self.new.folder / "home", free_port(), shared, new=True, python=self.new.python)
        try:
            one.start().until_ready()
            return one.said(), one.log("server")
        finally:
            one.end()


@pytest.fixture
def blues(folder: Path) -> Iterator[tuple[Blues, str, str]]:
    """The installation with both releases, and the names of the two new migrations."""
    old = Release(folder / "old", (releases() or ["HEAD"])[-1]).unpack()
    new = Release(folder / "new", "HEAD").unpack()
    migrations = new.source / "migrations"
    number = len(list(migrations.glob("*.sql")))
    names = f"{number + 1:04}_pre_campaign", f"{number + 2:04}_post_campaign"
    for name, text in zip(names, (PRE, POST), strict=True):
        (migrations / f"{name}.sql").write_text(text, encoding="utf-8")
    for release in (old, new):
        release.install()
    # The shared cluster would have a migration that the other campaigns do not know.
    with clusters() as cluster:
        blues = Blues(cluster, old, new)
        yield blues, *names
        for server in blues.servers:
            server.end(signal.SIGKILL)


@forms(long=10)
async def test_nothing_is_lost_between_two_releases(
    blues: tuple[Blues, str, str], form: Form, request: pytest.FixtureRequest
) -> None:
    both, pre, post = blues
    report, dice = Report("upgrade", form), form.dice("servers")
    caller = await both.cluster.caller()
    serving = await asyncio.to_thread(both.pair, both.old)
    ask = question(tokens=25, pace_ms=500)
    async with Askers(both.cluster.target, caller, form.dice(), STREAMS, ask) as askers:
        await askers.more(20 * STREAMS)
        said = await asyncio.to_thread(both.migrate)
        assert f"applied {pre}" in said
        assert f"applied {post}" not in said
        waits = f"{post} waits until no server of an earlier release runs"
        assert waits in said
        printed, logged = await asyncio.to_thread(both.up)
        assert waits in printed
        assert '"migration_waits"' in logged
        # An even number of switches more, so that the new release is the last.
        for release in itertools.islice(itertools.cycle((both.new, both.old)), form.count | 1):
            await askers.more(10 * STREAMS)
            joining = await asyncio.to_thread(both.pair, release)
            # For a while, servers of both releases answer.
            await askers.more(20 * STREAMS)
            await asyncio.to_thread(both.leave, serving, dice)
            serving = joining
            report.count("switches")
            report.count("kills")
        await asyncio.to_thread(
            eventually, lambda: f"applied {post}" in both.migrate(), "the end of the old servers' connections"
        )
        refused = await asyncio.to_thread(both.spawn, both.old)
        assert await asyncio.to_thread(refused.process.wait, PATIENCE) == 1
        assert f"has the migration {post}, after which" in refused.replica.said()
        await askers.more(20 * STREAMS)
    report.count("open streams", STREAMS)
    report.measured("gap", [gap for one in askers.seen for gap in one.gaps])
    hold(caller, askers.seen, report)
    for server in serving:
        assert server.end(signal.SIGTERM) == 0
    report.tell(request)
    all_answered(askers.seen, both.cluster.layout.logs)
