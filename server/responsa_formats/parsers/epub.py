"""EPUB (3.3): the chapters in the order of the spine, each read as HTML. The place of a text is its chapter's file.

A book that is protected by DRM is refused. Obfuscated fonts do not protect the text.
"""

from __future__ import annotations

import posixpath
from typing import Final
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from responsa_formats.containers import Archive
from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers.blocks import BlockWriter
from responsa_formats.parsers.nested import write_nested
from responsa_formats.parsers.office import Stated, document, read_tree
from responsa_formats.parsers.sniff import Original
from responsa_formats.rejections import Cause, Rejected
from responsa_formats.text.canonical import ParsedDocument, one_line

_CONTAINER: Final = "META-INF/container.xml"
_ENCRYPTION: Final = "META-INF/encryption.xml"
_KEYS: Final = ("META-INF/sinf.xml", "META-INF/license.lcpl")
_FONTS: Final = frozenset({"http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"})
_PAGES: Final = frozenset({"application/xhtml+xml", "text/html", "application/x-dtbook+xml"})


def parse(original: Original) -> ParsedDocument:
    """Extract the text. Raises Rejected if the book is damaged, is protected, has no text, or exceeds a limit."""
    archive = Archive.open(original.data)
    if _is_protected(archive):
        raise Rejected(Cause.ENCRYPTED, "The book is protected by DRM. Upload a copy without protection.")
    part = next((node.get("full-path", "") for node in _find(read_tree(archive, _CONTAINER), "rootfile")), "")
    book = read_tree(archive, part)
    files = {item.get("id", ""): item for item in _find(book, "item")}
    original.left_out[LeftOutKind.PICTURE] += sum(
        item.get("media-type", "").startswith("image/") for item in files.values()
    )
    blocks = BlockWriter()
    for reference in _find(book, "itemref"):
        item = files.get(reference.get("idref", ""))
        if item is None or "nav" in item.get("properties", "").split():
            original.left_out[LeftOutKind.NAVIGATION] += item is not None
            continue
        href = unquote(item.get("href", ""))
        name = posixpath.normpath(posixpath.join(posixpath.dirname(part), href))
        if name not in archive or item.get("media-type", "") not in _PAGES:
            original.left_out[LeftOutKind.EMBEDDED_FILE] += 1
            continue
        write_nested(original, archive.read(name), "", "application/xhtml+xml", blocks, href)
    metadata = Stated(
        _text(book, "dc:title"), _text(book, "dc:language"), _text(book, "dc:creator"), _text(book, "dc:date")
    )
    return document(
        original, blocks, metadata.title, metadata, "The book has no text. Upload a book with text."
    )


def _is_protected(archive: Archive) -> bool:
    if any(name in archive for name in _KEYS):
        return True
    if _ENCRYPTION not in archive:
        return False
    methods = _find(read_tree(archive, _ENCRYPTION), "EncryptionMethod")
    return any(method.get("Algorithm", "") not in _FONTS for method in methods)


def _find(tree: Element, name: str) -> list[Element]:
    """The elements of a local name, in order."""
    return [node for node in tree.iter() if node.tag.rpartition(":")[2] == name]


def _text(book: Element, name: str) -> str:
    return next((one_line(node.text) for node in book.iter(name) if node.text and node.text.strip()), "")
