"""JSON Schemas of others, and their bounds. Every validator of the server is made here.

A schema can take all time or memory in three ways: its regular expressions match slowly or compile to thousands of
times their length; references multiply subschemas; and a schema that refers to itself twice doubles the work with each
level of a value. So regular expressions match in linear time and share one size, and a value is checked only if the
subschemas that may apply to it are few.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import unquote

import jsonschema_rs

MOST_CHARACTERS: Final = 1000
"""The maximum length of a regular expression."""
MOST_PATTERNS: Final = 100
"""The maximum number of regular expressions in a schema."""
MOST_TABLES: Final = 2000
"""The maximum number of tables in a schema."""
MOST_WORK: Final = 10_000_000
"""The maximum of subschemas that may apply to a value, times the parts of the value. A reference counts what it refers
to, for each level of the value."""
# The compiled size of all regular expressions of a schema, and this size times the characters that they may read: half a second.
_PATTERN_BYTES: Final = 96 << 10
_MOST_MATCHED: Final = 6_000_000_000
# Each error keeps those of all alternatives.
_MOST_EXPLAINED: Final = 10_000
_MOST_LEVELS: Final = 33
_TOO_MANY: Final = (MOST_WORK + 1, MOST_WORK + 1)
_SAME: Final = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies")
_WITHIN: Final = (
    *("properties", "patternProperties", "additionalProperties", "unevaluatedProperties", "propertyNames"),
    *("items", "prefixItems", "additionalItems", "unevaluatedItems", "contains"),
)
_NAMED: Final = ("properties", "patternProperties", "dependentSchemas", "dependencies")


class CheckedSchema:
    """A schema within the bounds."""

    def __init__(self, schema: Mapping[str, object]) -> None:
        """Raises ValueError with a part of a sentence, such as the library's ValidationError, for what is no usable schema."""
        self._root = dict(schema)
        self._known = dict[tuple[int, int], tuple[int, int]]()
        patterns = _patterns(self._root)
        try:
            work = self._count_work(self._root, 0)[0]
        except RecursionError:
            raise ValueError("is nested too deeply") from None
        if work > MOST_WORK:
            raise ValueError("has too many subschemas for one value, or refers to itself without a step")
        self._most = limit = _PATTERN_BYTES // max(1, len(patterns))
        self._validator = jsonschema_rs.Draft202012Validator(
            self._root,
            validate_formats=True,
            retriever=_no_retrieval,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=limit, dfa_size_limit=limit),
        )

    def error(self, value: object) -> jsonschema_rs.ValidationError | None:
        """The first thing that does not fit; None if all fits. Raises ValueError if that cannot be found out within the bounds."""
        parts, characters, levels = _extent(value)
        tables = patterns = 0
        for level in range(levels + 1):  # from below, so that no call goes deeper than the schema
            tables, patterns = self._count_work(self._root, level)
        work = (parts + characters // 64) * tables
        if work > MOST_WORK or characters * patterns * self._most > _MOST_MATCHED:
            raise ValueError("has too many subschemas for a value of this size and depth")
        if self._validator.is_valid(value):
            return None
        if work > _MOST_EXPLAINED:
            raise ValueError("does not fit, and has too many subschemas to say where")
        try:
            self._validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            return error
        return None

    def _count_work(self, schema: object, levels: int) -> tuple[int, int]:
        """How many subschemas and regular expressions may apply to a value with so many levels below it, each as often as it may."""
        if not isinstance(schema, dict):
            return 1, 0
        table = cast("dict[str, object]", schema)
        key = id(table), levels
        if key not in self._known:
            # A schema that comes back to itself without a step into the value finds this.
            self._known[key] = _TOO_MANY
            same = [self._count_work(part, levels) for part in _subschemas(table, _SAME)]
            if "$ref" in table:
                same.append(self._count_work(self._resolve(table["$ref"]), levels))
            if "unevaluatedProperties" in table or "unevaluatedItems" in table:
                same *= 2  # they look once more
            parts = _subschemas(table, _WITHIN) if levels else ()
            within = [self._count_work(part, levels - 1) for part in parts]
            tables, patterns = (
                sum(counts) for counts in zip((_size(table), _own(table)), *same, *within, strict=True)
            )
            self._known[key] = min(tables, _TOO_MANY[0]), min(patterns, _TOO_MANY[1])
        return self._known[key]

    def _resolve(self, reference: object) -> object:
        target: object = self._root
        if isinstance(reference, str) and (reference == "#" or reference.startswith("#/")):
            for step in unquote(reference).split("/")[1:]:
                name = step.replace("~1", "/").replace("~0", "~")
                if isinstance(target, list) and name.isdecimal():
                    items = cast("list[object]", target)
                    target = items[int(name)] if int(name) < len(items) else None
                else:
                    target = cast("dict[str, object]", target).get(name) if isinstance(target, dict) else None
            if isinstance(target, dict | bool):
                return cast("object", target)
        raise ValueError(f"has the reference “{reference}”; refer to a schema within, such as “#/$defs/NAME”")


def _size(table: Mapping[str, object]) -> int:
    """What a table itself takes: the names and values that it lists count, too."""
    listed = [table.get("required"), table.get("enum"), *_values(table.get("dependentRequired"))]
    return 1 + sum(len(cast("list[object]", entry)) for entry in listed if isinstance(entry, list)) // 8


def _values(table: object) -> Iterator[object]:
    yield from cast("dict[str, object]", table).values() if isinstance(table, dict) else ()


def _own(table: Mapping[str, object]) -> int:
    named = table.get("patternProperties")
    return ("pattern" in table) + (len(cast("dict[str, object]", named)) if isinstance(named, dict) else 0)


def _subschemas(table: Mapping[str, object], keywords: tuple[str, ...]) -> Iterator[object]:
    for keyword in keywords:
        value = table.get(keyword)
        if isinstance(value, list):
            yield from cast("list[object]", value)
        elif isinstance(value, dict):
            table = cast("dict[str, object]", value)
            yield from table.values() if keyword in _NAMED else (table,)


def _patterns(schema: object) -> list[str]:
    """The regular expressions of a schema. Raises ValueError for what is beyond the bounds."""
    left, patterns, tables = [schema], list[str](), 0
    while left:
        part = left.pop()
        if isinstance(part, dict):
            table = cast("dict[str, object]", part)
            tables += 1
            for word in ("$dynamicRef", "$recursiveRef", *(("$id",) if tables > 1 else ())):
                if isinstance(table.get(word), str):
                    raise ValueError(f"has “{word}”; use “$ref” with “#/$defs/NAME”")
            named, pattern = table.get("patternProperties"), table.get("pattern")
            patterns += cast("dict[str, object]", named) if isinstance(named, dict) else ()
            patterns += (pattern,) if isinstance(pattern, str) else ()
            left += table.values()
        elif isinstance(part, list):
            left += cast("list[object]", part)
    if tables > MOST_TABLES:
        raise ValueError(f"has more than {MOST_TABLES:,} tables; make it smaller")
    if len(patterns) > MOST_PATTERNS:
        raise ValueError(f"has more than {MOST_PATTERNS} regular expressions; use fewer")
    if any(len(pattern) > MOST_CHARACTERS for pattern in patterns):
        raise ValueError(
            f"has a regular expression with more than {MOST_CHARACTERS:,} characters; shorten it"
        )
    return patterns


def _extent(value: object) -> tuple[int, int, int]:
    """The number of parts of a JSON value, that of their characters, and how many levels are below it. Raises
    ValueError if it is nested too deeply."""
    parts, characters, levels, row = 0, 0, 0, [value]
    while row:
        parts += len(row)
        within = list[object]()
        for part in row:
            if isinstance(part, str):
                characters += len(part)
            elif isinstance(part, dict):
                table = cast("dict[str, object]", part)
                parts, characters = parts + len(table), characters + sum(map(len, table))
                within += table.values()
            elif isinstance(part, list | tuple):
                within += cast("Sequence[object]", part)
        row, levels = within, levels + 1
        if levels > _MOST_LEVELS:
            raise ValueError("is for values with fewer levels")
    return parts, characters, levels - 1


def _no_retrieval(address: str) -> Any:
    raise ValueError(f"{address} is not fetched")
