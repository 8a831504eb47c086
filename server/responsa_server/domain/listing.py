"""What a list call asks for, and what it gives back (AIP-132, 158, 160), free of any transport or database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Operator(StrEnum):
    """Comparison of a filter. HAS is AIP-160's `:`; on text it means "contains", without regard to case."""

    EQ = "="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    HAS = ":"


@dataclass(frozen=True, slots=True)
class Comparison:
    """`field operator value`; the field is one that the list allows, `labels.KEY` included; the value is text as written."""

    field: str
    operator: Operator
    value: str


@dataclass(frozen=True, slots=True)
class Order:
    """Order by one field; the id breaks ties, in the same direction."""

    field: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A page to fetch.

    limit: 1 to 200. after: (value of the order field as ISO text or text, id) of the last item of the page before, or None for the first page.
    filters: joined by AND.
    """

    limit: int
    order: Order
    after: tuple[str, str] | None = None
    filters: Sequence[Comparison] = ()


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Items and, when there are more, the cursor of the last one.

    Without slots: a frozen, slotted, generic dataclass cannot be made as `Page[X](…)` before Python 3.12.
    """

    items: Sequence[Item]
    next_after: tuple[str, str] | None = None
