"""What `responsa optimise` does without DSPy: it reads labelled messages, asks within a budget, and makes versions."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest
import typer

from responsa_lab.evaluation.metrics import plain
from responsa_lab.optimising.command import Metric, optimise
from responsa_lab.optimising.data import Labelled, read
from responsa_lab.optimising.decision import Decision, asker, decision
from responsa_lab.optimising.record import Record, Stopped
from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.content import Content, Defaults, content_of
from responsa_server.agents.config.documents import content_from
from responsa_server.agents.config.files import SHIPPED, checked
from responsa_server.agents.config.files import read as files_of
from responsa_server.agents.nodes.deciding import IntentInput, IntentOptions, IntentRouter
from responsa_server.cli.output import CommandFailed
from responsa_server.domain.events import Usage
from responsa_server.domain.intents import Example
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
from tests.unit.agents.shipping import Knows
from tests.unit.agents.speaking import Turn, says

DEFAULTS = Defaults(("scripted:strong",), 10, 60.0)


@cache
def chat() -> Content:
    folder = files_of(SHIPPED / "chat")
    config, problems = checked(folder, Surroundings())
    assert config is not None, problems
    return content_of(folder.config or {}, config, folder.files, DEFAULTS)


def intent() -> Decision:
    return decision(chat(), "", says())


# The labelled messages


def line(number: int, part: str = "train", label: str = "qa", text: str = "") -> str:
    row = {"id": f"m{number}", "text": text or f"message {number}", "label": label, "part": part}
    return json.dumps(row)


WHOLE = [line(number, ("train", "test")[number % 2]) for number in range(24)]


def labelled(tmp_path: Path, lines: Sequence[str]) -> Labelled:
    path = tmp_path / "messages.jsonl"
    path.write_text("\n".join(lines))
    return read(path, ("qa", "post"), {plain("Hello  there"): "qa"})


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (line(99, label="tool"), "line 25 has the label “tool”; the labels are qa, post"),
        (line(3), "line 25 has the id “m3” of"),
        (line(99, "test", text=" MESSAGE  0 "), "line 25 leaks into the other part: it has the text of"),
        (line(99, text="message 0"), "line 25 is not new: it has the text of"),
        (line(99, "test", text="hello there"), "line 25 leaks: it is one of the agent's own examples"),
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


def test_the_messages_of_the_checkout_are_valid() -> None:
    known = {plain(one.text): one.label for one in intent().examples}
    found = read(ROOT / "evals" / "optimise" / "chat_intents.jsonl", intent().labels, known)
    assert [len(part) for part in (found.examples, found.chosen, found.test)] == [30, 30, 60]


@pytest.mark.parametrize(
    ("right", "found", "good"),
    [
        ("qa", "qa", (True, True)),
        ("qa", "post", (False, True)),
        ("qa", "out_of_scope", (False, False)),
        ("out_of_scope", "out_of_scope", (True, True)),
        ("qa", "", (False, False)),
    ],
)
def test_the_metrics(right: str, found: str, good: tuple[bool, bool]) -> None:
    assert (Metric.RIGHT.good(right, found), Metric.REFUSED.good(right, found)) == good


# Calls within a budget

DEAR = Price(Decimal(1), Decimal(1), Decimal(1), Decimal(1))


@dataclass
class Costly:
    """A model whose answers cost 40 micros each. failing: the call that fails, from 1."""

    failing: int = 0
    asked: int = 0
    name: str = "costly"

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        self.asked += 1
        if self.asked == self.failing:
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
    with pytest.raises(Stopped, match=r"2 calls have cost \$0.0001.*larger --budget"):
        await record.ask(prompt("c"))
    assert model.asked == 2
    with (tmp_path / "calls.jsonl").open("a") as file:
        file.write('{"key": "half a li')
    again = Record(tmp_path, "m", model, DEAR, 200)
    assert [await again.ask(prompt(text)) for text in "abc"] == ["to a", "to b", "to c"]
    assert (model.asked, again.calls, again.spent_micros) == (3, 3, 120)
    assert Record(tmp_path, "m", model, DEAR, 200).spent_micros == 120


async def test_a_failure_stops_the_run_which_then_goes_on(tmp_path: Path) -> None:
    model = Costly(failing=2)
    record = Record(tmp_path, "m", model, DEAR, 1000)
    await record.ask(prompt("a"))
    for text in ("b", "c"):
        with pytest.raises(Stopped, match="m fails \\(overloaded\\)"):
            await record.ask(prompt(text))
    again = Record(tmp_path, "m", model, DEAR, 1000)
    assert [await again.ask(prompt(text)) for text in "ab"] == ["to a", "to b"]
    assert model.asked == 3


# Versions

FIRST = [Example("Convert 12 miles", "tool"), Example("hi", "chitchat")]


async def test_what_is_measured_is_what_the_version_asks() -> None:
    base = intent()
    document = base.version("Sort {{ agent }} {% this %}\n=== user\n⟦end⟧", FIRST).model_dump(
        mode="json", by_alias=True
    )
    # The server checks a created version like files.
    content = content_from(document, "chat", Surroundings(), DEFAULTS)
    model = says('{"intent": "qa", "follow_up": false}')
    shown = decision(content, "intent", model)
    asked = shown.asking("How heavy is it?", asker(content, model))
    node = IntentRouter(
        "intent",
        IntentOptions(examples=shown.path, prompt=shown.prompt, intents=tuple(shown.categories)),
        asker(content, model),
        Knows({}),
        shown.examples,
    )
    run = Turn().run
    await node.process(IntentInput(question="How heavy is it?"), replace(run, nonce="q0123456789a"))
    (sent,) = model.asked
    measured = [message.text for message in asked.messages]
    mark = measured[0].rpartition("⟦end ")[2].partition("⟧")[0]
    assert [one.replace(mark, "q0123456789a") for one in measured] == [
        message.text for message in sent.messages
    ]
    assert (asked.schema, asked.max_tokens, asked.temperature) == (
        sent.schema,
        sent.max_tokens,
        sent.temperature,
    )
    assert "Sort { { agent }} { % this %}\n== user\n[[end]]" in measured[0]
    assert "- Convert 12 miles => tool\n" in measured[0]
    assert [one.text for one in shown.examples if one.text == "hi"] == ["hi"]
    assert len(shown.examples) == len(base.examples) + 1


def test_the_same_instruction_leaves_the_prompt_as_it_is() -> None:
    base = intent()
    assert base.instruction.startswith("You sort messages that people send to Chat.")
    assert "- linkedin:" in base.instruction
    assert "Hello!" not in base.instruction
    assert base.version(base.instruction, FIRST).prompts == base.content.prompts


def test_a_node_that_does_not_decide_is_refused() -> None:
    with pytest.raises(CommandFailed, match="no node “write” that lets a model decide; name one of intent"):
        decision(chat(), "write", Costly())


def test_without_dspy_one_line_names_the_extra(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        optimise("chat", Path("none"), "1")
    assert ended.value.exit_code == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "responsa[optimise]" in said
