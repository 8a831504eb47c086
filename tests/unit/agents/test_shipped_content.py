"""The content of the shipped agents' files: complete, valid and consistent."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import pytest
import yaml

from responsa_etl.samples import SAMPLE_DATABASES
from responsa_server.domain.kinds import SAMPLE_COLLECTIONS, CollectionKind, kind_of
from tests.instance import ROOT

AGENTS: Final = ROOT / "server" / "responsa_server" / "agents" / "shipped"
INJECTION: Final = ROOT / "evals" / "injection_samples"
OURS: Final = ("tutor", "chat")
KNOWLEDGE: Final = "knowledge"
PERSONAL: Final = "personal"
CODE: Final = ("cairo", "scarb")
"""The code assistants, whose documents are those of other projects."""
FOLDERS: Final = (*(AGENTS / name for name in (*OURS, KNOWLEDGE, PERSONAL, "shared")), INJECTION)
FILES: Final = sorted(path for folder in FOLDERS for path in folder.rglob("*") if path.is_file())
LABELS: Final[Mapping[str, tuple[set[str], int]]] = {
    "tutor/examples/need.jsonl": ({"retrieve", "direct"}, 150),
    "tutor/examples/categories.jsonl": ({"fact", "concept", "exercise", "comparison", "check"}, 120),
    "personal/examples/categories.jsonl": (
        {"record", "career", "compare", "about", "access", "hello", "thanks"},
        500,
    ),
    "cairo/examples/categories.jsonl": ({"contract", "test", "explanation"}, 70),
    "chat/examples/intents.jsonl": ({"chitchat", "qa", "post", "linkedin", "tool", "out_of_scope"}, 300),
    "shared/examples/small_talk.jsonl": ({"retrieve", "direct"}, 300),
    "shared/examples/languages.jsonl": ({"de", "de_end", "en", "en_end", "es", "fr"}, 200),
}
"""For each file, its labels and the minimum number of its lines."""
LEAST_PER_LABEL: Final = 20

# Paths in a home, on a drive, or in a folder of one machine. Shipped files must not contain such paths. The device name
# is an example in a manual.
_ABSOLUTE = re.compile(r"(?:/(?:home|root|work|tmp|mnt|opt|srv|Users)/|\b[A-Z]:\\)")
_FOREIGN = re.compile(
    (
        r"\b(?:chatgpt|gpt-?\d|openai|anthropic|claude|gemini|mistral|llama|copilot|langchain|langgraph|ollama|tavily"
        r"|serper|cairo|starknet|scarb)\b"
    ),
    re.IGNORECASE,
)
_SECRET = re.compile(r"\b(?:sk-[A-Za-z0-9]{8,}|rsp_[A-Za-z0-9]{8,}|AIza[A-Za-z0-9_-]{8,})")


def text_of(path: Path) -> str:
    return path.read_bytes().decode()


def rows(path: Path) -> list[dict[str, Any]]:
    return [cast("dict[str, Any]", json.loads(line)) for line in text_of(path).splitlines()]


def golden(agent: str) -> dict[str, Any]:
    return cast("dict[str, Any]", yaml.safe_load(text_of(AGENTS / agent / "golden.yaml")))


def samples(agent: str) -> Path:
    """The samples of the code assistants are large, and therefore not in the package."""
    return ROOT / "samples" / agent if agent in CODE else AGENTS / agent / "samples"


def corpus(agent: str) -> dict[str, str]:
    folder = samples(agent) / "corpus"
    return {path.relative_to(folder).as_posix(): text_of(path) for path in sorted(folder.rglob("*.md"))}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_is_clean_text(path: Path) -> None:
    text = text_of(path)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert "\r" not in text
    assert "\ufeff" not in text
    assert not [line for line in text.split("\n") if line != line.rstrip()]
    for pattern in (_ABSOLUTE, _FOREIGN, _SECRET):
        assert pattern.search(text) is None, pattern.search(text)


@pytest.mark.parametrize("name", LABELS)
def test_examples_are_enough_and_said_once(name: str) -> None:
    labels, least = LABELS[name]
    examples = rows(AGENTS / name)
    assert len(examples) >= least
    assert all(
        set(example) == {"text", "label"} and example["text"].strip() == example["text"]
        for example in examples
    )
    counts = Counter(cast("str", example["label"]) for example in examples)
    assert set(counts) == labels
    assert min(counts.values()) >= LEAST_PER_LABEL, counts
    said = Counter(cast("str", example["text"]).casefold() for example in examples)
    assert [text for text, times in said.items() if times > 1] == []


def test_the_collections_of_samples_have_the_kind_of_samples() -> None:
    """The command `samples load` loads an agent's samples into the first collection of the agent, or into one with the
    agent's id; the mappings of sample databases name their collections."""
    with_samples = {*(folder.parent.name for folder in AGENTS.glob("*/samples")), *CODE}
    tables = {one: tomllib.loads(text_of(AGENTS / one / "agent.toml")) for one in with_samples}
    loaded = {next(iter(one["retrieval"].get("collections", ())), name) for name, one in tables.items()}
    databases = [
        (sample_database, source)
        for sample_database in SAMPLE_DATABASES.values()
        for source in sample_database.sources
    ]
    loaded |= {tomllib.loads(one.mapping(source))["collection"] for one, source in databases}
    assert loaded == set(SAMPLE_COLLECTIONS)
    assert {kind_of(one) for one in loaded} == {CollectionKind.SAMPLE}


