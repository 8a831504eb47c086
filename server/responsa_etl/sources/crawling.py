"""Reads the pages of websites: those of a list and of sitemaps, as robots.txt allows (RFC 9309), and only those that
have changed (conditional requests, RFC 9110, section 13).

A page's identity is its canonical address: the address that answers after redirects, or what the page itself names as
canonical if that has the same origin and is not listed as a page of its own. So no page can take the place of a listed
one, or of one of another site.
"""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncGenerator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING, Final

import httpx2

from responsa_etl.domain import (
    MAX_KEY_BYTES,
    PAGE,
    DatabaseFault,
    MadeRow,
    SourceDocument,
    SourcePage,
    StoredDocument,
    WebConnection,
)
from responsa_etl.sources.budget import Budget, BudgetSpent
from responsa_etl.sources.listings import LISTING_BYTES, ListedEntry, ListingProblem
from responsa_etl.sources.mapping import MappedPages, SourceMapping, sites_of
from responsa_etl.sources.reading import unreadable
from responsa_etl.sources.sandbox import SourceSandbox, SourceSandboxes
from responsa_server.domain.errors import InvalidRequest
from responsa_server.domain.runs import DocumentKey, Fetched
from responsa_server.ingest.formats import FORMATS
from responsa_server.outbound.addresses import OutboundError, UrlOrigin, origin_of, read_allowed
from responsa_server.outbound.connector import (
    USER_AGENT,
    Connector,
    ForbiddenRequest,
    Outgoing,
    ReachableHosts,
    Reply,
    Times,
    TooLarge,
    Unreadable,
)

if TYPE_CHECKING:
    # At run time, it is imported with the first website: a server without the extra etl reads none.
    from protego import Protego

_ROBOTS_BYTES: Final = 512 * 1024
_MOST_REDIRECTS: Final = 5
_MOST_SITEMAPS: Final = 500
_ADDRESS_BYTES: Final = 2048
"""The limit of an address in a sitemap, by its protocol."""
_MOST_DELAY: Final = 60.0
# After so many pages in succession that did not answer, the site is taken for down, and the run changes nothing.
_MOST_DOWN: Final = 10
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_GONE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_DOWN: Final = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
_HEAD_BYTES: Final = 64 * 1024
_LINK: Final = re.compile(rb"<link\b[^<>]{0,2000}>", re.IGNORECASE)
_CANONICAL: Final = re.compile(rb"\brel\s{0,9}=\s{0,9}[\"']?canonical\b", re.IGNORECASE)
_HREF: Final = re.compile(
    rb"\bhref\s{0,9}=\s{0,9}(?:\"([^\"]{0,2000})\"|'([^']{0,2000})'|([^\s>]{1,2000}))", re.IGNORECASE
)


