"""Groups questions by meaning, and gives titles to the groups, in a task of each process that runs turns."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from time import monotonic
from typing import Final

import numpy as np
from structlog.typing import FilteringBoundLogger

from responsa_server.agents.engine.background_model import FAILURES, BackgroundModel, plain_line
from responsa_server.agents.engine.node import NodeModel
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import Usage
from responsa_server.domain.insight import Grouping
from responsa_server.domain.models import Spent
from responsa_server.domain.parts import NOT_PAUSED, Pause
from responsa_server.domain.people import Server, work_for
from responsa_server.domain.unexpected import UnexpectedErrors
from responsa_server.insight.grouping import Float, as_bytes, middle
from responsa_server.insight.periodic import PeriodicTask
from responsa_server.search.embedder import Embedder, Embedders, QuestionEmbedder
from responsa_server.stores.cached import SharedCache
from responsa_server.stores.postgres.patterns import PostgresPatterns

MOST_TITLE_BYTES: Final = 100
_TITLE_WORDS: Final = 6
_MOST_QUESTION_CHARS: Final = 300
_AT_ONCE: Final = 16
_LOOK_SECONDS: Final = (20.0, 30.0)
# The share of the embedding model's time that the other work gets, in multiples of what a call has taken. Vectors that
# searches have made come from the cache.
_REST: Final = 2.0


class _Title(NodeModel):
    title: str


class PatternKeeper(PeriodicTask):
    """One process groups the questions of a tenant at a time, in batches; a process that is killed leaves nothing that
    another one does not finish. model: gives titles; None: patterns have no titles. pause: while the instance is
    paused, no model is asked without a caller."""

    name = "patterns"

    def __init__(
        self,
        store: PostgresPatterns,
        embedders: Embedders,
        vectors: SharedCache[bytes],
        grouping: Grouping,
        model: BackgroundModel | None,
        errors: UnexpectedErrors | None = None,
        pause: Pause = NOT_PAUSED,
    ) -> None:
        super().__init__(errors)
        self._pause = pause
        self._store = store
        self._embedders = embedders
        self._cached_vectors = vectors
        self._grouping = grouping
        self._model = model
        self._next = 0.0

    async def look(self) -> None:
        """Make a round every 20 to 30 seconds, however many questions come: a round reads all patterns of a tenant."""
        if self._pause.paused() or monotonic() < self._next:
            return
        await self.count()
        self._next = monotonic() + random.uniform(*_LOOK_SECONDS)  # noqa: S311 - no secret

    async def count(self) -> None:
        """Group the questions of all tenants. The tenants take turns, so that none waits for the many questions of
        another. Raises Unavailable."""
        failed, more = set[str](), True
        while more:
            more = False
            for tenant_id in await self._store.due(titles=self._model is not None):
                if tenant_id in failed:
                    continue
                try:
                    more |= await self._one(tenant_id)
                except Unavailable:
                    raise
                except Exception as error:  # the questions of other tenants are grouped nevertheless
                    self.note_failure(error, tenant=tenant_id)
                    failed.add(tenant_id)

    async def _one(self, tenant_id: str) -> bool:
        """Make a round for a tenant. Returns whether it has grouped questions, so that there may be more."""
        work_for(Server(tenant_id), background=True)
        embedder = await self._embedders.of_model()
        questions = await self._store.waiting(tenant_id)
        if questions:
            vectors = await self._vectors(tenant_id, embedder, [one.text for one in questions if one.text])
            left = iter(vectors)
            by_id = {question.id: as_bytes(next(left)) if question.text else None for question in questions}
            await self._store.group(tenant_id, embedder.name, by_id, self._grouping)
        for loss in await self._store.find_lost(tenant_id):
            if loss.questions:
                vectors = await self._vectors(tenant_id, embedder, [text for _, text in loss.questions])
                vector, index = middle(vectors)
                central, turn_id = as_bytes(vectors[index]), loss.questions[index][0]
                await self._store.renew(tenant_id, embedder.name, loss, vector, central, turn_id)
            else:
                await self._store.dissolve(tenant_id, loss)
        if self._model is not None:
            await self._give_titles(self._model, tenant_id)
        return bool(questions)

    async def _vectors(self, tenant_id: str, embedder: Embedder, texts: Sequence[str]) -> Float:
        questions = QuestionEmbedder(embedder, self._cached_vectors)
        unique = list(dict.fromkeys(texts))
        vectors: dict[str, Float] = {}
        for start in range(0, len(unique), _AT_ONCE):
            some = unique[start : start + _AT_ONCE]
            began = monotonic()
            vectors.update(zip(some, await questions.embed(tenant_id, some), strict=True))
            await asyncio.sleep(_REST * (monotonic() - began))
        return np.array([vectors[text] for text in texts], dtype=np.float32)

    async def _give_titles(self, model: BackgroundModel, tenant_id: str) -> None:
        for pattern_id, questions in (await self._store.find_untitled(tenant_id)).items():
            log: FilteringBoundLogger = self._log.bind(tenant=tenant_id, pattern=str(pattern_id))
            costs: list[Spent] = []
            lines = "\n".join(" ".join(text.split())[:_MOST_QUESTION_CHARS] for _, text in questions)
            title = ""
            try:
                answer = await model.ask(
                    "analytics", _Title, {"words": _TITLE_WORDS}, {"questions": lines}, log, costs.append
                )
                title = _short(plain_line(answer.title))
            except FAILURES as error:
                log.warning("pattern_without_title", cause=type(error).__name__, error=str(error))
            cost = costs[-1] if costs else Spent(Usage())
            await self._store.put_title(
                tenant_id, pattern_id, [turn_id for turn_id, _ in questions], title, cost.model, cost.usage
            )


def _short(text: str) -> str:
    """The words of a text that fit into MOST_TITLE_BYTES."""
    data = text.encode()
    if len(data) <= MOST_TITLE_BYTES:
        return text
    return data[:MOST_TITLE_BYTES].decode(errors="ignore").rpartition(" ")[0]
