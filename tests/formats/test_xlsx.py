from __future__ import annotations

import pytest

from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers import xlsx as xlsx_format
from responsa_formats.parsers.number_formats import BUILT_IN, compile_format, general
from responsa_formats.parsers.office_samples import relationships
from responsa_formats.parsers.sniff import sniff
from responsa_formats.rejections import Cause
from responsa_formats.text.canonical import BlockKind, Place
from tests.formats.office_files import changed, parse, paths, spans, xlsx
from tests.formats.originals import rejected

STYLES = (
    '<numFmts count="1"><numFmt numFmtId="164" formatCode="#,##0.00&quot; kr&quot;"/></numFmts>'
    '<cellStyleXfs><xf numFmtId="9"/></cellStyleXfs><cellXfs><xf numFmtId="0"/><xf '
    'numFmtId="14"/><xf numFmtId="9"/><xf numFmtId="164"/></cellXfs>'
)


def cell(reference: str, value: str, attributes: str = "") -> str:
    return f'<c r="{reference}" {attributes}><v>{value}</v></c>'


def row(number: int, *cells: str) -> str:
    return f'<row r="{number}">{"".join(cells)}</row>'


def test_sheets_are_headings_and_rows_are_rows_of_a_table() -> None:
    strings = "<si><t>Mill</t></si><si><r><t>Gr</t></r><r><t>ain </t></r><rPh><t>x</t></rPh></si><si><t>a_x000D_b_x005F_</t></si>"
    sheets = {
        "Prices": row(2, cell("B2", "0", 't="s"'), cell("C2", "1", 't="s"'), cell("F2", "2", 't="s"'))
        + row(3, cell("B3", "Sandford", 't="str"'), cell("F3", "#N/A", 't="e"'))
        + row(9, '<c r="C9" t="inlineStr"><is><t>one\ntwo</t></is></c>', cell("D9", "", 't="str"')),
        "Empty": "",
        "Secret": row(1, cell("A1", "1")),
        "Old mills": row(1, cell("A1", "1", 't="b"')),
    }
    made = xlsx(sheets, strings=strings, hidden={"Secret": "veryHidden"})
    document = parse(made, "folder/mills of Kent.xlsx")
    assert document.canonical_text == (
        "Prices\n\nMill | Grain | a b_\n---|---|---\nSandford |  | #N/A\n| | one two\n\nOld mills\n\nTRUE"
    )
    assert [kind for kind, _, _ in spans(document)] == [
        BlockKind.HEADING,
        BlockKind.TABLE,
        BlockKind.TABLE,
        BlockKind.TABLE,
        BlockKind.HEADING,
        BlockKind.TABLE,
    ]
    assert document.title == "mills of Kent"
    assert paths(document) == [
        "Prices",
        "Prices!B2:F2",
        "Prices!B3:F3",
        "Prices!C9",
        "Old mills",
        "'Old mills'!A1",
    ]
    assert document.blocks[1].place == Place(page=1, path="Prices!B2:F2")
    assert document.blocks[5].place == Place(page=4, path="'Old mills'!A1")


def test_numbers_are_shown_in_their_formats() -> None:
    content = row(
        1,
        cell("A1", "45351", 's="1"'),
        cell("B1", "0.25", 's="2"'),
        cell("C1", "1234.5", 's="3"'),
        cell("D1", "0.30000000000000004"),
        cell("E1", "12345678901234567890"),
        cell("F1", "7", 's="99"'),
        '<c r="G1"><f>SUM(1,2)</f><v>3</v></c>',
        "<c><f>A1</f></c>",
        cell("I1", "not a number"),
    )
    assert parse(xlsx({"S": content}, styles=STYLES), "a.xlsx").canonical_text == (
        "S\n\n2024-02-29 | 25% | 1,234.50 kr | 0.3 | 1.234567890e+19 | 7 | 3 | 45351 | not a number".replace(
            "1.234567890e", "1.23456789e"
        )
    )


