from __future__ import annotations

import pytest

from responsa_formats.parsers import docx as docx_format
from responsa_formats.parsers.office_samples import relationships, zip_members
from responsa_formats.parsers.sniff import sniff
from responsa_formats.rejections import Cause
from responsa_formats.text.canonical import BlockKind
from tests.formats.office_files import RELATIONS, changed, core, docx, parse, paths, spans
from tests.formats.originals import rejected

STYLES = """
<w:style w:type="paragraph" w:default="1" w:styleId="Standard"><w:name w:val="Normal"/></w:style>
<w:style w:type="paragraph" w:styleId="berschrift1"><w:name w:val="heading 1"/><w:basedOn w:val="Standard"/></w:style>
<w:style w:type="paragraph" w:styleId="Kapitel"><w:name w:val="Kapitel"/><w:basedOn w:val="berschrift1"/></w:style>
<w:style w:type="paragraph" w:styleId="Tief"><w:name w:val="Tief"/><w:pPr><w:outlineLvl w:val="2"/></w:pPr></w:style>
<w:style w:type="paragraph" w:styleId="TOC"><w:name w:val="TOC"/><w:basedOn w:val="berschrift1"/><w:pPr>\
<w:outlineLvl w:val="9"/></w:pPr></w:style>
<w:style w:type="paragraph" w:styleId="Loop"><w:name w:val="Loop"/><w:basedOn w:val="Loop"/></w:style>
<w:style w:type="paragraph" w:styleId="Strich"><w:name w:val="Strich"/><w:pPr><w:numPr><w:numId w:val="2"/></w:numPr></w:pPr></w:style>
<w:style w:type="character" w:styleId="Note"><w:rPr><w:vertAlign w:val="superscript"/></w:rPr></w:style>
<w:style w:type="character" w:styleId="Mark"><w:basedOn w:val="Note"/></w:style>
<w:style w:type="paragraph" w:styleId="Alt"><w:rPr><w:strike/></w:rPr></w:style>
<w:style w:type="character" w:styleId="Versteckt"><w:rPr><w:vanish/></w:rPr></w:style>
"""
NUMBERING = """
<w:abstractNum w:abstractNumId="0">
  <w:lvl w:ilvl="0"><w:start w:val="3"/><w:numFmt w:val="decimal"/><w:lvlText w:val="%1."/></w:lvl>
  <w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="lowerLetter"/><w:lvlText w:val="%1.%2)"/></w:lvl>
</w:abstractNum>
<w:abstractNum w:abstractNumId="1"><w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/><w:lvlText w:val="&#61623;"/></w:lvl></w:abstractNum>
<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num>
<w:num w:numId="2"><w:abstractNumId w:val="1"/></w:num>
<w:num w:numId="3"><w:abstractNumId w:val="0"/><w:lvlOverride w:ilvl="0"><w:startOverride w:val="1"/></w:lvlOverride></w:num>
"""


def p(text: str, properties: str = "") -> str:
    """A paragraph. text: plain text, or runs."""
    runs = text if text.startswith("<") else run(text)
    return f"<w:p><w:pPr>{properties}</w:pPr>{runs}</w:p>"


def run(text: str) -> str:
    return f'<w:r><w:t xml:space="preserve">{text}</w:t></w:r>'


def styled(text: str, style: str, more: str = "") -> str:
    return p(text, f'<w:pStyle w:val="{style}"/>{more}')


