"""The commands `responsa operations list | watch | cancel`. An operation reads one version of a document, builds or
activates a generation of a collection, or runs a source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Final

import typer
from google.longrunning import operations_pb2

from responsa.knowledge.v1 import document_pb2, knowledge_service_pb2
from responsa_client import Responsa
from responsa_client.errors import error_of_status
from responsa_client.results import (
    generation_progress,
    generation_result,
    ingest_progress,
    ingest_result,
    sync_progress,
    sync_result,
)
from responsa_server.cli.output import one_line, valid_text
from responsa_server.cli.progress import describe_sync, reading, running
from responsa_server.cli.resources import CommandGroup

Operation = Annotated[
    str, typer.Argument(help="The operation, as operations/{uuid} or as the UUID alone.", metavar="OPERATION")
]
register: Final = CommandGroup("List, follow and cancel operations, such as the reading of documents.")


def _line(operation: operations_pb2.Operation) -> str:
    return f"{operation.name}  {state_line(operation)}"


@register.show("list", "Print one Operation per line, as proto-JSON.", _line)
def list_operations(
    client: Responsa,
    running: Annotated[bool, typer.Option("--running", help="Only unfinished operations.")] = False,
) -> Iterable[operations_pb2.Operation]:
    """List your operations, newest first. An administrator sees all operations of the tenant."""
    return client.operations(filter_by="done = false" if running else "")


def _state(state: knowledge_service_pb2.WatchOperationResponse) -> str:
    return state_line(state.operation)


@register.show(
    "watch", "Print each state as one proto-JSON object with the fields seq and operation.", _state
)
def watch(
    client: Responsa,
    operation: Operation,
    after: Annotated[
        int,
        typer.Option(min=0, help="The seq of the last state that you have seen; only later states follow."),
    ] = 0,
) -> Iterator[knowledge_service_pb2.WatchOperationResponse]:
    """Follow an operation until it ends, even if another program started it. If the connection is lost, the command connects again.

    Exit codes: 0 the operation succeeded, 1 it failed or was cancelled, 2 there is no such operation, 3 cannot
    connect or sign in, 130 stopped by Ctrl-C; the operation continues.
    """
    for state in client.watch_operation(_name(operation), after):
        yield state
        if state.operation.HasField("error"):
            raise error_of_status(state.operation.error)


@register.show("cancel", "Print the Operation, as proto-JSON.", _line)
def cancel(client: Responsa, operation: Operation) -> operations_pb2.Operation:
    """Cancel an operation. Its document is then as it was before; a new document is removed. If the operation builds a
    generation, the generation fails, and searches keep the active one."""
    name = _name(operation)
    client.cancel_operation(name)
    return client.get_operation(name)


def _name(operation: str) -> str:
    return f"operations/{valid_text(operation, 'The operation').removeprefix('operations/')}"


def state_line(operation: operations_pb2.Operation) -> str:
    """The outcome of an operation, or its progress, in one line."""
    if (run := sync_progress(operation)) is not None:
        if operation.HasField("error"):
            return f"failed     {run.source}  {one_line(operation.error.message, 200)}"
        if operation.done:
            return f"done       {run.source}  {describe_sync(sync_result(operation))}"
        return f"{running(run)}  {run.source}"
    building = generation_progress(operation)
    progress = building or ingest_progress(operation) or document_pb2.IngestMetadata()
    subject = progress.document if isinstance(progress, document_pb2.IngestMetadata) else progress.generation
    if operation.HasField("error"):
        return f"failed     {subject}  {one_line(operation.error.message, 200)}"
    if not operation.done:
        return f"{reading(progress)}  {subject}"
    if building is not None:
        return f"done       {subject}  {one_line(generation_result(operation).embedding, 100)}".rstrip()
    result = ingest_result(operation)
    outcome = "unchanged" if result.unchanged else "done"
    return f"{outcome:<9}  {result.document.name}  {one_line(result.document.source_key, 100)}".rstrip()