def test_cells_keep_what_their_fonts_say() -> None:
    def run(text: str, properties: str = "") -> str:
        return f"<r><rPr>{properties}</rPr><t>{text}</t></r>"

    power = (
        run("10")
        + run("6", '<vertAlign val="superscript"/>')
        + run(" H")
        + run("2", '<vertAlign val="subscript"/>')
    )
    price = (
        run("50 ", "<strike/>") + run("m", '<strike/><rFont val="Symbol"/>') + run(" 40", '<strike val="0"/>')
    )
    fonts = '<fonts><font/><font><strike/><vertAlign val="superscript"/></font><font><name val="Wingdings"/></font></fonts>'
    formats = '<cellXfs><xf/><xf fontId="1" numFmtId="2"/><xf fontId="2"/><xf fontId="9"/></cellXfs>'
    cells = (
        cell("A1", "0", 't="s"') + f'<c r="B1" t="inlineStr"><is>{price}</is></c>' + cell("C1", "3", 's="1"')
        + cell("D1", "\u00fc", 't="str" s="2"') + cell("E1", "0", 't="s" s="3"')
    )  # fmt: skip
    made = xlsx({"A": row(1, cells)}, strings=f"<si>{power}</si>", styles=fonts + formats)
    assert parse(made, "a.xlsx").canonical_text == "A\n\n10⁶ H₂ | ~~50 μ~~ 40 | ~~3.00~~ | ✓ | 10⁶ H₂"


def test_a_workbook_that_counts_from_1904_says_so() -> None:
    made = xlsx({"S": row(1, cell("A1", "0", 's="1"'))}, styles=STYLES, workbook='<workbookPr date1904="1"/>')
    assert parse(made, "a.xlsx").canonical_text == "S\n\n1904-01-01"


@pytest.mark.parametrize(
    ("code", "number", "shown"),
    [
        ("0", 2.5, "2"),
        ("0.00", -1.005, "-1.00"),
        ("0.0", -0.01, "0.0"),
        ("#,##0", 1234567, "1,234,567"),
        ("0.##", 1.5, "1.5"),
        ("0.0#", 2, "2.0"),
        ("000", 7, "007"),
        ("0.0,,", 12_345_678, "12.3"),
        ("0.0%", 0.1234, "12.3%"),
        ("[$€-407] #,##0.00", 3, "€ 3.00"),
        ('"Nr. "0', 4, "Nr. 4"),
        ("0\\ \\k\\g", 5, "5 kg"),
        ("0;(0);-", -6, "(6)"),
        ("0;(0);-", 0, "-"),
        ("[Red]0", 7, "7"),
        ('[>100]"many";0', 200, "many"),
        ('[>100]"many";0', -5, "-5"),
        ('[=1]"running";[=0]"stopped"', 1, "running"),
        ('[=1]"running";[=0]"stopped"', 0, "stopped"),
        ('[=1]"running";[=0]"stopped"', 2.5, "2.5"),
        ('[Red][<0.9]"failed";[>=9E-1]0%', 0.71, "failed"),
        ('[Red][<0.9]"failed";[>=9E-1]0%', 0.95, "95%"),
        ("[<0](0);0.0", -3, "(3)"),
        ('[>=1000]0.0,"k";[<>0]0;"none"', 0, "none"),
        ('[>=1000]0.0,"k";[<>0]0;"none"', 1500, "1.5k"),
        ("[>9]0;(0);0.0", -3, "(3)"),
        ("[>9]0;(0);0.0", 3, "3.0"),
        ('[maybe]"x"0', 3, "x3"),
        ('[=maybe]"x"0', 3, "x3"),
        ("_(* #,##0.00_)", 8, "8.00"),
        ("# ?/?", 0.5, "1/2"),
        ("# ?/?", 2.5, "2 1/2"),
        ("# ?/?", 3.0, "3"),
        ("# ??/??", 1 / 3, "1/3"),
        ("# ??/??", 2.99, "2 98/99"),
        ("?/?", 2.5, "5/2"),
        ("# ?/8", 1.3, "1 2/8"),
        ("# ?/16", 0.999, "1"),
        ("# ?/?", -1.5, "-1 1/2"),
        ("# ?/?", 0.0, "0"),
        ("000-00-0000", 12345678, "012-34-5678"),
        ("+00 (000) 000000", 49401234567, "+49 (401) 234567"),
        ("(###) ###-####", 5550123, "() 555-0123"),
        ("00000-0000", -12345678901, "-1234567-8901"),
        ("0.00E+00", 12345.0, "12345"),
        ("General", 1.5, "1.5"),
        ('General" m"', 2, "2 m"),
        ("yyyy-mm-dd", 45351, "2024-02-29"),
        ("d. mmmm yyyy", 45351, "29. February 2024"),
        ("dddd, mmm yy", 45351, "Thursday, Feb 24"),
        ("ddd mmmmm", 45351, "Thu F"),
        ("d/m/yyyy h:mm", 45351.75, "29/2/2024 18:00"),
        ("hh:mm:ss AM/PM", 0.75, "06:00:00 PM"),
        ("mm:ss", 0.001, "01:26"),
        ("h:mm:ss.00", 0.5000001, "12:00:00.01"),
        ("[h]:mm", 1.5, "36:00"),
        ("[mm]", 0.5, "720"),
        ("yyyy-mm-dd", 1, "1900-01-01"),
        ("yyyy-mm-dd", 1e12, "1000000000000"),
        ("@", 3, "3"),
        ('"text"', 3, "text"),
    ],
)
def test_a_number_format(code: str, number: float, shown: str) -> None:
    assert compile_format(code, since_1904=False)(number) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0.1 + 0.2, "0.3"),
        (-0.0, "0"),
        (1e-12, "1e-12"),
        (1e20, "1e+20"),
        (123456789.5, "123456789.5"),
        (1e300 * 1e10, "inf"),
    ],
)
def test_the_general_format(number: float, shown: str) -> None:
    assert general(number) == shown