class _PageProblem(Exception):
    """A page that cannot be read. gone: whether the site says that there is none. down: whether the site seems to be
    down. fault: of a run that needs the answer, such as that of a sitemap. status: of the answer; 0 if there is none,
    or another reason."""

    def __init__(
        self,
        message: str,
        *,
        gone: bool = False,
        down: bool = False,
        fault: DatabaseFault = DatabaseFault.QUERY,
        status: int = 0,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.gone = gone
        self.down = down
        self.fault = fault


@dataclass(slots=True)
class _Host:
    """The pace of a host: one request at a time, and a pause after each."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    next_at: float = 0.0


@dataclass(frozen=True, slots=True)
class _CrawlResponse:
    """The answer to a request after redirects. address: the one that answered. reply: None if the page is unchanged."""

    address: str
    reply: Reply | None


class Crawler:
    """Reads websites. All reading with one object makes one request at a time to a host."""

    def __init__(self, connector: Connector, sandboxes: SourceSandboxes) -> None:
        self.sandboxes = sandboxes
        self._connector = connector
        self._hosts: dict[str, _Host] = {}

    async def pages(
        self,
        tenant_id: str,
        connection: WebConnection,
        mapping: SourceMapping,
        known: Mapping[DocumentKey, StoredDocument],
        only: Set[str] | None,
        budget: Budget,
    ) -> AsyncGenerator[MadeRow]:
        """Each page, with its document, that it is unchanged, or why it cannot be read.

        known: the documents of the source. only: the keys of pages to which a retry limits itself. Raises Precondition
        (SOURCE_UNREADABLE); BudgetSpent, after the pages that were listed until then.
        """
        crawl = _Crawl(self, self.sandboxes.of(tenant_id), connection, mapping, budget)
        listed, spent = list[str](), None
        try:
            async for address in crawl.list_pages():
                if len(listed) == connection.pages:
                    raise BudgetSpent(f"{connection.pages:,} pages, the limit `pages` of the connection")
                listed.append(address)
        except BudgetSpent as error:
            spent = error
        before = {
            document.fetched.listed: (at.key, document)
            for at, document in known.items()
            if document.fetched is not None and at.kind == PAGE
        }
        if only is not None:
            for address, (key, _) in before.items():
                if address in crawl.addresses and only.isdisjoint((key, address)):
                    crawl.first(key)  # the document of a page that is not read again stays its own
        down = 0
        for address in listed:
            key, stored = before.get(address, (address, None))
            if only is not None and only.isdisjoint((key, address)):
                continue
            row = await crawl.page(address, key, stored)
            down = down + 1 if crawl.down else 0
            if down >= _MOST_DOWN and row is not None:
                message = (
                    f"{_MOST_DOWN} pages in succession did not answer. The last one, {address}: {row.problem}"
                )
                raise unreadable(connection.name, PAGE, DatabaseFault.UNREACHABLE, message)
            if row is not None:
                yield row
        if spent is not None:
            raise spent

    async def preview(
        self, tenant_id: str, connection: WebConnection, mapping: SourceMapping, limit: int, budget: Budget
    ) -> AsyncGenerator[MadeRow]:
        """The first pages with their titles and texts. Raises as `pages`."""
        sandbox, shown = self.sandboxes.of(tenant_id), 0
        crawl = _Crawl(self, sandbox, connection, mapping, budget)
        async for address in crawl.list_pages():
            row = await crawl.page(address, address, None)
            if row is None:
                continue
            document = row.document
            if document is not None and document.page is not None:
                page = document.page
                try:
                    title, text = await sandbox.page(page.data, document.source_key(""), page.media_type)
                    row = replace(row, document=replace(document, title=title or document.key, text=text))
                except InvalidRequest as error:
                    row = replace(row, problem=error.message)
            yield row
            shown += 1
            if shown == limit:
                return

    async def fetch(
        self, host: str, delay: float, reach: ReachableHosts, outgoing: Outgoing, times: Times, limit: int
    ) -> Reply:
        """Make a request when it is the caller's turn at the host. Afterwards nobody makes one there for the delay, in
        seconds. Otherwise as `Connector.fetch`."""
        pace = self._hosts.setdefault(host, _Host())
        async with pace.lock:
            await asyncio.sleep(max(0.0, pace.next_at - monotonic()))
            try:
                return await self._connector.fetch(reach, outgoing, times, limit)
            finally:
                pace.next_at = monotonic() + delay


class _Crawl:
    """One reading of the pages of a mapping. addresses: of the pages that have been listed so far. down: whether the
    last page did not answer."""

    def __init__(
        self,
        crawler: Crawler,
        sandbox: SourceSandbox,
        connection: WebConnection,
        mapping: SourceMapping,
        budget: Budget,
    ) -> None:
        assert mapping.pages is not None, "the mapping fits its connection"
        self._budget = budget
        self._crawler = crawler
        self._sandbox = sandbox
        self._connection = connection
        self._collection = mapping.collection
        self._table: MappedPages = mapping.pages
        self._sites = sites_of(connection)
        origins = frozenset(origin_of(site) for site in connection.sites)
        self._reach = ReachableHosts(origins, read_allowed(connection.allow_private))
        self._robots: dict[UrlOrigin, Protego] = {}
        self.addresses, self._pages = set[str](), set[str]()
        self.down = False

    async def list_pages(self) -> AsyncGenerator[str]:
        """The addresses of the pages, each once. Raises Precondition (SOURCE_UNREADABLE), BudgetSpent."""
        listed = self.addresses
        for address in self._table.addresses:
            if (normal_address := _normal(address)) not in listed:
                listed.add(normal_address)
                yield normal_address
        # In the order of reading; indexes add to it on the way.
        sitemaps = list(dict.fromkeys(_normal(address) for address in self._table.sitemaps))
        noted = set(sitemaps)
        limit = min(_MOST_SITEMAPS, self._budget.limits.requests // 2)  # the other half is for pages
        for number, address in enumerate(sitemaps):
            if number == limit:
                raise BudgetSpent(f"{limit} sitemaps")
            entries = await self._sitemap(address)
            await self._budget.spend(entries=len(entries))
            for entry in entries:
                if entry.is_folder and entry.path not in noted:
                    noted.add(entry.path)
                    sitemaps.append(entry.path)
                elif not entry.is_folder and entry.path not in listed:
                    listed.add(entry.path)
                    yield entry.path

    async def page(self, address: str, key: str, stored: StoredDocument | None) -> MadeRow | None:
        """What a page makes; None if it was made already. key: of its document, as far as it is known. stored: its
        document. Raises Precondition (SOURCE_UNREADABLE)."""
        row, self.down = {"address": address}, False
        if stored and stored.fetched and not self._may_name(stored.fetched.address, key):
            key, stored = address, None  # what it named as its own is listed by now
        try:
            result = await self._make_row(address, key, stored, row)
        except _PageProblem as problem:
            self.down = problem.down
            # A retry finds what is gone by its address alone, because there is no document any more. A listed page to
            # which the address led decides about its document itself.
            key = address if problem.gone or self._is_listed(key) else key
            result = MadeRow(PAGE, row, None, str(problem), key, gone=problem.gone)
        if result.gone:
            return result
        name = result.document.key if result.document else result.key
        if self.first(name):
            return result
        if result.problem or name == address or not self.first(address):
            return None
        message = f"The address leads to {name}, to which another address of this source has led already."
        return MadeRow(PAGE, row, None, message, address)

    def first(self, address: str) -> bool:
        """Whether an address is the first of its page. The schemes http and https make no difference, as in source keys."""
        bare = address.partition("://")[2]
        if bare in self._pages:
            return False
        self._pages.add(bare)
        return True

    async def _make_row(
        self, address: str, key: str, stored: StoredDocument | None, row: Mapping[str, object]
    ) -> MadeRow:
        if len(address.encode()) > MAX_KEY_BYTES:
            raise _PageProblem(f"The address has more than {MAX_KEY_BYTES} bytes.")
        answer = await self._get(address, self._connection.page_bytes, _conditional(stored, self._collection))
        if answer.reply is None:
            return MadeRow(PAGE, row, None, key=key, unchanged=True)
        reply = answer.reply
        if reply.media_type and FORMATS.with_media_type(reply.media_type) is None:
            raise _PageProblem(f"The page has the type {reply.media_type[:100]}, which cannot be read.")
        if not reply.body.strip():
            raise _PageProblem("The page is empty.")
        canonical = self._canonical(answer.address, reply)
        fetched = Fetched(
            address,
            answer.address,
            reply.headers.get("etag", ""),
            reply.headers.get("last-modified", ""),
            self._collection,
        )
        charset = f"; charset={reply.charset}" if reply.charset and reply.media_type else ""
        page = SourcePage(reply.body, reply.media_type + charset, fetched)
        return MadeRow(PAGE, row, SourceDocument(PAGE, canonical, "", "", uri=canonical, page=page))

    def _canonical(self, address: str, reply: Reply) -> str:
        """The address that the page names as its own, if it may; else the one that answered."""
        if reply.media_type not in _HTML:
            return address
        for link in _LINK.finditer(reply.body, 0, _HEAD_BYTES):
            href = _HREF.search(link[0]) if _CANONICAL.search(link[0]) else None
            if href is None:
                continue
            target = html.unescape((href[1] or href[2] or href[3] or b"").decode(errors="replace"))
            try:
                named = _normal(str(httpx2.URL(address).join(target.strip())))
                if self._may_name(address, named) and len(named.encode()) <= MAX_KEY_BYTES:
                    return named
            except (OutboundError, httpx2.InvalidURL, ValueError):
                continue
        return address

    def _may_name(self, address: str, named: str) -> bool:
        """Whether a page at an address may name another one as its own. Raises OutboundError if that is not an address."""
        bare = named.partition("://")[2]
        if bare == address.partition("://")[2]:
            return True
        return not self._is_listed(named) and origin_of(named) == origin_of(address)

    def _is_listed(self, address: str) -> bool:
        bare = address.partition("://")[2]
        return not self.addresses.isdisjoint((f"http://{bare}", f"https://{bare}"))

    async def _sitemap(self, address: str) -> Sequence[ListedEntry]:
        """The pages, and the sitemaps as folders, that a sitemap lists."""
        try:
            answer = await self._get(address, LISTING_BYTES, robots=False)
            assert answer.reply is not None, "the request was not conditional"
            await self._budget.spend(size=len(answer.reply.body))
            return await asyncio.to_thread(_normalise, await self._sandbox.listing(answer.reply.body))
        except ListingProblem as error:
            message, fault = f"The sitemap {address} {error}.", DatabaseFault.QUERY
        except _PageProblem as error:
            message, fault = f"The sitemap {address} cannot be read: {error}", error.fault
        raise unreadable(self._connection.name, PAGE, fault, message)

    async def _get(
        self,
        address: str,
        limit: int,
        conditional: tuple[str, Mapping[str, str]] = ("", {}),
        *,
        robots: bool = True,
    ) -> _CrawlResponse:
        """The answer to a request. conditional: the address to which a condition belongs, and its headers. Raises _PageProblem."""
        for _ in range(_MOST_REDIRECTS + 1):
            origin = self._on_site(address)
            delay = self._connection.delay
            if robots:
                rules = await self._rules(origin)
                if not rules.can_fetch(address, USER_AGENT):
                    raise _PageProblem("The site's robots.txt does not allow Responsa to read this page.")
                delay = max(delay, min(_MOST_DELAY, rules.crawl_delay(USER_AGENT) or 0.0))
            headers = conditional[1] if conditional[0] == address else dict[str, str]()
            reply = await self._request(origin, Outgoing("GET", address, headers), delay, limit)
            if reply.status == HTTPStatus.NOT_MODIFIED and headers:
                return _CrawlResponse(address, None)
            if reply.status not in _REDIRECTS:
                _check_status(reply.status)
                return _CrawlResponse(address, reply)
            try:
                address = _normal(str(httpx2.URL(address).join(reply.headers.get("location", ""))))
            except (httpx2.InvalidURL, ValueError):
                raise _PageProblem("The page redirects to something that is not an address.") from None
        raise _PageProblem(f"The page redirects more than {_MOST_REDIRECTS} times.")

    def _on_site(self, address: str) -> UrlOrigin:
        try:
            origin = origin_of(address)
        except OutboundError as error:
            raise _PageProblem(f"The address {address[:200]} cannot be read: {error}.") from None
        if str(origin) not in self._sites:
            message = f"{origin} is not a site of the connection; its owner can add it to `sites`."
            raise _PageProblem(message)
        return origin

    async def _rules(self, origin: UrlOrigin) -> Protego:
        """The rules of a site. A site whose rules cannot be read now must not be read at all; one without rules may be.
        Raises Precondition (SOURCE_UNREADABLE)."""
        if origin in self._robots:
            return self._robots[origin]
        try:
            answer = await self._get(f"{origin}/robots.txt", _ROBOTS_BYTES, robots=False)
            text = "" if answer.reply is None else _robots_text(answer.reply.body)
        except _PageProblem as error:
            # RFC 9309, section 2.3.1.3. Too many requests (429) have no status here.
            if error.status != HTTPStatus.NO_CONTENT and not 400 <= error.status < 500:
                message = f"{origin}/robots.txt, which says what may be read, cannot be read: {error}"
                raise unreadable(self._connection.name, PAGE, error.fault, message) from None
            text = ""
        from protego import Protego

        self._robots[origin] = await asyncio.to_thread(Protego.parse, text)
        return self._robots[origin]

    async def _request(self, origin: UrlOrigin, outgoing: Outgoing, delay: float, limit: int) -> Reply:
        """Make one request when it is the host's turn. Raises _PageProblem."""
        seconds = self._connection.seconds
        await self._budget.spend(requests=1)
        try:
            times = Times(all=seconds)
            return await self._crawler.fetch(origin.host, delay, self._reach, outgoing, times, limit)
        except ForbiddenRequest as error:
            problem = _PageProblem(f"Responsa may not read this address: {error}.")
        except TooLarge:
            message = f"The page has more than {limit:,} bytes, which the connection does not allow."
            problem = _PageProblem(message, fault=DatabaseFault.TOO_LARGE)
        except Unreadable as error:
            problem = _PageProblem(f"The page cannot be read: {error}.")
        except TimeoutError:
            problem = _down(f"The site did not answer within {seconds:g} s.")
        except httpx2.RequestError:
            problem = _down("The site cannot be reached, or the connection was lost.")
        raise problem


def _check_status(status: int) -> None:
    """Raises _PageProblem unless the status is that of a page."""
    if status == HTTPStatus.OK:
        return
    if status in _GONE:
        raise _PageProblem(f"The site has no such page (HTTP {status}).", gone=True, status=status)
    message = f"The site answered with the status {status}."
    if status in _DOWN:
        raise _down(message)
    fault = DatabaseFault.UNREACHABLE if status >= HTTPStatus.INTERNAL_SERVER_ERROR else DatabaseFault.QUERY
    raise _PageProblem(message, fault=fault, status=status)


def _robots_text(data: bytes) -> str:
    """Raises _PageProblem unless the bytes are text in UTF-8."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # UTF-16 may be valid UTF-8
        raise _PageProblem("It is not text in UTF-8.")
    return text


def _down(message: str) -> _PageProblem:
    return _PageProblem(message, down=True, fault=DatabaseFault.UNREACHABLE)


def _conditional(stored: StoredDocument | None, collection: str) -> tuple[str, Mapping[str, str]]:
    """The address and the headers of a condition, if the document is still as the run made it, in the same collection."""
    fetched = None if stored is None else stored.fetched
    if (
        stored is None
        or fetched is None
        or not stored.digest
        or stored.subject
        or fetched.collection != collection
    ):
        return "", {}
    headers = {"if-none-match": fetched.etag, "if-modified-since": fetched.modified}
    return fetched.address, {name: value for name, value in headers.items() if value}


def _normalise(entries: Sequence[ListedEntry]) -> Sequence[ListedEntry]:
    """The entries with addresses in their normal form, which escapes what is not ASCII. Raises ListingProblem."""
    entries = [replace(entry, path=_normal(entry.path)) for entry in entries]
    if any(len(entry.path.encode(errors="replace")) > _ADDRESS_BYTES for entry in entries):
        raise ListingProblem(
            f"lists an address with more than {_ADDRESS_BYTES:,} bytes, which sitemaps must not"
        )
    return entries


def _normal(address: str) -> str:
    """An address without its fragment, and with its host in lower case; unchanged if it is not an address."""
    try:
        url = httpx2.URL(address)
        return str(url.copy_with(fragment=None) if url.path else url.copy_with(fragment=None, path="/"))
    except (httpx2.InvalidURL, ValueError, TypeError):
        return address
