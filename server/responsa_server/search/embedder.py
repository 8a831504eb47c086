"""The interfaces to an embedding model and to all models of the server, and the cache of question vectors. `providers/` has the models."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import structlog
from opentelemetry.trace import SpanKind
from structlog.typing import FilteringBoundLogger

from responsa_formats.text.languages import UNKNOWN, has_english_letters
from responsa_server.domain import names
from responsa_server.domain.errors import FieldViolation, InvalidRequest, Precondition, Reason, Unavailable
from responsa_server.domain.knowledge import SearchMode
from responsa_server.domain.parts import Health, PartReport
from responsa_server.domain.sharing import work_within
from responsa_server.domain.turn_scope import results_of_turn
from responsa_server.stores.cached import NOT_CACHED, Entry, SharedCache
from responsa_server.telemetry.models import IN_PROCESS, model_attributes
from responsa_server.telemetry.stages import stage

_SPECIAL_TOKENS: Final = 2
"""The begin and end tokens that a model reads around every text."""
_TOKEN_CHARACTERS: Final = 16

_LOG: Final[FilteringBoundLogger] = structlog.get_logger("search")

Vectors = npt.NDArray[np.float32]
"""An array of shape [n, dimensions]. Every row is a vector of length one."""


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors. The cosine of two vectors measures how similar the texts are in meaning."""

    @property
    def name(self) -> str:
        """The name of the model and its weights. The vectors of two embedders with equal names can be compared with each other."""
        ...

    @property
    def dimensions(self) -> int:
        """The number of dimensions of a vector."""
        ...

    @property
    def max_tokens(self) -> int:
        """The maximum number of tokens that one vector can represent. A longer text is cut."""
        ...

    @property
    def languages(self) -> frozenset[str] | None:
        """The ISO 639-1 codes of the languages that the model supports; None if it supports all languages."""
        ...

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts, in the same order. Questions of others pass between. Raises Exhausted (OVERLOADED),
        and Unavailable or Precondition if the model is on another server."""
        ...

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """The character ranges (start, end) of all tokens of the text, in order. A long text is not cut. The tokens may
        be estimated; then `max_tokens` is so small that a text of `max_tokens` estimated tokens never has more tokens
        than the model reads.
        """
        ...


class BlockingEmbedder(Embedder, Protocol):
    """An embedding model in this process, which can also be called from any thread."""

    def embed_sync(self, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts, in the same order. Blocks the caller."""
        ...


class Embedders(Protocol):
    """The embedding models that this server's settings declare."""

    @property
    def configured(self) -> str:
        """The model of new collections, `provider:model`."""
        ...

    async def of_model(self, called: str = "") -> Embedder:
        """The model `provider:model`; by default, the model of new collections. A remote model whose dimensions are
        unknown is asked for them.

        Raises InvalidRequest (EMBEDDING_UNKNOWN) if the settings do not declare the model, and Unavailable or
        Precondition if it cannot be asked.
        """
        ...

    async def of_name(self, name: str) -> Embedder | None:
        """The model with this `Embedder.name`; None if the settings no longer declare it."""
        ...


async def embed_once(embedder: Embedder, texts: Sequence[str]) -> Vectors:
    """`embedder.embed` for those texts whose vectors this turn does not have."""
    computed = results_of_turn()
    if computed is None or not texts:
        return await embedder.embed(texts)
    keys = [("vector", embedder.name, text) for text in texts]
    if missing := [key for key in dict.fromkeys(keys) if key not in computed]:
        computed.update(zip(missing, await embedder.embed([text for _, _, text in missing]), strict=True))
    return np.stack([computed[key] for key in keys])


def unknown_embedding(called: str, why: str = "The settings do not declare this model.") -> InvalidRequest:
    """The error for an embedding model that the server cannot use."""
    violation = FieldViolation(
        "embedding", "embedding.unknown", f"is {called!r}, which the server cannot use. {why}"
    )
    return InvalidRequest(
        Reason.EMBEDDING_UNKNOWN,
        f"{violation.field}: {violation.description}",
        {"embedding": called},
        (violation,),
    )


