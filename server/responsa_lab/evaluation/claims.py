"""`responsa eval claims`: measures how well the judge of citations tells right claims from wrong ones. The command needs no server.

A folder holds sources.toml and the claims, look.jsonl. Each line is one JSON object: {id, source,
document, start, end, kind, made, claim}. The claim is about bytes [start, end) of a document of the source. `claim` is a list of parts, which together are the claim's text: a string, or
[start, end] for bytes of the document, or [question, start, end] for bytes of a question of the source's questions.jsonl. The documents of a
source are files, or the lines of a docs.jsonl (see `dataset.py`).
"""

from __future__ import annotations

import json as json_lines
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from uuid import NAMESPACE_URL, uuid5

import typer
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from responsa_lab.evaluation.dataset import lines
from responsa_lab.evaluation.metrics import Interval, rounded, share
from responsa_lab.evaluation.reading import Source, digest
from responsa_server.cli.output import EXIT_USAGE, CommandFailed, Json, print_json, print_text
from responsa_server.domain.answers import CitedSentence
from responsa_server.domain.events import ByteRange
from responsa_server.domain.knowledge import Chunking
from responsa_server.domain.passages import FoundPassage, Passage, PassagePiece, VectorKind
from responsa_server.ingest.chunk import chunk_document
from responsa_server.ingest.formats.table import FORMATS
from responsa_server.ingest.indexing import plan_vectors
from responsa_server.ingest.sniff import sniff
from responsa_server.instance import CHECKOUT
from responsa_server.search.citation_check import judge_claims
from responsa_server.search.embedder import Embedder
from responsa_server.search.evidence import PassageAnalyses
from responsa_server.search.prompt_passages import PromptPassage
from responsa_server.text.lexical import language_of
from responsa_server.text.sentences import pieces

OURS: Final = CHECKOUT / "evals" / "claims"
Kind = Literal[
    "right",
    "name",
    "number",
    "date",
    "unit",
    "negation",
    "antonym",
    "other_word",
    "outside",
    "swap",
    "row",
    "answer",
]


class Labelled(BaseModel):
    """A claim with its label. kind: "right", or what is wrong. made: whether a person wrote the claim or a rule made it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,62}$")]
    source: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,40}$")]
    document: str
    start: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(ge=1)]
    kind: Kind
    made: Literal["hand", "rule"]
    claim: tuple[str | tuple[int, int] | tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Case:
    """A claim to judge. passage: the passage that the claim names. elsewhere: whether this is another passage than the claim's own."""

    label: Labelled
    text: str
    passage: FoundPassage
    elsewhere: bool = False

    @property
    def kind(self) -> str:
        """The kind of the label, or "elsewhere"."""
        return "elsewhere" if self.elsewhere else self.label.kind

    @property
    def english(self) -> bool:
        """Whether the documents of the claim's source are in English. The sources in other languages are parts of xquad."""
        return not self.label.source.startswith("xquad-")


