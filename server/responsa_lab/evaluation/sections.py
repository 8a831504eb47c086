"""`responsa eval sections`: measures whether an agent finds the section that answers a question about documents with code.

The file of questions has one JSON object per line, as questions.jsonl of a data set has, with two more fields: `kind`, "code" or "text" (what is asked for), and `part`. The agent must have
the boolean parameter `raw`: with it, the answer is the sections that the agent has found, best first. Two other writers wrote `blind` and `blind2`; each of these
parts was measured once before it served to compare variants.
"""

from __future__ import annotations

import asyncio
import json as json_lines
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from responsa.chat.v1 import citation_pb2, turn_pb2
from responsa_client.aio import AsyncResponsa
from responsa_lab.evaluation.dataset import Question, lines
from responsa_lab.evaluation.measuring import answering, cited_spans, own_collections, several, source_keys
from responsa_lab.evaluation.metrics import Interval, Span, interval_json, interval_text, share
from responsa_lab.evaluation.reading import meets
from responsa_server.cli.output import EXIT_USAGE, CommandFailed, Json, print_json, print_text, reporting
from responsa_server.cli.progress import Progress
from responsa_server.cli.session import open_async_client
from responsa_server.instance import CHECKOUT

OURS: Final = CHECKOUT / "evals" / "code" / "questions.jsonl"
_DEPTH: Final = 5


class SectionQuestions(StrEnum):
    """The questions to ask."""

    FIT = "fit"
    LOOK = "look"
    FRESH = "fresh"
    LAST = "last"
    BLIND = "blind"
    BLIND2 = "blind2"
    ALL = "all"


class SectionQuestion(Question):
    """A question with the sections that answer it."""

    kind: Literal["code", "text"]
    part: Literal["fit", "look", "fresh", "last", "blind", "blind2"]


@dataclass(frozen=True, slots=True)
class Asked:
    """The outcome of a question. sections: the sections that the agent found, best first, each as one span. answered: whether the agent answered the question without `raw`. shown: whether
    this answer is from a right section.
    """

    question: SectionQuestion
    sections: Sequence[Span]
    answered: bool
    shown: bool

    def right(self, depth: int) -> bool:
        """Whether a right section is among the first `depth`."""
        return any(meets(section, self.question.gold_spans) for section in self.sections[:depth])


def sections_of(citations: Sequence[citation_pb2.Citation], keys: Mapping[str, str]) -> list[Span]:
    """The sections of an answer, in its order. Citations that refer to the same part of the answer are of one section."""
    found: dict[tuple[int, int], Span] = {}
    for one, span in zip(citations, cited_spans(citations, keys), strict=True):
        place = (one.answer_range.start, one.answer_range.end)
        earlier = found.get(place)
        if earlier is None:
            found[place] = span
        elif earlier.document == span.document:
            found[place] = Span(span.document, min(earlier.start, span.start), max(earlier.end, span.end))
    return [found[place] for place in sorted(found)]


def eval_sections(
    questions: Annotated[Path, typer.Argument(help="The file of questions.", show_default=False)] = OURS,
    agent: Annotated[str, typer.Option(help="The agent to ask.")] = "cairo",
    part: Annotated[SectionQuestions, typer.Option(help="The questions to ask.")] = SectionQuestions.FIT,
    answers: Annotated[
        Path | None,
        typer.Option(help="Write each question and its results to this file, one JSON object per line."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask an agent each question twice, for sections and for an answer, and print how often a right section is the first, and among the first five.

    A section is right if its overlap with a labelled section is at least half as long as the shorter of the two. The documents must have been loaded (`responsa samples load`). The
    figures are shares from 0 to 1, with 95 % intervals.
    """
    with reporting(json=json):
        given = [one for _, one in lines(questions, SectionQuestion, "question")]
        asked = [one for one in given if part in (SectionQuestions.ALL, one.part)]
        if not asked:
            raise CommandFailed(f"{questions} holds no such questions.", "", EXIT_USAGE)
        found = asyncio.run(_run(asked, agent))
        if answers is not None:
            text = "".join(json_lines.dumps(_line(one), ensure_ascii=False) + "\n" for one in found)
            answers.write_text(text, encoding="utf-8")
        if json:
            print_json({name: _figures(those) for name, those in _groups(found)})
            return
        for name, those in _groups(found):
            figures = ", ".join(
                f"{figure} {interval_text(value)}" for figure, value in section_scores(those).items()
            )
            print_text(f"{name} ({len(those)}): {figures}")


def section_scores(found: Sequence[Asked]) -> Mapping[str, Interval | None]:
    """The share of questions whose first section is right, with a right section among the first five, that were answered, and whose answer is from a right section."""
    return {
        "first": share(one.right(1) for one in found),
        "inFive": share(one.right(_DEPTH) for one in found),
        "answered": share(one.answered for one in found),
        "answerRight": share(one.shown for one in found),
    }


def _groups(found: Sequence[Asked]) -> Sequence[tuple[str, Sequence[Asked]]]:
    kinds = {kind: [one for one in found if one.question.kind == kind] for kind in ("code", "text")}
    return [("all", found), *((kind, those) for kind, those in kinds.items() if those)]


def _figures(found: Sequence[Asked]) -> dict[str, Json]:
    figures: dict[str, Json] = {"questions": len(found)}
    for name, value in section_scores(found).items():
        figures[name] = interval_json(value)
    return figures


async def _run(asked: Sequence[SectionQuestion], agent: str) -> Sequence[Asked]:
    async with open_async_client() as client:
        collections = await own_collections(client, agent)
        keys: dict[str, str] = {}
        for collection in collections:
            keys |= await source_keys(client, collection)
        missing = {name for one in asked for name in one.doc_ids} - set(keys.values())
        if missing:
            raise CommandFailed(
                f"{len(missing)} documents are missing in {', '.join(collections)}, such as {min(missing)}.",
                "`responsa samples load` loads the samples of agents.",
                EXIT_USAGE,
            )
        with Progress("Asking", len(asked)) as progress:
            return await several(asked, lambda one: _ask(client, one, agent, keys, progress.advance))


async def _ask(
    client: AsyncResponsa,
    question: SectionQuestion,
    agent: str,
    keys: Mapping[str, str],
    advance: Callable[[], None],
) -> Asked:
    async with answering(client, question.question, agent=agent, parameters={"raw": True}) as turn:
        sections = sections_of(_citations(turn), keys)
    async with answering(client, question.question, agent=agent) as turn:
        answered = turn.terminal_event.WhichOneof("event") == "answer"
        shown = any(
            meets(cited_span, question.gold_spans) for cited_span in cited_spans(_citations(turn), keys)
        )
    advance()
    return Asked(question, sections, answered, shown)


def _citations(turn: turn_pb2.Turn) -> Sequence[citation_pb2.Citation]:
    return turn.terminal_event.answer.citations


def _line(one: Asked) -> Mapping[str, Json]:
    return {
        "id": one.question.id,
        "question": one.question.question,
        "first": one.right(1),
        "inFive": one.right(_DEPTH),
        "answered": one.answered,
        "answerRight": one.shown,
        "sections": [f"{span.document} {span.start}-{span.end}" for span in one.sections],
    }
