"""Search as the library offers it."""

from __future__ import annotations

from collections.abc import Sequence

from responsa_server.domain.knowledge import Hit, SearchQuery
from responsa_server.search.retrieve import Retriever


class KnowledgeSearch:
    """Implements the port `Searcher`."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever

    async def search(self, tenant_id: str, query: SearchQuery) -> Sequence[Hit]:
        """See `Searcher.search`."""
        found = await self._retriever.search(
            tenant_id,
            query.terms,
            query.collections or None,
            top_k=query.top_k,
            mode=query.mode,
            threshold=query.threshold,
        )
        return [
            Hit(one.found.passage, one.score.total, one.score.bm25, one.score.vector or 0.0, one.term)
            for one in found.passages
        ]
