"""A corpus of real prose: Responsa's documentation as it was on one day (29 pages, 705 kB), kept so that figures of
different days can be compared."""

from __future__ import annotations

import random
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

_ARCHIVE: Final = Path(__file__).with_name("corpora") / "docs.tar.xz"
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+")
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z'-]+")
# A sentence of prose. Shorter ones are headings and cells of tables.
_FEWEST_WORDS: Final = 10
_MOST_WORDS: Final = 30
_ASKED_WORDS: Final = 7


@cache
def pages() -> Mapping[str, str]:
    """The Markdown of each page, keyed by the file's name."""
    with tarfile.open(_ARCHIVE) as archive:
        found = {member.name: archive.extractfile(member) for member in archive}
        return {name: file.read().decode() for name, file in found.items() if file}


def questions(seed: int, of: Sequence[str] = ()) -> Iterator[str]:
    """Questions without end, of which hardly any comes twice: each asks about some of the words of one sentence of the
    pages. of: the names of the pages; all by default."""
    sentences = [
        words
        for text in (pages()[name] for name in of or pages())
        for sentence in _SENTENCE.split(text)
        if _FEWEST_WORDS <= len(words := _WORD.findall(sentence)) <= _MOST_WORDS
    ]
    chance = random.Random(seed)
    while True:
        words = chance.choice(sentences)
        places = sorted(chance.sample(range(len(words)), _ASKED_WORDS))
        yield f"What about {' '.join(words[place] for place in places)}?"