class _Documents:
    """The documents of all sources, cut into passages as the server does it."""

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        self._folder = folder
        self._embedder = embedder
        self._rows: dict[Path, Mapping[str, Mapping[str, Any]]] = {}
        self._cut: dict[tuple[str, str], tuple[bytes, Sequence[FoundPassage]]] = {}

    def row(self, source: str, file: str, name: str) -> Mapping[str, Any]:
        path = self._folder / source / file
        if path not in self._rows:
            found = map(json_lines.loads, path.read_text(encoding="utf-8").splitlines())
            self._rows[path] = {one["id"]: one for one in found}
        return self._rows[path][name]

    def cut(self, source: str, name: str) -> tuple[bytes, Sequence[FoundPassage]]:
        """The canonical text of a document, and its passages."""
        key = (source, name)
        if key not in self._cut:
            self._cut[key] = self._read(source, name)
        return self._cut[key]

    def _read(self, source: str, name: str) -> tuple[bytes, Sequence[FoundPassage]]:
        title = ""
        if (self._folder / source / "docs.jsonl").is_file():
            row = self.row(source, "docs.jsonl", name)
            original, title = sniff(str(row["text"]).encode(), "document.txt"), str(row["title"])
        else:
            original = sniff((self._folder / source / name).read_bytes(), name)
        format_ = FORMATS.named(original.format)
        assert format_ is not None, "sniff() must return the name of a format in the table of formats"
        parsed = format_.load()(original)
        title = title or parsed.title
        language = parsed.language or language_of(parsed.canonical_text)
        cut = pieces(parsed.canonical_text, parsed.blocks, language)
        document = uuid5(NAMESPACE_URL, f"{source}/{name}")
        found: list[FoundPassage] = []
        for chunk in chunk_document(parsed, self._embedder.token_offsets, Chunking()):
            bytes_ = ByteRange(chunk.byte_start, chunk.byte_end)
            planned = plan_vectors(
                self._embedder, title, chunk.heading_path, bytes_, chunk.text, cut, first=False
            )
            stored = [
                PassagePiece(one.kind, one.source, None)
                for one in planned
                if one.kind is not VectorKind.WINDOW
            ]
            id_ = uuid5(document, str(chunk.ordinal))
            passage = Passage(id_, source, document, 1, title, "", bytes_, chunk.text, chunk.heading_path)
            found.append(FoundPassage(passage, language, stored))
        return parsed.canonical_text.encode(), found

    def text(self, label: Labelled, canonical: bytes) -> str:
        return "".join(self._part(label.source, part, canonical) for part in label.claim).strip()

    def _part(self, source: str, part: str | tuple[int, int] | tuple[str, int, int], canonical: bytes) -> str:
        match part:
            case str():
                return part
            case (int(start), int(end)):
                return canonical[start:end].decode()
            case (question, start, end):
                row = self.row(source, "questions.jsonl", question)
                return str(row["question"]).encode()[start:end].decode()


def read_cases(folder: Path, documents: Path, embedder: Embedder) -> Sequence[Case]:
    """The claims of a folder, each with its own passage; and each right claim once more, with a passage of another document of the same source or article.
    A claim about bytes that no passage contains is left out.

    Raises:
        CommandFailed: a file is missing or wrong, the documents of a source are not those that the claims were made for, or a label names a document, a question or bytes
            that they lack. The message names the file and, for a label, its line.
    """
    try:
        tables = tomllib.loads((folder / "sources.toml").read_text(encoding="utf-8"))
        sources = TypeAdapter(dict[str, Source]).validate_python(tables)
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise CommandFailed(f"{folder / 'sources.toml'} cannot be read: {error}", "", EXIT_USAGE) from None
    labels = list(lines(folder / "look.jsonl", Labelled, "claim"))
    for name in sorted({one.source for _, one in labels}):
        if (source := sources.get(name)) is None:
            raise CommandFailed(f"{folder / 'sources.toml'} has no source {name}.", "", EXIT_USAGE)
        number, found = digest(documents / name)
        if found != source.sha256:
            raise CommandFailed(
                f"{documents / name} has {number} files with the SHA-256 {found}; expected are {source.documents} files with {source.sha256}.",
                f"Put only the files {source.paths} of {source.origin}, at the commit {source.commit}, into this folder.",
                EXIT_USAGE,
            )
    library = _Documents(documents, embedder)
    own: list[Case] = []
    for where, label in labels:
        try:
            canonical, passages = library.cut(label.source, label.document)
            text = library.text(label, canonical)
            there = label.start < label.end <= len(canonical)
        except (KeyError, OSError, UnicodeDecodeError):
            there, passages, text = False, (), ""
        if not there:
            raise CommandFailed(
                f"{where} names a document, a question or bytes that {documents / label.source} lacks.",
                "",
                EXIT_USAGE,
            )
        holder = (
            one
            for one in passages
            if one.passage.source.start <= label.start and label.end <= one.passage.source.end
        )
        if (passage := next(holder, None)) is not None:
            own.append(Case(label, text, passage))
    return [*own, *_elsewhere(own)]


def _elsewhere(own: Sequence[Case]) -> Sequence[Case]:
    near: dict[str, list[FoundPassage]] = {}
    for one in own:
        near.setdefault(_article(one.label), []).append(one.passage)
    found: list[Case] = []
    for place, one in enumerate(own):
        others = [
            other
            for other in near[_article(one.label)]
            if other.passage.document_id != one.passage.passage.document_id
        ]
        if one.label.kind == "right" and others:
            found.append(Case(one.label, one.text, others[place % len(others)], elsewhere=True))
    return found


