"""The messages between the server, the zygote and parsing processes.

A control message is one JSON object in one packet of a SOCK_SEQPACKET pair. The packet of a job also carries the job's two descriptors.
A result is a binary frame on the job's own pipe. The document may have taken over the process that writes the frame, so
the reader trusts nothing in the frame and allocates memory only in proportion to the frame's size.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import IO, Literal, NamedTuple, cast

from responsa_server.confinement import SandboxCapabilities
from responsa_server.domain.documents import LeftOutKind
from responsa_server.domain.errors import DOCUMENT_REASONS, DocumentRejected, Reason
from responsa_server.ingest import rejections
from responsa_server.ingest.formats.sniff import CHARSETS
from responsa_server.text.canonical import (
    MAX_PATH_CHARS,
    MAX_TITLE_CHARS,
    BlockKind,
    ParsedDocument,
    Place,
    author_line,
    keyword_lines,
    language_tag,
)
from responsa_server.text.drawn import DrawnPage

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
DOCUMENT_FRAME, _REJECTED, _DRAWN = 0, 1, 2
_SECTION = struct.Struct("<Q")
# The kind, the level, the first and last byte, the length of the title; then the place: its form, its page, its box and
# the length of its path.
BLOCK_ROW = struct.Struct("<BBQQIBI4HI")
FRAME_SECTIONS = 14
"""The number of sections of a document's frame: title, language, format, text, blocks, titles, paths, author, date,
what was left out, the guessed character set, the number of pages read by OCR, keywords, where the body begins."""
_NO_PLACE, _NO_BOX, _BOX = range(3)
_WHOLE_PAGE = 1000
# The number of pages, the width and the height.
_DRAWN_PAGE = struct.Struct("<III")
_MAX_PAGE = _MAX_COUNT = 2**31 - 1
_KINDS = tuple(BlockKind)
_MAX_MESSAGE = 1000
_MAX_LEVEL = 255
_FORMAT = re.compile(r"[A-Z][A-Z0-9_]{0,39}\Z")
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
class Failed:
    """The zygote cannot parse documents and is about to end."""

    message: str


@dataclass(frozen=True, slots=True)
class JobEnded:
    """The process of a job has ended and is reaped. status: the wait status from waitpid(2). imported: the module that
    the zygote has imported for this process, because the last one lacked it; ''."""

    job: int
    status: int
    imported: str = ""


ControlMessage = Job | KillJob | SandboxCapabilities | Failed | JobEnded
"""A zygote sends SandboxCapabilities when it can start processes. This message describes the kernel's support for
confinement.
"""
_MESSAGES: dict[str, type[ControlMessage]] = {
    "parse": ParseJob,
    "draw": DrawJob,
    "compute": ComputeJob,
    "kill": KillJob,
    "ready": SandboxCapabilities,
    "failed": Failed,
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
        return failure if all(map(_FAILURE_NAME.match, names)) and 0 <= failure.line < _MAX_COUNT else None
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


def _sections(kind: Literal[0, 1, 2], *sections: bytes) -> bytes:
    lengths = b"".join(_SECTION.pack(len(section)) for section in sections)
    return b"".join((_MAGIC, bytes((kind, len(sections))), lengths, *sections))


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
            *_packed_place(block.place),
            len(path),
        )
        for block, title, path in zip(document.blocks, titles, paths, strict=True)
    )
    return _sections(
        DOCUMENT_FRAME,
        document.title.encode(),
        (document.language or "").encode(),
        document.format.encode(),
        document.canonical_text.encode(),
        blocks,
        b"".join(titles),
        b"".join(paths),
        document.author.encode(),
        document.date.isoformat().encode() if document.date else b"",
        " ".join(f"{kind} {count}" for kind, count in (left_out or {}).items() if count).encode(),
        guessed_charset.encode(),
        b"%d" % ocr_pages,
        "\n".join(document.keywords).encode(),
        b"%d" % document.body_start,
    )


def _packed_place(place: Place | None) -> tuple[int, int, int, int, int, int]:
    if place is None:
        return (_NO_PLACE, 0, 0, 0, 0, 0)
    if place.box is None:
        return (_NO_BOX, place.page, 0, 0, 0, 0)
    return (_BOX, place.page, *place.box)


def pack_rejection(rejected: DocumentRejected) -> bytes:
    """Encode a rejection as a frame: reason and message, without metadata."""
    message = rejected.message[:_MAX_MESSAGE].encode("utf-8", "replace")
    return _sections(_REJECTED, rejected.reason.value.encode(), message)


def unpack_rejection(frame: bytes) -> DocumentRejected:
    """Read the frame of a rejection. Raises ValueError, IndexError or struct.error if `pack_rejection` cannot have made it."""
    kind, sections = _split(frame)
    if kind != _REJECTED or len(sections) != 2:
        raise ValueError("unknown frame")
    return _rejection(sections)


def pack_drawn(page: DrawnPage) -> bytes:
    """Encode a drawn page as a frame."""
    return _sections(_DRAWN, _DRAWN_PAGE.pack(page.page_count, page.width, page.height), page.pixels)


def unpack_drawn(frame: bytes) -> DrawnPage:
    """Read a frame that may have been forged. Whatever the pixels are, they are only pixels.

    Raises the DocumentRejected that the frame holds, or DOCUMENT_MALFORMED if `pack_drawn` cannot have made the frame.
    """
    try:
        kind, sections = _split(frame)
        if kind == _DRAWN and len(sections) == 2:
            count, width, height = _DRAWN_PAGE.unpack(sections[0])
            return DrawnPage(count, width, height, bytes(sections[1]))
        rejected = unpack_rejection(frame)
    except (ValueError, IndexError, struct.error):
        # UnicodeDecodeError is a ValueError. The cause is dropped, because it would quote bytes that the document chose.
        raise rejections.malformed("The parser returned no usable image of this page.") from None
    raise rejected


def _split(frame: bytes) -> tuple[int, list[memoryview]]:
    kind, layout = frame_layout(frame, len(frame))
    return kind, [memoryview(frame)[place : place + size] for place, size in layout]


def _rejection(sections: list[memoryview]) -> DocumentRejected:
    reason, message = Reason(bytes(sections[0]).decode()), bytes(sections[1]).decode()
    if reason not in DOCUMENT_REASONS or len(message) > _MAX_MESSAGE or not message.isprintable():
        raise ValueError("not a rejection")
    return DocumentRejected(reason, message)


def _title(text: str) -> str:
    if len(text) > MAX_TITLE_CHARS or "\x00" in text or "\n" in text or "\r" in text:
        raise ValueError("not a title")
    return text


def check_author(data: bytes) -> str:
    """The author in a document's frame. Raises ValueError if `pack_result` cannot have written it."""
    text = data.decode()
    if author_line(text) != text:
        raise ValueError("not an author")
    return text


