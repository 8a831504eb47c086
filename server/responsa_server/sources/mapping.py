"""Mappings: TOML that says which rows or pages a source reads and which documents they become. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Final, Literal, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import rtoml
from cronsim import CronSim, CronSimError
from pydantic import BeforeValidator, Field, ValidationError

from responsa_server.agents.config.problems import (
    Key,
    Place,
    Problem,
    closest,
    from_validation,
    placed,
    positions,
    quoted,
    syntax_problem,
)
from responsa_server.agents.engine.config import Table, Texts
from responsa_server.agents.engine.prompts import FrontMatter, PromptError, PromptSet, PromptSource
from responsa_server.domain.sources import (
    MAX_KEY_BYTES,
    MAX_TEXT_BYTES,
    SourceConnection,
    SourceDocument,
    WebConnection,
)
from responsa_server.outbound.addresses import OutboundError, origin_of

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
        try:
            return next(CronSim(self.expression, moment.astimezone(self.zone))).astimezone(UTC)
        except StopIteration:
            raise ScheduleProblem("schedule", "names a day that never comes") from None


def read_schedule(expression: str, time_zone: str) -> Schedule:
    """A schedule. Raises ScheduleProblem."""
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
    found = Schedule(expression, zone)
    found.after(datetime.now(UTC))
    return found


FILE: Final = "mapping"
"""The name of the text in its problems."""
SUBJECT: Final = "subject"
"""The one place that a query may have: `:subject`, the subject of a run for one subject."""

_NAME: Final = "^[a-z][a-z0-9_]{0,30}$"
_COLLECTION: Final = "^[a-z0-9][a-z0-9-]{0,62}$"
_LONG_QUOTES: Final = ('"""', "'''")
_PLACE: Final = re.compile(r"(?<![:\w\\]):(\w+)(?!:)")
_SELECT: Final = re.compile(r"\s*(SELECT|WITH|VALUES)\b", re.IGNORECASE)
_MAX_TITLE_BYTES: Final = 512
_MAX_SUBJECT_BYTES: Final = 255
_MAX_NESTING: Final = 32
_MAX_DIGITS: Final = 100

Type = Literal["text", "integer", "number", "boolean", "date", "time", "json"]


class ColumnTable(Table):
    """A column of a query."""

    type: Type = Field("text", description="The type of the column's values.")
    null: bool = Field(False, description="Whether a value may be missing; templates then see none.")


def _as_table(column: object) -> object:
    """The short form of a column, such as `"text"`, as a table."""
    if isinstance(column, str):
        return {"type": column}
    if not isinstance(column, dict):
        raise ValueError('must be a type such as "text", or a table such as { type = "text", null = true }')
    return cast("object", column)


class QueryTable(Table):
    """A query."""

    sql: str = Field(min_length=1, max_length=20_000, description="One SELECT, without a semicolon.")
    one_subject: str = Field(
        "",
        max_length=20_000,
        description="One SELECT for the rows of one subject, with `:subject` in place of the subject. Without this key, a run for one subject reads all rows, but uses only the rows of the subject.",
    )
    columns: dict[
        Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]{0,62}$")],
        Annotated[ColumnTable, BeforeValidator(_as_table)],
    ] = Field(
        min_length=1,
        description='The columns that templates use: `name = "text"`, or `name = { type = "text", null = true }`. The types are text, integer, number, boolean, date, time (a date with a time) and json.',
    )


class DocumentTable(Table):
    """A kind of documents. The values of all keys but `query` are templates, which see the columns of a row."""

    query: str = Field(description="The name of the query; each row of its result becomes one document.")
    key: str = Field(
        min_length=1,
        max_length=1000,
        description="The key that distinguishes the documents of this kind, such as `{{ id }}`.",
    )
    text: str = Field(min_length=1, max_length=65_536, description="The document, in Markdown.")
    title: str = Field("", max_length=1000, description="The title; empty: the key.")
    subject: str = Field(
        "",
        max_length=1000,
        description="The person whom the document is about. Only this user, administrators and SERVICE keys may read the document. Empty: all readers of the collection may read it.",
    )
    uri: str = Field(
        "", max_length=2000, description="The address (URI) outside Responsa at which people find the row."
    )
    metadata: dict[Annotated[str, Field(pattern="^[A-Za-z0-9_.-]{1,63}$")], str] = Field(
        default_factory=dict[str, str], max_length=32, description="Values that filters of searches can use."
    )


