"""The file of a backup: one line of JSON that anyone can read, then a compressed tar, which is encrypted if there is a key.

The last member of the tar is a manifest with the size and the SHA-256 of every other member. The tar has plain files
and folders alone, each with one name that leads nowhere but down, and a reader refuses everything else before it gives
a member away. With a key, the tar is divided into chunks of CHUNK bytes. Each chunk is sealed with AES-256-GCM under a
key of this file alone; its number and whether it is the last one are its nonce, so a file that lacks chunks, or has
them in another order, does not open.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import secrets
import tarfile
import zlib
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Any, Final, Literal, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import StringConstraints, TypeAdapter
from pydantic_core import from_json

from responsa_server.embedded.errors import EmbeddedError

FORMAT: Final = 1
CHUNK: Final = 1 << 20
MIN_KEY_BYTES: Final = 32
_MANIFEST: Final = "manifest.json"
_TAG_BYTES: Final = 16
_MOST_HEADER_BYTES: Final = 1 << 20
_MOST_MANIFEST_BYTES: Final = 64 << 20
"""Enough for the files of a database of hundreds of terabytes."""
_ROW_BYTES: Final = 100
"""What the manifest has for each file besides its name."""
_MOST_NAME_BYTES: Final = 4000
_MOST_FOLDERS: Final = 32
_MOST_RECORD_BYTES: Final = 4096

Kind = Literal["base", "dump"]
Shown = Annotated[str, StringConstraints(pattern=r"^[^\p{C}\p{Zl}\p{Zp}]*$")]
"""A text that a terminal may show."""
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class DamagedArchive(EmbeddedError):
    """A file is no backup, or is cut or altered."""


class WrongKey(EmbeddedError):
    """A key file is missing, too short, not needed, or not the one of this backup."""


class NewerArchive(EmbeddedError):
    """A newer version of Responsa has made the backup."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of the file. kind: `base` for the files of a PostgreSQL, `dump` for the rows of its tables.
    release: the version of Responsa.
    time: when the backup began, RFC 3339. migrations: the name and the SHA-256 (hexadecimal) of each migration of the database, in order.
    postgres: PostgreSQL's major version. machine: the architecture of the processor, such as `x86_64`. left_out: the
    secrets that the settings file has and the backup lacks. salt: of the key, hexadecimal; empty if
    the file is not encrypted. key_check: what the key of this file derives to, hexadecimal, so that a wrong key can be
    told from a damaged file.
    """

    kind: Kind
    release: Shown
    time: Shown
    migrations: Sequence[tuple[Shown, Digest]]
    postgres: int
    machine: Shown
    left_out: Sequence[Shown]
    salt: str = ""
    key_check: str = ""


_HEADER: Final = TypeAdapter(Header)


@dataclass(frozen=True, slots=True)
class Member:
    """A file or a folder in the archive. name: its path, with slashes, as PurePosixPath would write it, without `..`.
    size: in bytes. content: None for a folder."""

    name: str
    size: int
    content: IO[bytes] | None


class Writer:
    """Adds members to an archive. `writing` makes one."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._members = _Members()

    def folder(self, name: str) -> None:
        """Add an empty folder."""
        self._members.folder(name)
        entry = tarfile.TarInfo(name)
        entry.type = tarfile.DIRTYPE
        self._tar.addfile(entry)

    def file(self, name: str, content: IO[bytes], size: int) -> None:
        """Add a file. content: must have at least `size` bytes. Raises OSError, and EmbeddedError for a name that no backup can have."""
        try:
            self._members.file(name)
        except (DamagedArchive, UnicodeError) as error:
            raise EmbeddedError(
                f"A backup cannot have a file with the name {_shown(name)}", "give it a shorter name in UTF-8"
            ) from error
        entry = tarfile.TarInfo(name)
        entry.size = size
        hashed = _Content(content, size)
        try:
            self._tar.addfile(entry, cast("IO[bytes]", hashed))
        except EOFError as error:
            raise OSError(errno.EIO, f"{_shown(name)} became shorter while it was read") from error
        self._members.hashed(name, size, hashed.sha256.hexdigest())

    def bytes(self, name: str, data: bytes) -> None:
        """Add a file whose content is in memory."""
        self.file(name, io.BytesIO(data), len(data))

    def finish(self, first_line: bytes) -> None:
        """Add the manifest."""
        self.bytes(_MANIFEST, self._members.manifest(first_line))


