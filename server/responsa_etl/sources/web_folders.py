"""Folders behind HTTP: WebDAV (RFC 4918), such as those of Nextcloud, and buckets of S3's protocol.

Every request goes through the rules for outgoing connections, and follows no redirects. Listings are read in the sandbox.
"""

from __future__ import annotations

import hashlib
import hmac
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, unquote, urlsplit

import httpx2

from responsa_etl.domain import FILE, ConnectedFolder, DatabaseFault, FolderKind
from responsa_etl.sources.budget import Budget
from responsa_etl.sources.folders import (
    FolderFile,
    FolderProblem,
    UnreadableFile,
    UnreadableFolder,
    find_name_problem,
    is_hidden,
    is_wanted,
    not_reachable,
    origin_of_folder,
)
from responsa_etl.sources.listings import LISTING_BYTES, ListedEntry, ListingProblem
from responsa_etl.sources.sandbox import SourceSandbox, SourceSandboxes
from responsa_server.outbound.addresses import Allowed, UrlOrigin
from responsa_server.outbound.connector import (
    Connector,
    ForbiddenRequest,
    Outgoing,
    ReachableHosts,
    Reply,
    Times,
    TooLarge,
    Unreadable,
)

_TIMES: Final = Times(all=120.0)
_BROKEN: Final = (Unreadable, httpx2.ProtocolError, httpx2.ReadError)
"""How a server that is there fails to send one reply."""
_PROPERTIES: Final = (
    b'<?xml version="1.0"?><d:propfind xmlns:d="DAV:"><d:prop><d:resourcetype/><d:getetag/><d:getlastmodified/>'
    b"<d:getcontentlength/></d:prop></d:propfind>"
)
_EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()
_REGION: Final = "us-east-1"
_Fetch = Callable[[Outgoing, int], Awaitable[Reply]]


class WebFolders:
    """Opens folders behind HTTP. Implements `FolderOpener`."""

    def __init__(self, connector: Connector, allowed: Allowed, sandboxes: SourceSandboxes) -> None:
        """allowed: the addresses beyond the public ones."""
        self._connector = connector
        self._allowed = allowed
        self._sandboxes = sandboxes

    @asynccontextmanager
    async def __call__(
        self, tenant_id: str, folder: ConnectedFolder, budget: Budget
    ) -> AsyncGenerator[WebFolder]:
        """Raises FolderProblem."""
        origin = origin_of_folder(folder, self._allowed)
        reach = ReachableHosts(frozenset({origin}), self._allowed)

        async def fetch(outgoing: Outgoing, limit: int) -> Reply:
            await budget.spend(requests=1)
            return await self._connector.fetch(reach, outgoing, _TIMES, limit)

        kind = WebDavFolder if folder.kind is FolderKind.WEBDAV else S3Folder
        yield kind(folder, origin, fetch, self._sandboxes.of(tenant_id))


class WebFolder(ABC):
    """The base of folders behind HTTP. Implements `OpenFolder`."""

    def __init__(
        self, folder: ConnectedFolder, origin: UrlOrigin, fetch: _Fetch, sandbox: SourceSandbox
    ) -> None:
        self._folder = folder
        self._origin = origin
        self._fetch = fetch
        self._sandbox = sandbox
        self._path = urlsplit(folder.address).path.rstrip("/") + "/"

    @abstractmethod
    def list(self, budget: Budget) -> AsyncGenerator[FolderFile | UnreadableFolder]:
        """See `OpenFolder.list`."""

    @abstractmethod
    def _build(self, method: str, path: str, query: Mapping[str, str], body: bytes | None) -> Outgoing:
        """A request as the user. path: percent-encoded."""

    @abstractmethod
    def _path_of(self, file: FolderFile) -> str:
        """The percent-encoded path of a file on the server."""

    async def read(self, file: FolderFile, limit: int) -> bytes:
        """See `OpenFolder.read`."""
        try:
            reply = await self._ask("GET", self._path_of(file), {}, limit + 1)
        except TooLarge:
            return b"\0" * (limit + 1)
        except _BROKEN:
            raise UnreadableFile("The server did not send the file as it announced it.") from None
        if reply.status != HTTPStatus.OK:
            raise UnreadableFile(f"The server answered with the status {reply.status}.")
        return reply.body

    async def _ask(
        self, method: str, path: str, query: Mapping[str, str], limit: int, body: bytes | None = None
    ) -> Reply:
        """Make a request. Raises TooLarge, FolderProblem, and those of _BROKEN."""
        host = self._origin.host
        try:
            return await self._fetch(self._build(method, path, query, body), limit)
        except ForbiddenRequest:
            raise not_reachable(host) from None
        except (TooLarge, *_BROKEN):
            raise
        except (httpx2.RequestError, TimeoutError):
            message = f"{host} cannot be reached, or did not answer in time."
            raise FolderProblem(DatabaseFault.UNREACHABLE, "address", message) from None

    async def _entries(
        self, budget: Budget, method: str, path: str, query: Mapping[str, str], body: bytes | None = None
    ) -> Sequence[ListedEntry]:
        """What the server lists. Raises FolderProblem, BudgetSpent."""
        host = self._origin.host
        try:
            reply = await self._ask(method, path, query, LISTING_BYTES, body)
            if reply.status in (HTTPStatus.OK, HTTPStatus.MULTI_STATUS):
                await budget.spend(size=len(reply.body))
                entries = await self._sandbox.listing(reply.body)
                await budget.spend(entries=len(entries))
                return entries
        except (TooLarge, ListingProblem, *_BROKEN):
            message = f"{host} does not answer as a server of such folders does. Check the address."
            raise FolderProblem(DatabaseFault.QUERY, "address", message) from None
        if reply.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            message = f"{host} refuses the user or the password. Paste the password again."
            if not self._folder.password:
                message = f"{host} needs a user and a password."
            raise FolderProblem(DatabaseFault.LOGIN, "password", message)
        message = f"{host} has no such folder, or it is elsewhere (HTTP {reply.status}). Check the address."
        if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise FolderProblem(DatabaseFault.UNREACHABLE, "address", f"{host} fails (HTTP {reply.status}).")
        raise FolderProblem(DatabaseFault.QUERY, "address", message)


