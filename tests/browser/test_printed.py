"""PDFs that Chromium prints of known texts are read as these texts."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser

from responsa_formats.parsers import pdf
from responsa_formats.parsers.sniff import sniff
from tests.printing import agreement, as_html, documents

AIM = 0.97

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_what_is_printed_is_read_in_order(browser: Browser) -> None:
    page = await browser.new_page()
    read: dict[str, float] = {}
    try:
        for document in documents():
            await page.set_content(as_html(document))
            data = await page.pdf(prefer_css_page_size=True)
            text = pdf.parse(sniff(data, "a.pdf")).canonical_text
            assert document.head == "" or text.count(document.head) == 1
            read[document.kind] = agreement(document.text, text)
    finally:
        await page.close()
    assert {kind: score for kind, score in read.items() if score < AIM} == {}
