"""The canonical text of a document and its structure.

Every byte range, quote and hash of the project refers to the UTF-8 bytes of this text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Final

from responsa_formats.rejections import Rejected

MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
"""The English names. Those of the standard library depend on the locale."""
DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
"""The English names, in the order of `date.weekday`."""

QUOTED: Final = "quoted message"
"""The path of what a message quotes, which is not its own."""
_MOST_CHARS: Final = 64
# The dates of ISO 8601 and RFC 3339, from a year to fractions of a second, and those of PDF (ISO 32000-1, 7.9.4), such
# as D:20260131120000+01'00'.
_DATE: Final = re.compile(
    r"(?:D:)?(\d{4})(?:[-/.]?(\d\d)(?:[-/.]?(\d\d)(?:[T ]?(\d\d):?(\d\d)(?::?(\d\d)(?:[.,]\d+)?)?)?)?)?"
    r"\s*(?:(Z)|([+-])(\d\d)[:']?(\d\d)?'?)?(?:Z?00'00'?)?\Z"
)


def parse_date(text: str) -> datetime | None:
    """The date that a text states, in UTC; None if the text is not a date from the year 1 on.

    A date without a month or a day is the first of its year or month, and a time without an offset is taken as UTC.
    """
    match = _DATE.match(text.strip()[:_MOST_CHARS])
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or "0") for part in match.groups()[:6])
    _, sign, hours, minutes = match.groups()[6:]
    offset = timedelta(hours=int(hours or "0"), minutes=int(minutes or "0"))
    try:
        zone = timezone(-offset if sign == "-" else offset)
        return datetime(year, month or 1, day or 1, hour, minute, min(second, 59), tzinfo=zone).astimezone(
            UTC
        )
    except (ValueError, OverflowError):
        return None


MAX_TITLE_CHARS = 300
MAX_AUTHOR_BYTES = 255
MAX_KEYWORDS = 10
MAX_KEYWORD_CHARS = 64
MAX_PATH_CHARS = 200
MAX_BLOCKS = 1_000_000
_LINE = re.compile(r"[^\r\n]+")
# What programs write if nobody has named a document, or its file's name.
_GENERATED_TITLE: Final = re.compile(
    r"untitled.*|unbenannt ?\d*|\(?anonymous\)?|unknown|(?:word )?(?:document|dokument|presentation|book) ?\d*|"
    r"powerpoint presentation|microsoft \w+ - .*|"
    r".*\.(?:docx?|indd|tex|dvi|pdf|html?|odt|rtf|xlsx?|pptx?)",
    re.IGNORECASE,
)
_LOWER, _UPPER = "[^\\W\\d_A-ZÀ-Þ]", "[A-ZÀ-Þ]"
# Names such as T-12, X200, utf8 and e-mail are words.
_BETWEEN_WORDS: Final = re.compile(
    rf"_+|(?<!^\w)(?:(?<=[^\W\dA-Z])-+|(?<!-)-+(?=[^\W\d]))|(?<=\w)(?=\()|(?<=\d)(?={_UPPER}{_LOWER}{{2}})"
    rf"|(?<={_LOWER}{{4}})(?=\d)|(?<={_LOWER}{{2}})(?=(?:19|20)\d\d(?!\d))"
)
_HUMPS: Final = re.compile(
    rf"(?<={_LOWER}{{2}})(?={_UPPER}(?:{_LOWER}|{_UPPER}|\d))|(?<={_UPPER}{{2}})(?={_UPPER}{_LOWER}{{2}})"
)
"""Between the words of a name that nothing else parts. Elsewhere, they are those of a word such as GitHub."""
_UNSEEN = re.compile(r"<!--.*?(?:-->|\Z)|</?[A-Za-z][^<>]*>")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}\Z")


class BlockKind(StrEnum):
    """The kind of a part of the canonical text."""

    HEADING = "HEADING"
    PARAGRAPH = "PARAGRAPH"
    LIST_ITEM = "LIST_ITEM"
    CODE = "CODE"
    TABLE = "TABLE"
    QUOTE = "QUOTE"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block stands in the original file.

    page: the number of the page, slide or sheet, from 1; 0 if the format has no pages. box: the left, top, right and
    bottom edge of the block on its page, in thousandths of the page's width and height, from the top left corner; None
    if unknown. path: the place inside an office or data file, such as "Sheet2!A4:C4"; with a box, the label that the file
    gives to the page, such as "iii"; '' if there is none.
    """

    page: int = 0
    box: tuple[int, int, int, int] | None = None
    path: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a document: the bytes [byte_start, byte_end) of the canonical text in UTF-8.

    `level` is 1 to 6 for headings, the nesting depth (from 1) for list items and quotes, and 0 for all other kinds.
    `title` is a heading's text without markup, and '' for all other kinds. `place` is None if the format keeps no places.
    `quotes` is the number of quotations that it is within, if a parser says so to the one around it; no frame carries it.
    """

    kind: BlockKind
    byte_start: int
    byte_end: int
    level: int = 0
    title: str = ""
    place: Place | None = None
    quotes: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """Canonical text with its blocks. The blocks are in order, do not overlap, and begin and end between code points.

    Blocks need not cover the whole text: blank lines and metadata at the top belong to no block. `title` has 1 to 300
    characters on one line. `language` is the BCP 47 tag that the document states, or None. The text contains neither
    U+0000 nor lone surrogates. `format` is the name of a row in the table of formats. `author` is the author whom the
    document names, on one line and in at most 255 bytes, or ''. `date` is the date that the document states, in UTC, or
    None. `keywords` are those that it states, each on one line and in 1 to 64 characters, at most 10. Before the byte
    `body_start` stand only statements about the document, such as the front matter of Markdown: no passage has them.
    """

    title: str
    canonical_text: str
    blocks: tuple[Block, ...]
    language: str | None
    format: str
    author: str = ""
    date: datetime | None = None
    keywords: tuple[str, ...] = ()
    body_start: int = 0


def language_tag(text: str) -> str | None:
    """Return the text if it has the form of a BCP 47 language tag, otherwise None."""
    return text if _LANGUAGE.match(text) else None


class BlockCollector:
    """Collects blocks in the order of their offsets. If a block overlaps the previous block, the later block loses the
    overlap.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[BlockKind, int, int, int, str, Place | None, int]] = []
        self._end = 0

    def add(
        self,
        kind: BlockKind,
        start: int,
        end: int,
        level: int = 0,
        title: str = "",
        place: Place | None = None,
        quotes: int = 0,
    ) -> None:
        """Append the characters [start, end) as a block, unless earlier blocks already cover all of them.

        Raises Rejected (PARSER_LIMIT) beyond MAX_BLOCKS blocks.
        """
        start = max(start, self._end)
        if start >= end:
            return
        if len(self._rows) >= MAX_BLOCKS:
            raise Rejected.as_over_limit(f"The document has more than {MAX_BLOCKS:,} paragraphs.")
        self._rows.append((kind, start, end, level, title, place, quotes))
        self._end = end

    def _find_opening(self, running: int) -> str:
        """Return the title of the heading of the first level that is the first block, or ''. running: as in `document`."""
        first = next((row for row in self._rows if row[1] >= running), None)
        return first[4] if first and first[0] is BlockKind.HEADING and first[3] == 1 else ""

    def has(self, kind: BlockKind) -> bool:
        """Return whether there is a block of this kind."""
        return any(row[0] is kind for row in self._rows)

    def _first_line(self, text: str, running: int) -> str:
        """Return the first visible line of the blocks but for headings, or ''. running: as in `document`."""
        rows = (row for row in self._rows if row[1] >= running and row[0] is not BlockKind.HEADING)
        starts = (text[row[1] : min(row[2], row[1] + MAX_TITLE_CHARS * 8)] for row in rows)
        return next(filter(None, (_first_line(start) for start in starts)), "")

    def document(
        self,
        text: str,
        *,
        format_name: str,
        file_name: str,
        title: str = "",
        named: str = "",
        language: str = "",
        author: str = "",
        date: str = "",
        keywords: Iterable[str] = (),
        body_start: int = 0,
        running: int = 0,
        headed: bool = True,
    ) -> ParsedDocument:
        """Return the parsed document with these blocks.

        title: the title that the document states above all else, or ''. named: what its properties call it, or ''. The title
        becomes `title` or the heading that opens the document, if it has letters; else `named`, unless a program wrote it,
        the name of the file, or the first visible line. language: the language that the document states; a text without
        the form of a language tag is ignored. author, date, keywords: as the document states them; a text that is not a
        date is ignored. running: the number of characters before the text that stand on each page. headed: whether the
        heading that opens the document may be its title.
        """
        opening = self._find_opening(running) if headed else ""
        first, *flat = byte_positions(
            text, [body_start, *(edge for _, start, end, *_ in self._rows for edge in (start, end))]
        )
        blocks = tuple(
            Block(row[0], flat[2 * i], flat[2 * i + 1], *row[3:]) for i, row in enumerate(self._rows)
        )
        return ParsedDocument(
            title=next(filter(_has_letters, (title, opening)), "")
            or name_document(named, file_name)
            or self._first_line(text, running)
            or "Untitled",
            canonical_text=text,
            blocks=blocks,
            language=language_tag(language),
            format=format_name,
            author=author_line(author),
            date=parse_date(date),
            keywords=keyword_lines(keywords),
            body_start=first,
        )