def _article(label: Labelled) -> str:
    """The source and, if the name of the document is the name of an article with the number of a paragraph, the article."""
    article, _, number = label.document.rpartition("/")
    return f"{label.source}/{article}" if number.isdecimal() else label.source


def judge_cases(cases: Sequence[Case]) -> Sequence[tuple[Case, bool]]:
    """Each case, and whether the judge accepts its claim."""
    analyses = PassageAnalyses()
    groups: dict[tuple[bool, str], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.elsewhere, str(case.passage.passage.id)), []).append(case)
    judged: list[tuple[Case, bool]] = []
    for group in groups.values():
        passage = group[0].passage
        shown = PromptPassage(passage, passage.passage.source, passage.passage.text)
        quotes = judge_claims([CitedSentence(one.text, 1) for one in group], [shown], analyses)
        judged += [(case, quote is not None) for case, quote in zip(group, quotes, strict=True)]
    return judged


def figures(judged: Sequence[tuple[Case, bool]]) -> Mapping[str, Interval]:
    """The share of claims that the judge accepts, with 95 % intervals: of right claims, of wrong claims, and of right claims with a passage of another document; first in
    English, then by what is wrong, then in the other languages.
    """

    def wrong(case: Case) -> bool:
        return case.kind not in ("right", "elsewhere")

    rows: list[tuple[str, Sequence[bool]]] = []
    english = [(case, accepted) for case, accepted in judged if case.english]
    others = [(case, accepted) for case, accepted in judged if not case.english]
    for made in ("hand", "rule"):
        own = [(case, accepted) for case, accepted in english if case.label.made == made]
        rows.append((f"right, {made}", [accepted for case, accepted in own if case.kind == "right"]))
        rows.append((f"wrong, {made}", [accepted for case, accepted in own if wrong(case)]))
    rows.append(("right", [accepted for case, accepted in english if case.kind == "right"]))
    rows.append(("wrong", [accepted for case, accepted in english if wrong(case)]))
    rows.append(("elsewhere", [accepted for case, accepted in english if case.elsewhere]))
    kinds = sorted({case.kind for case, _ in english if wrong(case)})
    rows += [
        (f"wrong: {kind}", [accepted for case, accepted in english if case.kind == kind]) for kind in kinds
    ]
    for language in sorted({case.label.source for case, _ in others}):
        own = [(case, accepted) for case, accepted in others if case.label.source == language]
        rows.append((f"{language}: right", [accepted for case, accepted in own if case.kind == "right"]))
        rows.append((f"{language}: wrong", [accepted for case, accepted in own if wrong(case)]))
        rows.append((f"{language}: elsewhere", [accepted for case, accepted in own if case.elsewhere]))
    return {name: found for name, values in rows if (found := share(values)) is not None}


def eval_claims(
    documents: Annotated[
        Path,
        typer.Argument(
            help="A folder that contains one folder of documents for each source in `sources.toml`."
        ),
    ],
    folder: Annotated[
        Path, typer.Option("--set", help="The folder with sources.toml and the claims.", show_default=False)
    ] = OURS,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Judge labelled claims, and print which share of the right ones and of the wrong ones is accepted, with 95 % intervals. No server is needed.

    A wrong claim is about the same paragraph as a right one, but a name, a number or a word is another. "elsewhere" is the share of right claims
    that a passage of another document supports.
    """
    # This import is late, because it loads the embedded parts, which most measurements do not need.
    from responsa_server.cli.local.failures import reporting

    with reporting(json=json), ExitStack() as stack:
        from responsa_lab.evaluation.local import load_embedder

        found = figures(judge_cases(read_cases(folder, documents, load_embedder(stack))))
        if json:
            shares: dict[str, Json] = {
                name: [rounded(one.value), rounded(one.low), rounded(one.high)] for name, one in found.items()
            }
            print_json(shares)
            return
        width = max(map(len, found))
        for name, one in found.items():
            print_text(f"{name:<{width}}  {one.value:.3f}  ({one.low:.3f}–{one.high:.3f})")
