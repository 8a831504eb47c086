"""The command `responsa ingest`: sends several documents at a time and waits until each document is searchable."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

import typer
from google.longrunning import operations_pb2

from responsa.knowledge.v1 import collection_pb2, document_pb2
from responsa_client.aio import AsyncResponsa
from responsa_client.errors import (
    AlreadyExists,
    NotFound,
    PermissionDenied,
    ResponsaError,
    Unauthenticated,
    Unavailable,
)
from responsa_server.cli.call_errors import sentence_of
from responsa_server.cli.collections import findable
from responsa_server.cli.folders import Folder, LoadedFolders, changes, find_folders, find_gone, folders_of
from responsa_server.cli.labels import parse_labels, parse_metadata
from responsa_server.cli.output import (
    EXIT_FAILED,
    EXIT_USAGE,
    CommandFailed,
    Json,
    as_json,
    error_object,
    one_line,
    print_error,
    print_json,
    print_text,
    reporting,
    safe_name,
    valid_text,
)
from responsa_server.cli.progress import Progress, reading
from responsa_server.cli.session import client_settings, open_async_client
from responsa_server.cli.sources import (
    Entry,
    EntryProblem,
    LocalDocument,
    Skipped,
    SkipRule,
    Target,
    count,
    entries,
    find,
    list_suffixes,
)
from responsa_server.domain.formatting import counted
from responsa_server.system.plugins import Group, entry_points

_FAILURES_SHOWN = 20
_SUFFIXES_SHOWN = 8
IN_FLIGHT = 8
"""The maximum number of documents that are sent but not yet searchable."""
_INLINE_BYTES = 1024 * 1024
_MAX_ROOT_BYTES = 200
_PAUSED = (
    "This instance was restored from a backup and is paused. Accepted documents wait until "
    "`responsa activate`, even if you stop this command."
)


class Engine(StrEnum):
    """Where the vectors of the documents are computed."""

    WORKERS = "workers"
    RAY = "ray"


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""
    app.command(name)(ingest_paths)


def ingest_paths(
    paths: list[str],
    collection: Annotated[str, typer.Option("--collection", "-c")] = "default",
    label: Annotated[list[str] | None, typer.Option("--label")] = None,
    metadata: Annotated[list[str] | None, typer.Option("--metadata")] = None,
    sync: Annotated[bool, typer.Option("--sync")] = False,
    root: str = "",
    dry_run: Annotated[bool, typer.Option("--dry-run")] = False,
    watch: Annotated[bool, typer.Option("--watch")] = False,
    engine: Engine = Engine.WORKERS,
    verbose: Annotated[bool, typer.Option("--verbose", "-v")] = False,
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Load documents into a collection, and return when each document is searchable or has failed.

    From a folder, the command loads all files in formats that the server reads. It skips hidden files, what programs
    leave behind (~$ files of Word, .~lock files of LibreOffice, .DS_Store, Thumbs.db, desktop.ini; also if you name
    them), files with other suffixes, empty files, files of more than 64 MiB, and links out of the folder. The last line
    counts the skipped files, and names the other suffixes.

    Each document has a source key, which does not depend on where the command runs. The source key of a file is the
    name of its folder and its own name (guide/intro.md). If you name a folder, the source key of each file in it is the
    folder's root and the path below the folder (guide/parts/one.md). The root is the folder's name, or what --root
    gives. The source key of a line of a .jsonl file is the line's id. Unchanged documents are not read again, and
    changed documents are replaced.

    If a line of a .jsonl file is not a JSON object with an id and a text, the command reports the line and loads the
    others. If none of the file's first lines is such an object, the whole file is one document.

    --label and --metadata describe every document that the command loads, even if its file is unchanged. They replace
    the labels or the metadata that the document had.

    Exit codes: 0 all loaded or skipped, 1 at least one failed, 2 nothing to load or bad usage, 3 cannot connect or sign
    in, 130 stopped by Ctrl-C.

    Args:
        paths: Files, folders, quoted globs, or .jsonl files whose lines have an id, a text and optionally a
            title.
        collection: The collection to load into; created if it does not exist.
        label: A label, as key=value; repeatable. Filters find documents by their labels.
        metadata: A value of metadata, as key=value; repeatable. Valid JSON is read as JSON, anything else as a
            text.
        sync: After loading, delete each document whose source key begins with the root of a named folder and
            whose file is gone.
        root: The first part of the source keys of the folder's documents, in place of the folder's name. Two
            folders with the same name need different roots.
        dry_run: With --sync: only print what would be deleted.
        watch: After loading, watch the named folders, and load what changes, until Ctrl-C.
        engine: What computes the vectors: the server's workers, or a Ray cluster before each document is sent.
            See docs/sizing.md.
        verbose: Print a line for each file with its outcome.
        json: Print one JSON object per file: where, sourceKey, outcome, document, error or rule.
    """
    with reporting(json=json):
        valid_text(collection, "The collection")
        if dry_run and not sync:
            raise CommandFailed("--dry-run prints what --sync would delete.", "Add --sync.", EXIT_USAGE)
        if dry_run and watch:
            raise CommandFailed("--dry-run and --watch cannot be combined.", "Leave one out.", EXIT_USAGE)
        if engine is Engine.RAY:
            if watch:
                raise CommandFailed(
                    "--engine ray and --watch cannot be combined.", "Leave one out.", EXIT_USAGE
                )
            if find_spec("ray") is None:
                raise CommandFailed(
                    "--engine ray needs Ray, which is not installed.",
                    "Run pip install 'responsa[ray]'.",
                    EXIT_USAGE,
                )
        _check_root(root, paths)
        folders = find_folders(paths, root) if sync or watch else folders_of(paths, root)
        loaded = LoadedFolders(client_settings().server_url, collection)
        if sync and not root:
            for folder in folders:
                loaded.check(folder)
        values = DocumentValues(parse_labels(label), parse_metadata(metadata))
        run = _IngestRun(
            paths,
            root,
            collection,
            values,
            lambda: _remember(loaded, folders, alone=bool(root)),
            sync=folders if sync else (),
            engine=engine,
            verbose=verbose,
            json=json,
        )
        failed = False
        if dry_run:
            asyncio.run(run.dry())
        elif watch:
            asyncio.run(run.follow([folder.path for folder in folders]))
        else:
            failed = asyncio.run(run.once())
    if failed:
        raise typer.Exit(EXIT_FAILED)


