"""The kind `sql_query`: named queries that the owner wrote, on a PostgreSQL database of the organisation. Models choose a query and give values; they write no SQL."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Annotated, Final, LiteralString, cast
from uuid import UUID

import psycopg
from psycopg import errors
from psycopg.rows import dict_row
from pydantic import Field, JsonValue

from responsa_server.domain.events import ToolSource
from responsa_server.domain.tools import (
    Declaration,
    Effect,
    Tool,
    ToolCall,
    ToolCard,
    ToolFault,
    ToolOutcome,
    ToolResult,
    ToolUnfit,
)
from responsa_server.tools.kinds import ToolKind, ToolOptions, ToolParts

_BOUND: Final = ("tenant", "user", "subject")
_PLACEHOLDER: Final = re.compile(r"%(?:\((?P<name>[a-z_]+)\)s|(?P<other>.?))", re.DOTALL)
_NAME: Final = "^[a-z][a-z0-9_]{0,30}$"
_CONNECT_SECONDS: Final = 5
_MOST_BYTES: Final = 16 * 1024
_RETURNS: Final[Mapping[str, object]] = {
    "type": "object",
    "properties": {
        "rows": {"type": "array", "items": {"type": "object"}},
        "more": {"type": "boolean", "description": "Whether there are more rows."},
    },
    "required": ["rows", "more"],
}


class Query(ToolOptions):
    """A query of a declaration."""

    sql: str = Field(
        min_length=1,
        max_length=20_000,
        description="One SELECT. `%(name)s` stands for a parameter; `%(tenant)s`, `%(user)s` and `%(subject)s` stand for the tenant, the id and the subject of the user who asks.",
    )
    title: str = Field(
        default="", max_length=100, description="The name that people see; empty: the declaration's."
    )
    description: str = Field(default="", max_length=4000, description="What the query finds, for a model.")
    parameters: dict[str, dict[str, JsonValue]] = Field(
        default_factory=dict[str, dict[str, JsonValue]],
        description="The JSON Schema of each parameter. All parameters are required.",
    )
    rows: int = Field(default=50, ge=1, le=500, description="The maximum number of rows.")


class SqlOptions(ToolOptions):
    """The keys of `sql_query`."""

    connection: str = Field(
        description="The name of the secret that holds the database's URL. Its user needs no more than the right to read."
    )
    queries: dict[Annotated[str, Field(pattern=_NAME)], Query] = Field(
        min_length=1, description="The queries, by name. Each is a tool, NAME_QUERY."
    )


class SqlTool:
    """Implements `Tool`. Every call opens a connection and reads in one read-only transaction."""

    effect = Effect.NONE

    def __init__(self, declaration: Declaration, name: str, query: Query, url: str, parts: ToolParts) -> None:
        self.card = ToolCard(
            f"{declaration.name}_{name}",
            f"{declaration.description} {query.description}".strip(),
            {
                "type": "object",
                "properties": query.parameters,
                "required": list(query.parameters),
                "additionalProperties": False,
            },
            query.title or declaration.title,
            _RETURNS,
        )
        self.timeout_seconds = declaration.timeout_seconds
        self._query = query
        self._url = url
        self._parts = parts
        self._used = _names(query.sql)

    async def call(self, call: ToolCall) -> ToolResult:
        """See `Tool.call`."""
        values = {**call.arguments, "tenant": call.who.tenant_id, "user": str(call.who.user_id)}
        if "subject" in self._used:
            values["subject"] = await self._parts.subject(call.who) if self._parts.subject else ""
            if not values["subject"]:
                message = "This query is about the user's own data, and no subject is set for the user. An administrator can set it."
                return ToolResult(ToolOutcome.ERROR, message, error=ToolFault.REFUSED)
        try:
            return self._result(await self._rows(values, call.seconds))
        except (UnicodeError, RecursionError):
            message = "The database returned a value that is not text, or is nested too deeply."
            return ToolResult(ToolOutcome.ERROR, message, error=ToolFault.MALFORMED)
        except _Own:
            message = "This is Responsa's own database, which tools do not read."
            return ToolResult(ToolOutcome.ERROR, message, error=ToolFault.REFUSED)
        except errors.QueryCanceled:
            message = "The database did not answer in time."
            return ToolResult(ToolOutcome.ERROR, message, error=ToolFault.TIMEOUT)
        except errors.ReadOnlySqlTransaction:
            message = "The query would change data, which tools do not do."
            return ToolResult(ToolOutcome.ERROR, message, error=ToolFault.REFUSED)
        except errors.DataError:
            message = "A value does not fit the database's types."
            return ToolResult(ToolOutcome.ERROR, message, error=ToolFault.ARGUMENTS)
        except psycopg.Error as error:
            # The text of an error may hold the address, the user or data.
            if error.sqlstate is None or error.sqlstate.startswith(("08", "28", "3D", "57P")):
                message, fault = "The database cannot be reached.", ToolFault.UNREACHABLE
            else:
                message, fault = f"The database reports the error {error.sqlstate}.", ToolFault.STATUS
            return ToolResult(ToolOutcome.ERROR, message, error=fault)

    async def close(self) -> None:
        """See `Tool.close`."""

    async def _rows(self, values: Mapping[str, object], seconds: float) -> Sequence[_Row]:
        """The rows, and at least one more than the result can hold, if there are more."""
        options = f"-c statement_timeout={max(1, int(seconds * 1000))} -c default_transaction_read_only=on"
        connection = await psycopg.AsyncConnection.connect(
            self._url, connect_timeout=_CONNECT_SECONDS, options=options, application_name="responsa-tool"
        )
        try:
            await connection.set_read_only(True)
            own = await connection.execute("SELECT FROM pg_namespace WHERE nspname = 'responsa'")
            if await own.fetchone() is not None:
                raise _Own
            async with connection.cursor("tool", row_factory=dict_row) as cursor:
                given = {name: value for name, value in values.items() if name in self._used}
                # The text is the owner's; models and users give values only.
                await cursor.execute(cast("LiteralString", self._query.sql), given)
                rows, size, step = list[_Row](), 0, 1
                # In growing steps, since rows that the result cannot hold may be of any size.
                while len(rows) <= self._query.rows and size <= _MOST_BYTES:
                    found = await cursor.fetchmany(min(step, self._query.rows + 1 - len(rows)))
                    if not found:
                        break
                    rows += map(_row, found)
                    size = sum(one.size for one in rows)
                    step *= 2
                return rows
        finally:
            await connection.close()

    def _result(self, found: Sequence[_Row]) -> ToolResult:
        rows, lines, size = list[Mapping[str, object]](), list[str](), 0
        for row in found[: self._query.rows]:
            size += row.size
            if size > _MOST_BYTES and rows:
                break
            rows.append(row.plain)
            lines.append(row.line)
        more = len(rows) < len(found)
        text = "\n".join(lines)
        content = f"{text}\nThere are more rows." if more else text or "No row was found."
        source = ToolSource("", self.card.title, self._parts.clock(), text)
        return ToolResult(ToolOutcome.OK, content, {"rows": rows, "more": more}, [source] if text else ())


@dataclass(frozen=True, slots=True)
class _Row:
    """A row as JSON: the value and its text. size: the bytes that it takes in a result."""

    plain: Mapping[str, object]
    line: str
    size: int


def _row(row: Mapping[str, object]) -> _Row:
    plain = {name: _plain(value) for name, value in row.items()}
    line = json.dumps(plain, ensure_ascii=False)
    return _Row(plain, line, 3 * len(line.encode()))


class _Own(Exception):
    """The database is Responsa's own."""


