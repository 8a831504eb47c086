from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from responsa_formats.containers import MIB
from responsa_formats.parsers import pdf as parser
from responsa_formats.parsers.pdf_lines import View
from responsa_formats.parsers.right_to_left import Glyph, logical_lines
from responsa_formats.parsers.sniff import sniff
from responsa_formats.rejections import Cause, Rejected
from responsa_formats.sandbox.computation import ParseLimits
from responsa_formats.sandbox.pool import ParserPool
from responsa_formats.sandbox.protocol import pack_result
from responsa_formats.text.canonical import BlockKind, ParsedDocument
from tests.formats.originals import rejected, unpacked
from tests.formats.printed_pages import Text, bomb, lines, pdf, width

LEFT = [
    "The mill on the river grinds rye and wheat for",
    "the villages around it. Its wheel was made in",
    "the year 1791 by a carpenter from the north.",
]
RIGHT = [
    "Boats bring the grain in autumn and take the",
    "flour away before the winter, when the river is",
    "frozen for two months and nothing moves.",
]

EMPTY_PAGE: Sequence[Text] = ()


def parse(data: bytes) -> ParsedDocument:
    return parser.parse(sniff(data, "a.pdf"))


def text_of(*texts: Text) -> str:
    return parse(pdf(texts)).canonical_text


def test_a_numbered_section_is_no_title() -> None:
    titles = ("The mill", "1. Duties", "2.1 Duties", "2027 in figures")
    documents = [parse(pdf([Text(50, 700, title, 20), *lines(50, 660, *LEFT)])) for title in titles]
    assert [document.title for document in documents] == ["The mill", "a", "a", "2027 in figures"]


def test_paragraphs_and_headings() -> None:
    document = parse(
        pdf(
            [
                Text(50, 700, "The mill", 20),
                *lines(50, 660, *LEFT),
                Text(50, 600, "Boats", 14),
                *lines(50, 580, *RIGHT),
            ]
        )
    )
    assert document.canonical_text == f"The mill\n\n{' '.join(LEFT)}\n\nBoats\n\n{' '.join(RIGHT)}"
    assert [(block.kind, block.level) for block in document.blocks] == [
        (BlockKind.HEADING, 1),
        (BlockKind.PARAGRAPH, 0),
        (BlockKind.HEADING, 2),
        (BlockKind.PARAGRAPH, 0),
    ]
    assert document.title == "The mill"
    assert unpacked(pack_result(document)) == document


def test_every_block_has_its_page_and_box() -> None:
    document = parse(pdf(lines(60, 700, *LEFT), [Text(300, 400, "Second page.", 10)]))
    one, two = (block.place for block in document.blocks)
    assert one is not None
    assert one.page == 1
    assert one.box is not None
    left, top, right, bottom = one.box
    assert (left, top) == (100, 115)
    assert 400 < right < 500
    assert 150 < bottom < 165
    assert two is not None
    assert two.page == 2
    assert two.box is not None
    assert two.box[0] in (500, 501)


COLUMNS = zip(lines(50, 700, *LEFT), lines(320, 700, *RIGHT), strict=True)
HEAD, FOOT = Text(50, 770, "Head"), Text(300, 30, "Foot", 12)


@pytest.mark.parametrize(
    ("drawn", "read"),
    [
        ([one for line in COLUMNS for one in line], [*LEFT, "", *RIGHT]),
        ([*lines(50, 600, *LEFT), HEAD], ["Head", "", *LEFT]),
        (
            [HEAD, FOOT, *lines(50, 700, *LEFT), *lines(280, 600, *RIGHT)],
            ["Head", "", *LEFT, "", *RIGHT, "", "Foot"],
        ),
    ],
    ids=["columns, line by line", "the head last", "the foot first"],
)
def test_text_is_read_where_it_stands(drawn: Sequence[Text], read: Sequence[str]) -> None:
    assert text_of(*drawn) == " ".join(read).replace("  ", "\n\n")


def test_a_table_is_a_row_a_line() -> None:
    cells = [
        ("Month", "Sacks", "Price"),
        ("May", "12", "1,400.50"),
        ("June", "", "20.00"),
        ("July", "7", "8,000.00"),
    ]
    texts = [
        Text(x, 700 - 14 * place, cell)
        for place, row in enumerate(cells)
        for x, cell in zip((50, 150, 250), row, strict=True)
        if cell
    ]
    document = parse(pdf(texts))
    assert (
        document.canonical_text
        == "Month | Sacks | Price\n---|---|---\nMay | 12 | 1,400.50\nJune |  | 20.00\nJuly | 7 | 8,000.00"
    )
    assert {block.kind for block in document.blocks} == {BlockKind.TABLE}


