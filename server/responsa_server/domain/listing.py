"""Lists: the rules of a list, the query of a list call, and its page (AIP-132, 158, 160)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeAlias, TypeVar
from uuid import UUID

Item = TypeVar("Item")
Value: TypeAlias = str | datetime | UUID
Position: TypeAlias = tuple[Value, str | UUID]
"""The position of an item in a list: the value of the field that orders the list, and the id."""


class Operator(StrEnum):
    """Comparison of a filter. HAS is AIP-160's `:`; on text it means "contains", without regard to case."""

    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    HAS = ":"


class FieldKind(StrEnum):
    """The kind of a field's values, which decides how they are read and which operators it has.

    TEXT: all operators; `:` means "contains" without regard to case, `:*` "is not empty".
    TIME: all but `:`; RFC 3339 with an offset.
    ENUM: `=`, `!=`, `:`; the names in `Field.values`.
    NAME: `=`, `!=`, `:`; a resource name, `{Field.prefix}/{uuid}`.
    LABELS: texts by key, written `labels.KEY`; `=`, `!=`, `:` (contains), `:*` (has the key).
    """

    TEXT = "text"
    TIME = "time"
    ENUM = "enum"
    NAME = "name"
    LABELS = "labels"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a list. values: of an ENUM, the stored value for each name in the contract; prefix: of a NAME."""

    name: str
    kind: FieldKind = FieldKind.TEXT
    filterable: bool = True
    values: Mapping[str, str] = field(default_factory=dict[str, str])
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """Order by one field; the id breaks ties, in the same direction."""

    field: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class ListRules:
    """The rules of one list. orders: the first one is the default. slug_ids: whether its items have ids that a caller chose, not UUIDs."""

    name: str
    fields: tuple[Field, ...]
    orders: tuple[Order, ...]
    slug_ids: bool = False

    def field(self, name: str) -> Field:
        """The field of a name. Raises KeyError."""
        return {one.name: one for one in self.fields}[name]


@dataclass(frozen=True, slots=True)
class Comparison:
    """`field operator value`; the field is one that the list allows, `labels.KEY` included. value: of the field's kind; an ENUM's as stored."""

    field: str
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A page to fetch.

    limit: 1 to 200. after: the position of the last item of the page before, None for the first page. filters: joined by AND.
    """

    limit: int
    order: Order
    after: Position | None = None
    filters: Sequence[Comparison] = ()


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Items and, when there are more, the position of the last one.

    Without slots: a frozen, slotted, generic dataclass cannot be made as `Page[X](…)` before Python 3.12.
    """

    items: Sequence[Item]
    next_after: Position | None = None
