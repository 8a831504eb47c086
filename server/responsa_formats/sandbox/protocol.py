"""The messages between the server, the zygote and parsing processes.

A control message is one JSON object in one packet of a SOCK_SEQPACKET pair. The packet of a job also carries the job's two descriptors.
A result is a frame on the job's own pipe: a JSON object, its head, and what is longer in sections of bytes. The document
may have taken over the process that writes the frame, so the reader trusts nothing in the frame (`parsed_file`).
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import IO, NamedTuple, cast

from responsa_formats.documents import LeftOutKind
from responsa_formats.rejections import Rejected
from responsa_formats.sandbox.confinement import SandboxCapabilities
from responsa_formats.text.canonical import (
    MAX_PATH_CHARS,
    MAX_TITLE_CHARS,
    BlockKind,
    ParsedDocument,
    Place,
)
from responsa_formats.text.drawn import DrawnPage

MAX_PACKET = 16 * 1024
OCR = "ocr"
"""The argument of a zygote whose processes read scanned pages."""
# The exit status of a process that could not confine itself and therefore did not read its document.
EXIT_UNCONFINED = 70
# The exit status of a process that had too little memory even to report its rejection.
EXIT_OUT_OF_MEMORY = 71
# The exit statuses of a process that failed, or was refused access. What it wrote ends with a `Failure`.
EXIT_FAILED, EXIT_REFUSED = 72, 73

_MAGIC = b"RSP1"
DOCUMENT_FRAME, REJECTED_FRAME, DRAWN_FRAME = 0, 1, 2
_SECTION = struct.Struct("<Q")
# The kind, the level, the first and last byte, the length of the title; then the place: its form, its page, its box and
# the length of its path.
BLOCK_ROW = struct.Struct("<BBQQIBI4HI")
_NO_PLACE, _NO_BOX, _BOX = range(3)
_WHOLE_PAGE = 1000
MAX_COUNT = 2**31 - 1
_KINDS = tuple(BlockKind)
MAX_MESSAGE = 1000
_MAX_LEVEL = 255
_FAILURE_NAME = re.compile(r"[\w.:<>]{0,200}\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one process does. format: the name of the document's format, '' if the process must decide it; of a
    computation, its "module:attribute". ParseLimits describes the limits. late_import: the module or the
    format that the job's last process lacked; ''. final: this process goes without what it lacks."""

    job: int = 0
    format: str
    memory_bytes: int = 0
    cpu_seconds: int = 0
    result_bytes: int = 0
    late_import: str = ""
    final: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseJob(Job):
    """One document."""

    name: str
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawJob(Job):
    """One page of a document to draw. page: the page's number, from 1. width: the wanted width in pixels."""

    page: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeJob(Job):
    """Bytes for a `Computation` of another package."""


@dataclass(frozen=True, slots=True)
class KillJob:
    """Stop the process of a job if it still runs."""

    job: int


@dataclass(frozen=True, slots=True)
class ZygoteFailed:
    """The zygote cannot parse documents and is about to end."""

    message: str


@dataclass(frozen=True, slots=True)
class JobEnded:
    """The process of a job has ended and is reaped. status: the wait status from waitpid(2). imported: the module that
    the zygote has imported for this process, because the last one lacked it; ''."""

    job: int
    status: int
    imported: str = ""


ControlMessage = Job | KillJob | SandboxCapabilities | ZygoteFailed | JobEnded
"""A zygote sends SandboxCapabilities when it can start processes. This message describes the kernel's support for
confinement.
"""
_MESSAGES: dict[str, type[ControlMessage]] = {
    "parse": ParseJob,
    "draw": DrawJob,
    "compute": ComputeJob,
    "kill": KillJob,
    "ready": SandboxCapabilities,
    "failed": ZygoteFailed,
    "ended": JobEnded,
}


class Failure(NamedTuple):
    """Why a process failed, without a text of the document or of a library. format: the document's format, or the
    computation; '' if it is not known. error: the type of the exception, or the signal. module, line: where it was
    raised. missing: the module or the format that must be loaded first; ''."""

    format: str
    error: str
    module: str = ""
    line: int = 0
    missing: str = ""


def pack_failure(failure: Failure) -> bytes:
    """Encode a failure as the end of what a process writes."""
    return b"\n" + json.dumps(failure).encode()


def take_failure(file: IO[bytes]) -> Failure | None:
    """Cut a failure off the end of what a process wrote; None if `pack_failure` cannot have made it. file: is at its
    end, before and after."""
    file.seek(max(0, file.tell() - MAX_PACKET))
    before, _, packed = file.read().rpartition(b"\n")
    file.seek(file.tell() - len(packed) - 1 if before else 0)
    file.truncate()
    try:
        failure = Failure(*json.loads(packed))
        names = (failure.format, failure.error, failure.module, failure.missing)
        return failure if all(map(_FAILURE_NAME.match, names)) and 0 <= failure.line < MAX_COUNT else None
    except (ValueError, TypeError):
        return None


def pack_message(message: ControlMessage) -> bytes:
    """Encode a message as one packet."""
    tag = next(tag for tag, kind in _MESSAGES.items() if type(message) is kind)
    return json.dumps({"is": tag, **asdict(message)}).encode()


