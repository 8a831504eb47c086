"""Backups that somebody has forged: their checksums are right, and what they ask for is not what `responsa backup`
writes. All are refused before anything is written."""

from __future__ import annotations

import gzip
import hashlib
import json
import platform
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import typer

from responsa_local.commands.archive import FORMAT, BackupHeader
from responsa_local.commands.backup import restore
from responsa_local.embedded.postgres import MAJOR
from responsa_server.stores.postgres.dump import MOST_DESCRIPTION_BYTES

HEADER = BackupHeader("base", "1.0", "2026-11-26T12:00:00+00:00", [], int(MAJOR), platform.machine(), [])
DUMP = replace(HEADER, kind="dump")
CLUSTER = "postgres/global/pg_control"
OUTSIDE = "OUTSIDE"
"""Stands in a name for the path of a folder that must stay empty."""
LONG = "home/agents/" + "x" * 100


@dataclass(frozen=True)
class Entry:
    """A member of the tar. size: what its header claims; None for the truth."""

    name: str
    data: bytes = b"hostile"
    kind: bytes = tarfile.REGTYPE
    size: int | None = None
    link: str = ""

    def blocks(self, outside: str) -> bytes:
        one = tarfile.TarInfo(self.name.replace(OUTSIDE, outside))
        one.type, one.linkname = self.kind, self.link.replace(OUTSIDE, outside)
        one.size = len(self.data) if self.size is None else self.size
        # In this form, a negative and a huge size have a place in the header.
        return one.tobuf(tarfile.GNU_FORMAT) + self.data + bytes(-len(self.data) % tarfile.BLOCKSIZE)


def pax(*records: tuple[str, str], kind: bytes = tarfile.XHDTYPE) -> Entry:
    """A header in front of a member that changes what the member's own header says."""
    text = b""
    for name, value in records:
        rest = f" {name}={value}\n".encode()
        length = len(rest) + 1
        while len(str(length)) + len(rest) != length:
            length += 1
        text += str(length).encode() + rest
    return Entry("././@PaxHeader", text, kind)


def tables(*names: Mapping[str, Any], sequences: Sequence[object] = (), rows: bool = True) -> list[Entry]:
    """The members of a dump with these tables."""
    found = [{"schema": "responsa", "name": "tenant", "columns": ["id"], **one} for one in names or [{}]]
    description = json.dumps({"tables": found, "sequences": sequences}).encode()
    pieces = [Entry(f"tables/{number}/0", b"rows") for number in range(len(found))] if rows else []
    return [Entry("tables.json", description), *pieces]


def cluster_and(name: str, **fields: Any) -> list[Entry]:
    return [Entry(CLUSTER), Entry(name, **fields)]


SQL = "x; CREATE TABLE public.pwned AS SELECT current_user; --"
NO_NAME, NO_FILE, UNKNOWN = "does not belong in a backup", "neither a file nor a folder", "is unknown there"
TABLES, CUT, TWICE, PART = (
    "list of tables is not that of a backup",
    "truncated or altered",
    "is there twice",
    "a part of its database",
)