class WebDavFolder(WebFolder):
    """A collection of WebDAV. The folders below are listed one by one, because many servers refuse to list all at once."""

    async def list(self, budget: Budget) -> AsyncGenerator[FolderFile | UnreadableFolder]:
        """See `OpenFolder.list`."""
        folders = [""]
        while folders:
            below = folders.pop()
            address = self._path + quote(below, safe="/~")
            for entry in await self._entries(budget, "PROPFIND", address, {}, _PROPERTIES):
                name = self._name(entry, below)
                path = below + name.replace("/", "\0")  # within a name, it divides nothing
                if entry.is_folder:
                    if not name or is_hidden(name):
                        continue
                    if problem := find_name_problem(FILE, path):
                        yield UnreadableFolder(path, problem)
                    else:
                        folders.append(f"{path}/")
                elif is_wanted(name):
                    file = FolderFile(path, f"{entry.tag or entry.modified}-{entry.size}", entry.size)
                    yield replace(file, uri=f"{self._origin}{self._path_of(file)}")

    def _name(self, entry: ListedEntry, below: str) -> str:
        """The name of an entry of a folder; "" for the folder itself and for what lies elsewhere."""
        path = urlsplit(entry.path).path
        parent, _, name = path.rstrip("/").rpartition("/")
        if _unquote(f"{parent}/") != unquote(self._path) + below:
            return ""
        return _unquote(name)

    def _build(self, method: str, path: str, query: Mapping[str, str], body: bytes | None) -> Outgoing:
        headers = {"depth": "1", "content-type": "application/xml"} if body else dict[str, str]()
        if self._folder.password:
            login = b64encode(f"{self._folder.user}:{self._folder.password}".encode()).decode()
            headers["authorization"] = f"Basic {login}"
        return Outgoing(method, f"{self._origin}{path}", headers, body)

    def _path_of(self, file: FolderFile) -> str:
        return self._path + quote(file.path, safe="/~", errors="replace")


class S3Folder(WebFolder):
    """A bucket, or what is below a prefix of it: `https://ENDPOINT/BUCKET/PREFIX`. Requests are signed (AWS Signature
    Version 4) if there is a user, who is an access key."""

    async def list(self, budget: Budget) -> AsyncGenerator[FolderFile | UnreadableFolder]:
        """See `OpenFolder.list`."""
        bucket, _, prefix = unquote(self._path).strip("/").partition("/")
        prefix, token = f"{prefix}/" if prefix else "", ""
        while True:
            query = {"list-type": "2", "prefix": prefix}
            if token:
                query["continuation-token"] = token
            token = ""
            for entry in await self._entries(budget, "GET", f"/{quote(bucket)}", query):
                token = token or entry.token
                path = entry.path.removeprefix(prefix)
                if entry.path.startswith(prefix) and is_wanted(path):
                    yield FolderFile(path, entry.tag, entry.size)
            if not token:
                return

    def _path_of(self, file: FolderFile) -> str:
        return quote(unquote(self._path) + file.path, safe="/~")

    def _build(self, method: str, path: str, query: Mapping[str, str], body: bytes | None) -> Outgoing:
        query_string = "&".join(f"{name}={quote(value, safe='~')}" for name, value in sorted(query.items()))
        url = f"{self._origin}{path}" + (f"?{query_string}" if query_string else "")
        headers = {"x-amz-content-sha256": _EMPTY_SHA256, "x-amz-date": f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"}
        if self._folder.password:
            headers["authorization"] = self._sign(method, path, query_string, headers)
        return Outgoing(method, url, headers)

    def _sign(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> str:
        """The header of a request without a body; see "Signature Version 4 signing process" of AWS."""
        signed = {"host": str(self._origin).partition("://")[2], **headers}
        names, moment = ";".join(sorted(signed)), headers["x-amz-date"]
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        request = "\n".join((method, path, query, lines, names, _EMPTY_SHA256))
        scope = f"{moment[:8]}/{self._folder.region or _REGION}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = f"AWS4{self._folder.password}".encode()
        for part in (*scope.split("/"), text):
            key = hmac.digest(key, part.encode(), "sha256")
        credential = f"{self._folder.user}/{scope}"
        return f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={key.hex()}"


def _unquote(path: str) -> str:
    """A path without its percent signs; what is not UTF-8 becomes lone surrogates."""
    return unquote(path, errors="surrogateescape")
