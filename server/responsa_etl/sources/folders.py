"""Reads the files of connected folders, and only those that have changed since an earlier run.

Files are read as the listing of the folder names them, a page at a time. A file whose tag (its time and size, or what a
server calls its version) is that of an earlier run is not read again. What `responsa ingest` skips in folders is skipped
here, too.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final, Protocol
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidTag

from responsa_etl.domain import (
    FILE,
    MAX_KEY_BYTES,
    ConnectedFolder,
    DatabaseFault,
    FolderKind,
    MadeRow,
    SourceDocument,
    SourcePage,
    StoredDocument,
)
from responsa_etl.sources.budget import Budget, BudgetLimits, BudgetSpent
from responsa_etl.sources.mapping import SourceMapping
from responsa_etl.sources.reading import unreadable
from responsa_formats.parsers.table import CODE
from responsa_server.domain.files import is_left_behind
from responsa_server.domain.people import Principal
from responsa_server.domain.runs import DocumentKey, Fetched
from responsa_server.domain.sharing import Scheduler
from responsa_server.identity.tokens import Secret
from responsa_server.ingest.formats import FORMATS
from responsa_server.outbound.addresses import Allowed, OutboundError, UrlOrigin, origin_of

_SECONDS: Final = 600.0
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_CHECK: Final = BudgetLimits(seconds=300.0, requests=20, entries=10_000, size=64 << 20)
"""What a check may use. It ends with the first file, so more is for a folder without files."""
_CHECKS_AT_ONCE: Final = 4


class FolderProblem(Exception):
    """A folder that cannot be read. field: of the ConnectedFolder to correct. Users read the message."""

    def __init__(self, fault: DatabaseFault, field: str, message: str) -> None:
        super().__init__(message)
        self.fault = fault
        self.field = field
        self.message = message


class UnreadableFile(Exception):
    """A file that cannot be read. Users read the message."""


@dataclass(frozen=True, slots=True)
class FolderFile:
    """A file. path: below the folder. tag: is another text once the content has changed. uri: its address for people,
    or ""."""

    path: str
    tag: str
    size: int
    uri: str = ""


@dataclass(frozen=True, slots=True)
class UnreadableFolder:
    """A folder below the connected one that cannot be read. problem: why."""

    path: str
    problem: str


class OpenFolder(Protocol):
    """A folder that is being read."""

    def list(self, budget: Budget) -> AsyncGenerator[FolderFile | UnreadableFolder]:
        """All files that `is_wanted`. Raises FolderProblem, BudgetSpent."""
        ...

    async def read(self, file: FolderFile, limit: int) -> bytes:
        """The bytes of a file, at most one more than `limit`. Raises UnreadableFile, FolderProblem."""
        ...


class FolderOpener(Protocol):
    """Opens folders of a kind."""

    def __call__(
        self, tenant_id: str, folder: ConnectedFolder, budget: Budget
    ) -> AbstractAsyncContextManager[OpenFolder]:
        """budget: of all that is read. Raises FolderProblem, BudgetSpent."""
        ...


@dataclass(frozen=True, slots=True)
class FolderLimits:
    """files: the most files of a folder. file_bytes: the size limit of a file."""

    files: int
    file_bytes: int = 64 << 20


def is_wanted(path: str) -> bool:
    """Whether somebody has put a file there: it and its folders are not hidden, and programs have not left it behind."""
    pure = PurePosixPath(path)
    return not (any(map(is_hidden, pure.parts)) or is_left_behind(pure.name))


def _is_skipped(folder: ConnectedFolder, path: str) -> bool:
    """Whether the suffix of a file is that of no format, or of source code, which the folder does not ask for."""
    suffix = PurePosixPath(path).suffix.lower().removeprefix(".")
    known = FORMATS.with_suffix(suffix)
    return known is None or (known is CODE and not folder.source_code)


def is_hidden(name: str) -> bool:
    """Whether a file or a folder is hidden; `.` and `..` are no names (`find_name_problem`)."""
    return name.startswith(".") and name not in (".", "..")


def find_name_problem(kind: str, key: str) -> str:
    """Why a name from outside is none of a document, as a sentence; "" if it may be one."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "The name is not valid UTF-8."
    if size > MAX_KEY_BYTES:
        return f"The name has more than {MAX_KEY_BYTES} bytes."
    if _CONTROL.search(key):
        return "The name has a slash or control characters."
    if kind == FILE and not {"", ".", ".."}.isdisjoint(key.split("/")):
        return "A part of the path is empty, or it is . or .., which lead elsewhere."
    return ""


