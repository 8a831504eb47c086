"""How commands name a document: by its name, or by its source key."""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer

from responsa.knowledge.v1 import document_pb2
from responsa_client import Responsa
from responsa_server.cli.labels import escaped
from responsa_server.cli.output import EXIT_USAGE, CommandFailed, valid_text

_NAME: Final = re.compile(r"documents/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Collection = Annotated[
    str,
    typer.Option("--collection", "-c", help="The collection."),
]
Named = Annotated[
    str,
    typer.Argument(
        help="The document, as documents/{uuid} or as a source key of the collection.",
    ),
]
SeveralNamed = Annotated[
    list[str],
    typer.Argument(
        help="Each document as documents/{uuid} or as a source key of the collection.",
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
