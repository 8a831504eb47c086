"""Labels of lists: the model that all formats share, and what each format makes of it."""

from __future__ import annotations

import pytest

from responsa_formats.parsers.numbering import numeral
from responsa_formats.text.canonical import BlockKind
from tests.formats.office_files import docx, odt, parse, pptx, shape, slide, spans
from tests.formats.test_docx import item, p, table, tc
from tests.formats.test_odt import items
from tests.formats.test_pptx import paragraph


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("1", {1: "1", 0: "0", -3: "-3"}),
        ("01", {2: "02", 99: "99", 100: "100"}),
        ("001", {2: "002"}),
        ("1st", {1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 12: "12th", 22: "22nd", 113: "113th"}),
        ("a", {1: "a", 26: "z", 27: "aa", 28: "ab", 703: "aaa", 0: "0"}),
        ("aa", {1: "a", 26: "z", 27: "aa", 28: "bb", 5000: "5000"}),
        ("AA", {28: "BB"}),
        ("i", {4: "iv", 1994: "mcmxciv", 4000: "4000"}),
        ("I", {2: "II"}),
        ("α", {1: "α", 24: "ω"}),
        ("аа", {1: "а", 30: "аа"}),
        ("①", {1: "①", 20: "⑳", 21: "21"}),
        ("一", {1: "一", 10: "十", 12: "十二", 20: "二十", 35: "三十五", 100: "100"}),
        ("unknown", {7: "7"}),
    ],
)
def test_a_number_in_each_form(form: str, shown: dict[int, str]) -> None:
    assert {number: numeral(number, form) for number in shown} == shown


# -- HTML -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<ol type=a><li>Open<li>Fill<li value=5>Close<li>Go</ol>", "a. Open\nb. Fill\ne. Close\nf. Go"),
        ("<ol type=I start=3><li>Rent<li>Keys</ol>", "III. Rent\nIV. Keys"),
        ("<ol reversed><li>Third<li>Second<li>First</ol>", "3. Third\n2. Second\n1. First"),
        ("<ol reversed start=10><li>Ten<li value=5>Five<li>Four</ol>", "10. Ten\n5. Five\n4. Four"),
        ("<ol><li>One<li><img src=x.png alt=''><li>Three</ol>", "1. One\n3. Three"),
        ("<ol style='list-style-type: lower-roman'><li>a<li>b</ol>", "i. a\nii. b"),
        ("<ol style='list-style:decimal-leading-zero'><li>a</ol>", "01. a"),
        ("<ol style='list-style-type:none'><li>1) own<li>2) words</ol>", "1) own\n  2) words"),
        ("<ol><li type=A>a<li>b</ol>", "A. a\n2. b"),
        ("<ol><li>a<ol type=a><li>b<li>c</ol><li>d</ol>", "1. a\n  a. b\n  b. c\n2. d"),
        ("<ol><li>a<li hidden>b<li>c</ol>", "1. a\n2. c"),
        ("<table><tr><td><ol><li>a<li>b</ol><td><ul><li>c</ul></table>", "1. a 2. b | c"),
        # LibreOffice's export
        ('<ol type="i"><li><p style="margin-bottom: 0cm">a</p></li>\n<li><p>b</p></li></ol>', "i. a\nii. b"),
        # Google Docs' export: each level is a list of its own, and later parts of it name their start
        (
            '<ol class="lst-kix_x-0 start" start="1"><li class="c0 li-bullet-0"><span>a</span></li></ol><p>x</p>'
            '<ol class="lst-kix_x-0" start="2"><li class="c0 li-bullet-0"><span>b</span></li></ol>',
            "1. a\n\nx\n\n2. b",
        ),
    ],
)
def test_lists_of_html_have_the_labels_that_a_browser_shows(html: str, text: str) -> None:
    assert parse(html.encode(), "a.html").canonical_text.strip() == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<dl><dt>Child<dd>4 euros<dt>Adult<dd>9 euros</dl>", "Child: 4 euros\nAdult: 9 euros"),
        (
            "<dl><div><dt>Open:</dt><dd><p>Noon.</p><p>Not on Sunday.</p></dd></div></dl>",
            "Open: Noon.\n  Not on Sunday.",
        ),
        ("<dl><dt>Tea<dt>Coffee<dd>3 euros<dd>2 with a card</dl>", "Tea, Coffee: 3 euros\n  2 with a card"),
        ("<dl><dt>Left<dd></dd><dt>Right<dd>Door 2</dl>", "Left\nRight: Door 2"),
        ("<dl><dt>Alone</dl>x", "Alone\n\nx"),
        ("<dl><dt>Tools<dd><ul><li>saw<li>axe</ul></dl>", "Tools\n  - saw\n  - axe"),
        ("<dl><dt>Fees<dd><table><tr><td>a<td>b</table></dl>", "Fees\n\na | b"),
        ("<dl><dt><h3>Fees</h3><dd>None.</dl>", "Fees\n\n  None."),
        ("<table><tr><td><dl><dt>Child<dd>4</dl><td>x</table>", "Child 4 | x"),
        ("<dl><dd>indented by a wiki</dl>", "indented by a wiki"),
    ],
)
def test_a_definition_begins_with_its_term(html: str, text: str) -> None:
    assert parse(html.encode(), "a.html").canonical_text.strip() == text