def test_every_built_in_format_shows_numbers() -> None:
    for code in BUILT_IN.values():
        assert compile_format(code, since_1904=False)(45351.5)


def test_a_cell_in_the_last_corner_costs_little() -> None:
    made = xlsx({"S": row(1, cell("A1", "1")) + row(1_048_576, cell("XFD1048576", "2"))})
    assert parse(made, "a.xlsx").canonical_text == "S\n\n1\n\n2"


def test_too_many_cells_are_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx_format, "MAX_CELLS", 3)
    made = xlsx(
        {
            "S": row(1, *(cell(f"{one}1", "1") for one in "AB")),
            "T": row(1, *(cell(f"{one}1", "1") for one in "AB")),
        }
    )
    with rejected(Cause.PARSER_LIMIT, match="more than 3 cells"):
        parse(made, "a.xlsx")


def test_cells_of_shared_strings_that_are_missing_are_empty() -> None:
    made = xlsx({"S": row(1, cell("A1", "5", 't="s"'), cell("B1", "x", 't="s"'), cell("C1", "1"))})
    assert parse(made, "a.xlsx").canonical_text == "S\n\n1"


def test_the_texts_of_shapes_follow_the_rows() -> None:
    space = "http://schemas.openxmlformats.org/drawingml/2006/main"
    shape = f'<d xmlns:a="{space}"><a:p><a:r><a:t>The key hangs </a:t></a:r><a:r><a:t>in room 12.</a:t></a:r></a:p><a:p/></d>'
    parts = {
        "xl/sheets/_rels/1.xml.rels": relationships({"../drawing.xml": "drawing"}).encode(),
        "xl/drawing.xml": shape.encode(),
    }
    for rows, text in (
        (row(1, cell("A1", "1")), "S\n\n1\n\nThe key hangs in room 12."),
        ("", "S\n\nThe key hangs in room 12."),
    ):
        assert parse(changed(xlsx({"S": rows}), parts), "a.xlsx").canonical_text == text