def write_name(name: str) -> str:
    """A name from outside as it may be shown and stored: without what cannot be printed, and not longer than a key."""
    text = "".join(char if char.isprintable() else "\ufffd" for char in name)
    return text.encode(errors="replace")[:MAX_KEY_BYTES].decode(errors="ignore")


def origin_of_folder(folder: ConnectedFolder, allowed: Allowed) -> UrlOrigin:
    """Where a folder behind HTTP is. Raises FolderProblem."""
    try:
        origin = origin_of(folder.address)
        if urlsplit(folder.address).query or urlsplit(folder.address).fragment:
            raise OutboundError("the address must end with the path of the folder")
    except OutboundError as error:
        raise FolderProblem(DatabaseFault.QUERY, "address", str(error)) from None
    if origin.scheme != "https" and not allowed.names(origin.host):
        message = "must begin with https://, unless the setting sources.allow_private names the host"
        raise FolderProblem(DatabaseFault.QUERY, "address", message)
    return origin


def not_reachable(host: str) -> FolderProblem:
    """The problem of a folder at an address to which the server may not connect."""
    message = (
        f"The server may not connect to {host}, because its address is not public. If it is the organisation's own, "
        "the operator allows it with the setting sources.allow_private (RESPONSA_SOURCES__ALLOW_PRIVATE)."
    )
    return FolderProblem(DatabaseFault.UNREACHABLE, "address", message)


def mapping_of(folder: ConnectedFolder) -> SourceMapping:
    """What a mapping would say about a folder."""
    return SourceMapping(
        "",
        folder.kind.value,
        folder.collection,
        folder.deletions_percent,
        folder.schedule,
        folder.time_zone,
        (),
        None,
    )


class ServerPaths(Protocol):
    """The folders of the server below which folders may be connected."""

    def list_allowed(self, tenant_id: str) -> Sequence[Path]:
        """Those of a tenant."""
        ...

    def may_name(self, caller: Principal) -> bool:
        """Whether the caller may connect folders below them."""
        ...


