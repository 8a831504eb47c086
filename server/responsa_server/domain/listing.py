"""The rules of a list, the query of a list call, and the page that the call returns (AIP-132, 158, 160)."""

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
    """The operator of a comparison in a filter. HAS is AIP-160's `:`; for text, HAS means "contains" and ignores case."""

    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    HAS = ":"


class FieldKind(StrEnum):
    """The kind of a field's values. It determines how a filter's value is parsed and which operators are allowed.

    TEXT: any text. All operators are allowed; `:` means "contains" and ignores case, and `:*` means "is not empty".
    TIME: an RFC 3339 time with an offset. All operators except `:` are allowed.
    ENUM: one of the names in `Field.values`. The operators are `=`, `!=` and `:`.
    NAME: a resource name, `{Field.prefix}/{uuid}`. The operators are `=`, `!=` and `:`.
    LABELS: a map from keys to texts; a filter names one text as `labels.KEY`. The operators are `=`, `!=`, `:`
    ("contains") and `:*` ("has the key").
    """

    TEXT = "text"
    TIME = "time"
    ENUM = "enum"
    NAME = "name"
    LABELS = "labels"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a list.

    values: for an ENUM, the stored value of each name in the contract. prefix: for a NAME, the part before the slash.
    """

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
    """The rules of one list.

    orders: the allowed orders, the default first. slug_ids: whether an item's id is a name that a caller chose, instead
    of a UUID.
    """

    name: str
    fields: tuple[Field, ...]
    orders: tuple[Order, ...]
    slug_ids: bool = False

    def field(self, name: str) -> Field:
        """Return the field with this name. Raises KeyError."""
        return {one.name: one for one in self.fields}[name]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison of a filter: `field operator value`.

    field: the name of a field that the list allows, or `labels.KEY`. value: a value of the field's kind; for an ENUM,
    the stored value.
    """

    field: str
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A page to fetch.

    limit: the maximum number of items, from 1 to 200. after: the position of the previous page's last item, or None for
    the first page. filters: comparisons that must all be true.
    """

    limit: int
    order: Order
    after: Position | None = None
    filters: Sequence[Comparison] = ()


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Items and, if more items follow, the position of the page's last item.

    The class has no slots, because `Page[X](…)` cannot create a frozen, slotted, generic dataclass before Python 3.12.
    """

    items: Sequence[Item]
    next_after: Position | None = None
