"""Conversations over the documents of evals/talks: follow-ups that need what was said before, and questions that do not."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest
from responsa_server.agents.nodes.quoting import Grade, GradeInput

from responsa_server.agents.engine.node import Run
from responsa_server.agents.engine.state import Said
from responsa_server.agents.nodes.searching import Retrieve, RetrieveInput, Rewrite, RewriteInput
from responsa_server.domain.answers import Extraction
from responsa_server.domain.conversations import Speaker
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.search.answering import LibraryEvidence
from responsa_server.search.embedder import Embedder
from responsa_server.stores.postgres.database import Database
from tests.contract.conftest import People
from tests.contract.shelf import Shelf, retriever_of
from tests.contract.test_degraded_search import Failing

TALKS: Final = Path(__file__).parents[2] / "evals" / "talks"
FEWEST: Final = {True: 91, False: 79}
"""The least number of right outcomes of the 95 questions, with vectors and without. It is a little lower than the present number, because processors round vectors differently."""


async def put_documents(shelf: Shelf) -> None:
    """Stores each section of each document, and each row of its tables as a sentence."""
    for path in sorted((TALKS / "documents").glob("*.md")):
        title, *sections = path.read_text(encoding="utf-8").split("\n## ")
        title, _, introduction = title.removeprefix("# ").partition("\n")
        for text in (introduction, *(one.partition("\n")[2] for one in sections)):
            rows = [line.strip("| ") for line in text.splitlines() if "---" not in line]
            if plain := "\n".join(row.replace(" | ", ": ") for row in rows).strip():
                await shelf.put(plain, "talks", title)


async def asked(evidence: LibraryEvidence, people: People, question: str, said: list[Said]) -> Extraction:
    """What the default agent finds for a question without a model. The question and its answer are added to `said`."""
    run = Run(people.ann, lambda _: None, lambda _: None)
    rewritten = await Rewrite().process(RewriteInput(question=question, history=tuple(said)), run)
    given = {"question": question, "standalone_question": rewritten.standalone_question}
    found = await Retrieve(evidence).process(RetrieveInput.model_validate(given), run)
    graded = await Grade(evidence).process(
        GradeInput.model_validate({**given, "evidence": found.evidence}), run
    )
    extraction = graded.extraction
    said.append(Said(speaker=Speaker.USER, text=question))
    said.append(
        Said(
            speaker=Speaker.ASSISTANT,
            text=" ".join(one.text for one in extraction.quotes),
            refused=not extraction.supported,
            titles=(extraction.quotes[0].passage.title,) if extraction.supported else (),
        )
    )
    return extraction


def right(turn: dict[str, Any], found: Extraction) -> bool:
    if turn.get("refused"):
        return not found.supported
    return found.supported and any(turn["says"] in one.text for one in found.quotes)


@pytest.mark.parametrize("vectors", [True, False], ids=["vectors", "words"])
async def test_talks_are_answered(
    vectors: bool, database: Database, embedder: MiniLmEmbedder, people: People
) -> None:
    await put_documents(Shelf(database, embedder))
    searched: Embedder = embedder if vectors else Failing(embedder)
    evidence = LibraryEvidence(retriever_of(database, searched, search_seconds=60.0))
    outcomes, others = Counter[str](), list[str]()
    for line in (TALKS / "talks.jsonl").read_text(encoding="utf-8").splitlines():
        talk, said = json.loads(line), list[Said]()
        for turn in talk["turns"]:
            found = await asked(evidence, people, turn["question"], said)
            if right(turn, found):
                outcomes[turn["kind"]] += 1
            else:
                outcomes["wrong answers"] += found.supported
                others.append(f"{talk['id']}: {turn['question']}")
    print(dict(outcomes), others)
    assert outcomes.total() - outcomes["wrong answers"] >= FEWEST[vectors]


@pytest.mark.parametrize("vectors", [True, False], ids=["vectors", "words"])
async def test_what_was_said_before_never_lowers_an_answer_to_a_refusal(
    vectors: bool, database: Database, embedder: MiniLmEmbedder, people: People
) -> None:
    await put_documents(Shelf(database, embedder))
    searched: Embedder = embedder if vectors else Failing(embedder)
    evidence = LibraryEvidence(retriever_of(database, searched, search_seconds=60.0))
    supported = 0
    for line in (TALKS / "talks.jsonl").read_text(encoding="utf-8").splitlines():
        said = list[Said]()
        for turn in json.loads(line)["turns"]:
            found = await asked(evidence, people, turn["question"], said)
            alone = await asked(evidence, people, turn["question"], [])
            if turn["kind"] == "alone" and alone.supported:
                supported += 1
                assert found.supported, line
                assert found.support >= alone.support, line
    assert supported > 20
