"""How collections read a searched string: in which language, with which synonyms, and what its terms weigh there."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from responsa_formats.text.languages import is_doubtful
from responsa_server.domain.cache import LruCache
from responsa_server.domain.kinds import CollectionKind
from responsa_server.domain.passages import PassageIndex, SearchScope, TermStatistics
from responsa_server.domain.people import Reader
from responsa_server.domain.sharing import pause
from responsa_server.search.scoring import Weights, weigh
from responsa_server.text.lexical import STEMMED, Analyzer
from responsa_server.text.synonyms import Alternatives, Synonyms

# 32 files of 32 KiB, for example, each in one language.
_CACHED_BYTES: Final = 64 * 1024 * 1024
MOST_GUESSED_CHARACTERS: Final = 256
"""If a string is longer, its language is not guessed from the passages, because all words would be stemmed once for each language."""


@dataclass(frozen=True, slots=True)
class TermReading:
    """A searched string as one collection reads it: the weights that its terms have there, and the language whose rules
    produced the terms."""

    weights: Weights
    language: str


@dataclass(frozen=True, slots=True)
class StringReadings:
    """How each collection reads a searched string, and how all of them together do. statistics: those of the string's
    terms, by collection."""

    by_collection: Mapping[str, TermReading]
    together: TermReading
    statistics: Mapping[str, TermStatistics]


class StringReader:
    """Reads searched strings as collections do."""

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer
        self._synonyms = SynonymReader(analyzer)

    async def read(
        self, index: PassageIndex, scope: SearchScope, strings: Sequence[tuple[str, str]], *, chosen: bool
    ) -> Sequence[StringReadings]:
        """How collections read each of these strings, which have their guessed languages. chosen: whether somebody has
        chosen what is searched. Otherwise, the documentation of Responsa and the samples are left out if there are
        other documents.

        What decides the language is how the collection's passages were read: unless all words are there, or the string
        is surely English, the collection reads it in the language in which it has the most of its words, and otherwise
        in the guessed one. A string of more than MOST_GUESSED_CHARACTERS is read in the guessed language.
        """
        stems: list[Mapping[str, Sequence[str]]] = []
        for text, language in strings:
            await pause()
            stems.append(self._stem(text, language))
        terms = dict.fromkeys(
            term for by_language in stems for of_one in by_language.values() for term in of_one
        )
        every = await index.statistics(scope, list(terms))
        if not chosen:
            every = {name: of for name, of in every.items() if of.kind is CollectionKind.OWN} or every
        return [
            await self._read_one(index, scope, *string, by_language, every)
            for string, by_language in zip(strings, stems, strict=True)
        ]

    def _stem(self, text: str, language: str) -> Mapping[str, Sequence[str]]:
        """The terms of a string in each language in which a collection may read it; the first is the guessed one."""
        surely = language == "en" and not is_doubtful(text)
        guessed = surely or len(text) > MOST_GUESSED_CHARACTERS
        # The function words are those of the guessed language, or each other language would have them too.
        return {
            code: self._analyzer.query_terms(text, code, language)
            for code in (language, *(() if guessed else STEMMED))
        }

    async def _read_one(
        self,
        index: PassageIndex,
        scope: SearchScope,
        text: str,
        language: str,
        stems: Mapping[str, Sequence[str]],
        of_all: Mapping[str, TermStatistics],
    ) -> StringReadings:
        words = stems[language]
        alternatives, statistics = await self._synonyms.expand(index, scope, text, language, of_all)
        readings: dict[str, TermReading] = {}
        for name, of_terms in statistics.items():
            await pause()
            readings[name] = TermReading(weigh(words, of_terms, alternatives.get(name)), language)
        together = TermReading(weigh(words, _sum(statistics.values())), language)
        for name in [name for name, reading in readings.items() if reading.weights.missing]:
            await pause()
            collection_statistics = of_all[name]
            # The first of several that are as good.
            code = max(
                stems, key=lambda code: sum(word in collection_statistics.frequencies for word in stems[code])
            )
            if code == language:
                continue
            union = {word for taken in stems.values() for word in taken}
            words = [word for word in self._analyzer.query_terms(text, code) if word in union] or stems[code]
            own, known = await self._synonyms.expand(index, scope, text, code, {name: collection_statistics})
            readings[name] = TermReading(weigh(words, known[name], own.get(name)), code)
            if not together.weights.terms:
                together = readings[name]
        return StringReadings(readings, together, statistics)


def _sum(statistics: Iterable[TermStatistics]) -> TermStatistics:
    passages = terms = 0
    frequencies = Counter[str]()
    for statistic in statistics:
        passages += statistic.passages
        terms += statistic.terms
        frequencies.update(statistic.frequencies)
    return TermStatistics(passages, terms, dict(frequencies))


class SynonymReader:
    """Finds the synonyms of a question in each collection, and caches the files of synonyms that it has read."""

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer
        self._cached: LruCache[tuple[str, bytes], Synonyms] = LruCache(_CACHED_BYTES)
        # Several searches must not learn the same file at the same time.
        self._lock = asyncio.Lock()

    async def expand(
        self,
        index: PassageIndex,
        scope: SearchScope,
        question: str,
        language: str,
        statistics: Mapping[str, TermStatistics],
    ) -> tuple[Mapping[str, Alternatives], Mapping[str, TermStatistics]]:
        """The alternatives of the question's terms in each collection, and the statistics with the terms of the alternatives.

        scope: that of the search. statistics: the statistics of the question's terms, by collection. Without synonyms
        in these collections, the method makes no call to the index.
        """
        files = {name: of.synonyms for name, of in statistics.items() if of.synonyms}
        if not files:
            return {}, statistics
        read = await self._read(index, scope.reader, files, language)
        alternatives = {
            name: of_collection
            for name, digest in files.items()
            if (file := read.get(digest)) is not None
            and (of_collection := file.alternatives(question, language, self._analyzer))
        }
        terms = {
            term
            for of_collection in alternatives.values()
            for options in of_collection.values()
            for option in options
            for term in option
        }
        if not terms:
            return {}, statistics
        more = await index.statistics(scope, sorted(terms))
        expanded = {
            name: replace(of, frequencies=of.frequencies | more[name].frequencies) if name in more else of
            for name, of in statistics.items()
        }
        return alternatives, expanded

    async def _read(
        self, index: PassageIndex, reader: Reader, files: Mapping[str, bytes], language: str
    ) -> Mapping[bytes, Synonyms]:
        """The files by their SHA-256, each of which has learned the language. Reads the files that are not cached.
        files: the SHA-256 of each collection's file."""
        async with self._lock:
            synonyms = {
                digest: file
                for digest in files.values()
                if (file := self._cached.get((reader.tenant_id, digest))) is not None
            }
            unread = [name for name, digest in files.items() if digest not in synonyms]
            if unread:
                for text in (await index.synonyms(reader, unread)).values():
                    # The file may have changed since its hash was read, so it is cached under its own hash.
                    synonyms[hashlib.sha256(text.encode()).digest()] = Synonyms(text)
            for digest, file in synonyms.items():
                if not file.knows(language):
                    await asyncio.to_thread(file.learn, language)
                    self._cached.put((reader.tenant_id, digest), file, file.size_bytes)
            return synonyms