@contextmanager
def writing(file: IO[bytes], header: Header, key: bytes | None) -> Generator[Writer]:
    """An archive that is complete at the end of the block. key: the content of the key file. Raises OSError."""
    sealing = None
    if key is not None:
        header = replace(header, salt=secrets.token_hex(32))
        sealing, check = _keys(key, header.salt)
        header = replace(header, key_check=check)
    first_line = json.dumps({"responsa_backup": FORMAT, **asdict(header)}).encode() + b"\n"
    file.write(first_line)
    target = file if sealing is None else _Sealing(file, sealing, first_line)
    # The fastest level: the files of a database shrink to a third, and higher levels take several times as long for a few percent.
    with (
        gzip.GzipFile(fileobj=target, mode="wb", compresslevel=1, filename="", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        writer = Writer(tar)
        yield writer
        writer.finish(first_line)
    if isinstance(target, _Sealing):
        target.finish()


def read_header(file: IO[bytes]) -> tuple[Header, bytes]:
    """Read the first line of a backup. Returns also its bytes. Raises DamagedArchive, NewerArchive."""
    line = file.readline(_MOST_HEADER_BYTES)
    try:
        content = cast("dict[str, Any]", from_json(line))
        version = int(content.pop("responsa_backup"))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise _damaged("its beginning is not that of a backup") from error
    if version > FORMAT:
        raise NewerArchive(
            f"The backup was made by Responsa {_shown(content.get('release'))}, whose format {version} this version does not know",
            "restore it with that version or a newer one",
        )
    try:
        return _HEADER.validate_python(content), line
    except ValueError as error:
        raise _damaged("its first line is damaged") from error


def read(opening: Callable[[], IO[bytes]], key: bytes | None, take: Callable[[Member], None]) -> Header:
    """Read an archive from the beginning to the end, and call `take` with each member, whose content is read as far as `take` wants.

    Compares everything with the manifest, at the end. So read the archive once with a `take` that changes nothing,
    before anything is changed. `take` gets members with names alone that a backup can have, none of them twice or below
    a file. The memory that is needed does not depend on what the archive says.

    Raises:
        DamagedArchive, NewerArchive, WrongKey: the archive cannot be restored.
        OSError: the file cannot be read.
    """
    with opening() as file:
        header, first_line = read_header(file)
        source = _opened(file, header, first_line, key)
        members, complete = _Members(), False
        try:
            with gzip.GzipFile(fileobj=source, mode="rb") as packed:
                for member in _entries(cast("IO[bytes]", packed)):
                    if complete:
                        raise _damaged("it has data after its end")
                    if member.content is None:
                        members.folder(member.name)
                        take(member)
                    elif member.name == _MANIFEST:
                        wanted = members.manifest(first_line)
                        if member.size != len(wanted) or member.content.read() != wanted:
                            raise _damaged("it differs from its manifest")
                        complete = True
                    else:
                        members.file(member.name)
                        take(member)
                        while member.content.read(CHUNK):
                            pass
                        members.hashed(
                            member.name, member.size, cast("_Content", member.content).sha256.hexdigest()
                        )
            if source.read(1):
                raise _damaged("it has data after its end")
        except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
            raise _damaged("it is truncated or altered") from error
    if not complete:
        raise _damaged("its end is missing")
    return header


def _entries(packed: IO[bytes]) -> Generator[Member]:
    """The members of a tar; each must be read before the next one.

    tarfile's own reader is not used, because it follows headers that change names, sizes and the place of the content,
    and keeps them in memory, however long they are.
    """
    long_name = ""
    while (block := _exactly(packed, tarfile.BLOCKSIZE)) != bytes(tarfile.BLOCKSIZE):
        entry = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        if entry.type == tarfile.XHDTYPE and not long_name and 0 < entry.size <= _MOST_RECORD_BYTES:
            long_name = _long_name(_exactly(packed, entry.size))
        elif entry.type == tarfile.DIRTYPE and not long_name and entry.size == 0:
            yield Member(entry.name, 0, None)
        elif entry.type == tarfile.REGTYPE and entry.size >= 0:
            if (
                long_name
                and entry.name != long_name.encode("ascii", "replace").decode()[: tarfile.LENGTH_NAME]
            ):
                raise _damaged(f"its member {_shown(entry.name)} has two names")
            content = _Content(packed, entry.size)
            yield Member(long_name or entry.name, entry.size, cast("IO[bytes]", content))
            while content.read(CHUNK):
                pass
            long_name = ""
        else:
            raise _damaged(f"its member {_shown(entry.name)} is neither a file nor a folder")
        _exactly(packed, -entry.size % tarfile.BLOCKSIZE)
    # The end of the tar is not the end of the file: this also checks the sum of gzip, and the last chunk.
    if len(rest := packed.read(tarfile.RECORDSIZE + 1)) > tarfile.RECORDSIZE or rest.strip(b"\0"):
        raise _damaged("it has data after its end")


def _long_name(record: bytes) -> str:
    """The name in a header in front of a member whose own header has no room for it. Such a header may say nothing else."""
    start = b"%d path=" % len(record)
    name = record[len(start) : -1].decode()
    if start + name.encode() + b"\n" != record or (name.isascii() and len(name) <= tarfile.LENGTH_NAME):
        raise _damaged("a member has a header that changes more than its name")
    return name


class _Members:
    """The members of an archive so far. Raises DamagedArchive for a name that no backup can have, or that is there already."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[int, str]] = {}
        self._folders: set[str] = set()
        self._above: set[str] = set()
        self._bytes = 0

    def folder(self, name: str) -> None:
        """Enter a folder, before it is taken."""
        self._enter(name)
        self._folders.add(name)

    def file(self, name: str) -> None:
        """Enter a file, before it is taken."""
        self._enter(name)
        if name in self._above:
            raise _damaged(f"its member {_shown(name)} is a file and a folder")
        self._files[name] = (0, "")

    def hashed(self, name: str, size: int, digest: str) -> None:
        """Say what a file has. digest: SHA-256, hexadecimal."""
        self._files[name] = (size, digest)

    def manifest(self, first_line: bytes) -> bytes:
        """The text of the manifest of all files."""
        content = {"header": hashlib.sha256(first_line).hexdigest(), "members": self._files}
        return json.dumps(content).encode()

    def _enter(self, name: str) -> None:
        path, size = PurePosixPath(name), len(name.encode())
        # PurePosixPath leaves out doubled slashes and `.`.
        if not path.parts or str(path) != name or path.is_absolute() or ".." in path.parts or "\0" in name:
            raise _damaged(f"its member {_shown(name)} does not belong in a backup")
        above = [str(parent) for parent in path.parents[:_MOST_FOLDERS] if parent.parts]
        new = [folder for folder in above if folder not in self._above]
        self._bytes += size + _ROW_BYTES + sum(len(folder.encode()) + _ROW_BYTES for folder in new)
        if size > _MOST_NAME_BYTES or len(path.parts) > _MOST_FOLDERS or self._bytes > _MOST_MANIFEST_BYTES:
            raise _damaged("its names are too long, or too many")
        if name in self._files or name in self._folders:
            raise _damaged(f"its member {_shown(name)} is there twice")
        if not self._files.keys().isdisjoint(above):
            raise _damaged(f"its member {_shown(name)} is below a file")
        self._above.update(new)


def read_key(path: Path) -> bytes:
    """The content of a key file. Raises WrongKey."""
    remedy = f"name a file with at least {MIN_KEY_BYTES} random bytes, such as one that `openssl rand -hex 32` has written"
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise WrongKey(f"The key file {path} cannot be read ({error.strerror})", remedy) from error
    if len(key) < MIN_KEY_BYTES:
        raise WrongKey(f"The key file {path} is too short", remedy)
    return key


def _opened(file: IO[bytes], header: Header, first_line: bytes, key: bytes | None) -> IO[bytes]:
    if not header.salt:
        if key is not None:
            raise WrongKey("The backup is not encrypted", "leave out --key-file if you trust this file")
        return file
    if key is None:
        raise WrongKey(
            "The backup is encrypted", "name the key file with which it was made, with --key-file FILE"
        )
    sealing, check = _keys(key, header.salt)
    if check != header.key_check:
        raise WrongKey(
            "The key is not the one with which the backup was made", "name that key file with --key-file FILE"
        )
    return cast("IO[bytes]", _Opening(file, sealing, first_line))


def _keys(key: bytes, salt: str) -> tuple[AESGCM, str]:
    """The cipher of one file, and a value that shows whether the key is the right one."""
    derived = HKDF(hashes.SHA256(), 48, salt.encode(), b"responsa backup").derive(key)
    return AESGCM(derived[:32]), derived[32:].hex()


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")


class _Content:
    """Reads the next `size` bytes of a file, and hashes what was read. Raises EOFError if the file has fewer."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = size
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = _exactly(self._file, self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        self.sha256.update(data)
        return data


def _exactly(file: IO[bytes], size: int) -> bytes:
    if len(data := file.read(size)) != size:
        raise EOFError
    return data


class _Sealing(io.RawIOBase):
    """Encrypts what is written. The chunk that is not yet full waits for more, because the last chunk is sealed as the last."""

    def __init__(self, file: IO[bytes], cipher: AESGCM, first_line: bytes) -> None:
        super().__init__()
        self._file = file
        self._cipher = cipher
        self._first_line = first_line
        self._waiting = bytearray()
        self._number = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._waiting += data
        while len(self._waiting) > CHUNK:
            self._seal(bytes(self._waiting[:CHUNK]), last=False)
            del self._waiting[:CHUNK]
        return len(data)

    def finish(self) -> None:
        self._seal(bytes(self._waiting), last=True)

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._number, last), chunk, self._first_line))
        self._number += 1


