"""Tables, as their readers see them: merged cells, headers, and tables that stand close to each other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from responsa_formats.parsers.blocks import BlockWriter
from responsa_formats.parsers.grid import GridCell, GridRow, place_cells, spread, write_table
from responsa_formats.parsers.xlsx import sheet_tables
from responsa_formats.text.headers import SAMPLE_ROWS, header_rows
from tests.formats.office_files import docx, odt, parse, pptx, slide, xlsx

SHIFTS = """Team | Day | Room
---|---|---
Red | Monday | R1
Red | Tuesday | R2"""
BOLD = '<fonts><font/><font><b/></font></fonts><cellXfs><xf fontId="0"/><xf fontId="1"/></cellXfs>'


def sheet(*rows: str, first: int = 1, bold: tuple[int, ...] = ()) -> str:
    """The rows of a sheet, with "|" between their cells. bold: the numbers of the rows with bold letters."""
    made = ""
    for number, row in enumerate(rows, first):
        cells = "".join(
            f'<c r="{letter}{number}" t="str" s="{int(number in bold)}"><v>{text}</v></c>'
            for letter, text in zip("ABCDEFGH", row.split("|"), strict=False)
            if text
        )
        made += f'<row r="{number}">{cells}</row>'
    return made


def of_sheet(*rows: str, bold: tuple[int, ...] = (), before: str = "", after: str = "") -> str:
    made = xlsx({"S": sheet(*rows, bold=bold)}, styles=BOLD, before=before, after=after)
    return parse(made, "a.xlsx").canonical_text.removeprefix("S\n\n")


def of_html(table: str) -> str:
    return parse(f"<html><table>{table}</table>".encode(), "a.html").canonical_text


def test_a_value_that_spans_rows_belongs_to_each_of_them() -> None:
    body = "<tr><td rowspan=2>Red<td>Monday<td>R1<tr><td>Tuesday<td>R2"
    assert of_html(f"<tr><th>Team<th>Day<th>Room{body}") == SHIFTS
    merged = '<mergeCells><mergeCell ref="A2:A3"/></mergeCells>'
    assert of_sheet("Team|Day|Room", "Red|Monday|R1", "|Tuesday|R2", after=merged) == SHIFTS
    w = "<w:tc><w:tcPr>{}</w:tcPr><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc>"
    rows = (
        ("", "Team", "", "Day", "", "Room"),
        ('<w:vMerge w:val="restart"/>', "Red", "", "Monday", "", "R1"),
        ("<w:vMerge/>", "", "", "Tuesday", "", "R2"),
    )
    word = "".join(f"<w:tr>{(w * 3).format(*row)}</w:tr>" for row in rows)
    assert parse(docx(f"<w:tbl>{word}</w:tbl>"), "a.docx").canonical_text == SHIFTS
    a = "<a:tc {}><a:txBody><a:p><a:r><a:t>{}</a:t></a:r></a:p></a:txBody></a:tc>"
    rows = (rows[0], ('rowSpan="2"', *rows[1][1:]), ('vMerge="1"', *rows[2][1:]))
    point = "".join(f"<a:tr>{(a * 3).format(*row)}</a:tr>" for row in rows)
    frame = f"<p:graphicFrame><a:graphic><a:graphicData><a:tbl>{point}</a:tbl></a:graphicData></a:graphic></p:graphicFrame>"
    text = parse(pptx({"a": {"slide": slide(frame)}}), "a.pptx").canonical_text
    assert text.removeprefix("Slide 1\n\n") == SHIFTS
    t = "<table:table-cell {}><text:p>{}</text:p></table:table-cell>"
    rows = (rows[0], ('table:number-rows-spanned="2"', *rows[1][1:]))
    last = "<table:covered-table-cell/>" + (t * 2).format("", "Tuesday", "", "R2")
    open_ = "".join(f"<table:table-row>{(t * 3).format(*row)}</table:table-row>" for row in rows)
    open_ = f"<table:table>{open_}<table:table-row>{last}</table:table-row></table:table>"
    assert parse(odt(open_), "a.odt").canonical_text == SHIFTS


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (
            "<tr><th rowspan=2>Unit<th colspan=2>2025<th>2026<tr><th>Plan<th>Sum<th>Plan<tr><th>Hall<td>1<td>2<td>3",
            "Unit | 2025 Plan | 2025 Sum | 2026 Plan\n---|---|---|---\nHall | 1 | 2 | 3",
        ),
        ("<tr><td>a<td>b<td>c<tr><td>1<td colspan=2>2", "a | b | c\n---|---|---\n1 | 2 | 2"),
        (
            "<tr><th colspan=2>Prices<tr><th>Item<th>Price<tr><td colspan=2>Winter<tr><td>Lamp<td>20",
            "Prices\n\nItem | Price\n---|---\nWinter\nLamp | 20",
        ),
        ("<tr><td><th>N<th>S<tr><th>Lamp<td>1<td>2", "| | N | S\n---|---|---\nLamp | 1 | 2"),
        ("<tr><th>Weight<td>210 g<tr><th>Range<td>", "Weight: 210 g\nRange"),
        ("<thead><tr><td>1<td>2</thead><tr><td>3<td>4", "1 | 2\n---|---\n3 | 4"),
        ("<tr><th>A<th>B<tr><td>1<td>2<tr><th>A<th>B<tr><td>3<td>4", "A | B\n---|---\n1 | 2\n3 | 4"),
        (
            "<tr><th>A<th>B<tr><td>1<td>2<tr><th>C<th>D<tr><td>3<td>4",
            "A | B\n---|---\n1 | 2\n\nC | D\n---|---\n3 | 4",
        ),
        (
            "<tr><th>A<th>B<tr><td>1<td>2</table><table><tr><th>C<th>D<tr><td>3<td>4",
            "A | B\n---|---\n1 | 2\n\nC | D\n---|---\n3 | 4",
        ),
        (
            "<tr><th>A<th>B<th><tr><th><th>in kg<th>Note<tr><td>1<td>2<td>3",
            "A | B in kg | Note\n---|---|---\n1 | 2 | 3",
        ),
        ("<tr><th>A<tr><td>1", "A\n---|\n1"),
        ("<tr><td>a<td>b<tr><td>-<td>-<tr><td>x<td>4", "a | b\n---|---\nx | 4"),
        ("<tr><th>a<th>b<tr><td>1<td rowspan=0>x<tr><td>2", "a | b\n---|---\n1 | x\n2 | x"),
    ],
)
def test_tables_of_a_page(table: str, text: str) -> None:
    assert of_html(table) == text


GOODS = "Product | Price\n---|---\nLamp | 20\nChair | 55"
ROOMS = "Employee | Room\n---|---\nAda | B12\nBen | C07"


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (
            ("Product|Price", "Lamp|20", "Chair|55", "", "Employee|Room", "Ada|B12", "Ben|C07"),
            f"{GOODS}\n\n{ROOMS}",
        ),
        (
            ("Product|Price||Employee|Room", "Lamp|20||Ada|B12", "Chair|55||Ben|C07"),
            f"{GOODS}\n\n{ROOMS}",
        ),
        # A gap within a table: below the header, above the sum, between rows that are alike.
        (("Product|Price", "", "Lamp|20", "Chair|55", "", "Sum|75"), f"{GOODS}\nSum | 75"),
        (
            ("Product|Price", "Lamp|20", "Hat|3", "", "Chair|55", "Bed|9"),
            f"{GOODS}\nBed | 9".replace("Chair", "Hat | 3\nChair"),
        ),
        # Words below words: the names may not be theirs, and may not be names.
        (
            ("Name|Team", "Ada|Red", "Cy|Blue", "", "Ben|Green", "Do|Pink"),
            "Name | Team\n---|---\nAda | Red\nCy | Blue\n\nBen | Green\nDo | Pink",
        ),
        (("Product||Price", "Lamp||20", "Chair||55"), GOODS),
        (("Stock in 2026", "Product|Price", "Lamp|20", "Chair|55"), f"Stock in 2026\n\n{GOODS}"),
    ],
)
def test_tables_of_a_sheet(rows: tuple[str, ...], text: str) -> None:
    assert of_sheet(*rows) == text


def test_what_a_sheet_says_about_its_headers_is_believed() -> None:
    rows, text = ("A1|7", "A2|8", "A3|9"), "A1 | 7\n---|---\nA2 | 8\nA3 | 9"
    assert of_sheet(*rows) == "A1 | 7\nA2 | 8\nA3 | 9"
    assert of_sheet(*rows, bold=(1,)) == text
    assert of_sheet(*rows, bold=(3,)) == "A1 | 7\nA2 | 8\nA3 | 9"
    assert of_sheet(*rows, after='<autoFilter ref="A1:B3"/>') == text
    frozen = '<sheetViews><sheetView><pane ySplit="1" state="frozen"/></sheetView></sheetViews>'
    assert of_sheet(*rows, before=frozen) == text
    made = xlsx({"S": sheet(*rows, "A4|10")}, tables={"one": "A1:B2", "two": "A3:B4"})
    below = "A1 | 7\n---|---\nA2 | 8\n\nA3 | 9\n---|---\nA4 | 10"
    assert parse(made, "a.xlsx").canonical_text.endswith(below)


def test_word_and_opendocument_say_which_rows_are_headers() -> None:
    w = "<w:tc><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc>"
    word = f"<w:tbl><w:tr><w:trPr><w:tblHeader/></w:trPr>{(w * 2).format(1, 2)}</w:tr><w:tr>{(w * 2).format(3, 4)}</w:tr></w:tbl>"
    assert parse(docx(word), "a.docx").canonical_text == "1 | 2\n---|---\n3 | 4"
    t = (
        "<table:table-row>"
        + "<table:table-cell><text:p>{}</text:p></table:table-cell>" * 2
        + "</table:table-row>"
    )
    table = f"<table:table><table:table-header-rows>{t.format(1, 2)}</table:table-header-rows>{t.format(3, 4)}</table:table>"
    assert parse(odt(table), "a.odt").canonical_text == "1 | 2\n---|---\n3 | 4"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("Branch|2024/25|2025/26;Leeds|118|131;York|76|80", (0, 1)),
        ("Ward|0-17|65+;North|210|310;South|150|402", (0, 1)),
        ("Stop|08:00|09:00;Monday|Art|Music;Tuesday|Music|Art", (0, 1)),
        ("Ward|50 %|95 %;North|2|3", (0, 1)),
        ("Year|2024|2025;Sales|5|6;Cost|1|2", (0, 1)),
        ("No|Name;1|Ada;2|Ben", (0, 1)),
        ("Name|Yes|No;Ada|12|30;Ben|3|9", (0, 1)),
        ("|North|South;Lamp|20|22", (0, 1)),
        ("|2025||2026|;Unit|Plan|Sum|Plan|Sum;Hall|1|2|3|4;Shed|5|6|7|8", (0, 2)),
        ("Report;By|Ada;Region|Q1|Q2;North|5|6;South|7|8", (2, 1)),
        ("Created on|2026-04-01;Region|Sales;North|5;South|6", (1, 1)),
        ("Name|Team;Ada|Red;Ben|Blue", (0, 1)),
        ("Ada|yes;Ben|no;Cy|yes", (0, 0)),
        ("Ada|12|a@b.org;Ben|13|c@d.org", (0, 0)),
        ("2026-01-01|5;2026-01-02|6", (0, 0)),
        ("Bonn|2001|2002;Ulm|2003|2004", (0, 0)),
        ("A-100|Lamp;A-101|Chair", (0, 0)),
        ("Name|Room", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_the_forms_of_cells_decide_which_rows_are_names(rows: str, expected: tuple[int, int]) -> None:
    assert header_rows([row.split("|") for row in rows.split(";")]) == expected


def test_spans_do_not_make_endless_text() -> None:
    started = time.process_time()
    wide = GridCell("x" * 200, 65_534, 1000)
    rows = place_cells([[wide] * 20] + [[GridCell("y")]] * 20_000)
    assert sum(len(text) for row in rows for text in row.cells.values()) < 1_000_000
    many = place_cells([[GridCell("", 65_534, 1000)] * 100] + [[GridCell("y")]] * 20_000)
    assert len(many) == 20_001
    assert time.process_time() - started < 10


class Counted(dict[int, str]):
    """The cells of a row. looked_up: how often any of them was looked up."""

    looked_up = 0

    def get(self, *arguments: Any) -> Any:
        Counted.looked_up += 1
        return super().get(*arguments)


class CountedRow(GridRow):
    """A row. read, replaced: how often the cells of any row were."""

    read = 0
    replaced = 0

    def __getattribute__(self, name: str) -> Any:
        CountedRow.read += name == "cells"
        return super().__getattribute__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        CountedRow.replaced += name == "cells"
        super().__setattr__(name, value)


class CountedRows(list[GridRow]):
    """Rows. passed: how many of them were passed."""

    passed = 0

    def __iter__(self) -> Iterator[GridRow]:
        for row in super().__iter__():
            self.passed += 1
            yield row


def test_each_span_visits_only_its_rows() -> None:
    rows = CountedRows(GridRow({place % 2: "ab"}, place + 1) for place in range(500))
    spread(rows, [(place, place % 2, 2, 1) for place in range(500)])
    assert rows[0].cells == {0: "ab"}
    assert all(row.cells == {0: "ab", 1: "ab"} for row in rows[1:])
    assert rows.passed <= 3 * len(rows)


def test_what_rows_have_in_common_is_repeated_and_a_paragraph_is_not() -> None:
    rows = [
        GridRow({0: "Red", 1: "The shift " * 30, 2: "Monday"}, 1),
        *(GridRow({2: f"Day {n}"}, n) for n in range(2, 5)),
    ]
    spread(rows, [(0, 0, 4, 1), (0, 1, 4, 1)])
    assert [row.cells for row in rows[1:]] == [{0: "Red", 2: f"Day {n}"} for n in range(2, 5)]


def test_the_spans_of_a_row_sort_it_once() -> None:
    row = CountedRow({2 * place: f"{place}" for place in range(500)}, 1)
    CountedRow.replaced = 0
    spread([row], [(0, 2 * place, 1, 2) for place in range(500)])
    assert list(row.cells.items()) == [(column, f"{column // 2}") for column in range(1000)]
    assert CountedRow.replaced == 1


def test_empty_columns_of_a_sheet_do_not_each_read_all_rows() -> None:
    rows: list[GridRow] = [CountedRow(dict.fromkeys(range(1, 400, 2), "x"), 1)]
    rows += [CountedRow({1: "a", 399: "b"}, number) for number in range(2, 1002)]
    CountedRow.read = 0
    assert [len(table) for table in sheet_tables(rows)] == [len(rows)]
    assert CountedRow.read < SAMPLE_ROWS * 200 + 10 * len(rows)


def test_a_row_below_an_empty_one_looks_up_only_its_own_cells() -> None:
    wide = GridRow(dict.fromkeys(range(1, 401), "n"), 1)
    rows = [wide, *(GridRow({1: "1"}, number) for number in range(2, 14))]
    rows += [GridRow(Counted({1: "1"}), number) for number in range(20, 420, 2)]
    Counted.looked_up = 0
    assert [len(table) for table in sheet_tables(rows)] == [len(rows)]
    assert Counted.looked_up < 10 * len(rows)


def test_a_header_does_not_read_all_rows_above_it() -> None:
    rows = [CountedRow({0: f"{number}"}, number, header=number % 2 == 0) for number in range(1, 501)]
    CountedRow.read = 0
    write_table(BlockWriter(), rows, lambda _: None)
    assert CountedRow.read < 20 * len(rows)


def test_the_tables_of_a_document_share_the_empty_cells() -> None:
    blocks = BlockWriter()
    diagonal = [GridRow({number: "a"}, number) for number in range(900)]
    for _ in range(20):
        write_table(blocks, diagonal, lambda _: None)
    assert len(blocks.text) < 4_000_000
    assert blocks.text.endswith("\na\na")
