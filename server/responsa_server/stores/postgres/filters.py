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

    def condition(self, one: Filter) -> sql.Composable:
        match one:
            case AllOf(()):
                return sql.SQL("TRUE")
            case AllOf(parts):
                return self._joined(" AND ", parts)
            case AnyOf(parts):
                return self._joined(" OR ", parts)
            case Negation(part):
                return sql.SQL("({}) IS NOT TRUE").format(self.condition(part))
            case FilterComparison():
                return sql.SQL("({})").format(self._comparison(one))

    def _joined(self, joint: LiteralString, parts: Sequence[Filter]) -> sql.Composable:
        return sql.SQL("({})").format(sql.SQL(joint).join(map(self.condition, parts)))

    def _comparison(self, one: FilterComparison) -> sql.Composable:
        kind, column = self._kinds[one.field], sql.SQL(self._columns[one.field])
        match kind:
            case FieldKind.LABELS:
                return self._label(one, column)
            case FieldKind.JSON:
                return self._json(one, column)
            case FieldKind.TIME:
                return self._time(one, column)
            case FieldKind.COLLECTION if isinstance(one.value, Wildcard) or one.value == _ANY:
                called = sql.SQL("coalesce(responsa.collection_name({}), '')").format(column)
                return self._plain(one, called, "text")
            case FieldKind.COLLECTION:
                # The caller's name of a collection. The subquery is evaluated once a statement.
                return sql.SQL("{} IS {}DISTINCT FROM (SELECT responsa.named_collection({}::text))").format(
                    column, sql.SQL("" if one.operator is Operator.NE else "NOT "), self._value(one.value)
                )
            case _:
                return self._plain(one, column, TYPES[kind])

    def _plain(self, one: FilterComparison, column: sql.Composable, type_: LiteralString) -> sql.Composable:
        if isinstance(one.value, Wildcard):
            return sql.SQL("{} {} {}").format(
                column,
                sql.SQL("NOT LIKE" if one.operator is Operator.NE else "LIKE"),
                self._value(_pattern(one.value)),
            )
        if type_ == "text" and one.operator is Operator.HAS and isinstance(one.value, str):
            if one.value == _ANY:
                return sql.SQL("{} <> ''").format(column)
            if self._kinds[one.field] in (FieldKind.TEXT, FieldKind.LABELS):
                return _contains(column, self._value(one.value))
        operator = _OPERATORS[one.operator]
        if one.operator is Operator.NE and self._kinds[one.field] is FieldKind.NAME:
            operator = "IS DISTINCT FROM"  # a column of names may be NULL
        return sql.SQL("{} {} {}::{}").format(
            column, sql.SQL(operator), self._value(one.value), sql.SQL(type_)
        )

    def _label(self, one: FilterComparison, column: sql.Composable) -> sql.Composable:
        if not one.path:
            if one.value == _ANY:
                return sql.SQL("{} <> '{{}}'::jsonb").format(column)
            return sql.SQL("{} ? {}::text").format(column, self._value(one.value))
        if one.operator is Operator.HAS and one.value == _ANY:
            return sql.SQL("{} ? {}::text").format(column, self._value(one.path[0]))
        text = sql.SQL("coalesce({} ->> {}::text, '')").format(column, self._value(one.path[0]))
        return self._plain(one, text, "text")

    def _time(self, one: FilterComparison, column: sql.Composable) -> sql.Composable:
        if not isinstance(one.value, TimeSpan):
            compared = self._plain(one, column, "timestamptz")
            return sql.SQL("coalesce({}, {})").format(
                compared, sql.SQL("true" if one.operator is Operator.NE else "false")
            )
        start, end = (self._value(edge) for edge in (one.value.start, one.value.end))
        match one.operator:
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
                return sql.SQL("NOT {}").format(within) if one.operator is Operator.NE else within

    def _json(self, one: FilterComparison, column: sql.Composable) -> sql.Composable:
        found = sql.SQL("({} #> {}::text[])").format(column, self._value(list(one.path)))
        text = sql.SQL("({} #>> {}::text[])").format(column, self._value(list(one.path)))
        if isinstance(one.value, Wildcard):
            like = sql.SQL("coalesce(jsonb_typeof({}) = 'string' AND {} LIKE {}, false)").format(
                found, text, self._value(_pattern(one.value))
            )
            return sql.SQL("NOT {}").format(like) if one.operator is Operator.NE else like
        assert isinstance(one.value, JsonLiteral), "the value of a JSON field"
        equal = sql.SQL("coalesce({} = ANY ({}::jsonb[]), false)").format(
            found, self._value([json.dumps(each) for each in one.value.values])
        )
        match one.operator:
            case Operator.EQ:
                return equal
            case Operator.NE:
                return sql.SQL("NOT {}").format(equal)
            case Operator.HAS if one.value.text == _ANY:
                return sql.SQL("coalesce({} <> 'null'::jsonb, false)").format(found)
            case Operator.HAS:
                return self._json_has(found, text, equal, one.value)
            case _:
                return self._json_ordered(found, text, one.operator, one.value)

    def _json_has(
        self, found: sql.Composable, text: sql.Composable, equal: sql.Composable, value: JsonLiteral
    ) -> sql.Composable:
        return sql.SQL(
            "coalesce(CASE jsonb_typeof({found}) WHEN 'array' THEN {found} @> ANY ({values}::jsonb[]) WHEN 'object' THEN {found} ? {text}::text"
            " WHEN 'string' THEN {contains} ELSE {equal} END, false)"
        ).format(
            found=found,
            values=self._value([json.dumps(each) for each in value.values]),
            text=self._value(value.text),
            contains=_contains(text, self._value(value.text)),
            equal=equal,
        )

    def _json_ordered(
        self, found: sql.Composable, text: sql.Composable, operator: Operator, value: JsonLiteral
    ) -> sql.Composable:
        """Numbers are compared with numbers, and texts with texts."""
        return sql.SQL(
            "coalesce(CASE jsonb_typeof({found}) WHEN 'number' THEN {text}::numeric {operator} {number}::float8::numeric"
            " WHEN 'string' THEN {text} {operator} {written}::text END, false)"
        ).format(
            found=found,
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