def one_line(text: str) -> str:
    """Make a title from a text: replace every run of white space with one space, and cut the text at 300 characters."""
    # Only the first characters are split, because splitting a huge text would copy all of it.
    return " ".join(text[: MAX_TITLE_CHARS * 8].split())[:MAX_TITLE_CHARS].rstrip()


def author_line(text: str) -> str:
    """Make an author's name from a text: on one line, in at most 255 bytes, without U+0000."""
    return (
        one_line(text.replace("\x00", ""))
        .encode(errors="ignore")[:MAX_AUTHOR_BYTES]
        .decode(errors="ignore")
        .strip()
    )


def keyword_lines(words: Iterable[str]) -> tuple[str, ...]:
    """Make keywords from texts: each on one line, once, at most 10. Texts that are empty or longer than 64 characters are left out."""
    lines = (one_line(word.replace("\x00", "")) for word in words)
    keywords: dict[str, str] = {}
    for line in lines:
        if 0 < len(line) <= MAX_KEYWORD_CHARS:
            keywords.setdefault(line.casefold(), line)
    return tuple(keywords.values())[:MAX_KEYWORDS]


def name_document(named: str, file_name: str) -> str:
    """What the properties of a document call it, unless a program wrote that, or else the title that its file's name is; ''
    if that is empty."""
    is_own = _has_letters(named) and not _GENERATED_TITLE.fullmatch(named)
    return named if is_own else title_from_name(file_name)


