"""Labels, metadata and filters on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import typer

from responsa_server.cli.output import Json
from responsa_server.cli.parameters import parse_untyped, split_pairs

FilterOption = Annotated[
    str,
    typer.Option(
        "--filter",
        help="Use only the documents that match this filter, e.g. 'labels.team = legal AND date >= 2025'.",
    ),
]


def parse_labels(texts: Sequence[str] | None) -> dict[str, str]:
    """Parse labels. Raises CommandFailed if "=" is missing, a key is empty or a key is given twice."""
    return split_pairs(texts or (), "label")


def parse_metadata(texts: Sequence[str] | None) -> dict[str, Json]:
    """Parse metadata; an empty value stays the text "". Raises CommandFailed as `parse_labels` does."""
    return parse_untyped(texts or (), "metadata")


def escape(text: str) -> str:
    """The text as it stands in the quotes of a filter, where an asterisk would stand for any characters."""
    return re.sub(r'[\\"*]', r"\\\g<0>", text)
