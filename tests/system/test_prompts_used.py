"""Each of the shared prompts is sent to a model server in a turn of a shipped agent.

The server is a scripted strong model. The test checks that the requests to the server contain the fixed text of each
prompt's file, word for word.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from responsa.chat.v1 import turn_pb2
from responsa_server.agents.config.files import SHIPPED
from tests.instance import eventually
from tests.system.conftest import Bench
from tests.wire.lab import Plug, purpose

TUTOR, CHAT = "tutor-lab", "chat-lab"
# The summary covers messages that are older than the history. The history is short here, so that three questions are enough.
CHANGES = {'chain = ["default"]': 'chain = ["alpha:strong"]', "messages = 10": "messages = 2"}


@pytest.fixture(scope="module")
def strong(bench: Bench) -> Iterator[Bench]:
    """The bench with the shipped agents, whose model server is a scripted strong model."""
    bench.lab.plug(Plug.STRONG)
    bench.copied("tutor", TUTOR, CHANGES)
    bench.copied("chat", CHAT, CHANGES)
    eventually(lambda: all(map(bench.version, (TUTOR, CHAT))), lambda: bench.instance.log("server")[-2000:])
    yield bench
    bench.lab.plug()
    for name in (TUTOR, CHAT):
        shutil.rmtree(bench.agents / name)


def purposes(bench: Bench, question: str, agent: str, conversation: str = "") -> tuple[Counter[str], str]:
    """The prompts that were sent to the model in an answered turn, and the turn's conversation."""
    bodies = bench.lab.stations[0].asked
    bodies.clear()
    given = golden(agent)["parameters"]
    started, end = bench.ask_in(question, agent, conversation, **given)
    assert end.WhichOneof("event") == "answer", end
    assert end.answer.model == "alpha:strong", end
    # No prompt depends on whether a busy machine searches by words alone.
    assert {one.kind for one in end.answer.fallbacks} <= {turn_pb2.FALLBACK_KIND_TEXT_ONLY}, end
    used = Counter(map(purpose, bodies))
    return used, started.conversation


def golden(agent: str) -> Any:
    return yaml.safe_load((SHIPPED / agent.removesuffix("-lab") / "golden.yaml").read_text(encoding="utf-8"))


def test_a_talk_with_chat(strong: Bench) -> None:
    """The test asks a question, a follow-up, and a third question, for which there are earlier messages to summarise."""
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
    # The instructions for every answer begin with the system prompt, which contains the persona.
    system = (SHIPPED / "shared/prompts/parts/system.md").read_text(encoding="utf-8")
    fixed = [line for line in system.splitlines() if len(line) > 20 and "{" not in line]
    (written,) = [one for one in strong.lab.stations[0].asked if purpose(one) == "response_synthesis"]
    said = str(written["messages"][0]["content"])
    assert fixed
    assert all(one in said for one in fixed)
    assert "You teach biology" in said
