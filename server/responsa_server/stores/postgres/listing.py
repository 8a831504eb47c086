"""Compiles the filter, order and page of a list call to SQL with keyset pagination, for all stores (AIP-132, 158, 160).

A store declares the columns or expressions for the fields of a list. All values are sent as parameters:

    LIST = SqlList(DOCUMENTS, {"owner": "d.owner_id", …}, table="d.")

    return await LIST.read(connection, QUERIES["list_documents"], query, {"collection": collection_id}, document)

The named query contains `WHERE … AND {where} ORDER BY {order} LIMIT %(limit)s`. The limit is one more than the
size of the page, so that an extra row shows that more items follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, LiteralString, NamedTuple, TypeVar, cast

from psycopg import sql
from psycopg.rows import dict_row

from responsa_server.domain.listing import FieldKind, ListQuery, ListRules, Page, Position
from responsa_server.stores.postgres.database import Connection
from responsa_server.stores.postgres.filters import TYPES, compile_filter

Item = TypeVar("Item")


class Compiled(NamedTuple):
    """The parts of a statement. where: the condition; TRUE if there is no filter. params: the named parameters, which
    include `limit`, the page size plus 1."""

    where: sql.Composable
    order: sql.Composable
    params: dict[str, object]


class SqlList(Generic[Item]):
    """The SQL of one list.

    columns: the columns or expressions for fields of the rules that have another name; the values must not be NULL if
    the list can be ordered by the field. table: the prefix of the other columns, with its dot. identity: the unique
    column that orders items with equal values, and that the field `name` means; by default the table's id. position: a
    function that returns an item's position in a list ordered by a field. By default the position consists of the
    item's attribute with the field's name and the item's `id`.
    """

    def __init__(
        self,
        rules: ListRules,
        columns: Mapping[str, LiteralString] | None = None,
        *,
        table: LiteralString = "",
        identity: LiteralString | None = None,
        position: Callable[[Item, str], Position] | None = None,
    ) -> None:
        self._rules = rules
        self._identity: LiteralString = f"{table}id" if identity is None else identity
        # The rules are part of the package, so their names are as safe as literals.
        own: dict[str, LiteralString] = {}
        for field in rules.fields:
            name = cast("LiteralString", field.name)
            own[name] = self._identity if name == "name" else table + name
        self._columns: Mapping[str, LiteralString] = {**own, **(columns or {})}
        if self._columns.keys() != own.keys():
            raise ValueError(f"the columns for {rules.name} do not match the fields of the list")
        self._position = position or _attributes

    async def rows(
        self, connection: Connection, text: LiteralString, query: ListQuery, values: Mapping[str, object]
    ) -> Sequence[dict[str, Any]]:
        """Run a named query with its filters and order filled in."""
        compiled = self.compile(query)
        cursor = connection.cursor(row_factory=dict_row)
        statement = sql.SQL(text).format(where=compiled.where, order=compiled.order)
        await cursor.execute(statement, {**compiled.params, **values})
        return await cursor.fetchall()

    async def read(
        self,
        connection: Connection,
        text: LiteralString,
        query: ListQuery,
        values: Mapping[str, object],
        item: Callable[[Mapping[str, Any]], Item],
    ) -> Page[Item]:
        """Run a named query as `rows` does, and make a page of its items. item: makes an item from a row."""
        items = [item(row) for row in await self.rows(connection, text, query, values)]
        return self.page(items, query, await self.total(connection, text, query, values))

    async def total(
        self, connection: Connection, text: LiteralString, query: ListQuery, values: Mapping[str, object]
    ) -> int:
        """How many items all pages of a named query have; 0 if the query does not count them."""
        if not query.counts:
            return 0
        where, order, params = self.compile(replace(query, after=None))
        listed = sql.SQL(text.removesuffix(";")).format(where=where, order=order)
        counted = sql.SQL("SELECT count(*) FROM ({}) AS listed").format(listed)
        cursor = await connection.execute(counted, {**params, **values, "limit": None})
        (total,) = await cursor.fetchone() or (0,)
        return total

    def page(self, items: Sequence[Item], query: ListQuery, total: int = 0) -> Page[Item]:
        """Make a page from the items of a query, without the extra item."""
        if len(items) <= query.limit:
            return Page(items, total=total)
        shown = items[: query.limit]
        return Page(shown, self._position(shown[-1], query.order.field), total)

    def compile(self, query: ListQuery) -> Compiled:
        """Compile a list call to the parts of a statement. Raises KeyError for a field that the list does not have."""
        params: dict[str, object] = {"limit": query.limit + 1}
        where = compile_filter(query.filters, self._rules, self._columns, params)
        parts = [where] if query.filters else []
        field = self._rules.field(query.order.field)
        expression, unique = sql.SQL(self._columns[field.name]), sql.SQL(self._identity)
        if query.after is not None:
            params["after_value"], params["after_id"] = query.after
            parts.append(
                sql.SQL("({}, {}) {} (%(after_value)s::{}, %(after_id)s::{})").format(
                    expression,
                    unique,
                    sql.SQL("<" if query.order.descending else ">"),
                    sql.SQL(TYPES[field.kind]),
                    sql.SQL(TYPES[FieldKind.TEXT if self._rules.slug_ids else FieldKind.NAME]),
                )
            )
        direction = sql.SQL(" DESC" if query.order.descending else "")
        return Compiled(
            sql.SQL(" AND ").join(parts) if parts else sql.SQL("TRUE"),
            sql.SQL("{}{}, {}{}").format(expression, direction, unique, direction),
            params,
        )


def _attributes(item: object, field: str) -> Position:
    return getattr(item, field), getattr(item, "id")  # noqa: B009 - of any item
