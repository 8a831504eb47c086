"""Labels, metadata and filters on the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar

import typer

from responsa_server.cli.output import EXIT_USAGE, CommandFailed, Json, valid_text

Value = TypeVar("Value", bound=Json)

FilterOption = Annotated[
    str,
    typer.Option(
        "--filter",
        help="Use only the documents that match this filter, e.g. 'labels.team = legal AND date >= 2025'.",
    ),
]
LabelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label", help="A label, as key=value; repeatable. Filters find documents by their labels."
    ),
]
MetadataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metadata",
        help="A value of metadata, as key=value; repeatable. Valid JSON is read as JSON, anything else as a text.",
    ),
]


def given_labels(given: Sequence[str] | None) -> dict[str, str]:
    """Parse labels. Raises CommandFailed if "=" is missing, a key is empty or a key is given twice."""
    return _parted(given or (), "label")


def given_metadata(given: Sequence[str] | None) -> dict[str, Json]:
    """Parse metadata; an empty value stays the text "". Raises CommandFailed as `given_labels` does."""
    return {key: _value(text) for key, text in _parted(given or (), "metadata").items()}


def merged(before: Mapping[str, Value], given: Mapping[str, Value]) -> dict[str, Value]:
    """The values after a change: an empty text removes its key."""
    return {key: value for key, value in {**before, **given}.items() if not (key in given and value == "")}


def _parted(given: Sequence[str], option: str) -> dict[str, str]:
    made: dict[str, str] = {}
    for text in given:
        key, equals, value = valid_text(text, f"--{option}").partition("=")
        if not equals or not key:
            raise CommandFailed(
                f"{text!r} does not have the form key=value.", f"Write --{option} key=value.", EXIT_USAGE
            )
        if key in made:
            raise CommandFailed(f"--{option} {key} is given twice.", "Leave one out.", EXIT_USAGE)
        made[key] = value
    return made


def _value(text: str) -> Json:
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return text


def _no_number(text: str) -> Json:
    """JSON has no NaN and no infinity, although Python's parser reads them."""
    raise ValueError(text)
