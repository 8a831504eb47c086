"""Which parser reads which type: the one place to add a line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import cast

from responsa_server.text.canonical import DecodedDocument, DocumentType, ParsedDocument

Parser = Callable[[DecodedDocument], ParsedDocument]

# "module:function", so that a module is loaded by the process that parses and by no other.
PARSERS: Mapping[DocumentType, str] = {
    DocumentType.MARKDOWN: "responsa_server.ingest.formats.markdown:parse",
    DocumentType.TEXT: "responsa_server.ingest.formats.plain_text:parse",
    DocumentType.HTML: "responsa_server.ingest.formats.html:parse",
}


def load_parser(reference: str) -> Parser:
    """The function behind "module:function". Raises ImportError or AttributeError when there is none."""
    module, _, name = reference.partition(":")
    return cast("Parser", getattr(import_module(module), name))


def load_table(reference: str) -> dict[DocumentType, Parser]:
    """Every parser of the table named "module:attribute", loaded."""
    module, _, name = reference.partition(":")
    table = cast("Mapping[DocumentType, str]", getattr(import_module(module), name))
    return {document_type: load_parser(target) for document_type, target in table.items()}