MEMBERS: Mapping[str, tuple[Sequence[Entry], str]] = {
    "an absolute name": (cluster_and(f"{OUTSIDE}/x"), NO_NAME),
    "a doubled slash before home's file": (cluster_and(f"home/{OUTSIDE}/x"), NO_NAME),
    "a doubled slash before a file of the cluster": (cluster_and(f"postgres/{OUTSIDE}/x"), NO_NAME),
    "a doubled slash within": (cluster_and("home/agents//x"), NO_NAME),
    "dots": (cluster_and("home/../../x"), NO_NAME),
    "dots within": (cluster_and("home/agents/../../x"), NO_NAME),
    "dots at the end": (cluster_and("home/agents/.."), NO_NAME),
    "a dot": (cluster_and("home/./responsa.toml"), NO_NAME),
    "a dot alone": (cluster_and("."), NO_NAME),
    "no name": (cluster_and(""), NO_NAME),
    "a slash at the end": (cluster_and("home/agents/x/"), NO_NAME),
    "a folder above": (cluster_and("postgres/../x", data=b"", kind=tarfile.DIRTYPE), NO_NAME),
    "a symbolic link": (cluster_and("home/agents", data=b"", kind=tarfile.SYMTYPE, link=OUTSIDE), NO_FILE),
    "a symbolic link in the cluster": (
        cluster_and("postgres/pg_wal", data=b"", kind=tarfile.SYMTYPE, link=OUTSIDE),
        NO_FILE,
    ),
    "a hard link": (cluster_and("home/agents/x", data=b"", kind=tarfile.LNKTYPE, link="/etc/passwd"), NO_FILE),
    "a character device": (cluster_and("home/agents/x", data=b"", kind=tarfile.CHRTYPE), NO_FILE),
    "a block device": (cluster_and("home/agents/x", data=b"", kind=tarfile.BLKTYPE), NO_FILE),
    "a fifo": (cluster_and("home/agents/x", data=b"", kind=tarfile.FIFOTYPE), NO_FILE),
    "a contiguous file": (cluster_and("home/agents/x", kind=tarfile.CONTTYPE), NO_FILE),
    "a sparse file": (cluster_and("home/agents/x", kind=tarfile.GNUTYPE_SPARSE), NO_FILE),
    "an old file": (cluster_and("home/agents/x", kind=tarfile.AREGTYPE), NO_FILE),
    "an unknown kind": (cluster_and("home/agents/x", kind=b"Z"), NO_FILE),
    "a long name of GNU": (
        [Entry("././@LongLink", b"/etc/x\0", tarfile.GNUTYPE_LONGNAME), *cluster_and("home/agents/x")],
        NO_FILE,
    ),
    "a long link of GNU": (
        [Entry("././@LongLink", b"/etc/x\0", tarfile.GNUTYPE_LONGLINK), *cluster_and("home/agents/x")],
        NO_FILE,
    ),
    "a header for all members": ([pax(("path", LONG), kind=tarfile.XGLTYPE), *cluster_and("home/agents/x")], NO_FILE),
    "a header of Solaris": ([pax(("path", LONG), kind=tarfile.SOLARIS_XHDTYPE), *cluster_and("home/agents/x")], NO_FILE),
    "a header that changes a short name": ([pax(("path", "home/agents/y")), *cluster_and("home/agents/x")], "more than its name"),
    "a header that changes a name to another": ([pax(("path", LONG)), *cluster_and("home/agents/x")], "has two names"),
    "a header that changes a size": ([pax(("size", "1")), Entry(CLUSTER)], "more than its name"),
    "a header that changes a name and a size": (
        [pax(("path", LONG), ("size", "1")), Entry(LONG[:100])],
        "more than its name",
    ),
    "a header of a sparse file": (
        [pax(("GNU.sparse.major", "1"), ("GNU.sparse.name", "/etc/x")), Entry(CLUSTER)],
        "more than its name",
    ),
    "a long absolute name": ([pax(("path", "/" + LONG)), Entry("/" + LONG[:99])], NO_NAME),
    "a long name with dots": ([pax(("path", f"{LONG}/../x")), Entry(LONG[:100])], NO_NAME),
    "a name with a zero": ([pax(("path", f"{LONG}\0x")), Entry(LONG[:100])], NO_NAME),
    "two headers": ([pax(("path", LONG)), pax(("path", LONG)), Entry(LONG[:100])], NO_FILE),
    "a header of gigabytes": ([Entry("././@PaxHeader", b"", tarfile.XHDTYPE, size=1 << 33)], NO_FILE),
    "a negative size": (cluster_and("home/agents/x", size=-1), NO_FILE),
    "a folder with content": (cluster_and("postgres/base", kind=tarfile.DIRTYPE), NO_FILE),
    "a file that the disk has no room for": ([Entry(CLUSTER, size=1 << 60)], "do not fit on the disk"),
    "more than the disk has room for": (
        [Entry(CLUSTER), Entry("home/agents/x", size=1 << 60)],
        "do not fit on the disk",
    ),
    "a file that is cut": ([Entry(CLUSTER, size=1 << 20)], CUT),
    "folders within folders": (
        [pax(("path", deep)), Entry(deep[:100])] if (deep := "home/agents" + "/a" * 1000) else [],
        "too long, or too many",
    ),
    "a doubled file": ([Entry(CLUSTER), Entry(CLUSTER)], TWICE),
    "a doubled folder": ([Entry("postgres/base", b"", tarfile.DIRTYPE)] * 2, TWICE),
    "a file below a file": ([Entry("home/agents/x"), Entry("home/agents/x/y")], "is below a file"),
    "a file above a file": ([Entry("home/agents/x/y"), Entry("home/agents/x")], "is a file and a folder"),
    "a file and a folder": (
        [Entry("postgres/base", b"", tarfile.DIRTYPE), Entry("postgres/base/x"), Entry("postgres/base")],
        TWICE,
    ),
    "passwords": (cluster_and("home/secrets.json"), UNKNOWN),
    "the secret of tokens": (cluster_and("home/token-secret"), UNKNOWN),
    "the state": (cluster_and("home/state.json"), UNKNOWN),
    "the marker": (cluster_and("home/.responsa-home"), UNKNOWN),
    "a log": (cluster_and("home/logs/server.log"), UNKNOWN),
    "the cluster in the home": (cluster_and("home/postgres/global/pg_control"), UNKNOWN),
    "a program of a tool": (cluster_and("home/tools/run.sh"), UNKNOWN),
    "a hidden file of a connection": (cluster_and("home/connections/.env"), UNKNOWN),
    "a file in place of a folder": (cluster_and("home/agents"), UNKNOWN),
    "a folder of the home": (cluster_and("home/agents/x", data=b"", kind=tarfile.DIRTYPE), UNKNOWN),
    "the home itself": (cluster_and("home"), UNKNOWN),
    "another root": (cluster_and("etc/passwd"), UNKNOWN),
    "a signal of a standby": (cluster_and("postgres/standby.signal"), UNKNOWN),
    "a signal of a recovery": (cluster_and("postgres/recovery.signal"), UNKNOWN),
    "a signal in a folder": (cluster_and("postgres/global/recovery.signal"), UNKNOWN),
    "another configuration": (cluster_and("postgres/evil.conf"), UNKNOWN),
    "a configuration in a folder": (cluster_and("postgres/base/evil.conf"), UNKNOWN),
    "a configuration as a folder": (cluster_and("postgres/conf.d", data=b"", kind=tarfile.DIRTYPE), UNKNOWN),
    "the trust of the restore": (cluster_and("postgres/restore_hba.conf"), UNKNOWN),
    "a tablespace": (cluster_and("postgres/pg_tblspc/1/x"), UNKNOWN),
    "a slot": (cluster_and("postgres/pg_replslot/x/state"), UNKNOWN),
    "a pid file": (cluster_and("postgres/postmaster.pid"), UNKNOWN),
    "a folder of the cluster as a file": (cluster_and("postgres/base"), UNKNOWN),
    "no cluster": ([Entry("home/agents/x")], PART),
    "a cluster with tables": ([Entry(CLUSTER), *tables()], PART),
    "rows without tables": (cluster_and("tables/0/0"), UNKNOWN),
}  # fmt: skip

