"""`responsa eval citations`: measures which differences between a sentence and its source are shown. The command needs no server.

A folder holds sources.toml and pairs.jsonl. Each line of the latter is one JSON object: {source, document, language,
kind, quote, true, false}. `true` and `false` are sentences about a document of the source, and `quote` has the words of
the document that a careful writer would copy for both. A citation should have a difference for `false`, if its kind is
one of form, and none for `true`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import typer
from pydantic import BaseModel, ConfigDict, Field

from responsa_contract import QuoteOrigin
from responsa_formats.parsers.sniff import sniff
from responsa_lab.evaluation.dataset import lines
from responsa_lab.evaluation.metrics import round_off
from responsa_lab.evaluation.reading import check_folder, sources
from responsa_server.cli.output import Json, print_json, print_text, reporting
from responsa_server.domain.answers import CitedSentence
from responsa_server.domain.events import ByteRange
from responsa_server.domain.knowledge import Chunking
from responsa_server.domain.passages import FoundPassage, Passage
from responsa_server.ingest.chunk import chunk_document
from responsa_server.ingest.formats import FORMATS
from responsa_server.search.citation_check import check_claims
from responsa_server.search.prompt_passages import PromptPassage
from responsa_server.search.quoting import Quotable
from responsa_server.system.instance import CHECKOUT
from responsa_server.text.lexical import Analyzer

OURS: Final = CHECKOUT / "evals" / "citations"
_TOKEN: Final = re.compile(r"\w+|[^\w\s]")


class Pair(BaseModel):
    """A true and a false sentence for the same quote."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9_-]{0,40}$")]
    document: str
    language: str
    kind: str
    quote: str
    true: str
    false: str


@dataclass(frozen=True, slots=True)
class Judged:
    """The differences of a pair's sentences, as words of the sentences; None if the quote was not found."""

    pair: Pair
    true: Sequence[str] | None
    false: Sequence[str] | None


def judge(pairs: Sequence[Pair], documents: Path) -> Iterator[Judged]:
    """Checks both sentences of each pair against the passage that holds the quote."""
    analyzer = Analyzer()
    cut: dict[Path, Sequence[PromptPassage]] = {}
    for pair in pairs:
        file = documents / pair.source / pair.document
        if file not in cut:
            cut[file] = list(_passages(file, pair.language))
        passage = next((item for item in cut[file] if Quotable(item.text).find(pair.quote)), None)
        yield Judged(
            pair, *(_differences(claim, pair.quote, passage, analyzer) for claim in (pair.true, pair.false))
        )


def _passages(file: Path, language: str) -> Iterator[PromptPassage]:
    original = sniff(file.read_bytes(), file.name)
    row = FORMATS.with_name(original.format)
    assert row is not None, f"no format reads {file}"
    parsed = row.load()(original)

    def words(text: str) -> Sequence[tuple[int, int]]:
        return [match.span() for match in _TOKEN.finditer(text)]

    for chunk in chunk_document(parsed, words, Chunking()):
        source = ByteRange(chunk.byte_start, chunk.byte_end)
        passage = Passage(
            UUID(int=1), "default", UUID(int=2), 1, parsed.title, "", source, chunk.text,
            headings=chunk.heading_path, outline=chunk.outline,
        )  # fmt: skip
        yield PromptPassage(FoundPassage(passage, language, ()), source, chunk.text)


def _differences(
    claim: str, quote: str, passage: PromptPassage | None, analyzer: Analyzer
) -> Sequence[str] | None:
    if passage is None:
        return None
    data = claim.encode()
    sentence = CitedSentence(claim, ByteRange(0, len(data)), 1, quote)
    (checked,) = asyncio.run(check_claims([sentence], [passage], analyzer))
    if checked is None or checked.origin is not QuoteOrigin.COPIED:
        return None
    return [f"{gap.kind}: {data[gap.answer.start : gap.answer.end].decode()}" for gap in checked.differences]


def eval_citations(
    documents: Path,
    folder: Annotated[Path, typer.Option("--set", show_default=False)] = OURS,
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Compare a true and a false sentence with each quote, and print how many of each have a difference, for each kind
    and each half.

    Lines with even numbers are there to improve the check with, and lines with odd numbers to report. Needs no server.

    Args:
        documents: A folder that contains one folder of documents for each source in `sources.toml`.
        folder: The folder with sources.toml and pairs.jsonl.
        json: Print one JSON object.
    """
    with reporting(json=json):
        known = sources(folder)
        pairs = [pair for _, pair in lines(folder / "pairs.jsonl", Pair, "pair")]
        for name in sorted({pair.source for pair in pairs}):
            check_folder(folder, known, name, documents)
        results = list(judge(pairs, documents))
        halves = {"odd": results[::2], "even": results[1::2]}
        if json:
            print_json({name: _figures(half) for name, half in halves.items()})
            return
        for name, half in halves.items():
            _print(name, half)


def _figures(half: Sequence[Judged]) -> dict[str, Json]:
    kinds = list(dict.fromkeys(item.pair.kind for item in half))
    return {
        kind: {
            "pairs": len(of),
            "falseShown": round_off(sum(bool(item.false) for item in of) / len(of)),
            "trueShown": round_off(sum(bool(item.true) for item in of) / len(of)),
        }
        for kind in (*kinds, "all")
        if (of := [item for item in half if kind in (item.pair.kind, "all")])
    }


def _print(name: str, half: Sequence[Judged]) -> None:
    print_text(f"{name} lines  pairs  falseShown  trueShown")
    for kind, row in _figures(half).items():
        assert isinstance(row, dict)
        print_text(f"  {kind:<9} {row['pairs']:>6} {row['falseShown']:>11} {row['trueShown']:>10}")
    for result in half:
        if result.true is None:
            print_text(f"quote not found: {result.pair.quote}")
        elif result.true:
            print_text(f"{', '.join(result.true)} though true: {result.pair.true} | {result.pair.quote}")
        if result.false == []:
            print_text(f"no difference though false: {result.pair.false} | {result.pair.quote}")
