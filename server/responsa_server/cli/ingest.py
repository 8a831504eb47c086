"""The command `responsa ingest`: sends several documents at a time and waits until each document is searchable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

import typer
from google.longrunning import operations_pb2

from responsa.knowledge.v1 import document_pb2
from responsa_client.aio import AsyncResponsa
from responsa_client.errors import (
    AlreadyExists,
    NotFound,
    PermissionDenied,
    ResponsaError,
    Unauthenticated,
    Unavailable,
)
from responsa_server.cli import completion
from responsa_server.cli.output import (
    EXIT_FAILED,
    Json,
    as_json,
    error_object,
    print_error,
    print_json,
    print_text,
    reporting,
    sentence_of,
    valid_text,
)
from responsa_server.cli.progress import Progress
from responsa_server.cli.session import open_async_client
from responsa_server.cli.sources import (
    Document,
    Entry,
    Problem,
    accepted_suffixes,
    count,
    entries,
    find,
)

_FAILURES_SHOWN = 20
IN_FLIGHT = 8
"""The maximum number of documents that are sent but not yet searchable."""
_INLINE_BYTES = 1024 * 1024


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""
    app.command(name)(ingest_paths)


def ingest_paths(
    paths: Annotated[
        list[str],
        typer.Argument(
            help="Files, folders, quoted globs, or .jsonl files whose lines have an id, a text and optionally a title."
        ),
    ],
    collection: Annotated[
        str,
        typer.Option(
            "--collection",
            "-c",
            help="The collection to load into; created if it does not exist.",
            autocompletion=completion.collections,
        ),
    ] = "default",
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON object per document: where, sourceKey, outcome, document or error."
        ),
    ] = False,
) -> None:
    """Load documents into a collection, and return when each document is searchable or has failed.

    From a folder, the command loads all files in formats that the server reads. It skips names that begin with a dot.

    Each document has a source key, which does not depend on where the command runs. The source key of a file is the
    name of its folder and its own name (guide/intro.md). If you name a folder, the source key of each file in it is the
    folder's name and the path below the folder (guide/parts/one.md). The source key of a line of a .jsonl file is the
    line's id. Unchanged documents are skipped, and changed documents are replaced.

    If a line of a .jsonl file is not a JSON object with an id and a text, the command reports the line and loads the
    others.

    Exit codes: 0 all loaded, 1 at least one failed, 2 nothing to load or bad usage, 3 cannot connect or sign in.
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
        with Progress("Loading", await asyncio.to_thread(count, targets)) as progress:

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
        print_error(f"... and {failures - _FAILURES_SHOWN} more failures; --json shows all of them.")
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


class Outcome(StrEnum):
    """The outcome for a document."""

    NEW = "NEW"
    CHANGED = "CHANGED"
    UNCHANGED = "UNCHANGED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome for one document. document: the document as the server returned it. error: the error of
    the call or of the ingestion, if one of these failed. why: the reason for any other failure, or "".
    """

    where: str
    source_key: str
    outcome: Outcome
    document: document_pb2.Document | None = None
    error: ResponsaError | None = None
    why: str = ""


@dataclass(slots=True)
class Summary:
    """The number of documents with each outcome."""

    counts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))

    def add(self, report: Report) -> None:
        """Count one document."""
        self.counts[report.outcome] += 1

    @property
    def failed(self) -> int:
        """The number of documents that failed."""
        return self.counts[Outcome.FAILED]

    def __str__(self) -> str:
        total = sum(self.counts.values())
        parts = ", ".join(f"{number} {outcome.lower()}" for outcome, number in self.counts.items())
        return f"{total} document{'' if total == 1 else 's'}: {parts}"


async def ensure_collection(client: AsyncResponsa, collection: str) -> None:
    """Create the collection if it is missing. Another caller may create the same collection at the same time."""
    try:
        await client.get_collection(collection)
    except NotFound:
        try:
            await client.create_collection(collection)
        except AlreadyExists:
            return


async def ingest(
    client: AsyncResponsa, entries: Iterator[Entry], collection: str, report: Callable[[Report], None]
) -> Summary:
    """Load all entries. Call `report` for each entry, in any order, once the entry is searchable or has failed.

    Raises:
        ResponsaError: the server cannot be reached or refuses the caller. The remaining entries are not sent.
    """
    summary = Summary()

    def done(one: Report) -> None:
        summary.add(one)
        report(one)

    async def work() -> None:
        # All workers take entries from one iterator. Taking an entry does not await, so no two workers get the same
        # entry.
        for entry in entries:
            done(await _take_in(client, entry, collection))

    workers = [asyncio.create_task(work()) for _ in range(IN_FLIGHT)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return summary


async def _take_in(client: AsyncResponsa, entry: Entry, collection: str) -> Report:
    if isinstance(entry, Problem):
        return Report(entry.where, entry.source_key, Outcome.FAILED, why=entry.why)
    try:
        result = await client.wait(await _send(client, entry, collection))
    except (Unauthenticated, PermissionDenied, Unavailable):
        raise
    except ResponsaError as error:
        return Report(entry.where, entry.source_key, Outcome.FAILED, error=error)
    except OSError as error:
        why = f"cannot be read ({error.strerror})"
        return Report(entry.where, entry.source_key, Outcome.FAILED, why=why)
    outcome = Outcome.UNCHANGED if result.unchanged else Outcome.CHANGED
    if outcome is Outcome.CHANGED and result.document.version <= 1:
        outcome = Outcome.NEW
    return Report(entry.where, entry.source_key, outcome, document=result.document)


async def _send(client: AsyncResponsa, entry: Document, collection: str) -> operations_pb2.Operation:
    if entry.path is not None:
        return await client.upload(
            entry.path, collection=collection, source_key=entry.source_key, title=entry.title
        )
    data = entry.text.encode()
    if len(data) <= _INLINE_BYTES:
        return await client.create_document(
            entry.text,
            collection=collection,
            source_key=entry.source_key,
            title=entry.title,
            media_type="text/markdown",
        )
    return await client.upload(
        data,
        collection=collection,
        source_key=entry.source_key,
        title=entry.title,
        media_type="text/markdown",
    )
