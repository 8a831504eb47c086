"""The statements of every turn are short enough for the driver's cache of parsed statements."""

from __future__ import annotations

import re
from typing import Final

import pytest

from responsa_server.stores.postgres.turns import turn_queries

# psycopg caches the parsed form of statements that have fewer bytes and fewer parameters than this (psycopg/_queries.py).
_MOST_BYTES: Final = 4096
_MOST_PARAMETERS: Final = 50

# The joined statement of `TurnStore.append` when a batch contains every kind of write.
_APPEND = ("append_fence", "append_rows", "append_checkpoints", "append_tools")
_QUERIES = turn_queries()
_STATEMENTS = {
    **{name: _QUERIES[name] for name in _QUERIES.names() if name not in _APPEND},
    "append": "WITH " + ",\n".join(_QUERIES[part] for part in _APPEND) + "\nSELECT id FROM fenced",
}


@pytest.mark.parametrize("name", sorted(_STATEMENTS))
def test_a_statement_is_parsed_once(name: str) -> None:
    assert len(_STATEMENTS[name].encode()) < _MOST_BYTES
    assert len(set(re.findall(r"%\((\w+)\)", _STATEMENTS[name]))) < _MOST_PARAMETERS


def test_comments_are_not_sent() -> None:
    assert not any(
        line.lstrip().startswith("--") for text in _STATEMENTS.values() for line in text.split("\n")
    )
