"""Measures how the search for words grows with a collection. The passages are written straight into the tables, because
taking in a hundred thousand would take an hour."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Final
from uuid import UUID

import psycopg

from bench.cpu import Metered
from bench.figures import Comparison, percentile
from bench.interleaved import interleaved
from bench.jobs import Call, Job, Transport
from bench.library import make_collection
from bench.processes import Place
from bench.report import Line
from bench.run import Run
from responsa_local.embedded import EmbeddedPostgres, LocalLayout
from responsa_server.domain.passage_words import pack
from responsa_server.domain.passages import ANALYSIS_VERSION

TITLE: Final = "Searching words in 100,000 passages compared with 10,000; words as frequent as in real text (Zipf), 50 to 130 a passage"
_SIZES: Final = (10_000, 100_000)
_VOCABULARY: Final = 30_000
_CONSONANTS: Final = "bdfgklmnprstvz"
_VOWELS: Final = "aeiou"
_SYLLABLES: Final = [consonant + vowel for consonant in _CONSONANTS for vowel in _VOWELS]
_WORDS_ASKED: Final = 5
_CALLS: Final = 150
_COLUMNS: Final = (
    "id, tenant_id, collection_id, document_id, version, ordinal, byte_start, byte_end, "
    "title, uri, text, language, tokens, length, terms, words, analysis, live"
)


def _word(rank: int) -> str:
    return f"{_SYLLABLES[rank % 70]}{_SYLLABLES[rank // 70 % 70]}{_SYLLABLES[rank // 4900]}x"


_WORDS: Final = [_word(rank) for rank in range(_VOCABULARY)]
_ZIPF: Final = list(accumulate(1 / rank for rank in range(1, _VOCABULARY + 1)))
# The ranks of words that about a third to a tenth, a hundredth to a thousandth, and fewer passages have.
_KINDS: Final[Mapping[str, Sequence[range]]] = {
    "rare words": [range(8_000, 30_000)],
    "a fifth common words": [*[range(100, 8_000)] * 4, range(30)],
    "common words": [range(30)],
}


def collection_of(size: int) -> str:
    """The id of the collection with this number of passages."""
    return f"zipf-{size}"


def write_passages(at: Place, size: int) -> None:
    """Makes a collection of passages without vectors, as ingestion would write them."""
    collection, chance = collection_of(size), random.Random(size)
    make_collection(at, collection)
    url = EmbeddedPostgres(LocalLayout.of(at.home)).dsn("superuser")
    with psycopg.connect(url) as connection:
        with connection.cursor().copy(f"COPY responsa.passage ({_COLUMNS}) FROM STDIN") as copy:
            for _ in range(size):
                words = chance.choices(_WORDS, cum_weights=_ZIPF, k=chance.randint(50, 130))
                places: dict[str, list[int]] = {}
                for place, word in enumerate(words, 1):
                    places.setdefault(word, []).append(place)
                text, terms = (
                    " ".join(words),
                    " ".join(f"'{word}':{','.join(map(str, at))}" for word, at in places.items()),
                )
                ids = [str(UUID(int=chance.getrandbits(128), version=4)) for _ in range(2)]
                copy.write_row(
                    (
                        ids[0],
                        "default",
                        collection,
                        ids[1],
                        1,
                        0,
                        0,
                        len(text),
                        "",
                        "",
                        text,
                        "",
                        len(words),
                        len(words),
                        terms,
                        pack(Counter(words), [[], words]),
                        ANALYSIS_VERSION,
                        True,
                    )
                )
        connection.execute(
            (
                "INSERT INTO responsa.collection_stat SELECT tenant_id, collection_id, count(*), "
                "sum(length) FROM responsa.passage WHERE collection_id = %s GROUP BY 1, 2"
            ),
            (collection,),
        )
        connection.execute(
            (
                "INSERT INTO responsa.term_stat SELECT 'default', %s, word, ndoc FROM "
                "ts_stat(format('SELECT terms FROM responsa.passage WHERE collection_id = %%L', "
                "%s::text))"
            ),
            (collection, collection),
        )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE responsa.passage")


def _questions(ranks: Sequence[range], seed: int) -> Iterator[str]:
    chance = random.Random(seed)
    while True:
        yield " ".join(_WORDS[chance.choice(ranks[number % len(ranks)])] for number in range(_WORDS_ASKED))


def measure(run: Run) -> list[Line]:
    """Measures the time of a search for words, and PostgreSQL's CPU time, by how common the words are."""
    sizes = _SIZES if not run.quick else (100, 1000)
    for size in sizes:
        run.say(f"growth: writing {size:,} passages")
        write_passages(run.place, size)

    def search(questions: Iterator[str], size: int, place: int) -> Metered:
        del place
        calls = run.pick(_CALLS, 20)
        job = Job(
            Call.SEARCH,
            Transport.GRPC,
            f"unix:{LocalLayout.of(run.place.home).server_socket}",
            run.place.key,
            calls=calls,
            texts=[next(questions) for _ in range(calls)],
            collection=collection_of(size),
            mode="SEARCH_MODE_TEXT",
        )
        return Metered.of((run.up,), lambda: run.caller.do(job))

    measures: Mapping[tuple[str, str], Callable[[Metered], float]] = {
        ("p50", "ms"): lambda cell: percentile(cell.outcome.totals, 0.5),
        ("p99", "ms"): lambda cell: percentile(cell.outcome.totals, 0.99),
        ("CPU of PostgreSQL", "µs"): lambda cell: cell.cpu.postgres,
        ("CPU of the server", "µs"): lambda cell: cell.cpu.server,
    }
    lines: list[Line] = []
    for kind, ranks in _KINDS.items():
        run.say(f"growth: {kind}")
        questions = _questions(ranks, 1)
        few, many = interleaved(run.pick(4, 1), *(partial(search, questions, size) for size in sizes))
        lines += [
            Line.compared(
                TITLE,
                f"{kind}: {what}",
                unit,
                "less",
                Comparison.of([value(cell) for cell in many], [value(cell) for cell in few]),
                2 * sum(len(cell.outcome.totals) for cell in few),
            )
            for (what, unit), value in measures.items()
        ]
    return lines
