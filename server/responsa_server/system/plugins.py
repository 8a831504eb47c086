"""What parts and other distributions add to the tables of the core. Each kind of row has a group of entry points."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from enum import StrEnum
from functools import cache
from importlib import metadata
from typing import TypeVar

from responsa_server.system.fixable import Fixable

Row = TypeVar("Row")


class Group(StrEnum):
    """The groups of entry points."""

    NODES = "responsa.nodes"
    TOOLS = "responsa.tools"
    FORMATS = "responsa.formats"
    PROVIDERS = "responsa.providers"
    EXTENSIONS = "responsa.extensions"
    COMMANDS = "responsa.commands"
    ENGINES = "responsa.engines"


def entry_points(group: Group) -> metadata.EntryPoints:
    """The rows that are added. Nothing is imported."""
    return _read_metadata().select(group=group)


_read_metadata = cache(metadata.entry_points)  # it takes 7 ms


def load_rows(
    group: Group,
    kind: type[Row],
    taken: Collection[str] = (),
    fit: Callable[[Sequence[Row]], object] = len,
) -> dict[str, Row]:
    """The rows that are added, by the names of their entry points, in the order of these.

    kind: the type of a row. taken: the names that have rows. fit: gets all rows so far, and raises ValueError if the
    last one does not go with them and the table's own. Raises Fixable, which names the distribution, if a name is
    taken, or if a row cannot be imported, is of another type or does not fit.
    """
    rows: dict[str, Row] = {}
    for entry in sorted(entry_points(group), key=lambda point: point.name):
        try:
            if entry.name in taken or entry.name in rows:
                raise ValueError("the name is taken")
            row = entry.load()
            if not isinstance(row, kind):
                raise TypeError(f"{entry.value} is no {kind.__name__}")
            rows[entry.name] = row
            fit(list(rows.values()))
        except Exception as error:  # whatever the module of an entry raises
            by = (
                "an unknown distribution" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
            )
            raise Fixable(
                f"{by} adds “{entry.name}” to {group}, which cannot be used ({type(error).__name__}: {error})",
                "install a version of it that works with this release, or uninstall it",
            ) from error
    return rows
