"""The gist of a text, without a model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responsa_formats.text.canonical import Block, BlockKind
from responsa_server.ingest.describing import (
    MAX_KEYWORDS,
    MAX_SENTENCES,
    MAX_SUMMARY_BYTES,
    Gist,
    gist_of,
)
from responsa_server.text.sentences import pieces
from tests.formats.office_files import parse

EELS = """# Eels of the Elbe

Welcome. The European eel hatches in the Sargasso Sea and drifts to the rivers of Europe with the currents of the Atlantic. In the Elbe,
young eels swim up the river from April to June. It rains.

Eels live in the river for ten years before they return to the sea. The weirs of the river stop many eels on their way.

```
def eels(): return sargasso
```

- Nets are not allowed.
"""


def gist(text: str, language: str = "en", title: str = "") -> Gist:
    document = parse(text.encode(), "a.md")
    found = pieces(text, document.blocks, language)
    return gist_of(text.encode(), found, title, language)


def test_the_summary_is_made_of_sentences_of_the_text() -> None:
    eels = gist(EELS, title="Eels")
    assert eels.keywords[:2] == ("Eels", "river")
    assert "the" not in eels.keywords
    assert "def" not in eels.keywords
    sentences = eels.summary.split(". ")
    assert 1 <= len(sentences) <= MAX_SENTENCES
    assert all(sentence.rstrip(".") in " ".join(EELS.split()) for sentence in sentences)
    assert "eel" in eels.summary
    assert "Welcome" not in eels.summary
    assert gist(EELS, title="Eels") == eels


@pytest.mark.parametrize(
    ("text", "language", "keyword"),
    [
        ("Der Aal schwimmt in die Elbe. Die Aale der Elbe wandern im Frühling in die Elbe.", "de", "Elbe"),
        ("鳗鱼在河里生活十年。鳗鱼回到大海。河里的鳗鱼很多。", "zh", "鳗鱼"),
        ("ثعبان البحر يعيش في النهر. يعود ثعبان البحر إلى البحر من النهر.", "ar", "البحر"),
    ],
)
def test_other_languages(text: str, language: str, keyword: str) -> None:
    found = gist(text, language)
    assert keyword in found.keywords
    assert found.summary


def test_texts_without_sentences_have_no_summary() -> None:
    assert gist("| a | b |\n|---|---|\n| river | sea |\n").summary == ""
    assert gist("12 34 5.6") == Gist()


@given(st.text(max_size=1500))
def test_every_text_gives_a_bounded_gist(text: str) -> None:
    if not text.strip() or "\x00" in text:
        return
    whole = Block(BlockKind.PARAGRAPH, 0, len(text.encode()))
    found = gist_of(text.encode(), pieces(text, [whole]), text[:100], "en")
    assert len(found.summary.encode()) <= MAX_SUMMARY_BYTES
    assert len(found.keywords) <= MAX_KEYWORDS
    assert len({keyword.lower() for keyword in found.keywords}) == len(found.keywords)
