"""The kind `sql_query`: named queries that the owner wrote, on a PostgreSQL database of the organisation. Models choose a query and give values; they write no SQL."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Annotated, Final, LiteralString, cast

import psycopg
from psycopg import errors
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

_OID: Final = {kind.name: kind.oid for kind in psycopg.adapters.types}
_BOUND: Final = ("tenant", "user", "subject")
_PLACEHOLDER: Final = re.compile(r"%(?:\((?P<name>[a-z_]+)\)s|(?P<other>.?))", re.DOTALL)
_NAME: Final = "^[a-z][a-z0-9_]{0,30}$"
_CONNECT_SECONDS: Final = 5
_MOST_BYTES: Final = 16 * 1024
# The database cuts each cell, so that a large value is never sent to this process. All lengths are in characters.
_MOST_CELL: Final = 8 * 1024
_MOST_ROW: Final = 1 << 20
_MOST_FETCHED: Final = 1 << 22
_CUT: Final = "…"
_END: Final = re.compile(r";\s*(?:--[^\n]*(?:\n\s*|\Z))*\Z")
_TEXT: Final = frozenset(_OID[one] for one in ("text", "varchar", "bpchar", "name", '"char"', "numeric"))
_NUMBERS: Final = ("bool", "int2", "int4", "int8", "oid", "float4", "float8")
_TIMES: Final = ("date", "time", "timetz", "timestamp", "timestamptz", "interval")
_SMALL: Final = frozenset(_OID[number] for number in (*_NUMBERS, *_TIMES, "uuid"))
_BYTES: Final = _OID["bytea"]
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
        default="",
        max_length=100,
        description="The name that people see; empty: the title of the declaration.",
    )
    description: str = Field(
        default="",
        max_length=4000,
        description="A description of what the query finds, for the language model.",
    )
    parameters: dict[str, dict[str, JsonValue]] = Field(
        default_factory=dict[str, dict[str, JsonValue]],
        description="The JSON Schema of each parameter. All parameters are required.",
    )
    rows: int = Field(default=50, ge=1, le=500, description="The maximum number of rows.")


class SqlOptions(ToolOptions):
    """The keys of `sql_query`."""

    connection: str = Field(
        description="The name of the secret that holds the database's URL. The URL's user needs no more than the right to read."
    )
    queries: dict[Annotated[str, Field(pattern=_NAME)], Query] = Field(
        min_length=1,
        description="The queries, by name. Each query becomes a tool. The tool's name consists of the declaration's name, `_` and the query's name.",
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
        values = {**call.arguments, "tenant": call.who.tenant_id, "user": str(call.who.user_id)}
        if "subject" in self._used:
            values["subject"] = await self._parts.subject(call.who) if self._parts.subject else ""
            if not values["subject"]:
                message = "This query is about the user's own data, and no subject is set for the user. An administrator can set the subject."
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
        pass

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
            given = {name: value for name, value in values.items() if name in self._used}
            # The text is the owner's; models and users give values only.
            text = cast("LiteralString", self._query.sql)
            async with connection.cursor("columns") as cursor:
                # This plans the query, but reads no row.
                await cursor.execute(text, given)
                columns = [(one.name, one.type_code) for one in cursor.description or ()]
            async with connection.cursor("tool") as cursor:
                cells = _Cells(columns)
                await cursor.execute(cells.wrapped(text), given)
                rows, size, step = list[_Row](), 0, 1
                # In growing steps, since the result cannot hold all rows if they are large.
                while len(rows) <= self._query.rows and size <= _MOST_BYTES:
                    most = min(step, cells.rows_at_once, self._query.rows + 1 - len(rows))
                    found = await cursor.fetchmany(most)
                    if not found:
                        break
                    rows += map(cells.row, found)
                    size = sum(row.size for row in rows)
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


class _Cells:
    """How the columns of a query are read, so that a cell has a bounded length on the wire.

    Short types are read as they are, and texts and numbers of the type numeric as texts. Of a bytea, only its length is read. All other types are read as the text of their
    JSON, which stays a text if it was cut.
    """

    def __init__(self, columns: Sequence[tuple[str, int]]) -> None:
        """columns: the names, and the OIDs of the types."""
        self._columns = columns
        self._most = min(_MOST_CELL, _MOST_ROW // max(1, len(columns)))
        self.rows_at_once = max(1, _MOST_FETCHED // max(1, self._most * len(columns)))

    def wrapped(self, query: LiteralString) -> LiteralString:
        """The query with bounded cells, in the same order of rows."""
        names = [f"c{place}" for place in range(len(self._columns))]
        cells = ", ".join(self._cell(name, oid) for name, (_, oid) in zip(names, self._columns, strict=True))
        # The line break ends a comment.
        text = f"SELECT {cells} FROM ({_END.sub('', query)}\n) AS query ({', '.join(names)})"  # noqa: S608  the owner wrote the query, and the rest is fixed
        return cast("LiteralString", text)

    def _cell(self, name: str, oid: int) -> str:
        if oid in _SMALL:
            return name
        if oid == _BYTES:
            return f"octet_length({name}) || ' bytes'"
        text = f"{name}::text" if oid in _TEXT else f"to_json({name})::text"
        return f"left({text}, {self._most + 1})"

    def row(self, row: Sequence[object]) -> _Row:
        """A row as JSON."""
        plain = {name: self._plain(value, oid) for (name, oid), value in zip(self._columns, row, strict=True)}
        line = json.dumps(plain, ensure_ascii=False)
        return _Row(plain, line, 3 * len(line.encode()))

    def _plain(self, value: object, oid: int) -> object:
        if not isinstance(value, str):
            return _plain(value)
        if len(value) > self._most:
            return value[: self._most] + _CUT
        return value if oid in _TEXT or oid in _SMALL or oid == _BYTES else json.loads(value)


class _Own(Exception):
    """The database is Responsa's own."""