def item(text: str, number: int, level: int = 0) -> str:
    return p(text, f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{number}"/></w:numPr>')


def tc(content: str, properties: str = "") -> str:
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{content if content.startswith('<') else p(content)}</w:tc>"


def table(*rows: str) -> str:
    return f"<w:tbl>{''.join(f'<w:tr>{row}</w:tr>' for row in rows)}</w:tbl>"


def text_of(body: str, **parts: str) -> str:
    return parse(docx(body, parts), "a.docx").canonical_text


def test_headings_are_found_whatever_their_styles_are_called() -> None:
    body = (
        styled("Eins", "berschrift1")
        + styled("Zwei", "Kapitel")
        + styled("Drei", "Tief")
        + p("Vier", '<w:outlineLvl w:val="8"/>')
        + styled("Inhalt", "TOC")
        + styled("Text", "berschrift1", '<w:outlineLvl w:val="9"/>')
        + styled("Kreis", "Loop")
        + styled("Fehlt", "Missing")
    )
    document = parse(docx(body, {"styles": STYLES}), "a.docx")
    assert spans(document) == [
        (BlockKind.HEADING, 1, "Eins"),
        (BlockKind.HEADING, 1, "Zwei"),
        (BlockKind.HEADING, 3, "Drei"),
        (BlockKind.HEADING, 6, "Vier"),
        (BlockKind.PARAGRAPH, 0, "Inhalt"),
        (BlockKind.PARAGRAPH, 0, "Text"),
        (BlockKind.PARAGRAPH, 0, "Kreis"),
        (BlockKind.PARAGRAPH, 0, "Fehlt"),
    ]
    assert (document.title, document.language) == ("Eins", None)
    assert paths(document)[:2] == ["paragraph 1", "paragraph 2"]


def test_the_stated_title_and_language_are_the_documents() -> None:
    document = parse(docx(p("Rye."), properties=core("The  mill", "en-GB")), "a.docx")
    assert (document.title, document.language) == ("The mill", "en-GB")


def test_lists_have_the_labels_that_word_shows() -> None:
    body = (
        item("first", 1)
        + item("deeper", 1, 1)
        + item("deeper still", 1, 1)
        + item("second", 1)
        + item("fresh", 3)
        + item("point", 2)
        + styled("dash", "Strich")
        + item("no such list", 9)
        + item("taken out", 0)
    )
    document = parse(docx(body, {"styles": STYLES, "numbering": NUMBERING}), "a.docx")
    assert document.canonical_text == (
        "3. first\n  3.a) deeper\n  3.b) deeper still\n4. second\n1. fresh\n- point\n- dash\n\nno such list\n\ntaken out"
    )
    assert [(kind, level) for kind, level, _ in spans(document)][:3] == [
        (BlockKind.LIST_ITEM, 1),
        (BlockKind.LIST_ITEM, 2),
        (BlockKind.LIST_ITEM, 2),
    ]
    assert spans(document)[0][2] == "3. first"


def test_a_numbered_heading_keeps_its_number() -> None:
    numbered = styled("Scope", "Tief", '<w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr>')
    assert text_of(numbered, styles=STYLES, numbering=NUMBERING) == "3. Scope"


def test_tables_keep_their_rows_and_merged_cells_belong_to_each_of_theirs() -> None:
    body = table(
        tc("Mill", '<w:gridSpan w:val="2"/>') + tc("Grain"),
        tc("Sandford", '<w:vMerge w:val="restart"/>') + tc(p("rye") + p("oats")) + tc("1"),
        tc("gone", "<w:vMerge/>") + tc("wheat") + tc(""),
    ) + table(tc("a") + tc("b"))
    document = parse(docx(p("Before.") + body + p("After.")), "a.docx")
    assert document.canonical_text == (
        "Before.\n\nMill | Mill | Grain\n---|---|---\nSandford | rye oats | 1\nSandford | wheat\n\na | b\n\nAfter."
    )
    assert paths(document)[1:5] == ["table 1, row 1", "table 1, row 2", "table 1, row 3", "table 2, row 1"]


def test_a_table_in_a_table_is_read_where_it_stands() -> None:
    inner = table(tc("a") + tc("b"), tc("c") + tc("d"))
    document = parse(docx(table(tc("Left") + tc(p("Above") + inner + p("Below")))), "a.docx")
    assert document.canonical_text == "Left\n\nAbove\n\na | b\n---|---\nc | d\n\nBelow"


def test_a_table_in_one_of_many_cells_leaves_the_rows_as_they_are() -> None:
    inner = table(tc("a") + tc("b"))
    rows = [tc(f"Team {number}") + tc(f"Room {number}") for number in range(1, 4)]
    last = tc("Team 4") + tc(p("Room 4") + inner + p("key 9"))
    assert text_of(table(*rows, last)).endswith("Team 3 | Room 3\nTeam 4 | Room 4 a b key 9")


def test_cells_and_rows_inside_content_controls_are_read() -> None:
    row = f"<w:sdt><w:sdtContent><w:tr><w:sdt><w:sdtContent>{tc('a')}</w:sdtContent></w:sdt>{tc('b')}</w:tr></w:sdtContent></w:sdt>"
    assert text_of(f"<w:tbl>{row}</w:tbl>") == "a | b"


def test_tracked_changes_count_as_accepted() -> None:
    body = (
        p(run("The mill ") + f"<w:del>{run('never')}</w:del><w:ins>{run('always')}</w:ins>" + run(" turns."))
        + p(f"<w:moveFrom>{run('Moved away.')}</w:moveFrom><w:moveTo>{run('Moved here.')}</w:moveTo>")
        + p("One ", "<w:rPr><w:del/></w:rPr>")
        + p("paragraph.")
        + "<w:tbl><w:tr><w:trPr><w:del/></w:trPr>"
        + tc("gone")
        + "</w:tr><w:tr>"
        + tc("a")
        + tc("b")
        + "</w:tr></w:tbl>"
        + p("last", "<w:rPr><w:del/></w:rPr>")
    )
    assert text_of(body) == "The mill always turns.\n\nMoved here.\n\nOne paragraph.\n\na | b\n\nlast"


def test_notes_follow_their_paragraph_and_endnotes_stand_at_the_end() -> None:
    body = (
        p(run("Rye.") + '<w:r><w:footnoteReference w:id="2"/></w:r><w:r><w:endnoteReference w:id="5"/></w:r>')
        + p(run("Oats.") + '<w:r><w:footnoteReference w:id="2"/></w:r>')
        + table(tc(p(run("cell") + '<w:r><w:footnoteReference w:id="3"/></w:r>')) + tc("b"))
    )
    footnotes = (
        f'<w:footnote w:id="2">{p("A grass.")}</w:footnote><w:footnote '
        f'w:id="3">{p("A room.")}</w:footnote><w:footnote w:id="9">{p("Unused.")}</w:footnote>'
    )
    endnotes = f'<w:endnote w:id="5">{p("The end.")}</w:endnote>'
    document = parse(docx(body, {"footnotes": footnotes, "endnotes": endnotes}), "a.docx")
    assert document.canonical_text == "Rye.\n\nA grass.\n\nOats.\n\ncell | b\n\nA room.\n\nThe end."
    assert paths(document) == [
        "paragraph 1",
        "footnote 1",
        "paragraph 2",
        "table 1, row 1",
        "footnote 3",
        "endnote 2",
    ]


def test_a_text_box_comes_once_after_its_paragraph() -> None:
    box = f"<w:txbxContent>{p('In the box.')}</w:txbxContent>"
    both = (
        f"<mc:AlternateContent><mc:Choice><w:drawing>{box}</w:drawing></mc:Choice><mc:Fallback><w:pict>{box}</w:pict>"
        "</mc:Fallback></mc:AlternateContent>"
    )
    document = parse(docx(p(f"<w:r>{both}</w:r>" + run("Anchor.")) + p("Next.")), "a.docx")
    assert document.canonical_text == "Anchor.\n\nIn the box.\n\nNext."
    assert paths(document)[1] == "paragraph 1, text box"
    old = f"<mc:AlternateContent><mc:Fallback><w:pict>{box}</w:pict></mc:Fallback></mc:AlternateContent>"
    assert text_of(p(f"<w:r>{old}</w:r>")) == "In the box."


def field(kind: str, data: str = "") -> str:
    return f'<w:r><w:fldChar w:fldCharType="{kind}">{data}</w:fldChar></w:r>'


def form(data: str) -> str:
    """A field of an old form, with a result that the entry replaces."""
    return (
        f"{field('begin', f'<w:ffData>{data}</w:ffData>')}<w:r><w:instrText>FORM</w:instrText></w:r>"
        f"{field('separate')}{run('old')}{field('end')}"
    )


def box(ticked: str, content: str) -> str:
    """A content control to tick."""
    return (
        "<w:sdt><w:sdtPr><w14:checkbox><w14:checked "
        f'w14:val="{ticked}"/></w14:checkbox></w:sdtPr><w:sdtContent>{content}</w:sdtContent></w:sdt>'
    )


def formed(properties: str, content: str) -> str:
    """A run with properties."""
    return f"<w:r><w:rPr>{properties}</w:rPr>{content}</w:r>"


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        (
            f"{field('begin')}<w:r><w:instrText>PAGE {run('no')}</w:instrText></w:r>{field('separate')}{run('7')}{field('end')}",
            "7",
        ),
        (
            f"{field('begin')}{field('begin')}{field('separate')}{run('inner')}{field('end')}{field('end')}{run('x')}",
            "x",
        ),
        (f"{field('begin')}{run('never ended')}", "never ended"),
        (f"{field('end')}{field('separate')}{run('stray')}", "stray"),
        ('<w:fldSimple w:instr="DATE"><w:r><w:t>today</w:t></w:r></w:fldSimple>', "today"),
        ("<w:hyperlink><w:r><w:t>link</w:t></w:r></w:hyperlink>", "link"),
        (
            "<w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t><w:noBreakHyphen/><w:t>d\u00ade</w:t><w:softHyphen/></w:r>",
            "a b\nc-de",
        ),
        ("<w:r><w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t></w:r><w:r><w:t>seen</w:t></w:r>", "seen"),
        ('<w:r><w:rPr><w:vanish w:val="0"/></w:rPr><w:t>seen</w:t></w:r>', "seen"),
        (
            '<w:r><w:rPr><w:rStyle w:val="Versteckt"/></w:rPr><w:t>hidden</w:t></w:r><w:r><w:t>seen</w:t></w:r>',
            "seen",
        ),
        (run("10") + formed('<w:vertAlign w:val="superscript"/>', "<w:t>6</w:t>"), "10⁶"),
        (
            run("x")
            + "".join(formed('<w:vertAlign w:val="superscript"/>', f"<w:t>{one}</w:t>") for one in "a+1"),
            "x^(a+1)",
        ),
        (run("H") + formed('<w:vertAlign w:val="subscript"/>', "<w:t>2</w:t>") + run("O"), "H₂O"),
        (run("40") + formed('<w:rStyle w:val="Mark"/>', "<w:t>1</w:t>"), "40¹"),
        (
            run("40") + formed('<w:rStyle w:val="Mark"/><w:vertAlign w:val="baseline"/>', "<w:t>1</w:t>"),
            "401",
        ),
        (
            formed("<w:strike/>", "<w:t>80 </w:t>") + formed("<w:dstrike/>", "<w:t>euros </w:t>") + run("65"),
            "~~80 euros~~ 65",
        ),
        (formed('<w:strike w:val="0"/>', "<w:t>80</w:t>"), "80"),
        ('<w:r><w:t>50 </w:t><w:sym w:font="Symbol" w:char="F06D"/><w:t>g</w:t></w:r>', "50 μg"),
        ('<w:r><w:sym w:font="Symbol" w:char="00A3"/><w:sym w:font="MS Gothic" w:char="2610"/></w:r>', "≤☐"),
        (
            '<w:r><w:sym w:font="Wingdings" w:char="F0FE"/><w:sym w:font="Wingdings" w:char="oops"/></w:r>',
            "☑",
        ),
        (formed('<w:rFonts w:ascii="Symbol"/>', "<w:t>\uf0b1m</w:t>"), "±μ"),
        (formed('<w:rFonts w:ascii="Symbol"/>', '<w:sym w:font="Symbol" w:char="F0B4"/>'), "×"),
        (box("1", run("☒")) + run(" sea ") + box("0", run("☐")) + run(" air"), "☒ sea ☐ air"),
        (box("1", "") + run(" sea ") + box("0", "<w:r/>") + run(" air"), "☑ sea ☐ air"),
        (box("1", '<w:r><w:sym w:font="Wingdings" w:char="F0FC"/></w:r>') + run(" sea"), "✓ sea"),
        (
            form("<w:checkBox><w:default/><w:checked/></w:checkBox>")
            + form('<w:checkBox><w:default w:val="0"/></w:checkBox>'),
            "☑☐",
        ),
        (
            form(
                '<w:ddList><w:result w:val="1"/><w:listEntry w:val="rye"/><w:listEntry w:val="oats"/></w:ddList>'
            )
            + run("."),
            "oats.",
        ),
        ("<m:oMath><m:r><m:t>x+1</m:t></m:r></m:oMath>", "x+1"),
        (
            "<w:ruby><w:rt><w:r><w:t>kan</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>漢</w:t></w:r></w:rubyBase></w:ruby>",
            "漢",
        ),
        ("<w:commentRangeStart/><w:r><w:t>x</w:t></w:r><w:r><w:commentReference/></w:r>", "x"),
        (
            (
                "<w:sdt><w:sdtPr><w:showingPlcHdr/></w:sdtPr><w:sdtContent><w:r><w:t>Click "
                "here</w:t></w:r></w:sdtContent></w:sdt><w:r><w:t>x</w:t></w:r>"
            ),
            "x",
        ),
    ],
)
def test_a_paragraph_is_what_word_shows(runs: str, expected: str) -> None:
    assert text_of(f"<w:p>{runs}</w:p>", styles=STYLES) == expected


