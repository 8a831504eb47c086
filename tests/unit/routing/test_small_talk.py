"""What the shipped agents take for small talk: hardly any question about documents, but most greetings, thanks and
questions about the agent itself.

evals/small_talk has messages of both kinds. `choose.jsonl` helped to choose the examples and `sure`; these tests measure the others.
"""

from __future__ import annotations

import json
import re
import tomllib
import zipfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest

from responsa_server.agents.config.files import SHIPPED
from responsa_server.domain.intents import Classified, IntentClassifier
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.routing import stored
from responsa_server.routing.classifier import TrainedClassifier
from tests.instance import ROOT

AGENTS: Final = ("default", "cairo", "scarb", "knowledge")
QUESTIONS: Final = 200
EVALS: Final = ROOT / "evals"
MESSAGES: Final = EVALS / "small_talk"


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def classifier(table: dict[str, Any], embedder: MiniLmEmbedder) -> IntentClassifier:
    """The shipped classifier that a node of an agent uses."""
    examples = (SHIPPED / "shared" / table["examples"]).read_bytes()
    return TrainedClassifier(stored.read(zipfile.Path(stored.SHIPPED), sha256(examples).digest()), embedder)


@pytest.fixture(scope="module")
def nodes() -> dict[str, Any]:
    """The nodes of the default agent, which decide about small talk like those of the other agents."""
    each = [tomllib.loads((SHIPPED / agent / "agent.toml").read_text("utf-8"))["nodes"] for agent in AGENTS]
    for name in ("need", "language"):
        assert len({json.dumps(one[name] | {"status": ""}) for one in each}) == 1, name
    return each[0]


async def talks(
    texts: Sequence[str], nodes: dict[str, Any], embedder: MiniLmEmbedder
) -> dict[str, Classified]:
    """The messages that are taken for small talk."""
    need = classifier(nodes["need"], embedder)
    found = {text: await need.classify(text) for text in texts}
    return {
        text: one
        for text, one in found.items()
        if one.in_scope and one.label == "direct" and one.confidence >= nodes["need"]["sure"]
    }


async def test_hardly_a_question_is_taken_for_small_talk(
    nodes: dict[str, Any], embedder: MiniLmEmbedder
) -> None:
    questions = [
        one["question"]
        for file in sorted((EVALS / "reading").glob("*.jsonl"))
        for one in rows(file)
        if one["kind"] != "off_topic"
    ]
    questions = questions[:: len(questions) // QUESTIONS][:QUESTIONS]
    assert len(questions) == QUESTIONS
    taken = await talks(questions, nodes, embedder)
    assert len(taken) <= 1, taken
    # Many people type only a few words.
    headings = [
        one
        for file in sorted((ROOT / "docs").glob("*.md"))
        for one in re.findall(r"^#+ ([^`?{\n]{2,40})$", file.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    headings.remove("Small talk")
    taken = await talks(headings, nodes, embedder)
    assert len(taken) <= len(headings) / 100, taken
    # Questions that begin with a greeting or thanks, or resemble questions about the agent, in four languages.
    close = [one["text"] for one in rows(MESSAGES / "report.jsonl") if one["label"] == "documents"]
    assert len(close) > 50
    taken = await talks(close, nodes, embedder)
    assert len(taken) <= 1, taken


async def test_most_small_talk_is_recognised_with_its_language(
    nodes: dict[str, Any], embedder: MiniLmEmbedder
) -> None:
    language = classifier(nodes["language"], embedder)
    for code, least in (("en", 0.9), ("de", 0.85), ("fr", 0.4), ("es", 0.6)):
        said = [one["text"] for one in rows(MESSAGES / "report.jsonl") if one.get("language") == code]
        taken = await talks(said, nodes, embedder)
        assert len(taken) >= least * len(said), set(said) - set(taken)
        spoken = {text: await language.classify(text) for text in said}
        german = {text for text, one in spoken.items() if one.in_scope and one.label in ("de", "de_end")}
        # An answer in another language than German is in English.
        wrong = set(said) - german if code == "de" else german
        assert len(wrong) <= 0.1 * len(said), (code, wrong)


def test_no_measured_message_is_an_example(nodes: dict[str, Any]) -> None:
    examples = {one["text"].casefold() for one in rows(SHIPPED / "shared" / nodes["need"]["examples"])}
    assert [
        one["text"]
        for file in MESSAGES.glob("*.jsonl")
        for one in rows(file)
        if one["text"].casefold() in examples
    ] == []
