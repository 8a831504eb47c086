"""Compiles filters to SQL. All values are sent as parameters; only the columns that a store declares become part of a statement.

Where a comparison may give NULL, it counts as false: AND, OR and the end of a condition take it so, and NOT is written for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, LiteralString

from psycopg import sql

from responsa_server.domain.listing import (
    AllOf,
    AnyOf,
    FieldKind,
    Filter,
    FilterComparison,
    JsonLiteral,
    ListRules,
    Negation,
    Operator,
    TimeSpan,
    Wildcard,
)

DOCUMENT_COLUMNS: Final[Mapping[str, LiteralString]] = {
    "source_key": "d.source_key",
    "uri": "d.uri",
    "title": "d.title",
    "media_type": "d.media_type",
    "language": "d.language",
    "author": "d.author",
    "owner": "d.owner_id",
    "collection": "d.collection_id",
    "labels": "d.labels",
    "metadata": "d.metadata",
    "date": "d.date",
    "create_time": "d.create_time",
    "update_time": "d.update_time",
}
"""The columns of the fields that every filter over documents has, in a statement in which `d` is the table `document`."""
TYPES: Final[Mapping[FieldKind, LiteralString]] = {
    FieldKind.TEXT: "text",
    FieldKind.TIME: "timestamptz",
    FieldKind.ENUM: "text",
    FieldKind.NAME: "uuid",
    FieldKind.SLUG: "text",
    FieldKind.COLLECTION: "text",
    FieldKind.NUMBER: "bigint",
    FieldKind.LABELS: "text",
    FieldKind.JSON: "jsonb",
}
_OPERATORS: Final[Mapping[Operator, LiteralString]] = {
    Operator.EQ: "=",
    Operator.NE: "<>",
    Operator.LT: "<",
    Operator.LE: "<=",
    Operator.GT: ">",
    Operator.GE: ">=",
    Operator.HAS: "=",
}
_ANY: Final = "*"


def compile_filter(
    filters: Sequence[Filter],
    rules: ListRules,
    columns: Mapping[str, LiteralString],
    params: dict[str, object],
) -> sql.Composable:
    """Compile conditions that must all be true; TRUE if there are none.

    columns: the column or expression of each field. params: receives the parameters `filter_0`, `filter_1` and so on.
    """
    return _Compiler(rules, columns, params).condition(AllOf(tuple(filters)))


class _Compiler:
    def __init__(
        self, rules: ListRules, columns: Mapping[str, LiteralString], params: dict[str, object]
    ) -> None:
        self._kinds = {field.name: field.kind for field in rules.fields}
        self._columns = columns
        self._params = params

    def condition(self, condition: Filter) -> sql.Composable:
        match condition:
            case AllOf(()):
                return sql.SQL("TRUE")
            case AllOf(parts):
                return self._join(" AND ", parts)
            case AnyOf(parts):
                return self._join(" OR ", parts)
            case Negation(part):
                return sql.SQL("({}) IS NOT TRUE").format(self.condition(part))
            case FilterComparison():
                return sql.SQL("({})").format(self._comparison(condition))

    def _join(self, joint: LiteralString, parts: Sequence[Filter]) -> sql.Composable:
        return sql.SQL("({})").format(sql.SQL(joint).join(map(self.condition, parts)))

    def _comparison(self, comparison: FilterComparison) -> sql.Composable:
        kind, column = self._kinds[comparison.field], sql.SQL(self._columns[comparison.field])
        match kind:
            case FieldKind.LABELS:
                return self._label(comparison, column)
            case FieldKind.JSON:
                return self._json(comparison, column)
            case FieldKind.TIME:
                return self._time(comparison, column)
            case FieldKind.COLLECTION if isinstance(comparison.value, Wildcard) or comparison.value == _ANY:
                called = sql.SQL("coalesce(responsa.collection_name({}), '')").format(column)
                return self._plain(comparison, called, "text")
            case FieldKind.COLLECTION:
                # The caller's name of a collection. The subquery is evaluated once a statement.
                return sql.SQL("{} IS {}DISTINCT FROM (SELECT responsa.named_collection({}::text))").format(
                    column,
                    sql.SQL("" if comparison.operator is Operator.NE else "NOT "),
                    self._value(comparison.value),
                )
            case _:
                return self._plain(comparison, column, TYPES[kind])

    def _plain(
        self, comparison: FilterComparison, column: sql.Composable, type_: LiteralString
    ) -> sql.Composable:
        if isinstance(comparison.value, Wildcard):
            return sql.SQL("{} {} {}").format(
                column,
                sql.SQL("NOT LIKE" if comparison.operator is Operator.NE else "LIKE"),
                self._value(_pattern(comparison.value)),
            )
        if type_ == "text" and comparison.operator is Operator.HAS and isinstance(comparison.value, str):
            if comparison.value == _ANY:
                return sql.SQL("{} <> ''").format(column)
            if self._kinds[comparison.field] in (FieldKind.TEXT, FieldKind.LABELS):
                return _contains(column, self._value(comparison.value))
        operator = _OPERATORS[comparison.operator]
        if comparison.operator is Operator.NE and self._kinds[comparison.field] is FieldKind.NAME:
            operator = "IS DISTINCT FROM"  # a column of names may be NULL
        return sql.SQL("{} {} {}::{}").format(
            column, sql.SQL(operator), self._value(comparison.value), sql.SQL(type_)
        )

    def _label(self, comparison: FilterComparison, column: sql.Composable) -> sql.Composable:
        if not comparison.path:
            if comparison.value == _ANY:
                return sql.SQL("{} <> '{{}}'::jsonb").format(column)
            return sql.SQL("{} ? {}::text").format(column, self._value(comparison.value))
        if comparison.operator is Operator.HAS and comparison.value == _ANY:
            return sql.SQL("{} ? {}::text").format(column, self._value(comparison.path[0]))
        text = sql.SQL("coalesce({} ->> {}::text, '')").format(column, self._value(comparison.path[0]))
        return self._plain(comparison, text, "text")

    def _time(self, comparison: FilterComparison, column: sql.Composable) -> sql.Composable:
        if not isinstance(comparison.value, TimeSpan):
            compared = self._plain(comparison, column, "timestamptz")
            return sql.SQL("coalesce({}, {})").format(
                compared, sql.SQL("true" if comparison.operator is Operator.NE else "false")
            )
        start, end = (self._value(edge) for edge in (comparison.value.start, comparison.value.end))
        match comparison.operator:
            case Operator.LT:
                return sql.SQL("coalesce({} < {}::timestamptz, false)").format(column, start)
            case Operator.LE:
                return sql.SQL("coalesce({} < {}::timestamptz, false)").format(column, end)
            case Operator.GT:
                return sql.SQL("coalesce({} >= {}::timestamptz, false)").format(column, end)
            case Operator.GE:
                return sql.SQL("coalesce({} >= {}::timestamptz, false)").format(column, start)
            case _:
                within = sql.SQL(
                    "coalesce({0} >= {1}::timestamptz AND {0} < {2}::timestamptz, false)"
                ).format(column, start, end)
                return sql.SQL("NOT {}").format(within) if comparison.operator is Operator.NE else within

    def _json(self, comparison: FilterComparison, column: sql.Composable) -> sql.Composable:
        field = sql.SQL("({} #> {}::text[])").format(column, self._value(list(comparison.path)))
        text = sql.SQL("({} #>> {}::text[])").format(column, self._value(list(comparison.path)))
        if isinstance(comparison.value, Wildcard):
            like = sql.SQL("coalesce(jsonb_typeof({}) = 'string' AND {} LIKE {}, false)").format(
                field, text, self._value(_pattern(comparison.value))
            )
            return sql.SQL("NOT {}").format(like) if comparison.operator is Operator.NE else like
        assert isinstance(comparison.value, JsonLiteral), "the value of a JSON field"
        equal = sql.SQL("coalesce({} = ANY ({}::jsonb[]), false)").format(
            field, self._value([json.dumps(each) for each in comparison.value.values])
        )
        match comparison.operator:
            case Operator.EQ:
                return equal
            case Operator.NE:
                return sql.SQL("NOT {}").format(equal)
            case Operator.HAS if comparison.value.text == _ANY:
                return sql.SQL("coalesce({} <> 'null'::jsonb, false)").format(field)
            case Operator.HAS:
                return self._json_has(field, text, equal, comparison.value)
            case _:
                return self._json_ordered(field, text, comparison.operator, comparison.value)

    def _json_has(
        self, field: sql.Composable, text: sql.Composable, equal: sql.Composable, value: JsonLiteral
    ) -> sql.Composable:
        return sql.SQL(
            "coalesce(CASE jsonb_typeof({found}) WHEN 'array' THEN {found} @> ANY "
            "({values}::jsonb[]) WHEN 'object' THEN {found} ? {text}::text"
            " WHEN 'string' THEN {contains} ELSE {equal} END, false)"
        ).format(
            found=field,
            values=self._value([json.dumps(each) for each in value.values]),
            text=self._value(value.text),
            contains=_contains(text, self._value(value.text)),
            equal=equal,
        )

    def _json_ordered(
        self, field: sql.Composable, text: sql.Composable, operator: Operator, value: JsonLiteral
    ) -> sql.Composable:
        """Numbers are compared with numbers, and texts with texts."""
        return sql.SQL(
            "coalesce(CASE jsonb_typeof({found}) WHEN 'number' THEN {text}::numeric {operator} {number}::float8::numeric"
            " WHEN 'string' THEN {text} {operator} {written}::text END, false)"
        ).format(
            found=field,
            text=text,
            operator=sql.SQL(_OPERATORS[operator]),
            number=self._value(value.number),
            written=self._value(value.text),
        )

    def _value(self, value: object) -> sql.Placeholder:
        name = f"filter_{len(self._params)}"
        self._params[name] = value
        return sql.Placeholder(name)


def _contains(text: sql.Composable, value: sql.Composable) -> sql.Composable:
    return sql.SQL("strpos(lower({}), lower({}::text)) > 0").format(text, value)


def _pattern(value: Wildcard) -> str:
    """The pattern of LIKE."""
    escaped = (part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") for part in value.parts)
    return "%".join(escaped)