def unpack_message(packet: bytes) -> ControlMessage:
    """Decode a packet of `pack_message`. Both ends are trusted."""
    values = cast("dict[str, object]", json.loads(packet))
    kind = _MESSAGES[cast("str", values.pop("is"))]
    return kind(**values)  # type: ignore[arg-type]  # written by pack_message from the same dataclass


def _pack_frame(kind: int, head: Mapping[str, object], *sections: bytes) -> bytes:
    parts = (json.dumps(head, ensure_ascii=False).encode("utf-8", "replace"), *sections)
    lengths = b"".join(_SECTION.pack(len(part)) for part in parts)
    return b"".join((_MAGIC, bytes((kind, len(parts))), lengths, *parts))


def pack_result(
    document: ParsedDocument,
    left_out: Mapping[LeftOutKind, int] | None = None,
    guessed_charset: str = "",
    ocr_pages: int = 0,
) -> bytes:
    """Encode a parsed document as a frame. A path longer than MAX_PATH_CHARS is cut. left_out, guessed_charset,
    ocr_pages: see `Original`."""
    titles = [block.title.encode() for block in document.blocks]
    paths = [block.place.path[:MAX_PATH_CHARS].encode() if block.place else b"" for block in document.blocks]
    blocks = b"".join(
        BLOCK_ROW.pack(
            _KINDS.index(block.kind),
            min(block.level, _MAX_LEVEL),
            block.byte_start,
            block.byte_end,
            len(title),
            *_pack_place(block.place),
            len(path),
        )
        for block, title, path in zip(document.blocks, titles, paths, strict=True)
    )
    head = {
        "title": document.title,
        "language": document.language,
        "format": document.format,
        "author": document.author,
        "date": document.date and document.date.isoformat(),
        "keywords": document.keywords,
        "body_start": document.body_start,
        "left_out": {kind: count for kind, count in (left_out or {}).items() if count},
        "guessed_charset": guessed_charset,
        "ocr_pages": ocr_pages,
    }
    text = document.canonical_text.encode()
    return _pack_frame(DOCUMENT_FRAME, head, text, blocks, b"".join(titles), b"".join(paths))


def _pack_place(place: Place | None) -> tuple[int, int, int, int, int, int]:
    if place is None:
        return (_NO_PLACE, 0, 0, 0, 0, 0)
    if place.box is None:
        return (_NO_BOX, place.page, 0, 0, 0, 0)
    return (_BOX, place.page, *place.box)


def pack_rejection(rejected: Rejected) -> bytes:
    """Encode a rejection as a frame: reason and message, without metadata."""
    return _pack_frame(REJECTED_FRAME, {"reason": rejected.reason, "message": rejected.message[:MAX_MESSAGE]})


def pack_drawn(page: DrawnPage) -> bytes:
    """Encode a drawn page as a frame."""
    head = {name: getattr(page, name) for name in ("page_count", "width", "height", "label")}
    return _pack_frame(DRAWN_FRAME, head, page.pixels)


def check_title(text: str) -> str:
    """A title on one line, as it is. Raises ValueError."""
    if len(text) > MAX_TITLE_CHARS or "\x00" in text or "\n" in text or "\r" in text:
        raise ValueError("not a title")
    return text


def frame_layout(head: bytes, length: int) -> tuple[int, Sequence[tuple[int, int]]]:
    """The kind of a frame, and the place and the length of each section. head: the frame's beginning. length: that of
    the frame. Raises ValueError, IndexError or struct.error if the lengths do not add up.
    """
    if head[: len(_MAGIC)] != _MAGIC:
        raise ValueError("no frame")
    kind, count = head[4], head[5]
    position = 6 + count * _SECTION.size
    sections: list[tuple[int, int]] = []
    for number in range(count):
        (size,) = _SECTION.unpack_from(head, 6 + number * _SECTION.size)
        sections.append((position, size))
        position += size
    if position != length:
        raise ValueError("lengths do not add up")
    return kind, sections


@dataclass(frozen=True, slots=True)
class BlockRow:
    """A block of a frame. start, end: its bytes in the text."""

    kind: BlockKind
    level: int
    start: int
    end: int
    title: str
    place: Place | None


def block_row(values: tuple[int, ...], title: bytes, path: bytes) -> BlockRow:
    """A row of the blocks, unpacked by BLOCK_ROW. Raises ValueError or IndexError if `pack_result` cannot have made it."""
    kind, level, start, end, _, form, page, *box, _ = values
    return BlockRow(
        _KINDS[kind], level, start, end, check_title(title.decode()), _place(form, page, box, path.decode())
    )


def _place(form: int, page: int, box: list[int], path: str) -> Place | None:
    left, top, right, bottom = box
    if form > _BOX or page > MAX_COUNT or len(path) > MAX_PATH_CHARS or "\x00" in path:
        raise ValueError("not a place")
    if not (left <= right <= _WHOLE_PAGE and top <= bottom <= _WHOLE_PAGE):
        raise ValueError("not a box on a page")
    if form == _NO_PLACE:
        return None
    return Place(page, (left, top, right, bottom) if form == _BOX else None, path)
