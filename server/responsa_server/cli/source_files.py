"""The commands `responsa sources list | add | run | remove`. `check` joins them where sources are installed."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Annotated, Final

import typer
from google.longrunning import operations_pb2

from responsa.admin.v1 import source_pb2
from responsa_client import Responsa
from responsa_client.errors import AlreadyExists, NotFound, ResponsaError, error_of_status
from responsa_contract import FolderKind
from responsa_server.cli.login import ask_secret
from responsa_server.cli.operations import state_line
from responsa_server.cli.output import one_line, safe_name, valid_text
from responsa_server.cli.resources import CommandGroup
from responsa_server.domain.formatting import counted

_UNITS: Final = ((86_400, "day"), (3600, "hour"), (60, "minute"))
Source = Annotated[str, typer.Argument(help="The source, as sources/{id} or as the id alone.")]
_RUN: Final = "Print the last state of the run, as proto-JSON."
register: Final = CommandGroup("Connect folders, run sources, and check the declarations of sources.")


def _line(source: source_pb2.Source) -> str:
    return f"{_id(source.name):<24}  {source.collection}  {describe_state(source)}"


def _run_line(operation: operations_pb2.Operation) -> str:
    return safe_name(state_line(operation))


@register.show("list", "Print one Source per line, as proto-JSON.", _line)
def list_sources(client: Responsa) -> Iterable[source_pb2.Source]:
    """List the sources, with what they have read."""
    return client.sources()


@register.show("add", _RUN, _run_line)
def add_source(
    client: Responsa,
    address: str,
    collection: Annotated[str, typer.Option()],
    identity: Annotated[str, typer.Option("--id")] = "",
    name: str = "",
    schedule: str = "*/15 * * * *",
    time_zone: str = "UTC",
    kind: FolderKind | None = None,
    branch: str = "",
    region: str = "",
    source_code: Annotated[bool, typer.Option("--source-code")] = False,
    user: str = "",
    password: Annotated[bool, typer.Option("--password")] = False,
) -> operations_pb2.Operation:
    """Connect a folder, and read it. Later runs make new versions of files that have changed, and delete the documents of
    files that are gone.

    Exit codes: 0 the folder was read, 1 the run failed, 2 the folder cannot be connected, 3 cannot connect or sign in.

    Args:
        address: The folder: a path of the server, or the address of a Git repository, a WebDAV folder or a
            bucket.
        collection: The collection for the documents, by its id. It is created if it is missing.
        identity: The id of the source. Empty: made of the address.
        name: The name to show to people.
        schedule: When runs begin: a cron expression of five fields. Empty: never.
        time_zone: The time zone of the schedule.
        kind: Where it is. By default, what the address looks like; a bucket needs --kind s3.
        branch: The branch of a repository. Empty: its own default.
        region: The region of a bucket. Empty: us-east-1.
        source_code: Read source code, too.
        user: The user who signs in there; for a bucket, the access key.
        password: Ask for the user's password or token, or read it from standard input. It is stored encrypted.
    """
    named = valid_text(collection, "The collection").removeprefix("collections/")
    folder = source_pb2.ConnectedFolder(
        kind=source_pb2.FolderKind.Value(f"FOLDER_KIND_{(kind or _guess_kind(address)).name}"),
        address=valid_text(address, "The address"),
        collection=f"collections/{named}",
        schedule=schedule,
        time_zone=time_zone,
        branch=branch,
        region=region,
        source_code=source_code,
        user=user,
        password=ask_secret("Password", "password") if password else "",
    )
    created = _ensure_collection(client, named)
    try:
        source = client.create_source(identity or _make_id(address), display_name=name, folder=folder)
    except ResponsaError:
        if created:
            client.delete_collection(named)
        raise
    return _run(client, source.name)


@register.show("run", _RUN, _run_line)
def run_source(
    client: Responsa,
    source: Source,
    allow_deletions: Annotated[
        bool, typer.Option("--allow-deletions", help="Let the run delete as many documents as it wants to.")
    ] = False,
) -> operations_pb2.Operation:
    """Read a source now, and wait until its documents are indexed.

    Exit codes: 0 the run succeeded, 1 it failed, 2 there is no such source, 3 cannot connect or sign in, 130 stopped by
    Ctrl-C; the run continues.
    """
    return _run(client, _id(source), allow_deletions=allow_deletions)


@register.show("remove", "", str)
def remove_source(
    client: Responsa,
    source: Source,
    delete_documents: Annotated[bool, typer.Option("--delete-documents/--keep-documents")] = False,
) -> str:
    """Remove a source. Its documents stay in their collection, unless --delete-documents is given.

    Args:
        delete_documents: Whether the documents that it made are deleted, too.
    """
    client.delete_source(_id(source), delete_documents=delete_documents)
    return f"removed sources/{_id(source)}"


def describe_state(source: source_pb2.Source) -> str:
    """Such as "checked 5 minutes ago, 212 files, 3 not read"."""
    noun = "file" if source.HasField("folder") else "document"
    parts = ["not checked yet"]
    if source.HasField("check_time"):
        parts = [f"checked {_lapse(time.time() - source.check_time.seconds)}"]
        parts.append(counted(source.document_count, noun))
    if source.failed_count:
        parts.append(f"{source.failed_count:,} not read")
    problem = f"; the last run failed: {one_line(source.problem, 200)}" if source.problem else ""
    return ", ".join(parts) + problem


def _lapse(seconds: float) -> str:
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{counted(int(seconds // length), unit)} ago"
    return "just now"


def _run(client: Responsa, source: str, *, allow_deletions: bool = False) -> operations_pb2.Operation:
    operation = client.sync_source(source, allow_deletions=allow_deletions)
    for state in client.watch_operation(operation.name):
        operation = state.operation
    if operation.HasField("error"):
        raise error_of_status(operation.error)
    return operation


def _ensure_collection(client: Responsa, collection: str) -> bool:
    """Create the collection if it is missing. Returns whether this call has created it."""
    try:
        client.get_collection(collection)
    except NotFound:
        try:
            client.create_collection(collection)
            return True
        except AlreadyExists:  # by another caller at the same time
            client.get_collection(collection)
    return False


def _id(source: str) -> str:
    return valid_text(source, "The source").removeprefix("sources/")


def _guess_kind(address: str) -> FolderKind:
    if "://" not in address:
        return FolderKind.PATH
    return FolderKind.GIT if address.endswith(".git") else FolderKind.WEBDAV


def _make_id(address: str) -> str:
    """The last part of an address as an id."""
    last = address.rstrip("/").rpartition("/")[2].lower().removesuffix(".git")
    return re.sub(r"[^a-z0-9]+", "-", last).strip("-")[:63] or "folder"
