"""Whether a passage supports a claim of an answer. Words and numbers decide. If they leave a doubt, the cosine of the
model's vectors decides.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import TypeAdapter

from responsa_server.agents.config.files import SHIPPED
from responsa_server.domain.answers import Claim, Evidence, Quote
from responsa_server.domain.events import ByteRange
from responsa_server.domain.listing import Filter
from responsa_server.domain.passages import (
    DocumentSet,
    FoundPassage,
    LexicalCandidate,
    LexicalQuery,
    Passage,
    PassageCosines,
    PassagePiece,
    QuestionVector,
    SearchScope,
    TermStatistics,
    VectorKind,
)
from responsa_server.domain.people import Reader
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.search.answering import LibraryEvidence
from responsa_server.search.claims import THRESHOLD, Excerpt, read_passage, support_claim
from responsa_server.search.embedder import Embedder, OneEmbedder, Vectors
from responsa_server.search.evidence import PassageAnalyses
from responsa_server.search.retrieve import Retrieval, Retriever, ScoredPassage
from responsa_server.search.scoring import Score, Weights
from responsa_server.search.wording import compare
from responsa_server.search.words import negates
from responsa_server.text.canonical import Block, BlockKind
from responsa_server.text.figures import numbers_in
from responsa_server.text.lexical import language_of
from responsa_server.text.sentences import PieceKind, pieces

CLAIMS = Path(__file__).with_name("claims.jsonl")
WHOLE = 1_000_000
CATHEDRAL = (
    "Peter Vogel designed the north tower of the cathedral in 1388. The stones came by river from quarries near Basel. Anna Berg led the restoration"
    " of the roof in 1912, after a fire. The tower is 98 metres high. The city bought the bells from a foundry in Leipzig for 900 pounds. A market"
    " is held at the west door every Friday."
)
BOILING = "Water boils at 100 degrees at sea level. On a mountain of 3,000 metres it boils at 90 degrees. Salt is cheap."


class NoIndex:
    """Stands for both indexes. These tests do not search."""

    def session(self, reader: Reader) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def documents(self, scope: SearchScope, filters: Sequence[Filter]) -> DocumentSet:
        raise NotImplementedError

    async def statistics(self, scope: SearchScope, terms: Sequence[str]) -> Mapping[str, TermStatistics]:
        raise NotImplementedError

    async def meant(self, reader: Reader, collections: Sequence[str]) -> Sequence[str]:
        return collections

    async def hides(self, scope: SearchScope) -> bool:
        return False

    async def synonyms(self, reader: Reader, collections: Sequence[str]) -> Mapping[str, str]:
        raise NotImplementedError

    async def matching(self, reader: Reader, queries: Sequence[LexicalQuery]) -> Sequence[UUID]:
        raise NotImplementedError

    async def candidates(
        self, scope: SearchScope, terms: Sequence[str], ids: Collection[UUID]
    ) -> Sequence[LexicalCandidate]:
        raise NotImplementedError

    async def passages(self, reader: Reader, ids: Sequence[UUID]) -> Sequence[FoundPassage]:
        raise NotImplementedError

    async def around(
        self, reader: Reader, ids: Sequence[UUID], most_bytes: int
    ) -> Mapping[UUID, tuple[int, bytes]]:
        raise NotImplementedError

    async def before(self, reader: Reader, ids: Sequence[UUID], most_bytes: int) -> Mapping[UUID, str]:
        raise NotImplementedError

    async def nearest(
        self, scope: SearchScope, question: QuestionVector, limit: int, named: Collection[UUID] = ()
    ) -> Mapping[UUID, PassageCosines]:
        raise NotImplementedError

    async def pieces(
        self, reader: Reader, ids: Sequence[UUID], question: QuestionVector | None
    ) -> Mapping[UUID, Sequence[PassagePiece]]:
        raise NotImplementedError


class Broken:
    """An embedding model that fails."""

    name = "broken"
    dimensions = 384
    max_tokens = 254
    languages = frozenset({"en"})
    texts_a_call = 16

    async def embed(self, texts: Sequence[str]) -> Vectors:
        raise OSError("no model")

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        return []


def blocks(text: str) -> list[Block]:
    """The blocks of a text with paragraphs and headings as in Markdown."""
    found: list[Block] = []
    place = 0
    for part in text.split("\n\n"):
        size = len(part.encode())
        kind = BlockKind.HEADING if part.startswith("#") else BlockKind.PARAGRAPH
        found.append(Block(kind, place, place + size))
        place += size + 2
    return found


def found(text: str, *, title: str = "", number: int = 1) -> FoundPassage:
    source = ByteRange(0, len(text.encode()))
    stored = [
        PassagePiece(
            VectorKind.HEADING if one.kind is PieceKind.HEADING else VectorKind.SENTENCE,
            ByteRange(one.byte_start, one.byte_end),
            None,
        )
        for one in pieces(text, blocks(text))
    ]
    id_ = UUID(int=number)
    return FoundPassage(Passage(id_, "default", id_, 1, title, "", source, text), language_of(text), stored)


def evidence(*passages: FoundPassage) -> Evidence:
    scored = [ScoredPassage(one, Score(0.5, 1, 0.5, None, 0.5), 0) for one in passages]
    retrieval = Retrieval(("?",), scored, [Weights([], [], [], {}, 1, 1.0)], ["en"])
    return Evidence(len(passages), 0, TypeAdapter(Retrieval).dump_python(retrieval, mode="json"))


def judge(embedder: Embedder) -> LibraryEvidence:
    return LibraryEvidence(Retriever(NoIndex(), NoIndex(), OneEmbedder(embedder)))


async def borne_out(embedder: Embedder, claim: str, *passages: FoundPassage, number: int = 1) -> Quote | None:
    (quote,) = await judge(embedder).judge([Claim(claim, number)], evidence(*passages), WHOLE)
    return quote


@pytest.mark.parametrize(("vectors", "right", "wrong"), [(True, 34, 5), (False, 31, 5)])
async def test_most_paraphrases_are_borne_out_and_most_inventions_are_not(
    embedder: MiniLmEmbedder, vectors: bool, right: int, wrong: int
) -> None:
    rows = [json.loads(line) for line in CLAIMS.read_text().splitlines()]
    judges = judge(embedder if vectors else Broken())
    accepted = {True: 0, False: 0}
    for name in sorted({row["doc"] for row in rows}):
        agent, file = name.split("/")
        text = (SHIPPED / agent / "samples" / "corpus" / f"{file}.md").read_text()
        passage = found(text, title=text.splitlines()[0].lstrip("# "))
        own = [row for row in rows if row["doc"] == name]
        quotes = await judges.judge([Claim(row["claim"], 1) for row in own], evidence(passage), WHOLE)
        for row, quote in zip(own, quotes, strict=True):
            accepted[row["ok"]] += quote is not None
            if quote is not None:
                assert text.encode()[quote.source.start : quote.source.end].decode() == quote.text
                assert 0 <= quote.score <= 1
    assert len(rows) == 72
    assert accepted[True] >= right
    assert accepted[False] <= wrong


async def test_the_best_piece_of_the_named_passage_is_quoted(embedder: MiniLmEmbedder) -> None:
    other = found("The Nile is a river in Africa. It is long.", number=2)
    claim = "Up on a mountain of 3000 metres, water boils at 90 degrees already."
    quote = await borne_out(embedder, claim, found(BOILING), other)
    assert quote is not None
    assert quote.text == "On a mountain of 3,000 metres it boils at 90 degrees."
    assert quote.passage.id == UUID(int=1)
    assert await borne_out(embedder, claim, found(BOILING), other, number=2) is None
    assert await borne_out(embedder, claim, found(BOILING), other, number=3) is None
    assert await borne_out(embedder, claim, found(BOILING), other, number=0) is None


async def test_what_was_not_shown_bears_nothing_out(embedder: MiniLmEmbedder) -> None:
    claim = Claim("Salt is cheap.", 1)
    given = evidence(found(BOILING))
    (whole,) = await judge(embedder).judge([claim], given, WHOLE)
    (cut,) = await judge(embedder).judge([claim], given, 60)
    assert whole is not None
    assert cut is None


async def test_without_evidence_nothing_is_borne_out(embedder: MiniLmEmbedder) -> None:
    assert await judge(embedder).judge([Claim("It is so.", 1)], Evidence(0, 0, {}), WHOLE) == [None]


async def test_a_number_that_stands_nowhere_speaks_against_a_claim(embedder: MiniLmEmbedder) -> None:
    right = await borne_out(embedder, "At sea level water boils at 100 degrees.", found(BOILING))
    wrong = await borne_out(embedder, "Water on a high mountain boils at 71.5 degrees.", found(BOILING))
    assert right is not None
    assert wrong is None


@pytest.mark.parametrize(
    ("claim", "borne"),
    [
        ("On a mountain of 3000 metres it boils at 90 degrees.", True),
        ("On a mountain of 3000 metres it boils at 900 degrees.", False),
        ("On a mountain of 3000 metres it does not boil at 90 degrees.", False),
        ("On a mountain of 3000 metres it never boils at 90 degrees.", False),
        ("On a mountain of 3000 metres it boils at 90 degrees, doesn’t it?", False),
        ("Snails are not cheap.", False),
        ("Salt isn't dear, it is cheap.", False),
    ],
)
async def test_one_number_or_one_denial_makes_a_claim_another(
    embedder: MiniLmEmbedder, claim: str, borne: bool
) -> None:
    assert (await borne_out(embedder, claim, found(BOILING)) is not None) is borne


async def test_what_a_passage_denies_may_be_denied(embedder: MiniLmEmbedder) -> None:
    passage = found("The warranty does not cover damage by dogs.")
    assert await borne_out(embedder, "Damage by dogs isn't covered by the warranty.", passage) is not None
    german = found("Die Garantie deckt keine Schäden durch Hunde.")
    assert await borne_out(embedder, "Schäden durch Hunde deckt die Garantie nicht.", german) is not None
    assert negates("La garantía cubre daños.", "es") is False
    assert negates("Гарантия не покрывает.", "ru") is None


async def test_an_answer_in_another_language_is_borne_out_by_names_and_numbers(
    embedder: MiniLmEmbedder,
) -> None:
    answer = "Auf einem Berg von 3.000 Metern kocht es schon bei 90 Grad."
    wrong = "Auf einem Berg von 5.000 Metern kocht es schon bei 80 Grad."
    words = "Das ist auf einem Berg nicht so, und es ist kalt."
    assert await borne_out(embedder, answer, found(BOILING)) is not None
    assert await borne_out(embedder, wrong, found(BOILING)) is None
    assert await borne_out(embedder, words, found(BOILING)) is None


def accepts(claim: str, text: str, *, title: str = "") -> bool:
    passage = found(text, title=title)
    shown = Excerpt(passage, passage.passage.source, text)
    analyses = PassageAnalyses()
    best = support_claim(claim, "en", shown, read_passage(passage, analyses), analyses)
    return best is not None and best.score >= THRESHOLD


def test_headings_count_as_what_the_piece_says() -> None:
    text = "## Range\n\nThe radio reaches about 150 metres in the open. Walls make it less. Readings are stored for 30 days."
    assert accepts("The range is about 150 metres in the open.", text, title="Wren 2")
    assert not accepts("The range is about 30 metres in the open.", text, title="Wren 2")


def test_the_number_of_a_name_in_the_title_counts_nothing() -> None:
    text = (
        "The radio reaches about 150 metres in the open. Walls make it less. Readings are stored for 30 days."
    )
    assert accepts("Wren 2's radio reaches 150 metres in the open.", text, title="Wren 2")
    assert not accepts("Wren 2's radio reaches 30 metres in the open.", text, title="Wren 2")


@pytest.mark.parametrize(
    ("claim", "lost"),
    [
        ("The Moon seems to rock, and over time we see about 59 % of its surface.", 0.0),
        ("The Moon seems to rock because the orbit is a perfect circle.", 1.0),
        ("The orbit is not a perfect circle.", 0.0),
    ],
)
def test_only_the_negation_of_a_clause_that_the_claim_repeats_is_lost(claim: str, lost: float) -> None:
    text = "Because the orbit is not a perfect circle, the Moon seems to rock a little, and over time we can see about 59 % of its surface."
    passage, analyses = found(text), PassageAnalyses()
    words = read_passage(passage, analyses)
    (one,) = compare(claim, "en", words, passage.passage.source, analyses.analyzer)
    assert one.features["negation_lost"] == lost


@pytest.mark.parametrize(
    "wrong",
    [
        "Anna Berg designed the north tower of the cathedral in 1388.",
        "Peter Vogel designed the north tower of the cathedral in 1912.",
        "The city bought the bells from a foundry in Basel for 900 pounds.",
        "The city bought the bells from a foundry in Dresden for 900 pounds.",
        "Anna Berg led the restoration of the roof before a fire in 1912.",
        "A market is held at the east door every Friday.",
        "A market is held at the west door every Sunday.",
        "The tower is 98 kilometres high.",
        "The tower is not 98 metres high.",
    ],
)
def test_another_name_date_word_or_unit_in_a_sentence_of_the_paragraph_is_not_borne_out(wrong: str) -> None:
    assert not accepts(wrong, CATHEDRAL)


@pytest.mark.parametrize(
    "right",
    [
        "Peter Vogel designed the north tower of the cathedral in 1388.",
        "In 1388 Peter Vogel designed the cathedral's north tower.",
        "According to the document, the city bought the bells from a foundry in Leipzig for 900 pounds.",
        "The tower is 98 metres high, and the city bought the bells from a foundry in Leipzig.",
        "Every Friday, a market is held at the west door.",
        "The tower has a height of 98 metres.",
    ],
)
def test_a_paraphrase_of_one_or_two_sentences_is_borne_out(right: str) -> None:
    assert accepts(right, CATHEDRAL)


def test_numbers_are_the_same_however_they_are_written() -> None:
    assert numbers_in("3,000 and 29.5, 1.3 s in 2027.") == {"3000", "295", "13", "2027"}
    assert numbers_in("3.000 und 29,5; 1,3 s in 2027,") == {"3000", "295", "13", "2027"}
    assert numbers_in("3 000 m") == {"3000"}
    assert numbers_in("none") == frozenset()
