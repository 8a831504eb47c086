"""The parts of a passage that an answer may show."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from responsa_formats.parsers.sniff import sniff
from responsa_formats.parsers.table import FORMATS
from responsa_formats.text.canonical import BlockKind
from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import (
    FoundPassage,
    NearText,
    OutlinedHeading,
    Passage,
    PassagePiece,
    VectorKind,
)
from responsa_server.search.parts import BEFORE_BYTES, CARD_LINES, CARD_WORDS, CUT, ExcerptPart, PassageParts
from responsa_server.text.sentences import pieces

ID = UUID(int=1)


def passage_of(text: str, *, name: str = "page.md", cut: str = "", language: str = "en") -> FoundPassage:
    """A document as one passage, with its pieces. cut: the passage begins with the first occurrence of this text."""
    return document_of(text, name=name, cut=cut, language=language)[0]


def document_of(
    text: str, *, name: str = "page.md", cut: str = "", language: str = "en"
) -> tuple[FoundPassage, str]:
    """The same, and the text before the passage."""
    original = sniff(text.encode(), name)
    row = FORMATS.with_name(original.format)
    assert row is not None
    parsed = row.load()(original)
    canonical = parsed.canonical_text
    data, start = canonical.encode(), len(canonical[: canonical.index(cut)].encode())
    stored = [
        PassagePiece(VectorKind(piece.kind.value), ByteRange(piece.byte_start, piece.byte_end), None)
        for piece in pieces(canonical, parsed.blocks, language)
        if piece.byte_start >= start
    ]
    outline = [
        OutlinedHeading(block.byte_start, block.level, block.title)
        for block in parsed.blocks
        if block.kind is BlockKind.HEADING
    ]
    source = ByteRange(start, len(data))
    passage = Passage(ID, "default", ID, 1, parsed.title, "", source, data[start:].decode(), outline=outline)
    return FoundPassage(passage, language, stored, row.media_type), data[:start].decode()


def part(passage: FoundPassage, words: str, before: str) -> tuple[PassageParts, ExcerptPart | None]:
    """The part round the last piece with these words. before: the text before the passage, or what is known of it. It is
    the same whether it is made now or was stored."""
    raw, start = passage.passage.text.encode(), passage.passage.source.start
    place = max(
        number
        for number, piece in enumerate(passage.pieces)
        if words in raw[piece.source.start - start : piece.source.end - start].decode()
    )
    near = NearText(start, raw, before=before)
    if len(before.encode()) == start:
        near = NearText(0, before.encode() + raw, before=before)
    parts = PassageParts(passage, near)
    stored = PassageParts(replace(passage, words="stored"), near._replace(cards=parts.pack()))
    made, kept = parts.of(place), stored.of(place)
    if made is not None and kept is not None:
        assert (kept.source, stored.markdown(kept)) == (made.source, parts.markdown(made))
        assert (stored.headings(kept), stored.tables(kept)) == (parts.headings(made), parts.tables(made))
        rows = [row for table in stored.tables(kept) for row in table]
        assert [stored.cells(row) for row in rows] == [parts.cells(row) for row in rows]
        some, same = parts.card(place, lambda _: 0.0), stored.card(place, lambda _: 0.0)
        assert (same.source, stored.markdown(same)) == (some.source, parts.markdown(some))
    assert (kept is None) == (made is None or not parts.markdown(made))
    return parts, made


def shown(text: str, words: str, *, name: str = "page.md", cut: str = "", language: str = "en") -> str:
    """The Markdown of the part round the last piece with these words; '' if there is none."""
    passage, before = document_of(text, name=name, cut=cut, language=language)
    parts, made = part(passage, words, before)
    return "" if made is None else parts.markdown(made)


PAGE = """\
# Start

The tower stands on the hill. It was built in 1712.

Bees make honey.

## Steps

Do this:

1. Get the file:

   ```sh
   get it
   ```

2. Open it.

## Ports

