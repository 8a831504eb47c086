"""`responsa eval reading`: measures whether answers say what was asked and nothing else.

A folder holds sources.toml and three files of questions, one for each part: fit.jsonl, choose.jsonl and look.jsonl. (evals/reading has a fourth, more.jsonl, which only
tools/reading_weights.py reads.) Each line is one JSON object: {id, source, kind: answerable | near_miss | off_topic, question, form: prose | table | list | code, answers, belongs}.
`answers` and `belongs` are lists of {document, start, end}: bytes [start, end) of a document of the source. Each entry of `answers` answers the
question by itself; an entry of `belongs` adds something that the asker wants. Only answerable questions have `form`, `answers` and `belongs`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json as json_lines
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from markdown_it import MarkdownIt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from responsa.chat.v1 import turn_pb2
from responsa_client.aio import AsyncResponsa
from responsa_lab.evaluation.dataset import Limit, lines, spread
from responsa_lab.evaluation.measuring import answering, cited_spans, loaded, several
from responsa_lab.evaluation.metrics import Interval, Span, camel, fraction, ratio, rounded, share
from responsa_server.cli.output import EXIT_USAGE, CommandFailed, Json, print_json, print_text, reporting
from responsa_server.cli.progress import Progress
from responsa_server.cli.session import open_async_client
from responsa_server.instance import CHECKOUT

OURS: Final = CHECKOUT / "evals" / "reading"


class Part(StrEnum):
    """The part of the questions to ask. Weights are fitted on `fit`, variants are compared on `choose`, and `look` is measured once, at the end."""

    FIT = "fit"
    CHOOSE = "choose"
    LOOK = "look"


class Asked(BaseModel):
    """A question with the places of its answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,62}$")]
    source: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,40}$")]
    kind: Literal["answerable", "near_miss", "off_topic"]
    question: Annotated[str, Field(min_length=1, max_length=4000)]
    form: Literal["prose", "table", "list", "code"] | None = None
    answers: tuple[Span, ...] = ()
    belongs: tuple[Span, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Asked:
        labelled = bool(self.form and self.answers)
        if (self.kind == "answerable") != labelled or (self.belongs and not labelled):
            raise ValueError("an answerable question needs form and answers; other questions have no places")
        if not all(0 <= one.start < one.end for one in (*self.answers, *self.belongs)):
            raise ValueError("a place must begin at 0 or later, and before its end")
        return self


class Source(BaseModel):
    """Where the documents of a source come from, and how many there are. sha256: see `digest`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    origin: str
    commit: str
    paths: str
    licence: str
    documents: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Read:
    """The answer to one question.

    outcome: "answer", "refused" or "failed". text: the answer. cited: the spans of its citations, in the order of the answer. suggested: the
    quotes that a refusal suggests, as Markdown, best first.
    """

    asked: Asked
    outcome: str
    text: str
    cited: Sequence[Span]
    suggested: Sequence[str]

    @property
    def answered(self) -> bool:
        """Whether the question was answered."""
        return self.outcome == "answer"

    @property
    def right(self) -> bool:
        """Whether the answer has a place that answers the question."""
        return self.answered and any(meets(one, self.asked.answers) for one in self.cited)

    @property
    def right_first(self) -> bool:
        """Whether the first sentence of the answer answers the question."""
        return self.answered and bool(self.cited) and meets(self.cited[0], self.asked.answers)

    @property
    def belonging(self) -> int:
        """The number of citations that answer the question or belong to the answer."""
        return sum(meets(one, (*self.asked.answers, *self.asked.belongs)) for one in self.cited)


def meets(span: Span, places: Iterable[Span]) -> bool:
    """Whether the span and one of the places overlap in at least half of the shorter of the two."""
    return any(2 * span.overlap(one) >= min(span.length, one.length) for one in places)


_RAW: Final = re.compile(
    r"^\s*\|.*\||\|\s*:?-{3}|```|~~~|</?[a-zA-Z][^<>]*>|<!--|^\s*:{3}|\{\{|\{%|\]\(|\*\*|__\w|^\s*!{3}\s|^\s*#{1,6}\s|\[\^|\{[:#.]",
    re.MULTILINE,
)


def shows_markup(text: str) -> bool:
    """Whether raw markup is visible after the text was rendered as Markdown. Code may contain anything."""
    rendered = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).parse(text)
    shown = (piece.content for token in rendered for piece in (token.children or ()) if piece.type == "text")
    return any(_RAW.search(one) for one in shown)


@dataclass(frozen=True, slots=True)
class ReadingScores:
    """The quality of the answers. All figures except the counts are shares from 0 to 1, with 95 % intervals.

    right: the share of answerable questions whose answer has a place that answers the question. right_first: the share whose first sentence does.
    wrong: the share of answerable questions that were answered without such a place. refused: the share of answerable questions that were
    refused. belonging: the share of the quoted pieces of right answers that answer the question or belong to the answer. pieces: the number of quoted
    pieces of an answer. markup: the share of answers that show raw markup after rendering. near_misses_refused, off_topic_refused: the shares
    of the other questions that were refused.
    """

    questions: int
    answerable: int
    failed: int
    right: Interval | None
    right_first: Interval | None
    wrong: Interval | None
    refused: Interval | None
    belonging: Interval | None
    pieces: float | None
    markup: Interval | None
    near_misses_refused: Interval | None
    off_topic_refused: Interval | None


def scores(found: Sequence[Read]) -> ReadingScores:
    """The scores of these answers. A failed turn counts as neither right, wrong nor refused."""
    answerable = [one for one in found if one.asked.kind == "answerable"]
    right = [one for one in answerable if one.right]
    answered = [one for one in found if one.answered]

    def refused(kind: str) -> Interval | None:
        return share(one.outcome == "refused" for one in found if one.asked.kind == kind)

    return ReadingScores(
        questions=len(found),
        answerable=len(answerable),
        failed=sum(one.outcome not in ("answer", "refused") for one in found),
        right=share(one.right for one in answerable),
        right_first=share(one.right_first for one in answerable),
        wrong=share(one.answered and not one.right for one in answerable),
        refused=refused("answerable"),
        belonging=ratio([(one.belonging, len(one.cited)) for one in right]),
        pieces=sum(len(one.cited) for one in answered) / len(answered) if answered else None,
        markup=share(shows_markup(one.text) for one in answered),
        near_misses_refused=refused("near_miss"),
        off_topic_refused=refused("off_topic"),
    )


def digest(folder: Path) -> tuple[int, str]:
    """The number of files of a source, and the SHA-256 over the files: for each file, in the order of the paths, its path, a zero byte and the SHA-256 of its bytes."""
    made, files = hashlib.sha256(), sorted(one for one in folder.rglob("*") if one.is_file())
    for file in files:
        made.update(str(file.relative_to(folder)).encode() + b"\0")
        made.update(hashlib.sha256(file.read_bytes()).digest())
    return len(files), made.hexdigest()


@dataclass(frozen=True, slots=True)
class ReadingSet:
    """The questions of one part, and the folder of each source that they ask about."""

    questions: Sequence[Asked]
    folders: Mapping[str, Path]

    @classmethod
    def read(cls, folder: Path, part: str, documents: Path, limit: int) -> ReadingSet:
        """Read the file {part}.jsonl and check its documents. limit: as for `spread`.

        Raises:
            CommandFailed: a file is missing or wrong, or the documents of a source are not those that the labels were made for.
        """
        try:
            tables = tomllib.loads((folder / "sources.toml").read_text(encoding="utf-8"))
            sources = TypeAdapter(dict[str, Source]).validate_python(tables)
        except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
            raise CommandFailed(
                f"{folder / 'sources.toml'} cannot be read: {error}", "", EXIT_USAGE
            ) from None
        questions = spread([one for _, one in lines(folder / f"{part}.jsonl", Asked, "question")], limit)
        folders: dict[str, Path] = {}
        for name in sorted({one.source for one in questions}):
            if (source := sources.get(name)) is None:
                raise CommandFailed(f"{folder / 'sources.toml'} has no source {name}.", "", EXIT_USAGE)
            folders[name] = documents / name
            number, found = digest(folders[name])
            if found != source.sha256:
                raise CommandFailed(
                    f"{folders[name]} has {number} files with the SHA-256 {found}; expected are {source.documents} files with {source.sha256}.",
                    f"Put only the files {source.paths} of {source.origin}, at the commit {source.commit}, into this folder.",
                    EXIT_USAGE,
                )
        return cls(questions, folders)


def eval_reading(
    documents: Annotated[
        Path,
        typer.Argument(
            help="A folder that contains one folder of documents for each source in `sources.toml`."
        ),
    ],
    part: Annotated[
        Part,
        typer.Option(
            help="Fit weights on `fit`, compare variants on `choose`, and measure `look` once, at the end."
        ),
    ] = Part.CHOOSE,
    folder: Annotated[
        Path,
        typer.Option("--set", help="The folder with sources.toml and the questions.", show_default=False),
    ] = OURS,
    limit: Limit = 0,
    answers: Annotated[
        Path | None,
        typer.Option(help="Write each question with its answer to this file, one JSON object per line."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Load the documents of each source into its own collection, ask the questions there, and compare what the answers quote with the labelled places.

    An answer is right if it has a citation whose overlap with a place that answers the question is at least half as long as the shorter of the two.
    """
    with reporting(json=json):
        given = ReadingSet.read(folder, part, documents, limit)
        if answers is not None:
            _write(answers, ())  # a file that cannot be written must fail before the questions are asked
        found = asyncio.run(_run(given))
        if answers is not None:
            _write(answers, found)
        if json:
            print_json(
                {
                    **_figures(scores(found)),
                    "sources": {name: _figures(scores(those)) for name, those in _by_source(found)},
                }
            )
            return
        for name, those in (("all", found), *_by_source(found)):
            _print(name, scores(those))


def _by_source(found: Sequence[Read]) -> Sequence[tuple[str, Sequence[Read]]]:
    names = sorted({one.asked.source for one in found})
    return [(name, [one for one in found if one.asked.source == name]) for name in names]


def collection_of(source: str) -> str:
    """The collection of a source's documents."""
    return f"reading-{source}"


async def load_source(client: AsyncResponsa, name: str, folder: Path) -> Mapping[str, str]:
    """Ingests the documents of a source into its collection, and returns their paths in the source's folder, by the documents' names. Raises CommandFailed."""
    keys = await loaded(client, folder, collection_of(name), f"Loading {name}")
    return {document: key.removeprefix(f"{folder.name}/") for document, key in keys.items()}


async def _run(given: ReadingSet) -> Sequence[Read]:
    async with open_async_client() as client:
        keys = {name: await load_source(client, name, folder) for name, folder in given.folders.items()}
        with Progress("Asking", len(given.questions)) as progress:
            return await several(
                given.questions, lambda asked: _ask(client, asked, keys[asked.source], progress.advance)
            )


async def _ask(
    client: AsyncResponsa, asked: Asked, keys: Mapping[str, str], advance: Callable[[], None]
) -> Read:
    async with answering(client, asked.question, collection_of(asked.source)) as turn:
        advance()
        return _read(asked, turn, keys)


def _read(asked: Asked, turn: turn_pb2.Turn, keys: Mapping[str, str]) -> Read:
    event = turn.terminal_event
    cited = sorted(event.answer.citations, key=lambda one: one.answer_range.start)
    return Read(
        asked,
        event.WhichOneof("event") or "failed",
        event.answer.text,
        cited_spans(cited, keys),
        [one.text for one in event.refused.suggestions],
    )


def _write(file: Path, found: Sequence[Read]) -> None:
    text = "".join(json_lines.dumps(_line(one), ensure_ascii=False) + "\n" for one in found)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"{file} cannot be written ({error.strerror}).", "", EXIT_USAGE) from None


def _line(one: Read) -> dict[str, Json]:
    cited: list[Json] = [asdict(span) for span in one.cited]
    return {
        "id": one.asked.id,
        "source": one.asked.source,
        "kind": one.asked.kind,
        "question": one.asked.question,
        "outcome": one.outcome,
        "text": one.text,
        "cited": cited,
        "suggested": list(one.suggested),
    }


def _figures(one: ReadingScores) -> dict[str, Json]:
    return {camel(field.name): _figure(getattr(one, field.name)) for field in fields(one)}


def _figure(value: Interval | float | None) -> Json:
    if isinstance(value, Interval):
        return [rounded(value.value), rounded(value.low), rounded(value.high)]
    return rounded(value) if isinstance(value, float) else value


def _print(name: str, one: ReadingScores) -> None:
    print_text(name)
    for field in fields(one):
        value: Interval | float | None = getattr(one, field.name)
        if isinstance(value, Interval):
            shown = f"{value.value:.3f}  ({value.low:.3f}–{value.high:.3f})"
        else:
            shown = str(value) if isinstance(value, int) else fraction(value)
        print_text(f"  {camel(field.name):<18} {shown}")
