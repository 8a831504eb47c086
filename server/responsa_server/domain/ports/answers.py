"""What the graph needs of the knowledge."""

from __future__ import annotations

from typing import Protocol

from responsa_server.domain.answers import Evidence, Extraction
from responsa_server.domain.people import Principal


class EvidenceSource(Protocol):
    """Finds what the documents have on a question."""

    async def search(
        self, who: Principal, questions: tuple[str, ...], collections: tuple[str, ...]
    ) -> Evidence:
        """The best passages that the caller may read, for a question in one or more wordings; collections: empty means all. Raises Unavailable."""
        ...


class Extractor(Protocol):
    """Chooses sentences that answer."""

    async def extract(self, question: str, evidence: Evidence) -> Extraction:
        """The sentences of the evidence that answer the question best. question: one of the wordings that were searched for."""
        ...
