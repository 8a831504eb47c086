"""`responsa documents list | delete`."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from responsa.knowledge.v1 import document_pb2
from responsa_client import Responsa
from responsa_server.cli.failures import EXIT_USAGE, CommandFailed, reporting, valid_text
from responsa_server.cli.output import one_line, print_json, print_text
from responsa_server.cli.session import open_client

_NAME = re.compile(r"documents/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_STATES = {
    document_pb2.DOCUMENT_STATE_INDEXING: "indexing",
    document_pb2.DOCUMENT_STATE_READY: "ready",
    document_pb2.DOCUMENT_STATE_FAILED: "failed",
}

Collection = Annotated[str, typer.Option("--collection", "-c", help="The collection.")]


def register(app: typer.Typer, name: str) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True, help="List and delete documents.", rich_markup_mode=None)
    group.command("list")(list_documents)
    group.command("delete")(delete_documents)
    app.add_typer(group, name=name)


def list_documents(
    collection: Collection = "default",
    matching: Annotated[
        str, typer.Option("--filter", help="AIP-160, e.g. 'state = \"FAILED\"' or 'title = \"Guide\"'.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one Document a line, as proto-JSON.")] = False,
) -> None:
    """List a collection's documents by their source_key."""
    with reporting(json=json), open_client() as client:
        for document in client.documents(valid_text(collection, "The collection"), filter_by=matching):
            if json:
                print_json(document)
            else:
                print_text(_line(document))


def delete_documents(
    documents: Annotated[
        list[str], typer.Argument(help="documents/{uuid}, or a source_key of the collection.")
    ],
    collection: Collection = "default",
    json: Annotated[bool, typer.Option("--json", help="Print one object a line: the name deleted.")] = False,
) -> None:
    """Delete documents with their passages and vectors. Answers given before keep their quotes.

    All are looked up first: when one is not there, none is deleted.
    """
    with reporting(json=json), open_client() as client:
        found = [_find(client, valid_text(named, "A document's name"), collection) for named in documents]
        for document in {document.name: document for document in found}.values():
            client.delete_document(document.name)
            if json:
                print_json({"deleted": document.name, "sourceKey": document.source_key})
            else:
                print_text(f"deleted {document.name}  {document.source_key}")


def _find(client: Responsa, named: str, collection: str) -> document_pb2.Document:
    if _NAME.fullmatch(named):
        return client.get_document(named)
    quoted = named.replace("\\", "\\\\").replace('"', '\\"')
    document = next(client.documents(collection, filter_by=f'source_key = "{quoted}"'), None)
    if document is None:
        raise CommandFailed(
            f"The collection {collection} has no document {named!r}.",
            f"`responsa documents list --collection {collection}` shows what it has.",
            EXIT_USAGE,
        )
    return document


def _line(document: document_pb2.Document) -> str:
    state = _STATES.get(document.state, "?")
    line = f"{document.name}  {state:<8}  {document.source_key}  {one_line(document.title, 60)}"
    if document.state == document_pb2.DOCUMENT_STATE_FAILED:
        line += f"\n    {one_line(document.error.message, 200)}"
    return line
