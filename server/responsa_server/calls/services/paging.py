"""Pages and filters of lists that are in memory, with the same rules as the database's lists."""

from __future__ import annotations

import operator as operators
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from responsa_server.domain.listing import FilterComparison, ListQuery, Operator, Page, Wildcard

Item = TypeVar("Item")

_COMPARED: Final[Mapping[Operator, Callable[[str, str], bool]]] = {
    Operator.EQ: operators.eq,
    Operator.NE: operators.ne,
    Operator.LT: operators.lt,
    Operator.LE: operators.le,
    Operator.GT: operators.gt,
    Operator.GE: operators.ge,
}


def page_of(items: Iterable[Item], identity: Callable[[Item], str], query: ListQuery) -> Page[Item]:
    """A page of items, sorted by their ids."""
    descending = query.order.descending
    rows = sorted(items, key=identity, reverse=descending)
    if query.after is not None:
        last = str(query.after[1])
        rows = [row for row in rows if (identity(row) < last if descending else identity(row) > last)]
    shown = rows[: query.limit]
    if len(rows) <= query.limit:
        return Page(shown, None)
    end = identity(shown[-1])
    return Page(shown, (end, end))


def fits(text: str, comparison: FilterComparison) -> bool:
    """Whether a text fits a comparison of a filter."""
    match comparison.operator, comparison.value:
        case Operator.HAS, value:
            return text != "" if value == "*" else str(value).lower() in text.lower()
        case (Operator.EQ | Operator.NE) as operator, Wildcard((first, *middle, last)):
            # Each middle part is taken where it first occurs and never tried again elsewhere, so that no filter needs exponential time.
            parts = "".join(f"(?>.*?{re.escape(part)})" for part in middle)
            pattern = f"{re.escape(first)}{parts}.*{re.escape(last)}"
            return (re.fullmatch(pattern, text, re.DOTALL) is not None) is (operator is Operator.EQ)
        case operator, value:
            return _COMPARED[operator](text, str(value))