def test_a_paragraph_is_struck_by_its_style() -> None:
    not_struck = formed('<w:strike w:val="0"/>', "<w:t> Cats, too.</w:t>")
    assert (
        text_of(styled(run("Dogs may come.") + not_struck, "Alt"), styles=STYLES)
        == "~~Dogs may come.~~ Cats, too."
    )


def test_comments_are_left_out() -> None:
    assert text_of(p("Body."), comments=p("Comment.")) == "Body."


def page_field(name: str, result: str = "3") -> str:
    return (
        f'<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText> {name} \\* MERGEFORMAT </w:instrText></w:r>'
        + (f'<w:r><w:fldChar w:fldCharType="separate"/></w:r>{run(result)}' if result else "")
        + '<w:r><w:fldChar w:fldCharType="end"/></w:r>'
    )


TAB = "<w:r><w:tab/></w:r>"


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (p("QM-17-04, revision C"), "QM-17-04, revision C\n\nBody."),
        (p("Body."), "Body."),
        (
            p(
                run("QM-17")
                + TAB
                + run("Page ")
                + page_field("PAGE")
                + run(" of ")
                + page_field("NUMPAGES", "")
            ),
            "QM-17\n\nBody.",
        ),
        (p(run("Page ") + f'<w:fldSimple w:instr=" PAGE ">{run("3")}</w:fldSimple>'), "Body."),
        (p(run("Valid from ") + page_field("DOCPROPERTY Valid", "1 March")), "Valid from 1 March\n\nBody."),
        (
            table(tc("No.") + tc("QM-17"), tc("Sheet") + tc(p(page_field("PAGE")))),
            "No. | QM-17\n\nSheet\n\nBody.",
        ),
        (p("<w:r><w:pict><w:txbxContent>" + p("Box") + "</w:txbxContent></w:pict></w:r>"), "Box\n\nBody."),
    ],
)
def test_what_a_header_says_besides_page_numbers_comes_once(header: str, text: str) -> None:
    section = f'<w:sectPr {RELATIONS}><w:headerReference w:type="default" r:id="r1"/></w:sectPr>'
    body = p("Body.") + p("", section) + section
    document = parse(docx(body, {"header": header}), "a.docx")
    assert document.canonical_text == text
    assert document.title == "a"