class PagesTable(Table):
    """Pages of websites, each of which becomes a document."""

    sitemaps: Texts = Field(
        (),
        max_length=20,
        description="The addresses of sitemaps, or of indexes of sitemaps, that list the pages.",
    )
    addresses: Texts = Field((), max_length=1000, description="The addresses of pages.")


class MappingTable(Table):
    """A mapping: of rows, with `queries` and `documents`, or of `pages`."""

    connection: str = Field(min_length=1, max_length=63, description="The connection.")
    collection: Annotated[str, Field(pattern=_COLLECTION)] = Field(
        description="The collection for the documents. The collection's readers may read the documents that have no subject."
    )
    schedule: str = Field(
        "",
        max_length=200,
        description="A cron expression of five fields that says when runs begin automatically. Empty: no run begins automatically.",
    )
    time_zone: str = Field("UTC", max_length=64, description="The time zone of the schedule.")
    deletions_percent: int = Field(
        10,
        ge=0,
        le=50,
        description="The percentage of the source's documents that a run may delete without an administrator's confirmation.",
    )
    queries: dict[Annotated[str, Field(pattern=_NAME)], QueryTable] = Field(
        default_factory=dict[str, QueryTable], max_length=20, description="The queries, by name."
    )
    documents: dict[Annotated[str, Field(pattern=_NAME)], DocumentTable] = Field(
        default_factory=dict[str, DocumentTable],
        max_length=20,
        description="The kinds of documents, by name.",
    )
    pages: PagesTable | None = Field(
        None,
        description="The pages of websites, for a connection of the kind `web`, in place of queries and documents.",
    )


class RowProblem(Exception):
    """A row that makes no document."""


class SchemaProblem(Exception):
    """The result of a query lacks columns that the mapping names."""


@dataclass(frozen=True, slots=True)
class Column:
    """A declared column."""

    name: str
    type: Type
    null: bool


@dataclass(frozen=True, slots=True)
class MappedQuery:
    """A query with its columns, and the kinds of documents that its rows make. one_subject: the statement for one subject; "" if all rows must be read."""

    name: str
    sql: str
    one_subject: str
    columns: Sequence[Column]
    kinds: Sequence[str]

    def reader(self, found: Sequence[str]) -> Callable[[Sequence[object]], Mapping[str, object]]:
        """A function that reads a row of a result with these columns as plain values. It raises RowProblem. Raises SchemaProblem if columns are missing."""
        missing = [column.name for column in self.columns if column.name not in found]
        if missing:
            hint = closest(missing[0], found)
            raise SchemaProblem(
                f"The query {self.name} no longer returns {quoted(missing)}, which {quoted(self.kinds)} {'use' if len(self.kinds) > 1 else 'uses'}; it returns {quoted(found[:20])}."
                + (f" Was “{missing[0]}” renamed to “{hint}”?" if hint else "")
            )
        if twice := sorted({column.name for column in self.columns if list(found).count(column.name) > 1}):
            raise SchemaProblem(
                f"The query {self.name} returns two columns with the name “{twice[0]}”; rename one with AS."
            )
        places = [(column, list(found).index(column.name)) for column in self.columns]
        return lambda row: {one.name: _value(one, row[place]) for one, place in places}

    def readable(self, found: Sequence[str], row: Sequence[object]) -> Mapping[str, object]:
        """The values of a row that could be read, for a row that makes no document."""
        values = dict[str, object]()
        for column in self.columns:
            with suppress(RowProblem):
                values[column.name] = _value(column, row[list(found).index(column.name)])
        return values


