"""The file of a backup: one line of JSON, then a compressed tar. With a key, both are encrypted by age.

The last member of the tar is a manifest with the size and the SHA-256 of every other member. The tar has plain files
and folders alone, each with one name that leads nowhere but down, and a reader refuses everything else before it gives
a member away. An encrypted file begins with a line that has age's identity of this file alone, which the key opens. The
recipient of the identity is written nowhere, so only who has the key can write such a file.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import tarfile
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Any, Final, Literal, cast

from cryptography.fernet import Fernet, InvalidToken
from pydantic import StringConstraints, TypeAdapter
from pydantic_core import from_json
from pyrage import decrypt_io, encrypt_io, x25519

from responsa_local.embedded.errors import EmbeddedError

FORMAT: Final = 1
CHUNK: Final = 1 << 20
"""So much of a member is read at once."""
MIN_KEY_BYTES: Final = 32
_SEALED: Final = b"age "
"""Begins an encrypted file."""
_MANIFEST: Final = "manifest.json"
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
class BackupHeader:
    """The first line. kind: `base` for the files of a PostgreSQL, `dump` for the rows of its tables. release: the version
    of Responsa. time: when the backup began, RFC 3339. migrations: the name and the SHA-256 (hexadecimal) of each
    migration of the database, in order. postgres: PostgreSQL's major version. machine: the architecture of the processor,
    such as `x86_64`. left_out: the secrets that the settings file has and the backup lacks.
    """

    kind: Kind
    release: Shown
    time: Shown
    migrations: Sequence[tuple[Shown, Digest]]
    postgres: int
    machine: Shown
    left_out: Sequence[Shown]


_HEADER: Final = TypeAdapter(BackupHeader)


@dataclass(frozen=True, slots=True)
class BackupMember:
    """A file or a folder in the archive. name: its path, with slashes, as PurePosixPath would write it, without `..`.
    size: in bytes. content: None for a folder."""

    name: str
    size: int
    content: IO[bytes] | None


class BackupWriter:
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
                f"A backup cannot have a file with the name {_to_ascii(name)}",
                "give it a shorter name in UTF-8",
            ) from error
        entry = tarfile.TarInfo(name)
        entry.size = size
        hashing = _HashedFile(content, size)
        try:
            self._tar.addfile(entry, cast("IO[bytes]", hashing))
        except EOFError as error:
            raise OSError(errno.EIO, f"{_to_ascii(name)} became shorter while it was read") from error
        self._members.add_hash(name, size, hashing.sha256.hexdigest())

    def bytes(self, name: str, data: bytes) -> None:
        """Add a file whose content is in memory."""
        self.file(name, io.BytesIO(data), len(data))

    def finish(self, first_line: bytes) -> None:
        """Add the manifest."""
        self.bytes(_MANIFEST, self._members.manifest(first_line))


@contextmanager
def writing(file: IO[bytes], header: BackupHeader, key: bytes | None) -> Generator[BackupWriter]:
    """An archive that is complete at the end of the block. key: the content of the key file. Raises OSError."""
    first_line = json.dumps({"responsa_backup": FORMAT, **asdict(header)}).encode() + b"\n"
    with nullcontext(file) if key is None else _encrypting(file, key) as target:
        target.write(first_line)
        # The fastest level: the files of a database shrink to a third, and higher levels take several times as long for a few percent.
        with (
            gzip.GzipFile(fileobj=target, mode="wb", compresslevel=1, filename="", mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            writer = BackupWriter(tar)
            yield writer
            writer.finish(first_line)


def parse_header(line: bytes) -> BackupHeader:
    """The header in the first line of a backup. Raises DamagedArchive, NewerArchive."""
    try:
        content = cast("dict[str, Any]", from_json(line))
        version = int(content.pop("responsa_backup"))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise _damage_of("its beginning is not that of a backup") from error
    if version > FORMAT:
        raise NewerArchive(
            f"The backup was made by Responsa {_to_ascii(content.get('release'))}, whose format {version} this version does not know",
            "restore it with that version or a newer one",
        )
    try:
        return _HEADER.validate_python(content)
    except ValueError as error:
        raise _damage_of("its first line is damaged") from error


def read(
    opening: Callable[[], IO[bytes]], key: bytes | None, take: Callable[[BackupMember], None]
) -> BackupHeader:
    """Read an archive from the beginning to the end, and call `take` with each member, whose content is read as far as `take` wants.

    Compares everything with the manifest, at the end. So read the archive once with a `take` that changes nothing,
    before anything is changed. `take` gets members with names alone that a backup can have, none of them twice or below
    a file. The memory that is needed does not depend on what the archive says.

    Raises:
        DamagedArchive, NewerArchive, WrongKey: the archive cannot be restored.
        OSError: the file cannot be read.
    """
    with opening() as file, _open_sealed(file, key) as (first_line, source):
        header = parse_header(first_line)
        members, complete = _Members(), False
        try:
            with gzip.GzipFile(fileobj=source, mode="rb") as packed:
                for member in _entries(cast("IO[bytes]", packed)):
                    if complete:
                        raise _damage_of("it has data after its end")
                    if member.content is None:
                        members.folder(member.name)
                        take(member)
                    elif member.name == _MANIFEST:
                        wanted = members.manifest(first_line)
                        if member.size != len(wanted) or member.content.read() != wanted:
                            raise _damage_of("it differs from its manifest")
                        complete = True
                    else:
                        members.file(member.name)
                        take(member)
                        while member.content.read(CHUNK):
                            pass
                        members.add_hash(
                            member.name, member.size, cast("_HashedFile", member.content).sha256.hexdigest()
                        )
            if source.read(1):
                raise _damage_of("it has data after its end")
        except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
            raise _damage_of("it is truncated or altered") from error
    if not complete:
        raise _damage_of("its end is missing")
    return header


def _entries(packed: IO[bytes]) -> Generator[BackupMember]:
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
            yield BackupMember(entry.name, 0, None)
        elif entry.type == tarfile.REGTYPE and entry.size >= 0:
            if (
                long_name
                and entry.name != long_name.encode("ascii", "replace").decode()[: tarfile.LENGTH_NAME]
            ):
                raise _damage_of(f"its member {_to_ascii(entry.name)} has two names")
            content = _HashedFile(packed, entry.size)
            yield BackupMember(long_name or entry.name, entry.size, cast("IO[bytes]", content))
            while content.read(CHUNK):
                pass
            long_name = ""
        else:
            raise _damage_of(f"its member {_to_ascii(entry.name)} is neither a file nor a folder")
        _exactly(packed, -entry.size % tarfile.BLOCKSIZE)
    # The end of the tar is not the end of the file: this also checks the sum of gzip, and the last chunk.
    if len(rest := packed.read(tarfile.RECORDSIZE + 1)) > tarfile.RECORDSIZE or rest.strip(b"\0"):
        raise _damage_of("it has data after its end")


def _long_name(record: bytes) -> str:
    """The name in a header in front of a member whose own header has no room for it. Such a header may say nothing else."""
    start = b"%d path=" % len(record)
    name = record[len(start) : -1].decode()
    if start + name.encode() + b"\n" != record or (name.isascii() and len(name) <= tarfile.LENGTH_NAME):
        raise _damage_of("a member has a header that changes more than its name")
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
            raise _damage_of(f"its member {_to_ascii(name)} is a file and a folder")
        self._files[name] = (0, "")

    def add_hash(self, name: str, size: int, digest: str) -> None:
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
            raise _damage_of(f"its member {_to_ascii(name)} does not belong in a backup")
        above = [str(parent) for parent in path.parents[:_MOST_FOLDERS] if parent.parts]
        new = [folder for folder in above if folder not in self._above]
        self._bytes += size + _ROW_BYTES + sum(len(folder.encode()) + _ROW_BYTES for folder in new)
        if size > _MOST_NAME_BYTES or len(path.parts) > _MOST_FOLDERS or self._bytes > _MOST_MANIFEST_BYTES:
            raise _damage_of("its names are too long, or too many")
        if name in self._files or name in self._folders:
            raise _damage_of(f"its member {_to_ascii(name)} is there twice")
        if not self._files.keys().isdisjoint(above):
            raise _damage_of(f"its member {_to_ascii(name)} is below a file")
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


@contextmanager
def _encrypting(file: IO[bytes], key: bytes) -> Generator[IO[bytes]]:
    identity = x25519.Identity.generate()
    file.write(_SEALED + _cipher(key).encrypt(str(identity).encode()) + b"\n")
    recipients = [identity.to_public()]
    with _open_pipe(file, "wb", lambda clear, sealed: encrypt_io(clear, sealed, recipients)) as clear:
        yield clear


@contextmanager
def _open_sealed(file: IO[bytes], key: bytes | None) -> Generator[tuple[bytes, IO[bytes]]]:
    """The first line of a backup, and what follows, without their encryption."""
    first_line = file.readline(_MOST_HEADER_BYTES)
    if not first_line.startswith(_SEALED):
        parse_header(first_line)
        if key is not None:
            raise WrongKey("The backup is not encrypted", "leave out --key-file if you trust this file")
        yield first_line, file
        return
    if key is None:
        raise WrongKey(
            "The backup is encrypted", "name the key file with which it was made, with --key-file FILE"
        )
    try:
        identity = x25519.Identity.from_str(_cipher(key).decrypt(first_line.removeprefix(_SEALED)).decode())
    except InvalidToken as error:
        if not first_line.endswith(b"\n"):
            raise _damage_of("it is truncated or altered") from error
        raise WrongKey(
            "The key is not the one with which the backup was made", "name that key file with --key-file FILE"
        ) from error
    with _open_pipe(file, "rb", lambda clear, sealed: decrypt_io(sealed, clear, [identity])) as clear:
        yield clear.readline(_MOST_HEADER_BYTES), clear


def _cipher(key: bytes) -> Fernet:
    return Fernet(urlsafe_b64encode(hashlib.sha256(key).digest()))


@contextmanager
def _open_pipe(
    file: IO[bytes], mode: Literal["rb", "wb"], work: Callable[[IO[bytes], IO[bytes]], None]
) -> Generator[IO[bytes]]:
    """One end of a pipe. work: called in a thread with the other end and the file.

    Raises what the file raises, and DamagedArchive if `work` fails otherwise.
    """
    watched = _WatchedFile(file)
    reading, writing = os.pipe()
    ours, theirs = (reading, writing) if mode == "rb" else (writing, reading)

    def run() -> None:
        with os.fdopen(theirs, "wb" if mode == "rb" else "rb") as pipe:
            work(cast("IO[bytes]", pipe), cast("IO[bytes]", watched))

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        try:
            with os.fdopen(ours, mode) as pipe:
                yield cast("IO[bytes]", pipe)
        finally:
            failure = running.exception()
            if watched.error is not None:
                raise watched.error
    if failure is not None:
        raise _damage_of("it is truncated or altered") from failure


class _WatchedFile:
    """Keeps the error of a file, of which pyrage tells the text alone."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: Exception | None = None

    def read(self, size: int) -> bytes:
        return self._watch(self._file.read, size)

    def write(self, data: bytes) -> int:
        return self._watch(self._file.write, data)

    def flush(self) -> None:
        self._watch(self._file.flush)

    def _watch(self, call: Callable[..., Any], *arguments: object) -> Any:
        try:
            return call(*arguments)
        except Exception as error:
            self.error = error
            raise


class _HashedFile:
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


def _to_ascii(text: object) -> str:
    """A text of an archive, as a terminal may show it."""
    return ascii(str(text)[:100])[1:-1]


def _damage_of(what: str) -> DamagedArchive:
    return DamagedArchive(f"The backup cannot be used: {what}", "use another backup")
