"""`responsa eval reading`: measures whether turns show, or models cite, the places of documents that answer questions.

A folder holds sources.toml and a file of questions for each part. Each line is one JSON object: {id, source, kind:
answerable | near_miss | off_topic, question, form: prose | table | list | code, answers, belongs}. `answers` and
`belongs` are lists of {document, start, end}: bytes [start, end) of a document of the source. Each entry of `answers`
answers the question by itself; an entry of `belongs` adds something that the asker wants. Only answerable questions
have `form`, `answers` and `belongs`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json as json_lines
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from responsa.chat.v1 import citation_pb2, excerpt_pb2, turn_pb2
from responsa.chat.v1.turn_pb2 import FallbackKind
from responsa.type.v1 import byte_range_pb2
from responsa_client.aio import AsyncResponsa
from responsa_lab.evaluation.dataset import Limit, lines, spread
from responsa_lab.evaluation.measuring import answering, load_documents, several, spans_of, valid_citations
from responsa_lab.evaluation.metrics import Interval, TextSpan, camel, fraction, mean, ratio, round_off, share
from responsa_server.cli.output import EXIT_USAGE, CommandFailed, Json, print_json, print_text, reporting
from responsa_server.cli.progress import Progress
from responsa_server.cli.session import open_async_client
from responsa_server.system.instance import CHECKOUT

OURS: Final = CHECKOUT / "evals" / "reading"


class ReadingPart(StrEnum):
    """The part of the questions to ask. Thresholds are fitted on `fit`, variants are compared on `choose`, and `look`
    and `more` are measured at the end."""

    FIT = "fit"
    CHOOSE = "choose"
    LOOK = "look"
    MORE = "more"


class Asked(BaseModel):
    """A question with the places of its answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,62}$")]
    source: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,40}$")]
    kind: Literal["answerable", "near_miss", "off_topic"]
    question: Annotated[str, Field(min_length=1, max_length=4000)]
    form: Literal["prose", "table", "list", "code"] | None = None
    answers: tuple[TextSpan, ...] = ()
    belongs: tuple[TextSpan, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Asked:
        labelled = bool(self.form and self.answers)
        if (self.kind == "answerable") != labelled or (self.belongs and not labelled):
            raise ValueError("an answerable question needs form and answers; other questions have no places")
        if not all(0 <= answer.start < answer.end for answer in (*self.answers, *self.belongs)):
            raise ValueError("a place must begin at 0 or later, and before its end")
        return self


class DocumentSource(BaseModel):
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
    """What a turn showed for one question.

    outcome: "answer", "refused" or "failed". model: the writer of the answer, or "". shown, more: the excerpts that the
    screen shows at once, and the further ones, in the order of the search. shown_bytes: the size of the text that is
    shown at once. cited: the spans of the valid citations of a model's answer. citations: the number of all its
    citations. uncited: whether a model wrote an answer of which no citation was left. text_only: whether the search
    went without vectors.
    """

    question: Asked
    outcome: str
    model: str
    text: str
    shown: Sequence[TextSpan]
    more: Sequence[TextSpan]
    shown_bytes: int
    cited: Sequence[TextSpan]
    citations: int
    uncited: bool
    text_only: bool

    @property
    def written(self) -> bool:
        """Whether a model wrote an answer from the passages of its prompt, cited or not."""
        return self.uncited or (self.outcome == "answer" and self.model not in _NO_MODEL)

    def has(self, spans: Iterable[TextSpan]) -> bool:
        """Whether one of the spans shows a place that answers the question."""
        return any(meets(span, self.question.answers) for span in spans)


_NO_MODEL: Final = ("", "passages", "template")


def meets(span: TextSpan, places: Iterable[TextSpan]) -> bool:
    """Whether the span and one of the places overlap in at least half of the shorter of the two."""
    return any(2 * span.overlap(part) >= min(span.length, part.length) for part in places)


_KINDS: Final = ("answerable", "near_miss", "off_topic")


@dataclass(frozen=True, slots=True)
class ReadingScores:
    """The quality of what turns show. Shares from 0 to 1 have 95 % intervals; those of a model are None if no model
    wrote or refused anything.

    text_only: the number of turns whose search went without vectors, as it does on a busy machine. shown: the share of
    answerable questions of which a labelled place stands in the excerpts on the first screen, also in those of a
    refusal. with_more: the same with the further excerpts. first: it stands in the first excerpt. refused: the share of
    answerable questions that were refused. most_bytes, mean_bytes: the size of the first screen's text.
    near_misses_refused, off_topic_refused: the shares of the other questions that were refused.
    written: the share of answerable questions that a model answered. With `scripted:labelled`, this is the share of
    questions of which a labelled place stands in the prompt.
    cited: the share that a model answered with a valid citation. cited_right: with a valid citation of a labelled
    place. near_misses_cited: the share of near misses that a model answered and of which a citation was kept.
    citations: how many citations the models' answers have; valid: the share that VerifyCitations confirms.
    """

    questions: int
    answerable: int
    failed: int
    text_only: int
    shown: Interval | None
    with_more: Interval | None
    first: Interval | None
    refused: Interval | None
    mean_bytes: float | None
    most_bytes: int
    near_misses_refused: Interval | None
    off_topic_refused: Interval | None
    written: Interval | None
    cited: Interval | None
    cited_right: Interval | None
    near_misses_cited: Interval | None
    citations: int
    valid: Interval | None


def scores(reads: Sequence[Read]) -> ReadingScores:
    """The scores of these turns. A failed turn counts as neither shown, written nor refused."""
    of = {kind: [read for read in reads if read.question.kind == kind] for kind in _KINDS}
    answerable, written = of["answerable"], [read for read in reads if read.written]

    def share_refused(kind: str) -> Interval | None:
        return share(read.outcome == "refused" for read in of[kind])

    screens = [read.shown_bytes for read in reads if read.outcome == "answer" and read.shown]
    return ReadingScores(
        questions=len(reads),
        answerable=len(answerable),
        failed=sum(read.outcome not in ("answer", "refused") for read in reads),
        text_only=sum(read.text_only for read in reads),
        shown=share(read.has(read.shown) for read in answerable),
        with_more=share(read.has((*read.shown, *read.more)) for read in answerable),
        first=share(read.has(read.shown[:1]) for read in answerable),
        refused=share_refused("answerable"),
        mean_bytes=mean(screens),
        most_bytes=max(screens, default=0),
        near_misses_refused=share_refused("near_miss"),
        off_topic_refused=share_refused("off_topic"),
        written=share(read.written for read in answerable) if written else None,
        cited=share(bool(read.cited) for read in answerable) if written else None,
        cited_right=share(read.has(read.cited) for read in answerable) if written else None,
        near_misses_cited=share(read.citations > 0 for read in of["near_miss"]) if written else None,
        citations=sum(read.citations for read in reads),
        valid=ratio([(len(read.cited), read.citations) for read in written]),
    )


def digest(folder: Path) -> tuple[int, str]:
    """The number of files of a source, and the SHA-256 over the files: for each file, in the order of the paths, its
    path, a zero byte and the SHA-256 of its bytes."""
    hasher, files = hashlib.sha256(), sorted(path for path in folder.rglob("*") if path.is_file())
    for file in files:
        hasher.update(str(file.relative_to(folder)).encode() + b"\0")
        hasher.update(hashlib.sha256(file.read_bytes()).digest())
    return len(files), hasher.hexdigest()


def sources(folder: Path) -> Mapping[str, DocumentSource]:
    """The sources that sources.toml names. Raises CommandFailed: the file is missing or wrong."""
    file = folder / "sources.toml"
    try:
        return TypeAdapter(dict[str, DocumentSource]).validate_python(
            tomllib.loads(file.read_text(encoding="utf-8"))
        )
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise CommandFailed(f"{file} cannot be read: {error}", "", EXIT_USAGE) from None


def check_folder(folder: Path, known: Mapping[str, DocumentSource], name: str, documents: Path) -> Path:
    """The folder of a source's documents. folder: where `known` was read. Raises CommandFailed: no such source is
    known, or its documents are not those that the set was made for."""
    if (source := known.get(name)) is None:
        raise CommandFailed(f"{folder / 'sources.toml'} has no source {name}.", "", EXIT_USAGE)
    number, actual = digest(documents / name)
    if actual != source.sha256:
        raise CommandFailed(
            f"{documents / name} has {number} files with the SHA-256 {actual}; expected are {source.documents} files with {source.sha256}.",
            f"Put only the files {source.paths} of {source.origin}, at the commit {source.commit}, into this folder.",
            EXIT_USAGE,
        )
    return documents / name


@dataclass(frozen=True, slots=True)
class ReadingSet:
    """The questions of one part, and the folder of each source that they ask about."""

    questions: Sequence[Asked]
    folders: Mapping[str, Path]

    @classmethod
    def read(
        cls, folder: Path, part: str, documents: Path, limit: int, only: Collection[str] | None = None
    ) -> ReadingSet:
        """Read the file {part}.jsonl and check its documents. limit: as for `spread`. only: the sources to ask about; None means all.

        Raises:
            CommandFailed: a file is missing or wrong, or the documents of a source are not those that the labels were made for.
        """
        known = sources(folder)
        asked = [line for _, line in lines(folder / f"{part}.jsonl", Asked, "question")]
        questions = spread([item for item in asked if only is None or item.source in only], limit)
        folders: dict[str, Path] = {}
        for name in sorted({question.source for question in questions}):
            folders[name] = check_folder(folder, known, name, documents)
        return cls(questions, folders)

    @classmethod
    def join(cls, sets: Sequence[ReadingSet]) -> ReadingSet:
        """The questions of several parts."""
        folders = {name: folder for part in sets for name, folder in part.folders.items()}
        return cls([asked for part in sets for asked in part.questions], folders)

    def labels(self) -> Sequence[Mapping[str, Json]]:
        """The answerable questions with the texts of their labelled places, as `responsa_lab.scripted.readers.Label` has them."""
        return [
            {"question": asked.question, "texts": self.texts(asked)}
            for asked in self.questions
            if asked.kind == "answerable"
        ]

    def texts(self, question: Asked) -> list[Json]:
        """The texts of the places that answer a question."""
        folder = self.folders[question.source]
        return [
            (folder / span.document).read_bytes()[span.start : span.end].decode() for span in question.answers
        ]


def eval_reading(
    documents: Path,
    part: Annotated[list[ReadingPart] | None, typer.Option(show_default="choose")] = None,
    folder: Annotated[Path, typer.Option("--set", show_default=False)] = OURS,
    limit: Limit = 0,
    agent: str = "",
    labels: Path | None = None,
    answers: Path | None = None,
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Load the documents of each source into its own collection, ask the questions there, and compare the shown
    passages, or what a model cites, with the labelled places.

    A text shows a place if their overlap is at least half as long as the shorter of the two.

    Args:
        documents: A folder that contains one folder of documents for each source in `sources.toml`.
        part: The questions to ask; repeatable. Fit thresholds on `fit`, compare variants on `choose`, and
            measure `look` and `more` at the end.
        folder: The folder with sources.toml and the questions.
        agent: The agent to ask. Default: the server's default agent.
        labels: First write the labelled texts to this file, for a server with the model scripted:labelled and
            SCRIPTED_LABELS set to this file.
        answers: Write each question with its answer to this file, one JSON object per line.
        json: Print one JSON object.
    """
    with reporting(json=json):
        sets = [ReadingSet.read(folder, name, documents, limit) for name in part or [ReadingPart.CHOOSE]]
        whole = ReadingSet.join(sets)
        if labels is not None:
            _write(labels, whole.labels())
        if answers is not None:
            _write(answers, ())  # a file that cannot be written must fail before the questions are asked
        reads = asyncio.run(_run(whole, agent))
        if answers is not None:
            _write(answers, [_line(read) for read in reads])
        if json:
            print_json(
                {
                    **_figures(scores(reads)),
                    "sources": {name: _figures(scores(those)) for name, those in _by_source(reads)},
                }
            )
            return
        for name, those in (("all", reads), *_by_source(reads)):
            _print(name, scores(those))


def _by_source(reads: Sequence[Read]) -> Sequence[tuple[str, Sequence[Read]]]:
    names = sorted({read.question.source for read in reads})
    return [(name, [read for read in reads if read.question.source == name]) for name in names]


def collection_of(source: str) -> str:
    """The collection of a source's documents."""
    return f"reading-{source}"


async def load_source(client: AsyncResponsa, name: str, folder: Path) -> Mapping[str, str]:
    """Ingests the documents of a source into its collection, and returns their paths in the source's folder, by the
    documents' names. Raises CommandFailed."""
    keys = await load_documents(client, folder, collection_of(name), f"Loading {name}")
    return {document: key.removeprefix(f"{folder.name}/") for document, key in keys.items()}


async def _run(reading_set: ReadingSet, agent: str) -> Sequence[Read]:
    async with open_async_client() as client:
        keys = {name: await load_source(client, name, folder) for name, folder in reading_set.folders.items()}
        return await ask_all(client, reading_set.questions, keys, agent)


async def ask_all(
    client: AsyncResponsa, questions: Sequence[Asked], keys: Mapping[str, Mapping[str, str]], agent: str = ""
) -> Sequence[Read]:
    """Asks each question in the collection of its source. keys: for each source, the paths of its documents by their
    names. agent: "" for the default agent."""
    texts: dict[str, bytes] = {}
    with Progress("Asking", len(questions)) as progress:

        async def ask(question: Asked) -> Read:
            collection = collection_of(question.source)
            async with answering(client, question.question, collection, agent=agent) as turn:
                valid = await valid_citations(client, turn, texts)
            progress.advance()
            return _read(question, turn, valid, keys[question.source])

        return await several(questions, ask)


def _read(
    question: Asked, turn: turn_pb2.Turn, valid: Sequence[citation_pb2.Citation], keys: Mapping[str, str]
) -> Read:
    event = turn.terminal_event
    answer, refused = event.answer, event.refused
    shown, fallbacks = [*answer.excerpts, *refused.excerpts], [*answer.fallbacks, *refused.fallbacks]
    wrote = answer.model not in _NO_MODEL

    def span(excerpt: excerpt_pb2.Excerpt, part: byte_range_pb2.ByteRange) -> TextSpan:
        return TextSpan(
            keys.get(excerpt.document_version.partition("/versions/")[0], ""), part.start, part.end
        )

    return Read(
        question=question,
        outcome=event.WhichOneof("event") or "failed",
        model=answer.model,
        text=answer.text,
        shown=[span(excerpt, excerpt.source_range) for excerpt in shown],
        more=[span(excerpt, excerpt.source_range) for excerpt in answer.more_excerpts],
        shown_bytes=sum(excerpt.source_range.end - excerpt.source_range.start for excerpt in shown),
        text_only=any(fallback.kind == FallbackKind.FALLBACK_KIND_TEXT_ONLY for fallback in fallbacks),
        cited=spans_of(valid, keys) if wrote else (),
        citations=len(answer.citations) if wrote else 0,
        uncited=any(fallback.kind == FallbackKind.FALLBACK_KIND_UNCITED for fallback in fallbacks),
    )


def _write(file: Path, values: Sequence[Mapping[str, Json]]) -> None:
    text = "".join(json_lines.dumps(value, ensure_ascii=False) + "\n" for value in values)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"{file} cannot be written ({error.strerror}).", "", EXIT_USAGE) from None


def _line(read: Read) -> dict[str, Json]:
    def spans(those: Sequence[TextSpan]) -> list[Json]:
        return [asdict(span) for span in those]

    return {
        "id": read.question.id,
        "source": read.question.source,
        "kind": read.question.kind,
        "question": read.question.question,
        "outcome": read.outcome,
        "model": read.model,
        "text": read.text,
        "shows": read.has(read.shown),
        "shown": spans(read.shown),
        "more": spans(read.more),
        "cited": spans(read.cited),
        "uncited": read.uncited,
    }


def _figures(reading_scores: ReadingScores) -> dict[str, Json]:
    return {
        camel(field.name): _figure(getattr(reading_scores, field.name)) for field in fields(reading_scores)
    }


def _figure(value: Interval | float | None) -> Json:
    if isinstance(value, Interval):
        return [round_off(value.value), round_off(value.low), round_off(value.high)]
    return round_off(value) if isinstance(value, float) else value


def _print(name: str, reading_scores: ReadingScores) -> None:
    print_text(name)
    for field in fields(reading_scores):
        value: Interval | float | None = getattr(reading_scores, field.name)
        if isinstance(value, Interval):
            shown = f"{value.value:.3f}  ({value.low:.3f}–{value.high:.3f})"
        else:
            shown = str(value) if isinstance(value, int) else fraction(value)
        print_text(f"  {camel(field.name):<18} {shown}")