def test_only_headers_that_are_printed_are_read() -> None:
    kinds = {"default": "footer", "first": "header", "even": "settings"}
    references = "".join(
        f'<w:headerReference w:type="{kind}" r:id="r{n}"/>' for n, kind in enumerate(kinds, 1)
    )
    parts = {"footer": p("Usual"), "header": p("First"), "settings": p("Even")}
    assert text_of(p("Body.") + f"<w:sectPr {RELATIONS}>{references}</w:sectPr>", **parts) == "Usual\n\nBody."
    both = f"<w:sectPr {RELATIONS}>{references}<w:titlePg/></w:sectPr>"
    parts["settings"] += "<w:evenAndOddHeaders/>"
    assert text_of(p("Body.") + both, **parts) == "Usual\n\nFirst\n\nEven\n\nBody."


def test_a_chart_follows_its_paragraph() -> None:
    c = 'xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart"'
    drawn = '<w:r><w:drawing><a:graphic><a:graphicData><c:chart r:id="r1"/></a:graphicData></a:graphic></w:drawing></w:r>'
    spaces = (
        'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
        'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
        'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
    )
    body = p(run("Sales:") + drawn) + p("End.")
    made = docx(body, {"chart": ""})
    values = "<c:val><c:numLit><c:pt idx='0'><c:v>5</c:v></c:pt></c:numLit></c:val>"
    named = (
        "<c:tx><c:v>Tea</c:v></c:tx><c:cat><c:strLit><c:pt idx='0'><c:v>May</c:v></c:pt></c:strLit></c:cat>"
    )
    parts = {
        "word/document.xml": f"<w:document {spaces} {c}><w:body>{body}</w:body></w:document>".encode(),
        "word/chart.xml": f"<c:chartSpace {c}><c:ser>{named}{values}</c:ser></c:chartSpace>".encode(),
    }
    document = parse(changed(made, parts), "a.docx")
    assert document.canonical_text == "Sales:\n\n| | Tea\n---|---\nMay | 5\n\nEnd."
    assert paths(document)[1] == "paragraph 1, chart"