class _Opening(io.RawIOBase):
    """Decrypts what is read. Raises DamagedArchive for a chunk that is altered or is not in its place."""

    def __init__(self, file: IO[bytes], cipher: AESGCM, first_line: bytes) -> None:
        super().__init__()
        self._file = file
        self._cipher = cipher
        self._first_line = first_line
        self._next = file.read(CHUNK + _TAG_BYTES)
        self._clear = memoryview(b"")
        self._number = 0
        self._ended = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts: list[memoryview] = []
        wanted = size if size >= 0 else 1 << 62
        while wanted and (self._clear or not self._ended):
            if not self._clear:
                self._open()
            taken = self._clear[:wanted]
            self._clear = self._clear[len(taken) :]
            wanted -= len(taken)
            parts.append(taken)
        return b"".join(parts)

    def _open(self) -> None:
        sealed, self._next = self._next, self._file.read(CHUNK + _TAG_BYTES)
        self._ended = not self._next
        try:
            clear = self._cipher.decrypt(_nonce(self._number, self._ended), sealed, self._first_line)
        except InvalidTag as error:
            raise _damaged("it is truncated or altered") from error
        self._number += 1
        self._clear = memoryview(clear)


def _shown(text: object) -> str:
    """A text of an archive, as a terminal may show it."""
    return ascii(str(text)[:100])[1:-1]


def _damaged(what: str) -> DamagedArchive:
    return DamagedArchive(f"The backup cannot be used: {what}", "use another backup")
