"""How commands name a document: by its name, by the name of one of its versions, or by its source key."""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer

from responsa.knowledge.v1 import document_pb2
from responsa_client import Responsa
from responsa_server.cli import completion
from responsa_server.cli.labels import escaped
from responsa_server.cli.output import EXIT_USAGE, CommandFailed, valid_text

_NAME: Final = re.compile(r"documents/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_VERSION_NAME: Final = re.compile(_NAME.pattern + r"/versions/[1-9][0-9]{0,8}")

Collection = Annotated[
    str,
    typer.Option("--collection", "-c", help="The collection.", autocompletion=completion.collections),
]
Named = Annotated[
    str,
    typer.Argument(
        help="The document, as documents/{uuid} or as a source key of the collection.",
        autocompletion=completion.documents,
    ),
]
SeveralNamed = Annotated[
    list[str],
    typer.Argument(
        help="Each document as documents/{uuid} or as a source key of the collection.",
        autocompletion=completion.documents,
    ),
]
NamedOrVersion = Annotated[
    str,
    typer.Argument(
        help="The document, as documents/{uuid}, documents/{uuid}/versions/{n} or a source key of the collection.",
        autocompletion=completion.documents,
    ),
]


def find_document(client: Responsa, named: str, collection: str) -> document_pb2.Document:
    """Return the document with this name, or with this source key in the collection.

    Raises:
        CommandFailed: the text is not valid UTF-8, or the collection has no document with this source key.
        ResponsaError: see GetDocument and ListDocuments in the contract.
    """
    valid_text(named, "A document's name")
    if _NAME.fullmatch(named):
        return client.get_document(named)
    found = client.documents(
        valid_text(collection, "The collection"), filter_by=f'source_key = "{escaped(named)}"'
    )
    document = next(found, None)
    if document is None:
        raise CommandFailed(
            f"The collection {collection} has no document {named!r}.",
            f"`responsa documents list --collection {collection}` lists its documents.",
            EXIT_USAGE,
        )
    return document


def version_name(client: Responsa, named: str, collection: str, version: int | None) -> str:
    """Return the name for a call that takes a document or one of its versions.

    version: the number of the version; None for the version that `named` contains, or else for the searchable version.

    Raises:
        CommandFailed: `named` contains a version, and `version` is given too; or see find_document.
        ResponsaError: see find_document.
    """
    if _VERSION_NAME.fullmatch(named):
        if version is not None:
            raise CommandFailed(f"{named} already names a version.", "Leave --version out.", EXIT_USAGE)
        return named
    name = named if _NAME.fullmatch(named) else find_document(client, named, collection).name
    return name if version is None else f"{name}/versions/{version}"