class SourceMapping:
    """A mapping without mistakes. text: its TOML. queries: those that a document uses. pages: None for a mapping of rows. schedule: None if no runs begin by themselves."""

    def __init__(
        self, text: str, table: MappingTable, templates: PromptSet, schedule: Schedule | None
    ) -> None:
        self.text = text
        self.connection = table.connection
        self.collection = table.collection
        self.deletions_percent = table.deletions_percent
        self.schedule = schedule
        self.pages = table.pages
        self._documents = table.documents
        self._templates = templates
        self.queries = [
            MappedQuery(
                name,
                one.sql,
                one.one_subject,
                [Column(key, column.type, column.null) for key, column in one.columns.items()],
                [kind for kind, document in table.documents.items() if document.query == name],
            )
            for name, one in table.queries.items()
            if any(document.query == name for document in table.documents.values())
        ]

    def unfit(self, connection: SourceConnection) -> Problem | None:
        """Why the mapping cannot be used with the connection that it names, with its line; None if it can."""
        problem = None
        if not isinstance(connection, WebConnection):
            if self.pages is not None:
                message = f"the connection “{self.connection}” is a database; “pages” needs a connection of the kind “web”"
                problem = Problem(FILE, message, ("connection",))
        elif self.pages is None:
            message = f"the connection “{self.connection}” is for websites, so the mapping needs “pages” in place of queries and documents"
            problem = Problem(FILE, message, ("connection",))
        else:
            sites = sites_of(connection)
            for field, address in _addresses(self.pages):
                if str(origin_of(address)) not in sites:
                    message = f"“{address}” is not at a site of the connection “{self.connection}”; its sites are {quoted(connection.sites)}"
                    problem = Problem(FILE, message, ("pages", field))
                    break
        return None if problem is None else placed([problem], {FILE: (self.text, 1)})[0]

    def place(self, query: str, field: str) -> str:
        """The line and the key of a statement, for messages. field: “sql” or “one_subject”."""
        line, _ = positions(self.text).get(("queries", query, field), (0, 0))
        return f"{f'line {line}: ' if line else ''}queries.{query}.{field}"

    def bodies(self, kind: str) -> Sequence[str]:
        return [body for _, body in _bodies(kind, self._documents[kind])]

    def document(self, kind: str, row: Mapping[str, object]) -> SourceDocument:
        """The document that a row makes. Raises RowProblem."""
        table = self._documents[kind]
        key = self._line(kind, "key", row, MAX_KEY_BYTES)
        if not key:
            raise RowProblem("The key of the row is empty.")
        text = self._filled(kind, "text", row)
        if not text:
            raise RowProblem("The row makes an empty text.")
        if len(text.encode()) > MAX_TEXT_BYTES:
            raise RowProblem(f"The row makes a text of more than {MAX_TEXT_BYTES:,} bytes.")
        subject = self._line(kind, "subject", row, _MAX_SUBJECT_BYTES)
        if table.subject and not subject:
            # Without a subject, every reader of the collection could read what is about one person.
            raise RowProblem("The subject of the row is empty.")
        metadata = {
            name: value
            for name in table.metadata
            if (value := self._line(kind, f"metadata.{name}", row, 1000))
        }
        return SourceDocument(
            kind,
            key,
            self._line(kind, "title", row, _MAX_TITLE_BYTES) or key,
            text,
            subject,
            self._line(kind, "uri", row, 2000),
            metadata,
        )

    def about(self, kind: str, row: Mapping[str, object]) -> tuple[str, str]:
        """The key and the subject of a row of which only some values could be read; "" for what cannot be filled in."""
        found = list[str]()
        for field, most in (("key", MAX_KEY_BYTES), ("subject", _MAX_SUBJECT_BYTES)):
            try:
                found.append(self._line(kind, field, row, most))
            except RowProblem:
                found.append("")
        return found[0], found[1]

    def _line(self, kind: str, field: str, row: Mapping[str, object], most: int) -> str:
        found = " ".join(self._filled(kind, field, row).split())
        if len(found.encode()) > most:
            raise RowProblem(f"The {field} of the row has more than {most} bytes.")
        return found

    def _filled(self, kind: str, field: str, row: Mapping[str, object]) -> str:
        try:
            return self._templates.text(_template(kind, field), row)
        except KeyError:
            return ""
        except PromptError as error:
            raise RowProblem(f"The {field} of the row cannot be filled in: {error.message}.") from error