def test_a_term_and_its_definition_are_one_block() -> None:
    found = spans(parse(b"<dl><dt>Child<dd>4 euros</dl>", "a.html"))
    assert found == [(BlockKind.LIST_ITEM, 1, "Child: 4 euros")]


# -- Word -----------------------------------------------------------------------------------------------------------


def level(number: int, form: str, text: str, more: str = "") -> str:
    stated = form if form.startswith("<") else f'<w:numFmt w:val="{form}"/>'
    return f'<w:lvl w:ilvl="{number}"><w:start w:val="1"/>{stated}<w:lvlText w:val="{text}"/>{more}</w:lvl>'


def lists(*levels: str) -> str:
    """A numbering with the id 1."""
    made = f'<w:abstractNum w:abstractNumId="0">{"".join(levels)}</w:abstractNum>'
    return f'{made}<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num>'


CUSTOM = (
    '<mc:AlternateContent><mc:Choice Requires="w14"><w:numFmt w:val="custom" w:format="001, 002, 003, ..."/></mc:Choice>'
    '<mc:Fallback><w:numFmt w:val="decimal"/></mc:Fallback></mc:AlternateContent>'
)


@pytest.mark.parametrize(
    ("numbering", "levels", "labels"),
    [
        (
            lists(level(0, "upperRoman", "Article %1."), level(1, "decimalZero", "%1.%2", "<w:isLgl/>")),
            [0, 1, 0, 1, 1],
            ["Article I.", "1.01", "Article II.", "2.01", "2.02"],
        ),
        (
            lists(level(0, "upperLetter", "%1"), level(1, "lowerRoman", "%1-%2", "<w:isLgl/>")),
            [0, 1],
            ["A", "1-1"],
        ),
        (lists(level(0, "decimalZero", "Step %1")), [0, 0], ["Step 01", "Step 02"]),
        (lists(level(0, "ordinal", "%1")), [0, 0, 0], ["1st", "2nd", "3rd"]),
        (lists(level(0, CUSTOM, "%1:")), [0, 0], ["001:", "002:"]),
        (
            lists(level(0, "lowerLetter", "(%1)")),
            [0] * 28,
            [f"({chr(97 + n)})" for n in range(26)] + ["(aa)", "(bb)"],
        ),
        (lists(level(0, "none", "Note")), [0], ["Note"]),
        (
            lists(level(0, "decimal", "%1."), level(1, "decimal", "%1.%2.", '<w:lvlRestart w:val="0"/>')),
            [0, 1, 0, 1],
            ["1.", "1.1.", "2.", "2.2."],
        ),
        (
            lists(
                level(0, "decimal", "%1."),
                level(1, "decimal", "%1.%2."),
                level(2, "lowerLetter", "%3)", '<w:lvlRestart w:val="1"/>'),
            ),
            [0, 1, 2, 1, 2, 0, 2],
            ["1.", "1.1.", "a)", "1.2.", "b)", "2.", "a)"],
        ),
        (
            lists(
                level(0, "bullet", "\uf0a8", '<w:rPr><w:rFonts w:ascii="Wingdings"/></w:rPr>'),
                level(1, "bullet", "o"),
            ),
            [0, 1],
            ["☐", "-"],
        ),
    ],
)
def test_lists_of_word_have_the_labels_that_word_shows(
    numbering: str, levels: list[int], labels: list[str]
) -> None:
    body = "".join(item("x", 1, one) for one in levels)
    text = parse(docx(body, {"numbering": numbering}), "a.docx").canonical_text
    assert [line.strip().removesuffix(" x") for line in text.split("\n")] == labels


def test_a_style_of_word_takes_what_it_does_not_say_from_the_one_it_is_based_on() -> None:
    styles = (
        '<w:style w:type="paragraph" w:styleId="A"><w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr></w:style>'
        '<w:style w:type="paragraph" w:styleId="B"><w:basedOn w:val="A"/><w:pPr><w:numPr><w:ilvl w:val="1"/></w:numPr></w:pPr></w:style>'
    )
    numbering = lists(level(0, "decimal", "%1."), level(1, "decimal", "%1.%2."))
    body = (
        p("a", '<w:pStyle w:val="A"/>')
        + p("b", '<w:pStyle w:val="B"/>')
        + p("c", '<w:pStyle w:val="A"/><w:numPr><w:ilvl w:val="1"/></w:numPr>')
    )
    text = parse(docx(body, {"styles": styles, "numbering": numbering}), "a.docx").canonical_text
    assert text == "1. a\n  1.1. b\n  1.2. c"


