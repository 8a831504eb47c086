"""The six prompts that come for all agents: each is what a model's server really reads, in a turn of an agent that comes with Responsa.

The server plays a strong model, and the test checks its requests: their text is in the prompt's file, word for word.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from responsa_server.agents.config.files import SHIPPED
from tests.instance import eventually
from tests.system.conftest import Bench
from tests.wire.lab import Plug, purpose

TUTOR, CHAT = "tutor-lab", "chat-lab"
# The summary is of what is older than the history, which is short here so that a talk of three questions has such.
CHANGES = {'chain = ["default"]': 'chain = ["alpha:strong"]', "messages = 10": "messages = 2"}


@pytest.fixture(scope="module")
def strong(bench: Bench) -> Iterator[Bench]:
    """The bench with the agents that come with the server, asking a server that plays a strong model."""
    bench.lab.plug(Plug.STRONG)
    for name in (TUTOR, CHAT):
        bench.copied(name.removesuffix("-lab"), name, CHANGES)
    eventually(lambda: all(map(bench.version, (TUTOR, CHAT))), lambda: bench.instance.log("server")[-2000:])
    yield bench
    bench.lab.plug()
    for name in (TUTOR, CHAT):
        shutil.rmtree(bench.agents / name)


def purposes(bench: Bench, question: str, agent: str, conversation: str = "") -> tuple[Counter[str], str]:
    """By which prompts the model was asked in a turn that was answered, and the turn's conversation."""
    asked = bench.lab.stations[0].asked
    asked.clear()
    given = golden(agent)["parameters"]
    started, end = bench.told(question, agent, conversation, **given)
    assert end.WhichOneof("event") == "answer", end
    assert end.answer.model == "alpha:strong", end
    assert not end.answer.fallbacks, end
    return Counter(map(purpose, asked)), started.conversation


def golden(agent: str) -> Any:
    return yaml.safe_load((SHIPPED / agent.removesuffix("-lab") / "golden.yaml").read_text(encoding="utf-8"))


def test_a_talk_with_chat(strong: Bench) -> None:
    """A question, a follow-up, and one more, before which there is something to sum up."""
    first, second = (one["question"] for one in golden(CHAT)["dialogues"][0]["turns"])
    used, talk = purposes(strong, first, CHAT)
    assert used == Counter(["intent_classification", "response_synthesis"])
    used, _ = purposes(strong, second, CHAT, talk)
    assert used == Counter(["intent_classification", "kb_search_query", "response_synthesis"])
    used, _ = purposes(strong, golden(CHAT)["answered"][0]["question"], CHAT, talk)
    assert used == Counter(["intent_classification", "conversation_summary", "response_synthesis"])


def test_a_question_to_the_tutor(strong: Bench) -> None:
    used, _ = purposes(strong, golden(TUTOR)["answered"][0]["question"], TUTOR)
    assert used == Counter(
        ["retrieval_need", "question_category", "query_expansion", "response_synthesis"]
    ), used
    # The system prompt is what every answer's instructions begin with; the persona stands in it.
    system = (SHIPPED / "shared/prompts/parts/system.md").read_text(encoding="utf-8")
    fixed = [one for one in system.splitlines() if len(one) > 20 and "{" not in one]
    (written,) = [one for one in strong.lab.stations[0].asked if purpose(one) == "response_synthesis"]
    said = str(written["messages"][0]["content"])
    assert fixed
    assert all(one in said for one in fixed)
    assert "You teach biology" in said
