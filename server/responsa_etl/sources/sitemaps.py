"""Reads sitemaps (https://www.sitemaps.org/protocol.html). Pure.

Only the sandbox reads one (`SITEMAP`): XML is parsed by the interpreter's expat, which may be old.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from responsa_formats.sandbox.computation import Computation, Write

SITEMAP_BYTES: Final = 50 << 20
"""The protocol's limit of a sitemap, compressed or not."""
ADDRESS_BYTES: Final = 2048
"""The protocol's limit of an address."""
LONG_ADDRESS: Final = f"lists an address with more than {ADDRESS_BYTES:,} bytes, which sitemaps must not"
"""The message about a longer one."""
_GZIP: Final = b"\x1f\x8b"
_MOST_ADDRESSES: Final = 50_000
"""The protocol's limit of the addresses in a sitemap."""
_ROOTS: Final = frozenset({"urlset", "sitemapindex"})
_PAGE: Final = ["urlset", "url", "loc"]
_SITEMAP: Final = ["sitemapindex", "sitemap", "loc"]
# Sitemaps with extensions have four levels, and a few dozen names. The parser keeps each level and each name in memory,
# and a tag until its end has arrived.
_MOST_LEVELS: Final = 16
_MOST_NAMES: Final = 1000
_MOST_TAG_BYTES: Final = 64 * 1024
_PROBLEM, _OF_PAGE, _OF_SITEMAP = b"!", b"p", b"s"
_LINES: Final = 1000
# After a refusal, the parser still goes through the rest of a piece.
_PIECE_BYTES: Final = 16 * 1024


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
        data = _unpack(data)
    sitemap, path, text = Sitemap(), list[str](), list[str]()
    names, size = set[str](), 0

    def note(*some: str | None) -> None:
        names.update(name or "" for name in some)
        if len(names) > _MOST_NAMES:
            raise SitemapProblem(f"has more than {_MOST_NAMES:,} names of elements and attributes")

    def start(name: str, attributes: Mapping[str, str]) -> None:
        nonlocal size
        local = name.rpartition(" ")[2]
        if not path and local not in _ROOTS:
            raise SitemapProblem("is not a sitemap: its first element is neither urlset nor sitemapindex")
        note(name, *attributes)
        path.append(local)
        if len(path) > _MOST_LEVELS:
            raise SitemapProblem(f"has more than {_MOST_LEVELS} levels of elements")
        text.clear()
        size = 0

    def characters(some: str) -> None:
        nonlocal size
        if path in (_PAGE, _SITEMAP):
            text.append(some)
            size += len(some.encode())
            if size > ADDRESS_BYTES:
                raise SitemapProblem(LONG_ADDRESS)

    def end(_: str) -> None:
        if path in (_PAGE, _SITEMAP) and (address := "".join(text).strip()):
            (sitemap.pages if path == _PAGE else sitemap.sitemaps).append(address)
        if len(sitemap.pages) + len(sitemap.sitemaps) > _MOST_ADDRESSES:
            raise SitemapProblem(f"lists more than {_MOST_ADDRESSES:,} addresses, which sitemaps must not")
        path.pop()

    def refuse(*_: object) -> None:
        raise SitemapProblem("has a document type declaration, which sitemaps never have")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartNamespaceDeclHandler = note
    parser.StartDoctypeDeclHandler = refuse
    try:
        for at in range(0, len(data), _PIECE_BYTES):
            parser.Parse(data[at : at + _PIECE_BYTES], False)
            if at - parser.CurrentByteIndex > _MOST_TAG_BYTES:
                raise SitemapProblem(f"has a tag or a comment with more than {_MOST_TAG_BYTES >> 10} KiB")
        parser.Parse(b"", True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise SitemapProblem(f"is not valid XML ({error})") from None
    return sitemap


def _unpack(data: bytes) -> bytes:
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        unpacked = unpacking.decompress(data, SITEMAP_BYTES + 1)
    except zlib.error:
        raise SitemapProblem("is damaged: gzip cannot unpack it") from None
    if len(unpacked) > SITEMAP_BYTES or not unpacking.eof:
        raise SitemapProblem(f"is cut off, or has more than {SITEMAP_BYTES >> 20} MiB unpacked")
    return unpacked


def _pack(data: bytes, write: Write) -> None:
    """Write a line for each address: a letter that says what it is of, and the address in JSON."""
    try:
        sitemap = read_sitemap(data)
    except SitemapProblem as problem:
        write(_PROBLEM + json.dumps(str(problem)).encode())
        return
    for letter, addresses in ((_OF_PAGE, sitemap.pages), (_OF_SITEMAP, sitemap.sitemaps)):
        for start in range(0, len(addresses), _LINES):
            some = addresses[start : start + _LINES]
            write(b"".join(letter + json.dumps(url, ensure_ascii=False).encode() + b"\n" for url in some))


def unpack_sitemap(result: bytes) -> Sitemap:
    """The sitemap that `SITEMAP` has read. Nothing in the result is trusted. Raises SitemapProblem."""
    sitemap = Sitemap()
    try:
        if result.startswith(_PROBLEM):
            raise SitemapProblem(_text(result[1:]))
        if result.count(b"\n") > _MOST_ADDRESSES:
            raise ValueError("too many addresses")
        for line in result.split(b"\n")[:-1]:
            {_OF_PAGE: sitemap.pages, _OF_SITEMAP: sitemap.sitemaps}[line[:1]].append(_text(line[1:]))
    except (ValueError, KeyError):
        raise SitemapProblem("cannot be read") from None
    return sitemap


def _text(line: bytes) -> str:
    """Raises ValueError if the line is not a short text in JSON."""
    # Each byte of an address may be escaped.
    if not line.startswith(b'"') or len(line) > 8 * ADDRESS_BYTES:
        raise ValueError("no text")
    return str(json.loads(line))


SITEMAP: Final = Computation(_pack, b"<urlset xmlns='a'><url><loc>b\xc3\xa4</loc></url></urlset>")
"""Reads a sitemap for `unpack_sitemap`."""
