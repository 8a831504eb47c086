"""The statements of every turn are short enough for the driver's cache of parsed statements."""

from __future__ import annotations

import pytest
from psycopg._queries import (  # the bounds have no public name
    MAX_CACHED_STATEMENT_LENGTH,
    MAX_CACHED_STATEMENT_PARAMS,
    _split_query,  # pyright: ignore[reportPrivateUsage]
)

from responsa_server.stores.postgres.turns import turn_queries

# What `TurnStore.append` joins to one statement when a batch holds all of it.
_APPEND = ("append_fence", "append_rows", "append_checkpoints", "append_tools")
_QUERIES = turn_queries()
_STATEMENTS = {
    **{name: _QUERIES[name] for name in _QUERIES.names() if name not in _APPEND},
    "append": "WITH " + ",\n".join(_QUERIES[part] for part in _APPEND) + "\nSELECT id FROM fenced",
}


@pytest.mark.parametrize("name", sorted(_STATEMENTS))
def test_a_statement_is_parsed_once(name: str) -> None:
    statement = _STATEMENTS[name].encode()
    parameters = {part.item for part in _split_query(statement) if part.item != 0}
    assert len(statement) < MAX_CACHED_STATEMENT_LENGTH
    assert len(parameters) < MAX_CACHED_STATEMENT_PARAMS


def test_comments_are_not_sent() -> None:
    assert not any(
        line.lstrip().startswith("--") for text in _STATEMENTS.values() for line in text.split("\n")
    )