def read_mapping(text: str) -> tuple[SourceMapping | None, Sequence[Problem]]:
    """The mapping, or all its problems with their lines."""
    try:
        table = MappingTable.model_validate(rtoml.loads(text))
    except rtoml.TomlParsingError as error:
        return None, [syntax_problem(FILE, error, 1)]
    except ValidationError as error:
        found = [_written(one, positions(text)) for one in from_validation(error, MappingTable, file=FILE)]
        return None, placed(found, {FILE: (text, 1)})
    places = positions(text)
    problems = list[Problem]()
    problems += _of_pages(table)
    for name, query in table.queries.items():
        problems += _of_query(("queries", name), query)
    lines, sources, on_one_line = text.split("\n"), dict[str, PromptSource](), set[Key]()
    for kind, document in table.documents.items():
        for key, body in _bodies(kind, document):
            line = places.get(key, (1, 1))[0]
            begins = line + 1 if lines[line - 1].rstrip().endswith(_LONG_QUOTES) else line
            if not any(quotes in lines[line - 1] for quotes in _LONG_QUOTES):
                on_one_line.add(key)  # its line breaks are escapes
            name = _template(kind, ".".join(map(str, key[2:])))
            sources[name] = PromptSource(FILE, FrontMatter.model_validate({}), body, begins)
    templates, schedule = PromptSet(sources), None
    try:
        schedule = read_schedule(table.schedule, table.time_zone) if table.schedule else None
    except ScheduleProblem as error:
        problems.append(Problem(FILE, str(error), (error.field,)))
    for kind, document in table.documents.items():
        problems += _of_document(kind, document, table, templates)
    problems = [
        replace(problem, line=None) if problem.key in on_one_line else problem for problem in problems
    ]
    if problems:
        return None, placed(problems, {FILE: (text, 1)})
    return SourceMapping(text, table, templates, schedule), []


def _written(one: Problem, places: Mapping[Key, Place]) -> Problem:
    """A problem with the key as the mapping writes it: the short form of a column has no key `type`."""
    short = one.key[-1:] == ("type",) and one.key not in places and one.key[:-1] in places
    return replace(one, key=one.key[:-1]) if short else one


def _of_pages(table: MappingTable) -> Sequence[Problem]:
    """Whether the mapping has either pages or rows, and the mistakes in the addresses of its pages."""
    if table.pages is None:
        return [
            Problem(FILE, f"“{field}” is missing; a mapping has queries and documents, or pages", (field,))
            for field in ("queries", "documents")
            if not getattr(table, field)
        ]
    if table.queries or table.documents:
        return [Problem(FILE, "cannot be used together with queries and documents", ("pages",))]
    if not table.pages.sitemaps and not table.pages.addresses:
        return [Problem(FILE, "needs “sitemaps” or “addresses”", ("pages",))]
    found = list[Problem]()
    for field, address in _addresses(table.pages):
        try:
            origin_of(address)
        except OutboundError as error:
            found.append(Problem(FILE, f"“{address[:100]}”: {error}", ("pages", field)))
    return found


def _addresses(pages: PagesTable) -> Sequence[tuple[str, str]]:
    """The addresses, each with its key: “sitemaps” or “addresses”."""
    return [("sitemaps", one) for one in pages.sitemaps] + [("addresses", one) for one in pages.addresses]


def sites_of(connection: WebConnection) -> frozenset[str]:
    """The origins of the connection's sites, in the form of `str(UrlOrigin)`."""
    return frozenset(str(origin_of(site)) for site in connection.sites)


def _of_query(key: Key, query: QueryTable) -> Sequence[Problem]:
    found = list[Problem]()
    for field, sql in (("sql", query.sql), ("one_subject", query.one_subject)):
        if not sql:
            continue
        allowed = {SUBJECT} if field == "one_subject" else set[str]()
        used = set(_PLACE.findall(sql))
        if not _SELECT.match(sql):
            found.append(Problem(FILE, "must be one SELECT", (*key, field)))
        elif ";" in sql:
            found.append(Problem(FILE, "must be one statement without a semicolon", (*key, field)))
        elif more := sorted(used - allowed):
            message = f"has the place “:{more[0]}”; only one_subject has a place, which is “:{SUBJECT}”. Write “\\:” for a colon"
            found.append(Problem(FILE, message, (*key, field), closest(more[0], allowed)))
        elif allowed - used:
            found.append(Problem(FILE, f"does not use “:{SUBJECT}”", (*key, field)))
    return found


