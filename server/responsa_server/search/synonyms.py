"""The synonyms of collections, as a search uses them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from responsa_server.domain.cache import LruCache
from responsa_server.domain.passages import PassageIndex, SearchScope, TermStatistics
from responsa_server.domain.people import Reader
from responsa_server.text.lexical import Analyzer
from responsa_server.text.synonyms import Alternatives, Synonyms

# 32 files of 32 KiB, for example, each in one language.
_CACHED_BYTES: Final = 64 * 1024 * 1024


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
        files = {name: one.synonyms for name, one in statistics.items() if one.synonyms}
        if not files:
            return {}, statistics
        read = await self._read(index, scope.reader, files, language)
        alternatives = {
            name: found
            for name, digest in files.items()
            if (file := read.get(digest)) is not None
            and (found := file.alternatives(question, language, self._analyzer))
        }
        terms = {
            term
            for found in alternatives.values()
            for options in found.values()
            for option in options
            for term in option
        }
        if not terms:
            return {}, statistics
        more = await index.statistics(scope, sorted(terms))
        expanded = {
            name: replace(one, frequencies=one.frequencies | more[name].frequencies) if name in more else one
            for name, one in statistics.items()
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
