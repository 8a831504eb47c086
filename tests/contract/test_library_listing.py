from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from responsa_server.domain.filters import parse_filter
from responsa_server.domain.listing import Field, FieldKind, ListQuery, ListRules, Operator, Order
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.listing import SqlList

RULES = ListRules(
    "rows",
    (
        Field("title"),
        Field("labels", FieldKind.LABELS),
        Field("state", FieldKind.ENUM, values={"READY": "ready", "FAILED": "failed"}),
        Field("conversation", FieldKind.NAME, prefix="conversations"),
        Field("name"),
        Field("create_time", FieldKind.TIME),
    ),
    (Order("name"),),
    slug_ids=True,
)
ROW_PLACES = {"name": 0, "create_time": 1, "conversation": 2, "title": 3}
LIST: SqlList[tuple[Any, ...]] = SqlList(
    RULES,
    {"conversation": "t.conversation_id"},
    table="t.",
    identity="t.name",
    position=lambda row, field: (row[ROW_PLACES[field]], row[0]),
)
START = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROWS = """
    SELECT t.name, t.create_time, t.conversation_id, t.title FROM (
        SELECT 'n' || n AS name, 'Title ' || mod(n, 3) AS title, CASE mod(n, 2) WHEN 0 THEN 'ready' ELSE 'failed' END AS state,
            jsonb_build_object('team', 'T' || n, 'Büro 3', 'B' || n) - CASE n WHEN 4 THEN 'team' ELSE '' END AS labels,
            ('00000000-0000-0000-0000-00000000000' || n)::uuid AS conversation_id, %(start)s + make_interval(secs => n / 2) AS create_time
        FROM generate_series(1, 6) AS n) AS t
    WHERE {where} ORDER BY {order} LIMIT %(limit)s"""


async def select(database: Database, query: ListQuery) -> list[str]:
    """The names of the items on all pages of a list."""
    names: list[str] = []
    while True:
        async with database.no_tenant() as connection:
            rows = await LIST.rows(connection, ROWS, query, {"start": START})
        page = LIST.page([tuple(row.values()) for row in rows], query)
        names += [str(row[0]) for row in page.items]
        if page.next_after is None:
            return names
        query = ListQuery(query.limit, query.order, page.next_after, query.filters)


def where(field: str, operator: Operator, value: str) -> ListQuery:
    return ListQuery(2, Order("name"), filters=parse_filter(RULES, f'{field} {operator} "{value}"'))


FILTERS = (
    ("title", Operator.EQ, "Title 0", "36"),
    ("title", Operator.NE, "Title 0", "1245"),
    ("title", Operator.HAS, "tITLE 1", "14"),
    ("title", Operator.HAS, "*", "123456"),
    ("title", Operator.GT, "Title 1", "25"),
    ("title", Operator.HAS, "100%", ""),
    ("name", Operator.GE, "n5", "56"),
    ("name", Operator.NE, "n5", "12346"),
    ("state", Operator.EQ, "READY", "246"),
    ("state", Operator.NE, "READY", "135"),
    ("state", Operator.HAS, "FAILED", "135"),
    ("labels.team", Operator.EQ, "T3", "3"),
    ("labels.team", Operator.NE, "T3", "12456"),
    ("labels.team", Operator.HAS, "t", "12356"),
    ("labels.team", Operator.HAS, "*", "12356"),
    ("labels.other", Operator.EQ, "", "123456"),
    ('labels."Büro 3"', Operator.EQ, "B5", "5"),
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
    [("name", "123456"), ("create_time", "123456"), ("title", "361425"), ("conversation", "123456")],
)
async def test_pages_join_to_the_whole_list(database: Database, field: str, expected: str) -> None:
    names = [f"n{number}" for number in expected]
    for limit in (1, 2, 3, 5, 6, 7):
        assert await select(database, ListQuery(limit, Order(field))) == names
        assert await select(database, ListQuery(limit, Order(field, descending=True))) == names[::-1]


def test_a_list_has_no_column_without_a_field() -> None:
    with pytest.raises(ValueError, match="the columns for rows do not match the fields of the list"):
        SqlList(RULES, {"secret": "t.secret"})
