"""Reads sitemaps (https://www.sitemaps.org/protocol.html). Pure."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

SITEMAP_BYTES: Final = 50 << 20
"""The protocol's limit of a sitemap, compressed or not."""
_GZIP: Final = b"\x1f\x8b"
_MOST_ADDRESSES: Final = 50_000
"""The protocol's limit of the addresses in a sitemap."""
_ROOTS: Final = frozenset({"urlset", "sitemapindex"})


class SitemapProblem(Exception):
    """A file that is not a sitemap. The message is a clause without a full stop."""


@dataclass(slots=True)
class Sitemap:
    """The addresses that a sitemap lists. pages: of pages. sitemaps: of other sitemaps, if it is an index."""

    pages: list[str] = field(default_factory=list[str])
    sitemaps: list[str] = field(default_factory=list[str])


def read_sitemap(data: bytes) -> Sitemap:
    """The addresses in a sitemap or an index of sitemaps, which may be compressed with gzip. Raises SitemapProblem."""
    if data.startswith(_GZIP):
        data = _unpacked(data)
    found, path, text = Sitemap(), list[str](), list[str]()

    def start(name: str, _: object) -> None:
        local = name.rpartition(" ")[2]
        if not path and local not in _ROOTS:
            raise SitemapProblem("is not a sitemap: its first element is neither urlset nor sitemapindex")
        path.append(local)
        text.clear()

    def end(_: str) -> None:
        address = "".join(text).strip()
        match path:
            case ["urlset", "url", "loc"] if address:
                found.pages.append(address)
            case ["sitemapindex", "sitemap", "loc"] if address:
                found.sitemaps.append(address)
            case _:
                pass
        if len(found.pages) + len(found.sitemaps) > _MOST_ADDRESSES:
            raise SitemapProblem(f"lists more than {_MOST_ADDRESSES:,} addresses, which sitemaps must not")
        path.pop()

    def refuse(*_: object) -> None:
        raise SitemapProblem("has a document type declaration, which sitemaps never have")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise SitemapProblem(f"is not valid XML ({error})") from None
    return found


def _unpacked(data: bytes) -> bytes:
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        found = unpacking.decompress(data, SITEMAP_BYTES + 1)
    except zlib.error:
        raise SitemapProblem("is damaged: gzip cannot unpack it") from None
    if len(found) > SITEMAP_BYTES or not unpacking.eof:
        raise SitemapProblem(f"is cut off, or has more than {SITEMAP_BYTES >> 20} MiB unpacked")
    return found