@dataclass(frozen=True, slots=True)
class DocumentValues:
    """The labels, the metadata and the subject of every document that the command loads. If empty, documents keep the
    values that they have."""

    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Json])
    subject: str = ""


NOTHING_SAID: Final = DocumentValues()

Prepare = Callable[[LocalDocument], Awaitable[None]]
"""What is done with each document before it is sent. Raises OSError if the document cannot be read."""


def _check_root(root: str, paths: Sequence[str]) -> None:
    """Raise CommandFailed if the root is not one part of a key, or the arguments do not name one folder."""
    valid_text(root, "--root")
    if root and (len(paths) > 1 or not Path(paths[0]).is_dir()):
        raise CommandFailed("--root names the documents of one folder.", "Name one folder.", EXIT_USAGE)
    if "/" in root or (root and not root.strip()) or len(root.encode()) > _MAX_ROOT_BYTES:
        raise CommandFailed(
            f"{root!r} cannot be a root.",
            f"Give a name of 1 to {_MAX_ROOT_BYTES} bytes without a slash.",
            EXIT_USAGE,
        )


def _remember(loaded: LoadedFolders, folders: Sequence[Folder], *, alone: bool) -> None:
    try:
        for folder in folders:
            loaded.add(folder, alone=alone)
    except OSError as error:
        print_error(
            f"This machine cannot remember which folders were loaded ({error.strerror or error}), so "
            "a later --sync of another folder with the same name deletes the documents of these "
            "folders."
        )