def check_date(data: bytes) -> datetime | None:
    """The date in a document's frame. Raises ValueError if `pack_result` cannot have written it."""
    text = data.decode()
    if not text:
        return None
    found = datetime.fromisoformat(text)
    if found.tzinfo is None or found.utcoffset() or found.isoformat() != text:
        raise ValueError("not a date in UTC")
    return found


def check_keywords(data: bytes) -> tuple[str, ...]:
    """The keywords in a document's frame. Raises ValueError if `pack_result` cannot have written them."""
    words = tuple(data.decode().split("\n")) if data else ()
    if keyword_lines(words) != words:
        raise ValueError("not keywords")
    return words


def check_left_out(data: bytes) -> Mapping[LeftOutKind, int]:
    """What was left out, in a document's frame. Raises ValueError if `pack_result` cannot have written it."""
    words = data.decode().split()
    counts = {LeftOutKind(kind): int(count) for kind, count in zip(words[::2], words[1::2], strict=True)}
    if not all(0 < count <= _MAX_COUNT for count in counts.values()):
        raise ValueError("not counts")
    return counts


def check_charset(data: bytes) -> str:
    """The guessed character set in a document's frame. Raises ValueError if `pack_result` cannot have written it."""
    text = data.decode()
    if text and text not in CHARSETS:
        raise ValueError("not a character set")
    return text


def check_ocr_pages(data: bytes) -> int:
    """The number of pages read by OCR, in a document's frame. Raises ValueError if `pack_result` cannot have written it."""
    count = int(data)
    if not 0 <= count <= _MAX_COUNT:
        raise ValueError("not a count")
    return count


def check_head(title: bytes, language: bytes, format_name: bytes) -> tuple[str, str | None, str]:
    """The first three sections of a document's frame. Raises ValueError if `pack_result` cannot have made them."""
    if not title:
        raise ValueError("no title")
    tag, name = language.decode(), format_name.decode()
    if tag and language_tag(tag) is None:
        raise ValueError("not a language tag")
    if not _FORMAT.match(name):
        raise ValueError("not the name of a format")
    return _title(title.decode()), tag or None, name


def frame_layout(head: bytes, length: int) -> tuple[int, Sequence[tuple[int, int]]]:
    """The kind of a frame, and the place and the length of each section. head: the frame's beginning. length: that of
    the frame. Raises ValueError, IndexError or struct.error if the lengths do not add up.
    """
    if head[: len(_MAGIC)] != _MAGIC:
        raise ValueError("no frame")
    kind, count = head[4], head[5]
    place = 6 + count * _SECTION.size
    sections: list[tuple[int, int]] = []
    for number in range(count):
        (size,) = _SECTION.unpack_from(head, 6 + number * _SECTION.size)
        sections.append((place, size))
        place += size
    if place != length:
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
        _KINDS[kind], level, start, end, _title(title.decode()), _place(form, page, box, path.decode())
    )


def _place(form: int, page: int, box: list[int], path: str) -> Place | None:
    left, top, right, bottom = box
    if form > _BOX or page > _MAX_PAGE or len(path) > MAX_PATH_CHARS or "\x00" in path:
        raise ValueError("not a place")
    if not (left <= right <= _WHOLE_PAGE and top <= bottom <= _WHOLE_PAGE):
        raise ValueError("not a box on a page")
    if form == _NO_PLACE:
        return None
    return Place(page, (left, top, right, bottom) if form == _BOX else None, path)
