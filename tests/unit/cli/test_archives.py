"""Archives are bounded before their files are sent, and every file is accounted for."""

from __future__ import annotations

import contextlib
import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from responsa_server.cli import archives
from responsa_server.cli.archives import ArchiveRefused, members
from responsa_server.cli.sources import Document, Entry, Problem, Rule, Skipped, entries, find, keys

SUFFIXES = (".md", ".txt")


def zipped(
    path: Path, *files: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED
) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return path


def tarred(path: Path, *files: tuple[str | tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w") if path.name.endswith(".tar") else tarfile.open(path, "w:gz") as archive:
        for name, data in files:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def of_kind(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = "/etc/passwd"
    return info


def taken(path: Path) -> Sequence[Entry]:
    return list(entries(find([str(path)], SUFFIXES)))


def said(found: Sequence[Entry]) -> list[tuple[str, object]]:
    """The key of each entry, with its bytes, its rule or its problem."""
    made: list[tuple[str, object]] = []
    for one in found:
        match one:
            case Document():
                made.append((one.source_key, one.data))
            case Skipped():
                made.append((one.source_key, one.rule))
            case Problem():
                made.append((one.source_key, one.why))
    return made


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.TGZ"])
def test_every_file_of_an_archive_is_accounted_for(tmp_path: Path, name: str) -> None:
    files = [
        ("./one.md", b"One"),
        ("parts/two.txt", b"Two"),
        ("parts/picture.png", b"x"),
        (".git/config.md", b"x"),
        ("__MACOSX/one.md", b"x"),
        ("empty.md", b""),
        ("more.zip", b"PK"),
        ("more.tar.gz", b"x"),
        ("../out.md", b"x"),
        ("a/../../out.md", b"x"),
        ("/abs.md", b"x"),
        ("C:\\x.md", b"x"),
        ("parts/two.txt", b"Again"),
        ("last.md", b"Last"),
    ]
    path = tmp_path / name
    with pytest.warns(UserWarning, match="Duplicate") if name == "a.zip" else contextlib.nullcontext():
        made = zipped(path, *files) if name == "a.zip" else tarred(path, *files)
    key = f"{tmp_path.name}/{name}"
    out = "has a path that leads out of the archive"
    assert said(taken(made)) == [
        (f"{key}/one.md", b"One"),
        (f"{key}/parts/two.txt", b"Two"),
        (f"{key}/parts/picture.png", Rule.UNSUPPORTED_SUFFIX),
        (f"{key}/.git/config.md", Rule.HIDDEN),
        (f"{key}/__MACOSX/one.md", Rule.HIDDEN),
        (f"{key}/empty.md", Rule.EMPTY),
        (f"{key}/more.zip", Rule.NESTED_ARCHIVE),
        (f"{key}/more.tar.gz", Rule.NESTED_ARCHIVE),
        (f"{key}/../out.md", out),
        (f"{key}/a/../../out.md", out),
        (f"{key}//abs.md", out),
        (f"{key}/C:/x.md", out),
        (f"{key}/parts/two.txt", "is in the archive twice"),
        (f"{key}/last.md", b"Last"),
    ]
    assert list(keys(find([str(made)], SUFFIXES))) == [one for one, _ in said(taken(made))]
    assert sorted(one.name for one in tmp_path.iterdir()) == [name]


def test_links_devices_and_encrypted_files_are_not_read(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.md")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    device = zipfile.ZipInfo("device.md")
    device.external_attr = (stat.S_IFCHR | 0o666) << 16
    made = zipped(tmp_path / "a.zip", (link, b"/etc/passwd"), (device, b"x"), ("b.md", b"x" * 100))
    data = bytearray(made.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 0x1
    made.write_bytes(data)
    assert [why for _, why in said(taken(made))] == [Rule.LINK, "is not a file", "is encrypted"]
    packed = tarred(
        tmp_path / "a.tgz",
        (of_kind("sym.md", tarfile.SYMTYPE), b""),
        (of_kind("hard.md", tarfile.LNKTYPE), b""),
        (of_kind("pipe.md", tarfile.FIFOTYPE), b""),
        (of_kind("folder", tarfile.DIRTYPE), b""),
    )
    assert [why for _, why in said(taken(packed))] == [Rule.LINK, Rule.LINK, "is not a file"]


@pytest.mark.parametrize("name", ["a.zip", "a.tgz"])
def test_archives_are_bounded(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make = zipped if name == "a.zip" else tarred
    bomb = make(tmp_path / name, *((f"{number}.md", bytes(2**20)) for number in range(4)))
    assert len(members(bomb)) == 4
    monkeypatch.setattr(archives, "_RATIO_FROM_BYTES", 2**20)
    with pytest.raises(ArchiveRefused, match="expands to more than 100 times"):
        members(bomb)
    monkeypatch.setattr(archives, "MAX_BYTES", 2**20)
    with pytest.raises(ArchiveRefused, match="holds more than 1 MiB"):
        members(bomb)
    monkeypatch.undo()
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    with pytest.raises(ArchiveRefused, match="more than 3 files"):
        members(bomb)
    assert said(taken(bomb)) == [(f"{tmp_path.name}/{name}", "holds more than 3 files")]


def test_a_file_of_an_archive_may_be_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 10)
    made = zipped(tmp_path / "a.zip", ("a.md", b"x" * 11), ("b.md", b"x" * 10))
    assert [what for _, what in said(taken(made))] == [Rule.TOO_LARGE, b"x" * 10]


def test_a_size_that_lies_gets_an_error(tmp_path: Path) -> None:
    made = zipped(tmp_path / "a.zip", ("a.md", bytes(50_000_000)), ("b.md", b"Good"))
    data = bytearray(made.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (1000).to_bytes(4, "little")
    made.write_bytes(data)
    (_, why), (_, good) = said(taken(made))
    assert "cannot be read (Bad CRC-32" in str(why)
    assert good == b"Good"


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.zip", b"no archive", "not a readable archive"),
        ("a.tgz", b"no archive", "not a readable archive"),
        ("a.tar", b"x" * 2000, "not a readable archive"),
        ("a.zip", b"", "not a readable archive"),
        ("a.tar.gz", gzip.compress(b"x" * 2000, mtime=0), "not a readable archive"),
        ("a.zip", b"PK\x05\x06" + bytes(8) + b"\xff\xff\xff\x7f" + bytes(6), "more than 10,000 files"),
        ("a.tar", tarfile.TarInfo("x").tobuf()[:156] + b"L" + bytes(355), "not a readable archive"),
    ],
)
def test_broken_archives_are_problems(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    ((_, why),) = said(taken(tmp_path / name))
    assert words in str(why)


def test_a_header_of_a_tar_archive_is_bounded(tmp_path: Path) -> None:
    header = of_kind("x", tarfile.XHDTYPE)
    header.size = 2**21
    (tmp_path / "a.tar").write_bytes(header.tobuf() + bytes(2**21))
    with pytest.raises(ArchiveRefused, match="header"):
        members(tmp_path / "a.tar")


def test_a_truncated_archive_accounts_for_all_its_files(tmp_path: Path) -> None:
    made = tarred(tmp_path / "a.tar", ("a.md", b"A"), ("b.md", b"B" * 600))
    targets = find([str(made)], SUFFIXES)
    made.write_bytes(made.read_bytes()[:1100])
    found = said(list(entries(targets)))
    assert [key.rpartition("/")[2] for key, _ in found] == ["a.md", "b.md"]
    assert "archive" in str(found[1][1])
