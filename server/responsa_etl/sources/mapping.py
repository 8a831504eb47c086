"""Mappings, which say which rows or pages a source reads and which documents they become, as plain data. Pure.

A mapping's text is TOML with templates. `mapping_text` reads it, in the sandbox alone; what stands here parses nothing
but schedules and the values of rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final, Literal, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from responsa_etl.domain import MAX_TEXT_BYTES, SourceConnection, WebConnection, bytes_of
from responsa_server.agents.config.problems import Key, Problem, closest, quote
from responsa_server.outbound.addresses import origin_of

_FIELDS: Final = 5
# A path in place of a name would make zoneinfo read other files.
_ZONES: Final = "the name of a time zone, such as Europe/Berlin"


class ScheduleProblem(ValueError):
    """A schedule that cannot be used. field: "schedule" or "time_zone"."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Schedule:
    """A cron expression (minute, hour, day of the month, month, day of the week) and its time zone."""

    expression: str
    zone: ZoneInfo

    def after(self, moment: datetime) -> datetime:
        """The first time after the moment, in UTC. Raises ScheduleProblem if there are no more."""
        from cronsim import CronSim

        try:
            return next(CronSim(self.expression, moment.astimezone(self.zone))).astimezone(UTC)
        except StopIteration:
            raise ScheduleProblem("schedule", "names a day that never comes") from None


def read_schedule(expression: str, time_zone: str) -> Schedule:
    """A schedule. Raises ScheduleProblem."""
    # Late, because a server without the extra etl has no such package, and reads no schedules.
    from cronsim import CronSim, CronSimError

    try:
        zone = ZoneInfo(time_zone)
    except (ValueError, OSError, KeyError):
        raise ScheduleProblem("time_zone", f"must be {_ZONES}") from None
    if len(expression.split()) != _FIELDS:
        raise ScheduleProblem(
            "schedule",
            "must have five fields: minute, hour, day of the month, month and day of the week, such as “30 2 * * 1-5”",
        )
    try:
        CronSim(expression, datetime.now(zone))
    except CronSimError as error:
        raise ScheduleProblem("schedule", f"is not a cron expression: {str(error).lower()}") from None
    schedule = Schedule(expression, zone)
    schedule.after(datetime.now(UTC))
    return schedule


FILE: Final = "mapping"
"""The name of the text in its problems."""
SUBJECT: Final = "subject"
"""The one place that a query may have: `:subject`, the subject of a run for one subject."""

_MAX_NESTING: Final = 32
_MAX_DIGITS: Final = 100

Type = Literal["text", "integer", "number", "boolean", "date", "time", "json"]


class RowProblem(Exception):
    """A row that makes no document."""


class MissingColumns(Exception):
    """The result of a query lacks columns that the mapping names."""


@dataclass(frozen=True, slots=True)
class Column:
    """A declared column."""

    name: str
    type: Type
    null: bool


@dataclass(frozen=True, slots=True)
class MappedQuery:
    """A query with its columns, and the kinds of documents that its rows make. one_subject: the statement for one
    subject; "" if all rows must be read."""

    name: str
    sql: str
    one_subject: str
    columns: Sequence[Column]
    kinds: Sequence[str]

    def reader(self, result_columns: Sequence[str]) -> Callable[[Sequence[object]], Mapping[str, object]]:
        """A function that reads a row of a result with these columns as plain values. It raises RowProblem. Raises
        SchemaProblem if columns are missing."""
        missing = [column.name for column in self.columns if column.name not in result_columns]
        if missing:
            hint = closest(missing[0], result_columns)
            raise MissingColumns(
                (
                    f"The query {self.name} no longer returns {quote(missing)}, which {quote(self.kinds)} "
                    f"{'use' if len(self.kinds) > 1 else 'uses'}; it returns {quote(result_columns[:20])}."
                )
                + (f" Was “{missing[0]}” renamed to “{hint}”?" if hint else "")
            )
        if twice := sorted(
            {column.name for column in self.columns if list(result_columns).count(column.name) > 1}
        ):
            raise MissingColumns(
                f"The query {self.name} returns two columns with the name “{twice[0]}”; rename one with AS."
            )
        indexes = [(column, list(result_columns).index(column.name)) for column in self.columns]
        return lambda row: {column.name: _value(column, row[index]) for column, index in indexes}

    def readable(self, result_columns: Sequence[str], row: Sequence[object]) -> Mapping[str, object]:
        """The values of a row that could be read, for a row that makes no document."""
        values = dict[str, object]()
        for column in self.columns:
            with suppress(RowProblem):
                values[column.name] = _value(column, row[list(result_columns).index(column.name)])
        return values


