"""Embedding models behind HTTP servers (each an `Embedder` of `search/embedder.py`): OpenAI, servers that speak
OpenAI's protocol, and Gemini.

A request carries a bounded number of texts and tokens. A vector is used only if it has the expected length, is finite
and is not zero; it is then scaled to length one.
"""

from __future__ import annotations

import abc
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, cast
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from responsa_server.domain.errors import Precondition, Reason, ResponsaError, Unavailable
from responsa_server.domain.models import INDEXED_DIMENSIONS, ModelError, ModelFault
from responsa_server.providers import gemini, openai_chat
from responsa_server.providers.http_model import ReadComplaint, bearer
from responsa_server.providers.json_server import MAX_ANSWER_BYTES, JsonServer, RequestOptions
from responsa_server.providers.learned import TOKEN
from responsa_server.providers.settings import CompatibleSettings, EmbeddingModelSettings

Float = npt.NDArray[np.float32]
Headers = Callable[[CompatibleSettings], dict[str, str]]

PART: Final = "embedding"
"""The `part` in the error Unavailable that an embedder raises if its server cannot be reached or is busy."""

# The maximum number of numbers in an answer. No server writes a number with more than 64 bytes.
_NUMBERS_A_CALL: Final = MAX_ANSWER_BYTES // 64
_TEXTS_A_CALL: Final = 64
_TOKENS_A_CALL: Final = 32_768
"""The most texts, and the most estimated tokens, in one request; a single text may have more tokens."""
# An estimated token covers at most this number of bytes. Byte-level tokenizers, and tokenizers that fall back to bytes,
# make at most one token of a byte.
_BYTES_A_TOKEN: Final = 6
# Tokens that a tokenizer adds at the ends of a text, or for the space before the first word.
_ADDED_TOKENS: Final = 3
_DEFAULT_MAX_TOKENS: Final = 512
_KNOWN: Final[Mapping[str, tuple[int, int]]] = {
    "openai:text-embedding-3-small": (1536, 8191),
    "openai:text-embedding-3-large": (3072, 8191),
    "openai:text-embedding-ada-002": (1536, 8191),
    "gemini:gemini-embedding-001": (3072, 2048),
}
"""The dimensions of vendors' models, and the number of tokens that they read. From the vendors' documentation, 2026-11-22."""
# The length of a vector with such a number may be infinite.
_TOO_LARGE: Final = 1e100
_PROBE: Final = "How many numbers does a vector have?"
# Statuses of a request that may be too large; with the last ones, the server's words say so.
_OVERSIZED: Final = (413, 422, 400)
_SIZE: Final = re.compile(r"^413|batch|size|larg|long|too many|most|max|exceed|limit", re.I)
# An answer cannot be right later, or the request would have to change.
_LASTING: Final = {ModelFault.CREDENTIAL, ModelFault.REFUSED, ModelFault.MALFORMED}


def embeddings_of(provider: str) -> list[str]:
    """The names of a vendor's embedding models whose vectors are known."""
    return [model for vendor, _, model in (called.partition(":") for called in _KNOWN) if vendor == provider]