@pytest.mark.parametrize("between", [15, 11])
def test_rows_of_numbers_with_narrow_spaces_between_their_cells(between: float) -> None:
    """The spaces within a row are all alike, as in a justified line; above and below is a line of prose."""
    rows = [
        ("1,204,500", "204,500", "100,230"),
        ("200", "200,000", "180,000"),
        ("3,050,000", "50,000", "80,500"),
        ("17", "150,500", "90"),
    ]
    edges = (120, 140 + width("204,500"), 160 + 2 * width("204,500"))
    texts = [
        Text(50, 725, "These are the accounts of the mill for the last year."),
        *(
            Text(edge - width(cell), 700 - 14 * place, cell)
            for place, row in enumerate(rows)
            for edge, cell in zip(edges, row, strict=True)
        ),
        Text(50, 635, "All amounts are in crowns, and were checked in spring."),
    ]
    assert parse(pdf(texts)).canonical_text.split("\n\n") == [
        "These are the accounts of the mill for the last year.",
        "\n".join(" | ".join(row) for row in rows),
        "All amounts are in crowns, and were checked in spring.",
    ]


def test_list_items_keep_their_marks_and_their_second_lines() -> None:
    texts = [
        *lines(50, 700, "1. Open the gate and let the", "    water in."),
        *lines(50, 670, "2. Close it.", "\x95 Rest."),
    ]
    document = parse(pdf(texts))
    assert document.canonical_text == "1. Open the gate and let the water in.\n2. Close it.\n- Rest."
    assert [block.kind for block in document.blocks] == [BlockKind.LIST_ITEM] * 3
    data = document.canonical_text.encode()
    assert (
        data[document.blocks[0].byte_start : document.blocks[0].byte_end]
        == b"1. Open the gate and let the water in."
    )


def test_what_repeats_at_the_edges_of_pages_comes_once_before_the_text() -> None:
    pages = [
        [
            Text(50, 785, "The mill, annual report"),
            Text(50, 770, f"QM-17-04, revision C, page {n} of 4"),
            Text(300, 785, "Valid from 1 March 2027"),
            *lines(50, 700, f"Page text {word} it is.", *LEFT),
            Text(300, 20, f"- {n} -"),
        ]
        for n, word in enumerate(("one", "two", "three", "four"), 1)
    ]
    document = parse(pdf(*pages))
    head = (
        "The mill, annual report\n\nValid from 1 March 2027\n\nQM-17-04 | revision C\n\nPage text one it is."
    )
    assert document.canonical_text.startswith(head)
    assert document.title == "a"
    for once in ("annual", "revision", "Valid"):
        assert document.canonical_text.count(once) == 1
    assert "- 2 -" not in document.canonical_text
    assert document.canonical_text.count("Page text") == 4


def test_the_header_of_a_table_on_each_page_stays() -> None:
    rows = [("Abel", "4000"), ("Beck", "4007"), ("Cole", "4014"), ("Dahl", "4021")]
    pages = [
        [
            Text(x, 780 - 14 * line, cell)
            for line, row in enumerate([("Name", "Phone"), *part])
            for x, cell in zip((50, 200), row, strict=True)
        ]
        for part in (rows[:2], rows[2:])
    ]
    assert parse(pdf(*pages)).canonical_text.count("Name | Phone\n---|---\n") == 2


@pytest.mark.parametrize(
    "groups", [(170, 310), (190, 330)], ids=["begins with its columns", "above their middle"]
)
@pytest.mark.parametrize("seasons", [("First", "Second"), ("Spring", "Autumn")])
def test_the_names_of_groups_of_columns_belong_to_each_of_their_columns(
    groups: tuple[int, int], seasons: tuple[str, str]
) -> None:
    names = ("Region", *seasons, *(seasons if "First" in seasons else ("Winter", "Summer")))
    rows = [
        (word, *(f"{line}{column}" for column in range(4)))
        for line, word in enumerate(("North", "South", "East"), 1)
    ]
    page = [Text(x, 700, f"Plan {year}") for x, year in zip(groups, (2025, 2026), strict=True)] + [
        Text(x, 686 - 14 * line, cell)
        for line, row in enumerate([names, *rows])
        for x, cell in zip((50, 170, 240, 310, 380), row, strict=True)
    ]
    header = f"Region | Plan 2025 {names[1]} | Plan 2025 {names[2]} | Plan 2026 {names[3]} | Plan 2026 {names[4]}\n---|"
    text = parse(pdf(page)).canonical_text
    assert text.startswith(header)
    assert text.endswith("\nEast | 30 | 31 | 32 | 33")


