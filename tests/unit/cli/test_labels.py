"""Labels and metadata on the command line."""

from __future__ import annotations

import pytest

from responsa_server.cli.labels import parse_labels, parse_metadata
from responsa_server.cli.output import CommandFailed


def test_values_are_read() -> None:
    assert parse_labels(["team=legal", "empty=", "a.b=c=d"]) == {"team": "legal", "empty": "", "a.b": "c=d"}
    assert parse_labels(None) == {}
    arguments = [
        "year=2025",
        "done=true",
        'who={"name": "Ann"}',
        "note=2025-01-31",
        "nan=NaN",
        "large=1e400",
        f"long={'9' * 400}",
        r'half="\ud800"',
        "open=[1,",
        "text=",
    ]
    assert parse_metadata(arguments) == {
        "year": 2025,
        "done": True,
        "who": {"name": "Ann"},
        "note": "2025-01-31",
        "nan": "NaN",
        "large": "1e400",
        "long": "9" * 400,
        "half": r'"\ud800"',
        "open": "[1,",
        "text": "",
    }


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["team"], "'team' does not have the form name=value."),
        (["=legal"], "'=legal' does not have the form name=value."),
        (["a=1", "a=2"], "--label a is given twice."),
        (["a=\udcff"], "--label is not valid UTF-8."),
    ],
)
def test_what_cannot_be_read_is_named(arguments: list[str], says: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        parse_labels(arguments)
    assert caught.value.sentence == says
