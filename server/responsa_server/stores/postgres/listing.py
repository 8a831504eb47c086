"""List calls in SQL: filters, order and keyset pagination, compiled in one place for all stores (AIP-132, 158, 160).

A store tells which fields may stand in a filter or an order and what column each is; all values travel as parameters:

    compiled = compile(query, COLUMNS)
    statement = sql.SQL(QUERIES["list_documents"]).format(where=compiled.where, order=compiled.order)
    rows = await (await connection.execute(statement, {**compiled.params, "collection_id": collection_id})).fetchall()
    return to_page([document(row) for row in rows], query, lambda item: (item.source_key, item.id))

The named query holds `WHERE … AND {where} ORDER BY {order} LIMIT %(limit)s`; the limit is one more than the page, which tells whether more follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import LiteralString, NamedTuple, TypeVar
from uuid import UUID

from psycopg import sql

from responsa_server.domain import names
from responsa_server.domain.errors import InvalidRequest, Reason
from responsa_server.domain.listing import Comparison, ListQuery, Operator, Page

Item = TypeVar("Item")

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_EQUALITY = frozenset({Operator.EQ, Operator.NE, Operator.HAS})
_OPERATORS: Mapping[Operator, LiteralString] = {
    Operator.EQ: "=",
    Operator.NE: "<>",
    Operator.LT: "<",
    Operator.LE: "<=",
    Operator.GT: ">",
    Operator.GE: ">=",
    Operator.HAS: "=",
}


class Kind(StrEnum):
    """What a column holds, which decides how a value is read and which operators it has; all columns are NOT NULL.

    TEXT: all operators; `:` means "contains" without regard to case, `:*` "is not empty".
    TIME: all but `:`; RFC 3339 with an offset.
    INTEGER: all but `:`.
    ENUM: `=`, `!=`, `:`; values as in `Column.values`.
    NAME: `=`, `!=`, `:`; `{Column.prefix}/{uuid}` for a uuid column.
    LABELS: a jsonb object of texts, asked as `labels.KEY`; `=`, `!=`, `:` (contains), `:*` (has the key).
    """

    TEXT = "text"
    TIME = "timestamptz"
    INTEGER = "bigint"
    ENUM = "enum"
    NAME = "uuid"
    LABELS = "jsonb"


@dataclass(frozen=True, slots=True)
class Column:
    """A field of a list. expression: the column in the query; values: wire name → stored text, for ENUM; prefix: for NAME."""

    expression: LiteralString
    kind: Kind = Kind.TEXT
    filterable: bool = True
    orderable: bool = False
    values: Mapping[str, str] = field(default_factory=dict[str, str])
    prefix: str = ""


class Compiled(NamedTuple):
    """where: never empty (TRUE when there is nothing to ask). params: named, `limit` (page + 1) included."""

    where: sql.Composable
    order: sql.Composable
    params: dict[str, object]


class IdKind(StrEnum):
    """The type of the column that breaks ties."""

    UUID = "uuid"
    TEXT = "text"


def compile(  # noqa: A001 - called as listing.compile
    query: ListQuery,
    columns: Mapping[str, Column],
    *,
    identity: LiteralString = "id",
    identity_kind: IdKind = IdKind.UUID,
) -> Compiled:
    """Compile a list call. identity: the unique column that breaks ties of the order.

    Raises InvalidRequest: FILTER_INVALID, ORDER_BY_INVALID for a field that may not stand there or a value that cannot be read; PAGE_TOKEN_INVALID
    for a cursor that this order cannot have given.
    """
    order = columns.get(query.order.field)
    if order is None or not order.orderable:
        orderable = ",".join(name for name, column in columns.items() if column.orderable)
        raise InvalidRequest(
            Reason.ORDER_BY_INVALID,
            f"order_by: this list has no order by {query.order.field!r}; use one of {orderable}",
            {"orderable": orderable},
        )
    params: dict[str, object] = {"limit": query.limit + 1}
    parts = [_comparison(one, columns, f"filter_{index}", params) for index, one in enumerate(query.filters)]
    expression, unique = sql.SQL(order.expression), sql.SQL(identity)
    if query.after is not None:
        params["after_value"], params["after_id"] = _cursor(query.after, order, identity_kind)
        parts.append(
            sql.SQL("({}, {}) {} (%(after_value)s::{}, %(after_id)s::{})").format(
                expression,
                unique,
                sql.SQL("<" if query.order.descending else ">"),
                sql.SQL(_ORDER_TYPES[order.kind]),
                sql.SQL("uuid" if identity_kind is IdKind.UUID else "text"),
            )
        )
    direction = sql.SQL(" DESC" if query.order.descending else "")
    return Compiled(
        sql.SQL(" AND ").join(parts) if parts else sql.SQL("TRUE"),
        sql.SQL("{}{}, {}{}").format(expression, direction, unique, direction),
        params,
    )


_ORDER_TYPES: Mapping[Kind, LiteralString] = {
    Kind.TEXT: "text",
    Kind.TIME: "timestamptz",
    Kind.INTEGER: "bigint",
    Kind.ENUM: "text",
    Kind.NAME: "uuid",
    Kind.LABELS: "text",
}


def to_page(
    items: Sequence[Item], query: ListQuery, cursor: Callable[[Item], tuple[object, object]]
) -> Page[Item]:
    """Cut what a compiled query returned to its page. cursor: (value of the order field, id) of an item."""
    if len(items) <= query.limit:
        return Page(items)
    shown = items[: query.limit]
    value, identity = cursor(shown[-1])
    return Page(shown, (_text(value), _text(identity)))


def _text(value: object) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


def _cursor(after: tuple[str, str], order: Column, identity_kind: IdKind) -> tuple[object, object]:
    try:
        match order.kind:
            case Kind.TIME:
                value: object = _time(after[0])
            case Kind.INTEGER:
                value = _integer(after[0])
            case Kind.NAME:
                value = _uuid(after[0])
            case Kind.TEXT | Kind.ENUM | Kind.LABELS:
                value = _storable(after[0])
        return value, _uuid(after[1]) if identity_kind is IdKind.UUID else _storable(after[1])
    except ValueError as error:
        raise InvalidRequest(
            Reason.PAGE_TOKEN_INVALID,
            "page_token: not one that this list gave for these arguments; begin with the first page",
        ) from error


def _comparison(
    one: Comparison, columns: Mapping[str, Column], parameter: str, params: dict[str, object]
) -> sql.Composable:
    name, _, key = one.field.partition(".")
    column = columns.get(name)
    if column is None or not column.filterable or bool(key) != (column.kind is Kind.LABELS):
        raise _invalid(columns, f"this list has no field {one.field!r}")
    placeholder, expression = sql.Placeholder(parameter), sql.SQL(column.expression)
    if column.kind is Kind.LABELS:
        if "\x00" in key:
            raise _invalid(columns, "a label's key holds no U+0000")
        params[f"{parameter}_key"] = key
        labels, expression = (
            expression,
            sql.SQL("coalesce({} ->> {}, '')").format(expression, sql.Placeholder(f"{parameter}_key")),
        )
        if one.operator is Operator.HAS and one.value == "*":
            return sql.SQL("{} ? {}").format(labels, sql.Placeholder(f"{parameter}_key"))
    elif one.operator is Operator.HAS and one.value == "*" and column.kind is Kind.TEXT:
        return sql.SQL("{} <> ''").format(expression)
    params[parameter] = _value(one, column, columns)
    if one.operator is Operator.HAS and column.kind in (Kind.TEXT, Kind.LABELS):
        return sql.SQL("strpos(lower({}), lower({}::text)) > 0").format(expression, placeholder)
    cast = sql.SQL(_ORDER_TYPES[column.kind])
    return sql.SQL("{} {} {}::{}").format(expression, sql.SQL(_OPERATORS[one.operator]), placeholder, cast)


def _value(one: Comparison, column: Column, columns: Mapping[str, Column]) -> object:
    """Read a filter's value as its column wants it, and check that the column has the operator."""
    equality = one.operator in _EQUALITY
    try:
        match column.kind:
            case Kind.TEXT:
                return _storable(one.value)
            case Kind.LABELS if equality:
                return _storable(one.value)
            case Kind.TIME if one.operator is not Operator.HAS:
                return _time(one.value)
            case Kind.INTEGER if one.operator is not Operator.HAS:
                return _integer(one.value)
            case Kind.ENUM if equality:
                if one.value not in column.values:
                    raise _invalid(columns, f"{one.field} is one of {', '.join(column.values)}")
                return column.values[one.value]
            case Kind.NAME if equality:
                return names.parse_uuid(column.prefix, one.value)
            case _:
                raise _invalid(columns, f"{one.field} cannot be compared by {one.operator.value!r}")
    except ValueError as error:
        raise _invalid(columns, f"{one.value!r} is no value of {one.field}") from error


def _invalid(columns: Mapping[str, Column], what: str) -> InvalidRequest:
    filterable = ",".join(
        f"{name}.KEY" if one.kind is Kind.LABELS else name for name, one in columns.items() if one.filterable
    )
    return InvalidRequest(
        Reason.FILTER_INVALID, f"filter: {what}; fields: {filterable}", {"filterable": filterable}
    )


def _time(value: str) -> datetime:
    parsed = datetime.fromisoformat(value)
    if parsed.tzinfo is None:
        raise ValueError("a time needs an offset")
    return parsed


def _integer(value: str) -> int:
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError("beyond 64 bits")
    return number


def _uuid(value: str) -> UUID:
    if _UUID.fullmatch(value) is None:
        raise ValueError("not a uuid")
    return UUID(value)


def _storable(value: str) -> str:
    # PostgreSQL's text cannot hold it, so nothing stored can equal it.
    if "\x00" in value:
        raise ValueError("U+0000 in text")
    return value
