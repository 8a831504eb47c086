"""`responsa ingest`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from responsa_server.cli.failures import EXIT_FAILED, print_error, reporting, sentence_of, valid_text
from responsa_server.cli.ingestion import Outcome, Report, Summary, ensure_collection, ingest
from responsa_server.cli.output import Json, as_json, error_object, print_json, print_text
from responsa_server.cli.progress import Progress
from responsa_server.cli.session import open_async_client
from responsa_server.cli.sources import accepted_suffixes, count, entries, find

_FAILURES_SHOWN = 20


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""
    app.command(name)(ingest_paths)


def ingest_paths(
    paths: Annotated[
        list[str],
        typer.Argument(help="Files, folders, globs in quotes, .jsonl files with id, text and title."),
    ],
    collection: Annotated[
        str, typer.Option("--collection", "-c", help="The collection to fill; made when it is missing.")
    ] = "default",
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one object a document: where, sourceKey, outcome, document or error."
        ),
    ] = False,
) -> None:
    """Take documents into a collection, and return when each is searchable or reported.

    Folders are searched for files of the formats that the server reads; names that begin with a dot are left out.

    A document is known by its source_key, wherever this is run: a file by its folder and name (guide/intro.md), a file
    below a folder by that folder's name and the way from there (guide/parts/one.md), a line of a .jsonl file by its
    id. What has not changed is skipped, what has is replaced.

    A line of a .jsonl file without id or text, or that is no JSON object, is reported; the other lines are taken in.

    Exit codes: 0 all taken in, 1 at least one failed, 2 nothing to take in or bad usage, 3 cannot connect or sign in.
    """
    with reporting(json=json):
        summary = asyncio.run(_run(paths, valid_text(collection, "The collection"), json))
        if not json:
            print_text(str(summary))
    if summary.failed:
        raise typer.Exit(EXIT_FAILED)


async def _run(paths: Sequence[str], collection: str, json: bool) -> Summary:
    failures = 0
    async with open_async_client() as client:
        targets = await asyncio.to_thread(find, paths, await accepted_suffixes(client))
        await ensure_collection(client, collection)
        with Progress("Taking in", await asyncio.to_thread(count, targets)) as progress:

            def report(one: Report) -> None:
                nonlocal failures
                progress.advance()
                if json:
                    print_json(_as_object(one))
                if one.outcome is Outcome.FAILED:
                    failures += 1
                    if failures <= _FAILURES_SHOWN:
                        progress.print_error(_failure(one))

            summary = await ingest(client, entries(targets), collection, report)
    if failures > _FAILURES_SHOWN:
        print_error(f"... and {failures - _FAILURES_SHOWN} more failures; --json shows all.")
    return summary


def _failure(report: Report) -> str:
    if report.error is None:
        return f"{report.where} {report.why}."
    return f"{report.where}: {sentence_of(report.error)}"


def _as_object(report: Report) -> dict[str, Json]:
    made: dict[str, Json] = {
        "where": report.where,
        "sourceKey": report.source_key,
        "outcome": report.outcome.value,
    }
    if report.document is not None:
        made["document"] = dict(as_json(report.document))
    if report.error is not None:
        made["error"] = dict(error_object(report.error.status))
    elif report.why:
        made["error"] = {"code": 3, "message": f"{report.where} {report.why}."}
    return made
