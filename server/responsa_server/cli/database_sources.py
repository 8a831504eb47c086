"""The commands `responsa sources check | preview | sync | notify | failed | retry | deliveries | redeliver | list | show | create | update | delete`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from google.longrunning import operations_proto_pb2 as operations_pb2

from responsa.admin.v1 import delivery_pb2, source_pb2
from responsa_client import Responsa
from responsa_client.errors import error_of_status
from responsa_client.results import sync_progress, sync_result
from responsa_server.cli.output import (
    EXIT_USAGE,
    CommandFailed,
    as_json,
    one_line,
    print_json,
    print_text,
    reporting,
    valid_text,
)
from responsa_server.cli.parameters import shown_value
from responsa_server.cli.progress import synced
from responsa_server.cli.session import open_client

_MAX_MAPPING = 128 * 1024

SourceId = Annotated[str, typer.Argument(metavar="SOURCE", help="The source's id.")]
MappingFile = Annotated[Path, typer.Argument(metavar="FILE", help="The file with the mapping, in TOML.")]
DisplayName = Annotated[str | None, typer.Option("--name", help="A name to show to people.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the Source, as proto-JSON.")]

NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Print the operation's name and do not wait for its end.")
]
AsOperation = Annotated[bool, typer.Option("--json", help="Print the Operation, as proto-JSON.")]


def register(app: typer.Typer, name: str) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Turn the rows of databases into documents. All commands but `check` and `notify` need the role ADMIN.",
        rich_markup_mode=None,
    )
    group.command("check")(check_sources)
    group.command("preview")(preview_source)
    group.command("sync")(sync_source)
    group.command("notify")(notify_sources)
    group.command("failed")(failed_rows)
    group.command("retry")(retry_rows)
    group.command("deliveries")(list_deliveries)
    group.command("redeliver")(redeliver)
    group.command("list")(list_sources)
    group.command("show")(show_source)
    group.command("create")(create_source)
    group.command("update")(update_source)
    group.command("delete")(delete_sources)
    app.add_typer(group, name=name)


def check_sources(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]…", help="Files with mappings, in TOML.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one problem per line, as a JSON object.")
    ] = False,
) -> None:
    """Check the declarations of connections on this machine, and mappings. Print each problem with its file, line, key and a suggestion. This command needs no server and
    connects to no database.

    Exit codes: 0 no problems, 2 problems.
    """
    # Imported late, because this module loads what the other commands do not need.
    from responsa_server.cli.local.sources import check

    check(files or [], json=json)


def preview_source(
    file: MappingFile,
    rows: Annotated[int, typer.Option(min=1, max=50, help="The maximum number of rows of each query.")] = 5,
    subject: Annotated[str, typer.Option(help="Only the rows of this subject.")] = "",
    json: Annotated[
        bool, typer.Option("--json", help="Print one PreviewedRow per line, as proto-JSON.")
    ] = False,
) -> None:
    """Read the first rows of a mapping and print the documents that they would become. Nothing is stored.

    Exit codes: 0 every row makes a document, 1 some rows make no document.
    """
    with reporting(json=json):
        mapping = _mapping(file)
        with open_client() as client:
            found = client.preview_source(mapping, rows, valid_text(subject, "The subject"))
        for one in found:
            if json:
                print_json(one)
            else:
                print_text(_row(one))
        if not found and not json:
            print_text("The queries return no rows.")
        if any(one.problem for one in found):
            raise typer.Exit(1)


def sync_source(
    source: SourceId,
    subject: Annotated[str, typer.Option(help="Only the rows of this subject.")] = "",
    allow_deletions: Annotated[
        bool,
        typer.Option("--allow-deletions", help="Let the run delete more documents than the mapping allows."),
    ] = False,
    no_wait: NoWait = False,
    json: AsOperation = False,
) -> None:
    """Run a source: make documents of new and changed rows, and delete documents whose rows are gone. Ctrl-C stops the waiting; the run continues.

    Exit codes: 0 all rows have their documents, 1 some rows failed, or the run failed.
    """
    with reporting(json=json), open_client() as client:
        operation = client.sync_source(
            valid_text(source, "The source"),
            valid_text(subject, "The subject"),
            allow_deletions=allow_deletions,
        )
        _follow(client, source, operation, no_wait=no_wait, json=json)


def retry_rows(source: SourceId, no_wait: NoWait = False, json: AsOperation = False) -> None:
    """Run a source for the rows that failed in earlier runs and for the other rows of their subjects. Ctrl-C stops the waiting; the run continues.

    Exit codes: 0 all rows have their documents, 1 some rows failed, or the run failed.
    """
    with reporting(json=json), open_client() as client:
        operation = client.retry_failed_rows(valid_text(source, "The source"))
        _follow(client, source, operation, no_wait=no_wait, json=json)


def _follow(
    client: Responsa, source: str, operation: operations_pb2.Operation, *, no_wait: bool, json: bool
) -> None:
    """Wait for the end of a run, unless no_wait, and print it. Raises Exit if rows failed."""
    if not no_wait:
        for state in client.watch_operation(operation):
            operation = state.operation
    if operation.HasField("error"):
        raise error_of_status(operation.error)
    if json:
        print_json(operation)
    elif not operation.done:
        print_text(operation.name)
    else:
        print_text(synced(sync_result(operation)))
    if operation.done and sync_result(operation).failed:
        if not json:
            print_text(f"`responsa sources failed {source}` lists the rows that failed.")
        raise typer.Exit(1)


def notify_sources(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="The subject whose rows have changed.")],
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            help="The id of a source; may be repeated. Default: all sources with a query for one subject.",
        ),
    ] = None,
    cause: Annotated[str, typer.Option(help="The cause of the change, such as “test completed”.")] = "",
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Print the operations' names and do not wait for their ends.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one Operation per line, as proto-JSON.")
    ] = False,
) -> None:
    """Update the documents about one subject from the rows of all sources. This command needs the role ADMIN or SERVICE.

    Exit codes: 0 all rows have their documents, 1 some rows failed, or a run failed.
    """
    with reporting(json=json), open_client() as client:
        begun = client.notify_subject_changed(
            valid_text(subject, "The subject"),
            [valid_text(one, "The source") for one in sources or []],
            cause=valid_text(cause, "The cause"),
        )
        if not begun and not json:
            print_text("No source has a query for one subject; name the sources with --source.")
        good = True
        for one in begun:
            operation = one
            if not no_wait:
                for state in client.watch_operation(one):
                    operation = state.operation
            good &= _ended_well(operation)
            if json:
                print_json(operation)
            else:
                print_text(_outcome(operation))
        if not good:
            raise typer.Exit(1)


def failed_rows(
    source: SourceId,
    json: Annotated[
        bool, typer.Option("--json", help="Print one FailedRow per line, as proto-JSON.")
    ] = False,
) -> None:
    """List the rows that made no document in the newest run that read them. Every run tries them again."""
    with reporting(json=json), open_client() as client:
        none = True
        for one in client.failed_rows(valid_text(source, "The source")):
            none = False
            if json:
                print_json(one)
            else:
                print_text(f"{one.kind} {one_line(one.key, 100) or '(no key)'}: {one_line(one.problem, 300)}")
        if none and not json:
            print_text("No row failed.")


def list_deliveries(
    failed: Annotated[
        bool, typer.Option("--failed", help="Only notifications whose attempts have all failed.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one Delivery per line, as proto-JSON.")] = False,
) -> None:
    """List the notifications to webhooks about runs of sources and failed ingestions, the newest first."""
    with reporting(json=json), open_client() as client:
        none = True
        for one in client.deliveries("state = FAILED" if failed else ""):
            none = False
            if json:
                print_json(one)
            else:
                print_text(_delivery(one))
        if none and not json:
            print_text("There are no deliveries.")


def redeliver(
    delivery: Annotated[
        str,
        typer.Argument(
            metavar="DELIVERY",
            help="The name that `responsa sources deliveries` prints, or the UUID in the name.",
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print the Delivery, as proto-JSON.")] = False,
) -> None:
    """Send a notification again at once, with the present declaration of its webhook."""
    with reporting(json=json), open_client() as client:
        one = client.redeliver(valid_text(delivery, "The delivery"))
        if json:
            print_json(one)
        else:
            print_text(_delivery(one))


def list_sources(
    json: Annotated[bool, typer.Option("--json", help="Print one Source per line, as proto-JSON.")] = False,
) -> None:
    """List all sources."""
    with reporting(json=json), open_client() as client:
        none = True
        for source in client.sources():
            none = False
            if json:
                print_json(source)
            else:
                print_text(
                    f"{_id(source):<20} {source.connection} to {source.collection}"
                    + (f"  {one_line(source.display_name, 60)}" if source.display_name else "")
                )
        if none and not json:
            print_text("There are no sources yet. Create one with `responsa sources create`.")


def show_source(source: SourceId, json: AsJson = False) -> None:
    """Show one source with its mapping."""
    with reporting(json=json), open_client() as client:
        _print(client.source(valid_text(source, "The source")), json=json)


def create_source(
    source: SourceId, file: MappingFile, name: DisplayName = None, json: AsJson = False
) -> None:
    """Create a source from a mapping."""
    with reporting(json=json):
        mapping = _mapping(file)
        with open_client() as client:
            made = client.create_source(
                valid_text(source, "The source"), mapping, valid_text(name or "", "The name")
            )
        _report("created", made, json=json)


def update_source(
    source: SourceId,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="The file with the new mapping, in TOML.")
    ] = None,
    name: DisplayName = None,
    etag: Annotated[
        str,
        typer.Option(
            help="The etag from `show --json`. If the source has changed since then, the command changes nothing."
        ),
    ] = "",
    json: AsJson = False,
) -> None:
    """Change the mapping or the name of a source."""
    with reporting(json=json):
        if file is None and name is None:
            raise CommandFailed("There is nothing to change.", "Give FILE or --name.", EXIT_USAGE)
        mapping = None if file is None else _mapping(file)
        with open_client() as client:
            changed = client.update_source(
                valid_text(source, "The source"),
                mapping,
                None if name is None else valid_text(name, "The name"),
                etag,
            )
        _report("changed", changed, json=json)


def delete_sources(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE…", help="The ids of the sources.")],
    json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object per line, with the name of what was deleted."),
    ] = False,
) -> None:
    """Delete sources. Their documents stay. If one of the sources does not exist, nothing is deleted."""
    with reporting(json=json), open_client() as client:
        found = [client.source(valid_text(one, "The source")) for one in sources]
        for source in {one.name: one for one in found}.values():
            client.delete_source(source.name, source.etag)
            if json:
                print_json({"deleted": source.name})
            else:
                print_text(f"deleted {_id(source)}")


def _ended_well(operation: operations_pb2.Operation) -> bool:
    """Whether a run has not ended yet, or has set no row aside."""
    return not operation.HasField("error") and not (operation.done and sync_result(operation).failed)


def _outcome(operation: operations_pb2.Operation) -> str:
    progress = sync_progress(operation)
    source = progress.source.removeprefix("sources/") if progress is not None else operation.name
    if operation.HasField("error"):
        return f"{source}: {one_line(operation.error.message, 300)}"
    return f"{source}: {synced(sync_result(operation)) if operation.done else operation.name}"


def _delivery(one: delivery_pb2.Delivery) -> str:
    state = delivery_pb2.DeliveryState.Name(one.state).removeprefix("DELIVERY_STATE_").lower()
    tried = f", {one.attempts} {'attempts' if one.attempts > 1 else 'attempt'}" if one.attempts else ""
    problem = f": {one_line(one.problem, 300)}" if one.problem else ""
    source = f" of {one.source}" if one.source else ""
    return f"{one.name}  {one.event}{source} to {one.webhook}: {state}{tried}{problem}"


def _mapping(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_MAPPING + 1)
        if len(data) <= _MAX_MAPPING:
            return data.decode()
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read ({error.strerror}).", "", EXIT_USAGE) from None
    except UnicodeDecodeError:
        raise CommandFailed(f"{file} is not valid UTF-8.", "", EXIT_USAGE) from None
    raise CommandFailed(f"{file} has more than {_MAX_MAPPING:,} bytes.", "Split the source.", EXIT_USAGE)


def _row(one: source_pb2.PreviewedRow) -> str:
    row = ", ".join(
        f"{name}={one_line(shown_value(value), 60)}" for name, value in sorted(as_json(one.row).items())
    )
    if one.problem:
        return f"{one.kind}: {one_line(one.problem, 300)}" + (f"\n  row: {row}" if row else "") + "\n"
    metadata = as_json(one.metadata)
    lines = [
        f"{one.kind}: {one_line(one.key, 100)}",
        f"  title: {one_line(one.title, 200)}",
        *([f"  subject: {one_line(one.subject, 100)}"] if one.subject else []),
        *([f"  uri: {one_line(one.uri, 200)}"] if one.uri else []),
        *(f"  {name}: {one_line(shown_value(value), 100)}" for name, value in sorted(metadata.items())),
        *(f"  | {line}" for line in one.text.splitlines()),
    ]
    return "\n".join([*lines, ""])


def _report(what: str, source: source_pb2.Source, *, json: bool) -> None:
    if json:
        print_json(source)
    else:
        print_text(f"{what} {_id(source)}: {source.connection} to {source.collection}")


def _print(source: source_pb2.Source, *, json: bool) -> None:
    if json:
        print_json(source)
        return
    head = f"{_id(source)}  {one_line(source.display_name, 200)}".rstrip()
    due = ""
    if source.HasField("next_run_time"):
        due = f", next run {source.next_run_time.ToDatetime():%Y-%m-%d %H:%M} UTC"
    print_text(f"{head}\n{source.connection} to {source.collection}{due}\n\n{source.mapping.strip()}")


def _id(source: source_pb2.Source) -> str:
    return source.name.removeprefix("sources/")
