"""Cached vectors of questions. The model runs once for a tenant's question. Two tenants, or two models, never share a vector."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from responsa_server.domain.turn_scope import turn_scope
from responsa_server.search.embedder import QuestionEmbedder, Vectors, embed_once
from responsa_server.stores.cached import RAW, Entry, SharedCache, entries_of

QUESTION = "How do plants make sugar?"


class EndlessCache:
    """A cache that never evicts."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}

    async def get(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        return {key: self.entries[key] for key in keys if key in self.entries}

    async def put(self, entries: Mapping[str, bytes], seconds: int) -> None:
        assert seconds > 0
        self.entries |= entries

    async def drop(self, key: str) -> None:
        self.entries.pop(key, None)


class Counting:
    """A model that counts the texts that it embeds. The vector of a text contains the text's number."""

    dimensions = 2
    max_tokens = 254
    languages: frozenset[str] | None = None

    def __init__(self, name: str = "model/1") -> None:
        self.name = name
        self.texts: list[str] = []

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.texts += texts
        return np.array([[len(self.texts), len(text)] for text in texts], np.float32)

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        return []


def embedder(model: Counting, cache: EndlessCache) -> QuestionEmbedder:
    return QuestionEmbedder(model, SharedCache(cache, "vectors", 60, RAW))


async def test_a_question_asked_again_costs_no_run_of_the_model() -> None:
    model = Counting()
    questions = embedder(model, EndlessCache())
    first = await questions.embed("acme", [QUESTION, "Why?"])
    again = await questions.embed("acme", ["Who?", QUESTION])
    assert (again[1] == first[0]).all()
    assert model.texts == [QUESTION, "Why?", "Who?"]


async def test_tenants_and_models_share_no_vector() -> None:
    cache, model, other = EndlessCache(), Counting(), Counting("model/2")
    await embedder(model, cache).embed("acme", [QUESTION])
    # Another tenant cannot learn from a cache hit that acme asked the question, and never gets a vector of acme.
    (stored,) = cache.entries.values()
    await embedder(model, cache).embed("rival", [QUESTION])
    await embedder(other, cache).embed("rival", [QUESTION])
    assert model.texts == [QUESTION, QUESTION]
    assert other.texts == [QUESTION]
    assert [key.startswith(entries_of("rival")) for key in cache.entries] == [False, True, True]
    assert QUESTION not in str(cache.entries)
    # An entry that somebody has put under another key is made anew.
    cache.entries = dict.fromkeys(cache.entries, stored)
    await embedder(model, cache).embed("rival", [QUESTION])
    assert len(model.texts) == 3


async def test_a_cached_vector_of_another_length_is_made_anew_and_no_cache_is_needed() -> None:
    cache, model = EndlessCache(), Counting()
    key = f"model/1:{hashlib.sha256(QUESTION.encode()).hexdigest()}"
    await SharedCache(cache, "vectors", 60, RAW).put("acme", {key: Entry(b"", b"short")})
    assert (await embedder(model, cache).embed("acme", [QUESTION])).any()
    await QuestionEmbedder(model).embed("acme", [QUESTION])
    assert len(model.texts) == 2


async def test_a_turn_embeds_a_text_once_and_shares_it_with_no_other_turn() -> None:
    model = Counting()
    for _ in range(2):
        with turn_scope():
            (routed,) = await embed_once(model, [QUESTION])
            searched = await QuestionEmbedder(model).embed("acme", ["Why?", QUESTION])
            assert (searched[1] == routed).all()
            assert len(await embed_once(model, [])) == 0
    await embed_once(model, ["Why?"])
    assert model.texts == [QUESTION, "Why?"] * 2 + ["Why?"]
