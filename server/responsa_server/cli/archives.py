"""Reads ZIP and tar archives for `ingest`, without unpacking them to disk.

An archive is listed and bounded before any of its files is sent. Its files are then read one at a time. Archives may come from anybody: nothing
in this module trusts a size, a count or a path that an archive states.
"""

from __future__ import annotations

import gzip
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from lzma import LZMAError
from pathlib import Path
from typing import IO, Final, cast

from responsa_server.domain.knowledge import MAX_DOCUMENT_BYTES

SUFFIXES: Final = (".zip", ".tar", ".tar.gz", ".tgz")
"""The suffixes of the archives that are read, in lower case."""
MAX_MEMBERS: Final = 10_000
MAX_BYTES: Final = 1024 * 1024 * 1024
"""The maximum size of an archive's files together."""
MAX_RATIO: Final = 100
"""The maximum size of an archive's files together, as a multiple of the archive's size. Small archives may exceed it."""
MAX_MEMBER_BYTES: Final = MAX_DOCUMENT_BYTES
"""The maximum size of a file, as of any document."""

_RATIO_FROM_BYTES: Final = 16 * 1024 * 1024
_DIRECTORY_BYTES: Final = 16 * 1024 * 1024
_HEADER_BYTES: Final = 1024 * 1024
_BLOCK_BYTES: Final = 4096
_ENCRYPTED: Final = 0x1
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_BROKEN: Final = (
    gzip.BadGzipFile,
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What the libraries raise for a broken or unusual archive."""


class ArchiveRefused(Exception):
    """An archive that is not read. why: the reason, as a clause without a full stop, such as "holds more than 10,000 files"."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive. name: its path, with slashes. is_link: whether it is a link. why: why it cannot be read, or ''."""

    name: str
    size: int
    is_link: bool = False
    why: str = ""


def is_archive(name: str) -> bool:
    """Whether a file's name is that of an archive."""
    return name.lower().endswith(SUFFIXES)


def members(path: Path) -> Sequence[Member]:
    """All files of an archive, in order, without its folders. Raises ArchiveRefused, and OSError if the archive cannot be read."""
    with _refusing(), _opened(path) as (found, _):
        return found


def contents(path: Path, wanted: Callable[[Member], bool]) -> Iterator[tuple[Member, bytes | None]]:
    """The files of an archive in the order of `members`. A file that is wanted and has at most MAX_MEMBER_BYTES bytes comes with its bytes, others
    with None. A file that cannot be read comes with None, and with the reason in `why`.

    Raises ArchiveRefused if the archive has changed, and OSError.
    """
    with _refusing(), _opened(path) as (found, read):
        for place, member in enumerate(found):
            if member.why or member.size > MAX_MEMBER_BYTES or not wanted(member):
                yield member, None
                continue
            try:
                yield member, read(place)
            except _BROKEN as error:
                why = f"cannot be read ({error or type(error).__name__})"
                yield Member(member.name, member.size, why=why), None


_Opened = tuple[Sequence[Member], Callable[[int], bytes]]


@contextmanager
def _opened(path: Path) -> Generator[_Opened]:
    """The members of an archive, and a function that returns the bytes of the member with an index. The indexes must ascend."""
    if path.name.lower().endswith(".zip"):
        with path.open("rb") as file:
            _bound_directory(file)
            with zipfile.ZipFile(file) as archive:
                infos = [one for one in archive.infolist() if not one.is_dir()]
                found = [_of_zip(one) for one in infos]
                _bound(found, path)
                yield _named_once(found), lambda place: _read_zip(archive, infos[place])
        return
    with _tar(path) as archive:
        files = (_of_tar(info) for info in archive if not info.isdir())
        found = list(islice(files, MAX_MEMBERS + 1))
    _bound(found, path)
    # A tar archive has no table of contents, so it is read from the beginning again.
    with _tar(path) as archive:
        reader = _TarReader(archive)
        yield _named_once(found), reader.read


@contextmanager
def _refusing() -> Generator[None]:
    try:
        yield
    except _BROKEN as error:
        raise ArchiveRefused(f"is not a readable archive ({error or type(error).__name__})") from None


def _bound(found: Sequence[Member], path: Path) -> None:
    """Raise ArchiveRefused if an archive's files are too many or too large."""
    if len(found) > MAX_MEMBERS:
        raise ArchiveRefused(f"holds more than {MAX_MEMBERS:,} files")
    _bound_size(sum(one.size for one in found), path.stat().st_size)


def _bound_size(size: int, archive_size: int) -> None:
    if size > MAX_BYTES:
        raise ArchiveRefused(f"holds more than {MAX_BYTES // 2**20:,} MiB of files")
    if size > max(_RATIO_FROM_BYTES, archive_size * MAX_RATIO):
        raise ArchiveRefused(f"expands to more than {MAX_RATIO} times its size")


def _named_once(found: Sequence[Member]) -> Sequence[Member]:
    """The members, with a reason against each one that has the name of an earlier one."""
    seen: set[str] = set()
    made: list[Member] = []
    for one in found:
        again = one.name in seen
        seen.add(one.name)
        made.append(Member(one.name, one.size, one.is_link, "is in the archive twice") if again else one)
    return made


def _member(name: str, size: int, *, is_link: bool, why: str) -> Member:
    name = name.replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or _DRIVE.match(name):
        return Member(name, size, why="has a path that leads out of the archive")
    return Member("/".join(parts), size, is_link, why)


# --- ZIP ---


def _bound_directory(file: IO[bytes]) -> None:
    """Raise ArchiveRefused if a ZIP archive's directory would take much memory. The zipfile module reads all of it at once."""
    file.seek(0, 2)
    size = file.tell()
    file.seek(max(0, size - 2**16 - 200))
    tail = file.read()
    file.seek(0)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0:
        return
    directory = int.from_bytes(tail[end + 12 : end + 16], "little")
    # The records of ZIP64: 20 bytes that locate the larger record, and 56 bytes of this record.
    if end >= 76 and tail[end - 20 : end - 16] == b"PK\x06\x07":
        directory = max(
            int.from_bytes(tail[end - 36 : end - 28], "little"), directory if directory < 2**32 - 1 else 0
        )
    if directory > _DIRECTORY_BYTES:
        raise ArchiveRefused(f"holds more than {MAX_MEMBERS:,} files")


def _of_zip(info: zipfile.ZipInfo) -> Member:
    mode = info.external_attr >> 16
    why = "is encrypted" if info.flag_bits & _ENCRYPTED else ""
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFLNK):
        why = "is not a file"
    return _member(info.filename, info.file_size, is_link=stat.S_ISLNK(mode), why=why)


