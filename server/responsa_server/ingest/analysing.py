"""Stores the terms, the words, the cards and the instructions of passages that are stored without them or in another
form, while searches go on with what is there.

It remembers nothing: it looks for such passages, and several processes may do so at the same time. Servers of the
earlier release may store further ones during an upgrade, so it looks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

import structlog
from structlog.typing import FilteringBoundLogger

from responsa_server.domain.passages import FoundPassage, LexicalIndex, NearText, PassageIndex
from responsa_server.domain.people import Server
from responsa_server.domain.unexpected import UnexpectedErrors
from responsa_server.ingest.indexing import analyse
from responsa_server.stores.postgres.passages import PassageAnalysis, PassageWordsStore
from responsa_server.telemetry.unexpected import keep_going
from responsa_server.text.file_names import name_words
from responsa_server.text.lexical import Analyzer

_AT_ONCE: Final = 32
_BETWEEN_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 600.0


class Analysing:
    """See the module. lexical, index: where searches read the passages and their pieces."""

    def __init__(
        self,
        store: PassageWordsStore,
        lexical: LexicalIndex,
        index: PassageIndex,
        errors: UnexpectedErrors | None = None,
    ) -> None:
        self._store = store
        self._lexical = lexical
        self._index = index
        self._errors = errors or UnexpectedErrors()
        self._log: FilteringBoundLogger = structlog.get_logger("analysing")

    async def run(self) -> None:
        """Work until cancelled. If a round fails, searches do without the words until the next round."""
        await keep_going(self.all, _LOOK_SECONDS, self._log, "analysing", self._errors)

    async def all(self) -> int:
        """Store the words of all passages that lack them. Returns the number of passages. Raises Unavailable."""
        stored = 0
        for tenant in await self._store.tenants():
            while beside := await self._store.without(tenant, _AT_ONCE):
                reader, ids = Server(tenant), list(beside)
                passages = [
                    replace(row, passage=replace(row.passage, name=name_words(beside[row.passage.id][1])))
                    for row in (await self._index.passages(reader, {None: dict.fromkeys(ids, True)}))[None]
                ]
                near = await self._lexical.surroundings(reader, ids, ())
                written = await self._store.write(
                    tenant, await asyncio.to_thread(_analyse, passages, near.around, beside)
                )
                if not written:
                    break  # other transactions have them
                stored += written
                await asyncio.sleep(_BETWEEN_SECONDS)
        if stored:
            self._log.info("the words of passages were stored", passages=stored)
        return stored


def _analyse(
    passages: Sequence[FoundPassage],
    around: Mapping[UUID, NearText],
    beside: Mapping[UUID, tuple[str, str]],
) -> Mapping[UUID, PassageAnalysis]:
    analyzer = Analyzer()
    analyses: dict[UUID, PassageAnalysis] = {}
    for found_passage in passages:
        passage, (header, _) = found_passage.passage, beside[found_passage.passage.id]
        own = NearText(passage.source.start, passage.text.encode(), before=header)
        analyses[passage.id] = analyse(analyzer, found_passage, header, around.get(passage.id, own))
    return analyses
