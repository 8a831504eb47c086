"""The rules of a list, filters, the query of a list call, and the page that the call returns (AIP-132, 158, 160)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeAlias, TypeVar
from uuid import UUID

Item = TypeVar("Item")
Value: TypeAlias = str | datetime | UUID | int
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
    With `=` and `!=`, an asterisk stands for any characters.
    TIME: an RFC 3339 time with an offset, or a day, a month or a year in UTC. All operators except `:` are allowed.
    ENUM: one of the names in `Field.values`. The operators are `=`, `!=` and `:`.
    NAME: a resource name, `{Field.prefix}/{uuid}`. The operators are `=`, `!=` and `:`.
    SLUG: a resource name, `{Field.prefix}/{id}`, where the id is a name that a caller chose. The operators are `=`,
    `!=` and `:`; an asterisk stands for any characters.
    COLLECTION: like SLUG, for a collection, whose name depends on who reads it.
    NUMBER: a whole number. All operators except `:` are allowed.
    LABELS: a map from keys to texts; a filter names one text as `labels.KEY`. The operators are `=`, `!=`, `:`
    ("contains") and `:*` ("has the key"). `labels:KEY` means "has the key" too.
    JSON: an object; a filter names one value as `metadata.KEY`, and a value within objects as `metadata.KEY.KEY`. All
    operators are allowed. `:` means that a list has the value, that an object has the key, or that a text contains the
    value; `:*` means "is present".
    """

    TEXT = "text"
    TIME = "time"
    ENUM = "enum"
    NAME = "name"
    SLUG = "slug"
    COLLECTION = "collection"
    NUMBER = "number"
    LABELS = "labels"
    JSON = "json"


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
        return {field.name: field for field in self.fields}[name]


@dataclass(frozen=True, slots=True)
class Wildcard:
    """A text with asterisks that stand for any characters. parts: the texts between the asterisks, so at least two; each may be empty."""

    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """A day, a month or a year in UTC: from `start` to before `end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class JsonLiteral:
    """A value that is compared with a JSON value. text: the value as written, without quotes. values: the JSON values that count as equal.
    number: the value as a number; None if it is not a number or was written in quotes.
    """

    text: str
    values: tuple[str | float | bool | None, ...]
    number: float | None = None


@dataclass(frozen=True, slots=True)
class FilterComparison:
    """One comparison of a filter: `field operator value`.

    field: the name of a field that may be filtered by. path: for LABELS and JSON, the keys after the field's name.
    value: a value of the field's kind; for an ENUM, the stored value.
    """

    field: str
    operator: Operator
    value: Value | Wildcard | TimeSpan | JsonLiteral
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AllOf:
    """All parts must be true."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part must be true."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """The part must be false."""

    part: Filter


Filter: TypeAlias = FilterComparison | AllOf | AnyOf | Negation
"""A condition on the fields of an item. Every comparison is true or false, also for an item without the value: then only `!=` is true."""


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A page to fetch.

    limit: the maximum number of items, from 1 to 200. after: the position of the previous page's last item, or None for
    the first page. filters: conditions that must all be true. counts: whether the page says how many items all pages have.
    """

    limit: int
    order: Order
    after: Position | None = None
    filters: Sequence[Filter] = ()
    counts: bool = False


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Items and, if more items follow, the position of the page's last item. total: how many items all pages have; 0
    unless the query counts them.

    The class has no slots, because `Page[X](…)` cannot create a frozen, slotted, generic dataclass before Python 3.12.
    """

    items: Sequence[Item]
    next_after: Position | None = None
    total: int = 0
