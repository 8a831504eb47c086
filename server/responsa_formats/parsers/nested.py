"""Reads a file that is inside another file, such as an attachment of a message, with the parser of its format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers.blocks import BlockWriter
from responsa_formats.parsers.sniff import Original, sniff
from responsa_formats.text.canonical import Place

if TYPE_CHECKING:
    from responsa_formats.parsers.table import Parser

_MAX_DEPTH: Final = 3


def write_nested(
    outer: Original,
    data: bytes,
    name: str,
    content_type: str,
    blocks: BlockWriter,
    path: str,
    parse: Parser | None = None,
) -> None:
    """Append the blocks of a file. A file that cannot be read, or that is inside too many files, is counted as left out.

    name, content_type: as in `sniff`. path: the place in the outer file. parse: reads what has no bytes and the format of the outer file.
    """
    if outer.depth >= _MAX_DEPTH:
        outer.left_out[LeftOutKind.EMBEDDED_FILE] += 1
        return
    try:
        known = outer.format if parse else ""
        inner = sniff(data, name, content_type, formats=outer.formats, known=known)
        inner.depth, inner.reader, inner.parser = outer.depth + 1, outer.reader, outer.parser
        row = outer.formats.with_name(inner.format)
        assert row is not None, "sniff() must return the name of a format in the table of formats"
        document = (parse or outer.parser(row))(inner)
    except MemoryError:
        raise
    except Exception:  # whatever the parsers raise, the outer file can be read
        outer.left_out[LeftOutKind.EMBEDDED_FILE] += 1
        return
    outer.left_out.update(inner.left_out)
    outer.ocr_pages += inner.ocr_pages
    outer.guessed_charset = outer.guessed_charset or inner.guessed_charset
    text = document.canonical_text.encode()
    blocks.separate()
    for block in document.blocks:
        blocks.quotes, blocks.title = block.quotes, block.title
        part = text[block.byte_start : block.byte_end].decode()
        blocks.write(part, block.kind, block.level, "", Place(path=path) if path else None)
    blocks.quotes, blocks.title = 0, ""