def test_the_strict_form_and_other_names_of_the_main_part_are_read() -> None:
    strict = docx(p("Strict."))
    names = (
        b"http://schemas.openxmlformats.org/wordprocessingml/2006/main",
        b"http://purl.oclc.org/ooxml/wordprocessingml/main",
    )
    body = f"<w:document xmlns:w='{names[1].decode()}'><w:body>{p('Strict.')}</w:body></w:document>".encode()
    assert parse(changed(strict, {"word/document.xml": body}), "a.docx").canonical_text == "Strict."
    rels = (
        b'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        b'<Relationship Id="a" Type="x/officeDocument" Target="/word\\document2.xml"/></Relationships>'
    )
    moved = changed(strict, {"word/document.xml": None, "word/document2.xml": body, "_rels/.rels": rels})
    assert parse(moved, "a.docx").canonical_text == "Strict."


def test_a_document_without_text_is_empty() -> None:
    with rejected(Cause.EMPTY, match="Word document has no text"):
        parse(docx(p("\u00a0")), "a.docx")


def test_a_document_without_its_main_part_is_malformed() -> None:
    with rejected(Cause.MALFORMED, match="does not name its main part"):
        parse(zip_members({"word/document.xml": "<x/>"}), "a.docx")
    with rejected(Cause.MALFORMED, match=r'"word/styles\.xml" of the document is damaged'):
        parse(docx(p("x"), {"styles": "<"}), "a.docx")


