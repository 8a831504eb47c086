"""The commands `responsa collections list | create | share | unshare | delete`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

import typer

from responsa.auth.v1 import user_pb2
from responsa.knowledge.v1 import collection_pb2, reader_pb2
from responsa_client import Responsa
from responsa_client.errors import FailedPrecondition
from responsa_server.cli.groups import find_group
from responsa_server.cli.output import EXIT_USAGE, CommandFailed, as_json, one_line, person, valid_text
from responsa_server.cli.resources import CommandGroup, Made, text_of
from responsa_server.cli.session import open_client
from responsa_server.cli.users import AccountRole
from responsa_server.domain.formatting import counted

Collection = Annotated[str, typer.Argument(help="The collection, as collections/{id} or as the id alone.")]
User = Annotated[
    list[str] | None,
    typer.Option(
        "--user",
        help="A user, as users/{uuid}, as the UUID alone, or as the e-mail address; may be repeated.",
    ),
]
ForGroup = Annotated[
    list[str] | None,
    typer.Option("--group", help="The members of a group: its name, or groups/{uuid}; may be repeated."),
]
ForRole = Annotated[
    list[AccountRole] | None, typer.Option("--role", help="All users with this role; may be repeated.")
]
_COLLECTION: Final = "Print the Collection as proto-JSON."
register: Final = CommandGroup("List, create, share and delete collections.")


def _line(collection: collection_pb2.Collection) -> str:
    size = _count(collection) if collection.readable else "not readable"
    readers = ", ".join(map(_reader, collection.readers))
    shared = f"  shared with {readers}" if readers else ""
    return f"{_id(collection):<24}  {size:<16}  {one_line(_label(collection), 120)}{shared}".rstrip()


@register.show("list", "Print one Collection per line, as proto-JSON.", _line)
def list_collections(
    client: Responsa,
    matching: Annotated[
        str, typer.Option("--filter", help="A filter in AIP-160 syntax, e.g. 'display_name : \"guide\"'.")
    ] = "",
) -> Iterable[collection_pb2.Collection]:
    """List the collections that you may read, in the order of their ids. If the id of a collection ends in random
    characters, the list names the collection's owner. It names the readers of your collections. Administrators see
    all collections; the list says which of them they may not read."""
    return client.collections(filter_by=matching)


@register.show("create", _COLLECTION, text_of)
def create(
    client: Responsa,
    collection: str,
    name: str = "",
    max_tokens: int | None = None,
    overlap_tokens: int | None = None,
) -> Made:
    """Create an empty collection. The lengths of passages cannot be changed later.

    Args:
        collection: The id: 1 to 63 characters from a-z, 0-9 and the hyphen, not beginning with a hyphen.
        name: The name to show to people, at most 200 bytes.
        max_tokens: The maximum length of a passage in tokens, from 64 to 2,000. Default: 500.
        overlap_tokens: The number of tokens that a passage shares with the previous passage, from 0 to 500.
    """
    created = client.create_collection(
        valid_text(collection, "The id").removeprefix("collections/"),
        valid_text(name, "The name"),
        collection_pb2.Chunking(max_tokens=max_tokens, overlap_tokens=overlap_tokens),
    )
    return as_json(created), f"created {created.name}"


def _readers_line(changed: collection_pb2.Collection) -> str:
    readers = ", ".join(map(_reader, changed.readers))
    return f"{changed.name} is {f'shared with {readers}' if readers else 'private'}"


@register.show("share", _COLLECTION, _readers_line)
def share(
    collection: Collection,
    user: User = None,
    group: ForGroup = None,
    role: ForRole = None,
    everyone: Annotated[bool, typer.Option("--everyone", help="Everyone in the tenant.")] = False,
) -> collection_pb2.Collection:
    """Allow others to read a collection, in addition to its current readers. They can search and read its
    documents, but not change them."""
    added = _readers(user, group, role, everyone=everyone, options="--user, --group, --role or --everyone")
    with open_client() as client:
        _name_groups(client, added)
        old = client.get_collection(valid_text(collection, "The collection"))
        present = set(map(_who, old.readers))
        readers = [*old.readers, *(reader for reader in added if _who(reader) not in present)]
        return client.update_collection(old.name, etag=old.etag, readers=readers)


@register.show("unshare", _COLLECTION, _readers_line)
def unshare(
    collection: Collection,
    user: User = None,
    group: ForGroup = None,
    role: ForRole = None,
    everyone: Annotated[
        bool, typer.Option("--everyone", help="The reader “everyone”; other readers stay.")
    ] = False,
    nobody: Annotated[
        bool, typer.Option("--all", help="Remove all readers, so that the collection is private again.")
    ] = False,
) -> collection_pb2.Collection:
    """Remove readers from a collection. From their next call on, they can no longer read the collection."""
    options = "--user, --group, --role, --everyone or --all"
    removed = [] if nobody else _readers(user, group, role, everyone=everyone, options=options)
    with open_client() as client:
        _name_groups(client, removed)
        old = client.get_collection(valid_text(collection, "The collection"))
        gone = set(map(_who, removed))
        readers = [reader for reader in old.readers if not nobody and _who(reader) not in gone]
        without = [reader.email for reader in removed if reader.email]
        return client.update_collection(old.name, etag=old.etag, readers=readers, without=without)


def _readers(
    users: list[str] | None,
    groups: list[str] | None,
    roles: list[AccountRole] | None,
    *,
    everyone: bool,
    options: str,
) -> list[reader_pb2.Reader]:
    readers = [
        reader_pb2.Reader(email=text)
        if "@" in text
        else reader_pb2.Reader(user=f"users/{text.removeprefix('users/')}")
        for text in (valid_text(user, "The user") for user in users or ())
    ]
    readers += [reader_pb2.Reader(group=valid_text(group, "The group")) for group in groups or ()]
    readers += [
        reader_pb2.Reader(role=user_pb2.UserRole.Value(f"USER_ROLE_{role.name}")) for role in roles or ()
    ]
    readers += [reader_pb2.Reader(everyone=True)] if everyone else []
    if not readers:
        raise CommandFailed("No reader is named.", f"Give {options}.", EXIT_USAGE)
    return readers


def _name_groups(client: Responsa, readers: list[reader_pb2.Reader]) -> None:
    """Put the resource names of groups in place of what the user calls them. Raises CommandFailed."""
    for reader in readers:
        if reader.group:
            reader.group = find_group(client, reader.group).name


def _who(reader: reader_pb2.Reader) -> tuple[str, str]:
    """What makes two readers the same; not the display name, which replies alone have."""
    which = reader.WhichOneof("who") or ""
    return which, str(getattr(reader, which, ""))


def _label(collection: collection_pb2.Collection) -> str:
    """The text for people, with the owner if the collection has another id for its owner."""
    if _id(collection) == collection.chosen_id:
        return collection.display_name
    return f"{collection.display_name or collection.chosen_id} (of {collection.owner_display_name or collection.owner})"


def _reader(reader: reader_pb2.Reader) -> str:
    match reader.WhichOneof("who"):
        case "user":
            return person(reader.user, reader.display_name)
        case "role":
            return f"role {user_pb2.UserRole.Name(reader.role).removeprefix('USER_ROLE_').lower()}"
        case "group":
            return person(reader.group, reader.display_name)
        case _:
            return "everyone"


def findable(collection: collection_pb2.Collection) -> str:
    """Who can find the documents of a collection that the caller manages; of a private one, also the command that shares it."""
    if any(reader.everyone for reader in collection.readers):
        return "Everyone in your organisation can find these documents."
    # Others see the collection under another id than the one that its owner chose.
    owner = (
        "you"
        if _id(collection) == collection.chosen_id
        else person(collection.owner, collection.owner_display_name)
    )
    if collection.readers:
        readers = ", ".join([owner, *map(_reader, collection.readers)])
        return f"{readers[0].upper()}{readers[1:]} can find these documents."
    share = f"`responsa collections share {_id(collection)} --everyone`"
    return f"Only {owner} can find these documents. {share} shares them with everyone in your organisation."


@register.show(
    "delete",
    "Print one JSON object with the name of the deleted collection and the number of its "
    "documents (null if you may not read them).",
    text_of,
)
def delete(
    client: Responsa,
    collection: Collection,
    force: Annotated[bool, typer.Option("--force", help="Delete the collection's documents too.")] = False,
) -> Made:
    """Delete a collection. Without --force, a collection that has documents is not deleted. Existing answers keep their quotes."""
    existing = client.get_collection(valid_text(collection, "The collection"))
    size = _count(existing) if existing.readable else "all its documents"
    try:
        client.delete_collection(existing.name, force=force)
    except FailedPrecondition as error:
        if error.reason == "COLLECTION_NOT_EMPTY":
            error.add_note(f"`responsa collections delete {_id(existing)} --force` deletes {size} too.")
        raise
    documents = int(existing.document_count) if existing.readable else None
    return {"deleted": existing.name, "documents": documents}, f"deleted {existing.name} with {size}"


def _id(collection: collection_pb2.Collection) -> str:
    return collection.name.removeprefix("collections/")


def _count(collection: collection_pb2.Collection) -> str:
    return counted(collection.document_count, "document")
