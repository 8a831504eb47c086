"""The questions that README, docs, clients and agents show as examples are answered in the first passage that a reader sees."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import pytest

from responsa_client import Responsa
from responsa_server.agents.config.files import SHIPPED
from tests.docs.reader import block_with
from tests.instance import ROOT, Instance


class Answered(NamedTuple):
    """The label: words that stand in the first passage. agent: who is asked."""

    label: str
    agent: str = "default"


ANSWERED: Final[Mapping[str, Answered]] = {
    "How do I load a folder?": Answered("`responsa ingest FOLDER`"),
    "And a single file?": Answered("name a single file"),
    "Who may cancel a turn?": Answered("owner and administrators of the tenant may cancel the turn"),
    "How does a client continue after a lost connection?": Answered("reconnect and continue by themselves"),
    "How many chromosomes does a human body cell have?": Answered("46 chromosomes", "tutor"),
    "Explain photosynthesis to me.": Answered("build sugar out of carbon dioxide and water", "tutor"),
    "Why does the moon have phases?": Answered("the Sun lights up only one half of it", "tutor"),
    "How do I solve a quadratic equation?": Answered("Three ways to solve one", "tutor"),
    "How long does the battery of Wren 2 last?": Answered("lasts about 18 months", "chat"),
    "What does the Plus plan cost?": Answered("3.90 euros a month", "chat"),
    "How far in advance must I book a business trip?": Answered("at least 14 days in advance", "knowledge"),
    "How many days of holiday do full-time staff have?": Answered("28 days of holiday a year", "knowledge"),
    "How long do I keep the receipts of a trip?": Answered("Keep the receipts", "knowledge"),
    "What is my score in spatial reasoning?": Answered("spatial reasoning (133 points)", "personal"),
    "Which careers suit me, and why?": Answered("suits Mira Holt because", "personal"),
    "What are my strengths?": Answered("is strong in openness", "personal"),
    "How do I read my results?": Answered("100 points are the average", "personal"),
    "Write a contract with a constructor that sets the owner.": Answered("fn constructor(", "cairo"),
    "Test that a function panics with the expected message.": Answered("#[should_panic", "cairo"),
    "What is a snapshot?": Answered("immutable view of a value", "cairo"),
    "How do I remove a dependency from my project?": Answered("simply remove related lines", "scarb"),
    "What does a tilde mean in a version requirement?": Answered("Tilde requirements specify", "scarb"),
    "How do I run a custom script?": Answered("scarb run", "scarb"),
}
CHOSEN: Final[Mapping[str, str]] = {"default": "responsa-docs", "chat": "chat", "knowledge": "knowledge"}
"""The collections that these agents are told to search: without it, they search samples and Responsa's documentation only if
there is nothing else."""
CODE: Final = ("cairo", "scarb")
"""Their samples take minutes to load, so `make soak` asks them."""
OTHERS: Final[Mapping[str, str]] = {
    "How do I get my expenses back?": "tests/docs/test_pages.py",
    "When do I hand in the receipts of a trip?": "tests/docs/test_pages.py",
    "And after meiosis?": "tests/docs/test_pages.py",
    "When do the eels come?": "tests/docs/test_pages.py",
    "What was the homework in the lesson of 2026-09-14?": "tests/docs/test_pages.py",
    "How many seats are left for Hamlet tonight?": "tests/docs/test_pages.py",
    "How many days of leave does everybody have?": "tests/docs/test_pages.py",
    "When is the library open on Saturdays?": "tests/system/test_tutorial.py",
    "Who painted the ceiling of the Sistine Chapel?": "tests/system/test_tutorial.py",
    "Are dogs allowed in the library?": "tests/system/test_tutorial.py",
    "How long may I keep a book?": "tests/system/test_tutorial.py",
    "Still there?": "tests/system/test_tutorial.py",
    "Where does the key of the bicycle shed hang?": "tests/clients/drivers.py",
    "What is 347 times 12?": "a tool's",
    "What do 7 tickets at 34.50 euros cost?": "a tool's",
    "what can you do?": "small talk",
    "Who won the match?": "an example for a classifier",
    "How do I clean the garden camera?": "a row of an evaluation",
    "Forgot your password?": "a button",
    "agnet: there is no such field; did you mean agent?": "an error",
}
"""The questions about other documents, with the test that asks them, and texts that nobody asks the documents."""
LOADING_SECONDS: Final = 900
_QUOTED: Final = re.compile(r'["“]([^"“”\n]{4,160}\?)["”]')
FILES: Final = (
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "maintainers").glob("*.md")),
    *sorted((ROOT / "clients").glob("*/README.md")),
    *sorted(path for path in (ROOT / "clients").glob("*/example*") if path.is_file()),
    *sorted(path for path in (ROOT / "clients").glob("*/example*/*") if path.is_file()),
)


def of_cards() -> Iterator[tuple[str, str]]:
    """The questions that the page suggests to ask each shipped agent, and the agent."""
    for file in sorted(SHIPPED.glob("*/agent.toml")):
        for question in tomllib.loads(file.read_text(encoding="utf-8")).get("questions", ()):
            # Only a model writes posts.
            if not question.startswith("Write a LinkedIn post"):
                yield question, file.parent.name


def test_every_question_that_is_shown_has_a_row() -> None:
    shown = {one for file in FILES for one in _QUOTED.findall(file.read_text(encoding="utf-8"))}
    asked = {question for question, _ in of_cards()}
    assert shown | asked == ANSWERED.keys() | OTHERS.keys()
    assert not ANSWERED.keys() & OTHERS.keys()
    assert [place for place in OTHERS.values() if "/" in place and not (ROOT / place).is_file()] == []
    assert [one for one in of_cards() if ANSWERED[one[0]].agent != one[1]] == []


@pytest.fixture(scope="module")
def asking(manual: Instance) -> Iterator[Mapping[str, Responsa]]:
    """Clients that ask each agent: of Mira Holt for her own record, else of the administrator."""
    manual.run("samples", "load", "chat", "knowledge", "tutor")
    manual.run("mira.holt", module="responsa_etl.samples")
    own = (manual.home / "people" / "mira.holt.key").read_text(encoding="ascii").strip()
    with Responsa(manual.url, api_key=manual.key) as client, Responsa(manual.url, api_key=own) as mira:
        yield dict.fromkeys((one.agent for one in ANSWERED.values()), client) | {"personal": mira}
        for sample in ("chat", "knowledge", "tutor"):  # the pages ask about their own documents
            client.delete_collection(f"collections/{sample}", force=True)


def first(client: Responsa, question: str, agent: str) -> str:
    """The text of the first passage that answers the question."""
    parameters = {"teacher_id": "62f746b4-84e6-4ceb-95bd-447e7184d454"} if agent == "tutor" else {}
    collections = [CHOSEN[agent]] if agent in CHOSEN else []
    turn = client.answer(question, collections=collections, agent=f"agents/{agent}", parameters=parameters)
    answer = turn.terminal_event.answer
    return answer.excerpts[0].markdown if answer.excerpts else answer.text


@pytest.mark.parametrize("question", [one for one, row in ANSWERED.items() if row.agent not in CODE])
def test_the_first_passage_answers(question: str, asking: Mapping[str, Responsa]) -> None:
    label, agent = ANSWERED[question]
    assert label in first(asking[agent], question, agent)


@pytest.mark.soak
def test_the_first_section_answers(manual: Instance, asking: Mapping[str, Responsa]) -> None:
    load, *questions = block_with(ROOT / "docs" / "agents.md", "samples load cairo scarb").splitlines()
    subprocess.run(
        manual.command(*shlex.split(load)[1:], "--from", str(ROOT / "samples")),
        env=manual.environment,
        timeout=LOADING_SECONDS,
        check=True,
    )
    for question in questions:
        assert "[1]" in manual.run(*shlex.split(question)[1:]).stdout, question
    wrong = [
        (question, label)
        for question, (label, agent) in ANSWERED.items()
        if agent in CODE and label not in first(asking[agent], question, agent)
    ]
    assert wrong == []
