"""Makes the description of a document version: what its file states, and the gist of its text."""

from __future__ import annotations

import asyncio

from responsa_server.domain.knowledge import Description
from responsa_server.ingest.indexing import CutDocument
from responsa_server.text.canonical import ParsedDocument
from responsa_server.text.gist import gist_of


async def described(parsed: ParsedDocument, text: bytes, title: str, cut: CutDocument) -> Description:
    """Describe a document version. text: the canonical text. The CPU-bound work runs outside the event loop."""
    gist = await asyncio.to_thread(gist_of, text, cut.pieces, title, cut.language)
    return Description(parsed.author, parsed.date, gist.summary, gist.keywords)