class HttpEmbedder(JsonServer, abc.ABC):
    """An `Embedder` over HTTP. Call `prepare` before anything else, and `close` at the end.

    The number of tokens is an estimate, because the model's tokenizer is not on this machine: about 1.2 tokens for a
    token of an English text, and more in most other languages. The estimate never lets a text exceed the model's limit:
    an estimated token has at most six bytes, a tokenizer makes at most one token of a byte, and `max_tokens` is a sixth
    of the model's limit.
    """

    _protocol: ClassVar[tuple[Headers, ReadComplaint, Mapping[str, ModelFault]]]

    def __init__(
        self,
        server: CompatibleSettings,
        called: str,
        settings: EmbeddingModelSettings,
        dimensions: int | None,
        calling: RequestOptions,
    ) -> None:
        """called: `provider:model`. settings: of the model; what they leave out is taken from the table of known models.
        dimensions: the length of the vectors, if it differs from that in the settings."""
        headers, complaint, faults = self._protocol
        super().__init__(server, called, headers(server), complaint, faults, calling)
        self.called: Final = called
        self._model = called.partition(":")[2]
        self._settings = settings
        known, self._most_tokens = _KNOWN.get(called, (None, _DEFAULT_MAX_TOKENS))
        self._dimensions = dimensions or settings.dimensions or known
        self._key = (server.url, self._model)

    @property
    def name(self) -> str:
        """`provider:model/dimensions`. The vectors of embedders with equal names can be compared with each other."""
        return f"{self.called}/{self.dimensions}"

    @property
    def dimensions(self) -> int:
        """The number of dimensions of a vector; known after `prepare`."""
        assert self._dimensions is not None, (
            "prepare() must be called first, because it asks the model for the number of dimensions"
        )
        return self._dimensions

    @property
    def max_tokens(self) -> int:
        """The maximum number of estimated tokens that one vector can represent. A longer text is cut."""
        return ((self._settings.max_tokens or self._most_tokens) - _ADDED_TOKENS) // _BYTES_A_TOKEN

    @property
    def texts_a_call(self) -> int:
        learned = int(self._calling.learned.of(self._key).get("texts", _TEXTS_A_CALL))
        return min(_TEXTS_A_CALL, learned, max(1, _NUMBERS_A_CALL // self.dimensions))

    @property
    def languages(self) -> None:
        """None: the model's languages are not known, so its vectors are used for all languages."""
        return

    async def prepare(self) -> None:
        """Ask the model for its dimensions, unless they are known. Raises Unavailable, and Precondition if no index
        exists for vectors of this length."""
        if self._dimensions is None:
            [vector] = _to_lists(await self._call([_PROBE]))
            length = len(vector)
            if length not in INDEXED_DIMENSIONS:
                listed = ", ".join(map(str, INDEXED_DIMENSIONS))
                raise self._unusable(
                    "dimensions", f"its vectors have {length} dimensions, not one of {listed}"
                )
            self._dimensions = length

    async def embed(self, texts: Sequence[str]) -> Float:
        """The vectors of the texts, in the same order: float32 [n, dimensions], each of length one.

        Raises Unavailable (part "embedding") if the server cannot be reached or is busy, and Precondition
        (EMBEDDING_FAILED) if it refuses the request or sends unusable vectors.
        """
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        for start, batch in self._batches(texts):
            vectors[start : start + len(batch)] = self._to_unit_vectors(await self._call(batch))
        return vectors

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """The character range (start, end) of each estimated token, in order."""
        return [match.span() for match in TOKEN.finditer(text)]

    @abc.abstractmethod
    def _request(self, texts: Sequence[str]) -> tuple[str, Mapping[str, object]]:
        pass

    @abc.abstractmethod
    def _vectors(self, body: Any) -> Sequence[object]:
        """The vectors in an answer, in the order of the texts. Any error of the types KeyError, TypeError, ValueError
        or OverflowError means that the answer is malformed."""

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
        start, tokens, batch = 0, 0, list[str]()
        for index, text in enumerate(texts):
            cut, size = self._cut(text)
            if batch and (len(batch) == self.texts_a_call or tokens + size > _TOKENS_A_CALL):
                yield start, batch
                start, tokens, batch = index, 0, []
            batch.append(cut)
            tokens += size
        if batch:
            yield start, batch

    def _cut(self, text: str) -> tuple[str, int]:
        """The part of a text that the model can read, and its number of estimated tokens. Servers refuse a text without
        words, so a full stop replaces it."""
        offsets = self.token_offsets(text)
        if len(offsets) > self.max_tokens:
            offsets = offsets[: self.max_tokens]
            text = text[: offsets[-1][1]]
        return (text if text.strip() else "."), len(offsets)

    async def _call(self, texts: Sequence[str]) -> Sequence[object]:
        """One vector for each text of a request, which is repeated if the server is busy. Raises Unavailable, Precondition."""
        path, body = self._request(texts)
        try:
            vectors = await self._json(path, body, self._vectors, "embedding_call_failed")
        except ModelError as error:
            if (
                len(texts) == 1
                or error.status not in _OVERSIZED
                or not _SIZE.search(f"{error.status} {error.detail}")
            ):
                raise self._public(error) from None
            half = len(texts) // 2
            vectors = [*await self._call(texts[:half]), *await self._call(texts[half:])]
            # Both halves were taken, so no text was too long by itself.
            known = self._calling.learned.of(self._key).get("texts", half)
            self._calling.learned.note(self._key, {"texts": min(known, len(texts) - half)})
        if len(vectors) != len(texts):
            raise self._unusable("vector_count", f"it sent {len(vectors)} vectors for {len(texts)} texts")
        return vectors

    def _to_unit_vectors(self, vectors: Sequence[object]) -> Float:
        """The vectors as unit vectors. Raises Precondition."""
        lengths = {len(vector) for vector in _to_lists(vectors)} - {self.dimensions}
        if lengths:
            raise self._unusable(
                "vector_length", f"a vector has {min(lengths)} numbers instead of {self.dimensions}"
            )
        try:
            array = np.array(vectors, np.float64)
        except (TypeError, ValueError, OverflowError):
            raise self._unusable("vector_not_finite", "a vector holds something other than numbers") from None
        if not (np.abs(array) < _TOO_LARGE).all():
            raise self._unusable(
                "vector_not_finite", "a vector holds a number that is not finite or too large"
            )
        norms = np.linalg.norm(array, axis=1, keepdims=True)
        if not (norms > 0).all():
            raise self._unusable("vector_zero", "a vector consists of zeros")
        return (array / norms).astype(np.float32)

    def _unusable(self, cause: str, what: str) -> Precondition:
        return Precondition(
            Reason.EMBEDDING_FAILED,
            (
                f"The embedding model {self.called} cannot be used: {what}. Check the model's name "
                "and its settings in models.embeddings."
            ),
            {"embedding": self.called, "cause": cause},
        )

    def _public(self, error: ModelError) -> ResponsaError:
        if error.fault in _LASTING:
            return Precondition(
                Reason.EMBEDDING_FAILED,
                f"The server of the embedding model {self.called} refused the request or sent an "
                f"unexpected reply ({error.received or error.fault.value}). "
                "Check the model's name, the server's address and its key; "
                f'models.embeddings."{self.called}".max_tokens limits a text.',
                {"embedding": self.called, "cause": error.fault.value},
            )
        return Unavailable(
            Reason.PART_UNAVAILABLE,
            f"The embedding model {self.called} cannot be reached at the moment; try again.",
            {"part": PART},
            retry_after=error.retry_after,
        )


def _to_lists(vectors: Sequence[object]) -> Sequence[Sequence[object]]:
    """The vectors as lists. What is not a list is empty."""
    return [cast("list[object]", vector) if isinstance(vector, list) else () for vector in vectors]


class OpenAiEmbedder(HttpEmbedder):
    """`POST /embeddings`, as OpenAI, vLLM, Ollama, llama.cpp and similar servers serve it."""

    _protocol = (bearer, openai_chat.complaint, openai_chat.FAULTS)

    def _request(self, texts: Sequence[str]) -> tuple[str, Mapping[str, object]]:
        body: dict[str, object] = {
            "model": self._model,
            "input": list(texts),
            "encoding_format": "float",
        }
        if self._settings.ask_for_dimensions and self._dimensions is not None:
            body["dimensions"] = self._dimensions
        return "/embeddings", body

    def _vectors(self, body: Any) -> Sequence[object]:
        rows: list[dict[str, Any]] = body["data"]
        # Some servers send no index; then the order is that of the texts.
        ordered = (
            sorted(rows, key=lambda row: int(row["index"])) if all("index" in row for row in rows) else rows
        )
        return [row["embedding"] for row in ordered]


class GeminiEmbedder(HttpEmbedder):
    """Gemini's `batchEmbedContents`."""

    _protocol = (gemini.key_of, gemini.complaint, gemini.FAULTS)

    def _request(self, texts: Sequence[str]) -> tuple[str, Mapping[str, object]]:
        each: dict[str, object] = {"model": f"models/{self._model}"}
        if self._settings.ask_for_dimensions and self._dimensions is not None:
            each["outputDimensionality"] = self._dimensions
        path = f"/models/{quote(self._model, safe='')}:batchEmbedContents"
        return path, {"requests": [{**each, "content": {"parts": [{"text": text}]}} for text in texts]}

    def _vectors(self, body: Any) -> Sequence[object]:
        return [row["values"] for row in body["embeddings"]]


EMBEDDERS: Final[Mapping[str, Callable[..., HttpEmbedder]]] = {
    "openai": OpenAiEmbedder,
    "gemini": GeminiEmbedder,
}
"""Maps the name of each protocol (`ServerSettings.wire`) to its embedder. Anthropic has no embedding models."""
