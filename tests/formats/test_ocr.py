"""Scanned pages. `make test` installs what reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from responsa_formats.containers import MIB
from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers import pdf as parser
from responsa_formats.parsers.sniff import sniff
from responsa_formats.rejections import Rejected
from responsa_formats.sandbox.computation import ParseLimits
from responsa_formats.sandbox.pool import ParserPool
from responsa_formats.text.canonical import BlockKind
from tests.formats.printed_pages import Text, lines, pdf, scan

BODY = [
    "The mill on the river grinds rye and wheat for the villages",
    "around it. Its wheel was made in the year 1791 by a carpenter,",
    "who got 12,5 kg of flour each week for as long as he lived.",
]


def test_without_ocr_a_scan_is_refused_and_the_refusal_names_the_setting() -> None:
    original = sniff(scan(pdf(lines(60, 700, *BODY))), "a.pdf")
    with pytest.raises(
        Rejected, match=r"`responsa setup --ocr`, start the server with `RESPONSA_INGESTION__OCR=true`"
    ):
        parser.parse(original)
    assert +original.left_out == {LeftOutKind.SCANNED_PAGE: 1}


async def test_a_scan_is_read_in_the_sandbox_and_has_its_places() -> None:
    pool = ParserPool(concurrency=1, limits=ParseLimits(512 * MIB, 260, 390), ocr=True)

    async def pieces() -> AsyncIterator[bytes]:
        yield scan(pdf([Text(60, 740, "The old mill", 20), *lines(60, 700, *BODY, leading=14)]))

    try:
        with closing(await pool.read(pieces(), "a.pdf")) as parsed:
            document = parsed.document()
            assert (parsed.ocr_pages, parsed.left_out) == (1, {})
    finally:
        await pool.close()
    assert document.canonical_text == f"The old mill\n\n{' '.join(BODY)}"
    heading, body = document.blocks
    assert (heading.kind, body.kind) == (BlockKind.HEADING, BlockKind.PARAGRAPH)
    assert body.place is not None
    assert body.place.page == 1
    assert body.place.box is not None
    left, top, right, bottom = body.place.box
    assert 85 < left < 105
    assert 105 < top < 125
    assert 500 < right < 650
    assert 150 < bottom < 180