def _plain(value: object) -> object:
    """A value of PostgreSQL as JSON. Numbers of the type numeric become texts, so that no digit is lost."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if abs(value) != float("inf") and value == value else str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case UUID():
            return str(value)
        case bytes():
            return f"{len(value)} bytes"
        case list():
            return [_plain(one) for one in cast("list[object]", value)]
        case dict():
            pairs = cast("dict[object, object]", value)
            return {str(key): _plain(one) for key, one in pairs.items()}
        case _:
            return str(value)


def _names(sql: str) -> frozenset[str]:
    """The names of a query's placeholders. Raises ToolUnfit for a "%" that is neither a placeholder nor doubled."""
    found = set[str]()
    for one in _PLACEHOLDER.finditer(sql):
        if one["name"]:
            found.add(one["name"])
        elif one["other"] != "%":
            raise ToolUnfit("a “%” in the SQL is neither a placeholder such as %(name)s nor written twice")
    return frozenset(found)


def _make(declaration: Declaration, options: SqlOptions, parts: ToolParts) -> Sequence[Tool]:
    for name, query in options.queries.items():
        used = _names(query.sql)
        if taken := sorted(set(query.parameters) & set(_BOUND)):
            raise ToolUnfit(
                f"the query {name} has the parameter “{taken[0]}”, which the server sets; rename it"
            )
        if unknown := sorted(used - set(query.parameters) - set(_BOUND)):
            raise ToolUnfit(f"the query {name} uses “{unknown[0]}”, which is not among its parameters")
        if idle := sorted(set(query.parameters) - used):
            raise ToolUnfit(f"the query {name} does not use its parameter “{idle[0]}”; remove it")
    url = parts.secret_of(declaration, options.connection)
    return [SqlTool(declaration, name, query, url, parts) for name, query in options.queries.items()]


KIND: Final = ToolKind(
    SqlOptions, _make, title="the database", description="Reads a database of the organisation."
)
