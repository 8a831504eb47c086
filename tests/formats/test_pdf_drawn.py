"""What a PDF page draws besides letters: rules make cells, what is not seen is left out and counted, turned names head
their columns, and a large capital belongs to its word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.formats.printed_pages import Text, pdf, width
from tests.formats.test_more_formats import read


def ruled(xs: Sequence[float], ys: Sequence[float]) -> str:
    """The rules of a table, each over its whole width or height."""
    flat = (f"{xs[0]} {y} m {xs[-1]} {y} l S" for y in ys)
    return "\n".join([*flat, *(f"{x} {ys[0]} m {x} {ys[-1]} l S" for x in xs)])


def cells(xs: Sequence[float], y: float, *texts: str) -> list[Text]:
    return [Text(x + 4, y, text) for x, text in zip(xs, texts, strict=False) if text]


XS, YS = (50, 150, 250, 350), (700, 686, 658, 644)
# The second row has two lines in one cell, at the pitch of the rows.
WRAPPED = [
    *cells(XS, 690, "Part", "Use", "Shelf"),
    *cells(XS, 676, "Pump", "lifts water", "A1"),
    Text(154, 662, "from the pit"),
    *cells(XS, 648, "Valve", "stops it", "B2"),
]
TABLE = "Part | Use | Shelf\n---|---|---\nPump | lifts water from the pit | A1\nValve | stops it | B2"
BOXES = "\n".join(
    f"{x} {low} {right - x} {high - low} re S" for x, right in pairwise(XS) for high, low in pairwise(YS)
)
# Rows between rules, without verticals.
LINED = "\n".join(f"50 {y} m 350 {y} l S" for y in YS)
THIN = "\n".join(
    [*(f"50 {y} 300 0.5 re f" for y in YS), *(f"{x} {YS[-1]} 0.5 {YS[0] - YS[-1]} re f" for x in XS)]
)
OPEN = "\n".join([*(f"50 {y} m 350 {y} l S" for y in YS), *(f"{x} 700 m {x} 644 l S" for x in XS[1:3])])
FILLED = (
    "0.9 0.9 1 rg\n"
    + "\n".join(
        f"{x} {low} {right - x - 1} {high - low - 1} re f"
        for x, right in pairwise(XS)
        for high, low in pairwise(YS)
    )
    + "\n0 g"
)


@pytest.mark.parametrize("drawn", [ruled(XS, YS), BOXES, LINED, THIN, OPEN, FILLED])
def test_rules_make_cells_where_distances_do_not(drawn: str) -> None:
    document, left_out = read(pdf(WRAPPED, below=drawn), "a.pdf")
    assert (document.canonical_text, left_out) == (TABLE, {})


@pytest.mark.parametrize(
    ("texts", "drawn", "text"),
    [
        # A cell over two rows, and one over two columns.
        (
            [
                *cells(XS, 690, "Team", "Day", "Room"),
                *cells(XS, 676, "Blue", "Monday", "R7"),
                *cells(XS, 662, "", "Tuesday", "R8"),
            ],
            "\n".join(f"{x} 700 m {x} 658 l S" for x in XS)
            + "\n50 700 m 350 700 l S 50 686 m 350 686 l S 150 672 m 350 672 l S 50 658 m 350 658 l S",
            "Team | Day | Room\n---|---|---\nBlue | Monday | R7\nBlue | Tuesday | R8",
        ),
        # Two words that stand close, on the two sides of a rule.
        (
            [
                Text(50, 690, "Name"),
                Text(103, 690, "Pay"),
                Text(50, 676, "Anna Weber"),
                Text(109, 676, "4120"),
                Text(50, 662, "Ivo"),
                Text(109, 662, "3890"),
            ],
            ruled((48, 105, 140), (700, 686, 672, 658)).replace("105", "105.6").replace("(103", "(107"),
            None,
        ),
        # A frame around a text is no table.
        (
            [Text(60, 690 - 12 * n, "The ferry leaves the pier at noon and") for n in range(3)],
            ruled((50, 300), (710, 650)),
            "The ferry leaves the pier at noon and The ferry leaves the pier at noon and The ferry leaves the pier at noon and",
        ),
        # A title above the names of the columns.
        (
            [Text(60, 704, "Parts of the pump"), *WRAPPED],
            ruled(XS, YS) + "\n50 714 m 350 714 l S 50 714 m 50 700 l S 350 714 m 350 700 l S",
            f"Parts of the pump\n\n{TABLE}",
        ),
    ],
)
def test_cells(texts: Sequence[Text], drawn: str, text: str | None) -> None:
    document, _ = read(pdf(list(texts), below=drawn), "a.pdf")
    if text is None:
        assert "Anna Weber | 4120" in document.canonical_text
    else:
        assert document.canonical_text == text


FARES = (50, 130, 190, 250, 310, 370)
GROUPS = [("", 1), ("Adults", 2), ("Children", 2)]
NAMES = [(name, 1) for name in ("Line", "Single", "Return", "Single", "Return")]
PRICES = [[f"Line {n}", f"{n}.10", f"{n + 2}.40", f"{n}.20", f"{n + 1}.80"] for n in range(1, 4)]
PAID = [["Line 1", "cash", "card", "none", "coin"], ["Line 2", "card", "cash", "coin", "none"]]
FARE_NAMES = "Line | Adults Single | Adults Return | Children Single | Children Return\n---|---|---|---|---\n"


def spanned(
    header: Sequence[Sequence[tuple[str, int]]], rows: Sequence[Sequence[str]], left: int = 0
) -> tuple[list[Text], str]:
    """A ruled table: its texts and its rules. header: the texts of its cells, with the columns that each covers. left:
    the column at which the rules between the rows of the header begin."""
    texts: list[Text] = []
    drawn: list[str] = []
    every = [*header, *([(cell, 1) for cell in row] for row in rows)]
    for number, row in enumerate(every):
        y, column = 700 - 14 * number, 0
        start = FARES[left if 0 < number < len(header) else 0]
        drawn.append(f"{start} {y} m {FARES[-1]} {y} l S {FARES[-1]} {y} m {FARES[-1]} {y - 14} l S")
        for text, columns in row:
            texts += [Text(FARES[column] + 4, y - 10, text)] if text else []
            drawn.append(f"{FARES[column]} {y} m {FARES[column]} {y - 14} l S")
            column += columns
    drawn.append(f"{FARES[0]} {700 - 14 * len(every)} m {FARES[-1]} {700 - 14 * len(every)} l S")
    return texts, "\n".join(drawn)


@pytest.mark.parametrize(
    ("header", "rows", "left", "text"),
    [
        ([GROUPS, NAMES], PRICES, 0, FARE_NAMES),
        ([GROUPS, NAMES], PAID, 0, FARE_NAMES),
        ([[("", 1), ("Weekdays", 4)], GROUPS, NAMES], PRICES, 0, f"Weekdays\n\n{FARE_NAMES}"),
        ([[("Line", 1), *GROUPS[1:]], [("", 1), *NAMES[1:]]], PRICES, 1, FARE_NAMES),
        ([GROUPS, [("", 1), *NAMES[1:]]], PRICES, 0, FARE_NAMES.replace("Line", "|", 1)),
        # Values over several columns are no names.
        (
            [NAMES, [("Line 0", 1), ("shut", 4)]],
            PRICES,
            0,
            "Line | Single | Return | Single | Return\n---|---|---|---|---\nLine 0 | shut | shut | shut | shut\n",
        ),
    ],
    ids=["two rows", "words", "three rows", "a name over two rows", "no first name", "values"],
)
def test_names_over_several_columns_belong_to_each_of_them(
    header: Sequence[Sequence[tuple[str, int]]], rows: Sequence[Sequence[str]], left: int, text: str
) -> None:
    texts, drawn = spanned(header, rows, left)
    document, _ = read(pdf(texts, below=drawn), "a.pdf")
    assert document.canonical_text == text + "\n".join(map(" | ".join, rows))


ZONES = [("", 1), ("Zone A, by day", 2), ("Zone B", 2)]
FARE_TYPES = [("Line", 1), *[("adult", 1), ("child", 1)] * 2]
ZONE_NAMES = (
    "Line | Zone A, by day adult | Zone A, by day child | Zone B adult | Zone B child\n---|---|---|---|---\n"
)


@pytest.mark.parametrize("between", [False, True], ids=["no rules", "rules between the rows"])
@pytest.mark.parametrize("centred", [False, True], ids=["at the left", "centred"])
@pytest.mark.parametrize(
    ("header", "text"),
    [
        ([ZONES, FARE_TYPES], ZONE_NAMES),
        ([[FARE_TYPES[0], *ZONES[1:]], [ZONES[0], *FARE_TYPES[1:]]], ZONE_NAMES),
        ([ZONES, [ZONES[0], *FARE_TYPES[1:]]], ZONE_NAMES.replace("Line", "|", 1)),
    ],
    ids=["the first name below", "the first name beside the groups", "no first name"],
)
def test_names_stand_over_several_columns_without_rules_between_these(
    header: Sequence[Sequence[tuple[str, int]]], text: str, centred: bool, between: bool
) -> None:
    texts, _ = spanned(header, PRICES)
    if centred:
        above = [(at, name) for at, name in enumerate(texts) if name.text.startswith("Zone")]
        for (at, name), middle in zip(above, (FARES[2], FARES[4]), strict=True):
            texts[at] = replace(name, x=middle - width(name.text) / 2)
    flat = "\n".join(f"50 {700 - 14 * row} m 370 {700 - 14 * row} l S" for row in range(6))
    document, _ = read(pdf(texts, below=flat if between else ""), "a.pdf")
    assert document.canonical_text == text + "\n".join(map(" | ".join, PRICES))


SEEN = [Text(60, 700, "The fee is 90 euros.")]
OLD = "BT /F 10 Tf 60 680 Td (The fee is 40 euros.) Tj ET"
PICTURE = "<</Type/XObject/Subtype/Image/Width 1/Height 1/ColorSpace/DeviceGray/BitsPerComponent 8/Length 1>>stream\n\x7f\nendstream"


@pytest.mark.parametrize(
    ("page", "below", "above", "left_out"),
    [
        ("", "", f"3 Tr {OLD}", {"hidden_text": 1}),
        ("", "", f"q 7 Tr {OLD} Q", {"hidden_text": 1}),
        ("/CropBox[0 690 600 800]", "", OLD, {"hidden_text": 1}),
        ("", "", f"q 0 0 600 100 re W n {OLD} Q", {"hidden_text": 1}),
        ("", "", f"1 g {OLD}", {"hidden_text": 1}),
        ("", "", f"0 0 1 rg 50 670 200 20 re f {OLD}", {"hidden_text": 1}),
        ("", "", f"{OLD} 1 g 50 670 200 20 re f", {"hidden_text": 1}),
        ("", "", f"{OLD} 0 g 50 670 200 20 re f", {"hidden_text": 1}),
    ],
)
def test_text_that_is_not_seen_is_left_out_and_counted(
    page: str, below: str, above: str, left_out: Mapping[str, int]
) -> None:
    document, counted = read(pdf(SEEN, page=page, below=below, above=above), "a.pdf")
    assert (document.canonical_text, counted) == ("The fee is 90 euros.", left_out)


@pytest.mark.parametrize(
    ("below", "above"),
    [
        ("", f"0 0 0.4 rg 50 670 200 20 re f 1 g {OLD}"),
        ("", f"{OLD} q 50 670 200 5 re f Q"),
        ("", f"2 Tr {OLD}"),
        ("", f"q 50 670 300 40 re W n {OLD} Q"),
        ("1 1 0 rg 50 670 200 20 re f 0 g", OLD),
    ],
)
def test_text_that_is_seen_is_read(below: str, above: str) -> None:
    document, counted = read(pdf(SEEN, below=below, above=above), "a.pdf")
    assert "The fee is 40 euros." in document.canonical_text
    assert counted == {}


def test_rules_between_which_several_rows_stand_do_not_make_the_cells() -> None:
    drawn = ruled((40, 180, 300), (702, 686, 616))
    xs = (40, 110, 180, 240)
    rows = [cells(xs, 676 - 14 * n, f"{n + 1}", f"{n + 4}", "M", f"{40 + n}") for n in range(4)]
    texts = [*cells(xs, 690, "Row", "grade", "sex", "limit"), *(text for row in rows for text in row)]
    document, _ = read(pdf(texts, below=drawn), "a.pdf")
    assert document.canonical_text.startswith(
        "Row | grade | sex | limit\n---|---|---|---\n1 | 4 | M | 40\n2 | 5"
    )


def test_turned_names_head_their_columns() -> None:
    names = [
        Text(x, 700, name, turned=True) for x, name in ((162, "Monday"), (222, "Tuesday"), (282, "Friday"))
    ]
    rows = [
        *cells((50, 150, 210, 270), 680, "Pool", "120", "95", "143"),
        *cells((50, 150, 210, 270), 664, "Sauna", "40", "38", "51"),
    ]
    document, _ = read(pdf([*names, *rows]), "a.pdf")
    lines = document.canonical_text.split("\n")
    assert lines[0].strip("| ") == "Monday | Tuesday | Friday"
    assert "Sauna | 40 | 38 | 51" in lines


@pytest.mark.parametrize(
    ("capital", "rest", "word"),
    [("T", "he old ferry", "The old ferry"), ("Ü", "ber den Fluss", "Über den Fluss")],
)
def test_a_large_capital_belongs_to_its_word(capital: str, rest: str, word: str) -> None:
    texts = [
        Text(60, 676, capital, 40),
        Text(92, 698, f"{rest} leaves the pier at noon and", 10),
        Text(92, 686, "needs eleven minutes to the other", 10),
        Text(60, 674, "side of the river, where it waits for the", 10),
        Text(60, 662, "bus.", 10),
    ]
    document, _ = read(pdf(texts), "a.pdf")
    assert document.canonical_text.startswith(f"{word} leaves the pier at noon and needs eleven minutes")
    assert "\n\n" not in document.canonical_text


def test_size_alone_makes_no_heading() -> None:
    quote = Text(60, 740, "The ferry was never late in the eleven years of her service.", 14)
    body = [
        Text(60, 700 - 12 * n, f"A line of the text of this page, number {n}, which says little.")
        for n in range(9)
    ]
    document, _ = read(pdf([quote, Text(60, 780, "7", 30), *body]), "a.pdf")
    assert [block.title for block in document.blocks if block.title] == []


def place_rows(*made: Sequence[tuple[float, str]]) -> list[Text]:
    """Rows below each other, from the places and the texts of their cells."""
    return [Text(x, 700 - 14 * number, text) for number, row in enumerate(made) for x, text in row]


IN_FULL, IN_PART = ((40, "for"), (80, "int n"), (140, "equals"), (200, "zero")), ((40, "crc"), (200, "next"))


@pytest.mark.parametrize(
    ("texts", "end", "table"),
    [
        # Cells stand below two names: the first column has no name, so that the names would move by one.
        (
            place_rows(
                ((70, "Status"), (114, "Age"), (160, "values"), (220, "ind")),
                *(((40, f"X{n}"), (78, "P 23646 00"), (160, "45190"), (220, "V1")) for n in range(1, 5)),
            ),
            "X4 P 23646 00 45190 V1",
            False,
        ),
        # A name over several cells names none of them.
        (
            place_rows(
                ((40, "Model"), (120, "events mean"), (280, "error")),
                *(((40, f"M{n}"), (130, "423"), (160, "143.5"), (280, "6.4")) for n in range(1, 5)),
            ),
            "M4 423 143.5 6.4",
            False,
        ),
        # Rows without names are mostly empty.
        (
            place_rows(IN_FULL, IN_PART, ((40, "brace"), (140, "end")), IN_FULL, IN_PART),
            "for int n equals zero\n\ncrc next",
            True,
        ),
    ],
    ids=["two names", "one name", "no names"],
)
def test_rows_whose_columns_are_doubtful_are_lines(texts: list[Text], end: str, *, table: bool) -> None:
    """table: whether the rows above those are one."""
    document, counted = read(pdf(texts), "a.pdf")
    assert document.canonical_text.endswith(end)
    assert ("|" in document.canonical_text, counted) == (table, {"uncertain_table": 1})


def test_a_cell_that_begins_in_another_column_than_its_name_makes_lines() -> None:
    texts = [Text(x, 700, name) for x, name in ((150, "Aa"), (220, "Bb"), (290, "Cc"))]
    for n in range(3):
        texts += [
            Text(40, 686 - 14 * n, f"2004-03-0{n}      -1.2086102", spacing=3),
            Text(220, 686 - 14 * n, "1.42"),
        ]
        texts += [Text(290, 686 - 14 * n, "-0.81")]
    texts += [
        Text(x, 644, value) for x, value in ((40, "2004-03-14"), (150, "0.84"), (220, "-2.73"), (290, "0.23"))
    ]
    document, counted = read(pdf(texts), "a.pdf")
    assert ("|" in document.canonical_text, counted) == (False, {"uncertain_table": 1})


def test_two_words_are_one_name_if_nothing_stands_below_the_first() -> None:
    texts = place_rows(
        ((100, "Df"), (150, "Deviance"), (220, "Resid."), (252.4, "Df")),
        ((40, "grade"), (108, "1"), (176, "1.73"), (252.8, "95")),
        ((40, "age"), (108, "3"), (176, "7.20"), (252.8, "92")),
    )
    document, _ = read(pdf(texts), "a.pdf")
    assert document.canonical_text.startswith(
        "| | Df | Deviance | Resid. Df\n---|---|---|---\ngrade | 1 | 1.73 | 95"
    )


def test_a_heading_between_two_tables_is_a_row_of_neither() -> None:
    texts: list[Text] = []
    for y, hours in ((700, ("9", "6")), (626, ("4", "3"))):
        texts += cells((50, 150), y, "Day", "Hours") + cells((50, 150), y - 14, "Monday", hours[0])
        texts += [
            *cells((50, 150), y - 28, "Friday", hours[1]),
            Text(50, y - 52, "2", 15),
            Text(80, y - 52, "Winter", 15),
        ]
    texts += [
        Text(50, 500 - 12 * n, "Prose of the page, line after line, in its usual size.") for n in range(4)
    ]
    document, _ = read(pdf(texts), "a.pdf")
    assert [block.title for block in document.blocks if block.title] == ["2 Winter", "2 Winter"]


@pytest.mark.parametrize(
    ("drawn", "text"),
    [
        ("A di\x1berent e\x1eect of the \x1crst", "A different effiect of the first"),
        ("o\x0b the \x0cle", "off the file"),
        ("aged 50\x1554, the \x10young\x11", "aged 50–54, the “young”"),
        ("the \x10\x1crst aid\x11 box", "the “first aid” box"),
        ("x = (k)\x11", "x = (k)"),
    ],
)
def test_letters_of_fonts_that_do_not_name_them(drawn: str, text: str) -> None:
    assert read(pdf([Text(50, 700, drawn)]), "a.pdf")[0].canonical_text == text


def test_a_line_in_a_font_of_pictures_is_read_though_its_letters_are_narrow_and_high() -> None:
    boxes = ("0 0 8 28", "0 0 20 28", "0 20 8 28")
    letters = [f"<</Length 28>>stream\n26 0 {box} d1 0 0 30 30 re f\nendstream" for box in boxes]
    font = (
        b"/Type3/FontBBox[0 0 30 30]/FontMatrix[1 0 0 1 0 0]/FirstChar 97/LastChar 99/Widths[26 26 26]"
        b"/CharProcs<</a 100 0 R/b 101 0 R/c 102 0 R>>/Encoding<</Type/Encoding/Differences[97/a/b/c]>>/Resources<<>>>>"
    )
    data = pdf([Text(50, 700, "cbbabbb", 0.24)], more=letters)
    begin, end = data.index(b"/Type1/BaseFont"), data.index(b">>>>", data.index(b"/Type1/BaseFont")) + 4
    document, _ = read(data[:begin] + font + data[end:], "a.pdf")
    assert document.canonical_text == "cbbabbb"


def test_cells_in_one_column_of_a_row_are_one() -> None:
    texts = place_rows(
        ((40, "Payee"), (140, "Account"), (240, "Amount")),
        ((40, "Bank"), (140, "Savings"), (240, "300.00")),
        ((140, "Checking"), (230, "$"), (246, "-300.00")),
    )
    document, _ = read(pdf(texts), "a.pdf")
    assert document.canonical_text.split("\n")[-1] == "| | Checking | $ -300.00"


def test_a_rule_parts_texts_that_touch() -> None:
    texts = [
        *cells((48, 108), 690, "Name", "Pay"),
        Text(50, 676, "Anna Weber-Li"),
        Text(113, 676, "4120"),
        *cells((48, 108), 662, "Ivo", "3890"),
    ]
    document, _ = read(pdf(texts, below=ruled((48, 108, 150), (700, 686, 672, 658))), "a.pdf")
    assert document.canonical_text == "Name | Pay\n---|---\nAnna Weber-Li | 4120\nIvo | 3890"


LAYERS = "/OCProperties<</OCGs[100 0 R 101 0 R]/D<<%s>>>>"
OFF = "/OFF[101 0 R]"
GROUPS = ("<</Type/OCG/Name(A)>>", "<</Type/OCG/Name(A)>>")
PROPERTIES = "/Resources<</Font<</F 3 0 R>>/Properties<</On 100 0 R/Off 101 0 R%s>>/XObject<<%s>>>>"


def said(text: str, y: int) -> str:
    return f"BT /F 10 Tf 1 0 0 1 50 {y} Tm ({text}) Tj ET "


def form(content: str, layer: str = "") -> str:
    resources = PROPERTIES % ("", "")
    return f"<</Type/XObject/Subtype/Form/BBox[0 0 600 800]{layer}{resources}/Length {len(content)}>>stream\n{content}\nendstream"


@pytest.mark.parametrize(
    ("state", "content", "properties", "forms"),
    [
        (OFF, f"/OC /On BDC {said('on', 700)} EMC /OC /Off BDC {said('off', 680)} EMC", "", ()),
        (OFF, f"/OC /Off BDC {said('off', 700)} EMC /OC /On BDC {said('on', 700)} EMC", "", ()),
        (
            "/BaseState/OFF/ON[100 0 R]",
            f"/OC /On BDC {said('on', 700)} EMC /OC /Off BDC {said('off', 680)} EMC",
            "",
            (),
        ),
        (
            OFF,
            f"/OC /On BDC {said('on', 700)} /P <</MCID 0>> BDC /OC /Off BDC {said('off', 680)} EMC EMC EMC",
            "",
            (),
        ),
        (
            OFF,
            f"/OC /Any BDC {said('on', 700)} EMC /OC /All BDC {said('off', 680)} EMC",
            "/Any<</Type/OCMD/OCGs[100 0 R 101 0 R]/P/AnyOn>>/All<</Type/OCMD/OCGs[100 0 R 101 0 R]/P/AllOn>>",
            (),
        ),
        (
            OFF,
            "/X Do /Y Do",
            "",
            (form(said("on", 700), "/OC 100 0 R"), form(said("off", 680), "/OC 101 0 R")),
        ),
        (
            OFF,
            "/OC /On BDC /X Do EMC /OC /Off BDC /Y Do EMC",
            "",
            (form(said("on", 700)), form(said("off", 680))),
        ),
        (OFF, "/X Do", "", (form(f"/OC /On BDC {said('on', 700)} EMC /OC /Off BDC {said('off', 680)} EMC"),)),
    ],
)
def test_layers_that_are_off_are_left_out(
    state: str, content: str, properties: str, forms: Sequence[str]
) -> None:
    named = "".join(f"/{name} {102 + n} 0 R" for n, name in enumerate("XY"[: len(forms)]))
    data = pdf(
        [],
        more=(*GROUPS, *forms),
        catalog=LAYERS % state,
        page=PROPERTIES % (properties, named),
        above=content,
    )
    document, left_out = read(data, "a.pdf")
    assert (document.canonical_text, left_out) == ("on", {"hidden_text": 1})


def test_pages_have_the_labels_of_the_file() -> None:
    pages = [[Text(50, 700, f"Text of page {number}.")] for number in range(1, 5)]
    labels = "/PageLabels<</Nums[0<</S/r>> 2<</S/D/St 3>> 3<</P(A-)/S/D>>]>>"
    document, _ = read(pdf(*pages, catalog=labels), "a.pdf")
    places = [(block.place.page, block.place.path) for block in document.blocks if block.place]
    assert places == [(1, "i"), (2, "ii"), (3, ""), (4, "A-1")]
