"""One row in each table of a tenant, made from the database's catalogue, so that a new table has one too."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from uuid_utils.compat import uuid7

TABLES = """
    SELECT c.relname::text AS name, c.oid::int AS oid FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
    WHERE c.relnamespace = 'responsa'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1
"""
_COLUMNS = """
    SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type FROM pg_attribute AS a
    WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef
        AND a.attidentity = '' AND a.attgenerated = ''
"""
_KEYS = """
    SELECT k.confrelid::regclass::text AS parent,
        ARRAY(SELECT t.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS c (n, i)
            JOIN pg_attribute AS t ON t.attrelid = k.conrelid AND t.attnum = c.n ORDER BY i) AS columns,
        ARRAY(SELECT t.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS c (n, i)
            JOIN pg_attribute AS t ON t.attrelid = k.confrelid AND t.attnum = c.n ORDER BY i) AS referred
    FROM pg_constraint AS k WHERE k.conrelid = %s AND k.contype = 'f'
"""
_CHECKS = (
    "SELECT pg_get_constraintdef(oid) AS condition FROM pg_constraint WHERE conrelid = %s AND contype = 'c'"
)
_ALLOWED = re.compile(r"\((\w+) = ANY \(ARRAY\['([^']+)'")
# Values where neither the type nor the conditions say which one is good.
_GOOD: Mapping[tuple[str, str], object] = {
    ("collection", "max_tokens"): 500,
    ("collection_generation", "dimensions"): 384,
    ("generation_vector", "dimensions"): 384,
    # A citation names a passage of a version or what a tool returned.
    ("citation", "passage_id"): UUID(int=1),
    ("citation", "document_id"): UUID(int=1),
    ("citation", "version"): 1,
    ("program", "redirect_uris"): ["https://x.example/"],
    ("group_member", "expire_time"): "2100-01-01T00:00:00Z",  # Python has no infinity
    # Feedback has a rating or a score.
    ("message_feedback", "rating"): "up",
    ("email_confirmation", "new_user_id"): UUID(int=1),
    ("email_confirmation", "role"): "user",
    ("email_confirmation", "password_hash"): "x",
}


@dataclass
class Rows:
    """The rows of one tenant, by table."""

    tenant: str
    made: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    def fill(self, connection: psycopg.Connection[Any]) -> None:
        """Insert a row into each empty table, with the rows that it refers to."""
        tables: dict[str, int] = {row["name"]: row["oid"] for row in _ask(connection, TABLES)}
        self.made.setdefault("tenant", {"id": self.tenant})
        for name in tables:
            self._make(connection, name, tables)

    def _make(self, connection: psycopg.Connection[Any], table: str, tables: Mapping[str, int]) -> None:
        if table in self.made:
            return
        oid = tables[table]
        wanted = {row["name"]: row["type"] for row in _ask(connection, _COLUMNS, oid)}
        values: dict[str, Any] = {}
        for key in _ask(connection, _KEYS, oid):
            if not set(key["columns"]) <= set(wanted):
                continue  # the column may be NULL
            parent = str(key["parent"]).removeprefix("responsa.")
            self._make(connection, parent, tables)
            for column, referred in zip(key["columns"], key["referred"], strict=True):
                values[column] = self.made[parent][referred]
        allowed = {
            found[1]: found[2]
            for row in _ask(connection, _CHECKS, oid)
            for found in _ALLOWED.finditer(row["condition"])
        }
        if table == "message" or table.startswith("turn_"):
            self._make(connection, "turn", tables)
            values["turn_id"] = self.made["turn"]["id"]
        values |= {column: good for (of, column), good in _GOOD.items() if of == table}
        for column, kind in wanted.items():
            values.setdefault(column, self._value(table, column, kind, allowed))
        query = sql.SQL("INSERT INTO responsa.{} ({}) VALUES ({}) RETURNING *").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(map(sql.Placeholder, values)),
        )
        (self.made[table],) = connection.cursor(row_factory=dict_row).execute(query, values).fetchall()

    def _value(self, table: str, column: str, kind: str, allowed: Mapping[str, str]) -> object:
        if column == "tenant_id":
            return self.tenant
        if column in allowed:
            return allowed[column]
        if column.endswith(("_end", "byte_end")):
            return 2
        match kind.partition("(")[0]:
            case "uuid":
                return uuid7()
            case "bytea":
                return hashlib.sha256(f"{self.tenant} {table} {column}".encode()).digest()
            case "timestamp with time zone":
                return "2100-01-01T00:00:00Z"
            case "boolean":
                return False
            case "json" | "jsonb":
                return "{}"
            case "vector" | "halfvec":
                return str([1.0] + [0.0] * 383)
            case "text":
                return "x"
            case array if array.endswith("[]"):
                return []
            case "date":
                return "2100-01-01"
            case "tsvector":
                return ""
            case _:
                return 1


def counts(connection: psycopg.Connection[Any], tenant: str) -> dict[str, int]:
    """The number of the tenant's rows in each table of tenants."""
    numbers: dict[str, int] = {}
    for row in _ask(connection, TABLES):
        query = sql.SQL("SELECT count(*) AS number FROM responsa.{} WHERE tenant_id = %s").format(
            sql.Identifier(row["name"])
        )
        numbers[row["name"]] = (
            connection.cursor(row_factory=dict_row).execute(query, (tenant,)).fetchall()[0]["number"]
        )
    return numbers


def _ask(connection: psycopg.Connection[Any], query: str, *values: object) -> list[dict[str, Any]]:
    return connection.cursor(row_factory=dict_row).execute(query.encode(), values).fetchall()