DUMPS: Mapping[str, tuple[Sequence[Entry], str]] = {
    "no tables": ([Entry("home/agents/x")], PART),
    "a cluster": ([Entry(CLUSTER)], PART),
    "an empty list": ([Entry("tables.json", b'{"tables": [], "sequences": []}'), Entry("tables/0/0")], UNKNOWN),
    "no rows": (tables(rows=False), PART),
    "rows of one table": (tables({}, {"name": "b"})[:2], PART),
    "two lists": ([*tables(), Entry("tables.json")], TWICE),
    "a list behind its rows": (tables()[::-1], UNKNOWN),
    "rows of a negative table": ([*tables(rows=False), Entry("tables/-1/0")], UNKNOWN),
    "rows of no table": ([*tables(), Entry("tables/1/0")], UNKNOWN),
    "rows of a missing piece": ([*tables(), Entry("tables/0/2")], UNKNOWN),
    "rows of a later piece": ([*tables(rows=False), Entry("tables/0/1")], UNKNOWN),
    "rows of an earlier table": ([*tables({}, {"name": "b"}), Entry("tables/0/1")], UNKNOWN),
    "rows with another number": ([*tables(rows=False), Entry("tables/00/0")], UNKNOWN),
    "rows with a long number": ([*tables(rows=False), Entry("tables/0/" + "1" * 50)], UNKNOWN),
    "SQL as a table": (tables({"name": SQL}), TABLES),
    "a quote in a table": (tables({"name": 'tenant"; DROP TABLE "x'}), TABLES),
    "SQL as a column": (tables({"columns": ["id", 'id") FROM PROGRAM \'true\' --']}), TABLES),
    "columns that are no list": (tables({"columns": "id"}), TABLES),
    "SQL as a schema": (tables({"schema": SQL}), TABLES),
    "a foreign schema": (tables({"schema": "public"}), TABLES),
    "the catalog": (tables({"schema": "pg_catalog", "name": "pg_authid"}), TABLES),
    "a table twice": (tables({}, {}), TABLES),
    "a week that begins on a Tuesday": (tables({"name": "turn_event_20260106"}), TABLES),
    "a week of no month": (tables({"name": "turn_event_20261305"}), TABLES),
    "SQL as a sequence": (tables(sequences=[["responsa", f'x"\'; {SQL}', 1]]), TABLES),
    "a foreign sequence": (tables(sequences=[["public", "x", 1]]), TABLES),
    "SQL as a sequence's value": (tables(sequences=[["responsa", "x", f"1); {SQL}"]]), TABLES),
    "a list of another form": ([Entry("tables.json", b"[1, 2]")], TABLES),
    "a list without end": ([Entry("tables.json", b'{"tables": [')], TABLES),
    "a nested list": ([Entry("tables.json", b"[" * 100_000)], TABLES),
    "a list that is too long": ([Entry("tables.json", b" " * MOST_DESCRIPTION_BYTES + b"{}")], TABLES),
}  # fmt: skip


