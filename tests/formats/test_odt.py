from __future__ import annotations

import pytest

from responsa_formats.parsers import odt as odt_format
from responsa_formats.parsers.sniff import sniff
from responsa_formats.rejections import Cause
from responsa_formats.text.canonical import BlockKind
from tests.formats.office_files import changed, odt, parse, paths, spans
from tests.formats.originals import rejected

LISTS = """
<text:list-style style:name="N">
  <text:list-level-style-number text:level="1" style:num-format="1" style:num-suffix="."/>
  <text:list-level-style-number text:level="2" style:num-format="a" style:num-suffix=")" text:display-levels="2"/>
</text:list-style>
<text:list-style style:name="B"><text:list-level-style-bullet text:level="1" text:bullet-char="*"/></text:list-style>
<text:list-style style:name="E"><text:list-level-style-number text:level="1" style:num-format=""/></text:list-style>
"""
OUTLINE = """
<text:outline-style style:name="Outline">
  <text:outline-level-style text:level="1" style:num-format="I" style:num-suffix="."/>
  <text:outline-level-style text:level="2" style:num-format=""/>
</text:outline-style>
"""

STYLES = "".join(
    f'<style:style style:name="{name}" style:parent-style-name="{above}"><style:text-properties {properties}/></style:style>'
    for name, above, properties in [
        ("Gone", "", 'text:display="none"'),
        ("Up", "", 'style:text-position="super 58%"'),
        ("High", "", 'style:text-position="33% 58%"'),
        ("Down", "", 'style:text-position="-8% 58%"'),
        ("Off", "", 'style:text-line-through-style="solid"'),
        ("Old", "Off", 'style:text-position="0% 100%"'),
        ("Sign", "", 'style:font-name="Symbol"'),
    ]
)


def text_of(body: str, **parts: str) -> str:
    return parse(odt(body, **parts), "a.odt").canonical_text


def items(*texts: str, style: str, more: str = "") -> str:
    rows = "".join(
        f"<text:list-item>{text if text.startswith('<') else f'<text:p>{text}</text:p>'}</text:list-item>"
        for text in texts
    )
    return f'<text:list text:style-name="{style}" {more}>{rows}</text:list>'


def row(*cells: str) -> str:
    found = "".join(
        cell if cell.startswith("<table:") else f"<table:table-cell>{cell}</table:table-cell>"
        for cell in cells
    )
    return f"<table:table-row>{found}</table:table-row>"


def p(text: str) -> str:
    return f"<text:p>{text}</text:p>"


def test_headings_and_paragraphs() -> None:
    body = (
        '<text:p text:style-name="Title">The mill</text:p><text:h '
        'text:outline-level="1">Grain</text:h><text:h text:outline-level="2">Rye</text:h>'
        '<text:h text:outline-level="1">Water</text:h><text:section><text:p>Text.</text:p></text:section>'
    )
    meta = "<dc:title>Mills</dc:title><dc:language>en-GB</dc:language>"
    document = parse(odt(body, styles=OUTLINE, meta=meta), "a.odt")
    assert spans(document) == [
        (BlockKind.HEADING, 1, "The mill"),
        (BlockKind.HEADING, 1, "I. Grain"),
        (BlockKind.HEADING, 2, "Rye"),
        (BlockKind.HEADING, 1, "II. Water"),
        (BlockKind.PARAGRAPH, 0, "Text."),
    ]
    assert (document.title, document.language) == ("The mill", "en-GB")
    assert paths(document)[4] == "paragraph 5"
    assert parse(odt(body), "a.odt").title == "The mill"


