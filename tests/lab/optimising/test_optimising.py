"""What `responsa optimise` does without DSPy: it reads labelled messages, asks within a budget, and makes versions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
import typer
from pydantic import ValidationError

from responsa.chat.v1 import turn_pb2
from responsa_lab.evaluation.metrics import plain
from responsa_lab.optimising.command import optimise
from responsa_lab.optimising.data import LabelledMessage, LabelledQuestion, LabelledSet, read
from responsa_lab.optimising.messages import Messages, judge
from responsa_lab.optimising.nodes import Answering, TunedNode, find_tunable, rename_prompt
from responsa_lab.optimising.questions import Outcome, Questions, search_of
from responsa_lab.optimising.record import Record, Stopped
from responsa_server.agents.config.build import content_from
from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.content import Content, content_of
from responsa_server.agents.config.files import SHIPPED, verify
from responsa_server.agents.config.files import read as files_of
from responsa_server.agents.engine.config import AgentConfig, RetrievalTable
from responsa_server.agents.engine.node import TurnLimits
from responsa_server.cli.output import CommandFailed
from responsa_server.domain.events import Usage
from responsa_server.domain.filters import parse_filter
from responsa_server.domain.intents import Example
from responsa_server.domain.lists import SEARCHED
from responsa_server.domain.models import (
    Ended,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
    Price,
    PromptMessage,
    Role,
    Spent,
    TextPiece,
)
from tests.instance import ROOT
from tests.raising import raises
from tests.unit.agents.speaking import says

DEFAULTS = ("scripted:strong",)


@cache
def shipped(name: str) -> Content:
    folder = files_of(SHIPPED / name)
    config, problems = verify(folder, Surroundings())
    assert config is not None, problems
    return content_of(folder.config or {}, config, folder.files, DEFAULTS)


def chat() -> Content:
    return shipped("chat")


async def intent() -> TunedNode:
    return await find_tunable(chat(), "")


# The labelled messages


def line(number: int, part: str = "train", label: str = "qa", text: str = "") -> str:
    row = {"id": f"m{number}", "text": text or f"message {number}", "label": label, "part": part}
    return json.dumps(row)


WHOLE = [line(number, ("train", "test")[number % 2]) for number in range(24)]


def labelled(tmp_path: Path, lines: Sequence[str]) -> LabelledSet[LabelledMessage]:
    path = tmp_path / "messages.jsonl"
    path.write_text("\n".join(lines))
    return read(
        path, LabelledMessage, lambda one: "" if one.label in ("qa", "post") else "is wrong", {"hello there"}
    )


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (line(99, label="tool"), "line 25 is wrong"),
        (line(3), "line 25 has the id “m3” of"),
        (line(99, "test", text=" MESSAGE  0 "), "line 25 leaks into the other part: it has the text of"),
        (line(99, text="message 0"), "line 25 is not new: it has the text of"),
        (line(99, "test", text="Hello  there"), "line 25 leaks: it is one of the agent's own examples"),
        (line(99, "dev"), "line 25 is not a valid message: part"),
    ],
)
def test_a_line_that_spoils_the_measurement_is_refused(tmp_path: Path, wrong: str, says: str) -> None:
    with pytest.raises(CommandFailed) as failed:
        labelled(tmp_path, [*WHOLE, wrong])
    assert says in failed.value.sentence


def test_both_halves_of_the_training_part_have_all_labels(tmp_path: Path) -> None:
    more = [line(100 + number, label="post") for number in range(4)]
    found = labelled(tmp_path, [*WHOLE, *more])
    assert [len(part) for part in (found.examples, found.chosen, found.test)] == [8, 8, 12]
    assert {one.label for one in found.examples} == {one.label for one in found.chosen} == {"qa", "post"}
    with pytest.raises(CommandFailed, match="has 9 messages of the part `test`"):
        labelled(tmp_path, [*WHOLE[::2], *WHOLE[1:18:2]])


async def test_the_messages_of_the_checkout_are_valid() -> None:
    node = await intent()
    path = ROOT / "evals" / "optimise" / "chat_intents.jsonl"
    found = Messages(node, path, {plain(one.text) for one in node.examples}, "right").data
    assert [len(part) for part in (found.examples, found.chosen, found.test)] == [30, 30, 60]
    wrong = replace(node, labels=("qa",))
    with pytest.raises(CommandFailed, match="line 1 has the label “chitchat”; the labels are qa"):
        Messages(wrong, path, (), "right")


@pytest.mark.parametrize(
    ("right", "predicted", "good"),
    [
        ("qa", "qa", (True, True)),
        ("qa", "post", (False, True)),
        ("qa", "out_of_scope", (False, False)),
        ("out_of_scope", "out_of_scope", (True, True)),
        ("qa", "", (False, False)),
    ],
)
def test_the_metrics_of_messages(right: str, predicted: str, good: tuple[bool, bool]) -> None:
    assert judge(right, predicted) == {"right": good[0], "refused": good[1]}


# The labelled questions


def question(**label: object) -> LabelledQuestion:
    return LabelledQuestion.model_validate({"id": "1", "text": "How long?", "part": "test", **label})


@pytest.mark.parametrize("label", [{}, {"documents": ["a.md"], "refused": True}])
def test_a_question_needs_one_label(label: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="give documents, or refused as true"):
        question(**label)


REFUSED = Outcome(True, (), "")


@pytest.mark.parametrize(
    ("label", "outcome", "good"),
    [
        (
            {"documents": ["a"], "contains": "3 h"},
            Outcome(False, ["a", "b"], "It takes **3** h."),
            "cited right refused",
        ),
        ({"documents": ["a"]}, Outcome(False, ["b"], "It takes 3 h."), "right refused"),
        ({"documents": ["a"], "contains": "3 h"}, Outcome(False, ["a"], "It takes 4 h."), "cited refused"),
        ({"documents": ["a"]}, REFUSED, ""),
        ({"refused": True}, REFUSED, "cited right refused"),
        ({"refused": True}, Outcome(False, ["a"], "It takes 3 h."), ""),
    ],
)
def test_the_metrics_of_questions(label: dict[str, object], outcome: Outcome, good: str) -> None:
    found = outcome.judge(question(**label), frozenset(label.get("documents", ())))  # type: ignore[arg-type]
    assert [metric for metric in ("cited", "right", "refused") if found[metric]] == good.split()


def test_the_search_is_where_the_chosen_sources_are() -> None:
    book = {"collections": ["books"], "filter": 'source_key = "a/*"'}
    table = RetrievalTable.model_validate(
        {
            "collections": ["all"],
            "top_k": 2,
            "sources": {"book": book, "notes": {"filter": "title = N OR title = M"}},
        }
    )
    both = '((collection = "collections/books") AND (source_key = "a/*")) OR ((title = N OR title = M))'
    for sources, within, where in (
        ((), "all", ""),
        (("book",), "books", 'source_key = "a/*"'),
        (("book", "notes"), "all", both),
    ):
        found = search_of(table, ["How long?", "duration"], sources)
        assert (list(found.scope.collections), found.filter) == ([f"collections/{within}"], where)
        assert (list(found.terms), found.top_k) == (["How long?", "duration"], 2)
        parse_filter(SEARCHED, where)


# Calls within a budget

DEAR = Price(Decimal(1), Decimal(1), Decimal(1), Decimal(1))


@dataclass
class Costly:
    """A model whose answers cost 40 micros each. failing: the call that fails, from 1."""

    failing: int = 0
    calls: int = 0
    name: str = "costly"

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        self.calls += 1
        if self.calls == self.failing:
            raise ModelError(ModelFault.OVERLOADED, "")
        yield TextPiece(f"to {prompt.messages[0].text}")
        yield Spent(Usage(cost_micros=40))
        yield Ended(complete=True)


def prompt(text: str) -> ModelPrompt:
    return ModelPrompt([PromptMessage(Role.USER, text)], "", max_tokens=50)


async def test_no_call_may_exceed_the_budget_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    model = Costly()
    record = Record(tmp_path, "m", model, DEAR, 100)
    assert await record.ask(prompt("a")) == await record.ask(prompt("a")) == "to a"
    # 40 are spent, and a call may cost 51.
    await record.ask(prompt("b"))
    await raises(Stopped, record.ask(prompt("c")), r"2 calls have cost \$0.0001.*larger --budget")
    assert model.calls == 2
    with (tmp_path / "calls.jsonl").open("a") as file:
        file.write('{"key": "half a li')
    again = Record(tmp_path, "m", model, DEAR, 200)
    assert [await again.ask(prompt(text)) for text in "abc"] == ["to a", "to b", "to c"]
    assert (model.calls, again.calls, again.spent_micros) == (3, 3, 120)
    assert Record(tmp_path, "m", model, DEAR, 200).spent_micros == 120


async def test_a_failure_stops_the_run_which_then_goes_on(tmp_path: Path) -> None:
    model = Costly(failing=2)
    record = Record(tmp_path, "m", model, DEAR, 1000)
    await record.ask(prompt("a"))
    for text in ("b", "c"):
        await raises(Stopped, record.ask(prompt(text)), "m fails \\(overloaded\\)")
    again = Record(tmp_path, "m", model, DEAR, 1000)
    assert [await again.ask(prompt(text)) for text in "ab"] == ["to a", "to b"]
    assert model.calls == 3


async def test_work_elsewhere_may_cost_its_share_of_what_is_left(tmp_path: Path) -> None:
    record = Record(tmp_path, "m", Costly(), DEAR, 100)
    seen = list[int]()

    async def work(most: int) -> tuple[str, int]:
        seen.append(most)
        if not most:
            raise record.over(7)
        await asyncio.sleep(0)
        return "done", 25

    assert await asyncio.gather(*(record.keep([part], 0, work) for part in "abcda")) == ["done"] * 5
    assert (seen, record.calls, record.spent_micros) == ([25] * 4, 4, 100)
    await raises(Stopped, record.keep(["e"], 0, work), "larger --budget")
    again = Record(tmp_path, "m", Costly(), DEAR, 200)
    assert (await again.keep(["a"], 0, work), again.spent_micros) == ("done", 107)


def questions(folder: Path, **more: object) -> Questions:
    path, config = folder / "questions.jsonl", AgentConfig.model_validate(shipped("cairo").config)
    rows = (
        {
            "id": str(number),
            "text": f"question {number}",
            "documents": ["a.md"],
            "part": ("train", "test")[number % 2],
            **more,
        }
        for number in range(20)
    )
    path.write_text("\n".join(map(json.dumps, rows)))
    known = {"a.md": {"documents/1"}}
    return Questions(cast("Any", None), config, path, (), known, free=False, small=False)


def test_no_question_that_decides_may_choose_its_source(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="line 1 chooses its source with the parameter “source”"):
        questions(tmp_path, parameters={"source": "cairo_book"})


@pytest.mark.parametrize(
    ("reason", "message", "stops"),
    [
        ("BUDGET", TurnLimits(requested=True).sentence("cost_micros"), "Give a larger --budget"),
        ("QUOTA", "Your quota is used up.", "Your quota is used up."),
        ("BUDGET", TurnLimits().sentence("tokens"), ""),
    ],
)
async def test_only_a_limit_that_the_agent_does_not_have_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: Any, message: str, stops: str
) -> None:
    @asynccontextmanager
    async def answering(*_: object, **__: object) -> AsyncGenerator[turn_pb2.Turn]:
        refused = turn_pb2.TurnRefused(
            reason=turn_pb2.RefusalReason.Value(f"REFUSAL_REASON_{reason}"), message=message
        )
        yield turn_pb2.Turn(terminal_event=turn_pb2.TurnEvent(refused=refused))

    monkeypatch.setattr("responsa_lab.optimising.questions.answering", answering)
    record = Record(tmp_path, "m", Costly(), DEAR, 1000)
    measuring = questions(tmp_path).measure(shipped("cairo"), "", record)
    if stops:
        await raises(Stopped, measuring, stops)
    else:
        assert (await measuring)["refused"] == [False] * 10


async def test_a_stop_waits_for_what_is_under_way_and_an_error_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking, content = questions(tmp_path), shipped("cairo")
    begun, go = asyncio.Semaphore(0), asyncio.Event()

    async def held_answer(*_: object) -> tuple[str, int]:
        begun.release()
        await go.wait()
        return json.dumps({"refused": True, "documents": [], "text": ""}), 3

    monkeypatch.setattr(asking, "_ask", held_answer)
    record = Record(tmp_path / "stopped", "m", Costly(), DEAR, 1000)
    measuring = asyncio.create_task(asking.measure(content, "", record))
    for _ in range(4):
        await begun.acquire()
    measuring.cancel()
    asyncio.get_running_loop().call_soon(go.set)
    await raises(asyncio.CancelledError, measuring)
    assert (record.calls, record.spent_micros) == (4, 12)

    async def lost(*_: object) -> tuple[str, int]:
        raise OSError("lost")

    monkeypatch.setattr(asking, "_ask", lost)
    record = Record(tmp_path / "lost", "m", Costly(), DEAR, 1000)
    await raises(OSError, asking.measure(content, "", record), "lost")
    # What the lost question has cost is not known.
    assert (record.calls, record.spent_micros) == (1, 250)


# Versions

FIRST = [Example("Convert 12 miles", "tool"), Example("hi", "chitchat")]


def created(content: Content) -> Content:
    """The content as the server makes it of the document, which it checks like files."""
    return content_from(
        content.model_dump(mode="json", by_alias=True), content.agent, Surroundings(), DEFAULTS
    )


async def test_the_version_asks_what_the_candidate_asked() -> None:
    base = await intent()
    content = created(base.version("Sort {{ agent }} {% this %}\n=== user\n⟦end⟧", FIRST))
    asked = await Answering(content, "intent").first_prompt("How heavy is it?")
    assert "Sort { { agent }} { % this %}\n== user\n[[end]]" in asked.messages[0].text
    assert "- Convert 12 miles => tool\n" in asked.messages[0].text
    shown = await find_tunable(content, "intent")
    assert [one.text for one in shown.examples if one.text == "hi"] == ["hi"]
    assert len(shown.examples) == len(base.examples) + 1
    assert "out_of_scope" in base.labels


async def test_the_same_instruction_leaves_the_prompt_as_it_is() -> None:
    base = await intent()
    assert base.instruction.startswith("You sort messages that people send to Chat.")
    assert "- linkedin:" in base.instruction
    assert "Hello!" not in base.instruction
    assert base.version(base.instruction, FIRST).prompts == base.content.prompts


async def test_a_node_answers_by_the_record_and_asks_again_after_a_wrong_shape(tmp_path: Path) -> None:
    model = says("{}")
    record = Record(tmp_path, "m", model, DEAR, 1_000_000)
    assert await Answering(chat(), "intent", record).output("How heavy is it?") is None
    # The node's time limit is for users, who wait.
    assert [(len(prompt.messages), prompt.patience_seconds) for prompt in model.prompts] == [
        (2, None),
        (4, None),
    ]


async def test_better_queries_become_examples_of_the_node() -> None:
    base = await find_tunable(shipped("cairo"), "expand")
    label = json.dumps({"queries": ["integer format"], "sources": ["cairo_book"]})
    content = created(base.version("", [Example("Print in hex", label)]))
    first_prompt = await Answering(content, "expand").first_prompt("What is a trait?")
    assert f"- Print in hex => {label}\n" in first_prompt.messages[0].text
    assert (await find_tunable(content, "expand")).examples == [Example("Print in hex", label)]
    again = base.version("", [Example(f"Print {number}", label) for number in range(20)])
    assert [one.text for one in (await find_tunable(created(again), "expand")).examples][::15] == [
        "Print 0",
        "Print 15",
    ]
    trial = created(rename_prompt(content, "query_expansion"))
    assert trial != content
    again = await Answering(trial, "expand").first_prompt("What is a trait?")
    assert again.messages == first_prompt.messages


async def test_a_node_that_does_not_decide_is_refused() -> None:
    await raises(
        CommandFailed,
        find_tunable(chat(), "write"),
        "no node “write” that lets a model decide or write queries; name one of intent",
    )


def test_without_dspy_one_line_names_the_extra(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        optimise("chat", Path("none"), "1")
    assert ended.value.exit_code == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "responsa[optimise]" in said
