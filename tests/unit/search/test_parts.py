"""The parts of a passage that an answer may show."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import FoundPassage, OutlinedHeading, Passage, PassagePiece, VectorKind
from responsa_server.ingest.formats.table import FORMATS
from responsa_server.ingest.sniff import sniff
from responsa_server.search.parts import CUT, PROSE_BYTES, READ_BEFORE_BYTES, ExcerptPart, PassageParts
from responsa_server.text.canonical import BlockKind
from responsa_server.text.sentences import pieces

ID = UUID(int=1)


def found(text: str, *, name: str = "page.md", cut: str = "", language: str = "en") -> FoundPassage:
    """A document as one passage, with its pieces. cut: the passage begins with the first occurrence of this text."""
    original = sniff(text.encode(), name)
    row = FORMATS.named(original.format)
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
    passage = Passage(ID, "default", ID, 1, "", "", source, data[start:].decode(), outline=outline)
    return FoundPassage(passage, language, stored, row.media_type, data[:start].decode())


def part(one: FoundPassage, words: str, most_bytes: int = 2_000) -> tuple[PassageParts, ExcerptPart | None]:
    """The part round the last piece with these words."""
    raw, start = one.passage.text.encode(), one.passage.source.start
    place = max(
        number
        for number, piece in enumerate(one.pieces)
        if words in raw[piece.source.start - start : piece.source.end - start].decode()
    )
    whole = (0, (one.before + one.passage.text).encode())
    parts = PassageParts(one, whole if len(one.before.encode()) == start else None)
    return parts, parts.of(place, most_bytes)


def shown(
    text: str, words: str, *, name: str = "page.md", cut: str = "", language: str = "en", most: int = 2_000
) -> str:
    """The Markdown of the part round the last piece with these words; '' if there is none."""
    parts, made = part(found(text, name=name, cut=cut, language=language), words, most)
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


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("built in", "The tower stands on the hill. It was built in 1712.\n\nBees make honey."),
        ("Bees", "The tower stands on the hill. It was built in 1712.\n\nBees make honey."),
        ("Open it", "Do this:\n\n1. Get the file:\n\n   ```sh\n   get it\n   ```\n2. Open it."),
        ("443", "| Port | Use |\n|---|---|\n| 80 | `http` |\n| 443 | https |"),
        ("Port |", ""),
        ("# Start", ""),
    ],
)
def test_a_part_is_what_stands_round_a_piece_in_its_section(words: str, expected: str) -> None:
    assert shown(PAGE, words) == expected


def test_a_part_goes_over_the_edge_of_its_passage() -> None:
    assert shown(PAGE, "1712", cut="It was built") == shown(PAGE, "1712")
    assert shown(PAGE, "443", cut="| 443") == shown(PAGE, "443")


def test_long_lists_and_code_are_cut_with_a_mark_and_prose_without() -> None:
    items = "\n".join(f"- The item with the number {number} is here." for number in range(100))
    cut = shown(f"# Items\n\n{items}\n", "number 50 ", most=900)
    assert cut.startswith(f"{CUT}\n\n- The item")
    assert cut.endswith(f"is here.\n\n{CUT}")
    assert "number 50 " in cut
    assert 700 < len(cut.encode()) < 920
    code = "\n".join(f"line_{number} = {number}" for number in range(300))
    long = shown(f"```\n{code}\n```\n", "line_0 ", most=900)
    assert (long.startswith("```\nline_0 = 0\n"), long.endswith(f"\n```\n\n{CUT}")) == (True, True)
    prose = " ".join(f"Sentence {number} of many stands here." for number in range(80))
    some = shown(prose, "Sentence 40 ")
    assert "Sentence 40 " in some
    assert PROSE_BYTES - 80 < len(some.encode()) <= PROSE_BYTES
    assert CUT not in some


def test_the_headings_of_a_part_are_those_above_it() -> None:
    one = found(PAGE)
    parts = PassageParts(one)
    titles = {parts.text(piece.source): parts.headings(place) for place, piece in enumerate(one.pieces)}
    assert list(titles["| 443 | https |"]) == ["Start", "Ports"]
    assert list(titles["Bees make honey."]) == ["Start"]


def test_a_heading_ends_those_of_its_own_level_also_if_they_stand_before_the_passage() -> None:
    one = found("## Signing in\n\nWith a key.\n\n## Loading\n\nA folder.\n", cut="With")
    parts = PassageParts(one)
    titles = {parts.text(piece.source): parts.headings(place) for place, piece in enumerate(one.pieces)}
    assert titles["With a key."] == ["Signing in"]
    assert titles["A folder."] == ["Loading"]


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
    assert "\n\n- **Port**: 80; **Use**: web\n\n" in html
    assert "Second." in html
    assert shown("# no heading, 2 * 3 * 4 <b>", "2 *", name="a.txt") == "\\# no heading, 2 * 3 * 4 \\<b>"


def test_what_has_no_visible_text_is_not_shown() -> None:
    assert shown("<b></b>\n", "<b>") == ""
    assert shown("![](gear.svg)\n", "gear") == ""


def test_a_table_that_begins_before_the_text_that_was_read_has_no_known_header() -> None:
    rows = "".join(f"<tr><td>Wren<td>{'brass ' * 9}<td>blue" for _ in range(400))
    table = f"<p>All our lamps and how they are.</p><table><tr><th>Lamp<th>Material<th>Colour{rows}<tr><td>Last<td>of<td>all</table>"
    whole = found(table, name="lamps.html", cut="Last | of")
    assert len(whole.before) > READ_BEFORE_BYTES
    for before, expected in (
        (whole.before[-READ_BEFORE_BYTES:], "- Last; of; all"),
        ("Lamp | Material | Colour\n---|---|---\n", "- **Lamp**: Last; **Material**: of; **Colour**: all"),
    ):
        parts, last = part(replace(whole, before=before), "Last")
        assert last is not None
        assert parts.markdown(last) == expected


def test_tables_next_to_each_other_have_their_own_columns() -> None:
    page = "<table><tr><th>Team<th>Plan<tr><td>Kitchen<td>120</table><table><tr><th>Item<th>Width<tr><td>Door<td>90</table>"
    assert (
        shown(page, "Kitchen", name="a.html")
        == "- **Team**: Kitchen; **Plan**: 120\n\n- **Item**: Door; **Width**: 90"
    )
    markdown = "| Team | Plan |\n|---|---|\n| Kitchen | 120 |\n\n| Item | Width |\n|---|---|\n| Door | 90 |\n"
    assert shown(markdown, "Kitchen").count("|---|---|") == 2