def test_lists_have_the_labels_that_are_shown() -> None:
    inner = items("deeper", "deeper still", style="N")
    body = (
        items("one", f"<text:p>two</text:p><text:p>and on</text:p>{inner}", style="N")
        + items("three", style="N", more='text:continue-numbering="true"')
        + items("again", style="N")
        + items("dot", style="B")
        + items("bare", style="E")
        + items("unknown", style="Z")
        + (
            "<text:list "
            'text:style-name="N"><text:list-header><text:p>head</text:p></text:list-header><text:list-item '
            'text:start-value="7"><text:p>seven</text:p></text:list-item></text:list>'
        )
    )
    document = parse(odt(body, automatic=LISTS), "a.odt")
    assert document.canonical_text == (
        "1. one\n2. two\n  and on\n  2.a) deeper\n  2.b) deeper still\n3. three\n1. again\n- dot\n  bare\n- unknown\n  head\n7. seven"
    )
    assert spans(document)[3] == (BlockKind.LIST_ITEM, 2, "2.a) deeper")


@pytest.mark.parametrize(
    ("paragraph", "expected"),
    [
        ("<text:number>1.</text:number>as stored", "as stored"),
        ("a  b\n c<text:s text:c='2'/>d<text:tab/>e<text:line-break/>f", "a b c d e\nf"),
        ("<text:span>Soft\u00ad</text:span>ly <text:a>linked</text:a>", "Softly linked"),
        ("x<office:annotation><text:p>comment</text:p></office:annotation>y<office:annotation-end/>", "xy"),
        (
            "<text:ruby><text:ruby-base>漢</text:ruby-base><text:ruby-text>kan</text:ruby-text></text:ruby>",
            "漢",
        ),
        ("<text:date>1 May</text:date> <text:page-number>3</text:page-number>", "1 May 3"),
        ("see<text:span text:style-name='Gone'>hidden</text:span>n", "seen"),
        (
            "10<text:span text:style-name='Up'>6</text:span> x<text:span text:style-name='High'>a+<text:span>1</text:span></text:span>",
            "10⁶ x^(a+1)",
        ),
        ("H<text:span text:style-name='Down'>2</text:span>O", "H₂O"),
        (
            "<text:span text:style-name='Off'>80 <text:span>euros</text:span></text:span> 65",
            "~~80 euros~~ 65",
        ),
        ("50 <text:span text:style-name='Sign'>\uf06d</text:span>g", "50 μg"),
        ("in<text:change-start/>serted<text:change-end/><text:change/>", "inserted"),
    ],
)
def test_a_paragraph_is_what_is_shown(paragraph: str, expected: str) -> None:
    assert text_of(p(paragraph), automatic=STYLES) == expected


def test_a_paragraph_is_struck_by_its_style() -> None:
    assert (
        text_of('<text:p text:style-name="Old">Dogs may come.</text:p>', automatic=STYLES)
        == "~~Dogs may come.~~"
    )


def test_tracked_changes_count_as_accepted() -> None:
    body = (
        "<text:tracked-changes><text:changed-region><text:deletion><text:p>deleted</text:p></text:deletion>"
        "</text:changed-region></text:tracked-changes>"
    )
    assert text_of(body + p("The<text:change/> mill.")) == "The mill."


def test_notes_and_text_boxes_follow_their_paragraph() -> None:
    def note(kind: str, text: str) -> str:
        return (
            "<text:note "
            f'text:note-class="{kind}"><text:note-citation>1</text:note-citation><text:note-body>{p(text)}</text:note-body></text:note>'
        )

    frame = f"<draw:frame><draw:text-box>{p('Boxed.')}</draw:text-box><draw:image/></draw:frame>"
    drawn = f"<draw:custom-shape>{p('Drawn.')}</draw:custom-shape>"
    body = p(f"Rye{note('footnote', 'A grass.')} grows{note('endnote', 'The end.')}.{frame}{drawn}") + p(
        "Next."
    )
    document = parse(odt(body), "a.odt")
    assert document.canonical_text == "Rye grows.\n\nA grass.\n\nBoxed.\n\nDrawn.\n\nNext.\n\nThe end."
    assert paths(document) == [
        "paragraph 1",
        "footnote 1",
        "paragraph 1, text box",
        "paragraph 1, text box",
        "paragraph 2",
        "endnote 2",
    ]
    assert text_of(frame) == "Boxed."
    table = f"<table:table>{row(p(f'Rye{frame}'), p('1'))}</table:table>"
    assert text_of(table + p("Next.")) == "Rye | 1\n\nBoxed.\n\nNext."