def test_rows_that_differ_only_in_their_numbers_stay_at_the_edges_of_pages() -> None:
    rows = [(n, 7 * n % 31, 3 * n % 17) for n in range(120)]
    pages = [
        [
            Text(50, 785, "Catches of the year 1998"),
            *lines(
                50, 765, *(f"On day {day} boat {boat} brought {kilos} kilos." for day, boat, kilos in part)
            ),
            Text(300, 15, f"Page {number} of 2"),
        ]
        for number, part in enumerate((rows[:60], rows[60:]), 1)
    ]
    text = parse(pdf(*pages)).canonical_text
    assert text.count("kilos.") == len(rows)
    assert text.count("Catches") == 1
    assert "Page" not in text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("A. Mill: Rivers ({})", "A. Mill: Rivers\n\n"),
        ("{} / 3 Rivers", "3 Rivers\n\n"),
        ("Rivers 1998-{}", ""),
        ("28 May 2013 {}", "28 May 2013\n\n"),
        ("Seite {} von 9", ""),
    ],
)
@pytest.mark.parametrize("step", [1, 2])
def test_a_line_whose_number_counts_the_pages_comes_once_without_it(line: str, said: str, step: int) -> None:
    pages = [
        [Text(50, 780, line.format(40 + step * n)), *lines(50, 600, f"Words {word}.")]
        for n, word in enumerate(("one", "two", "three"))
    ]
    assert parse(pdf(*pages)).canonical_text == f"{said}Words one.\n\nWords two.\n\nWords three."


def test_lines_that_repeat_stay_if_they_are_all_that_there_is() -> None:
    assert "annual report" in parse(pdf(*[[Text(50, 780, "The mill, annual report")]] * 4)).canonical_text


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (
            [Text(50, 700, "needs 10"), Text(91.2, 703.5, "6", 6), Text(94.6, 700, " cells")],
            "needs 10⁶ cells",
        ),
        ([Text(50, 700, "m 10"), Text(72.3, 704, "-12", 6), Text(81, 700, ".")], "m 10⁻¹²."),
        ([Text(50, 700, "H"), Text(57.3, 698.5, "2", 6), Text(60.7, 700, "O")], "H₂O"),
        ([Text(50, 700, "x"), Text(55, 703.5, "2", 6)], "x²"),
        ([Text(50, 700, "H"), Text(57.3, 695, "2", 8), Text(61.9, 700, "O")], "H₂O"),
        (
            [Text(50, 700, "m 10"), Text(72.3, 705, "4", 8), Text(76.8, 700, " Pa and more")],
            "m 10⁴ Pa and more",
        ),
        ([Text(50, 700, "10"), Text(61.3, 703.5, "5", 6), Text(50, 650, "~} |{")], "10⁵\n\nאב גד"),
        ([Text(50, 703.5, "2", 6), Text(55, 700, "Without tax.")], "2 Without tax."),
        ([Text(50, 700, "needs 10"), Text(50, 689, "6 cells", 9)], "needs 10 6 cells"),
        ([Text(50, 700, "needs 10"), Text(91.2, 703.5, "6")], "needs 106"),
        ([Text(50, 700, "needs 10"), Text(97, 703.5, "6", 6)], "needs 10 6"),
    ],
)
def test_figures_that_are_raised_or_lowered_are_powers_and_indexes(texts: list[Text], expected: str) -> None:
    assert text_of(*texts) == expected


def test_signs_of_a_symbol_font_are_in_unicode() -> None:
    data = pdf([Text(50, 700, "A ship by sea")])
    data = data.replace(b"BaseFont/Helvetica", b"BaseFont/ABCDEF+Wingdings-Regular")
    data = data.replace(b"Differences[123", b"Differences[65/uniF0FE 123")
    assert parse(data).canonical_text == "☑ ship by sea"