@dataclass(slots=True)
class _IngestRun:
    """One call of the command. begun: called when the server can be reached and loading begins. sync: the folders whose
    documents are deleted if their files are gone.
    """

    paths: Sequence[str]
    root: str
    collection: str
    values: DocumentValues
    begun: Callable[[], None]
    sync: Sequence[Folder]
    engine: Engine
    verbose: bool
    json: bool

    async def once(self) -> bool:
        async with open_async_client() as client:
            return (await self._all(client)).failed > 0

    async def follow(self, folders: Sequence[Path]) -> None:
        """Load everything, and then what changes. Ends only with an error."""
        async with open_async_client() as client:
            async for changed in changes(folders):
                if changed:
                    await self._follow_change(client, changed)
                else:
                    await self._all(client)

    async def dry(self) -> None:
        async with open_async_client() as client:
            targets = await asyncio.to_thread(find, self.paths, await list_suffixes(client), self.root)
            try:
                documents = await find_gone(client, self.collection, self.sync, targets)
            except NotFound:
                documents = ()  # a collection that does not exist has no documents
        for document in documents:
            self._say_deleted(document, "WOULD_DELETE")
        if not self.json:
            number = len(documents)
            print_text(f"{counted(number, 'document')} would be deleted; nothing was changed")

    async def _all(self, client: AsyncResponsa) -> IngestSummary:
        targets = await asyncio.to_thread(find, self.paths, await list_suffixes(client), self.root)
        collection = await ensure_collection(client, self.collection)
        if self.engine is Engine.WORKERS:
            self.begun()
            summary = await self._load(client, targets, targets)
            self._say_findable(collection, summary)
            return summary
        engine = entry_points(Group.ENGINES)[self.engine]
        async with engine.load().connect(client, collection) as ray:
            self.begun()
            summary = await self._load(client, targets, targets, ray.prepare, IN_FLIGHT + ray.actors)
        if not self.json:
            print_text(f"Ray computed {counted(ray.vectors, 'vector')} on {counted(ray.actors, 'processor')}")
        self._say_findable(collection, summary)
        return summary

    async def _follow_change(self, client: AsyncResponsa, changed: Set[Path]) -> None:
        try:
            targets = await asyncio.to_thread(find, self.paths, await list_suffixes(client), self.root)
        except CommandFailed as failure:
            # A folder may be empty or missing for a moment, for example while a program replaces it.
            print_error(f"{failure.sentence} Nothing was changed.")
            return
        touched = [
            target
            for target in targets
            if not changed.isdisjoint((target.absolute, *target.absolute.parents))
        ]
        if touched or self.sync:
            await self._load(client, targets, touched)

    async def _load(
        self,
        client: AsyncResponsa,
        targets: Sequence[Target],
        chosen: Sequence[Target],
        prepare: Prepare | None = None,
        in_flight: int = IN_FLIGHT,
    ) -> IngestSummary:
        """Load the chosen targets, and delete what is gone. targets: all targets, whose documents stay."""
        failures = 0
        with Progress("Loading", await asyncio.to_thread(count, chosen)) as progress:

            def show_report(report: DocumentReport) -> None:
                nonlocal failures
                progress.advance()
                if self.json:
                    print_json(_as_object(report))
                elif self.verbose:
                    print_text(f"{report.outcome.lower():<9}  {_line(report)}")
                if report.outcome is FileOutcome.FAILED and not (self.verbose and not self.json):
                    failures += 1
                    if failures <= _FAILURES_SHOWN:
                        progress.print_error(_failure(report))

            paused = False

            def show(source_key: str, metadata: document_pb2.IngestMetadata) -> None:
                nonlocal paused
                if metadata.paused and not paused:
                    paused = True
                    progress.print_error(_PAUSED)
                if not metadata.HasField("time_left") and metadata.passages_total:
                    return  # it has just ended, or has just been cut; another document may have more to say
                progress.detail(f"{one_line(source_key, 40)}: {reading(metadata)}")

            summary = await ingest(
                client,
                entries(chosen),
                self.collection,
                show_report,
                self.values,
                show,
                prepare=prepare,
                in_flight=in_flight,
            )
            if self.sync:
                for document in await find_gone(client, self.collection, self.sync, targets):
                    await client.delete_document(document.name, document.etag)
                    summary.deleted += 1
                    self._say_deleted(document, "DELETED")
        if failures > _FAILURES_SHOWN:
            print_error(f"... and {failures - _FAILURES_SHOWN} more failures; --verbose shows all of them.")
        if not self.json:
            print_text(str(summary))
        return summary

    def _say_findable(self, collection: collection_pb2.Collection, summary: IngestSummary) -> None:
        """Say who can find new documents. Later runs of the same command load none, and say nothing."""
        if summary.counts[FileOutcome.NEW] and not self.json:
            print_error(findable(collection))

    def _say_deleted(self, document: document_pb2.Document, outcome: str) -> None:
        if self.json:
            print_json({"sourceKey": document.source_key, "outcome": outcome, "document": as_json(document)})
        else:
            print_text(f"{outcome.lower().replace('_', ' ')}  {safe_name(document.source_key)}")


def _line(report: DocumentReport) -> str:
    if report.rule is not None:
        return f"{safe_name(report.where)} ({report.rule.value})"
    if report.outcome is FileOutcome.FAILED:
        return _failure(report)
    notes = [_parts_left_out(report.left_out)] if report.left_out else []
    notes += [f"read as {report.charset}, which is a guess"] if report.charset else []
    notes += [_pages_read(report.ocr_pages)] if report.ocr_pages else []
    return f"{safe_name(report.where)} ({'; '.join(notes)})" if notes else safe_name(report.where)


