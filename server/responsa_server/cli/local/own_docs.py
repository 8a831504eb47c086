"""The text of Responsa's documentation that `responsa up` loads.

The pages show example output and documents of invented organisations. Search could return either as an answer about the reader's own
organisation, so they are left out. Commands, configuration and code stay.
"""

from __future__ import annotations

import re
from typing import Final

_BLOCK: Final = re.compile(
    r"^```(?P<kind>[\w-]*)(?: (?P<rest>[^\n]+))?\n(?P<text>.*?)(?:^```[ \t]*(?:\n|\Z)|\Z)",
    re.MULTILINE | re.DOTALL,
)
_DOCUMENTS: Final = ("json", "md")
_CONFIGURATION: Final = ".responsa/"


def without_examples(page: str) -> str:
    """Return a page without expected output and without example documents. Everything else stays as it is.

    Expected output is a block `text`, or the lines of a block `console` that are not commands. An example document is a block `md` or `json` that
    names its file, unless the file belongs to Responsa's configuration (`.responsa/`).
    """
    return _BLOCK.sub(_kept, page)


def _kept(block: re.Match[str]) -> str:
    kind, rest = block["kind"], block["rest"] or ""
    if kind == "text" or (kind in _DOCUMENTS and rest and not rest.startswith(_CONFIGURATION)):
        return ""
    if kind != "console":
        return block.group()
    commands = "".join(
        line for line in block["text"].splitlines(keepends=True) if line.startswith(("$ ", "> "))
    )
    return block.group().replace(block["text"], commands, 1) if commands else ""
