"""The text of mappings: TOML with templates. Pure.

In the server, only the sandbox imports this module (`in_sandbox`), because the parsers of TOML and templates are native
code that a hostile text may overthrow. The command line imports it for the files of its own user.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, cast

import rtoml
from pydantic import BeforeValidator, Field, ValidationError

from responsa_etl.domain import MAX_KEY_BYTES, MAX_TEXT_BYTES, SourceDocument
from responsa_etl.sources.mapping import (
    FILE,
    SUBJECT,
    Column,
    MappedPages,
    MappedQuery,
    RowProblem,
    SourceMapping,
    Type,
    finish_mapping,
    read_json,
)
from responsa_server.agents.config.problems import (
    Key,
    Problem,
    closest,
    from_validation,
    quote,
    syntax_problem,
)
from responsa_server.agents.engine.config import Table, Texts
from responsa_server.agents.engine.prompts import FrontMatter, PromptError, PromptSet, PromptSource
from responsa_server.outbound.addresses import OutboundError, origin_of

_NAME: Final = "^[a-z][a-z0-9_]{0,30}$"
_COLLECTION: Final = "^[a-z0-9][a-z0-9-]{0,62}$"
_PLACE: Final = re.compile(r"(?<![:\w\\]):(\w+)(?!:)")
_SELECT: Final = re.compile(r"\s*(SELECT|WITH|VALUES)\b", re.IGNORECASE)
_MAX_TITLE_BYTES: Final = 512
_MAX_SUBJECT_BYTES: Final = 255


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
        description=(
            "One SELECT for the rows of one subject, with `:subject` in place of the subject. "
            "Without this key, a run for one subject reads all rows, but uses only the rows of the "
            "subject."
        ),
    )
    columns: dict[
        Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]{0,62}$")],
        Annotated[ColumnTable, BeforeValidator(_as_table)],
    ] = Field(
        min_length=1,
        description=(
            'The columns that templates use: `name = "text"`, or `name = { type = "text", null = '
            "true }`. The types are text, integer, number, boolean, date, time (a date with a time) "
            "and json."
        ),
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
        description=(
            "The person whom the document is about. Only this user, administrators and SERVICE keys "
            "may read the document. Empty: all readers of the collection may read it."
        ),
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


class DocumentTemplates:
    """The templates of a mapping without mistakes, which make documents of rows."""

    def __init__(self, text: str) -> None:
        """Raises ValueError for a text that is no mapping."""
        table = MappingTable.model_validate(rtoml.loads(text))
        self._documents = table.documents
        self._templates = _templates(table)
        self._json = {
            name: [column for column, spec in query.columns.items() if spec.type == "json"]
            for name, query in table.queries.items()
        }

    def read(self, kind: str, row: Mapping[str, object]) -> tuple[Mapping[str, object], str]:
        """A row as templates see it, whose values of the type json are parsed here, and why one of these does not fit;
        "" if all do. A value that does not fit is left out."""
        values, problem = dict(row), ""
        for column in self._json[self._documents[kind].query]:
            text = values.pop(column, None)
            if column not in row:
                continue
            try:
                values[column] = None if text is None else read_json(column, str(text))
            except RowProblem as error:
                problem = problem or str(error)
        return values, problem

    def document(self, kind: str, row: Mapping[str, object]) -> SourceDocument:
        """The document that a row makes. Raises RowProblem."""
        table = self._documents[kind]
        key = self._line(kind, "key", row, MAX_KEY_BYTES)
        if not key:
            raise RowProblem("The key of the row is empty.")
        text = self._fill(kind, "text", row)
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
        texts = list[str]()
        for field, limit in (("key", MAX_KEY_BYTES), ("subject", _MAX_SUBJECT_BYTES)):
            try:
                texts.append(self._line(kind, field, row, limit))
            except RowProblem:
                texts.append("")
        return texts[0], texts[1]

    def _line(self, kind: str, field: str, row: Mapping[str, object], limit: int) -> str:
        line = " ".join(self._fill(kind, field, row).split())
        if len(line.encode()) > limit:
            raise RowProblem(f"The {field} of the row has more than {limit} bytes.")
        return line

    def _fill(self, kind: str, field: str, row: Mapping[str, object]) -> str:
        try:
            return self._templates.text(f"{kind}.{field}", row)
        except KeyError:
            return ""
        except PromptError as error:
            raise RowProblem(f"The {field} of the row cannot be filled in: {error.message}.") from error


def read_mapping(text: str) -> tuple[SourceMapping | None, Sequence[Problem]]:
    """The mapping, or all its problems."""
    return finish_mapping(*parse_mapping(text))


def parse_mapping(text: str) -> tuple[SourceMapping | None, Sequence[Problem]]:
    """As `read_mapping`, but without a look at the schedule, and with the mapping also if there are problems in its
    details. Runs in the sandbox."""
    try:
        raw = rtoml.loads(text)
    except rtoml.TomlParsingError as error:
        return None, [syntax_problem(FILE, error, 1)]
    try:
        table = MappingTable.model_validate(raw)
    except ValidationError as error:
        return None, [_rename(problem, raw) for problem in from_validation(error, MappingTable, file=FILE)]
    problems = list[Problem]()
    problems += _of_pages(table)
    for name, query in table.queries.items():
        problems += _of_query(("queries", name), query)
    templates = _templates(table)
    for kind, document in table.documents.items():
        problems += _of_document(kind, document, table, templates)
    return _plain(text, table), problems


def _templates(table: MappingTable) -> PromptSet:
    return PromptSet(
        {
            _template(kind, key): PromptSource(FILE, FrontMatter.model_validate({}), body)
            for kind, document in table.documents.items()
            for key, body in _bodies(kind, document)
        },
        in_sandbox=True,
    )


def _plain(text: str, table: MappingTable) -> SourceMapping:
    queries = [
        MappedQuery(
            name,
            query.sql,
            query.one_subject,
            [Column(key, column.type, column.null) for key, column in query.columns.items()],
            [kind for kind, document in table.documents.items() if document.query == name],
        )
        for name, query in table.queries.items()
        if any(document.query == name for document in table.documents.values())
    ]
    return SourceMapping(
        text,
        table.connection,
        table.collection,
        table.deletions_percent,
        table.schedule,
        table.time_zone,
        queries,
        None if table.pages is None else MappedPages(table.pages.sitemaps, table.pages.addresses),
    )


def _rename(problem: Problem, raw: Any) -> Problem:
    """A problem with the key as the mapping writes it: the short form of a column has no key `type`."""
    if problem.key[-1:] != ("type",):
        return problem
    for part in problem.key[:-1]:
        raw = raw[part]
    return problem if isinstance(raw, dict) else replace(problem, key=problem.key[:-1])


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
    problems = list[Problem]()
    for field, address in MappedPages(table.pages.sitemaps, table.pages.addresses).each:
        try:
            origin_of(address)
        except OutboundError as error:
            problems.append(Problem(FILE, f"“{address[:100]}”: {error}", ("pages", field)))
    return problems


def _of_query(key: Key, query: QueryTable) -> Sequence[Problem]:
    problems = list[Problem]()
    for field, sql in (("sql", query.sql), ("one_subject", query.one_subject)):
        if not sql:
            continue
        allowed = {SUBJECT} if field == "one_subject" else set[str]()
        used = set(_PLACE.findall(sql))
        if not _SELECT.match(sql):
            problems.append(Problem(FILE, "must be one SELECT", (*key, field)))
        elif ";" in sql:
            problems.append(Problem(FILE, "must be one statement without a semicolon", (*key, field)))
        elif more := sorted(used - allowed):
            message = f"has the place “:{more[0]}”; only one_subject has a place, which is “:{SUBJECT}”. Write “\\:” for a colon"
            problems.append(Problem(FILE, message, (*key, field), closest(more[0], allowed)))
        elif allowed - used:
            problems.append(Problem(FILE, f"does not use “:{SUBJECT}”", (*key, field)))
    return problems


def _of_document(
    kind: str, document: DocumentTable, table: MappingTable, templates: PromptSet
) -> Sequence[Problem]:
    query = table.queries.get(document.query)
    if query is None:
        message = f"there is no query “{document.query}”; there are {quote(table.queries)}"
        return [Problem(FILE, message, ("documents", kind, "query"), closest(document.query, table.queries))]
    problems = list[Problem]()
    if query.one_subject and not document.subject:
        message = f"is missing; the query {document.query} has “one_subject”, so each of its documents needs a subject"
        problems.append(Problem(FILE, message, ("documents", kind, "subject")))
    for key, _ in _bodies(kind, document):
        name = _template(kind, key)
        if broken := templates.broken.get(name):
            problems += [Problem(FILE, problem.message, key) for problem in broken]
            continue
        for unknown_word in templates.unknown_words(name):
            problems.append(
                Problem(
                    FILE,
                    unknown_word.message,
                    key,
                    unknown_word.synonym or closest(unknown_word.word, unknown_word.known),
                )
            )
        for variable in sorted(templates.variables(name).all - query.columns.keys()):
            message = f"there is no column “{variable}” in the query {document.query}; it declares {quote(query.columns)}"
            problems.append(Problem(FILE, message, key, closest(variable, query.columns)))
    return problems


def _bodies(kind: str, document: DocumentTable) -> Sequence[tuple[Key, str]]:
    fields = [
        (("documents", kind, field), cast("str", getattr(document, field)))
        for field in ("key", "title", "subject", "uri", "text")
    ]
    metadata = [(("documents", kind, "metadata", name), body) for name, body in document.metadata.items()]
    return [(key, body) for key, body in [*fields, *metadata] if body]


def _template(kind: str, key: Key) -> str:
    return ".".join((kind, *map(str, key[2:])))
