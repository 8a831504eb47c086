"""The front matter of a Markdown file: YAML between two lines `---`, or TOML between two lines `+++`, at the beginning of the file.

Only lines that begin with a key are read, each with the list or the lines indented below it; what is nested deeper
states nothing that Responsa stores.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

# It must begin with a key, because "---" may also be a thematic break at the beginning of a document.
_FRONT_MATTER: Final = re.compile(
    r"(---|\+\+\+)[ \t]*(?:\r\n|\r|\n)(?:[ \t]*(?:#[^\r\n]*)?(?:\r\n|\r|\n)){0,20}?"
    r"(?=[\"']?[A-Za-z_][\w\-. ]{0,63}[\"']?[ \t]*(?::(?=\s)|=))(.{0,16384}?)(?:\r\n|\r|\n)(?:\1|\.\.\.)[ \t]*(?=[\r\n]|\Z)",
    re.DOTALL | re.ASCII,
)
_FIELD: Final = re.compile(r"([\"']?)([A-Za-z_][\w\-]{0,63})\1[ \t]*(?::(?=\s|\Z)|=)[ \t]*(.*)\Z", re.ASCII)
_ITEM: Final = re.compile(r"[ \t]*+-[ \t]++(.*)")
_FOLDED: Final = re.compile(r"[|>][+-]?\d?\Z")
_COMMENT: Final = re.compile(r"(?:\A|\s)#.*\Z")


def front_matter(text: str) -> tuple[int, Mapping[str, Sequence[str]]]:
    """Where the front matter of a Markdown text ends, as a number of characters, and its fields: for each key, in lower
    case, its values as they are written, without quotation marks. (0, {}) if the text begins with none.
    """
    match = _FRONT_MATTER.match(text)
    if match is None:
        return 0, {}
    fields: dict[str, list[str]] = {}
    values: list[str] = []
    folded = False
    for line in re.split(r"\r\n|\r|\n", match.group(2)):
        if (field := _FIELD.match(line)) is not None:
            values, folded = [], _FOLDED.match(field.group(3).strip()) is not None
            fields.setdefault(field.group(2).lower(), values)
            if not folded:
                values.extend(_values(field.group(3)))
        elif (item := _ITEM.match(line)) is not None and not folded:
            values.append(_plain(item.group(1)))
        elif line[:1] in " \t" and line.strip():
            if folded and values:
                values[-1] += " " + line.strip()
            else:
                values.extend([line.strip()] if folded else _values(line.strip().rstrip("],")))
    return match.end(), {key: [value for value in values if value] for key, values in fields.items()}


def _values(text: str) -> Sequence[str]:
    text = text.strip()
    if text.startswith("["):
        return [_plain(value) for value in text[1:].rstrip("]").split(",")]
    return [_plain(text)]


def _plain(value: str) -> str:
    """A value without its quotation marks or its comment."""
    value = value.strip()
    for mark in "\"'":
        if value.startswith(mark) and (end := value.find(mark, 1)) > 0:
            return value[1:end]
    return _COMMENT.sub("", value).strip()