| Port | Use |
|---|---|
| 80 | `http` |
| 443 | https |
"""


SHOWN = (
    re.sub(r"^## (.*)$", r"**\1**", PAGE, flags=re.MULTILINE)
    .removeprefix("# Start\n\n")
    .replace("```\n\n2.", "```\n2.")
    .rstrip()
)


def test_a_part_ends_before_what_is_struck_as_a_whole() -> None:
    fees = "The fee is ~~80~~ 65 euros.\n\n~~Dogs are allowed.~~\n\nParking costs 4 euros."
    assert shown(fees, "Parking") == card(fees, "Parking") == "Parking costs 4 euros."
    assert shown(fees, "fee") == card(fees, "fee") == "The fee is ~~80~~ 65 euros."


@pytest.mark.parametrize("words", ["built in", "Open it", "443"])
def test_a_part_is_the_passage_without_the_headings_at_its_edges(words: str) -> None:
    assert shown(PAGE, words) == SHOWN
    assert shown(f"{PAGE}\n## Next", words) == SHOWN


@pytest.mark.parametrize("words", ["Port |", "# Start"])
def test_no_part_is_made_of_a_heading_or_of_the_header_of_a_table(words: str) -> None:
    assert shown(PAGE, words) == ""


def test_rows_and_code_that_begin_before_the_passage_are_shown_as_such() -> None:
    assert (
        shown(f"{PAGE}\nThe end.", "443", cut="| 443")
        == "| Port | Use |\n|---|---|\n| 443 | https |\n\nThe end."
    )
    code, above = document_of("```sh\nfirst\nsecond\n```\n\nThe end.\n", cut="second")
    begun = PassagePiece(
        VectorKind.CODE, ByteRange(code.passage.source.start, code.passage.source.start + 10), None
    )
    parts, made = part(replace(code, pieces=[begun, *code.pieces]), "The end", above)
    assert made is not None
    assert parts.markdown(made) == "```\nsecond\n```\n\nThe end."


def test_long_lists_and_code_are_cut_with_a_mark_and_prose_without() -> None:
    items = "\n".join(f"- The item with the number {number} is here." for number in range(100))
    cut = shown(f"# Items\n\n{items}\n", "number 50 ")
    assert cut.startswith(f"{CUT}\n\n- The item")
    assert cut.endswith(f"is here.\n\n{CUT}")
    assert "number 50 " in cut
    assert 1_900 < len(cut.encode()) < 2_020
    code = "\n".join(f"line_{number} = {number}" for number in range(300))
    long = shown(f"```\n{code}\n```\n", "line_0 ")
    assert (long.startswith("```\nline_0 = 0\n"), long.endswith(f"\n```\n\n{CUT}")) == (True, True)
    prose = " ".join(f"Sentence {number} of many stands here." for number in range(80))
    some = shown(prose, "Sentence 40 ")
    assert "Sentence 40 " in some
    assert 1_900 < len(some.encode()) <= 2_000
    assert CUT not in some


def card(text: str, words: str, *, name: str = "page.md", wanted: str = "") -> str:
    """The Markdown of the card round the first piece with these words. wanted: what weighs in code."""
    whole = passage_of(text, name=name)
    parts = PassageParts(whole)
    place = next(at for at, piece in enumerate(whole.pieces) if words in parts.text(piece.source))
    return parts.markdown(parts.card(place, lambda line: line.count(wanted) if wanted else 0.0))


def test_a_card_is_a_piece_with_its_neighbours_below_the_same_heading() -> None:
    assert card(PAGE, "built in") == "The tower stands on the hill. It was built in 1712.\n\nBees make honey."
    assert card(PAGE, "443") == "| Port | Use |\n|---|---|\n| 80 | `http` |\n| 443 | https |"
    prose = " ".join(f"Sentence {number} of many stands here." for number in range(80))
    shown = card(prose, "Sentence 40 ")
    assert "Sentence 40 " in shown
    assert 50 < len(shown.split()) <= 60
    assert len(card(f"It is {'very ' * 200}long.", "very").split()) == 60
    assert len(card("\u6c34" * 900 + "\u3002", "\u6c34")) <= 602


def test_a_card_has_at_most_eight_items_rows_or_lines() -> None:
    items = card("\n".join(f"- item {number}" for number in range(30)), "item 12")
    assert ("- item 12" in items, items.count("- item"), items.count(CUT)) == (True, 8, 2)
    # Nor more than sixty words, as prose.
    long = "\n".join(f"- Rule {number} {'and so on ' * 8}" for number in range(9))
    assert re.findall(r"Rule \d|…", card(long, "Rule 4")) == [CUT, "Rule 4", "Rule 5", CUT]
    csv = "city,area\n" + "\n".join(f"town {number},{number}" for number in range(30))
    for table in (
        card(csv, "town 12", name="a.csv"),
        card(csv.replace(",", " | ").replace("area", "area\n---|---"), "town 12"),
    ):
        assert "| town 12 | 12 |" in table
        assert table.count("| town") == 7
    code = "\n".join(f"line_{number} = {number}" for number in range(30))
    lines = card(f"```py\n{code}\n```\n", "line_0", wanted="line_20 ")
    assert ("line_20 = 20" in lines, lines.count(" = "), lines.count("```")) == (True, 8, 2)


READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
BLOCKS = [
    block
    for page in sorted((Path(__file__).parents[3] / "docs").glob("*.md"))
    for block in re.findall(
        r"(?:^```.*?^```$|^[^`\n].*?)(?=\n\n|\Z)", page.read_text(), re.DOTALL | re.MULTILINE
    )
]

ITEMS = "\n".join(f"- {thing}" for thing in ("a key", "a lamp", "a rope", "a map", "two oars"))
TAGS = " ".join(["Write `<input type='text' name='key'>` and see <https://example.org/keys>."] * 9)
BLOCKS += ["You need these:", ITEMS, "And of these some:", ITEMS, TAGS, f"A form:\n\n{TAGS}"] * 20


def read_card(markdown: str) -> tuple[int, int]:
    """How many words a reader sees, and how many paragraphs, items, rows and lines of code, without CUT."""
    text = re.sub(r"<li>\s*<p>", "<li>", READER.render(markdown)).replace(f"<p>{CUT}</p>", "")
    code = [part.strip("\n") for part in re.findall(r"<pre><code[^>]*>(.*?)</code>", text, re.DOTALL)]
    lines = len(re.findall(r"<(?:p|li|tr)>", text)) + sum(part.count("\n") + 1 for part in code)
    plain = re.sub(r"<[^>]*>", " ", re.sub(r"</?(?:em|strong|code|a|s)\b[^>]*>", "", text))
    return len(re.findall(r"\w\S*", html.unescape(plain))), lines


@given(
    st.lists(st.tuples(st.integers(0, len(BLOCKS) - 1), st.integers(1, 4)), min_size=1, max_size=3),
    st.sampled_from(("\n\n", "\n")),
    st.sampled_from(("page.md", "page.txt")),
)
def test_every_card_has_words_and_no_more_than_fit(
    runs: list[tuple[int, int]], between: str, name: str
) -> None:
    blocks = [block for start, count in runs for block in BLOCKS[start : start + count]]
    whole = passage_of(between.join(blocks), name=name)
    parts = PassageParts(whole)
    for index, piece in enumerate(whole.pieces):
        header = piece.kind is VectorKind.ROW and parts.header(index) is None
        shown = parts.markdown(parts.card(index, lambda _: 0.0))
        if shown and not header and piece.kind is not VectorKind.HEADING:
            words, lines = read_card(shown)
            assert words <= CARD_WORDS, shown
            assert 0 < lines <= CARD_LINES, shown


def test_a_card_goes_back_to_the_beginning_of_its_paragraph_first() -> None:
    said = " ".join(f"Sentence {number} is one of those that stand here." for number in range(8))
    page = f"Before it.\n\n{said}\n\n{said.replace('Sentence', 'Other')}"
    assert re.findall(r"\w+ (?=\d|it)\w+", card(page, "Sentence 3")) == [
        f"Sentence {number}" for number in range(6)
    ]
    item = f"- First.\n- {said} {said.replace('Sentence', 'Other')}\n- Last."
    assert re.findall(r"\w+ \d|First", card(item, "Sentence 3")) == [
        f"Sentence {number}" for number in range(6)
    ]


def test_a_list_has_what_leads_to_it_and_no_more_than_its_first_words() -> None:
    items = "\n".join(f"- The item with the number {number} of many." for number in range(100))
    shown = card(f"You need these:\n\n{items}", "number 50 ")
    assert shown.startswith(f"You need these:\n\n{CUT}\n\n- The item with the number 4")
    assert card(f"You need these:\n\n{items}", "number 2 ").startswith(
        "You need these:\n\n- The item with the number 0 "
    )
    long = card(f"{'Of all of this, '.capitalize() * 5}you need these:\n\n{items}", "number 50 ")
    assert long.startswith(f"{('Of all of this, ' * 3).strip()} {CUT}\n\n{CUT}\n\n- The item")


def test_of_a_row_that_is_longer_than_a_card_the_cells_that_weigh_most_are_shown() -> None:
    names = [f"Name of the column {number}" for number in range(12)]
    cells = [f"what is said in the cell {number}" for number in range(12)]
    table = f"| {' | '.join(names)} |\n|{'---|' * 12}\n| {' | '.join(cells)} |\n"
    shown = card(table, "cell 3 ", wanted="cell 9")
    header, _, row, *cut = shown.removeprefix(f"{CUT}\n\n").splitlines()
    assert ("column 9" in header, "cell 9" in row, header.count("|")) == (True, True, row.count("|"))
    assert len(re.findall(r"\w+", f"{header} {row}")) <= 60
    assert cut[-1:] == [CUT] or "cell 11" in row
    numbers = ",".join(str(number) for number in range(100, 112))
    named = card(f"{','.join(names)}\n{numbers}\n{numbers}\n", "103", name="a.csv", wanted="column 9")
    assert re.findall(r"column 9|109", named) == ["column 9", "109"]


def test_the_headings_of_a_part_are_those_above_it() -> None:
    one = passage_of(PAGE)
    parts = PassageParts(one)
    titles = {
        parts.text(piece.source): parts.headings(ExcerptPart(piece.source, place, place))
        for place, piece in enumerate(one.pieces)
        if piece.kind is not VectorKind.HEADING
    }
    assert list(titles["| 443 | https |"]) == ["Start", "Ports"]
    assert list(titles["Bees make honey."]) == ["Start"]
    whole = parts.of(1)
    assert whole is not None
    assert list(parts.headings(whole)) == ["Start"]


def test_a_heading_ends_those_of_its_own_level_also_if_they_stand_before_the_passage() -> None:
    one = passage_of("## Signing in\n\nWith a key.\n\n## Loading\n\nA folder.\n", cut="With")
    parts = PassageParts(one)
    whole = parts.of(0)
    assert whole is not None
    assert (parts.headings(whole), parts.markdown(whole)) == (
        [],
        "**Signing in**\n\nWith a key.\n\n**Loading**\n\nA folder.",
    )


TABLE = """\
Ports:

| Port | Use |
|---|---|
| 80 | `http` |
| 443 | *https* |
"""


def test_other_formats_show_their_visible_text() -> None:
    page = (
        "<h1>Ports</h1><p>Use *one* of &lt;these&gt;.</p><table><tr><th>Port<th>Use</tr><tr><td>80<td>web</tr></table>"
        "<ul><li>First.<li>Second.</ul>"
    )
    html = shown(page, "80", name="page.html")
    assert html.startswith("Use \\*one\\* of \\<these>.")
    assert "\n\n| Port | Use |\n|---|---|\n| 80 | web |\n\n" in html
    assert "Second." in html
    assert shown("# no heading, 2 * 3 * 4 <b>", "2 *", name="a.txt") == "\\# no heading, 2 * 3 * 4 \\<b>"


def test_a_list_is_shown_with_all_its_labels_on_lines_of_their_own() -> None:
    page = "<p>Lock it so:<ol type=I><li>Turn the key.<li>Pull it.</ol><p>x<p>Fares<dl><dt>Child<dd>4 euros<dt>Adult<dd>9 euros</dl>"
    assert shown(page, "Pull", name="page.html") == (
        "Lock it so:  \nI. Turn the key.  \nII. Pull it.\n\nx\n\nFares\n\nChild: 4 euros  \nAdult: 9 euros"
    )


def test_what_has_no_visible_text_is_not_shown() -> None:
    assert shown("<b></b>\n", "<b>") == ""
    assert shown("![](gear.svg)\n", "gear") == ""


def test_a_table_that_begins_before_the_text_that_was_read_has_no_known_header() -> None:
    rows = "".join(f"<tr><td>Wren<td>{'brass ' * 9}<td>blue" for _ in range(400))
    table = f"<p>All our lamps and how they are.</p><table><tr><th>Lamp<th>Material<th>Colour{rows}<tr><td>Last<td>of<td>all</table>"
    whole, above = document_of(table, name="lamps.html", cut="Last | of")
    assert len(above) > BEFORE_BYTES
    for before, expected in (
        (above[-BEFORE_BYTES:], "|  |  |  |\n|---|---|---|\n| Last | of | all |"),
        (
            "Lamp | Material | Colour\n---|---|---\n",
            "| Lamp | Material | Colour |\n|---|---|---|\n| Last | of | all |",
        ),
    ):
        parts, last = part(whole, "Last", before)
        assert last is not None
        assert parts.markdown(last) == expected


def test_tables_next_to_each_other_have_their_own_columns() -> None:
    page = "<table><tr><th>Team<th>Plan<tr><td>Kitchen<td>120</table><table><tr><th>Item<th>Width<tr><td>Door<td>90</table>"
    assert (
        shown(page, "Kitchen", name="a.html")
        == "| Team | Plan |\n|---|---|\n| Kitchen | 120 |\n\n| Item | Width |\n|---|---|\n| Door | 90 |"
    )
    markdown = "| Team | Plan |\n|---|---|\n| Kitchen | 120 |\n\n| Item | Width |\n|---|---|\n| Door | 90 |\n"
    assert shown(markdown, "Kitchen").count("|---|---|") == 2


def test_a_single_row_is_a_table_of_the_part() -> None:
    passage, before = document_of(f"{PAGE}\n## Next", cut="| 443")
    parts, made = part(passage, "443", before)
    assert made is not None
    assert len(parts.tables(replace(made, first=made.last))) == 1


def test_an_answer_names_each_cell_and_never_shows_a_header() -> None:
    page = "<p>All our stock.</p><table><tr><th><th>North 1<th>South 2<tr><td>Lamp<td><td>22<tr><td>Chair<td>5</table>"
    assert shown(page, "22", name="a.html").endswith(
        "|  | North 1 | South 2 |\n|---|---|---|\n| Lamp |  | 22 |\n| Chair | 5 |  |"
    )
    parts = PassageParts(whole := passage_of(page, name="a.html"))
    header = next(place for place, piece in enumerate(whole.pieces) if "North" in parts.text(piece.source))
    assert (parts.of(header), parts.header(header)) == (None, None)


def test_an_answer_says_a_row_with_the_names_of_its_columns() -> None:
    data = "city,price | net\nUlm,3\nBonn,4 | 5\nBonn: 2,a;b\n"
    rows = "| city | price \\| net |\n|---|---|\n| Ulm | 3 |\n| Bonn | 4 \\| 5 |\n| Bonn: 2 | a;b |"
    assert shown(data, "Ulm", name="a.csv") == rows
    assert (
        shown('[{"city": "Bonn", "price": 4}]', "Bonn", name="a.json")
        == "| city | price |\n|---|---|\n| Bonn | 4 |"
    )
    assert shown('{"city": "Bonn"}\n', "Bonn", name="a.jsonl") == "| city |\n|---|\n| Bonn |"