@pytest.mark.parametrize(("mark", "read", "size"), [("1 ", "1 ", 7), ("* ", "- ", 7), ("1) ", "1) ", 10)])
def test_a_paragraph_goes_on_over_the_page_and_after_the_notes(mark: str, read: str, size: int) -> None:
    first = [
        *lines(50, 200, *LEFT[:2], "and the wheel turns only when the water of the"),
        Text(50, 40, f"{mark}A note on the wheel.", size),
    ]
    text = parse(pdf(first, lines(50, 700, "river stands high."))).canonical_text
    assert "the water of the river stands high." in text
    assert text.endswith(f"{read}A note on the wheel.")


@pytest.mark.parametrize(
    ("before", "after", "joined"),
    [
        ("the old neigh-", "bourhood was calm", "the old neighbourhood was calm"),
        ("as in the well-", "known story", "as in the well-known story"),
        ("a Franco-", "German train", "a Franco-German train"),
        ("as TELE-", "PHONE numbers", "as TELEPHONE numbers"),
        ("wheels 1980-", "1990 were made", "wheels 1980-1990 were made"),
        ("the number KX-", "4471 and", "the number KX-4471 and"),
        ("the filter 88-", "12. It is new", "the filter 88-12. It is new"),
        ("a 2-", "day trip", "a 2-day trip"),
        ("up- or the down-", "and upstream side", "up- or the down- and upstream side"),
        ("the upper side -", "it is dry", "the upper side -\nit is dry"),
    ],
)
def test_hyphens_at_line_ends(before: str, after: str, joined: str) -> None:
    known = "This is a well-known fact about the mills that are in use, and no Telephone."
    assert joined in text_of(*lines(50, 700, known, before, after))


def test_a_hyphen_before_a_common_word_of_the_language_stays() -> None:
    known = "Das Haus ist alt und wird von der Stadt für die Mühle nicht mehr genutzt."
    assert "der Ein- und Ausbau" in text_of(*lines(50, 700, known, "Das gilt für der Ein-", "und Ausbau."))


def test_a_word_goes_on_in_the_next_column() -> None:
    left = [*lines(50, 700, *LEFT, "The pump has the number KX-")]
    assert "the number KX-4471 is" in text_of(*left, *lines(320, 700, "4471 is on the lid of it.", *RIGHT))


@pytest.mark.parametrize(
    ("drawn", "logical"),
    [
        # Drawn from the left, as it is seen: the line begins at the right with alef and bet.
        ("25 ~} |{", "\u05d0\u05d1 \u05d2\u05d3 25"),
        ("(12) ~} |{", "\u05d0\u05d1 \u05d2\u05d3 (12)"),
        ("[12] ~} |{", "\u05d0\u05d1 \u05d2\u05d3 [12]"),
        ("3.5 (25 ~}) |{", "\u05d0\u05d1 (\u05d2\u05d3 25) 3.5"),
        ("~} |{ ({", "\u05d0) \u05d0\u05d1 \u05d2\u05d3"),
        ("~}) |{", "\u05d0\u05d1 (\u05d2\u05d3"),
    ],
)
def test_right_to_left_text_is_in_logical_order(drawn: str, logical: str) -> None:
    assert text_of(Text(50, 700, drawn)) == logical


def test_a_ligature_of_arabic_letters_is_in_logical_order() -> None:
    assert text_of(Text(50, 700, "\x7f {")) == "\u05d0 \u0644\u0627"
    # A glyph that the file maps to both letters: the library gives the second letter first.
    for letters in ("\u0644\u0627", "\u0627\u0644"):
        glyphs: list[Glyph] = [
            (0.0, 5.0, 0.0, letters[0]),
            (0.0, 5.0, 0.0, letters[1]),
            (6.0, 10.0, 1.0, "\u0643"),  # a little higher, on the same line
        ]
        assert [logical_line.text for logical_line in logical_lines(glyphs, 10, mostly=True)] == [
            "\u0643\u0644\u0627"
        ]


def test_turned_text_comes_last() -> None:
    assert text_of(Text(20, 300, "Draft of May", turned=True), *lines(50, 700, *LEFT)).endswith(
        "\n\nDraft of May"
    )