def first_line(header: BackupHeader = HEADER, **other: object) -> bytes:
    return json.dumps({"responsa_backup": FORMAT, **asdict(header), **other}).encode() + b"\n"


def manifest(line: bytes, entries: Sequence[Entry], outside: str = "") -> Entry:
    """The manifest that fits the other members, which everybody can write."""
    members = {
        one.name.replace(OUTSIDE, outside): (len(one.data), hashlib.sha256(one.data).hexdigest())
        for one in entries
        if one.kind == tarfile.REGTYPE
    }
    content = {"header": hashlib.sha256(line).hexdigest(), "members": members}
    return Entry("manifest.json", json.dumps(content).encode())


def forged(entries: Sequence[Entry], header: BackupHeader = HEADER, outside: str = "") -> bytes:
    line = first_line(header)
    return line + packed(line, [*entries, manifest(line, entries, outside)], outside)


def packed(line: bytes, entries: Sequence[Entry], outside: str = "", end: bytes = bytes(1024)) -> bytes:
    return gzip.compress(b"".join(one.blocks(outside) for one in entries) + end)


def whole(line: bytes) -> bytes:
    """What follows a first line in a backup that is good, except that its files are no cluster."""
    entries = [Entry(CLUSTER), pax(("path", LONG)), Entry(LONG[:100])]
    named = [Entry(CLUSTER), Entry(LONG)]
    return packed(line, [*entries, manifest(line, named)])