def test_inserted_files_are_read_and_what_cannot_be_read_is_counted() -> None:
    links = {"chunk.html": "aFChunk", "chunk.bin": "aFChunk", "gone.html": "aFChunk"}
    body = (
        p("Before.")
        + "".join(f'<w:altChunk {RELATIONS} r:id="r{number}"/>' for number in (1, 2, 3, 1, 1))
        + p("After.")
    )
    inner = b"<h2>Pump</h2><ul><li>It stands in cellar four.</ul>"
    made = changed(
        docx(body),  # a file that is inserted again and again is read once
        {
            "word/_rels/document.xml.rels": relationships(links).encode(),
            "word/chunk.html": inner,
            "word/chunk.bin": b"\x7fELF",
        },
    )
    original = sniff(made, "a.docx")
    document = docx_format.parse(original)
    assert document.canonical_text == "Before.\n\nPump\n\n- It stands in cellar four.\n\nAfter."
    assert paths(document)[1] == "paragraph 1, inserted file"
    assert original.left_out == {"picture": 0, "chart": 0, "embedded_file": 1}


def test_an_item_with_a_picture_alone_has_its_number() -> None:
    numbered = '<w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr>'
    body = p("Unpack.", numbered) + p("<w:r><w:drawing/></w:r>", numbered) + p("Press.", numbered)
    assert text_of(body, numbering=NUMBERING) == "3. Unpack.\n5. Press."


def test_tables_of_contents_are_left_out() -> None:
    style = '<w:style w:type="paragraph" w:styleId="Verzeichnis1"><w:name w:val="toc 1"/></w:style>'
    body = (
        p("Cleaning 7", '<w:pStyle w:val="Verzeichnis1"/>')
        + p("Firing 3", '<w:pStyle w:val="TOC2"/>')
        + p("Brush.")
    )
    assert text_of(body, styles=style) == "Brush."