def title_from_name(name: str) -> str:
    """Make a title from a file name: the last path component without its suffix, or '' if nothing is left. Between its words
    and before its figures stand spaces."""
    base = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    stem, dot, suffix = base.rpartition(".")
    if dot and stem and len(suffix) <= 8 and suffix.isalnum():
        base = stem
    words = base.replace("%20", " ")
    if " " not in words:
        words = _BETWEEN_WORDS.sub(" ", words if "-" in words or "_" in words else _HUMPS.sub(" ", words))
    return one_line(words.replace("_", " ").replace("\x00", ""))


def _has_letters(text: str) -> bool:
    return any(map(str.isalpha, text))


def _first_line(text: str) -> str:
    """Return the first line with visible text, as a title, or '' if no line has visible text. Comments and tags of HTML are not visible."""
    for match in _LINE.finditer(text):
        # Only the start of a line is copied, because a single line of white space may be as long as the document.
        line = text[match.start() : min(match.end(), match.start() + MAX_TITLE_CHARS * 8)]
        line = one_line(_UNSEEN.sub(" ", line)).lstrip("#>*-+=~ ")  # without the signs of markup
        if line:
            return line
    return ""


def byte_positions(text: str, positions: Sequence[int]) -> list[int]:
    """Convert ascending character offsets of `text` to UTF-8 byte offsets, in time linear in the text's length."""
    if text.isascii():
        return list(positions)
    result: list[int] = []
    at_char = at_byte = 0
    for position in positions:
        at_byte += len(text[at_char:position].encode())
        at_char = position
        result.append(at_byte)
    return result


def char_positions(data: bytes, positions: Sequence[int]) -> list[int]:
    """Convert ascending byte offsets of the UTF-8 `data` to character offsets.

    Raises UnicodeDecodeError if an offset lies inside a code point.
    """
    result: list[int] = []
    at_char = at_byte = 0
    for position in positions:
        at_char += len(data[at_byte:position].decode())
        at_byte = position
        result.append(at_char)
    return result