def undeclared_embedding(collection_id: str, embedding: str, configured: str) -> Precondition:
    """The error for a collection whose model the settings no longer declare. configured: the model of new collections."""
    collection = names.collection(collection_id)
    return Precondition(
        Reason.COLLECTION_EMBEDDING_DIFFERS,
        (
            f"{collection} has vectors of the embedding model {embedding}, which the settings do not "
            "declare; declare it, or index the collection again."
        ),
        {"collection": collection, "embedding": embedding, "running": configured},
    )


class EmbeddingPart:
    """The health of the embedding models. The model of new collections is healthy if it computes a vector; this check
    waits behind the work that is already queued.

    missed: returns the models that searches needed lately and that the settings no longer declare.
    """

    name = "embedding"

    def __init__(self, embedders: Embedders, missed: Callable[[], Collection[str]] = frozenset) -> None:
        self._embedders = embedders
        self._missed = missed

    async def check(self) -> PartReport:
        """Ask for the vector of a short text."""
        embedder = await self._embedders.of_model()
        await embedder.embed(["Is anybody there?"])
        if missed := sorted(self._missed()):
            detail = (
                f"The settings do not declare the embedding model {', '.join(missed)}, so its collections are searched by words only. "
                "Declare the model, or index these collections again with KnowledgeService.ReindexCollection."
            )
            return PartReport(Health.DEGRADED, version=embedder.name, detail=detail)
        return PartReport(Health.OK, version=embedder.name)