def _plain(value: object) -> object:
    """A value of a short type as JSON."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if abs(value) != float("inf") and value == value else str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case _:
            return str(value)


def _names(sql: str) -> frozenset[str]:
    """The names of a query's placeholders. Raises ToolUnfit for a "%" that is neither a placeholder nor doubled."""
    found = set[str]()
    for match in _PLACEHOLDER.finditer(sql):
        if match["name"]:
            found.add(match["name"])
        elif match["other"] != "%":
            near = sql[match.start() : match.start() + 12].split("\n")[0]
            raise ToolUnfit(
                f"the “%” in “{near}” is neither a placeholder such as %(name)s nor written twice; write “%%” for a percent sign"
            )
    return frozenset(found)


def _make(declaration: Declaration, options: SqlOptions, parts: ToolParts) -> Sequence[Tool]:
    for name, query in options.queries.items():
        key = ("queries", name)
        try:
            used = _names(query.sql)
        except ToolUnfit as error:
            raise ToolUnfit(str(error), (*key, "sql")) from error
        if taken := sorted(set(query.parameters) & set(_BOUND)):
            raise ToolUnfit(
                f"the query {name} has the parameter “{taken[0]}”, which the server sets; rename it",
                (*key, "parameters", taken[0]),
            )
        if unknown := sorted(used - set(query.parameters) - set(_BOUND)):
            raise ToolUnfit(
                f"the query {name} uses “{unknown[0]}”, which is not among its parameters; declare it in {'.'.join(key)}.parameters",
                (*key, "sql"),
                given=unknown[0],
                known=[*query.parameters, *_BOUND],
            )
        if idle := sorted(set(query.parameters) - used):
            raise ToolUnfit(
                f"the query {name} does not use its parameter “{idle[0]}”; remove it",
                (*key, "parameters", idle[0]),
            )
    url = parts.secret_of(declaration, options.connection, ("connection",))
    return [SqlTool(declaration, name, query, url, parts) for name, query in options.queries.items()]


KIND: Final = ToolKind(
    SqlOptions,
    _make,
    title="the database",
    description="Reads a database of the organisation.",
    parameters=("queries", "*", "parameters"),
)
