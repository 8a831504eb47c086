"""`responsa eval tools`: measures which tools are chosen for messages without a language model. The command needs no server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import BaseModel, ConfigDict, Field

from responsa_lab.evaluation.dataset import lines
from responsa_lab.evaluation.metrics import interval_json, interval_text, share
from responsa_server.cli.output import one_line, print_json, print_text
from responsa_server.instance import CHECKOUT

OURS: Final = CHECKOUT / "evals" / "tools"
DECLARED: Final = "declared"
"""The folder with the declarations of the tools, inside the data set's folder."""


class Part(StrEnum):
    """The messages to measure. `ALL` are the English messages. They have since been added to the examples, so only a cross-validation shows how well other
    messages are handled.
    """

    ALL = "all"

    CHOOSE = "choose"
    LOOK = "look"
    FRESH = "fresh"
    UNSEEN = "unseen"
    LAST = "last"
    FIT = "fit"
    FIT2 = "fit2"
    FIT3 = "fit3"
    BLIND = "blind"
    BLIND2 = "blind2"
    BLIND3 = "blind3"
    BLIND4 = "blind4"
    LANGUAGES = "languages"


_APART: Final = frozenset({Part.ALL, Part.LANGUAGES})


class ToolMessage(BaseModel):
    """One line: a message, the earlier messages (of the user and the assistant in turn), and the sets of tools that are right for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: Annotated[str, Field(min_length=1)]
    accept: Annotated[tuple[tuple[str, ...], ...], Field(min_length=1)]
    history: tuple[str, ...] = ()

    @property
    def needs_none(self) -> bool:
        """Whether every call of a tool is needless."""
        return self.accept == ((),)


@dataclass(frozen=True, slots=True)
class Choice:
    """The tools that were chosen for a message, in their order."""

    message: ToolMessage
    tools: Sequence[str]

    @property
    def right(self) -> bool:
        """Whether this is one of the right sets."""
        return any(set(self.tools) == set(one) for one in self.message.accept)


def eval_tools(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A folder that contains the files of messages (such as `choose.jsonl`) and the folder `declared`.",
            show_default=False,
        ),
    ] = OURS,
    part: Annotated[Part, typer.Option(help="The messages to measure.")] = Part.CHOOSE,
    folds: Annotated[
        int,
        typer.Option(
            min=1,
            help="The number of parts of a cross-validation: while one part is measured, the classifiers learn from all examples except the messages of this part. With 1 part, they learn from all examples.",
        ),
    ] = 1,
    mistakes: Annotated[int, typer.Option(min=0, help="The number of wrong choices to show.")] = 10,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Choose tools for messages as a server without a model does, with the examples that all agents share and those of the declarations.

    right: the share of messages for which one of the right sets of tools was chosen. needing: this share among the messages that need a tool. needless: the share of messages with a call, among
    those that need no tool. All have 95 % intervals.
    """
    # These imports are late, because they load numpy, the model's runtime and the agents.
    from responsa_server.cli.local.failures import reporting

    with reporting(json=json), ExitStack() as stack:
        from responsa_lab.evaluation.local import choices

        parts = [one for one in Part if one not in _APART] if part is Part.ALL else [part]
        given = [one for name in parts for _, one in lines(folder / f"{name}.jsonl", ToolMessage, "message")]
        found = asyncio.run(choices(folder / DECLARED, given, folds, stack))
        figures = {
            "right": share(one.right for one in found),
            "needing": share(one.right for one in found if not one.message.needs_none),
            "needless": share(bool(one.tools) for one in found if one.message.needs_none),
        }
        if json:
            print_json(
                {"messages": len(found), **{name: interval_json(one) for name, one in figures.items()}}
            )
            return
        for name, one in figures.items():
            print_text(f"{name:<9} {interval_text(one)}")
        none = sum(one.message.needs_none for one in found)
        print_text(f"{len(found)} messages, {none} of which need no tool")
        for one in [one for one in found if not one.right][:mistakes]:
            print_text(f"{_set(one.tools):<34}  {_wanted(one.message):<34}  {one_line(one.message.text, 80)}")


def _set(tools: Sequence[str]) -> str:
    return "+".join(sorted(tools)) or "none"


def _wanted(message: ToolMessage) -> str:
    return f"not {' or '.join(_set(one) for one in message.accept)}"
