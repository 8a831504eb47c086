"""Editions: documents of which one is newer than another on the same subject. Of two passages that stand in the same
place of two editions, that of the newer one comes first; none is left out.

A document is newer than another if it says in its front matter that it replaces the other; if both have one source key
and it is dated or stored later; or if both have one title but for numbers, at least .8 of their headings in common, and
a date in the front matter or a year in the title, its own being the later one. Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from uuid import UUID

from responsa_formats.text.canonical import QUOTED
from responsa_server.domain.passages import Edition, FoundPassage, Passage
from responsa_server.domain.sharing import pause
from responsa_server.search.scoring import Weights
from responsa_server.text.dates import Date, find_wanted, list_asked_dates

MOST: Final = 10
"""How many passages, best first, are compared."""
_SAME_HEADINGS: Final = 0.8
_NAMED: Final = re.compile(r"\b(?:19|20)\d\d\b|\bv\d|\d\.\d|\bversion\s+\d", re.IGNORECASE)
_YEAR: Final = re.compile(r"\b(?:19|20)\d\d(?:-\d\d){0,2}\b")
_NUMBERS: Final = re.compile(r"[\W_]*\d[\d.]*")
_REPLACES: Final = re.compile(r"^(?:replaces|supersedes)\s*[:=]\s*(.+)$", re.MULTILINE | re.IGNORECASE)


def names_edition(question: str) -> bool:
    """Whether a question names a year or a version, and so may mean an older edition."""
    return _NAMED.search(question) is not None


async def put_dated_first(
    passages: Sequence[FoundPassage], editions: Mapping[UUID, Edition], weights: Iterable[Weights]
) -> Sequence[int]:
    """As `newest_first`; and if a passage has a date that is asked for, those that have only others stand at the end, and
    before them those that do not have it as the first one of a line."""
    ordered = newest_first([found_passage.passage for found_passage in passages], editions)
    wanted = list_asked_dates(term for each in weights for term in each.terms)
    indexes: list[int | None] = []
    for found_passage in passages if wanted else ():
        await pause()
        indexes.append(_find_in_lines(found_passage, wanted))
    if not any(first is not None and first >= 0 for first in indexes):
        return ordered
    return sorted(ordered, key=lambda index: ((first := indexes[index] or 0) < 0, first > 0))


def _find_in_lines(found_passage: FoundPassage, wanted: Sequence[Date]) -> int | None:
    """The least index that a date that is asked for has in a line; -1 if there are only others; None without dates."""
    lines = found_passage.passage.text.splitlines()
    indexes = [
        first for line in lines if (first := find_wanted(line, found_passage.language, wanted)) is not None
    ]
    return min((first for first in indexes if first >= 0), default=-1) if indexes else None


def newest_first(passages: Sequence[Passage], editions: Mapping[UUID, Edition]) -> Sequence[int]:
    """The order of the passages: that of a newer edition stands directly before that of the older one, and the words of a
    message before those that it quotes, if they would otherwise come later."""
    ordered = list(range(len(passages)))
    quoted = [QUOTED in (block.path for block in passage.places) for passage in passages[:MOST]]
    if not editions and not any(quoted):
        return ordered
    above = [[*map(_fold, passage.headings)] for passage in passages[:MOST]]
    for older in ordered[:MOST]:
        for newer in ordered[ordered.index(older) + 1 : MOST]:
            # Only what stands in the same place of two editions is compared.
            newest = above[newer] == above[older] and _is_newer(passages[newer], passages[older], editions)
            own = passages[newer].document_id == passages[older].document_id and not quoted[newer]
            if newest or (own and quoted[older]):
                ordered.remove(newer)
                ordered.insert(ordered.index(older), newer)
    return ordered


def _is_newer(newer: Passage, older: Passage, editions: Mapping[UUID, Edition]) -> bool:
    """Whether the first one stands in a newer edition."""
    first = editions.get(newer.document_id)
    second = editions.get(older.document_id)
    if first is None or second is None or first is second:
        return False
    called = {second.title.lower(), second.source_key.lower(), second.source_key.rpartition("/")[2].lower()}
    replaced = [name.strip(" '\"[]").lower() for name in _REPLACES.findall(first.front)]
    if not (called - {""}).isdisjoint(replaced):
        return True
    dates = _date(first), _date(second)
    if first.source_key == second.source_key:
        return dates[0] > dates[1] if all(dates) else first.create_time > second.create_time
    headings, others = ({*map(_fold, edition.headings)} for edition in (first, second))
    return (
        all(dates)
        and dates[0] > dates[1]
        and _fold(first.title) == _fold(second.title)
        and len(headings & others) >= _SAME_HEADINGS * len(headings | others)
    )


def _date(edition: Edition) -> str:
    """As YYYY-MM-DD or YYYY; '' if it states none."""
    if edition.date:
        return edition.date
    return max(_YEAR.findall(edition.title), default="")


def _fold(text: str) -> str:
    return _NUMBERS.sub("", text).strip().lower()
