"""The places of blocks on their way from the sandbox to the passages."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import pytest

from responsa_formats.parsers import csv_rows, markdown
from responsa_formats.parsers.sniff import sniff
from responsa_formats.parsers.table import FORMATS
from responsa_formats.rejections import Cause
from responsa_formats.sandbox.parsed_file import ParsedFile
from responsa_formats.sandbox.protocol import pack_result
from responsa_formats.text.canonical import (
    MAX_PATH_CHARS,
    Block,
    BlockCollector,
    BlockKind,
    ParsedDocument,
    Place,
)
from responsa_formats.text.sections import Section
from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import PlacedBlock
from responsa_server.ingest.indexing import CutDocument, OpenSection, lexical_form
from responsa_server.ingest.tables import MAX_HEADER_BYTES, Header, section_headers
from responsa_server.text.lexical import Analyzer
from responsa_server.text.sentences import MAX_PIECE_BYTES
from responsa_server.text.shown import header_of
from tests.formats.originals import rejected, unpacked


def document(*places: Place | None) -> ParsedDocument:
    blocks = tuple(
        Block(BlockKind.PARAGRAPH, 5 * n, 5 * n + 4, place=place) for n, place in enumerate(places)
    )
    return ParsedDocument("t", "text " * len(places), blocks, None, "PDF")


def test_places_survive_the_wire() -> None:
    parsed = document(
        None,
        Place(),
        Place(3),
        Place(7, (0, 10, 990, 1000)),
        Place(path="Sheet2!Ä4:C4"),
        Place(2, (1, 1, 1, 1), "x"),
    )
    assert unpacked(pack_result(parsed)) == parsed


def test_a_long_path_is_cut() -> None:
    (block,) = unpacked(pack_result(document(Place(path="a" * 5000)))).blocks
    assert block.place == Place(path="a" * MAX_PATH_CHARS)


@pytest.mark.parametrize("box", [(0, 0, 1001, 10), (20, 0, 10, 10), (0, 30, 10, 20)])
def test_a_forged_box_is_refused(box: tuple[int, int, int, int]) -> None:
    frame = pack_result(document(Place(1, box)))
    with rejected(Cause.MALFORMED):
        unpacked(frame)


def test_a_passage_keeps_the_places_of_its_own_bytes() -> None:
    blocks = document(Place(1), None, Place(2, (1, 2, 3, 4)), Place(3)).blocks
    section = OpenSection(b"", (), (), [block for block in blocks if block.place is not None], 0, 0, 0)
    assert section.places(ByteRange(2, 12)) == [
        PlacedBlock(2, 4, 1, None, ""),
        PlacedBlock(10, 12, 2, (1, 2, 3, 4), ""),
    ]
    assert section.places(ByteRange(4, 10)) == []
    header = Header(0, 1, Place(1, path="Sheet1!A1:B1"), ("a", "b"))
    assert section.places(ByteRange(10, 12), header) == [
        PlacedBlock(0, 1, 1, None, "Sheet1!A1:B1"),
        PlacedBlock(10, 12, 2, (1, 2, 3, 4), ""),
    ]


@dataclass(frozen=True)
class Second:
    """A document of which a section that begins at byte 100 is read."""

    language: str | None = None
    size: int = 110
    section_count: int = 2

    def section(self, index: int) -> Section:
        return Section(100, document(Place(1), Place(2)))


def test_the_places_of_a_later_section_count_from_the_beginning_of_the_document() -> None:
    section = OpenSection.read(CutDocument("en", "", Second(), ((), ())), 1, 0)
    assert [(block.byte_start, block.byte_end) for block in section.placed] == [(100, 104), (105, 109)]


# Tables that are longer than a passage: each later passage has the names of the columns.
ROWS = "\n".join(f"| Wren {number} | {number} volts |" for number in range(200))
MARKDOWN = (
    f"# Lamps\n\n| Lamp | Voltage |\n|---|---|\n{ROWS}\n\nNo other lamps.\n\n| Fuse | Colour "
    "|\n|---|---|\n| A | red |\n| B | blue |\n"
)
HTML = (
    "<h1>Lamps</h1><p>All our lamps and their voltages.</p><table><tr><th>Lamp<th>Voltage"
    + "".join(f"<tr><td>Wren {number}<td>{number} volts" for number in range(200))
    + "</table>"
)
CSV = "Lamp,Voltage\n" + "".join(f"Wren {number},{number} volts\n" for number in range(200))


def headers_of(text: str, name: str, *words: str) -> tuple[str, list[Header | None]]:
    """The canonical text of a file, and the header for the place of each of the words."""
    row = FORMATS.with_name(sniff(text.encode(), name).format)
    assert row is not None
    parsed = row.load()(sniff(text.encode(), name))
    raw = parsed.canonical_text.encode()
    places = [raw.index(word.encode()) for word in words]
    return parsed.canonical_text, list(section_headers(Section(0, parsed), row.media_type, places)[0])


@pytest.mark.parametrize(
    ("text", "name", "line"),
    [
        (MARKDOWN, "lamps.md", "| Lamp | Voltage |\n|---|---|"),
        (HTML, "lamps.html", "Lamp | Voltage\n---|---"),
    ],
)
def test_a_place_within_a_table_has_the_tables_header(text: str, name: str, line: str) -> None:
    canonical, (first, later, outside) = headers_of(text, name, "Wren 0 ", "Wren 150 ", "Lamps")
    assert first == later
    assert later is not None
    assert canonical.encode()[later.start : later.end].decode() == line
    assert (later.names, outside) == (("Lamp", "Voltage"), None)


def test_a_header_whose_first_column_has_no_name_keeps_its_columns() -> None:
    text = "<table><tr><th><th>Adults | Single<th>Adults Return" + "<tr><td>Line 1<td>3.10<td>5.40" * 3
    _, (header,) = headers_of(text, "fares.html", "Line 1")
    assert header is not None
    assert (*header_of(header.lines),) == header.names == ("", "Adults | Single", "Adults Return")


def test_each_table_has_its_own_header() -> None:
    _, (first, second, between, header) = headers_of(
        MARKDOWN, "lamps.md", "Wren 9 ", "| B |", "No other", "| Colour"
    )
    assert first is not None
    assert second is not None
    assert (first.names, second.names) == (("Lamp", "Voltage"), ("Fuse", "Colour"))
    assert (between, header) == (None, None)


def test_rows_that_say_the_names_of_their_columns_have_no_header() -> None:
    assert headers_of(CSV, "lamps.csv", "Wren 150")[1] == [None]


def test_a_first_line_of_values_names_no_columns() -> None:
    text = "<p>All the values that we have measured.</p><table><tr><td>1<td>2<tr><td>3<td>4<tr><td>5<td>6</table>"
    _, (header,) = headers_of(text, "values.html", "5 | 6")
    assert header is not None
    assert header.names == ()


def test_a_long_header_is_not_repeated() -> None:
    names = " | ".join("x" * 40 for _ in range(MAX_HEADER_BYTES // 40))
    text = f"| {names} |\n|{'---|' * (names.count('|') + 1)}\n| row |\n"
    assert headers_of(text, "wide.md", "| row |")[1] == [None]


def test_the_names_of_the_columns_are_found_like_words_of_the_passage() -> None:
    def form(text: str, columns: str = "") -> tuple[str, int]:
        made = lexical_form(Analyzer(), "Lamps", (), text, "en", columns)
        return made.terms, made.length

    row = "Wren 150 | 150 volts"
    assert form(row, "Lamp | Voltage") == form(f"Lamp | Voltage\n{row}")
    assert form(row, "Lamp | Voltage") != form(row)


def test_a_block_begins_where_the_one_before_it_ends() -> None:
    blocks = BlockCollector()
    blocks.add(BlockKind.PARAGRAPH, 0, 8)
    blocks.add(BlockKind.LIST_ITEM, 5, 12)
    blocks.add(BlockKind.PARAGRAPH, 3, 12)
    assert [(row[1], row[2]) for row in blocks._rows] == [(0, 8), (8, 12)]


@pytest.mark.parametrize("section_bytes", [300, 2000, 1024 * 1024])
def test_a_table_keeps_its_header_over_the_borders_of_sections(section_bytes: int) -> None:
    rows = "".join(f"| {n} | the river {n} |\n" for n in range(200))
    text = f"Before.\n\n| km | name |\n|---|---|\n{rows}\nBetween.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    parsed = markdown.parse(sniff(text.encode(), "a.md", known="MARKDOWN"))
    starts = [match.start() for match in re.finditer("^", text, re.MULTILINE) if match.start() < len(text)]
    headers, above = list[Header | None](), None
    frame = pack_result(parsed)
    file = ParsedFile(io.BytesIO(frame), len(frame), section_bytes=section_bytes)
    for index in range(file.section_count):
        section = file.section(index)
        end = section.start + len(section.document.canonical_text)
        own = [start - section.start for start in starts if section.start <= start < end]
        headers_here, above = section_headers(section, "text/markdown", own, above)
        headers.extend(headers_here)
    assert headers == section_headers(Section(0, parsed), "text/markdown", starts)[0]


def test_a_line_of_a_csv_file_is_never_cut() -> None:
    assert csv_rows.LINE_BYTES < MAX_PIECE_BYTES