class FolderReader:
    """Reads connected folders of all kinds. paths: the folders of the server that may be connected."""

    def __init__(
        self,
        paths: ServerPaths,
        openers: Mapping[FolderKind, FolderOpener],
        limits: FolderLimits,
        secret: Secret,
    ) -> None:
        """secret: of the installation, under which passwords are stored."""
        self._secret = secret
        self.paths = paths
        self._openers = openers
        self._limits = limits
        self._checking = Scheduler("checks of folders", _CHECKS_AT_ONCE)

    def seal(
        self, tenant_id: str, folder: ConnectedFolder, stored: ConnectedFolder | None
    ) -> ConnectedFolder:
        """The folder with its password sealed, or with the stored one if none was entered and the place is the same."""
        location = folder.place(tenant_id)
        if folder.password:
            return replace(
                folder, password="", sealed_password=self._secret.seal_credential(location, folder.password)
            )
        if stored is not None and stored.place(tenant_id) == location:
            return replace(folder, sealed_password=stored.sealed_password)
        return folder

    def unseal(self, tenant_id: str, folder: ConnectedFolder) -> ConnectedFolder:
        """The folder with its password. Raises FolderProblem if this server cannot decrypt it."""
        if not folder.sealed_password:
            return folder
        try:
            location, sealed = folder.place(tenant_id), folder.sealed_password
            return replace(folder, password=self._secret.unseal_credential(location, sealed))
        except InvalidTag:
            message = "This server cannot decrypt the stored password, because its secret is another one. Paste the password again."
            raise FolderProblem(DatabaseFault.LOGIN, "password", message) from None

    async def check(self, tenant_id: str, folder: ConnectedFolder) -> None:
        """List a folder up to its first file. Raises FolderProblem, Exhausted (OVERLOADED)."""
        unsealed, budget = self.unseal(tenant_id, folder), Budget(_CHECK)
        async with self._checking.turn(limit=1):
            try:
                async with budget.reading():
                    with suppress(BudgetSpent):  # so far, the folder could be read
                        async with (
                            self._openers[folder.kind](tenant_id, unsealed, budget) as opened,
                            aclosing(opened.list(budget)) as listed,
                        ):
                            await anext(listed, None)
            except BudgetSpent as spent:
                message = f"The folder was not listed within {spent}."
                raise FolderProblem(DatabaseFault.TIMEOUT, "address", message) from None

    async def files(
        self,
        tenant_id: str,
        folder: ConnectedFolder,
        known: Mapping[DocumentKey, StoredDocument],
        only: Set[str] | None,
        budget: Budget,
    ) -> AsyncGenerator[MadeRow]:
        """Each file, with its document, that it is unchanged, or why it cannot be read.

        known: the documents of the source. only: the paths to which a retry limits itself. Raises Precondition
        (SOURCE_UNREADABLE), BudgetSpent.
        """
        paths = set[str]()
        try:
            unsealed = self.unseal(tenant_id, folder)
            async with (
                self._openers[folder.kind](tenant_id, unsealed, budget) as opened,
                aclosing(opened.list(budget)) as listed,
            ):
                async for item in listed:
                    if isinstance(item, UnreadableFolder):
                        yield MadeRow(FILE, {"path": item.path}, None, item.problem, item.path)
                        for at in known:
                            if at.kind == FILE and at.key.startswith(f"{item.path}/"):
                                yield MadeRow(FILE, {}, None, key=at.key, unchanged=True)
                    elif _is_skipped(folder, item.path):
                        budget.skipped += 1
                    elif item.path not in paths and (only is None or item.path in only):
                        if len(paths) == self._limits.files:
                            raise BudgetSpent(f"{len(paths):,} files")
                        paths.add(item.path)
                        await budget.hold()
                        yield await self._read(opened, folder, item, known.get(DocumentKey(FILE, item.path)))
        except FolderProblem as problem:
            raise unreadable(folder.kind.value, FILE, problem.fault, problem.message) from None

    async def _read(
        self, opened: OpenFolder, folder: ConnectedFolder, file: FolderFile, stored: StoredDocument | None
    ) -> MadeRow:
        fetched = Fetched(file.path, file.uri, file.tag, "", folder.collection)
        if stored is not None and stored.digest and stored.fetched == fetched:
            return MadeRow(FILE, {}, None, key=file.path, unchanged=True)
        if problem := find_name_problem(FILE, file.path):
            return MadeRow(FILE, {}, None, problem, file.path)
        row, limit = {"path": file.path}, self._limits.file_bytes
        try:
            async with asyncio.timeout(_SECONDS):
                data = b"" if file.size > limit else await opened.read(file, limit)
        except TimeoutError:
            return MadeRow(FILE, row, None, f"The file was not read within {_SECONDS:g} seconds.", file.path)
        except UnreadableFile as problem:
            return MadeRow(FILE, row, None, str(problem), file.path)
        if max(len(data), file.size) > limit:
            message = (
                f"The file has more than {limit:,} bytes, more than a file of a connected folder may have."
            )
            return MadeRow(FILE, row, None, message, file.path)
        if not data.strip():
            return MadeRow(FILE, row, None, "The file is empty.", file.path)
        page = SourcePage(data, "", fetched)
        return MadeRow(FILE, row, SourceDocument(FILE, file.path, "", "", uri=file.uri, page=page))
