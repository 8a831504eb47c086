"""The judge of citations, measured on public paragraphs. The claims are sentences from the paragraphs, and statements made
from questions and answers. Each claim is judged by its own paragraph and by another paragraph of the article.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from responsa_server.domain.answers import Claim
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.search.words import negates
from responsa_server.text.sentences import pieces
from tests.unit.knowledge.test_bearing import WHOLE, blocks, evidence, found, judge

PARAGRAPHS = 24
LEAST_WORDS = 6
_VERB = re.compile(r"\b(is|are|was|were|has|have|had|can|could|will|would|does|do|did|may|must)\b")
_ASKED = re.compile(r"\b(?:what|which|who|whom|whose|when|where|why|how many|how much|how)\b", re.IGNORECASE)


@dataclass
class Paragraph:
    title: str
    text: str
    sentences: list[str] = field(default_factory=list[str])
    claims: list[str] = field(default_factory=list[str])


def claimed(question: str, answer: str) -> str:
    """A clumsy statement: the question with the answer in place of the question word."""
    asked = question.rstrip("? ")
    return _ASKED.sub(lambda _: answer, asked, count=1) if _ASKED.search(asked) else f"{asked} {answer}"


def renumbered(texts: Sequence[str]) -> Sequence[str]:
    """The claims that contain a number, with the first number replaced with another number."""
    return [
        re.sub(r"\d+", lambda found: str(int(found.group()) + 7), one, count=1)
        for one in texts
        if re.search(r"\d", one)
    ]


def denied(texts: Sequence[str]) -> Sequence[str]:
    """Negated claims. Each is a claim without a negation into which the word “not” was inserted; claims that one word
    cannot negate are left out.
    """
    turned = [_VERB.sub(r"\1 not", one, count=1) for one in texts if negates(one, "en") is False]
    return [one for one in turned if negates(one, "en")]


def read(folder: Path) -> Mapping[str, Paragraph]:
    found: dict[str, Paragraph] = {}
    for line in (folder / "docs.jsonl").read_text().splitlines():
        row = json.loads(line)
        if not row["id"].startswith("distractor"):
            raw, paragraph = row["text"].encode(), Paragraph(row["title"], row["text"])
            for one in pieces(row["text"], blocks(row["text"])):
                words = raw[one.byte_start : one.byte_end].decode()
                if len(words.split()) >= LEAST_WORDS:
                    paragraph.sentences.append(words)
            found[row["id"]] = paragraph
    for line in (folder / "questions.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["answerable"]:
            found[row["doc_ids"][0]].claims.append(claimed(row["question"], row["answers"][0]["text"]))
    return found


async def accepted(embedder: MiniLmEmbedder, texts: Sequence[str], paragraph: Paragraph) -> int:
    given = evidence(found(paragraph.text, title=paragraph.title))
    quotes = await judge(embedder).judge([Claim(one, 1) for one in texts], given, WHOLE)
    return sum(quote is not None for quote in quotes)


async def test_on_public_paragraphs_nearly_all_right_claims_are_borne_out_and_few_others(
    embedder: MiniLmEmbedder, shared_data: Path | None
) -> None:
    if shared_data is None:
        pytest.skip("the public data sets are not next to the checkout")
    paragraphs = read(shared_data / "squad2")
    chance = random.Random(4)
    chosen = chance.sample(sorted(paragraphs), PARAGRAPHS)
    counts = {"sentences": [0, 0, 0], "claims": [0, 0, 0]}
    turned = {"another number": [0, 0], "a denial": [0, 0]}
    for name in chosen:
        article = name.split("/")[0]
        other = chance.choice([one for one in paragraphs if one != name and one.split("/")[0] == article])
        own = paragraphs[name]
        for kind, texts in (("sentences", own.sentences), ("claims", own.claims)):
            count = counts[kind]
            count[0] += len(texts)
            count[1] += await accepted(embedder, texts, own)
            count[2] += await accepted(embedder, texts, paragraphs[other])
        said = [*own.sentences, *own.claims]
        for kind, texts in (("another number", renumbered(said)), ("a denial", denied(said))):
            turned[kind][0] += len(texts)
            turned[kind][1] += await accepted(embedder, texts, own)
    for kind, (all_, right, wrong) in counts.items():
        print(f"{kind}: {all_}, borne out {right / all_:.3f}, by another paragraph {wrong / all_:.3f}")
        assert all_ >= 3 * PARAGRAPHS
        # A clumsy statement is not a sentence of a model, so fewer of them are accepted.
        assert right >= (0.94 if kind == "sentences" else 0.84) * all_
        assert wrong <= 0.03 * all_
    for (kind, (all_, wrong)), most in zip(turned.items(), (0.1, 0.4), strict=True):
        print(f"{kind}: {all_}, borne out {wrong / all_:.3f}")
        assert all_ >= 2 * PARAGRAPHS
        assert wrong <= most * all_
