"""Reads files of synonyms and finds the synonyms of a question's words.

A file has one group per line: words or phrases that mean the same in its collection, separated by commas. Empty lines and
lines that begin with # are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from responsa_server.text.lexical import Analyzer

MAX_GROUPS: Final = 1_000
MAX_ENTRIES: Final = 16
MAX_ENTRY_CHARS: Final = 100
# A file of 32 KiB takes about 2 MB for each language that it has learned.
_LEARNED_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake in a file. line: its number, from 1. remedy: says what must be changed, without a full stop."""

    line: int
    remedy: str


@dataclass(frozen=True, slots=True)
class SynonymFile:
    """The groups of a file. mistakes: the lines that are not groups, in order; a file with mistakes must not be used."""

    groups: Sequence[Sequence[str]]
    mistakes: Sequence[Mistake]


def read_synonyms(text: str) -> SynonymFile:
    """Read a file of at most 32 KiB."""
    groups: list[Sequence[str]] = []
    mistakes: list[Mistake] = []
    first_lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        content = line.strip().removeprefix("\ufeff")
        if not content or content.startswith("#"):
            continue
        entries = [" ".join(entry.split()) for entry in content.split(",")]
        remedy = _remedy(entries, number, first_lines)
        if len(groups) == MAX_GROUPS:
            remedy = f"a file has at most {MAX_GROUPS} groups; remove this line and those after it"
        if remedy:
            mistakes.append(Mistake(number, remedy))
            if len(groups) == MAX_GROUPS:
                break
            continue
        groups.append(entries)
        first_lines |= {entry.casefold(): number for entry in entries}
    return SynonymFile(groups, mistakes)


def _remedy(entries: Sequence[str], number: int, first_lines: Mapping[str, int]) -> str:
    """What must be changed in a group; "" if the group is valid. first_lines: the lines of the entries of earlier groups."""
    if len(entries) < 2:
        return "a group needs at least two entries, separated by commas, e.g. `PTO, paid time off`"
    if len(entries) > MAX_ENTRIES:
        return f"a group has at most {MAX_ENTRIES} entries; this line has {len(entries)}"
    seen: set[str] = set()
    for entry in entries:
        if not any(character.isalnum() for character in entry):
            return "an entry between two commas has no letter and no digit; remove it"
        if len(entry) > MAX_ENTRY_CHARS:
            return f"an entry has at most {MAX_ENTRY_CHARS} characters; `{entry[:30]}…` has {len(entry)}"
        if not entry.isprintable():
            return "an entry contains a control character; remove it"
        folded = entry.casefold()
        if folded in seen:
            return f"`{entry}` is in this line twice; remove one"
        if (earlier := first_lines.get(folded)) is not None:
            return f"`{entry}` is also in line {earlier}; join the two groups, or remove it from one"
        seen.add(folded)
    return ""


Alternatives = Mapping[str, Sequence[Sequence[str]]]
"""For each term of a question, its alternatives. An alternative is a list of terms; it counts only where all of them occur."""


@dataclass(frozen=True, slots=True)
class _Synonym:
    """An entry of a group. sequence: all its terms, in order. content: the distinct terms to search for."""

    sequence: tuple[str, ...]
    content: tuple[str, ...]


class Synonyms:
    """The synonyms of one collection. A file of 32 KiB takes about 0.1 s to learn, once for each language of questions."""

    def __init__(self, text: str) -> None:
        """text: a file without mistakes."""
        self._text = text
        self._by_language: dict[str, Mapping[str, Sequence[tuple[_Synonym, Sequence[_Synonym]]]]] = {}

    def knows(self, language: str) -> bool:
        """Whether `learn` was called for this language."""
        return language in self._by_language

    @property
    def size_bytes(self) -> int:
        return len(self._text.encode()) * (1 + _LEARNED_BYTES * len(self._by_language))

    def learn(self, language: str) -> None:
        """Prepare for questions in this language. May run on any thread, but not on two at the same time."""
        analyzer = Analyzer()
        by_first: dict[str, list[tuple[_Synonym, Sequence[_Synonym]]]] = {}
        for group in read_synonyms(self._text).groups:
            entries = list(_entries(group, language, analyzer))
            for entry in entries:
                others = [other for other in entries if other.sequence != entry.sequence]
                if others:
                    by_first.setdefault(entry.sequence[0], []).append((entry, others))
        self._by_language[language] = by_first

    def alternatives(self, question: str, language: str, analyzer: Analyzer) -> Alternatives:
        """The alternatives of those terms of the question that belong to an entry; none if the language was not learned. An entry of
        several words counts only if the words follow each other in the question.
        """
        by_first = self._by_language.get(language, {})
        terms = analyzer.terms(question, language)
        by_term: dict[str, dict[tuple[str, ...], None]] = {}
        for index, term in enumerate(terms):
            for entry, others in by_first.get(term, ()):
                if tuple(terms[index : index + len(entry.sequence)]) != entry.sequence:
                    continue
                for asked in entry.content:
                    alternatives = by_term.setdefault(asked, {})
                    for other in others:
                        # An alternative that contains the term itself would count the term twice.
                        if asked not in other.content:
                            alternatives[other.content] = None
        return {asked: tuple(others) for asked, others in by_term.items() if others}


def _entries(group: Sequence[str], language: str, analyzer: Analyzer) -> Iterator[_Synonym]:
    for entry in group:
        sequence = tuple(analyzer.terms(entry, language))
        if sequence:
            yield _Synonym(sequence, tuple(analyzer.query_terms(entry, language)))
