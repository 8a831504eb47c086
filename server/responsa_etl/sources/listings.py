"""Reads what servers of folders list: responses of WebDAV (RFC 4918) and of S3's ListObjectsV2. Pure.

Only the sandbox reads one (`LISTING`): XML is parsed by the interpreter's expat, which may be old.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final
from xml.parsers import expat

from pydantic import TypeAdapter, ValidationError

from responsa_formats.sandbox.computation import Computation, Write

LISTING_BYTES: Final = 32 << 20
"""The size limit of an answer."""
_ENTRIES: Final = frozenset({"response", "Contents"})
_FIELDS: Final[Mapping[str, str]] = {
    "href": "path",
    "Key": "path",
    "getetag": "tag",
    "ETag": "tag",
    "getlastmodified": "modified",
    "getcontentlength": "size",
    "Size": "size",
}
_MORE: Final = "NextContinuationToken"
_MOST_LEVELS: Final = 16


class ListingProblem(Exception):
    """An answer that is no listing."""


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """What a server lists. path: as the server writes it. is_folder: whether it is one. token: "" but in an entry
    without a path: the token of the next page."""

    path: str = ""
    tag: str = ""
    modified: str = ""
    size: int = 0
    is_folder: bool = False
    token: str = ""


_ENTRY: Final = TypeAdapter(ListedEntry)


def _pack(data: bytes, write: Write) -> None:
    """Write a line of JSON for each entry."""
    values, text, levels = dict[str, str](), list[str](), list[str]()

    def start(name: str, _: Mapping[str, str]) -> None:
        levels.append(name.rpartition(" ")[2])
        text.clear()
        if len(levels) > _MOST_LEVELS:
            raise ListingProblem
        if levels[-1] in _ENTRIES:
            values.clear()
        elif levels[-1] == "collection":
            values["is_folder"] = "1"

    def end(_: str) -> None:
        name, value = levels.pop(), "".join(text).strip()
        text.clear()
        if name in _FIELDS and value:  # a property that the server lacks is empty
            values.setdefault(_FIELDS[name], value)
        elif name == _MORE:
            write(_line(ListedEntry(token=value)))
        elif name in _ENTRIES and values.get("path"):
            size = values.get("size", "")
            write(
                _line(
                    ListedEntry(
                        values["path"],
                        values.get("tag", ""),
                        values.get("modified", ""),
                        int(size) if size.isdecimal() and len(size) < 19 else 0,
                        "is_folder" in values,
                    )
                )
            )

    def refuse(*_: object) -> None:
        raise ListingProblem

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ListingProblem, LookupError, ValueError):
        write(b"!\n")


def _line(entry: ListedEntry) -> bytes:
    return json.dumps(asdict(entry)).encode() + b"\n"


def unpack_listing(result: bytes) -> list[ListedEntry]:
    """The entries that `LISTING` has read. Nothing in the result is trusted. Raises ListingProblem."""
    try:
        return [_ENTRY.validate_json(line) for line in result.split(b"\n")[:-1]]
    except ValidationError:
        raise ListingProblem from None


LISTING: Final = Computation(
    _pack, b"<a><response><href>b</href><getcontentlength>1</getcontentlength></response></a>"
)
"""Reads a listing for `unpack_listing`."""
