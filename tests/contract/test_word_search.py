"""The passages that words find, compared with a scan of all passages (ADR 0067)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from uuid import UUID

import numpy as np
import psutil
import psycopg
import pytest
from numpy.typing import NDArray
from uuid_utils.compat import uuid7

from responsa_server.domain.passages import CandidateQuery, LexicalQuery, TermStatistics
from responsa_server.domain.people import Server
from responsa_server.search.scoring import K1, B, Weights, gate, weigh
from responsa_server.stores.postgres import passages
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.late_indexes import build_late_indexes
from tests.conftest import DatabaseUrls
from tests.contract.index_writer import matching

PASSAGES = 4_000
# The share of the passages' words that each word has: half of the words are in hundreds or thousands of passages.
SHARES = 1 / np.arange(1, 241)
BEST = 10
_COPY = """COPY responsa.passage (id, tenant_id, collection_id, document_id, version, ordinal, byte_start, byte_end, title, uri, text,
    language, tokens, length, terms, live, analysis) FROM STDIN"""


class Corpus:
    """A collection with `size` passages of made-up words. counts: how often each passage has each word."""

    def __init__(self, urls: DatabaseUrls, size: int = PASSAGES, collection: str = "default") -> None:
        self.size, self.collection = size, collection
        randomness = np.random.default_rng(3)
        self.lengths = randomness.integers(8, 40, size)
        self.counts = np.stack(
            [randomness.multinomial(length, SHARES / SHARES.sum()).astype(np.int8) for length in self.lengths]
        )
        self.ids = [uuid7() for _ in range(size)]
        self.frequencies: NDArray[np.int64] = (self.counts > 0).sum(axis=0)
        with psycopg.connect(urls.superuser) as connection, connection.cursor().copy(_COPY) as copy:
            for id_, counts, length in zip(self.ids, self.counts, self.lengths, strict=True):
                terms = " ".join(
                    f"w{word}:{','.join(map(str, range(1, counts[word] + 1)))}"
                    for word in counts.nonzero()[0]
                )
                places = (id_, "acme", collection, uuid7(), 1, 0, 0, 1, "", "", "x", "en", 1)
                copy.write_row((*places, int(length), terms, True, 2))

    def weights(self, words: Sequence[int]) -> Weights:
        frequencies = {f"w{word}": int(self.frequencies[word]) for word in words}
        statistics = TermStatistics(self.size, int(self.lengths.sum()), frequencies)
        return weigh(list(frequencies), statistics)

    def best(self, words: Sequence[int]) -> tuple[dict[UUID, float], float]:
        """The BM25 of each passage, and that of the tenth best."""
        weights = self.weights(words).by_term
        norm = K1 * (1 - B + B * self.lengths / self.lengths.mean())
        scores = sum(
            weights[f"w{word}"] * self.counts[:, word] / (self.counts[:, word] + norm) for word in words
        )
        assert isinstance(scores, np.ndarray)
        return dict(zip(self.ids, scores.tolist(), strict=True)), float(np.sort(scores)[-BEST])

    async def recall(self, database: Database, words: Sequence[int]) -> float:
        """The share of the ten best passages that a search finds. Of equally good passages, any may be found."""
        weights = self.weights(words)
        query = LexicalQuery(
            [self.collection],
            weights.terms,
            weights.weights,
            weights.frequencies,
            gate(weights.frequencies),
            weights.mean_length,
        )
        found = await matching(database, Server("acme"), CandidateQuery([self.collection], words=[query]))
        assert len(found) <= query.limit
        scores, tenth = self.best(words)
        least = min(tenth - 1e-9, max(scores.values()))
        return min(sum(scores[id_] >= least for id_ in found) / BEST, 1.0)


@pytest.fixture
def corpus(database_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    # The passages of these few words would not be searched by their strength.
    monkeypatch.setattr(passages, "_FEW_MATCHES", 0)
    return Corpus(database_urls)


async def test_the_best_passages_are_those_of_a_full_scan(corpus: Corpus, database: Database) -> None:
    randomness = np.random.default_rng(5)
    rare = np.flatnonzero(corpus.frequencies <= 200)
    common = np.flatnonzero(corpus.frequencies > 500)
    assert min(len(rare), len(common)) > 20
    assert corpus.frequencies.max() > PASSAGES / 2
    for number in range(20):
        # Words that have at most 1,000 passages together, and every single word.
        words = (
            randomness.choice(rare, 4, replace=False) if number % 2 else common[number // 2 : number // 2 + 1]
        )
        assert await corpus.recall(database, words.tolist()) == 1.0, words
    for size in (2, 3, 4, 6):
        recalls = [
            await corpus.recall(database, randomness.choice(common, size, replace=False).tolist())
            for _ in range(4)
        ]
        assert np.mean(recalls) >= 0.95, size
    mixed = [await corpus.recall(database, [int(rare[n]), *common[n : n + 3].tolist()]) for n in range(4)]
    assert np.mean(mixed) == 1.0


async def test_without_the_index_words_find_passages_until_it_is_built(
    corpus: Corpus, database: Database, database_urls: DatabaseUrls
) -> None:
    words = [int(np.argmin(corpus.frequencies))]
    assert await build_late_indexes(database_urls.owner) == []
    with psycopg.connect(database_urls.superuser, autocommit=True) as connection:
        # What an interrupted build leaves.
        connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'responsa.passage_postings'::regclass"
        )
        connection.execute("DROP INDEX responsa.turn_of_tenant")
        assert await corpus.recall(database, words) == 1.0
        assert await build_late_indexes(database_urls.owner) == ["the words", "the turns by their time"]
        connection.execute("DROP INDEX responsa.passage_lexemes")
    assert await corpus.recall(database, words) == 1.0


@pytest.mark.soak
async def test_time_does_not_grow_with_the_matches(database: Database, database_urls: DatabaseUrls) -> None:
    """PostgreSQL's CPU for questions of common words in RESPONSA_SOAK_COUNT passages is less than twice that in a tenth of them."""
    size = int(os.environ.get("RESPONSA_SOAK_COUNT") or 1_000_000)
    with psycopg.connect(database_urls.superuser, autocommit=True) as connection:
        connection.execute("DROP INDEX responsa.passage_postings")
        corpora = [Corpus(database_urls, size // 10, "few"), Corpus(database_urls, size, "many")]
        await build_late_indexes(database_urls.owner)
        connection.execute("VACUUM ANALYZE responsa.passage")
        taken = dict.fromkeys((corpus.collection for corpus in corpora), 0.0)
        recalls: list[float] = []
        randomness = np.random.default_rng(5)
        # The words of both have the same shares, and the corpora take turns.
        for number in range(51):
            words = randomness.choice(np.arange(30), 2 + number % 3, replace=False).tolist()
            for corpus in corpora:
                before = _cpu_seconds(connection)
                recalls.append(await corpus.recall(database, words))
                if number:
                    taken[corpus.collection] += _cpu_seconds(connection) - before
    ratio = taken["many"] / taken["few"]
    print(f"{size} passages: {taken['many'] * 20:.1f} ms, ratio {ratio:.2f}, recall {np.mean(recalls):.3f}")
    assert ratio < 2
    assert np.mean(recalls) >= 0.85


def _cpu_seconds(connection: psycopg.Connection) -> float:
    """The CPU time of the server's roles so far."""
    rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE usename = 'responsa_app'")
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for (pid,) in rows)
