"""The content of the shipped agents' files: complete, valid and consistent."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast
from uuid import RFC_4122, UUID

import pytest
import yaml

from responsa_server.agents.engine.declining import NO_ANSWER
from responsa_server.agents.engine.prompts import FrontMatter, Partial, PromptSet, PromptSource, Untrusted
from responsa_server.agents.engine.state import Said
from responsa_server.domain.conversations import Speaker
from responsa_server.domain.kinds import SAMPLE_COLLECTIONS, CollectionKind, kind_of
from responsa_server.domain.models import Provenance
from responsa_server.samples import SAMPLE_DATABASES
from responsa_server.text.synonyms import read_synonyms
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
QUESTIONS: Final = ROOT / "evals" / "code" / "questions.jsonl"
SHARED_PROMPTS: Final = {
    "intent_classification",
    "response_synthesis",
    "conversation_summary",
    "kb_search_query",
    "query_expansion",
    "explanation",
    "tool_selection",
    "web_search_query",
    "api_query_builder",
    "small_talk",
}
PROMPTS: Final[Mapping[str, set[str]]] = {
    "tutor": {"exercise", "greeting", "question_category", "retrieval_need"},
    "chat": {"chitchat", "chitchat_reply", "post"},
    "cairo": {"code_category", "contract", "contract_test"},
    "scarb": set(),
    "knowledge": {"look", "research"},
    "personal": {
        *("own_record", "career", "compare", "about", "record_category"),
        *("hello", "welcome", "access", "no_record", "not_in_record"),
    },
}
REFUSALS: Final = {"no_record", "not_in_record"}
TEMPLATES: Final = {
    *(
        "greeting",
        "hello",
        "welcome",
        "access",
        "chitchat_reply",
        "small_talk",
        *REFUSALS,
    ),
}
"""These templates are texts for people, not prompts for models. They have no user part."""
PARTS: Final = {"system", "citing", "marks", "code", "language", "json", "examples"}
WRITTEN_BY_OTHERS: Final = {"question", "history", "summary", "passages", "parameters", "problem", "query"}
LABELS: Final[Mapping[str, tuple[set[str], int]]] = {
    "tutor/examples/need.jsonl": ({"retrieve", "direct"}, 150),
    "tutor/examples/categories.jsonl": ({"fact", "concept", "exercise", "comparison", "check"}, 120),
    "personal/examples/categories.jsonl": (
        {"record", "career", "compare", "about", "access", "hello", "thanks"},
        500,
    ),
    "cairo/examples/categories.jsonl": ({"contract", "test", "explanation"}, 70),
    "chat/examples/intents.jsonl": ({"chitchat", "qa", "post", "linkedin", "out_of_scope"}, 300),
    "shared/examples/small_talk.jsonl": ({"retrieve", "direct"}, 300),
}
"""For each file, its labels and the minimum number of its lines."""
LEAST_PER_LABEL: Final = 20
CORPUS_BYTES: Final = {"tutor": (2000, 5000), "chat": (2000, 4000), "knowledge": (1000, 2000)}
LEAST_DOCUMENTS: Final = {"tutor": 10, "chat": 10, "knowledge": 4}
FILLED: Final[Mapping[str, object]] = {
    "agent": "Agent",
    "persona": "You are patient.",
    "language": "German",
    "without_retrieval": "I could not reach the documents.",
    "no_answer": NO_ANSWER,
    "without_model": "No language model is configured",
    "teacher": "Ms Ashdown",
    "title": "Notes",
    "most": 3,
    "formats": "{}",
    "categories": ["chitchat", "qa", "post", "linkedin"],
    "questions": ["What is it?", "Why?"],
    "examples": [{"text": "Hello!", "label": "chitchat"}],
    "tool": "time: Tells the time.",
    "tools": [{"name": "time", "description": "Tells the time."}],
}
"""A value for every variable that does not contain texts of users, documents or models."""

# Paths in a home, on a drive, or in a folder of one machine. Shipped files must not contain such paths. The device name
# is an example in a manual.
_ABSOLUTE = re.compile(r"(?:/(?:home|root|work|tmp|mnt|opt|srv|Users)/|\b[A-Z]:\\)")
_FOREIGN = re.compile(
    r"\b(?:chatgpt|gpt-?\d|openai|anthropic|claude|gemini|mistral|llama|copilot|langchain|langgraph|ollama|tavily|serper|cairo|starknet|scarb)\b",
    re.IGNORECASE,
)
_SECRET = re.compile(r"\b(?:sk-[A-Za-z0-9]{8,}|rsp_[A-Za-z0-9]{8,}|AIza[A-Za-z0-9_-]{8,})")


def text_of(path: Path) -> str:
    return path.read_bytes().decode()


def rows(path: Path) -> list[dict[str, Any]]:
    return [cast("dict[str, Any]", json.loads(line)) for line in text_of(path).splitlines()]


def golden(agent: str) -> dict[str, Any]:
    return cast("dict[str, Any]", yaml.safe_load(text_of(AGENTS / agent / "golden.yaml")))


def teachers() -> list[dict[str, Any]]:
    return cast(
        "list[dict[str, Any]]", tomllib.loads(text_of(AGENTS / "tutor/samples/teachers.toml"))["teachers"]
    )


def samples(agent: str) -> Path:
    """The samples of the code assistants are large, and therefore not in the package."""
    return ROOT / "samples" / agent if agent in CODE else AGENTS / agent / "samples"


def corpus(agent: str) -> dict[str, str]:
    folder = samples(agent) / "corpus"
    return {path.relative_to(folder).as_posix(): text_of(path) for path in sorted(folder.rglob("*.md"))}


def source_of(path: Path) -> PromptSource:
    opening, front, body = text_of(path).split("+++\n", 2)
    assert opening == "", path
    return PromptSource(path.name, FrontMatter.model_validate(tomllib.loads(front)), body)


def prompts_of(agent: str) -> PromptSet:
    folders = (AGENTS / "shared/prompts", AGENTS / agent / "prompts")
    partials = {
        f"parts/{path.name}": Partial(path.name, text_of(path))
        for folder in folders
        for path in (folder / "parts").glob("*.md")
    }
    files = [path for folder in folders for path in folder.glob("*.md")]
    return PromptSet({path.stem: source_of(path) for path in files}, partials)


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


@pytest.mark.parametrize("agent", [*OURS, KNOWLEDGE, PERSONAL, *CODE])
def test_an_agents_file_names_what_is_there(agent: str) -> None:
    config = tomllib.loads(text_of(AGENTS / agent / "agent.toml"))
    nodes = cast("dict[str, dict[str, Any]]", config["nodes"])
    edges = cast("list[dict[str, Any]]", config["graph"]["edges"])
    assert {edge["from"] for edge in edges} | {edge["to"] for edge in edges} == {*nodes, "finish"}
    assert config["start"] in nodes
    there = {path.stem for folder in (agent, "shared") for path in (AGENTS / folder / "prompts").glob("*.md")}
    for node in nodes.values():
        prompt = cast("str | dict[str, str]", node.get("prompt", node.get("template", {})))
        table = {"default": prompt} if isinstance(prompt, str) else prompt
        named = {one for key, one in table.items() if key != "by"}
        assert named <= there, node
        if examples := node.get("examples"):
            assert {f"{agent}/{examples}", f"shared/{examples}"} & set(LABELS)
    for name in nodes:
        ways = [edge for edge in edges if edge["from"] == name and "on" not in edge]
        assert all("when" in edge for edge in ways[:-1])
        assert not ways or "when" not in ways[-1], f"{name} has no way out when nothing fits"
    searched = {
        "chat": {},
        "tutor": {"collections": ["tutor"]},
        "cairo": {"collections": ["cairo", "scarb"]},
        "scarb": {"collections": ["scarb"]},
        "knowledge": {},
        "personal": {"subject": "caller", "collections": ["aptitude-catalogues"]},
    }
    assert config["retrieval"].items() >= searched[agent].items()
    assert len(config["questions"]) == 3


def test_the_prompts_are_those_that_are_promised() -> None:
    def stems(folder: str) -> set[str]:
        return {path.stem for path in (AGENTS / folder).glob("*.md")}

    assert stems("shared/prompts") == SHARED_PROMPTS
    assert stems("shared/prompts/parts") == PARTS
    for agent, names in PROMPTS.items():
        assert stems(f"{agent}/prompts") == names


@pytest.mark.parametrize("agent", [*OURS, KNOWLEDGE, PERSONAL, *CODE])
def test_prompts_are_sound_and_use_what_they_declare(agent: str) -> None:
    prompts = prompts_of(agent)
    assert prompts.broken == {}
    for name in prompts.names:
        uses, declared = prompts.variables(name), prompts.front(name).variables
        assert uses.system | uses.user == set(declared), name
        assert set(declared) <= WRITTEN_BY_OTHERS | set(FILLED), name
        assert all(len(why) > 10 for why in declared.values()), name
        if name in TEMPLATES:
            assert not uses.user, name
            continue
        assert not uses.system & WRITTEN_BY_OTHERS, name
        assert "question" in uses.user or name == "conversation_summary", name
        assert bool(prompts.front(name).structured) == ("formats" in declared), name


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("agent", [*OURS, KNOWLEDGE, PERSONAL, *CODE])
def test_prompts_can_be_filled_in_with_everything_and_with_nothing(agent: str, full: bool) -> None:
    prompts = prompts_of(agent)
    history = [Said(speaker=Speaker.USER, text="Hello"), Said(speaker=Speaker.ASSISTANT, text="Good day")]
    values = {key: value if full else type(value)() for key, value in FILLED.items()}
    for name in prompts.names:
        declared = prompts.front(name).variables
        trusted = {key: value for key, value in values.items() if key in declared}
        if name in TEMPLATES:
            asked = {"question": "What is it?"} if name in REFUSALS and "question" in declared else {}
            told = prompts.text(name, cast("Any", {**trusted, **asked}))
            assert told.strip()[:1].isupper() or not full
            continue
        others = {
            "summary": "They asked before.",
            "parameters": "level: beginner",
            "problem": "It cites nothing.",
        }
        untrusted = Untrusted(
            "What is it?",
            history if full else (),
            ("A passage.",) if full else (),
            others if full else dict.fromkeys(others, ""),
        )
        messages = prompts.render(name, trusted, untrusted, "0123456789ab")
        assert messages[0].place is Provenance.INSTRUCTION
        assert messages[-1].place is Provenance.USER
        assert "What is it?" in messages[-1].text or name == "conversation_summary"
        for one in messages:
            assert "\n\n\n" not in one.text, (name, one.text)
            assert "{%" not in one.text
            assert "{{" not in one.text


@pytest.mark.parametrize("name", LABELS)
def test_examples_are_enough_and_said_once(name: str) -> None:
    labels, least = LABELS[name]
    examples = rows(AGENTS / name)
    assert len(examples) >= least
    assert all(set(one) == {"text", "label"} and one["text"].strip() == one["text"] for one in examples)
    counts = Counter(cast("str", one["label"]) for one in examples)
    assert set(counts) == labels
    assert min(counts.values()) >= LEAST_PER_LABEL, counts
    said = Counter(cast("str", one["text"]).casefold() for one in examples)
    assert [text for text, times in said.items() if times > 1] == []


def test_intents_hold_the_other_word_for_a_post_and_other_languages() -> None:
    examples = rows(AGENTS / "chat/examples/intents.jsonl")
    assert sum("linkedin" in one["text"].casefold() for one in examples if one["label"] == "linkedin") >= 20
    assert not any("linkedin" in one["text"].casefold() for one in examples if one["label"] == "post")
    # The intent must not follow from a single word.
    assert any("linkedin" in one["text"].casefold() for one in examples if one["label"] == "qa")
    for label in ("chitchat", "qa", "post", "out_of_scope"):
        texts = " ".join(one["text"] for one in examples if one["label"] == label)
        for letters in ("äöüß", "ậếốộạả", "éèàêç"):
            assert set(letters) & set(texts.casefold()), (label, letters)


@pytest.mark.parametrize("agent", [*OURS, KNOWLEDGE])
def test_a_corpus_is_of_documents_of_the_right_size(agent: str) -> None:
    documents = corpus(agent)
    least, most = CORPUS_BYTES[agent]
    assert len(documents) >= LEAST_DOCUMENTS[agent]
    for name, text in documents.items():
        assert least <= len(text.encode()) <= most, name
        assert re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*\.md", name)
        titles = re.findall(r"^# .+$", text, re.MULTILINE)
        assert len(titles) == 1, name
        assert text.startswith(titles[0])
        assert len(re.findall(r"\d", text)) >= 8, f"{name} has hardly a figure"
    titles = [text.split("\n", 1)[0] for text in documents.values()]
    assert len(set(titles)) == len(titles)
    sentences = Counter(line for text in documents.values() for line in text.splitlines() if len(line) > 60)
    assert [line for line, times in sentences.items() if times > 1] == []


def test_the_collections_of_samples_have_the_kind_of_samples() -> None:
    """The command `samples load` loads an agent's samples into the first collection of the agent, or into one with the agent's id; the mappings of sample databases name their collections."""
    with_samples = {*(folder.parent.name for folder in AGENTS.glob("*/samples")), *CODE}
    tables = {one: tomllib.loads(text_of(AGENTS / one / "agent.toml")) for one in with_samples}
    loaded = {next(iter(one["retrieval"].get("collections", ())), name) for name, one in tables.items()}
    databases = [(one, source) for one in SAMPLE_DATABASES.values() for source in one.sources]
    loaded |= {tomllib.loads(one.mapping(source))["collection"] for one, source in databases}
    assert loaded == set(SAMPLE_COLLECTIONS)
    assert {kind_of(one) for one in loaded} == {CollectionKind.SAMPLE}


def test_teachers_have_fixed_random_ids() -> None:
    found = teachers()
    assert len(found) >= 4
    for one in found:
        identity = UUID(one["id"])
        assert (str(identity), identity.version, identity.variant) == (one["id"], 4, RFC_4122)
        assert 1 <= len(one["display_name"].encode()) <= 200
        assert 100 <= len(one["persona"].encode()) <= 8192
        assert set(one) == {"id", "display_name", "persona", "parameters"}
        assert set(one["parameters"]) == {"subject", "style"}
    for key in ("id", "display_name", "persona"):
        assert len({one[key] for one in found}) == len(found)


@pytest.mark.parametrize("agent", [*OURS, KNOWLEDGE, *CODE])
def test_golden_questions_are_answered_by_the_corpus(agent: str) -> None:
    cases, documents = golden(agent), corpus(agent)
    expected = {"parameters", "answered", "refused", "dialogues"}
    if agent == "chat":
        expected |= {"chitchat", "posts"}
    assert set(cases) == expected
    assert len(cases["answered"]) >= 3
    assert len(cases["refused"]) >= 1
    turns = [turn for dialogue in cases["dialogues"] for turn in dialogue["turns"]]
    assert agent in CODE or any(turn.get("follow_up") for turn in turns)
    for one in (*cases["answered"], *turns, *cases.get("posts", ())):
        text = documents[one["source"]]
        assert text.count(one["quote"]) == 1, one
        assert "\n" not in one["quote"]
        assert one["question"].strip()
    for one in cases["refused"]:
        assert set(one["reasons"]) <= {"NO_SUPPORT", "OUT_OF_SCOPE"}
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
    folders = {one.name for agent in CODE for one in (samples(agent) / "corpus").iterdir()}
    assert set(config["parameters"]["properties"]["source"]["enum"]) == folders


def test_the_synonyms_of_samples_have_no_mistakes() -> None:
    files = [samples(agent) / "synonyms.txt" for agent in CODE]
    for file in files:
        assert read_synonyms(text_of(file)).mistakes == []


def test_each_question_on_code_names_a_section_of_its_document() -> None:
    documents = {name: text.encode() for agent in CODE for name, text in corpus(agent).items()}
    questions = rows(QUESTIONS)
    assert sum(one["kind"] == "code" for one in questions) >= 40
    assert Counter(one["part"] for one in questions) == {
        "fit": 50,
        "look": 50,
        "fresh": 50,
        "last": 60,
        "blind": 100,
        "blind2": 100,
    }
    for one in questions:
        assert {each["doc_id"] for each in one["answers"]} == set(one["doc_ids"])
        for each in one["answers"]:
            labelled = documents[each["doc_id"]][each["byte_start"] : each["byte_end"]].decode()
            assert labelled.startswith(each["text"])
            assert labelled == labelled.strip()


def test_golden_parameters_name_a_sample_teacher() -> None:
    assert golden("tutor")["parameters"]["teacher_id"] in {one["id"] for one in teachers()}


def test_each_attack_stands_in_its_document_and_not_in_the_twin() -> None:
    documents = {one["id"]: one for one in rows(INJECTION / "docs.jsonl")}
    attacks = rows(INJECTION / "attacks.jsonl")
    assert len({one["clean_doc_id"] for one in attacks}) >= 12
    assert {one["doc_id"] for one in attacks} | {one["clean_doc_id"] for one in attacks} == set(documents)
    for one in attacks:
        document, clean = documents[one["doc_id"]]["text"], documents[one["clean_doc_id"]]["text"]
        assert document.encode()[one["byte_start"] : one["byte_end"]].decode() == one["attack"]
        # The twin document lacks the attack and the empty line before it, and nothing else.
        assert document.replace(f"{one['attack']}\n\n", "").replace(f"\n\n{one['attack']}", "") == clean
        assert one["sign"] not in clean
    assert len({one["sign"] for one in attacks}) == len(attacks)
    assert len({one["category"] for one in attacks}) >= 10


def test_each_question_on_a_document_has_its_answer_outside_the_attack() -> None:
    documents = {one["id"]: cast("str", one["text"]) for one in rows(INJECTION / "docs.jsonl")}
    attacks = {one["doc_id"]: one for one in rows(INJECTION / "attacks.jsonl")}
    questions = rows(INJECTION / "questions.jsonl")
    assert {one["doc_ids"][0] for one in questions} == set(documents)
    for one in questions:
        (answer,) = one["answers"]
        start, end = answer["byte_start"], answer["byte_end"]
        assert documents[answer["doc_id"]].encode()[start:end].decode() == answer["text"]
        if attack := attacks.get(answer["doc_id"]):
            assert end <= attack["byte_start"] or start >= attack["byte_end"]


def test_direct_attacks_have_twins_and_signs_that_no_document_has() -> None:
    messages = rows(INJECTION / "direct.jsonl")
    assert len(messages) >= 12
    assert {one["agent"] for one in messages} == set(OURS)
    for one in messages:
        assert one["text"] != one["clean_text"]
        assert one["sign"] not in one["clean_text"]
        assert not any(one["sign"] in text for text in corpus(one["agent"]).values())
    for key in ("id", "text", "clean_text", "sign"):
        assert len({one[key] for one in messages}) == len(messages)
