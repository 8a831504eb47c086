"""The commands `responsa eval retrieval | answers | reading | citations | intents | injection`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from responsa_client.aio import AsyncResponsa
from responsa_lab.evaluation.citations import eval_citations
from responsa_lab.evaluation.dataset import DataSet, DatasetQuestion, Limit
from responsa_lab.evaluation.injection import eval_injection
from responsa_lab.evaluation.intents import eval_intents
from responsa_lab.evaluation.measuring import (
    WAYS,
    AnswerScores,
    RetrievalScores,
    as_object,
    compare_rankings,
    load_documents,
    measure_answers,
    measure_retrieval,
)
from responsa_lab.evaluation.metrics import fraction
from responsa_lab.evaluation.reading import eval_reading
from responsa_server.cli.output import Json, print_json, print_text, reporting
from responsa_server.cli.progress import Progress
from responsa_server.cli.session import open_async_client

Scores = RetrievalScores | AnswerScores
Measured = TypeVar("Measured")
Asking = Callable[
    [AsyncResponsa, Sequence[DatasetQuestion], str, Mapping[str, str], Callable[[], None]],
    Awaitable[Measured],
]

Folder = Annotated[Path, typer.Argument(help="A folder with docs.jsonl and questions.jsonl.")]
Collection = Annotated[
    str,
    typer.Option(
        "--collection",
        "-c",
        help="Load the documents into this collection, and search only there. By default, its name is eval- followed by the folder's name.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer, name: str) -> None:
    """Adds the command group `eval`."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Measure retrieval, answers and routing on a data set.",
        rich_markup_mode=None,
    )
    group.command("retrieval")(eval_retrieval)
    group.command("answers")(eval_answers)
    group.command("reading")(eval_reading)
    group.command("citations")(eval_citations)
    group.command("intents")(eval_intents)
    group.command("injection")(eval_injection)
    app.add_typer(group, name=name)


def eval_retrieval(
    folder: Folder,
    collection: Collection = "",
    limit: Limit = 0,
    compare: Annotated[bool, typer.Option("--compare")] = False,
    json: AsJson = False,
) -> None:
    """Load docs.jsonl, search for each answerable question, and print recall@1, @3, @5, @10, nDCG@10 and MRR@10.

    The rank of a document is the rank of its best passage.

    Args:
        compare: Compare with BM25, with vectors alone and with the reciprocal rank fusion of both; print
            nDCG@10 for each half of the questions too.
    """
    if not compare:
        _evaluate(folder, collection, limit, json, measure_retrieval)
        return
    with reporting(json=json):
        data = DataSet.read(folder, limit)
        by_way = asyncio.run(_run(data, collection or data.collection, compare_rankings))
        tables = {way: as_object(scores) for way, scores in by_way.items()}
        if json:
            print_json({way: dict[str, Json](table) for way, table in tables.items()})
            return
        names = list(tables[WAYS[0]])
        print_text("  ".join(["ranking", *names]))
        for way, table in tables.items():
            values = (fraction(table[name]) for name in names)
            cells = (f"{value:>{len(name)}}" for name, value in zip(names, values, strict=True))
            print_text("  ".join([f"{way:<7}", *cells]))


def eval_answers(folder: Folder, collection: Collection = "", limit: Limit = 0, json: AsJson = False) -> None:
    """Load docs.jsonl, ask each question, and print how often the right text is in the answer, how often the agent
    refused, and which share of the citations is verified."""
    _evaluate(folder, collection, limit, json, measure_answers)


def _evaluate(folder: Path, collection: str, limit: int, json: bool, measure: Asking[Scores]) -> None:
    with reporting(json=json):
        data = DataSet.read(folder, limit)
        scores = as_object(asyncio.run(_run(data, collection or data.collection, measure)))
        if json:
            print_json(scores)
            return
        width = max(len(name) for name in scores)
        for name, value in scores.items():
            print_text(f"{name:<{width}}  {value if isinstance(value, int) else fraction(value)}")


async def _run(data: DataSet, collection: str, measure: Asking[Measured]) -> Measured:
    async with open_async_client() as client:
        keys = await load_documents(client, data.documents, collection)
        with Progress("Asking", len(data.questions)) as progress:
            return await measure(client, data.questions, collection, keys, progress.advance)
