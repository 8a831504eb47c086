"""Where backups are kept: in a folder, or in a bucket of a store that speaks S3's protocol."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from responsa_local.embedded.errors import EmbeddedError, of_os_error
from responsa_server.app.settings import environment
from responsa_server.outbound.addresses import OutboundError, origin_of
from responsa_server.system.private_files import create_private

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer
    from obstore import ReadableFile, WritableFile

_SCHEME: Final = "s3://"
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^/]*)")
_TRIES: Final = 5
"""How often a request is sent again, within some seconds."""
_READ_BYTES: Final = 8 << 20
_PART_BYTES: Final = 32 << 20
"""The size of a part of an upload in bytes. S3 takes at most 10,000 parts, so a backup may have 312 GiB."""
_PARTS: Final = 2
"""The most parts that are sent at once, each from memory."""

Opening = Callable[[], IO[bytes]]
"""Opens a backup from its beginning. Raises OSError, EmbeddedError."""


def place(destination: str) -> BackupPlace:
    """The folder, or the bucket and prefix (`s3://BUCKET/PREFIX`), that a user names. Raises EmbeddedError."""
    return Bucket(destination) if _is_in_bucket(destination) else BackupFolder(Path(destination).absolute())


def opening(archive: str) -> Opening:
    """How to open the backup at a path or an address. Raises EmbeddedError for an address without a name."""
    if not _is_in_bucket(archive):
        return lambda: Path(archive).open("rb")
    folder, _, name = archive.rpartition("/")
    if not name or folder == _SCHEME.rstrip("/"):
        raise EmbeddedError(
            f"{archive} names no backup",
            "name one as `responsa backup` has printed it, s3://BUCKET/PREFIX/NAME",
        )
    bucket = Bucket(folder)
    return lambda: bucket.open(name)


def _is_in_bucket(address: str) -> bool:
    """Whether a place is in a bucket. Raises EmbeddedError, which does not show the address because it may have a password."""
    if (url := _URL.match(address)) is None:
        return False
    if url[1] != _SCHEME:
        raise EmbeddedError(
            f"{url[1]} cannot have backups", "name a folder, a file, or an address that begins with s3://"
        )
    if re.search("[@:]", url[2]):
        raise EmbeddedError(
            "The address has a user or a password before its bucket",
            "write s3://BUCKET/PREFIX, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    return True


def _check_endpoints() -> None:
    """Raises EmbeddedError, which does not show the address, if a store's address has a password or is not a URL."""
    for name, address in environment().items():
        if name.startswith("AWS_ENDPOINT") and address:
            try:
                origin_of(address)
                if "?" in address:
                    raise OutboundError("contains a query")
            except OutboundError as error:
                raise EmbeddedError(
                    f"{name} cannot be used: {str(error).partition('; ')[0]}",
                    "write it as https://s3.example.org, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                ) from error


class BackupFolder:
    """Keeps backups by their names in a folder, which is created if it is missing. All methods raise EmbeddedError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def writing(self, name: str) -> Generator[IO[bytes]]:
        """A file for a new backup. It has its name only once the block has ended without an error; until then, its name
        begins with a dot. A draft of a backup that was killed is deleted first."""
        target, draft = self._folder / name, self._folder / f".{name}"
        stem = name.rpartition("-")[0]
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in self._folder.glob(f".{stem}-*{target.suffix}"):
                with left.open("rb") as old:
                    if _locked(old):  # nobody writes it any more
                        left.unlink()
            with create_private(draft) as file:
                _locked(file)
                yield file
                file.flush()
                os.fsync(file.fileno())
            draft.rename(target)
        except OSError as error:
            raise of_os_error(error, self._folder) from error
        finally:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)

    def names(self, prefix: str, suffix: str) -> Sequence[str]:
        """The sorted names of the complete backups that begin and end so."""
        return sorted(path.name for path in self._folder.glob(f"{prefix}*{suffix}"))

    def address(self, name: str) -> str:
        """What `restore` takes to find this backup."""
        return str(self._folder / name)

    def size(self, name: str) -> int:
        return (self._folder / name).stat().st_size

    def delete(self, name: str) -> None:
        try:
            (self._folder / name).unlink()
        except OSError as error:
            raise of_os_error(error, self._folder) from error


def _locked(file: IO[bytes]) -> bool:
    """Lock a draft while it is open. Returns whether nobody else has."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Bucket:
    """What `BackupFolder` does, in a bucket. Credentials, region and endpoint come from the variables of AWS' tools
    (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL), or from the role of the machine."""

    def __init__(self, url: str) -> None:
        """url: `s3://BUCKET/PREFIX`; the prefix may be missing."""
        self._url = url.rstrip("/")
        _check_endpoints()
        with self._failures():
            # The store compares each part with its sum before it takes it.
            self._store = S3Store.from_url(
                self._url, checksum_algorithm="SHA256", retry_config={"max_retries": _TRIES}
            )

    @contextmanager
    def writing(self, name: str) -> Generator[IO[bytes]]:
        """Uploads while it is written, so no room on the disk is needed. A backup that fails gives the upload up; what
        is left of one that was killed has no name, and the bucket's rule for incomplete uploads removes it."""
        file = obstore.open_writer(self._store, name, buffer_size=_PART_BYTES, max_concurrency=_PARTS)
        try:
            yield cast("IO[bytes]", _StoredFile(file, self._failures))
        except BaseException as error:
            with contextlib.suppress(Exception):
                # This gives the upload up.
                file.__exit__(type(error), error, error.__traceback__)  # pyright: ignore[reportUnknownMemberType] its arguments have no types
            raise
        with self._failures():
            file.close()

    def open(self, name: str) -> IO[bytes]:
        """Read a backup from its beginning."""
        with self._failures():
            file = obstore.open_reader(self._store, name, buffer_size=_READ_BYTES)
        return cast("IO[bytes]", io.BufferedReader(_StoredFile(file, self._failures), _READ_BYTES))

    def names(self, prefix: str, suffix: str) -> Sequence[str]:
        with self._failures():
            paths = [entry["path"] for entries in self._store.list() for entry in entries]  # pyright: ignore[reportUnknownMemberType] its form for Arrow has no type
        return sorted(path for path in paths if path.startswith(prefix) and path.endswith(suffix))

    def address(self, name: str) -> str:
        return f"{self._url}/{name}"

    def size(self, name: str) -> int:
        with self._failures():
            return self._store.head(name)["size"]

    def delete(self, name: str) -> None:
        with self._failures():
            self._store.delete(name)

    @contextmanager
    def _failures(self) -> Generator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise EmbeddedError(
                f"{self._url} has no such bucket or backup", "list what is there, and name it"
            ) from error
        except (BaseError, OSError) as error:
            # The library's text goes on with its settings, and with whole pages of the server.
            reason = " ".join(str(error).split())[:300]
            raise EmbeddedError(
                f"The store of {self._url} refused ({reason})",
                "check the bucket, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL",
            ) from error


class _StoredFile(io.RawIOBase):
    """A file of the store. Only closing the store's own file completes an upload."""

    def __init__(
        self,
        file: ReadableFile | WritableFile,
        failures: Callable[[], contextlib.AbstractContextManager[None]],
    ) -> None:
        super().__init__()
        self._file = cast("Any", file)
        self._failures = failures

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        into = memoryview(buffer)
        with self._failures():
            data = memoryview(self._file.read(len(into)))
        into[: len(data)] = data
        return len(data)

    def write(self, data: ReadableBuffer, /) -> int:
        with self._failures():
            return self._file.write(bytes(data))


BackupPlace = BackupFolder | Bucket