def _parts_left_out(counts: Mapping[str, int]) -> str:
    """Such as "left out: 2 comments, 1 hidden sheet"."""
    return "left out: " + ", ".join(
        counted(number, kind.replace("_", " ")) for kind, number in sorted(counts.items())
    )


def _pages_read(count: int) -> str:
    return f"{counted(count, 'page')} read by OCR, perhaps with mistakes"


def _failure(report: DocumentReport) -> str:
    if report.error is None:
        return f"{safe_name(report.where)} {report.why}."
    return f"{safe_name(report.where)}: {sentence_of(report.error)}"


def _as_object(report: DocumentReport) -> dict[str, Json]:
    result: dict[str, Json] = {
        "where": report.where,
        "sourceKey": report.source_key,
        "outcome": report.outcome.value,
    }
    if report.document is not None:
        result["document"] = dict(as_json(report.document))
    if report.error is not None:
        result["error"] = dict(error_object(report.error.status))
    elif report.why:
        result["error"] = {"code": 3, "message": f"{report.where} {report.why}."}
    if report.rule is not None:
        result["rule"] = report.rule.name
    if report.left_out:
        result["leftOut"] = dict(report.left_out)
    if report.charset:
        result["guessedCharset"] = report.charset
    if report.ocr_pages:
        result["ocrPages"] = report.ocr_pages
    return result


class FileOutcome(StrEnum):
    """The outcome for a file or a document."""

    NEW = "NEW"
    CHANGED = "CHANGED"
    UNCHANGED = "UNCHANGED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"


@dataclass(frozen=True, slots=True)
class DocumentReport:
    """The outcome for one document. document: the document as the server returned it. error: the error of
    the call or of the ingestion, if one of these failed. why: the reason for any other failure, or "". rule: the reason
    for skipping the file, or None. left_out: the number of parts of the file that were not read, by kind. charset: the
    character set that was guessed, if another is nearly as likely; or "".
    ocr_pages: the number of pages that were read by OCR.
    """

    where: str
    source_key: str
    outcome: FileOutcome
    document: document_pb2.Document | None = None
    error: ResponsaError | None = None
    why: str = ""
    rule: SkipRule | None = None
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])
    charset: str = ""
    ocr_pages: int = 0


_LOADED = (FileOutcome.NEW, FileOutcome.CHANGED, FileOutcome.UNCHANGED, FileOutcome.FAILED)


@dataclass(slots=True)
class IngestSummary:
    """The number of documents with each outcome, of skipped files by rule, and of deleted documents."""

    counts: dict[FileOutcome, int] = field(default_factory=lambda: dict.fromkeys(_LOADED, 0))
    skipped: Counter[SkipRule] = field(default_factory=Counter[SkipRule])
    suffixes: Counter[str] = field(default_factory=Counter[str])
    """The number of files that were skipped because of their suffix, by suffix."""
    deleted: int = 0
    left_out: Counter[str] = field(default_factory=Counter[str])
    doubtful: int = 0
    """The number of documents whose character set was guessed, and is in doubt."""
    ocr_pages: int = 0

    def add(self, report: DocumentReport) -> None:
        """Count one document or skipped file."""
        if report.rule is not None:
            self.skipped[report.rule] += 1
            if report.rule is SkipRule.UNSUPPORTED_SUFFIX:
                self.suffixes[Path(report.where).suffix.lower() or "none"] += 1
        else:
            self.counts[report.outcome] += 1
        self.left_out.update(report.left_out)
        self.doubtful += bool(report.charset)
        self.ocr_pages += report.ocr_pages

    @property
    def failed(self) -> int:
        """The number of documents that failed."""
        return self.counts[FileOutcome.FAILED]

    def __str__(self) -> str:
        total = sum(self.counts.values())
        parts = ", ".join(f"{number} {outcome.lower()}" for outcome, number in self.counts.items())
        text = f"{counted(total, 'document')}: {parts}"
        if self.skipped:
            rules = ", ".join(f"{number} {rule.value}" for rule, number in sorted(self.skipped.items()))
            files = self.skipped.total()
            text += f"; {counted(files, 'file')} skipped: {rules}"
        if self.suffixes:
            named = ", ".join(suffix for suffix, _ in self.suffixes.most_common(_SUFFIXES_SHOWN))
            text += f" ({named}{', …' if len(self.suffixes) > _SUFFIXES_SHOWN else ''})"
        if self.deleted:
            text += f"; {self.deleted} deleted"
        if self.left_out:
            text += f"; {_parts_left_out(self.left_out)}"
        if self.doubtful:
            text += f"; {counted(self.doubtful, 'character set')} guessed, perhaps wrongly (--verbose names the files)"
        if self.ocr_pages:
            text += f"; {_pages_read(self.ocr_pages)}"
        return text


