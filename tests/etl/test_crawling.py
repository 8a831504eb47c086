"""Reading websites on a loopback server: sitemaps, robots.txt, and sites that misbehave."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from uuid import UUID

import pytest

from responsa_etl.domain import PAGE, MadeRow, StoredDocument, WebConnection
from responsa_etl.sources.budget import Budget, BudgetLimits, BudgetSpent
from responsa_etl.sources.crawling import Crawler
from responsa_etl.sources.mapping_text import read_mapping
from responsa_etl.sources.sandbox import SourceSandboxes
from responsa_formats.sandbox.pool import ParserPool
from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer
from responsa_server.domain.errors import Precondition
from responsa_server.domain.runs import DocumentKey, Fetched
from responsa_server.outbound.connector import Connector

HTML = {"content-type": "text/html"}


def listing(*addresses: str, kind: str = "urlset", inner: str = "url") -> bytes:
    return f"<{kind}>{''.join(f'<{inner}><loc>{one}</loc></{inner}>' for one in addresses)}</{kind}>".encode()


LIMITS = BudgetLimits(seconds=600, requests=2000, entries=10_000, size=1 << 30)


@dataclass
class Website:
    """A website. pages: the status and the body of each path; `{base}` in a body stands for its address. most: the most
    requests that it answered at the same time."""

    server: LoopbackServer = field(init=False)
    pages: dict[str, tuple[int, bytes]] = field(default_factory=dict[str, tuple[int, bytes]])
    parser: ParserPool = field(init=False)
    headers: Mapping[str, str] = field(default_factory=lambda: HTML)
    now: int = 0
    most: int = 0
    limits: BudgetLimits = LIMITS

    async def serve(self, exchange: LoopbackExchange) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        status, body = self.pages.get(exchange.request.path, (404, b""))
        self.now -= 1
        await exchange.reply(status, body.replace(b"{base}", self.server.url.encode()), self.headers)

    def connection(self, pages: int = 100) -> WebConnection:
        return WebConnection("web", ["acme"], [self.server.url], ["127.0.0.1"], delay=0, pages=pages)

    def crawler(self) -> Crawler:
        return Crawler(Connector(), SourceSandboxes(self.parser))

    async def crawl(
        self,
        pages: str,
        connection: WebConnection | None = None,
        crawler: Crawler | None = None,
        known: Mapping[DocumentKey, StoredDocument] | None = None,
        rows: list[MadeRow] | None = None,
    ) -> list[MadeRow]:
        """rows: gets what is read, also if this raises."""
        rows = [] if rows is None else rows
        text = f'connection = "web"\ncollection = "web"\npages = {{ {pages.replace("{base}", self.server.url)} }}'
        mapping, problems = read_mapping(text)
        assert mapping is not None, problems
        found = (crawler or self.crawler()).pages(
            "acme", connection or self.connection(), mapping, known or {}, None, Budget(self.limits)
        )
        async with aclosing(found):
            async for row in found:
                rows.append(row)
        return rows


@pytest.fixture
async def website(parser: ParserPool) -> AsyncIterator[Website]:
    one = Website()
    one.parser = parser
    one.server = LoopbackServer(one.serve)
    await one.server.start()
    yield one
    await one.server.close()


@pytest.mark.parametrize(
    ("pages", "fault", "said"),
    [
        ({}, "QUERY", "cannot be read: The site has no such page"),
        ({"/s": (503, b"")}, "UNREACHABLE", "the status 503"),
        ({"/s": (200, b"<urlset><url>")}, "QUERY", "is not valid XML"),
        ({"/s": (200, b"<html/>")}, "QUERY", "its first element is neither urlset nor sitemapindex"),
        ({"/s": (200, b'<!DOCTYPE a [<!ENTITY b "c">]><urlset/>')}, "QUERY", "document type declaration"),
        ({"/s": (200, gzip.compress(bytes(51 << 20)))}, "QUERY", "has more than 50 MiB unpacked"),
        ({"/s": (200, gzip.compress(b"<urlset/>")[:-4])}, "QUERY", "is cut off"),
        ({"/s": (200, b"<urlset>" + b"<a>" * 16)}, "QUERY", "more than 16 levels"),
        ({"/s": (200, b"<urlset>%s" % b"".join(b"<a%d/>" % n for n in range(1000)))}, "QUERY", "1,000 names"),
        ({"/s": (200, b"<urlset a='%s'/>" % (b"x" * (100 << 10)))}, "QUERY", "more than 64 KiB"),
        ({"/s": (200, listing("{base}/" + "a" * 2048))}, "QUERY", "more than 2,048 bytes"),
        ({"/s": (200, listing("{base}/" + "ä" * 500))}, "QUERY", "more than 2,048 bytes"),
        ({"/s": (200, listing("{base}/a")), "/robots.txt": (500, b"")}, "UNREACHABLE", "/robots.txt, which says"),
        ({"/s": (301, b"")}, "QUERY", "redirects more than 5 times"),
    ],
)  # fmt: skip
async def test_a_run_that_cannot_know_the_pages_of_a_site_ends(
    website: Website, pages: dict[str, tuple[int, bytes]], fault: str, said: str
) -> None:
    website.pages, website.headers = pages, {"content-type": "application/xml", "location": "/s"}
    with pytest.raises(Precondition, match="SOURCE_UNREADABLE") as caught:
        await website.crawl('sitemaps = ["{base}/s"]', website.connection(2))
    assert caught.value.metadata == {"connection": "web", "query": "page", "fault": fault}
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"),
    [
        (200, {"content-encoding": "gzip"}, b"x", "compressed"),
        (302, {"location": "http://elsewhere.example/robots.txt"}, b"", "is not a site of the connection"),
        (302, {"location": "/robots.txt"}, b"", "redirects more than 5 times"),
        (302, {"location": "http://a:b/"}, b"", "not an address"),
        (304, {}, b"", "the status 304"),
        (429, {}, b"", "the status 429"),
        (200, {}, "User-agent: *".encode("utf-16"), "not text in UTF-8"),
        (200, {}, "User-agent: *".encode("utf-16-le"), "not text in UTF-8"),
    ],
)
async def test_a_site_whose_robots_txt_cannot_be_read_is_not_read(
    website: Website, status: int, headers: Mapping[str, str], body: bytes, said: str
) -> None:
    website.pages, website.headers = {"/robots.txt": (status, body), "/a": (200, b"<p>A heron.</p>")}, headers
    with pytest.raises(Precondition, match=f"/robots.txt, which says .*{said}"):
        await website.crawl('addresses = ["{base}/a"]')


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (204, b"", ""),
        (403, b"", ""),
        (200, b"\xef\xbb\xbfUser-agent: *\nDisallow: /a", "The site's robots.txt does not allow"),
    ],
)
async def test_what_robots_txt_allows(website: Website, status: int, body: bytes, problem: str) -> None:
    website.pages = {"/robots.txt": (status, body), "/a": (200, b"<p>A heron.</p>")}
    [row] = await website.crawl('addresses = ["{base}/a"]')
    assert row.problem.startswith(problem)
    assert (row.document is None) == bool(problem)


async def test_a_site_that_answers_no_page_is_taken_for_down(website: Website) -> None:
    addresses = ", ".join(f'"{{base}}/{number}"' for number in range(11))
    website.pages = {f"/{number}": (503, b"") for number in range(11)}
    with pytest.raises(Precondition, match="10 pages in succession did not answer"):
        await website.crawl(f"addresses = [{addresses}]")
    website.pages["/5"] = (500, b"")  # it answers, though with an error
    assert len(await website.crawl(f"addresses = [{addresses}]")) == 11
    ten = ", ".join(f'"{{base}}/{number}"' for number in range(10))
    website.pages["/5"] = (503, b"")
    with pytest.raises(Precondition, match="/9:"):
        await website.crawl(f"addresses = [{ten}]")


async def test_a_host_gets_one_request_at_a_time_and_an_index_of_itself_ends(website: Website) -> None:
    website.pages = {f"/{number}": (200, b"<p>A heron.</p>") for number in range(5)}
    pages = listing(*(f"{{base}}/{number}" for number in range(5)))
    index = listing("{base}/s", "{base}/pages", kind="sitemapindex", inner="sitemap")
    website.pages |= {"/s": (200, index), "/pages": (200, pages)}
    crawler = website.crawler()
    both = await asyncio.gather(
        *(website.crawl('sitemaps = ["{base}/s"]', crawler=crawler) for _ in range(2))
    )
    assert [len(found) for found in both] == [5, 5]
    assert website.most == 1


@pytest.mark.parametrize(
    ("requests", "most", "said", "read"),
    [
        (20, 100, "10 sitemaps", 5),
        (20, 3, "3 pages", 3),
        (9, 100, "4 sitemaps", 2),
    ],
)
async def test_sitemaps_without_an_end_are_left_after_a_while_and_their_pages_are_read(
    website: Website, requests: int, most: int, said: str, read: int
) -> None:
    for number in range(20):
        index = listing(
            f"{{base}}/u{number}", f"{{base}}/s{number + 1}", kind="sitemapindex", inner="sitemap"
        )
        website.pages |= {f"/s{number}": (200, index), f"/u{number}": (200, listing(f"{{base}}/{number}"))}
        website.pages[f"/{number}"] = (200, b"<p>A heron.</p>")
    website.limits, rows = replace(website.limits, requests=requests), list[MadeRow]()
    with pytest.raises(BudgetSpent, match=f"^{said}"):
        await website.crawl('sitemaps = ["{base}/s0"]', website.connection(most), rows=rows)
    assert len(rows) == read


@pytest.mark.parametrize(
    ("head", "named"),
    [
        ("<link rel='canonical' href='/b?a=1&amp;b=2#c'>", "/b?a=1&b=2"),
        ("<LINK HREF=/b REL=canonical>", "/b"),
        ('<link rel="canonical" href="https://elsewhere.example/b">', "/a"),
        ('<link rel="canonical" href="http://[">', "/a"),
        ('<link rel="canonical" href="{other}/b">', "/a"),
        ('<link rel="canonical" href="/listed">', "/a"),
        ('<link rel="stylesheet" href="/b">', "/a"),
    ],
)
async def test_the_address_that_a_page_names_as_its_own_is_that_of_its_document(
    website: Website, head: str, named: str
) -> None:
    other = website.server.url.replace("127.0.0.1", "localhost")
    connection = replace(
        website.connection(), sites=[website.server.url, other], allow_private=["127.0.0.1", "localhost"]
    )
    website.pages = {
        "/a": (200, f"<head>{head.replace('{other}', other)}</head><p>A heron.</p>".encode()),
        "/listed": (200, b"<p>An ibis.</p>"),
    }
    row, listed = await website.crawl('addresses = ["{base}/a", "{base}/listed"]', connection)
    assert listed.document is not None
    assert row.document is not None
    assert (row.document.key, row.document.uri) == (website.server.url + named,) * 2
    assert row.document.source_key("book") == f"book/{website.server.url.removeprefix('http://')}{named}"


@pytest.mark.parametrize("status", [200, 304, 500])
async def test_a_page_gives_up_the_address_of_a_page_that_is_listed_by_now(
    website: Website, status: int
) -> None:
    base = website.server.url
    website.pages = {
        "/a": (status, b"<link rel='canonical' href='/b'><p>A heron.</p>"),
        "/b": (200, b"<p>An ibis.</p>"),
    }
    fetched = Fetched(f"{base}/a", f"{base}/a", '"1"', "", "web")
    known = {DocumentKey(PAGE, f"{base}/b"): StoredDocument(b"1", UUID(int=1), "", fetched=fetched)}
    rows = await website.crawl('addresses = ["{base}/a", "{base}/b"]', known=known)
    keys = [row.document.key if row.document else row.key for row in rows]
    assert (keys, rows[1].document is not None) == ([f"{base}/a", f"{base}/b"], True)