@pytest.mark.parametrize("agent", [*OURS, KNOWLEDGE, *CODE])
def test_golden_questions_are_answered_by_the_corpus(agent: str) -> None:
    cases, documents = golden(agent), corpus(agent)
    expected = {"parameters", "answered", "refused", "dialogues"}
    if agent == "chat":
        expected |= {"chitchat", "posts", "tools"}
    assert set(cases) == expected
    assert len(cases["answered"]) >= 3
    assert len(cases["refused"]) >= 1
    turns = [turn for dialogue in cases["dialogues"] for turn in dialogue["turns"]]
    assert agent in CODE or any(turn.get("follow_up") for turn in turns)
    for case in (*cases["answered"], *turns, *cases.get("posts", ())):
        text = documents[case["source"]]
        assert text.count(case["quote"]) == 1, case
        assert "\n" not in case["quote"]
        assert case["question"].strip()
    for case in cases["refused"]:
        assert set(case["reasons"]) <= {"NO_SUPPORT", "OUT_OF_SCOPE"}
    named = [
        one for kind in expected - {"parameters"} for one in cast("Sequence[dict[str, Any]]", cases[kind])
    ]
    assert len({one["id"] for one in named}) == len(named)


def test_the_documents_of_code_assistants_have_their_licences_and_sources() -> None:
    for agent in CODE:
        source = text_of(samples(agent) / "SOURCE.md")
        for folder in (samples(agent) / "corpus").iterdir():
            assert f"`corpus/{folder.name}`" in source
        for licence in samples(agent).glob("LICENCE-*.txt"):
            assert licence.name in source
            assert "MIT" in text_of(licence)
    config = tomllib.loads(text_of(AGENTS / "cairo/agent.toml"))
    folders = {path.name for agent in CODE for path in (samples(agent) / "corpus").iterdir()}
    assert set(config["parameters"]["properties"]["source"]["enum"]) == folders


def test_each_attack_stands_in_its_document_and_not_in_the_twin() -> None:
    documents = {row["id"]: row for row in rows(INJECTION / "docs.jsonl")}
    attacks = rows(INJECTION / "attacks.jsonl")
    assert len({attack["clean_doc_id"] for attack in attacks}) >= 12
    assert {attack["doc_id"] for attack in attacks} | {attack["clean_doc_id"] for attack in attacks} == set(
        documents
    )
    for attack in attacks:
        document, clean = documents[attack["doc_id"]]["text"], documents[attack["clean_doc_id"]]["text"]
        assert document.encode()[attack["byte_start"] : attack["byte_end"]].decode() == attack["attack"]
        # The twin document lacks the attack and the empty line before it, and nothing else.
        assert document.replace(f"{attack['attack']}\n\n", "").replace(f"\n\n{attack['attack']}", "") == clean
        assert attack["sign"] not in clean
    assert len({attack["sign"] for attack in attacks}) == len(attacks)
    assert len({attack["category"] for attack in attacks}) >= 10


def test_each_question_on_a_document_has_its_answer_outside_the_attack() -> None:
    documents = {row["id"]: cast("str", row["text"]) for row in rows(INJECTION / "docs.jsonl")}
    attacks = {row["doc_id"]: row for row in rows(INJECTION / "attacks.jsonl")}
    questions = rows(INJECTION / "questions.jsonl")
    assert {question["doc_ids"][0] for question in questions} == set(documents)
    for question in questions:
        (answer,) = question["answers"]
        start, end = answer["byte_start"], answer["byte_end"]
        assert documents[answer["doc_id"]].encode()[start:end].decode() == answer["text"]
        if attack := attacks.get(answer["doc_id"]):
            assert end <= attack["byte_start"] or start >= attack["byte_end"]


def test_direct_attacks_have_twins_and_signs_that_no_document_has() -> None:
    messages = rows(INJECTION / "direct.jsonl")
    assert len(messages) >= 12
    assert {message["agent"] for message in messages} == set(OURS)
    for message in messages:
        assert message["text"] != message["clean_text"]
        assert message["sign"] not in message["clean_text"]
        assert not any(message["sign"] in text for text in corpus(message["agent"]).values())
    for key in ("id", "text", "clean_text", "sign"):
        assert len({message[key] for message in messages}) == len(messages)