def test_hidden_sheets_comments_and_pictures_are_counted() -> None:
    made = xlsx({"S": row(1, cell("A1", "1")), "T": row(1, cell("A1", "2"))}, hidden={"T": "hidden"})
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    comments = f'<comments xmlns="{space}"><commentList><comment ref="A1"/><comment ref="A2"/></commentList></comments>'
    parts = {
        "xl/comments1.xml": comments.encode(),
        "xl/media/image1.png": b"x",
        "xl/charts/chart1.xml": b"<c/>",
    }
    original = sniff(changed(made, parts), "a.xlsx")
    xlsx_format.parse(original)
    assert original.left_out == {
        "hidden_sheet": 1,
        "comment": 2,
        "picture": 1,
        "chart": 1,
        "embedded_file": 0,
        "formula": 0,
    }


@pytest.mark.parametrize(
    ("formulas", "shown", "left_out"),
    [
        (["SUM(A1:A2)", "B1/4", 'IF(B1&gt;2,"much","")', "B1=3"], ["3", "0.75", "much", "TRUE"], 0),
        (["TODAY()", "NOW()-B1", "RAND()", 'IF(B1&gt;46000,"late","")', "A1+1"], ["", "", "", "", "2"], 4),
        (["1/0", "NO_SUCH(1)", "[1]Other!A1", "missing_name", "A1+A2"], ["", "", "", "", "3"], 4),
        (["B2+1", "B1+1", "A1*2"], ["", "", "2"], 2),
        (["(" * 5000 + "1" + ")" * 5000, "A2*2"], ["", "4"], 1),
        (['""', "A1"], ["", "1"], 0),
    ],
)
def test_formulas_without_results_are_computed_or_counted(
    formulas: list[str], shown: list[str], left_out: int
) -> None:
    cells = [f'<c r="B{number}"><f>{formula}</f><v></v></c>' for number, formula in enumerate(formulas, 1)]
    rows = [row(number, cell(f"A{number}", str(number)), one) for number, one in enumerate(cells, 1)]
    made = xlsx({"Sum 1": "".join(rows)})
    original = sniff(made, "a.xlsx")
    expected = [f"{number} | {text}" if text else str(number) for number, text in enumerate(shown, 1)]
    assert xlsx_format.parse(original).canonical_text.splitlines()[2:] == expected
    assert original.left_out[LeftOutKind.FORMULA] == left_out


def test_a_formula_whose_stored_result_is_an_empty_text_has_it() -> None:
    original = sniff(
        xlsx({"S": row(1, cell("A1", "1"), '<c r="B1" t="str"><f>A1&amp;"x"</f><v></v></c>')}), "a.xlsx"
    )
    assert xlsx_format.parse(original).canonical_text == "S\n\n1"


def test_what_printed_pages_say_comes_once() -> None:
    head = (
        '<headerFooter><oddHeader>&amp;L&amp;"Arial,Bold"&amp;12QM-17-04, rev. C&amp;CA '
        "&amp;&amp; B&amp;RPage &amp;P of "
        "&amp;N</oddHeader><oddFooter>&amp;K00FF00&amp;D</oddFooter></headerFooter>"
    )
    made = xlsx({"S": row(1, cell("A1", "1")), "T": row(1, cell("A1", "2"))}, after=head)
    assert parse(made, "a.xlsx").canonical_text == "S\n\nQM-17-04, rev. C | A & B\n\n1\n\nT\n\n2"


C = 'xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart"'


