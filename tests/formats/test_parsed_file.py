"""A parser's result that is read from its file section by section is the same as one that is read as a whole."""

from __future__ import annotations

import hashlib
import io
import random
from dataclasses import replace

import pytest

from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers import markdown, plain_text
from responsa_formats.parsers.sniff import sniff
from responsa_formats.rejections import Cause, Rejected
from responsa_formats.sandbox.parsed_file import ParsedFile
from responsa_formats.sandbox.protocol import pack_rejection, pack_result
from responsa_formats.text.canonical import Block, BlockKind, ParsedDocument, Place
from responsa_formats.text.sections import SECTION_BLOCKS
from tests.formats.originals import rejected, unpacked

SECTIONS = "\n\n".join(
    f"{'#' * (1 + n % 3)} Fluss {n}\n\nDie Größe von Fluß {n} ist {n} Meter. Er fließt.\n\n- links {n}\n- rechts\n\n```\nrun {n}\n```"
    for n in range(60)
)
ONE_WORD = "ß" * 3000
DOCUMENTS = {
    "markdown": markdown.parse(sniff(SECTIONS.encode(), "a.md", known="MARKDOWN")),
    "one paragraph": plain_text.parse(
        sniff(("Der Fluß ist lang. " * 300).encode(), "a.txt", known="PLAIN_TEXT")
    ),
    "one word": plain_text.parse(sniff(ONE_WORD.encode(), "a.txt", known="PLAIN_TEXT")),
    "no blocks": ParsedDocument("t", "Text ohne Blöcke. " * 200, (), "de", "PDF"),
    "places": ParsedDocument(
        "t",
        "text " * 400,
        tuple(
            Block(BlockKind.TABLE, 5 * n, 5 * n + 4, place=Place(n, (1, 2, 3, 4), f"p{n}"))
            for n in range(400)
        ),
        None,
        "PDF",
    ),
}


def read(document: ParsedDocument, section_bytes: int) -> ParsedFile:
    frame = pack_result(document)
    return ParsedFile(io.BytesIO(frame), len(frame), section_bytes=section_bytes)


@pytest.mark.parametrize("section_bytes", [64, 500, 4096, 1024 * 1024])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_sections_are_the_document(name: str, section_bytes: int) -> None:
    document = DOCUMENTS[name]
    data = document.canonical_text.encode()
    found = read(document, section_bytes)
    assert (found.title, found.language, found.format) == (document.title, document.language, document.format)
    assert (found.size, found.sha256) == (len(data), hashlib.sha256(data).digest())
    assert found.read(3, 10) == data[3:13]
    sections = [found.section(index) for index in range(found.section_count)]
    assert (len(sections) == 1) == (len(data) <= section_bytes)
    assert "".join(section.document.canonical_text for section in sections) == document.canonical_text
    blocks: list[Block] = []
    open_headings: list[tuple[int, str]] = []
    place = 0
    for section in sections:
        text = section.document.canonical_text.encode()
        assert section.start == place
        assert len(text) <= section_bytes
        assert list(section.above) == open_headings
        for block in section.document.blocks:
            moved = replace(block, byte_start=place + block.byte_start, byte_end=place + block.byte_end)
            if (
                blocks
                and block.byte_start == 0
                and blocks[-1].byte_end == place
                and replace(blocks[-1], byte_start=0, byte_end=0) == replace(moved, byte_start=0, byte_end=0)
                and moved not in document.blocks
            ):
                blocks[-1] = replace(blocks[-1], byte_end=moved.byte_end)  # a block across the border
                continue
            blocks.append(moved)
            if block.kind is BlockKind.HEADING:
                open_headings = [above for above in open_headings if above[0] < block.level]
                open_headings.append((block.level, block.title))
        place += len(text)
    assert tuple(blocks) == document.blocks


def test_a_forged_frame_is_refused_or_has_sound_sections() -> None:
    chance, frame = random.Random(3), pack_result(DOCUMENTS["markdown"])
    refused = 0
    for _ in range(400):
        forged = bytearray(frame)
        for _ in range(chance.randint(1, 3)):
            forged[chance.randrange(len(forged) if chance.random() < 0.5 else 200)] = chance.randrange(256)
        try:
            whole = unpacked(bytes(forged))
        except Rejected as error:
            if error.reason is not Cause.MALFORMED:
                raise
            refused += 1
        else:
            parts = ParsedFile(io.BytesIO(forged), len(forged), section_bytes=500)
            texts = [parts.section(index).document.canonical_text for index in range(parts.section_count)]
            assert "".join(texts) == whole.canonical_text
    assert refused > 100
    for cut in (0, 3, 10, len(frame) // 2, len(frame) - 1):
        with rejected(Cause.MALFORMED):
            ParsedFile(io.BytesIO(frame[:cut]), cut)


def test_a_rejection_is_raised() -> None:
    frame = pack_rejection(Rejected(Cause.EMPTY, "Empty."))
    with rejected(Cause.EMPTY):
        ParsedFile(io.BytesIO(frame), len(frame))


@pytest.mark.parametrize("kind", [BlockKind.PARAGRAPH, BlockKind.HEADING, BlockKind.LIST_ITEM])
def test_a_section_has_a_limited_number_of_blocks(kind: BlockKind) -> None:
    count = 1000
    text = "- a\n" * count
    blocks = tuple(Block(kind, 4 * one + 2, 4 * one + 3, 1, "a") for one in range(count))
    frame = pack_result(ParsedDocument("a", text, blocks, None, "MARKDOWN"))
    parsed = ParsedFile(io.BytesIO(frame), len(frame), section_blocks=300)
    sections = [parsed.section(index) for index in range(parsed.section_count)]
    assert [len(section.document.blocks) for section in sections] == [300, 300, 300, 100]
    assert [section.start for section in sections] == [0, 1200, 2400, 3600]
    assert "".join(section.document.canonical_text for section in sections) == text


def test_a_document_of_one_letter_paragraphs_has_sections_of_the_default_size() -> None:
    count = SECTION_BLOCKS + 1
    blocks = tuple(Block(BlockKind.PARAGRAPH, 3 * one, 3 * one + 1) for one in range(count))
    frame = pack_result(ParsedDocument("a", "a\n\n" * count, blocks, None, "DOCX"))
    assert ParsedFile(io.BytesIO(frame), len(frame)).section_count == 2


def test_what_was_left_out_passes_and_nothing_else_does() -> None:
    document = DOCUMENTS["markdown"]
    frame = pack_result(document, {LeftOutKind.COMMENT: 2, LeftOutKind.CHART: 0}, "windows-1252")
    parsed = ParsedFile(io.BytesIO(frame), len(frame))
    assert (parsed.left_out, parsed.guessed_charset) == ({LeftOutKind.COMMENT: 2}, "windows-1252")
    for change in (
        (b'"comment": 2', b'"comment":-1'),
        (b'"comment": 2', b'"comment": 0'),
        (b'"comment": 2', b'"commons": 2'),
        (b'"windows-1252"', b'"windows-1259"'),
        (b'"MARKDOWN"', b'"markdown"'),
        (b'"author": ""', b'"author": 1 '),
        (b'"body_start": 0', b'"body_start":-1'),
    ):
        forged = frame.replace(*change)
        assert (forged != frame, len(forged)) == (True, len(frame))
        with rejected(Cause.MALFORMED):
            ParsedFile(io.BytesIO(forged), len(forged))
