"""A parser that imports late, or fails, as the document says: `import NAME`, `try NAME`, `decode CHARSET`, or a failure. Only
the zygote loads this module, from a table that a test names."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from importlib import import_module

from responsa_formats.parsers.plain_text import parse as parse_plain_text
from responsa_formats.parsers.sniff import Original
from responsa_formats.parsers.table import PLAIN_TEXT, Formats
from responsa_formats.text.canonical import ParsedDocument

WITHOUT, SECRET = "without", "a text of the document"


def parse(original: Original) -> ParsedDocument:
    """Do what each line says. The document's title is the last module, or WITHOUT."""
    document = parse_plain_text(original)
    title = document.title
    for line in document.canonical_text.splitlines():
        deed, _, name = line.partition(" ")
        match deed:
            case "import":
                title = import_module(name).__name__
            case "try":
                title = WITHOUT
                with suppress(ImportError):
                    title = import_module(name).__name__
            case "decode":
                title = WITHOUT
                with suppress(LookupError):
                    title = b"a".decode(name)
            case "fail":
                raise ArithmeticError(SECRET)
            case "panic":
                raise KeyboardInterrupt(SECRET)
            case "refused":
                os.mkdir("/etc/responsa")  # noqa: PTH102 - the call itself is what is refused
            case "crash":
                os.abort()
            case _:
                pass
    return replace(document, title=title)


FORMATS = Formats([replace(PLAIN_TEXT, parser="late_parsers:parse", sample=b"sample")])