def series(name: str, values: dict[str, str], sheet: str = "Data", code: str = "General") -> str:
    points = [f'<c:pt idx="{{}}"><c:v>{one}</c:v></c:pt>' for one in (*values, *values.values())]
    labels = "".join(one.format(n) for n, one in enumerate(points[: len(values)]))
    numbers = "".join(one.format(n) for n, one in enumerate(points[len(values) :]))
    return (
        f"<c:ser><c:tx><c:strRef><c:f>{sheet}!$B$1</c:f><c:strCache><c:pt idx='0'><c:v>{name}</c:v></c:pt></c:strCache></c:strRef></c:tx>"
        f"<c:cat><c:strRef><c:f>{sheet}!$A$2:$A$9</c:f><c:strCache>{labels}</c:strCache></c:strRef></c:cat>"
        f"<c:val><c:numRef><c:f>{sheet}!$B$2:$B$9</c:f><c:numCache>"
        f"<c:formatCode>{code}</c:formatCode>{numbers}</c:numCache></c:numRef></c:val></c:ser>"
    )


def chart(*made: str, title: str = "") -> str:
    a = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
    said = (
        f"<c:title><c:tx><c:rich><a:p><a:r><a:t>{title}</a:t></a:r></a:p></c:rich></c:tx></c:title>"
        if title
        else ""
    )
    return (
        f"<c:chartSpace {C} "
        f"{a}><c:chart>{said}<c:plotArea><c:barChart>{''.join(made)}</c:barChart></c:plotArea></c:chart></c:chartSpace>"
    )


@pytest.mark.parametrize(
    ("content", "text", "left_out"),
    [
        (
            chart(
                series("North", {"Q1": "31", "Q2": "0.5"}, code="0.0"),
                series("South", {"Q1": "12", "Q2": "7"}),
                title="Guests",
            ),
            "S\n\n1\n\nGuests\n\n| | North | South\n---|---|---\nQ1 | 31.0 | 12\nQ2 | 0.5 | 7",
            0,
        ),
        (chart(series("North", {"Q1": "31"}, "S"), title="Guests"), "S\n\n1\n\nGuests", 0),
        (chart(series("North", {}), title="Guests"), "S\n\n1", 1),
        (
            chart(
                "<c:ser><c:tx><c:v>Flow</c:v></c:tx><c:cat><c:multiLvlStrRef><c:multiLvlStrCache><c:lvl><c:pt "
                "idx='0'><c:v>Q1</c:v></c:pt><c:pt idx='1'><c:v>Q2</c:v></c:pt></c:lvl>"
                "<c:lvl><c:pt idx='0'><c:v>2026</c:v></c:pt></c:lvl></c:multiLvlStrCache></c:multiLvlStrRef></c:cat>"
                "<c:val><c:numLit><c:pt idx='0'><c:v>5</c:v></c:pt><c:pt idx='1' "
                "formatCode='0%'><c:v>0.5</c:v></c:pt></c:numLit></c:val></c:ser>"
            ),
            "S\n\n1\n\n| | Flow\n---|---\n2026 Q1 | 5\n2026 Q2 | 50%",
            0,
        ),
    ],
)
def test_the_stored_values_of_a_chart_are_a_table(content: str, text: str, left_out: int) -> None:
    r = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
    parts = {
        "xl/sheets/_rels/1.xml.rels": relationships({"../drawing.xml": "drawing"}),
        "xl/drawing.xml": f'<d {C} {r}><c:chart r:id="r1"/></d>',
        "xl/_rels/drawing.xml.rels": relationships({"charts/chart1.xml": "chart"}),
        "xl/charts/chart1.xml": content,
        "xl/charts/_rels/chart1.xml.rels": relationships({"../embeddings/a.xlsx": "package"}),
        "xl/embeddings/a.xlsx": "x",
    }
    made = xlsx({"S": row(1, cell("A1", "1"))})
    original = sniff(changed(made, {name: part.encode() for name, part in parts.items()}), "a.xlsx")
    assert xlsx_format.parse(original).canonical_text == text
    assert (original.left_out[LeftOutKind.CHART], original.left_out[LeftOutKind.EMBEDDED_FILE]) == (
        left_out,
        left_out,
    )


def test_a_workbook_without_visible_cells_is_empty() -> None:
    with rejected(Cause.EMPTY, match="no text on visible sheets"):
        parse(xlsx({"S": row(1, cell("A1", "1"))}, hidden={"S": "hidden"}), "a.xlsx")