@dataclass(frozen=True, slots=True)
class MappedPages:
    """Pages of websites: the addresses of sitemaps and of pages, as the mapping writes them."""

    sitemaps: Sequence[str]
    addresses: Sequence[str]

    @property
    def each(self) -> Sequence[tuple[str, str]]:
        """The addresses, each with its key: “sitemaps” or “addresses”."""
        return [("sitemaps", url) for url in self.sitemaps] + [("addresses", url) for url in self.addresses]


@dataclass(frozen=True, slots=True)
class SourceMapping:
    """A mapping. text: its TOML. cron: "" if no runs begin by themselves. queries: those that a document uses. pages:
    None for a mapping of rows."""

    text: str
    connection: str
    collection: str
    deletions_percent: int
    cron: str
    time_zone: str
    queries: Sequence[MappedQuery]
    pages: MappedPages | None

    @property
    def schedule(self) -> Schedule | None:
        """The schedule; None if no runs begin by themselves. Raises ScheduleProblem."""
        return read_schedule(self.cron, self.time_zone) if self.cron else None

    def problem(self, message: str, key: Key, suggestion: str = "") -> Problem:
        """A problem at a key of the mapping."""
        return Problem(FILE, message, key, suggestion)

    def find_misfit(self, connection: SourceConnection) -> Problem | None:
        """Why the mapping cannot be used with the connection that it names; None if it can."""
        if not isinstance(connection, WebConnection):
            if self.pages is None:
                return None
            message = f"the connection “{self.connection}” is a database; “pages” needs a connection of the kind “web”"
            return self.problem(message, ("connection",))
        if self.pages is None:
            message = f"the connection “{self.connection}” is for websites, so the mapping needs “pages” in place of queries and documents"
            return self.problem(message, ("connection",))
        sites = sites_of(connection)
        for field, address in self.pages.each:
            if str(origin_of(address)) not in sites:
                message = f"“{address}” is not at a site of the connection “{self.connection}”; its sites are {quote(connection.sites)}"
                return self.problem(message, ("pages", field))
        return None


def finish_mapping(
    mapping: SourceMapping | None, problems: Sequence[Problem]
) -> tuple[SourceMapping | None, Sequence[Problem]]:
    """The mapping if neither its text nor its schedule has a problem, or all problems. Schedules are checked here,
    because the sandbox cannot read the files of time zones."""
    if mapping is None:
        return None, problems
    try:
        _ = mapping.schedule
    except ScheduleProblem as error:
        problems = [*problems, mapping.problem(str(error), (error.field,))]
    return (None, problems) if problems else (mapping, [])


def sites_of(connection: WebConnection) -> frozenset[str]:
    """The origins of the connection's sites, in the form of `str(UrlOrigin)`."""
    return frozenset(str(origin_of(site)) for site in connection.sites)


def _value(column: Column, value: object) -> object:
    """A value of a database as a plain value. Raises RowProblem."""
    if value is None:
        if column.null:
            return None
        raise RowProblem(
            f"The column “{column.name}” is NULL; declare it with null = true, or leave such rows out of the query."
        )
    _check_length(column.name, value)
    try:
        converted = _TYPES[column.type](value)
    except (TypeError, ValueError, ArithmeticError, RecursionError):
        raise _other_type(column.name, value, column.type) from None
    _check_length(column.name, converted)
    _check_texts(column.name, converted, 0)
    return converted


