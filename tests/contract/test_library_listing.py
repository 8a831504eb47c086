from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from psycopg import sql

from responsa_server.domain.errors import InvalidRequest, Reason
from responsa_server.domain.listing import Comparison, ListQuery, Operator, Order, Page
from responsa_server.stores.postgres import listing
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.listing import Column, IdKind, Kind

COLUMNS: Mapping[str, Column] = {
    "title": Column("t.title", orderable=True),
    "labels": Column("t.labels", Kind.LABELS),
    "size": Column("t.size", Kind.INTEGER, orderable=True),
    "state": Column("t.state", Kind.ENUM, values={"READY": "ready", "FAILED": "failed"}),
    "conversation": Column("t.conversation_id", Kind.NAME, orderable=True, prefix="conversations"),
    "create_time": Column("t.create_time", Kind.TIME, orderable=True),
}
START = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROWS = """
    SELECT t.name, t.size, t.create_time, t.conversation_id, t.title FROM (
        SELECT 'n' || n AS name, n AS size, 'Title ' || mod(n, 3) AS title, CASE mod(n, 2) WHEN 0 THEN 'ready' ELSE 'failed' END AS state,
            jsonb_build_object('team', 'T' || n, 'Büro 3', 'B' || n) - CASE n WHEN 4 THEN 'team' ELSE '' END AS labels,
            ('00000000-0000-0000-0000-00000000000' || n)::uuid AS conversation_id, %(start)s + make_interval(secs => n / 2) AS create_time
        FROM generate_series(1, 6) AS n) AS t
    WHERE {where} ORDER BY {order} LIMIT %(limit)s"""


async def select(database: Database, query: ListQuery) -> list[str]:
    """All pages of a list."""
    found: list[str] = []
    while True:
        compiled = listing.compile(query, COLUMNS, identity="t.name", identity_kind=IdKind.TEXT)
        statement = sql.SQL(ROWS).format(where=compiled.where, order=compiled.order)
        async with database.no_tenant() as connection:
            cursor = await connection.execute(statement, {**compiled.params, "start": START})
            rows = await cursor.fetchall()
        place = {"size": 1, "create_time": 2, "conversation": 3, "title": 4}[query.order.field]
        page: Page[tuple[object, ...]] = listing.to_page(rows, query, lambda row, at=place: (row[at], row[0]))
        found += [str(row[0]) for row in page.items]
        if page.next_after is None:
            return found
        query = ListQuery(query.limit, query.order, page.next_after, query.filters)


def where(field: str, operator: Operator, value: str) -> ListQuery:
    return ListQuery(2, Order("size"), filters=[Comparison(field, operator, value)])


FILTERS = (
    ("title", Operator.EQ, "Title 0", "36"),
    ("title", Operator.NE, "Title 0", "1245"),
    ("title", Operator.HAS, "tITLE 1", "14"),
    ("title", Operator.HAS, "*", "123456"),
    ("title", Operator.GT, "Title 1", "25"),
    ("title", Operator.HAS, "100%", ""),
    ("size", Operator.GE, "5", "56"),
    ("size", Operator.NE, "5", "12346"),
    ("state", Operator.EQ, "READY", "246"),
    ("state", Operator.NE, "READY", "135"),
    ("state", Operator.HAS, "FAILED", "135"),
    ("labels.team", Operator.EQ, "T3", "3"),
    ("labels.team", Operator.NE, "T3", "12456"),
    ("labels.team", Operator.HAS, "t", "12356"),
    ("labels.team", Operator.HAS, "*", "12356"),
    ("labels.other", Operator.EQ, "", "123456"),
    ("labels.Büro 3", Operator.EQ, "B5", "5"),
    ("conversation", Operator.EQ, f"conversations/{UUID(int=2)}", "2"),
    ("create_time", Operator.LT, "2026-11-20T12:00:01Z", "1"),
    ("create_time", Operator.GE, "2026-11-20T14:00:03+02:00", "6"),
)


async def test_filters(database: Database) -> None:
    for field, operator, value, expected in FILTERS:
        found = await select(database, where(field, operator, value))
        assert found == [f"n{number}" for number in expected], (field, operator, value)


@pytest.mark.parametrize(
    ("field", "expected"),
    [("size", "123456"), ("create_time", "123456"), ("title", "361425"), ("conversation", "123456")],
)
async def test_pages_join_to_the_whole_list(database: Database, field: str, expected: str) -> None:
    names = [f"n{number}" for number in expected]
    for limit in (1, 2, 3, 5, 6, 7):
        assert await select(database, ListQuery(limit, Order(field))) == names
        assert await select(database, ListQuery(limit, Order(field, descending=True))) == names[::-1]


@pytest.mark.parametrize(
    ("field", "operator", "value"),
    [
        ("nothing", Operator.EQ, "1"),
        ("labels", Operator.EQ, "1"),
        ("title.part", Operator.EQ, "1"),
        ("labels.a\x00b", Operator.EQ, "1"),
        ("labels.team", Operator.LT, "1"),
        ("state", Operator.EQ, "ready"),
        ("state", Operator.LT, "READY"),
        ("size", Operator.EQ, "many"),
        ("size", Operator.EQ, "9223372036854775808"),
        ("size", Operator.HAS, "1"),
        ("create_time", Operator.EQ, "2026-11-20T12:00:00"),
        ("create_time", Operator.EQ, "soon"),
        ("conversation", Operator.EQ, "turns/00000000-0000-0000-0000-000000000001"),
        ("title", Operator.EQ, "a\x00b"),
    ],
)
def test_a_filter_that_cannot_be_read_is_refused(field: str, operator: Operator, value: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        listing.compile(where(field, operator, value), COLUMNS)
    assert caught.value.reason is Reason.FILTER_INVALID
    assert caught.value.metadata == {"filterable": "title,labels.KEY,size,state,conversation,create_time"}


@pytest.mark.parametrize(
    ("field", "after"),
    [
        ("size", ("one", str(UUID(int=1)))),
        ("size", ("1", "n1")),
        ("create_time", ("2026", str(UUID(int=1)))),
        ("create_time", ((START + timedelta(days=1)).replace(tzinfo=None).isoformat(), str(UUID(int=1)))),
        ("title", ("a\x00b", str(UUID(int=1)))),
        ("conversation", ("1", str(UUID(int=1)))),
    ],
)
def test_a_cursor_of_another_list_is_refused(field: str, after: tuple[str, str]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        listing.compile(ListQuery(2, Order(field), after), COLUMNS)
    assert caught.value.reason is Reason.PAGE_TOKEN_INVALID


@pytest.mark.parametrize("field", ["state", "nothing", "labels"])
def test_an_order_that_the_list_has_not_is_refused(field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        listing.compile(ListQuery(2, Order(field)), COLUMNS)
    assert caught.value.reason is Reason.ORDER_BY_INVALID
    assert caught.value.metadata == {"orderable": "title,size,conversation,create_time"}
