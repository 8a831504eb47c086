"""The windows of a passage: each is of one section, below the path of that section."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from responsa_formats.parsers.table import FORMATS
from responsa_formats.text.canonical import BlockKind
from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import OutlinedHeading, VectorKind
from responsa_server.ingest.indexing import plan_vectors
from responsa_server.search.embedder import Vectors
from responsa_server.text.sentences import pieces
from tests.formats.originals import original_of


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
    row = FORMATS.with_name("MARKDOWN")
    assert row is not None
    document = row.load()(original_of(text, "MARKDOWN"))
    outline = [
        OutlinedHeading(block.byte_start, block.level, block.title)
        for block in document.blocks
        if block.kind is BlockKind.HEADING
    ]
    source = ByteRange(0, len(text.encode()))
    found = pieces(text, document.blocks, "en")
    planned = plan_vectors(Wide(), "Handbook", [*above, *outline], source, text, found)
    return [
        (text.encode()[one.source.start : one.source.end].decode().strip(), one.text)
        for one in planned
        if one.kind is VectorKind.WINDOW
    ]


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