def _read_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        # Without a size, zipfile would expand all of a file that is larger than its archive states.
        return file.read(info.file_size)


# --- tar ---


_LONG_HEADERS: Final = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class _Header(tarfile.TarInfo):
    """A tar header. Headers with more than _HEADER_BYTES bytes of names and attributes are refused, because tarfile reads them at once."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        made = super().frombuf(buf, encoding, errors)
        if made.type in _LONG_HEADERS and made.size > _HEADER_BYTES:
            raise ArchiveRefused("has a header that is too large")
        return made


class _Bounded:
    """A file that tarfile reads forwards. It ends with ArchiveRefused where an archive has become too large."""

    def __init__(self, file: IO[bytes], archive_size: int) -> None:
        self._file = file
        self._archive_size = archive_size
        self._size = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._size += len(data)
        # The headers do not count.
        _bound_size(self._size - MAX_MEMBERS * _BLOCK_BYTES, self._archive_size)
        return data


@contextmanager
def _tar(path: Path) -> Generator[tarfile.TarFile]:
    with path.open("rb") as raw:
        compressed = not path.name.lower().endswith(".tar")
        with gzip.GzipFile(fileobj=raw) if compressed else raw as file:
            bounded = _Bounded(cast("IO[bytes]", file), path.stat().st_size)
            with tarfile.open(fileobj=cast("IO[bytes]", bounded), mode="r|", tarinfo=_Header) as archive:
                yield archive


def _of_tar(info: tarfile.TarInfo) -> Member:
    is_link = info.issym() or info.islnk()
    why = "" if is_link or (info.isfile() and not info.issparse()) else "is not a file"
    return _member(info.name, 0 if why else info.size, is_link=is_link, why=why)


class _TarReader:
    """Reads members in ascending order."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._files = (one for one in archive if not one.isdir())
        self._next = 0

    def read(self, place: int) -> bytes:
        """The bytes of the member with this index."""
        info = None
        while self._next <= place:
            info = next(self._files)
            self._next += 1
        file = None if info is None else self._archive.extractfile(info)
        if info is None or file is None:
            raise tarfile.ReadError("the archive has changed")
        with file:
            return file.read(info.size)