def test_the_values_of_a_form_follow_their_names() -> None:
    names = ["Name:", "Policy number", "Damage by fire", "Damage by water", "Building", "Phone"]
    tick = "<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Length 12>>stream\nBT (4) Tj ET\nendstream"
    fields = [
        "/FT/Tx/T(a)/V(Agnes Miller)/Rect[160 697 300 712]",
        "/FT/Tx/T(b)/V(PX-88213)/Rect[160 667 300 682]",
        "/FT/Btn/T(c)/V/Off/AS/Off/Rect[160 637 175 652]/AP<</N<</Yes 109 0 R>>>>",
        "/FT/Btn/T(d)/V/Yes/AS/Yes/Rect[160 607 175 622]/AP<</N<</Yes 110 0 R>>>>",
        "/FT/Ch/Ff 131072/T(e)/V(Boathouse)/Opt[(Cottage)(Boathouse)]/Rect[160 577 300 592]",
        "/FT/Tx/T(f)/Rect[160 547 300 562]",
        "/FT/Btn/T(g)/V/Yes/AS/Yes/Rect[50 517 65 532]/AP<</N<</Yes 109 0 R>>>>",
        "/FT/Btn/Ff 32768/T(h)/AS/Off/Rect[50 487 65 502]/AP<</N<</One 109 0 R>>>>",
        "/FT/Tx/T(i)/TU(Date of the claim)/V(2 May)/Rect[50 447 65 462]",
    ]
    widgets = [f"<</Type/Annot/Subtype/Widget/DA(/F 9 Tf){field}>>" for field in fields]
    numbers = " ".join(f"{100 + number} 0 R" for number in range(len(fields)))
    data = pdf(
        [
            *lines(50, 700, *names, leading=30),
            *lines(70, 520, "Paid by card", "Paid in cash", leading=30),
        ],
        more=[*widgets, tick, tick.replace("(4)", "(8)")],
        catalog=f"/AcroForm<</Fields[{numbers}]/DA(/F 9 Tf)>>",
        page=f"/Annots[{numbers}]",
    )
    assert parse(data).canonical_text.split("\n\n") == [
        "Name: Agnes Miller",
        "Policy number: PX-88213",
        "Damage by fire: ☐",
        "Damage by water: ☒",
        "Building: Boathouse",
        "Phone",
        "Paid by card: ☑",
        "Paid in cash: ☐",
        "Date of the claim: 2 May",
    ]


def test_typed_text_is_read_and_comments_are_counted() -> None:
    typed = "<</Type/Annot/Subtype/FreeText/Contents(Closed until\rMay.)/Rect[120 690 300 712]/DA(/F 9 Tf)>>"
    comment = "<</Type/Annot/Subtype/Text/Contents(Is it?)/Rect[20 690 30 700]>>"
    data = pdf([Text(50, 700, "The mill:")], more=[typed, comment], page="/Annots[100 0 R 101 0 R]")
    original = sniff(data, "a.pdf")
    assert parser.parse(original).canonical_text == "The mill: Closed until May."
    assert +original.left_out == {"comment": 1}


def test_scripts_and_attached_files_are_left_out() -> None:
    script, attached = "(app.alert\\(1\\))", "<</Type/EmbeddedFile/Length 6>>stream\nOkapi.\nendstream"
    data = pdf(
        lines(50, 700, *LEFT),
        more=["<</Type/Filespec/F(quagga.txt)/EF<</F 101 0 R>>>>", attached],
        catalog=f"/OpenAction<</S/JavaScript/JS{script}>>/Names<</EmbeddedFiles<</Names[(quagga.txt) 100 0 R]>>>>",
    )
    assert b"app.alert" in data
    assert parse(data).canonical_text == " ".join(LEFT)


def test_a_page_that_is_shown_turned_has_upright_boxes() -> None:
    document = parse(pdf([Text(100, 100, "Read upwards.", turned=True)], page="/Rotate 90"))
    place = document.blocks[0].place
    assert document.canonical_text == "Read upwards."
    assert place is not None
    assert place.box is not None
    assert place.box[0] in (125, 126)
    assert place.box[3] > place.box[1]


@pytest.mark.parametrize(("turns", "shown"), [(0, (10, 190)), (1, (10, 10)), (2, (90, 10)), (3, (190, 90))])
def test_a_page_whose_view_begins_elsewhere_is_measured_from_its_own_corner(
    turns: int, shown: tuple[float, float]
) -> None:
    """The point is 10 from the left and 10 from the bottom of a page of 100 x 200 that is not turned."""
    assert View(30, 40, 130, 240, turns).at(40, 50) == shown


CONTENTS = ["1 Cleaning", "2 Firing the kiln", "3 Storage", "4 Index"]
BODY = [Text(50, 640, "1 Cleaning", 14), *lines(50, 600, "With a brush."), Text(50, 540, "3 Storage", 14)]


