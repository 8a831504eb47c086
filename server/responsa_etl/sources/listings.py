"""Reads what servers list: sitemaps (https://www.sitemaps.org/protocol.html), responses of WebDAV (RFC 4918) and of
S3's ListObjectsV2. Pure.

Only the sandbox reads one (`LISTING`): XML is parsed by the interpreter's expat, which may be old.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final
from xml.parsers import expat

from pydantic import Field, TypeAdapter

from responsa_formats.sandbox.computation import Computation, Write

LISTING_BYTES: Final = 50 << 20
"""The size limit of an answer, compressed or not: that of a sitemap."""
_GZIP: Final = b"\x1f\x8b"
_ROOTS: Final = frozenset({"urlset", "sitemapindex", "multistatus", "ListBucketResult"})
_ENTRIES: Final = frozenset({"url", "sitemap", "response", "Contents"})
_PATHS: Final = frozenset({"loc", "href", "Key"})
_PATH_LEVEL: Final = 3
_FIELDS: Final[Mapping[str, str]] = {
    "getetag": "tag",
    "ETag": "tag",
    "getlastmodified": "modified",
    "getcontentlength": "size",
    "Size": "size",
}
_MORE: Final = "NextContinuationToken"
# Listings with extensions have few levels, and a few dozen names. The parser keeps each level and each name in memory,
# and a tag until its end has arrived.
_MOST_LEVELS: Final = 16
_MOST_NAMES: Final = 1000
_MOST_TAG_BYTES: Final = 64 * 1024
_MOST_ENTRIES: Final = 200_000
# After a refusal, the parser still goes through the rest of a piece.
_PIECE_BYTES: Final = 16 * 1024


class ListingProblem(Exception):
    """An answer that is no listing. The message is a clause without a full stop."""


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """What a server lists. path: as the server writes it; the address of a page or a sitemap. is_folder: whether it is a
    folder or a sitemap. token: "" but in an entry without a path: the token of the next page. problem: "" but in the
    last entry of what is no listing: the message of `ListingProblem`."""

    path: str = ""
    tag: str = ""
    modified: str = ""
    size: int = 0
    is_folder: bool = False
    token: str = ""
    problem: Annotated[str, Field(max_length=1000)] = ""


_ENTRY: Final = TypeAdapter(ListedEntry)


def _read(data: bytes, write: Callable[[ListedEntry], None]) -> None:
    """Write each entry. Raises ListingProblem."""
    values, text, levels, names = dict[str, str](), list[str](), list[str](), set[str]()

    def note(*some: str | None) -> None:
        names.update(name or "" for name in some)
        if len(names) > _MOST_NAMES:
            raise ListingProblem(f"has more than {_MOST_NAMES:,} names of elements and attributes")

    def start(name: str, attributes: Mapping[str, str]) -> None:
        local = name.rpartition(" ")[2]
        if not levels and local not in _ROOTS:
            raise ListingProblem("is none of its kind: its first element is neither urlset nor sitemapindex")
        note(name, *attributes)
        levels.append(local)
        text.clear()
        if len(levels) > _MOST_LEVELS:
            raise ListingProblem(f"has more than {_MOST_LEVELS} levels of elements")
        if local in _ENTRIES:
            values.clear()
        elif local == "collection":
            values["is_folder"] = "1"

    def end(_: str) -> None:
        name, value = levels.pop(), "".join(text).strip()
        text.clear()
        if name in _PATHS and len(levels) + 1 == _PATH_LEVEL:
            values["path"] = value
        elif name in _FIELDS and value:  # a property that the server lacks is empty
            values.setdefault(_FIELDS[name], value)
        elif name == _MORE:
            write(ListedEntry(token=value))
        elif name in _ENTRIES and values.get("path"):
            size = values.get("size", "")
            number = int(size) if size.isdecimal() and len(size) < 19 else 0
            is_folder = "is_folder" in values or name == "sitemap"
            tag, modified = values.get("tag", ""), values.get("modified", "")
            write(ListedEntry(values["path"], tag, modified, number, is_folder))

    def refuse(*_: object) -> None:
        raise ListingProblem("has a document type declaration, which listings never have")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.StartNamespaceDeclHandler = note
    parser.StartDoctypeDeclHandler = refuse
    try:
        for at in range(0, len(data), _PIECE_BYTES):
            parser.Parse(data[at : at + _PIECE_BYTES], False)
            if at - parser.CurrentByteIndex > _MOST_TAG_BYTES:
                raise ListingProblem(f"has a tag or a comment with more than {_MOST_TAG_BYTES >> 10} KiB")
        parser.Parse(b"", True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise ListingProblem(f"is not valid XML ({error})") from None


def _unpack(data: bytes) -> bytes:
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        unpacked = unpacking.decompress(data, LISTING_BYTES + 1)
    except zlib.error:
        raise ListingProblem("is damaged: gzip cannot unpack it") from None
    if len(unpacked) > LISTING_BYTES or not unpacking.eof:
        raise ListingProblem(f"is cut off, or has more than {LISTING_BYTES >> 20} MiB unpacked")
    return unpacked


def _pack(data: bytes, write: Write) -> None:
    """Write a line of JSON for each entry."""
    count = 0

    def write_entry(entry: ListedEntry) -> None:
        nonlocal count
        count += 1
        if count > _MOST_ENTRIES:
            raise ListingProblem(f"lists more than {_MOST_ENTRIES:,} entries")
        write(_ENTRY.dump_json(entry, exclude_defaults=True) + b"\n")

    try:
        _read(_unpack(data) if data.startswith(_GZIP) else data, write_entry)
    except ListingProblem as problem:
        count = 0
        write_entry(ListedEntry(problem=str(problem)))


def unpack_listing(result: bytes) -> Sequence[ListedEntry]:
    """The entries that `LISTING` has read. Nothing in the result is trusted. Raises ListingProblem."""
    try:
        if result.count(b"\n") > _MOST_ENTRIES + 1:
            raise ValueError("too many entries")
        entries = [_ENTRY.validate_json(line) for line in result.split(b"\n")[:-1]]
    except ValueError:  # also that of pydantic
        raise ListingProblem("cannot be read") from None
    if entries and entries[-1].problem:
        raise ListingProblem(entries[-1].problem)
    return entries


LISTING: Final = Computation(
    _pack,
    b"<multistatus xmlns='a'><response><href>b\xc3\xa4</href><getcontentlength>1</getcontentlength></response></multistatus>",
)
"""Reads a listing for `unpack_listing`. It may be compressed with gzip."""