async def ensure_collection(client: AsyncResponsa, collection: str) -> collection_pb2.Collection:
    """The collection; it is created if it is missing. Another caller may create the same collection at the same time."""
    try:
        return await client.get_collection(collection)
    except NotFound:
        try:
            return await client.create_collection(collection)
        except AlreadyExists:
            return await client.get_collection(collection)


async def ingest(
    client: AsyncResponsa,
    entries: Iterator[Entry],
    collection: str,
    report: Callable[[DocumentReport], None],
    values: DocumentValues = NOTHING_SAID,
    show: Callable[[str, document_pb2.IngestMetadata], None] | None = None,
    *,
    prepare: Prepare | None = None,
    in_flight: int = IN_FLIGHT,
) -> IngestSummary:
    """Load all entries. Call `report` for each entry, in any order, once the entry is searchable or has failed.

    show: a function to call about once a second for each document that is being read, with its source key and its
    progress. in_flight: the maximum number of entries that are begun but not yet searchable.

    Raises:
        ResponsaError: the server cannot be reached or refuses the caller. The remaining entries are not sent.
    """
    summary = IngestSummary()

    def note(entry_report: DocumentReport) -> None:
        summary.add(entry_report)
        report(entry_report)

    async def work() -> None:
        # All workers take entries from one iterator. Taking an entry does not await, so no two workers get the same
        # entry.
        for entry in entries:
            note(await _take_in(client, entry, collection, values, show, prepare))

    workers = [asyncio.create_task(work()) for _ in range(in_flight)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return summary


async def _take_in(
    client: AsyncResponsa,
    entry: Entry,
    collection: str,
    values: DocumentValues,
    show: Callable[[str, document_pb2.IngestMetadata], None] | None,
    prepare: Prepare | None,
) -> DocumentReport:
    if isinstance(entry, EntryProblem):
        return DocumentReport(entry.where, entry.source_key, FileOutcome.FAILED, why=entry.why)
    if isinstance(entry, Skipped):
        return DocumentReport(entry.where, entry.source_key, FileOutcome.SKIPPED, rule=entry.rule)
    try:
        if prepare is not None:
            await prepare(entry)
        operation = await _send(client, entry, collection, values)
        on_progress = None if show is None else partial(show, entry.source_key)
        result = await client.wait(operation, on_progress=on_progress)
    except (Unauthenticated, PermissionDenied, Unavailable):
        raise
    except ResponsaError as error:
        return DocumentReport(entry.where, entry.source_key, FileOutcome.FAILED, error=error)
    except OSError as error:
        why = f"cannot be read ({error.strerror})"
        return DocumentReport(entry.where, entry.source_key, FileOutcome.FAILED, why=why)
    outcome = FileOutcome.UNCHANGED if result.unchanged else FileOutcome.CHANGED
    if outcome is FileOutcome.CHANGED and result.document.version <= 1:
        outcome = FileOutcome.NEW
    left_out = {
        document_pb2.LeftOutKind.Name(part.kind).removeprefix("LEFT_OUT_KIND_").lower(): part.count
        for part in result.left_out
    }
    return DocumentReport(
        entry.where,
        entry.source_key,
        outcome,
        document=result.document,
        left_out=left_out,
        charset=result.guessed_charset,
        ocr_pages=result.ocr_pages,
    )


async def _send(
    client: AsyncResponsa, entry: LocalDocument, collection: str, values: DocumentValues
) -> operations_pb2.Operation:
    source = entry.path
    text = entry.text.encode()
    if source is None and len(text) <= _INLINE_BYTES:
        return await client.create_document(
            entry.text,
            collection=collection,
            source_key=entry.source_key,
            title=entry.title,
            media_type="text/markdown",
            labels=values.labels,
            metadata=values.metadata,
            subject=values.subject,
        )
    return await client.upload(
        text if source is None else source,
        collection=collection,
        source_key=entry.source_key,
        title=entry.title,
        media_type="text/markdown" if source is None else "",
        labels=values.labels,
        metadata=values.metadata,
        subject=values.subject,
    )
