"""EPUB, spreadsheets besides .xlsx, RTF, subtitles, texts of lines, and CSV in two character sets."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers import notebook
from responsa_formats.parsers import ods as ods_format
from responsa_formats.parsers.sniff import Original, sniff
from responsa_formats.parsers.table import FORMATS
from responsa_formats.rejections import Cause
from responsa_formats.text.canonical import BlockKind, ParsedDocument
from tests.formats.binary_sheets import Day, xls, xlsb
from tests.formats.office_files import epub, ods, paths
from tests.formats.originals import rejected


def read(data: bytes, name: str) -> tuple[ParsedDocument, Mapping[str, int]]:
    """The document, and the counts of what is left out."""
    original: Original = sniff(data, name)
    row = FORMATS.with_name(original.format)
    assert row is not None
    return row.load()(original), {str(kind): count for kind, count in (+original.left_out).items()}


def cell(text: str, attributes: str = "") -> str:
    return f"<table:table-cell {attributes}><text:p>{text}</text:p></table:table-cell>"


def table(*rows: str, name: str = "S", attributes: str = "") -> str:
    return (
        f'<table:table table:name="{name}" {attributes}>'
        + "".join(
            row
            if row.startswith(("<table:table-row", "<table:table-header-rows"))
            else f"<table:table-row>{row}</table:table-row>"
            for row in rows
        )
        + "</table:table>"
    )


HEAD = cell("Item") + cell("Price")
HIDDEN = '<style:style style:name="h"><style:table-properties table:display="false"/></style:style>'


@pytest.mark.parametrize(
    ("sheets", "text", "left_out"),
    [
        (table(HEAD, cell("Rope") + cell("2,50 €")), "S\n\nItem | Price\n---|---\nRope | 2,50 €", {}),
        # A sheet ends with a million empty rows, each of 1,024 empty cells.
        (
            table(HEAD, cell("Rope") + cell("2"))[: -len("</table:table>")]
            + '<table:table-row table:number-rows-repeated="1048000">'
            '<table:table-cell table:number-columns-repeated="1024"/></table:table-row></table:table>',
            "S\n\nItem | Price\n---|---\nRope | 2",
            {},
        ),
        (
            table(HEAD, cell("Rope", 'table:number-columns-repeated="2"')),
            "S\n\nItem | Price\n---|---\nRope | Rope",
            {},
        ),
        (
            table(
                HEAD,
                cell("Rope", 'table:number-rows-spanned="2"') + cell("2"),
                "<table:covered-table-cell/>" + cell("3"),
            ),
            "S\n\nItem | Price\n---|---\nRope | 2\nRope | 3",
            {},
        ),
        (
            table(cell("a"), attributes='table:style-name="h"') + table(cell("b"), name="T"),
            "T\n\nb",
            {"hidden_sheet": 1},
        ),
        (
            table('<table:table-cell office:value-type="float" office:value="2.5"/>' + cell("x")),
            "S\n\n2.5 | x",
            {},
        ),
        (table('<table:table-cell table:formula="of:=A1"/>' + cell("x")), "S\n\nx", {"formula": 1}),
        (
            table(
                cell("a")
                + "<table:table-cell><office:annotation><text:p>n</text:p></office:annotation><text:p>b</text:p></table:table-cell>"
            ),
            "S\n\na | b",
            {"comment": 1},
        ),
        (
            table(
                f"<table:table-header-rows><table:table-row>{HEAD}</table:table-row></table:table-header-rows>",
                cell("Rope") + cell("short"),
            ),
            "S\n\nItem | Price\n---|---\nRope | short",
            {},
        ),
        (table(cell("Ann <text:span>Lee</text:span>") + cell("a<text:s/>b")), "S\n\nAnn Lee | a b", {}),
    ],
)
def test_ods(sheets: str, text: str, left_out: Mapping[str, int]) -> None:
    document, counted = read(ods(sheets, automatic=HIDDEN), "a.ods")
    assert (document.canonical_text, counted) == (text, left_out)


def test_repeated_cells_of_a_sheet_are_bounded_before_they_expand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ods_format, "MAX_CELLS", 1000)
    wide = table(cell("x", 'table:number-columns-repeated="1001"'))
    tall = table(f'<table:table-row table:number-rows-repeated="1001">{cell("x")}</table:table-row>')
    for sheets in (wide, tall):
        with rejected(Cause.PARSER_LIMIT, match="more than 1,000 cells"):
            read(ods(sheets), "a.ods")


ROWS = [["Item", "Price", "Since"], ["Rope", 2.5, Day(45000.0)], ["Anchor", 1200.0, Day(45001.25)]]


@pytest.mark.parametrize("write", [xls, xlsb])
def test_old_and_binary_workbooks_have_their_stored_values(write: type) -> None:
    document, counted = read(
        write({"Prices": ROWS, "Gone": [["x"]], "Far": [[], [None, None, "a", True]]}, hidden=["Gone"]), ""
    )
    assert document.canonical_text == (
        "Prices\n\nItem | Price | Since\n---|---|---\nRope | 2.5 | 2023-03-15\nAnchor | 1200 | 2023-03-16 06:00:00\n\nFar\n\na | TRUE"
    )
    # The number formats are not read, and the document says so.
    assert counted == {"number_format": 2, "hidden_sheet": 1}
    assert paths(document)[-1] == "Far!C2:D2"


def test_merged_cells_of_an_old_workbook() -> None:
    document, _ = read(
        xls({"S": [["Team", "Day"], ["Blue", "Mon"], [None, "Tue"]]}, merged=[(1, 2, 0, 0)]), "a.xls"
    )
    assert document.canonical_text.endswith("Blue | Mon\nBlue | Tue")


def test_a_damaged_old_workbook() -> None:
    with rejected(Cause.MALFORMED):
        read(xls({"S": [["a"]]}).replace(b"\x09\x08\x10\x00", b"\x09\x08\xff\xff"), "a.xls")


RTF_HEAD = rb"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0\fswiss\fcharset0 Arial;}{\f1\fcharset204 Arial CYR;}{\f2\fcharset2 Symbol;}}"


@pytest.mark.parametrize(
    ("body", "text", "left_out"),
    [
        (rb"Die Geb\'fchr betr\'e4gt 120 \u8364?.\par Ende.\par", "Die Gebühr beträgt 120 €.\n\nEnde.", {}),
        (rb"{\f1\'cf\'f0\'e8} and {\f2 m}g, \u-10179\'3f\u-8704?\par", "При and μg, 😀", {}),
        (rb"{\uc2\u8364ab}c {\uc0\u8364}d\par", "€c €d", {}),
        (rb"10{\super 6} cells, {\strike 80} 90\par", "10⁶ cells, ~~80~~ 90", {}),
        (
            rb"Seen. {\v Old: 99 Euro.}{\deleted gone}\par More {\pict\wmetafile8 0102}\par",
            "Seen.\n\nMore",
            {"hidden_text": 1, "picture": 1},
        ),
        (
            rb"{\stylesheet{\s0 Normal;}{\s1 heading 1;}{\*\cs9 x;}}\pard\s1 Fees\par\pard Text\par",
            "Fees\n\nText",
            {},
        ),
        (
            rb"\trowd\trhdr\cellx10\cellx20\cellx30\intbl Name\cell Room\cell Price\cell\row"
            rb"\trowd\clvmgf\cellx10\cellx20\cellx30\intbl Ann\cell R1\cell 4\cell\row"
            rb"\trowd\clvmrg\cellx10\clmgf\cellx20\clmrg\cellx30\intbl \cell both\cell\cell\row\pard After\par",
            "Name | Room | Price\n---|---|---\nAnn | R1 | 4\nAnn | both | both\n\nAfter",
            {},
        ),
        (
            rb"A{\footnote \pard The note.\par} and {\field{\*\fldinst HYPERLINK \"http://x\"}{\fldrslt the plan}}.\par",
            "A and the plan.\n\nThe note.",
            {},
        ),
        (
            rb"{\header Harbour rules\par}{\pard{\listtext 1.\tab}Close\par}{\pard{\listtext\'b7\tab}Open\par}",
            "Harbour rules\n\n1. Close\n  - Open".replace("  - ", "  "),
            {},
        ),
        (
            rb"{\object{\*\objdata 0102}{\result Shown}}{\*\annotation n}{\bin3 {\}x}\par",
            "Shownx",
            {"embedded_file": 1, "comment": 1},
        ),
    ],
)
def test_rtf(body: bytes, text: str, left_out: Mapping[str, int]) -> None:
    document, counted = read(RTF_HEAD + body + b"}after", "a.rtf")
    assert (document.canonical_text, counted) == (text, left_out)


def test_rtf_states_its_title_and_bounds_its_groups() -> None:
    document, _ = read(rb"{\rtf1{\info{\title The {\b old} pier}{\author Ann}}Text\par}", "")
    assert (document.title, document.author) == ("The old pier", "Ann")
    with rejected(Cause.PARSER_LIMIT, match="nested more than 1,000 deep"):
        read(rb"{\rtf1 x" + b"{" * 1001, "a.rtf")


def page(body: str) -> str:
    return f"<html xmlns='http://www.w3.org/1999/xhtml'><body>{body}</body></html>"


def test_epub_is_read_along_its_spine() -> None:
    data = epub(
        {"b%20b.xhtml": "", "a.xhtml": page("<h1>Two</h1><p>Last <img src='x.png'/>.</p>"), "gone.xhtml": ""},
        metadata="<dc:title>The ferry</dc:title><dc:creator>Ann</dc:creator><dc:language>nl</dc:language>",
        items='<item id="p" href="x.png" media-type="image/png"/>',
        more={
            "OEBPS/b b.xhtml": page(
                "<h1>One</h1><table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>"
            )
        },
    )
    document, counted = read(data, "a.epub")
    assert document.canonical_text == "One\n\na | b\n---|---\n1 | 2\n\nTwo\n\nLast ."
    assert (document.title, document.author, document.language) == ("The ferry", "Ann", "nl")
    # An empty chapter says nothing, and the picture is not read.
    assert counted == {"picture": 1, "embedded_file": 1}
    assert paths(document)[0] == "b b.xhtml"


@pytest.mark.parametrize(
    ("member", "content", "refused"),
    [
        ("META-INF/encryption.xml", "http://www.w3.org/2001/04/xmlenc#aes128-cbc", True),
        ("META-INF/encryption.xml", "http://www.idpf.org/2008/embedding", False),
        ("META-INF/license.lcpl", "", True),
        ("META-INF/sinf.xml", "", True),
    ],
)
def test_a_book_under_drm_is_refused(member: str, content: str, *, refused: bool) -> None:
    method = f'<e:EncryptedData><e:EncryptionMethod Algorithm="{content}"/></e:EncryptedData>'
    xml = f'<encryption xmlns:e="http://www.w3.org/2001/04/xmlenc#">{method}</encryption>'
    data = epub({"a.xhtml": page("<p>Text</p>")}, more={member: xml})
    if refused:
        with rejected(Cause.ENCRYPTED, match="protected by DRM"):
            read(data, "a.epub")
    else:
        assert read(data, "a.epub")[0].canonical_text == "Text"


@pytest.mark.parametrize(
    ("name", "source", "text", "places"),
    [
        (
            "a.vtt",
            "WEBVTT\n\n1\n00:01.000 --> 00:02.000\n<v Ann>It leaves\n\n00:02.000 --> 00:03.000 align:start\n<v Ann>"
            "at noon.\n\n00:03.000 --> 00:04.000\n<v Ivo>No.",
            "Ann: It leaves at noon.\n\nIvo: No.",
            ["00:01.000, Ann", "00:03.000, Ivo"],
        ),
        (
            "a.srt",
            "1\r\n00:00:01,500 --> 00:00:02,000\r\n<i>One &amp; two</i>\r\n\r\n2\r\n00:00:02,000 --> 00:00:03,000\r\n{\\an8}three\r\n",
            "One & two three",
            ["00:00:01.500"],
        ),
        (
            "a.vtt",
            "WEBVTT\n\nSTYLE\n::cue {color: red}\n\n00:01.000 --> 00:02.000\none\n\n00:02.000 --> 00:03.000\none\ntwo\n",
            "one two",
            ["00:01.000"],
        ),
        (
            "a.vtt",
            "WEBVTT\n\n00:01.000 --> 00:02.000\n<v.loud Ann>Hi</v>\n<v Ivo>Ho",
            "Ann: Hi\n\nIvo: Ho",
            ["00:01.000, Ann", "00:01.000, Ivo"],
        ),
        (
            "",
            "WEBVTT\n\n00:01.000 --> 00:02.000\n<c.x>1 < 2</c> <00:01.500>late",
            "1 < 2 late",
            ["00:01.000"],
        ),
    ],
)
def test_subtitles(name: str, source: str, text: str, places: list[str]) -> None:
    document, _ = read(source.encode(), name)
    assert (document.canonical_text, paths(document)) == (text, places)


@pytest.mark.parametrize(
    ("name", "source", "blocks"),
    [
        ("a.yaml", "a: &x [*x, *x]\n\nb:\n  c: 0417\n", ["a: &x [*x, *x]", "b:\n  c: 0417"]),
        ("a.toml", "[a]\nb = 1\n", ["[a]\nb = 1"]),
        (
            "a.log",
            "10:00 started\n  at line 3\n" + "x" * 300 + "\n10:01 stopped\n",
            ["10:00 started\n  at line 3\n" + "x" * 300, "10:01 stopped"],
        ),
    ],
)
def test_texts_of_lines(name: str, source: str, blocks: list[str]) -> None:
    document, _ = read(source.encode(), name)
    data = document.canonical_text.encode()
    assert document.canonical_text == source
    assert [data[block.byte_start : block.byte_end].decode() for block in document.blocks] == blocks


@pytest.mark.parametrize(
    ("lines", "text", "place"),
    [
        (
            ["name,city", "Müller,Köln", "Jörg,Ulm", b"M\xfcnster,Aachen"],
            "name: Münster | city: Aachen",
            "row 4, read as windows-1252",
        ),
        (
            [b"name,city", b"M\xfcller,K\xf6ln", b"J\xf6rg,Ulm", "Münster,Aachen"],
            "name: Münster | city: Aachen",
            "row 4, read as utf-8",
        ),
        (
            ["name,city", '"Mül\nler",Köln', b"M\xfcnster,Aachen", "Zoë,Ulm"],
            "name: Münster | city: Aachen",
            "row 3, read as windows-1252",
        ),
    ],
)
def test_a_line_of_csv_in_another_character_set_is_read_and_marked(
    lines: list[str | bytes], text: str, place: str
) -> None:
    data = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    document, counted = read(data, "a.csv")
    assert text in document.canonical_text.split("\n")
    assert "ü" in document.canonical_text
    assert "�" not in document.canonical_text
    assert counted == {"foreign_line": 1}
    assert [path for path in paths(document) if "read as" in path] == [place]


def test_a_csv_file_in_one_character_set_has_no_marked_line() -> None:
    assert read("a,b\nMüller,Köln\nJörg,Ulm\n".encode("cp1252"), "a.csv")[1] == {}
    with rejected(Cause.MALFORMED):
        read("Müller\nKöln\n".encode() + b"M\xfcnster", "a.txt")


def test_notebooks_are_their_cells_and_what_they_print() -> None:
    cells: list[dict[str, object]] = [
        {"cell_type": "markdown", "source": ["# Gauge\n", "\n", "Calibrated every *nine* days."]},
        {
            "cell_type": "code",
            "source": "print(415)",
            "outputs": [
                {"output_type": "stream", "text": ["415\n"]},
                {"output_type": "display_data", "data": {"image/png": "eHh4", "text/plain": "<Figure>"}},
                {"output_type": "execute_result", "data": {"text/plain": ["7"], "text/html": "<b>7</b>"}},
            ],
        },
        {"cell_type": "code", "source": [], "outputs": []},
    ]
    original = sniff(json.dumps({"cells": cells}).encode(), "a.ipynb")
    document = notebook.parse(original)
    assert document.canonical_text == "# Gauge\n\nCalibrated every *nine* days.\n\nprint(415)\n\n415\n\n7"
    assert (document.title, original.left_out[LeftOutKind.PICTURE]) == ("Gauge", 1)
    assert [block.place.path for block in document.blocks if block.place] == ["cell 1"] * 2 + ["cell 2"] * 3
    for damaged in (b'{"cells": 4}', b"[1]", b'{"cells": [{}]}', b"x"):
        with rejected(Cause.MALFORMED, match="not a notebook"):
            notebook.parse(sniff(damaged, "a.ipynb"))


HEADINGS = [(1, "Manual"), (2, "Speed"), (3, "Night")]


@pytest.mark.parametrize(
    ("name", "source", "title", "headings"),
    [
        ("a.adoc", "= Manual\n:toc:\n\n== Speed\n\n4 knots.\n\n=== Night\n\nNone.\n", "Manual", HEADINGS),
        (
            "a.tex",
            "\\title{Manual}\n\\begin{document}\n\\section{Speed}\n4 knots.\n\\subsection*{Night}\nNone.\n",
            "Manual",
            HEADINGS[1:],
        ),
        ("b/a.py", "import os\n\n\ndef read():\n    return 4\n", "a.py", []),
    ],
)
def test_marked_up_text_has_headings_and_code_its_files_name(
    name: str, source: str, title: str, headings: list[tuple[int, str]]
) -> None:
    document, _ = read(source.encode(), name)
    assert (document.title, document.canonical_text) == (title, source)
    assert [
        (block.level, block.title) for block in document.blocks if block.kind is BlockKind.HEADING
    ] == headings
