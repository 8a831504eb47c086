"""The product's SQL without one of its guards. Tests use it to show that the guard is needed."""

from __future__ import annotations

from typing import LiteralString, cast

from responsa_server.stores.postgres.turns import turn_queries


class Edited:
    """The turn store's queries with changes that remove a guard. edits: for each change, the name of the query, a text
    in the query, and the replacement of that text."""

    def __init__(self, *edits: tuple[str, str, str]) -> None:
        queries = turn_queries()
        self._queries: dict[str, str] = {name: queries[name] for name in queries.names()}
        for name, before, after in edits:
            assert before in self._queries[name], f"{name} has no {before!r} any more"
            self._queries[name] = self._queries[name].replace(before, after)

    def __getitem__(self, name: str, /) -> LiteralString:
        return cast("LiteralString", self._queries[name])
