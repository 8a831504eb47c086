"""The file of a backup: one line of JSON that anyone can read, then a compressed tar, which is encrypted if there is a key.

The last member of the tar is a manifest with the size and the SHA-256 of every other member. With a key, the tar is divided into chunks of
CHUNK bytes. Each chunk is sealed with AES-256-GCM under a key of this file alone; its number and whether it is the last one are its nonce,
so a file that lacks chunks, or has them in another order, does not open.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import secrets
import tarfile
import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, Literal, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from responsa_server.embedded.errors import EmbeddedError

FORMAT: Final = 1
CHUNK: Final = 1 << 20
MIN_KEY_BYTES: Final = 32
_MANIFEST: Final = "manifest.json"
_TAG_BYTES: Final = 16
_MOST_HEADER_BYTES: Final = 1 << 20

Kind = Literal["base", "dump"]


class DamagedArchive(EmbeddedError):
    """A file is no backup, or is cut or altered."""


class WrongKey(EmbeddedError):
    """A key file is missing, too short, not needed, or not the one of this backup."""


class NewerArchive(EmbeddedError):
    """A newer version of Responsa has made the backup."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of the file. kind: `base` for the files of a PostgreSQL, `dump` for the rows of its tables. release: the version of Responsa.
    time: when the backup began, RFC 3339. migrations: the name and the SHA-256 (hexadecimal) of each migration of the database, in order.
    postgres: PostgreSQL's major version. machine: the architecture of the processor, such as `x86_64`. left_out: the
    secrets that the settings file has and the backup lacks. salt: of the key, hexadecimal; empty if
    the file is not encrypted. key_check: what the key of this file derives to, hexadecimal, so that a wrong key can be told from a damaged file.
    """

    kind: Kind
    release: str
    time: str
    migrations: Sequence[tuple[str, str]]
    postgres: int
    machine: str
    left_out: Sequence[str]
    salt: str = ""
    key_check: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """A file or a folder in the archive. name: its path, with slashes. content: None for a folder."""

    name: str
    content: IO[bytes] | None


class Writer:
    """Adds members to an archive. `writing` makes one."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._members: dict[str, tuple[int, str]] = {}

    def folder(self, name: str) -> None:
        """Add an empty folder."""
        entry = tarfile.TarInfo(name)
        entry.type = tarfile.DIRTYPE
        self._tar.addfile(entry)

    def file(self, name: str, content: IO[bytes], size: int) -> None:
        """Add a file. content: is read to its end, and must have `size` bytes. Raises OSError."""
        entry = tarfile.TarInfo(name)
        entry.size = size
        hashed = _Hashing(content)
        self._tar.addfile(entry, cast("IO[bytes]", hashed))
        self._members[name] = (size, hashed.sha256.hexdigest())

    def bytes(self, name: str, data: bytes) -> None:
        """Add a file whose content is in memory."""
        self.file(name, io.BytesIO(data), len(data))

    def finish(self, first_line: bytes) -> None:
        """Add the manifest."""
        manifest = {"header": hashlib.sha256(first_line).hexdigest(), "members": self._members}
        self.bytes(_MANIFEST, json.dumps(manifest).encode())


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
        content = cast("dict[str, Any]", json.loads(line))
        version = int(content.pop("responsa_backup"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged("it does not begin as a backup does") from error
    if version > FORMAT:
        raise NewerArchive(
            f"The backup was made by Responsa {content.get('release')}, whose format {version} this version does not know",
            "restore it with that version or a newer one",
        )
    try:
        header = Header(**content)
        migrations = [(name, bytes.fromhex(digest).hex()) for name, digest in header.migrations]
        return replace(header, migrations=migrations), line
    except (TypeError, ValueError) as error:
        raise _damaged("its first line is damaged") from error


def read(path: Path, key: bytes | None, take: Callable[[Member], None]) -> Header:
    """Read an archive from the beginning to the end, and call `take` with each member, whose content is read as far as `take` wants.

    Compares everything with the manifest, at the end. So read the archive once with a `take` that changes nothing, before anything is changed.

    Raises:
        DamagedArchive, NewerArchive, WrongKey: the archive cannot be restored.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        header, first_line = read_header(file)
        source = _opened(file, header, first_line, key)
        members: dict[str, tuple[int, str]] = {}
        manifest: Mapping[str, Any] | None = None
        try:
            with gzip.GzipFile(fileobj=source, mode="rb") as packed:
                with tarfile.open(fileobj=packed, mode="r|") as tar:
                    for entry in tar:
                        if manifest is not None:
                            raise _damaged("it goes on after its end")
                        _check_name(entry.name)
                        if entry.isdir():
                            take(Member(entry.name, None))
                            continue
                        content = tar.extractfile(entry)
                        if content is None or entry.name in members:
                            raise _damaged(f"its member {entry.name} is none of a backup")
                        if entry.name == _MANIFEST:
                            manifest = json.load(content)
                            continue
                        hashed = _Hashing(content)
                        take(Member(entry.name, cast("IO[bytes]", hashed)))
                        while hashed.read(CHUNK):
                            pass
                        members[entry.name] = (entry.size, hashed.sha256.hexdigest())
                # The end of the tar is not the end of the file: this checks the sum of gzip, and the last chunk.
                while packed.read(CHUNK):
                    pass
            if source.read(1):
                raise _damaged("it goes on after its end")
        except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
            raise _damaged("it is cut or altered") from error
    if manifest is None:
        raise _damaged("its end is missing")
    if manifest.get("header") != hashlib.sha256(first_line).hexdigest():
        raise _damaged("its first line was altered")
    if {name: tuple(facts) for name, facts in manifest["members"].items()} != members:
        raise _damaged("its content differs from its manifest")
    return header


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


class _Hashing:
    """Reads a file and hashes what was read."""

    def __init__(self, content: IO[bytes]) -> None:
        self._content = content
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._content.read(size)
        self.sha256.update(data)
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
            raise _damaged("it is cut or altered") from error
        self._number += 1
        self._clear = memoryview(clear)


def _check_name(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise _damaged(f"its member {name} is none of a backup")


def _damaged(what: str) -> DamagedArchive:
    return DamagedArchive(f"The backup cannot be used: {what}", "use another backup")
