from __future__ import annotations

from responsa_formats.rejections import Cause
from responsa_formats.text.canonical import BlockKind, Place
from tests.formats.office_files import P, core, parse, paths, pptx, shape, slide, spans
from tests.formats.originals import rejected


def paragraph(text: str, properties: str = "") -> str:
    return f"<a:p><a:pPr {properties}</a:pPr><a:r><a:t>{text}</a:t></a:r></a:p>"


def text_of(*shapes: str) -> str:
    return parse(pptx({"a": {"slide": slide("".join(shapes))}}), "a.pptx").canonical_text


def test_slides_have_their_titles_as_headings_and_their_numbers_as_places() -> None:
    slides = {
        "b": {"slide": slide(shape("Second shape.") + shape("The mill", "ctrTitle"))},
        "c": {"slide": slide(shape("Never shown.", "title"), 'show="0"')},
        "a": {
            "slide": slide(shape("Rye.")),
            "notesSlide": slide(shape("7", "sldNum") + shape("Say it loud.", "body"), root="notes"),
        },
    }
    document = parse(pptx(slides, core("PowerPoint Presentation")), "a.pptx")
    assert spans(document) == [
        (BlockKind.HEADING, 1, "The mill"),
        (BlockKind.PARAGRAPH, 0, "Second shape."),
        (BlockKind.HEADING, 1, "Slide 3"),
        (BlockKind.PARAGRAPH, 0, "Rye."),
        (BlockKind.PARAGRAPH, 0, "Say it loud."),
    ]
    assert document.title == "The mill"
    assert document.blocks[0].place == Place(page=1, path="slide 1")
    assert document.blocks[4].place == Place(page=3, path="slide 3, notes")
    assert parse(pptx(slides, core("Deck", "de")), "a.pptx").title == "The mill"


def test_a_slide_with_a_title_alone_is_kept() -> None:
    assert (
        text_of(shape("<a:p><a:r><a:t>The</a:t></a:r><a:br/><a:r><a:t>mill</a:t></a:r></a:p>", "title"))
        == "The mill"
    )


def test_body_paragraphs_are_list_items_with_levels() -> None:
    body = (
        paragraph("one", ">")
        + paragraph("deeper", 'lvl="1">')
        + paragraph("plain", "><a:buNone/>")
        + paragraph("first", '><a:buAutoNum type="alphaLcParenR" startAt="2"/>')
        + paragraph("second", '><a:buAutoNum type="alphaLcParenR" startAt="2"/>')
        + paragraph("third", '><a:buAutoNum type="romanUcParenBoth"/>')
    )
    found = text_of(
        shape("T", "title"),
        shape(body, ""),
        shape(paragraph("box", ">") + paragraph("dot", '><a:buChar char="x"/>')),
    )
    assert found == "T\n\n- one\n  - deeper\n\nplain\n\nb) first\nc) second\n(I) third\n\nbox\n\n- dot"


def test_tables_groups_and_diagrams_are_read() -> None:
    cell = "<a:tc {}><a:txBody>" + paragraph("{}", ">") + "</a:txBody></a:tc>"
    row = (
        "<a:tr>"
        + cell.format('gridSpan="2"', "Mill")
        + cell.format('hMerge="1"', "gone")
        + cell.format("", "Grain")
        + "</a:tr>"
    )
    frame = f"<p:graphicFrame><a:graphic><a:graphicData><a:tbl>{row}</a:tbl></a:graphicData></a:graphic></p:graphicFrame>"
    hidden = shape("Hidden.", attributes='hidden="1"')
    group = f"<p:grpSp><p:nvGrpSpPr><p:cNvPr/></p:nvGrpSpPr>{shape('In a group.')}{hidden}</p:grpSp>"
    smart = '<p:graphicFrame><a:graphic><a:graphicData><dgm:relIds r:dm="r1"/></a:graphicData></a:graphic></p:graphicFrame>'
    data = f"<dgm:dataModel {P}><dgm:ptLst><dgm:pt><dgm:t>{paragraph('Step', '>')}</dgm:t></dgm:pt></dgm:ptLst></dgm:dataModel>"
    furniture = shape("1 May", "dt") + shape("Footer", "ftr") + shape("3", "sldNum")
    made = pptx({"a": {"slide": slide(frame + group + smart + furniture), "diagramData": data}})
    document = parse(made, "a.pptx")
    assert document.canonical_text == "Slide 1\n\nMill | Mill | Grain\n\nIn a group.\n\n- Step\n\nFooter"
    assert paths(document) == ["slide 1"] * 5


def test_a_footer_comes_once_and_a_chart_is_a_table() -> None:
    c = 'xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart"'
    frame = f'<p:graphicFrame><a:graphic><a:graphicData><c:chart {c} r:id="r1"/></a:graphicData></a:graphic></p:graphicFrame>'
    named = (
        "<c:tx><c:v>Tea</c:v></c:tx><c:cat><c:strLit><c:pt idx='0'><c:v>May</c:v></c:pt></c:strLit></c:cat>"
    )
    values = "<c:val><c:numLit><c:pt idx='0'><c:v>5</c:v></c:pt></c:numLit></c:val>"
    footer = shape("Rev. C", "ftr")
    chart = f"<c:chartSpace {c}><c:ser>{named}{values}</c:ser></c:chartSpace>"
    slides = {
        "a": {"slide": slide(footer + frame), "chart": chart},
        "b": {"slide": slide(shape("Two.") + footer)},
    }
    text = parse(pptx(slides), "a.pptx").canonical_text
    assert text == "Slide 1\n\nRev. C\n\n| | Tea\n---|---\nMay | 5\n\nSlide 2\n\nTwo."


def test_runs_keep_what_their_form_says() -> None:
    def run(text: str, attributes: str = "", fonts: str = "") -> str:
        return f"<a:r><a:rPr {attributes}>{fonts}</a:rPr><a:t>{text}</a:t></a:r>"

    runs = (
        run("10") + run("6", 'baseline="30000"') + run(" H") + run("2", 'baseline="-25000"') + run("O ", 'baseline="0"')
        + run("80 ", 'strike="sngStrike"') + run("euros", 'strike="dblStrike"') + run(" 65 ", 'strike="noStrike"')
        + run("\uf0fc ok", fonts='<a:latin typeface="Arial"/><a:sym typeface="Wingdings"/>')
        + run("m", fonts='<a:latin typeface="Symbol"/>')
    )  # fmt: skip
    body = f"<p:sp><p:txBody><a:p>{runs}</a:p></p:txBody></p:sp>"
    assert text_of(body) == "Slide 1\n\n10⁶ H₂O ~~80 euros~~ 65 ✓ okμ"


def test_a_presentation_without_text_is_empty() -> None:
    with rejected(Cause.EMPTY, match="no text on visible slides"):
        parse(pptx({"a": {"slide": slide("")}}), "a.pptx")
    with rejected(Cause.EMPTY):
        parse(pptx({"a": {"slide": slide(shape("x"), 'show="0"')}}), "a.pptx")
