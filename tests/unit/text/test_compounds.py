"""The parts of compounds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import Stemmer

from responsa_server.text.compounds import compound_parts, split

NOUNS = {"auto", "bahn", "netz", "plan", "bahnnetz"}


@pytest.mark.parametrize(
    ("word", "most", "parts"),
    [
        ("autobahn", 2, ["auto", "bahn"]),
        ("autobahn", 1, []),
        ("autobahnplan", 2, []),
        ("autobahnplan", 3, ["auto", "bahn", "plan"]),
        ("autobahnnetz", 4, ["auto", "bahnnetz"]),
        ("autobahnnetzplan", 4, ["auto", "bahnnetz", "plan"]),
        ("auto", 4, []),
        ("autotal", 4, []),
    ],
)
def test_a_word_has_the_fewest_parts(word: str, most: int, parts: Sequence[str]) -> None:
    assert list(split(word, NOUNS.__contains__, 4, most)) == parts


@pytest.mark.parametrize(
    ("language", "stemmer", "word", "parts"),
    [
        ("de", "german", "Kündigungsfrist", ["kündigungs", "frist"]),
        ("de", "german", "kündigungsfrist", []),
        ("nl", "dutch", "ziekteverzuim", ["ziekte", "verzuim"]),
        ("sv", "swedish", "Semesterersättningen", ["semester", "ersättningen"]),
        ("sv", "swedish", "verksamhet", []),
        ("da", "danish", "arbejdstid", ["arbejds", "tid"]),
        ("no", "norwegian", "oppsigelsestid", ["oppsigelses", "tid"]),
        ("fi", "finnish", "työaika", ["työ", "aika"]),
    ],
)
def test_the_parts_of_a_word(language: str, stemmer: str, word: str, parts: Sequence[str]) -> None:
    assert list(compound_parts(word, language, Stemmer.Stemmer(stemmer).stemWord)) == parts