def read_json(column: str, text: str) -> object:
    """A value of the type json. Only the sandbox calls this: a text of 1 MiB can take 50 MB as values. Raises RowProblem."""
    try:
        value = json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError):
        raise _other_type(column, text, "json") from None
    _check_texts(column, value, 0)
    return value


def _not_json(constant: str) -> object:
    raise ValueError(constant)


def _other_type(column: str, value: object, declared: Type) -> RowProblem:
    kind = type(value).__name__
    return RowProblem(
        f"The column “{column}” has a value of another type ({kind}); it is declared as {declared}."
    )


def _check_length(column: str, value: object) -> None:
    if isinstance(value, str | bytes) and (len(value) > MAX_TEXT_BYTES or bytes_of(value) > MAX_TEXT_BYTES):
        raise RowProblem(f"The column “{column}” has more than {MAX_TEXT_BYTES:,} bytes.")


def _check_texts(column: str, value: object, depth: int) -> None:
    if depth > _MAX_NESTING:
        raise RowProblem(f"The column “{column}” is nested too deeply.")
    match value:
        case str():
            if "\0" in value:
                raise RowProblem(f"The column “{column}” has the character U+0000.")
            try:
                value.encode()
            except UnicodeEncodeError:
                raise RowProblem(f"The column “{column}” is not valid UTF-8.") from None
        case float() if not math.isfinite(value):
            raise _other_type(column, value, "json")
        case list():
            for item in cast("list[object]", value):
                _check_texts(column, item, depth + 1)
        case dict():
            for name, item in cast("dict[str, object]", value).items():
                _check_texts(column, name, depth + 1)
                _check_texts(column, item, depth + 1)
        case _:
            pass


def _text(value: object) -> str:
    match value:
        case str():
            return value
        case UUID() | int() | Decimal():
            return str(value)
        case _:
            raise TypeError


def _integer(value: object) -> int:
    match value:
        case bool():
            raise TypeError
        case int():
            return value
        case Decimal() | str():
            number = Decimal(value)
            # A short text such as 1e999999999 is an integer of gigabytes.
            if not number.is_finite() or number.adjusted() > _MAX_DIGITS or number != int(number):
                raise ValueError
            return int(number)
        case _:
            raise TypeError


def _number(value: object) -> object:
    match value:
        case bool():
            raise TypeError
        case int():
            return value
        case float():
            if not math.isfinite(value):
                raise ValueError
            return value
        case Decimal() | str():
            # As the database writes it, so that no digit is lost.
            number = Decimal(value)
            if not number.is_finite():
                raise ValueError
            return str(number)
        case _:
            raise TypeError


def _boolean(value: object) -> bool:
    if isinstance(value, bytes):  # MySQL's BIT(1)
        value = {b"\0": 0, b"\1": 1}.get(value)
    if value in (True, False, 0, 1):
        return bool(value)
    raise TypeError


def _date(value: object) -> str:
    match value:
        case datetime():
            return value.date().isoformat()
        case date():
            return value.isoformat()
        case str():
            return date.fromisoformat(value).isoformat()
        case _:
            raise TypeError


def _time(value: object) -> str:
    match value:
        case datetime():
            return value.isoformat(sep=" ", timespec="seconds")
        case str():
            return datetime.fromisoformat(value).isoformat(sep=" ", timespec="seconds")
        case time() | timedelta():
            return str(value)
        case _:
            raise TypeError


def _json(value: object) -> str:
    """The text of a value, which `read_json` parses."""
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    return value if isinstance(value, str) else json.dumps(value, allow_nan=False, default=str)


_TYPES: Final[Mapping[Type, Callable[[object], object]]] = {
    "text": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "date": _date,
    "time": _time,
    "json": _json,
}