@pytest.mark.parametrize("dots", ["." * 40, " . . . . . . . . . "])
def test_tables_of_contents_are_left_out(dots: str) -> None:
    rows = [f"{title} {dots} {number}" for title, number in zip(CONTENTS, (3, 3, 12, 17), strict=True)]
    first = [Text(50, 740, "Contents", 16), *lines(50, 700, *rows, leading=14)]
    assert parse(pdf(first, BODY)).canonical_text == "Contents\n\n1 Cleaning\n\nWith a brush.\n\n3 Storage"


def test_tables_of_contents_whose_dots_are_drawn_apart_are_left_out() -> None:
    first = [
        part
        for place, title in enumerate(CONTENTS)
        for part in (
            Text(50, 700 - 14 * place, title),
            *(Text(250 + 4.5 * dot, 700 - 14 * place, ".") for dot in range(40)),
            Text(450, 700 - 14 * place, str(3 + place)),
        )
    ]
    assert parse(pdf(first, BODY)).canonical_text == "1 Cleaning\n\nWith a brush.\n\n3 Storage"


def test_prices_with_leader_dots_are_read() -> None:
    rows = [f"{title} {'.' * 20} {price}" for title, price in zip(CONTENTS, (4, 5, 3, 9), strict=True)]
    assert "Firing the kiln" in parse(pdf(lines(50, 700, *rows, leading=14), BODY)).canonical_text
    alone = parse(pdf(lines(50, 700, *sorted(rows), leading=14)))
    assert "Storage" in alone.canonical_text


# -- bad files, confined


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[ParserPool]:
    made = ParserPool(concurrency=1, limits=ParseLimits(256 * MIB, 20, 30))
    yield made
    await made.close()


GOOD = pdf(lines(50, 700, *LEFT))
ENCRYPTED = GOOD.replace(
    b"/Root 1 0 R",
    b"/Root 1 0 R/ID[<00><00>]/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<"
    + b"41" * 32
    + b">/U<"
    + b"42" * 32
    + b">>>",
)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("data", "name", "reason", "says"),
    [
        (ENCRYPTED, "a.pdf", Cause.ENCRYPTED, "without the password"),
        (pdf([]), "a.pdf", Cause.EMPTY, "no text layer"),
        (b"%PDF-1.7\n" + bytes(100), "a.pdf", Cause.MALFORMED, "damaged"),
        (
            pdf(*([EMPTY_PAGE] * (parser.MAX_PAGES + 1))),
            "a.pdf",
            Cause.PARSER_LIMIT,
            "more than 5,000 pages",
        ),
        (GOOD, "a.md", Cause.TYPE_MISMATCH, "a PDF document"),
        (b"# Mill", "a.pdf", Cause.TYPE_MISMATCH, "but the content is text"),
    ],
    ids=["encrypted", "no_text", "damaged", "pages", "pdf_named_md", "text_named_pdf"],
)
async def test_a_bad_file_is_refused_with_its_reason(
    pool: ParserPool, data: bytes, name: str, reason: Cause, says: str
) -> None:
    with rejected(reason, match=says):
        await pool.parse(data, name)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_bomb_ends_its_own_process_only(pool: ParserPool) -> None:
    with pytest.raises(Rejected) as caught:
        await pool.parse(bomb(600), "bomb.pdf")
    assert caught.value.reason in (Cause.MALFORMED, Cause.PARSER_LIMIT)
    assert (await pool.parse(GOOD, "a.pdf")).canonical_text == " ".join(LEFT)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_thousand_pages_are_read_within_the_default_limits(pool: ParserPool) -> None:
    # Numbers in letters, because lines that differ only in their digits look like headers of the pages.
    letters = str.maketrans("0123456789", "abcdefghij")
    texts = [f"The boat {str(n).translate(letters)} brought rye, wheat and news." for n in range(10_000)]
    pages = [lines(50, 700, *texts[first : first + 10]) for first in range(0, 10_000, 10)]
    read = await pool.parse(pdf(*pages), "a.pdf")
    assert read.canonical_text.count("brought") == 10_000
    assert (place := read.blocks[-1].place) is not None
    assert place.page == 1000


@pytest.mark.asyncio(loop_scope="module")
async def test_a_file_cut_short_is_refused_or_read_in_part(pool: ParserPool) -> None:
    reasons: set[Cause] = set()
    for end in range(60, len(GOOD), 150):
        try:
            read = await pool.parse(GOOD[:end], "a.pdf")
            assert read.canonical_text == " ".join(LEFT)
        except Rejected as error:
            reasons.add(error.reason)
    assert reasons <= {Cause.MALFORMED, Cause.EMPTY}
