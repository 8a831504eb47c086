"""Computes the vectors of Responsa's own documents, so that a new instance does not have to.

Usage: python tools/docs_vectors.py [--keep]

It writes ingest/shipped.vectors of the server, which git does not keep. Only the vectors of texts are computed that neither
this file has nor tools/docs.vectors, which git keeps and --keep writes for a release.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Final
from uuid import UUID

from responsa_formats.parsers import markdown
from responsa_formats.parsers.sniff import sniff
from responsa_formats.text.sections import Whole
from responsa_lab.evaluation.local import load_embedder
from responsa_local.commands.own_docs import ASKED, pages
from responsa_server.domain.knowledge import Chunking
from responsa_server.ingest import shipped_vectors
from responsa_server.ingest.indexing import DocumentIdentity, Indexer
from responsa_server.search.embedder import Embedder
from responsa_server.system.instance import CHECKOUT
from responsa_server.text.file_names import name_words

RELEASED: Final = CHECKOUT / "tools" / "docs.vectors"
"""The vectors of the last release's pages."""


class Vectors:
    """A `VectorCache` with the vectors of the shipped file and of the last release's.

    shipped: the vectors of these files that were asked for. computed: those that the files lack.
    """

    def __init__(self) -> None:
        self.shipped: dict[bytes, bytes] = {}
        self.computed: dict[bytes, bytes] = {}

    async def find_cached(self, tenant_id: str, model: str, hashes: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """The vectors of the files."""
        known: dict[bytes, bytes] = {}
        for file in (RELEASED, shipped_vectors.SHIPPED):
            known |= shipped_vectors.read(file, model, hashes)
        self.shipped |= known
        return known

    async def cache_vectors(self, tenant_id: str, model: str, vectors: Mapping[bytes, bytes]) -> None:
        """Keep these vectors."""
        self.computed |= vectors


async def index(embedder: Embedder, vectors: Vectors) -> None:
    """Indexes the documents as the server does."""
    indexer = Indexer(embedder, vectors, lambda: UUID(int=0))
    for name, page in pages(CHECKOUT, ASKED).items():
        data = page.encode()
        parsed = markdown.parse(sniff(data, name, known="MARKDOWN"))
        cut = await indexer.cut(Whole(parsed), Chunking(), "text/markdown")
        title, words = parsed.title or name, name_words(f"docs/{name}")
        identity = DocumentIdentity("", "", UUID(int=0), 1, title, "", words)
        async for _ in indexer.passages(identity, cut, len(data)):
            pass


def main() -> None:
    """Writes the file."""
    vectors = Vectors()
    with ExitStack() as stack:
        embedder = load_embedder(stack)
        asyncio.run(index(embedder, vectors))
    packed = shipped_vectors.pack(embedder.name, vectors.shipped | vectors.computed)
    shipped_vectors.SHIPPED.write_bytes(packed)
    if "--keep" in sys.argv[1:]:
        RELEASED.write_bytes(packed)


if __name__ == "__main__":
    main()
