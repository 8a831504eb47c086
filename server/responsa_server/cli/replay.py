"""The command `responsa replay`."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, cast

import typer
from google.longrunning import operations_pb2

from responsa.admin.v1 import admin_service_pb2, replay_pb2
from responsa.chat.v1 import turn_pb2
from responsa_client import Responsa
from responsa_client.results import replay_progress, replay_result
from responsa_server.cli.output import (
    EXIT_USAGE,
    CommandFailed,
    one_line,
    print_json,
    print_text,
    reporting,
)
from responsa_server.cli.progress import Progress
from responsa_server.cli.rendering import dollars
from responsa_server.cli.session import open_client
from responsa_server.cli.turns import micros
from responsa_server.domain.formatting import counted

_TURNS: Final = "turns"
_TIMES: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]
_QUESTION_CHARACTERS: Final = 60


class Outcome(StrEnum):
    """How a turn ended."""

    ANSWERED = "answered"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""
    app.command(name)(replay)


def replay(
    agent: Annotated[str, typer.Option(help="The agent, by its id.", metavar="AGENT")],
    version: Annotated[int, typer.Option(min=1, help="The number of the version that answers.")],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="turns|FILE",
            help="`turns` for the questions of users, or a JSONL file, each line of which is an object with the key `question`.",
        ),
    ] = _TURNS,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=_TIMES, help="Only turns asked since then (UTC). Default: 30 days before --until."
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(formats=_TIMES, help="Only turns asked before then (UTC). Default: now."),
    ] = None,
    outcome: Annotated[
        list[Outcome] | None,
        typer.Option(
            help="Only turns that ended in this way; may be repeated. Default: all but cancelled ones."
        ),
    ] = None,
    most: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            help="The maximum number of questions: the newest turns (default: 100), or the first lines of a file (default: all).",
        ),
    ] = None,
    max_cost: Annotated[
        str,
        typer.Option(
            help="The maximum to spend on model calls, in US dollars, e.g. 0.50. Default: no limit."
        ),
    ] = "",
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one ReplayedQuestion per line, then the ReplayTotals, as proto-JSON."
        ),
    ] = False,
) -> None:
    """Ask a version of an agent old questions again, and compare outcomes, citations, cost and time. For
    administrators. No message is written, no quota of users is used, and no tool with effects is called.

    Ctrl-C stops this command; the replay continues, and `responsa operations` follows or cancels it.
    """
    with reporting(json=json), open_client() as client:
        turns = texts = None
        if source == _TURNS:
            turns = _turns(since, until, outcome or (), most or 0)
        else:
            chosen = {"--since": since, "--until": until, "--outcome": outcome}
            if useless := " and ".join(name for name, value in chosen.items() if value):
                raise CommandFailed(
                    f"--from names a file of questions, which {useless} cannot filter.",
                    f"Leave out {useless}, or --from.",
                    EXIT_USAGE,
                )
            texts = admin_service_pb2.ReplayedTexts(questions=list(_questions(Path(source)))[:most])
        begun = client.start_replay(f"agents/{agent}/versions/{version}", turns, texts, micros(max_cost) or 0)
        if not json:
            print_text(f"{begun.name}  {counted(_total(begun), 'question')}")
        ended = _followed(client, begun)
        totals = replay_result(ended)
        for question in client.replayed_questions(begun.name):
            if json:
                print_json(question)
            else:
                print_text(_row(question))
        if json:
            print_json(totals)
        else:
            for line in _summary(totals):
                print_text(line)


def _turns(
    since: datetime | None, until: datetime | None, outcomes: Sequence[Outcome], most: int
) -> admin_service_pb2.ReplayedTurns:
    turns = admin_service_pb2.ReplayedTurns(
        states=[turn_pb2.TurnState.Value(f"TURN_STATE_{one.name}") for one in outcomes], max_turns=most
    )
    for field, time in ((turns.start_time, since), (turns.end_time, until)):
        if time is not None:
            field.FromDatetime(time.replace(tzinfo=UTC))
    return turns


def _questions(file: Path) -> Iterator[str]:
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(
            f"The file {file} cannot be read ({error.strerror if isinstance(error, OSError) else 'it is not UTF-8'}).",
            "Name another file.",
            EXIT_USAGE,
        ) from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = cast("object", json_module.loads(line))
        except ValueError:
            found = None
        question = cast("dict[str, object]", found).get("question") if isinstance(found, dict) else None
        if not isinstance(question, str):
            raise CommandFailed(
                f"Line {number} of {file} is not an object with the text `question`.",
                'Write each line as {"question": "…"}.',
                EXIT_USAGE,
            )
        yield question


def _total(begun: operations_pb2.Operation) -> int:
    progress = replay_progress(begun)
    return 0 if progress is None else progress.questions_total


def _followed(client: Responsa, begun: operations_pb2.Operation) -> operations_pb2.Operation:
    state = begun
    with Progress("Replaying", 0) as progress:
        for one in client.watch_operation(begun.name):
            state = one.operation
            if (found := replay_progress(state)) is not None:
                progress.reach(found.questions_done, found.questions_total)
    return state


def _row(question: replay_pb2.ReplayedQuestion) -> str:
    """A question, its ends before and after, and what has changed."""
    subject = one_line(question.question, _QUESTION_CHARACTERS) or question.turn
    if question.state != replay_pb2.REPLAY_STATE_REPLAYED:
        state = _word(replay_pb2.ReplayState.Name(question.state), "REPLAY_STATE_")
        return f"{question.place:>4}  {state}  {subject}"
    after = question.after
    before = question.before if question.HasField("before") else None
    parts = [f"{_end(before)} → {_end(after)}" if before else _end(after)]
    if before:
        parts.append(
            f"citations {question.citations_kept} kept, {question.citations_lost} lost, {question.citations_new} new"
        )
    else:
        parts.append(counted(after.citations, "citation"))
    cost = [dollars(one.cost_usd_micros).removesuffix(" USD") for one in (before, after) if one]
    time = [f"{one.milliseconds / 1000:.1f}" for one in (before, after) if one]
    parts += [f"{' → '.join(cost)} USD", f"{' → '.join(time)} s"]
    if question.unrecorded_tool_calls:
        parts.append(f"{counted(question.unrecorded_tool_calls, 'tool call')} not made")
    return f"{question.place:>4}  {subject}\n      {'; '.join(parts)}"


def _end(end: replay_pb2.ReplayedEnd) -> str:
    state = _word(turn_pb2.TurnState.Name(end.state), "TURN_STATE_")
    return f"{state} ({end.reason})" if end.reason else state


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower().replace("_", " ")


def _summary(totals: replay_pb2.ReplayTotals) -> Iterator[str]:
    yield (
        f"{counted(totals.replayed, 'question')} replayed, {totals.left_out} left out, "
        f"{counted(totals.changed_outcomes, 'outcome')} changed"
    )
    yield f"citations  {totals.citations_kept} kept, {totals.citations_lost} lost, {totals.citations_new} new"
    for name, sums in (("before", totals.before), ("after", totals.after)):
        ends = ", ".join(
            f"{number} {word}"
            for word in ("answered", "refused", "failed", "cancelled")
            if (number := getattr(sums, word))
        )
        if ends:
            yield f"{name:<9}  {ends}; {dollars(sums.cost_usd_micros)}; {sums.milliseconds / 1000:.1f} s"