def test_word_counts_items_without_text_and_items_in_tables() -> None:
    numbered = '<w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr>'
    body = (
        item("a", 1)
        + p("<w:r/>", numbered)
        + p("<w:r/>", f"{numbered}<w:rPr><w:vanish/></w:rPr>")
        + table(tc(item("", 1)) + tc("b"), tc(item("c", 1)) + tc("d"))
        + item("e", 1)
    )
    text = parse(docx(body, {"numbering": lists(level(0, "decimal", "%1."))}), "a.docx").canonical_text
    assert text == "1. a\n\n3. | b\n---|---\n4. c | d\n\n5. e"


# -- OpenDocument ---------------------------------------------------------------------------------------------------

STYLES = """
<text:list-style style:name="Z">\
<text:list-level-style-number text:level="1" style:num-format="01, 02, 03, ..." style:num-prefix="Step "/>\
</text:list-style>
<text:list-style style:name="O"><text:list-level-style-number text:level="1" style:num-format="1st"/></text:list-style>
<text:list-style style:name="S">\
<text:list-level-style-number text:level="1" style:num-format="a" style:num-letter-sync="true" text:start-value="28"/></text:list-style>
<text:list-style style:name="C"><text:list-level-style-number text:level="1" style:num-format="a" text:start-value="28"/></text:list-style>
<text:list-style style:name="L">
  <text:list-level-style-number text:level="1" style:num-format="I" style:num-list-format="Article %1%"/>
  <text:list-level-style-number text:level="2" style:num-format="1" style:num-list-format="Section %1%.%2%:"/>
</text:list-style>
<text:list-style style:name="K"><text:list-level-style-bullet text:level="1" text:bullet-char="☐"/></text:list-style>
"""


@pytest.mark.parametrize(
    ("style", "content", "text"),
    [
        ("Z", ("a", "b"), "Step 01 a\nStep 02 b"),
        ("O", ("a", "b"), "1st a\n2nd b"),
        ("S", ("a",), "bb a"),
        ("C", ("a",), "ab a"),
        (
            "L",
            ("a", f"<text:p>b</text:p>{items('c', style='L')}"),
            "Article I a\nArticle II b\n  Section II.1: c",
        ),
        ("K", ("a",), "☐ a"),
    ],
)
def test_lists_of_opendocument_have_the_labels_that_are_shown(
    style: str, content: tuple[str, ...], text: str
) -> None:
    assert parse(odt(items(*content, style=style), automatic=STYLES), "a.odt").canonical_text == text


def test_a_cell_of_opendocument_has_the_numbers_of_its_items() -> None:
    cells = [
        items("a", "<text:p>b</text:p><text:p>and on</text:p>", style="Z"),
        items("c", style="K"),
        "<text:p>d</text:p>",
    ]
    row = "".join(f"<table:table-cell>{cell}</table:table-cell>" for cell in cells)
    made = odt(f"<table:table><table:table-row>{row}</table:table-row></table:table>", automatic=STYLES)
    assert parse(made, "a.odt").canonical_text == "Step 01 a Step 02 b and on | ☐ c | d"


# -- PowerPoint -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "labels"),
    [
        ("arabicPlain", ["1", "2"]),
        ("arabicParenBoth", ["(1)", "(2)"]),
        ("alphaUcPeriod", ["A.", "B."]),
        ("romanLcParenR", ["i)", "ii)"]),
        ("circleNumWdBlackPlain", ["①", "②"]),
        ("ea1JpnChsDbPeriod", ["一.", "二."]),
    ],
)
def test_lists_of_powerpoint_have_the_labels_that_are_shown(scheme: str, labels: list[str]) -> None:
    stated = "".join(paragraph("x", f'><a:buAutoNum type="{scheme}"/>') for _ in labels)
    inherited = f'<a:lstStyle><a:lvl1pPr><a:buAutoNum type="{scheme}"/></a:lvl1pPr></a:lstStyle>' + "".join(
        paragraph("x", ">") for _ in labels
    )
    for body in (stated, inherited):
        made = pptx({"a": {"slide": slide(shape(body))}})
        assert parse(made, "a.pptx").canonical_text == "\n".join(
            ["Slide 1\n", *(f"{label} x" for label in labels)]
        )


def test_a_box_as_a_bullet_is_shown() -> None:
    body = paragraph("x", '><a:buFont typeface="Wingdings"/><a:buChar char="þ"/>')
    assert parse(pptx({"a": {"slide": slide(shape(body))}}), "a.pptx").canonical_text.endswith("☑ x")
