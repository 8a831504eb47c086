"""Stores the words of passages that an earlier release has stored without them, while searches go on and make these words each time.

It remembers nothing: it looks for such passages, and several processes may do so at the same time. Servers of the earlier release may store further ones during an upgrade, so it looks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

import structlog
from structlog.typing import FilteringBoundLogger

from responsa_server.domain.errors import Unavailable
from responsa_server.domain.passage_words import pack
from responsa_server.domain.passages import FoundPassage, LexicalIndex, VectorIndex
from responsa_server.domain.people import Server
from responsa_server.domain.unexpected import UnexpectedErrors
from responsa_server.search.evidence import made_sequences
from responsa_server.stores.postgres.passages import PassageWordsStore
from responsa_server.telemetry.unexpected import note
from responsa_server.text.lexical import Analyzer

_AT_ONCE: Final = 32
_BETWEEN_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 600.0


class Analysing:
    """See the module. lexical, vectors: where searches read the passages and their pieces."""

    def __init__(
        self,
        store: PassageWordsStore,
        lexical: LexicalIndex,
        vectors: VectorIndex,
        errors: UnexpectedErrors | None = None,
    ) -> None:
        self._store = store
        self._lexical = lexical
        self._vectors = vectors
        self._errors = errors or UnexpectedErrors()
        self._log: FilteringBoundLogger = structlog.get_logger("analysing")

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                if stored := await self.all():
                    self._log.info("the words of passages were stored", passages=stored)
            except Unavailable as error:
                self._log.warning("the words of passages wait", reason=error.reason.value)
            except Exception as error:  # searches do without; the next look comes
                note(self._errors, error, "words of passages")
                self._log.warning("the words of passages could not be stored", exc_info=error)
            await asyncio.sleep(_LOOK_SECONDS)

    async def all(self) -> int:
        """Store the words of all passages that lack them. Returns the number of passages. Raises Unavailable."""
        stored = 0
        for tenant in await self._store.tenants():
            while counts := await self._store.without(tenant, _AT_ONCE):
                written = await self._some(tenant, counts)
                if not written:
                    break  # other transactions have them
                stored += written
                await asyncio.sleep(_BETWEEN_SECONDS)
        return stored

    async def _some(self, tenant_id: str, counts: Mapping[UUID, Mapping[str, int]]) -> int:
        reader, ids = Server(tenant_id), list(counts)
        pieces = await self._vectors.pieces(reader, ids, None)
        found = [
            replace(one, pieces=pieces.get(one.passage.id, ()))
            for one in await self._lexical.passages(reader, ids)
        ]
        return await self._store.write(tenant_id, await asyncio.to_thread(_made, found, counts))


def _made(found: Sequence[FoundPassage], counts: Mapping[UUID, Mapping[str, int]]) -> Mapping[UUID, bytes]:
    analyzer = Analyzer()
    return {one.passage.id: pack(counts[one.passage.id], made_sequences(one, analyzer)) for one in found}
