"""`responsa eval dialogues`: the decisions, the searches, and the counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from responsa.knowledge.v1 import document_pb2, knowledge_service_pb2
from responsa_lab.evaluation.dialogues import Dialogue, Measured, report
from responsa_lab.evaluation.local import Decided
from tests.clients.agents_served import ServedAgents
from tests.clients.command_line import CommandLine
from tests.clients.library import Kept, ScriptedLibrary
from tests.clients.scripted import KNOWLEDGE, Context, Scripted

SAID = [
    {"speaker": "user", "text": "At what temperature does water boil at normal air pressure?"},
    {"speaker": "assistant", "text": "Water boils at 100 °C there."},
]
DIALOGUES: list[dict[str, Any]] = [
    {"id": "alone", "agent": "tutor", "turns": [], "question": "How many chromosomes does a human cell have?", "needs_retrieval": True, "follow_up": False, "source_key": "cells.md"},
    {"id": "and-it", "agent": "tutor", "turns": SAID, "question": "And on a mountain?", "needs_retrieval": True, "follow_up": True, "source_key": "water.md"},
    {"id": "thanks", "agent": "tutor", "turns": SAID, "question": "Thank you very much!", "needs_retrieval": False, "follow_up": False},
]  # fmt: skip


@pytest.fixture
def served(server: Scripted) -> ServedAgents:
    agents = ServedAgents()
    agents.serve(server)
    return agents


async def test_dialogues_are_decided_and_searched(
    server: Scripted, served: ServedAgents, library: ScriptedLibrary, responsa: CommandLine, tmp_path: Path
) -> None:
    """Only a search that contains the word “water” finds the document on water. The question itself does not contain this word."""
    for number, key in enumerate(("cells.md", "water.md")):
        document = document_pb2.Document(name=f"documents/{number}", source_key=key)
        library.documents["collections/tutor", key] = Kept(document, b"")

    async def search(request: Any, _: Context) -> knowledge_service_pb2.SearchResponse:
        (term,) = request.terms
        assert list(request.scope.collections) == ["collections/tutor"]
        hits: list[document_pb2.Passage] = []
        if "Water" in term or "water" in term:
            hits = [document_pb2.Passage(document="documents/1", title="The states of Water")]
        elif "chromosomes" in term:
            hits = [document_pb2.Passage(document="documents/0", title="Cells")]
        return knowledge_service_pb2.SearchResponse(
            hits=[knowledge_service_pb2.SearchHit(passage=one, score=1) for one in hits]
        )

    server.on(f"{KNOWLEDGE}/Search", search)
    file = tmp_path / "d.jsonl"
    file.write_text("\n".join(json.dumps(one) for one in DIALOGUES))
    library.collections.add("collections/tutor")
    done = await responsa("eval", "dialogues", file, "--json")
    assert (done.code, done.err) == (0, "")
    (line,) = done.lines
    assert line["dialogues"] == 3
    assert (line["need"]["accuracy"], line["need"]["f1"], line["need"]["always"]) == (
        1,
        1,
        pytest.approx(0.6667),
    )
    assert line["followUp"]["accuracy"] == 1
    assert line["rewriting"] == {
        "followUps": figures(1, 0, 1, 0, 1),
        "standAlone": figures(1, 1, 1, 1, 1),
    }
    assert line["agents"]["tutor"] == {name: value for name, value in line.items() if name != "agents"}
    # Without the tutor's sample documents, the dialogues cannot be evaluated.
    library.documents.clear()
    done = await responsa("eval", "dialogues", file)
    assert done.code == 2
    assert "`responsa samples load tutor`" in done.err
    # The agent `default` does not make these two decisions, so its dialogues cannot be measured.
    file.write_text(json.dumps(DIALOGUES[0] | {"agent": "default"}))
    done = await responsa("eval", "dialogues", file, "--no-search", "--json")
    assert done.code == 2
    assert "retrieval_need, intent_router" in done.lines[0]["error"]["message"]


async def test_only_a_message_with_an_intent_that_needs_documents_is_searched_for(
    responsa: CommandLine, tmp_path: Path
) -> None:
    """The counts once took every message without an intent for one that needs a search."""
    asked = {
        "Hello, how are you today?": False,
        "Please book me a seat on the night train to Vienna.": False,
        "How long does the battery of Wren 2 last?": True,
        "Write a LinkedIn post about winter mode.": True,
    }
    file = tmp_path / "d.jsonl"
    file.write_text(
        "\n".join(
            json.dumps({"id": str(place), "agent": "chat", "turns": [], "question": text, "needs_retrieval": needed, "follow_up": False})
            for place, (text, needed) in enumerate(asked.items())
        )
    )  # fmt: skip
    done = await responsa("eval", "dialogues", file, "--no-search", "--json")
    assert (done.code, done.err) == (0, "")
    need = done.lines[0]["need"]
    assert (need["precision"], need["recall"]) == (1, 1)


def figures(
    n: int, first_asked: float, first_rewritten: float, asked: float, rewritten: float
) -> dict[str, float]:
    return {
        "questions": n,
        "recallAt1AsAsked": first_asked,
        "recallAt1Rewritten": first_rewritten,
        "recallAt5AsAsked": asked,
        "recallAt5Rewritten": rewritten,
    }


def measured(decided: Decided, asked: int | None, rewritten: int | None, **changed: Any) -> Measured:
    return Measured(Dialogue.model_validate(DIALOGUES[1] | changed), decided, asked, rewritten)


def test_figures_are_counted_apart() -> None:
    yes, no = Decided(True, True, "x"), Decided(False, False, "x")
    found: Any = report(
        [
            measured(yes, 0, 2),
            measured(no, 0, 0, agent="chat"),
            measured(yes, 1, 0, follow_up=False),
            measured(yes, None, None, needs_retrieval=False, source_key=None, follow_up=False),
        ]
    )
    assert found["need"] == {
        "accuracy": 0.5,
        "f1": 0.6667,
        "precision": 0.6667,
        "recall": 0.6667,
        "always": 0.75,
    }
    # The figures for follow-ups count only messages that need documents.
    assert found["followUp"]["accuracy"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["rewriting"]["followUps"] == figures(2, 0, 0, 0, 0.5)
    assert found["rewriting"]["standAlone"] == figures(1, 1, 0, 1, 0)
    assert list(found["agents"]) == ["chat", "tutor"]
    assert found["agents"]["chat"]["rewriting"]["followUps"]["questions"] == 1
    assert "rewriting" not in report([measured(yes, None, None)])
