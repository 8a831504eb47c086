"""The windows of a passage: each is of one section, below the path of that section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import numpy as np

from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import OutlinedHeading, Passage, VectorKind
from responsa_server.ingest.indexing import plan_vectors
from responsa_server.search.embedder import Vectors
from responsa_server.text.sentences import Piece, PieceKind, pieces
from tests.formats.office_files import parse
from tests.unit.search.test_parts import passage_of


class Wide:
    """An embedder of which only the limit is asked."""

    name = "wide/1"
    dimensions = 1
    max_tokens = 254
    languages: frozenset[str] | None = None

    async def embed(self, texts: Sequence[str]) -> Vectors:
        return np.zeros((len(texts), 1), np.float32)

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        return [(place, place + 1) for place in range(len(text))]


def windows_of(text: str, *above: OutlinedHeading) -> list[tuple[str, str]]:
    """The source and the text of each window."""
    return planned_of(text, *above, kind=VectorKind.WINDOW)


def planned_of(
    text: str, *above: OutlinedHeading, kind: VectorKind, header: str = ""
) -> list[tuple[str, str]]:
    """The source and the text of each vector of a kind."""
    found = pieces(text, parse(text.encode(), "a.md").blocks, "en")
    one = passage_of(text).passage
    passage = replace(one, title="Handbook", outline=[*above, *one.outline])
    planned = plan_vectors(Wide(), passage, found)
    return [
        (text.encode()[one.source.start : one.source.end].decode().strip(), one.text)
        for one in planned
        if one.kind is kind
    ]


def test_a_row_is_embedded_with_the_names_of_its_columns_below_what_stands_above_its_table() -> None:
    table = "| Lamp | Price |\n|---|---|\n| Wren | 20 |\n| Owl |  |\n"
    said = [("| Wren | 20 |", "Lamp: Wren; Price: 20"), ("| Owl |  |", "Lamp: Owl")]
    for page, above in (
        (f"# Shop\n\n{table}", "Shop\n"),
        (f"# Shop\n\nOur lamps:\n\n{table}", "Our lamps:\n"),
    ):
        assert planned_of(page, kind=VectorKind.ROW)[1:] == [(row, f"{above}{text}") for row, text in said]
    further = Passage(UUID(int=1), "", UUID(int=1), 1, "", "", ByteRange(500, 508), "Owl | 30")
    row = Piece(500, 508, PieceKind.ROW)
    assert (
        plan_vectors(Wide(), further, [row], header="Lamp | Price\n---|---|\n")[1].text
        == "Lamp: Owl; Price: 30"
    )
    # What the model does not read is left out cell by cell.
    wide = planned_of(
        f"| A | B | C |\n|---|---|---|\n| one | {'word ' * 30}| {'more ' * 30}|", kind=VectorKind.ROW
    )
    assert wide[1][1] == f"A: one; B: {'word ' * 30}".strip()


def test_windows_end_at_headings_and_have_the_path_of_their_section() -> None:
    above = OutlinedHeading(-1, 1, "Leave")
    holiday, illness = "## Holiday\n\nIt is 25 days.", "## Illness\n\nIt needs a note."
    assert windows_of(f"{holiday}\n\n{illness}", above) == [
        (holiday, "Handbook > Leave > Holiday\nHoliday It is 25 days."),
        (illness, "Handbook > Leave > Illness\nIllness It needs a note."),
    ]


def test_a_heading_without_text_is_in_the_window_below_it() -> None:
    text = "# Leave\n\n## Holiday\n\nIt is 25 days."
    assert windows_of(text) == [(text, "Handbook > Leave > Holiday\nLeave Holiday It is 25 days.")]
    # A heading does not stand above one of its own level.
    assert [text for _, text in windows_of("# Leave\n\n# Travel\n\nBy train.")] == [
        "Handbook > Leave\nLeave",
        "Handbook > Travel\nTravel By train.",
    ]
