"""Thirty documents that take much time, memory or text of the server that reads them."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from typing import Final

from tests.formats.office_files import docx

_PARAGRAPH: Final = "<w:p><w:r><w:t>{}</w:t></w:r></w:p>"


def _words(count: int) -> str:
    return " ".join(f"word{number}" for number in range(count))


def _zip(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return packed.getvalue()


def _mail(parts: int) -> str:
    head = 'From: a@example.org\nSubject: many\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n\n'
    return head + "".join(f"--b\nContent-Type: text/plain\n\npart {number}\n" for number in range(parts))


DOCUMENTS: Final[Mapping[str, Callable[[], bytes | str]]] = {
    "one-word.txt": lambda: "a" * 4_000_000,
    "letters.txt": lambda: "a " * 2_000_000,
    "lines.txt": lambda: "\n".join(map(str, range(400_000))),
    "distinct-words.txt": lambda: _words(400_000),
    "nfkc.txt": lambda: "\ufdfa" * 200_000,
    "combining.txt": lambda: "a" + "\u0301" * 1_000_000,
    "urls.txt": lambda: "\n".join(f"https://example.org/{number}?q=%20" for number in range(60_000)),
    "sentences.txt": lambda: "A. " * 700_000,
    "long-paragraphs.txt": lambda: "\n\n".join(_words(3_000) for _ in range(100)),
    "zeros.txt": lambda: b"\0" * 4_000_000,
    "headings.md": lambda: "".join(f"# Heading {number}\n\nText {number}.\n\n" for number in range(60_000)),
    "quotes.md": lambda: ">" * 200_000 + " deep",
    "lists.md": lambda: "".join(" " * (2 * depth) + "- item\n" for depth in range(1_500)),
    "links.md": lambda: "[a](b) " * 300_000,
    "emphasis.md": lambda: "*a _b " * 200_000,
    "table.md": lambda: "|a|b|\n|-|-|\n" + "|1|2|\n" * 150_000,
    "nested.html": lambda: "<div>" * 100_000 + "deep",
    "cells.html": lambda: "<table>" + "<tr>" + "<td>a" * 300_000,
    "entities.html": lambda: "&amp;" * 600_000,
    "keys.json": lambda: json.dumps({f"key {number}": number for number in range(200_000)}),
    "nested.json": lambda: "[" * 400_000,
    "objects.jsonl": lambda: "\n".join(json.dumps({"id": number}) for number in range(150_000)),
    "rows.csv": lambda: "a,b\n" + "1,2\n" * 1_000_000,
    "columns.csv": lambda: ",".join(map(str, range(300_000))) + "\n" + "1," * 300_000,
    "paragraphs.docx": lambda: docx(_PARAGRAPH.format("a") * 400_000),
    "text.docx": lambda: docx(_PARAGRAPH.format(_words(200_000))),
    "bomb.docx": lambda: _zip("word/document.xml", b"<a>" * 100_000_000),
    "billion.xml": lambda: (
        '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
        + "".join(f'<!ENTITY {chr(98 + level)} "{f"&{chr(97 + level)};" * 10}">' for level in range(9))
        + "]><a>&j;</a>"
    ),
    "parts.eml": lambda: _mail(20_000),
    "bomb.txt.gz": lambda: gzip.compress(bytes(100_000_000)),
}  # fmt: skip