class QuestionEmbedder:
    """Embeds questions, with a cache in front of the model. If a tenant repeats a question, the model does not run again.

    A key contains the tenant and the model. Therefore a tenant can neither learn from a cache hit what another tenant asked,
    nor get that tenant's vectors. A key contains the hash of a question, never its text.
    """

    def __init__(self, model: Embedder, cache: SharedCache[bytes] = NOT_CACHED) -> None:
        self._model = model
        self._cache = cache

    async def embed(self, tenant_id: str, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts, in the same order. The model computes only the vectors that the cache does not have."""
        keys = [f"{self._model.name}:{hashlib.sha256(text.encode()).hexdigest()}" for text in texts]
        dimensions = self._model.dimensions
        cached = {
            key: entry.value
            for key, entry in (await self._cache.get(tenant_id, keys)).items()
            if len(entry.value) == dimensions * 4
        }
        missing = [index for index, key in enumerate(keys) if key not in cached]
        self._cache.count(len(keys) - len(missing), len(missing))
        result = np.empty((len(texts), dimensions), dtype=np.float32)
        for index, key in enumerate(keys):
            if key in cached:
                result[index] = np.frombuffer(cached[key], dtype="<f4")
        if missing:
            vectors = await embed_once(self._model, [texts[index] for index in missing])
            for index, vector in zip(missing, vectors, strict=True):
                result[index] = vector
            entries = {
                keys[index]: Entry(b"", vector.astype("<f4").tobytes())
                for index, vector in zip(missing, vectors, strict=True)
            }
            await self._cache.put(tenant_id, entries)
        return result


@dataclass(frozen=True, slots=True)
class StringVectors:
    """Searched strings as one embedding model sees them. vectors: one entry for each string, float32; None if the string
    needs no vector."""

    embedder: Embedder
    vectors: Sequence[bytes | None]

    def count_tokens(self, strings: Sequence[tuple[str, str]]) -> int:
        """The number of tokens that the model read."""
        limit = self.embedder.max_tokens
        # No model reads more of a text, unless its words are very long.
        characters = limit * _TOKEN_CHARACTERS
        return sum(
            min(len(self.embedder.token_offsets(text[:characters])), limit) + _SPECIAL_TOKENS
            for (text, _), vector in zip(strings, self.vectors, strict=True)
            if vector is not None
        )


@dataclass(frozen=True, slots=True)
class SearchVectors:
    """The vectors of searched strings by model, under the names of `TermStatistics.embedding`. models: the models that
    were wanted, whether they are available or not. undeclared: those that the settings do not declare. tokens: the
    number of tokens that the models read."""

    by_model: Mapping[str, StringVectors]
    models: frozenset[str]
    undeclared: frozenset[str] = frozenset()
    tokens: int = 0

    @property
    def missing(self) -> bool:
        """Whether vectors of a model are not available."""
        return len(self.by_model) < len(self.models)


class SearchEmbedder:
    """Embeds the strings of a search by each model that its collections need."""

    def __init__(self, embedders: Embedders, cache: SharedCache[bytes], seconds: float | None) -> None:
        """seconds: the maximum time for the vectors of a search, without the time during which they wait for the model."""
        self._embedders = embedders
        self._cache = cache
        self._seconds = seconds

    async def embed(
        self,
        tenant_id: str,
        strings: Sequence[tuple[str, str]],
        mode: SearchMode,
        models: frozenset[str],
        *,
        text_will_do: bool,
    ) -> SearchVectors:
        """The vectors of the strings, which have their languages, by each of these models. If `text_will_do` is true, a
        model that fails is left out."""
        results = await asyncio.gather(
            *(self._embed_by(tenant_id, model, strings, mode) for model in models), return_exceptions=True
        )
        by_model: dict[str, StringVectors] = {}
        undeclared: set[str] = set()
        for model, result in zip(models, results, strict=True):
            match result:
                case StringVectors():
                    by_model[model] = result
                case None:
                    undeclared.add(model)
                case Exception() if text_will_do:
                    # A search by words needs no model, so the kind of failure does not matter.
                    _LOG.warning("a question could not be embedded; words alone decide", exc_info=result)
                case _:
                    raise result
        tokens = sum(vectors.count_tokens(strings) for vectors in by_model.values())
        return SearchVectors(by_model, models, frozenset(undeclared), tokens)

    async def _embed_by(
        self, tenant_id: str, model: str, strings: Sequence[tuple[str, str]], mode: SearchMode
    ) -> StringVectors | None:
        """The strings as one model sees them; None if the settings do not declare the model."""
        try:
            async with work_within(self._seconds):
                embedder = await (self._embedders.of_name(model) if model else self._embedders.of_model())
                if embedder is None:
                    return None
                votes = [
                    mode is SearchMode.VECTOR
                    or (mode is SearchMode.HYBRID and knows_language(embedder, language, text))
                    for text, language in strings
                ]
                wanted = [text for (text, _), vote in zip(strings, votes, strict=True) if vote]
                vectors = iter(await self._embed_traced(tenant_id, embedder, wanted) if wanted else ())
        except TimeoutError as error:
            raise Unavailable(
                Reason.PART_UNAVAILABLE,
                f"The embedding model {model} takes too long at the moment; try again.",
                {"part": "embedding"},
                retry_after=1.0,
            ) from error
        return StringVectors(embedder, [next(vectors).tobytes() if vote else None for vote in votes])

    async def _embed_traced(self, tenant_id: str, embedder: Embedder, texts: Sequence[str]) -> Vectors:
        provider_model, _, _ = embedder.name.rpartition("/")
        attributes = model_attributes(provider_model)
        remote = attributes["gen_ai.provider.name"] != IN_PROCESS
        with stage(
            f"embeddings {attributes['gen_ai.request.model']}",
            SpanKind.CLIENT if remote else SpanKind.INTERNAL,
            texts=len(texts),
            **{
                "gen_ai.operation.name": "embeddings",
                **attributes,
                "gen_ai.embeddings.dimension.count": embedder.dimensions,
            },
        ):
            vectors = await QuestionEmbedder(embedder, self._cache).embed(tenant_id, texts)
        return np.asarray(vectors, "<f4")


def knows_language(embedder: Embedder, language: str, text: str = "") -> bool:
    """Whether a model supports a language. text: a question, whose letters may say that it is not English if nothing
    says what it is."""
    known = embedder.languages
    return known is None or language in known or (language == UNKNOWN and has_english_letters(text))