FILES: Mapping[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "beginning is not that of a backup"),
    "a first line of megabytes": (lambda: b'{"responsa_backup": "' + b"x" * (2 << 20), "beginning is not that of a backup"),
    "a nested first line": (lambda: b'{"responsa_backup":' + b"[" * 100_000 + b"\n", "beginning is not that of a backup"),
    "a first line of another form": (lambda: b"[1]\n", "beginning is not that of a backup"),
    "a version of another form": (lambda: b'{"responsa_backup": 1e999}\n', "beginning is not that of a backup"),
    "a release for the terminal": (lambda: b'{"responsa_backup": 9, "release": "\\u001b[2J"}\n', r"Responsa \x1b[2J, whose format 9"),
    "an unknown kind": (lambda: first_line(kind="other"), "first line is damaged"),
    "a time for the terminal": (lambda: first_line(time="\x1b]0;x\x07"), "first line is damaged"),
    "settings that are no list": (lambda: first_line(left_out=7), "first line is damaged"),
    "migrations that are no pairs": (lambda: first_line(migrations=[["0001"]]), "first line is damaged"),
    "a cut tar": (lambda: first_line() + gzip.compress(Entry(CLUSTER).blocks("")[:700]), CUT),
    "a cut header": (lambda: first_line() + gzip.compress(Entry(CLUSTER).blocks("")[:300]), CUT),
    "a tar without end": (lambda: first_line() + packed(b"", [Entry(CLUSTER)], end=b""), CUT),
    "an altered header": (lambda: first_line() + gzip.compress(b"x" + Entry(CLUSTER).blocks("")[1:]), CUT),
    "no gzip": (lambda: first_line() + Entry(CLUSTER).blocks("") + bytes(1024), CUT),
    "no manifest": (lambda: first_line() + packed(b"", [Entry(CLUSTER)]), "its end is missing"),
    "a manifest of gigabytes": (
        lambda: first_line() + packed(b"", [Entry(CLUSTER), Entry("manifest.json", b"[", size=1 << 40)]),
        "differs from its manifest",
    ),
    "a manifest that names less": (
        lambda: first_line() + packed(b"", [Entry(CLUSTER), Entry("home/agents/x"), manifest(first_line(), [Entry(CLUSTER)])]),
        "differs from its manifest",
    ),
    "a manifest of another first line": (
        lambda: first_line() + packed(b"", [Entry(CLUSTER), manifest(b"x", [Entry(CLUSTER)])]),
        "differs from its manifest",
    ),
    "a member behind the manifest": (
        lambda: first_line() + packed(b"", [Entry(CLUSTER), manifest(first_line(), [Entry(CLUSTER)]), Entry("home/agents/x")]),
        "has data after its end",
    ),
    "a second manifest": (
        lambda: first_line() + packed(b"", [Entry(CLUSTER), *[manifest(first_line(), [Entry(CLUSTER)])] * 2]),
        "has data after its end",
    ),
    "zeros behind the end": (
        lambda: first_line() + packed(b"", [Entry(CLUSTER), manifest(first_line(), [Entry(CLUSTER)])], end=bytes(64 << 20)),
        "has data after its end",
    ),
    "a member behind the end": (
        lambda: (
            first_line()
            + packed(b"", [Entry(CLUSTER), manifest(first_line(), [Entry(CLUSTER)])], end=bytes(1024) + Entry("home/agents/x").blocks(""))
        ),
        "has data after its end",
    ),
    "a second gzip": (
        lambda: first_line() + whole(first_line()) + gzip.compress(Entry("home/agents/x").blocks("")),
        "has data after its end",
    ),
}  # fmt: skip


@pytest.fixture
def outside() -> Iterator[Path]:
    # A short path: a header of tar has room for names of 100 bytes.
    with tempfile.TemporaryDirectory(prefix="rso-") as folder:
        yield Path(folder)


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[bytes], str]:
    """Tries to restore a backup, and returns what the command says. Nothing was written."""
    monkeypatch.setenv("RESPONSA_HOME", str(tmp_path / "home"))
    archive = tmp_path / "one.backup"

    def attempt(content: bytes) -> str:
        archive.write_bytes(content)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(typer.Exit) as caught:
            restore(str(archive), None)
        assert caught.value.exit_code == 1
        assert sorted(tmp_path.rglob("*")) == before
        return capsys.readouterr().err

    return attempt


@pytest.mark.parametrize("case", MEMBERS)
def test_members_that_no_backup_has(refused: Callable[[bytes], str], outside: Path, case: str) -> None:
    entries, expected = MEMBERS[case]
    assert expected in refused(forged(entries, outside=str(outside)))


@pytest.mark.parametrize("case", DUMPS)
def test_tables_that_no_dump_has(refused: Callable[[bytes], str], case: str) -> None:
    entries, expected = DUMPS[case]
    assert expected in refused(forged(entries, DUMP))


@pytest.mark.parametrize("case", FILES)
def test_files_that_are_no_backup(refused: Callable[[bytes], str], case: str) -> None:
    content, expected = FILES[case]
    assert expected in refused(content())


def test_the_names_of_many_members_need_little_memory(refused: Callable[[bytes], str]) -> None:
    name = "home/agents/" + "x" * 3900
    member = pax(("path", f"{name}{'y' * 7}")).blocks("") + Entry(name[:100], b"").blocks("")
    blocks = b"".join(member.replace(b"y" * 7, f"{number:07}".encode(), 1) for number in range(20_000))
    assert "too long, or too many" in refused(first_line() + gzip.compress(blocks, 1))


def test_what_is_not_forged_passes_the_checks(refused: Callable[[bytes], str]) -> None:
    """Otherwise, the others could be refused for another reason. The settings of the cluster that old backups have are left out."""
    said = refused(first_line() + whole(first_line()))
    assert "PG_VERSION is missing" in said
    assert "The backup is not encrypted" in said
    old = [
        Entry(CLUSTER),
        *(Entry(f"postgres/{name}", b"") for name in ("postgresql.conf", "pg_hba.conf", "tablespace_map")),
    ]
    assert "PG_VERSION is missing" in refused(forged(old))
