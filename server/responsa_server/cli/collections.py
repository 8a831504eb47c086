"""The commands `responsa collections list | create | show | rename | delete`."""

from __future__ import annotations

from typing import Annotated

import typer

from responsa.knowledge.v1 import collection_pb2
from responsa_client.errors import FailedPrecondition
from responsa_server.cli import completion
from responsa_server.cli.output import one_line, print_json, print_text, reporting, valid_text
from responsa_server.cli.session import open_client

Collection = Annotated[
    str,
    typer.Argument(
        help="The collection, as collections/{id} or as the id alone.", autocompletion=completion.collections
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the Collection as proto-JSON.")]


def register(app: typer.Typer, name: str) -> None:
    """Add the group `collections`."""
    group = typer.Typer(
        no_args_is_help=True, help="List, make, rename and delete collections.", rich_markup_mode=None
    )
    group.command("list")(list_collections)
    group.command("create")(create)
    group.command("show")(show)
    group.command("rename")(rename)
    group.command("delete")(delete)
    app.add_typer(group, name=name)


def list_collections(
    matching: Annotated[
        str, typer.Option("--filter", help="A filter in AIP-160 syntax, e.g. 'display_name : \"guide\"'.")
    ] = "",
    json: Annotated[
        bool, typer.Option("--json", help="Print one Collection per line, as proto-JSON.")
    ] = False,
) -> None:
    """List the collections that you may read, in the order of their ids."""
    with reporting(json=json), open_client() as client:
        for one in client.collections(filter_by=matching):
            if json:
                print_json(one)
            else:
                print_text(f"{_id(one):<24}  {_count(one):<16}  {one_line(one.display_name, 60)}".rstrip())


def create(
    collection: Annotated[
        str,
        typer.Argument(
            help="The id: 1 to 63 characters from a-z, 0-9 and the hyphen, not beginning with a hyphen."
        ),
    ],
    name: Annotated[str, typer.Option(help="The name to show to people, at most 200 bytes.")] = "",
    max_tokens: Annotated[
        int | None,
        typer.Option(help="The maximum length of a passage in tokens, from 64 to 2,000. Default: 500."),
    ] = None,
    overlap_tokens: Annotated[
        int | None,
        typer.Option(help="The tokens that a passage shares with the previous one, from 0 to 500."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Create an empty collection. The lengths of passages cannot be changed later."""
    with reporting(json=json), open_client() as client:
        made = client.create_collection(
            valid_text(collection, "The id").removeprefix("collections/"),
            valid_text(name, "The name"),
            collection_pb2.Chunking(max_tokens=max_tokens, overlap_tokens=overlap_tokens),
        )
        if json:
            print_json(made)
        else:
            print_text(f"created {made.name}")


def show(collection: Collection, json: AsJson = False) -> None:
    """Show one collection with its number of documents, its embedding model and its settings."""
    with reporting(json=json), open_client() as client:
        found = client.get_collection(valid_text(collection, "The collection"))
        if json:
            print_json(found)
            return
        synonyms = [one for one in found.synonyms.splitlines() if one.strip() and not one.startswith("#")]
        facts = {
            "name": one_line(found.display_name, 200),
            "documents": str(found.document_count),
            "owner": found.owner,
            "embedding": found.embedding,
            "passages": f"at most {found.chunking.max_tokens} tokens, {found.chunking.overlap_tokens} shared",
            "synonyms": f"{len(synonyms)} groups" if synonyms else "",
            "created": found.create_time.ToJsonString(),
        }
        lines = [f"{label + ':':<11} {value}" for label, value in facts.items() if value]
        print_text("\n".join([found.name, *lines]))


def rename(
    collection: Collection,
    name: Annotated[str, typer.Argument(help="The new name to show to people, at most 200 bytes.")],
    json: AsJson = False,
) -> None:
    """Change the name that people see. The id stays, so links and settings stay valid."""
    with reporting(json=json), open_client() as client:
        changed = client.update_collection(
            valid_text(collection, "The collection"), valid_text(name, "The name")
        )
        if json:
            print_json(changed)
        else:
            print_text(f"{changed.name} is now named {one_line(changed.display_name, 200)}")


def delete(
    collection: Collection,
    force: Annotated[bool, typer.Option("--force", help="Delete the collection's documents too.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object with the deleted name and its documents.")
    ] = False,
) -> None:
    """Delete a collection. Without --force, a collection that has documents stays. Existing answers keep their quotes."""
    with reporting(json=json), open_client() as client:
        found = client.get_collection(valid_text(collection, "The collection"))
        try:
            client.delete_collection(found.name, force=force)
        except FailedPrecondition as error:
            if error.reason == "COLLECTION_NOT_EMPTY":
                error.add_note(
                    f"`responsa collections delete {_id(found)} --force` deletes {_count(found)} too."
                )
            raise
        if json:
            print_json({"deleted": found.name, "documents": int(found.document_count)})
        else:
            print_text(f"deleted {found.name} with {_count(found)}")


def _id(collection: collection_pb2.Collection) -> str:
    return collection.name.removeprefix("collections/")


def _count(collection: collection_pb2.Collection) -> str:
    number = collection.document_count
    return f"{number} document{'' if number == 1 else 's'}"