def _of_document(
    kind: str, document: DocumentTable, table: MappingTable, templates: PromptSet
) -> Sequence[Problem]:
    query = table.queries.get(document.query)
    if query is None:
        message = f"there is no query “{document.query}”; there are {quoted(table.queries)}"
        return [Problem(FILE, message, ("documents", kind, "query"), closest(document.query, table.queries))]
    found = list[Problem]()
    if query.one_subject and not document.subject:
        message = f"is missing; the query {document.query} has “one_subject”, so each of its documents needs a subject"
        found.append(Problem(FILE, message, ("documents", kind, "subject")))
    for key, _ in _bodies(kind, document):
        name = _template(kind, ".".join(map(str, key[2:])))
        if broken := templates.broken.get(name):
            found += [Problem(FILE, one.message, key, line=one.line) for one in broken]
            continue
        for unknown_word in templates.unknown_words(name):
            found.append(
                Problem(
                    FILE,
                    unknown_word.message,
                    key,
                    unknown_word.synonym or closest(unknown_word.word, unknown_word.known),
                    unknown_word.line,
                )
            )
        for variable in sorted(templates.variables(name).all - query.columns.keys()):
            _, line = templates.where(name, variable, system=True)
            message = f"there is no column “{variable}” in the query {document.query}; it declares {quoted(query.columns)}"
            found.append(Problem(FILE, message, key, closest(variable, query.columns), line))
    return found


def _bodies(kind: str, document: DocumentTable) -> Sequence[tuple[Key, str]]:
    fields = [
        (("documents", kind, field), cast("str", getattr(document, field)))
        for field in ("key", "title", "subject", "uri", "text")
    ]
    metadata = [(("documents", kind, "metadata", name), body) for name, body in document.metadata.items()]
    return [(key, body) for key, body in [*fields, *metadata] if body]


def _template(kind: str, field: str) -> str:
    return f"{kind}.{field}"


def _value(column: Column, value: object) -> object:
    """A value of a database as a plain value. Raises RowProblem."""
    if value is None:
        if column.null:
            return None
        raise RowProblem(
            f"The column “{column.name}” is NULL; declare it with null = true, or leave such rows out of the query."
        )
    if isinstance(value, str | bytes) and len(value) > MAX_TEXT_BYTES:
        raise RowProblem(f"The column “{column.name}” has more than {MAX_TEXT_BYTES:,} bytes.")
    try:
        found = _TYPES[column.type](value)
    except (TypeError, ValueError, ArithmeticError, RecursionError):
        kind = type(value).__name__
        raise RowProblem(
            f"The column “{column.name}” has a value of another type ({kind}); it is declared as {column.type}."
        ) from None
    _check_texts(column, found, 0)
    return found


def _check_texts(column: Column, value: object, depth: int) -> None:
    if depth > _MAX_NESTING:
        raise RowProblem(f"The column “{column.name}” is nested too deeply.")
    match value:
        case str():
            if "\0" in value:
                raise RowProblem(f"The column “{column.name}” has the character U+0000.")
            try:
                value.encode()
            except UnicodeEncodeError:
                raise RowProblem(f"The column “{column.name}” is not valid UTF-8.") from None
        case list():
            for one in cast("list[object]", value):
                _check_texts(column, one, depth + 1)
        case dict():
            for name, one in cast("dict[str, object]", value).items():
                _check_texts(column, name, depth + 1)
                _check_texts(column, one, depth + 1)
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


def _json(value: object) -> object:
    found: object = json.loads(value) if isinstance(value, str | bytes) else value
    # A copy of plain values alone.
    return json.loads(json.dumps(found, allow_nan=False, default=str))


_TYPES: Final[Mapping[Type, Callable[[object], object]]] = {
    "text": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "date": _date,
    "time": _time,
    "json": _json,
}
