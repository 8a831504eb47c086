"""The places of blocks on their way from the sandbox to the passages."""

from __future__ import annotations

import pytest

from responsa_server.domain.errors import Reason
from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import PlacedBlock
from responsa_server.ingest.indexing import OpenSection
from responsa_server.ingest.sandbox.protocol import pack_result
from responsa_server.ingest.tables import Header
from responsa_server.text.canonical import MAX_PATH_CHARS, Block, BlockKind, ParsedDocument, Place
from tests.unit.knowledge.originals import rejected, unpacked


def document(*places: Place | None) -> ParsedDocument:
    blocks = tuple(
        Block(BlockKind.PARAGRAPH, 5 * n, 5 * n + 4, place=place) for n, place in enumerate(places)
    )
    return ParsedDocument("t", "text " * len(places), blocks, None, "PDF")


def test_places_survive_the_wire() -> None:
    given = document(
        None,
        Place(),
        Place(3),
        Place(7, (0, 10, 990, 1000)),
        Place(path="Sheet2!Ä4:C4"),
        Place(2, (1, 1, 1, 1), "x"),
    )
    assert unpacked(pack_result(given)) == given


def test_a_long_path_is_cut() -> None:
    (block,) = unpacked(pack_result(document(Place(path="a" * 5000)))).blocks
    assert block.place == Place(path="a" * MAX_PATH_CHARS)


@pytest.mark.parametrize("box", [(0, 0, 1001, 10), (20, 0, 10, 10), (0, 30, 10, 20)])
def test_a_forged_box_is_refused(box: tuple[int, int, int, int]) -> None:
    frame = pack_result(document(Place(1, box)))
    with rejected(Reason.DOCUMENT_MALFORMED):
        unpacked(frame)


def test_a_passage_keeps_the_places_of_its_own_bytes() -> None:
    blocks = document(Place(1), None, Place(2, (1, 2, 3, 4)), Place(3)).blocks
    section = OpenSection(b"", (), (), (), (), [block for block in blocks if block.place is not None])
    assert section.places(ByteRange(2, 12)) == [
        PlacedBlock(2, 4, 1, None, ""),
        PlacedBlock(10, 12, 2, (1, 2, 3, 4), ""),
    ]
    assert section.places(ByteRange(4, 10)) == []
    header = Header(0, 1, Place(1, path="Sheet1!A1:B1"), ("a", "b"))
    assert section.places(ByteRange(10, 12), header) == [
        PlacedBlock(0, 1, 1, None, "Sheet1!A1:B1"),
        PlacedBlock(10, 12, 2, (1, 2, 3, 4), ""),
    ]
