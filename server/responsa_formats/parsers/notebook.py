"""Jupyter notebooks: the cells, and what their code has printed. Pictures are counted as left out."""

from __future__ import annotations

import json
from typing import Any

from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers.blocks import BlockWriter
from responsa_formats.parsers.nested import write_nested
from responsa_formats.parsers.sniff import Original
from responsa_formats.rejections import Rejected
from responsa_formats.text.canonical import BlockKind, ParsedDocument, Place


def parse(original: Original) -> ParsedDocument:
    """Parse a notebook. Raises Rejected if it is damaged, has no text, or has more blocks than the server stores."""
    blocks = BlockWriter()
    try:
        notebook: Any = json.loads(original.text)
        for number, cell in enumerate(notebook["cells"], 1):
            source, path = "".join(cell["source"]), f"cell {number}"
            if cell["cell_type"] == "markdown":
                write_nested(original, source.encode(), "", "text/markdown", blocks, path)
                continue
            for text in (source, *(_read_output(output, original) for output in cell.get("outputs", ()))):
                if text.strip():
                    blocks.write(text.strip("\n"), BlockKind.CODE, place=Place(path=path))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise Rejected.as_malformed(
            "The file is not a notebook of Jupyter 4 or later, or is damaged."
        ) from None
    if not blocks.parts:
        raise Rejected.as_empty()
    return blocks.document(original)


def _read_output(output: Any, original: Original) -> str:
    """What an output shows as text."""
    data = output.get("data", {})
    if pictures := sum(kind.startswith("image/") for kind in data):
        original.left_out[LeftOutKind.PICTURE] += pictures
        return ""
    return "".join(output.get("text") or data.get("text/plain") or ())