def test_tables_keep_their_rows_and_merged_cells_belong_to_each_of_theirs() -> None:
    body = (
        "<table:table><table:table-header-rows>"
        + row(
            f'<table:table-cell table:number-columns-spanned="2">{p("Mill")}</table:table-cell>',
            "<table:covered-table-cell/>",
            p("Grain"),
        )
        + "</table:table-header-rows>"
        + row(p("Sandford") + items("x", "y", style="N"), p("1"), p("rye<text:s/>"))
        + "</table:table>"
        + "<table:table>"
        + row(f'<table:table-cell table:number-columns-repeated="999999">{p("a")}</table:table-cell>')
        + row(p("b"), '<table:table-cell table:number-columns-repeated="999999"/>')
        + "</table:table>"
    )
    document = parse(odt(body), "a.odt")
    lines = document.canonical_text.split("\n")
    assert lines[:3] == ["Mill | Mill | Grain", "---|---|---", "Sandford x y | 1 | rye"]
    assert lines[4] == " | ".join(["a"] * 64)
    assert lines[5] == "b"
    assert paths(document) == ["table 1, row 1", "table 1, row 2", "table 2, row 1", "table 2, row 2"]


def test_a_table_in_a_table_is_read_where_it_stands() -> None:
    inner = f"<table:table>{row(p('a'), p('b'))}</table:table>"
    assert (
        text_of(f"<table:table>{row(p('Left'), p('Above') + inner)}</table:table>")
        == "Left\n\nAbove\n\na | b"
    )


def test_an_encrypted_document_says_so() -> None:
    entry = "<manifest:file-entry><manifest:encryption-data/></manifest:file-entry>"
    with rejected(Cause.ENCRYPTED, match="protected by a password"):
        parse(odt(p("x"), manifest=entry), "a.odt")
    newer = changed(odt(p("x")), {"content.xml": None, "encrypted-package": b"\x01\x02"})
    with rejected(Cause.ENCRYPTED):
        parse(newer, "a.odt")


def test_a_document_without_text_is_empty() -> None:
    with rejected(Cause.EMPTY, match="OpenDocument file has no text"):
        parse(odt(p("")), "a.odt")
    with rejected(Cause.MALFORMED, match=r'"content\.xml" of the document is missing'):
        parse(changed(odt(p("x")), {"content.xml": None}), "a.odt")


def test_what_headers_and_footers_say_besides_page_numbers_comes_once() -> None:
    pages = "<text:page-number>3</text:page-number> of <text:page-count>9</text:page-count>"
    layouts = (
        f"<style:master-page><style:header>{p('QM-17-04<text:tab/>Page ' + pages)}{p('Body.')}</style:header>"
        f'<style:header-first style:display="false">{p("Gone")}</style:header-first>'
        f"<style:footer><table:table>{row(p('Valid from'), p('1 March'))}</table:table></style:footer></style:master-page>"
        f"<style:master-page><style:header>{p('QM-17-04')}</style:header></style:master-page>"
    )
    document = parse(odt(p("Body."), styles=layouts), "a.odt")
    assert document.canonical_text == "QM-17-04\n\nValid from | 1 March\n\nBody."
    assert (document.title, paths(document)[0]) == ("a", "header")


def test_comments_and_pictures_are_counted_and_contents_are_left_out() -> None:
    contents = "<text:table-of-content><text:index-body><text:p>Cleaning 7</text:p></text:index-body></text:table-of-content>"
    body = f"{contents}<text:p>Brush.<office:annotation><text:p>Why?</text:p></office:annotation><draw:image/></text:p>"
    original = sniff(odt(body), "a.odt")
    assert odt_format.parse(original).canonical_text == "Brush."
    assert original.left_out == {"comment": 1, "picture": 1, "embedded_file": 0}
