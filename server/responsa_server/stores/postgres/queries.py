"""Named SQL in files: `-- name: find_turn` begins a query, which ends where the next begins. Lines that are comments are not sent."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import LiteralString, cast

_NAME = re.compile(r"^-- name: ([a-z0-9_]+)[^\n]*$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--[^\n]*\n", re.MULTILINE)


class Queries:
    """The queries of files of this package: `Queries("turn_reads.sql")["get_turn"]`.

    Raises KeyError for a name that the files have not, ValueError for one that they have twice.
    """

    def __init__(self, *filenames: str) -> None:
        parts = [
            part
            for filename in filenames
            for part in _NAME.split((files(__package__ or "") / filename).read_text(encoding="utf-8"))[1:]
        ]
        names = parts[::2]
        if len(set(names)) != len(names):
            raise ValueError(f"{', '.join(filenames)}: a query's name stands twice")
        # The files are ours, part of the package, and hold no input: as good as literals.
        self._queries: dict[str, LiteralString] = {
            name: cast("LiteralString", _COMMENT.sub("", body).strip())
            for name, body in zip(names, parts[1::2], strict=True)
        }

    def __getitem__(self, name: str) -> LiteralString:
        return self._queries[name]

    def names(self) -> frozenset[str]:
        """All names in the files, for tests."""
        return frozenset(self._queries)
