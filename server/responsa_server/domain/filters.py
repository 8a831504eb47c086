"""Reads filters (AIP-160): comparisons joined by AND, OR and NOT, with parentheses. OR binds tighter than AND."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import FieldViolation, InvalidRequest, Reason
from responsa_server.domain.listing import (
    AllOf,
    AnyOf,
    Field,
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

MAX_COMPARISONS: Final = 32
MAX_DEPTH: Final = 8
"""The number of parentheses and negations that may stand around a comparison."""
MAX_ASTERISKS: Final = 4
"""The number of asterisks in one value."""

_SPACE = re.compile(r"\s*")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.(?:[A-Za-z0-9_-]+|\"(?:[^\"\\]|\\.)*\"))*")
_SEGMENT = re.compile(r"\.(?:([A-Za-z0-9_-]+)|\"((?:[^\"\\]|\\.)*)\")")
_OPERATOR = re.compile(r"<=|>=|!=|=|<|>|:")
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", re.DOTALL)
_BARE = re.compile(r"[^\s()\"'=<>!,]+")
_WORDS = {word: re.compile(rf"{word}(?![^\s(])") for word in ("AND", "OR", "NOT")}
_MINUS = re.compile(r"-(?=[A-Za-z_(])")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_PIECE = re.compile(r"\\(.)|(\*)|([^\\*]+)", re.DOTALL)
_NUMBER = re.compile(r"-?\d{1,40}(?:\.\d{1,40})?(?:[eE][-+]?\d{1,3})?\Z")
_WHOLE = re.compile(r"-?\d{1,18}\Z")
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?\Z")
_CONSTANTS: Final = {"true": True, "false": False, "null": None}
_EQUALITY: Final = (Operator.EQ, Operator.NE, Operator.HAS)
_EVERY: Final = tuple(Operator)
_ORDERED: Final = tuple(operator for operator in Operator if operator is not Operator.HAS)
_ALLOWED: Final[Mapping[FieldKind, tuple[Operator, ...]]] = {
    FieldKind.TEXT: _EVERY,
    FieldKind.JSON: _EVERY,
    FieldKind.TIME: _ORDERED,
    FieldKind.NUMBER: _ORDERED,
    **dict.fromkeys(
        (FieldKind.ENUM, FieldKind.NAME, FieldKind.SLUG, FieldKind.COLLECTION, FieldKind.LABELS), _EQUALITY
    ),
}

Identity = TypeVar("Identity", str, UUID)


def parse_filter(rules: ListRules, text: str, path: str = "filter") -> Sequence[Filter]:
    """Read a filter; the conditions of the result must all be true. Quotes surround a value with spaces.

    path: the path of the filter in the request, for errors. Raises InvalidRequest (FILTER_INVALID).
    """
    return _Parser(rules, text, path).parse()


def filterable(rules: ListRules) -> tuple[str, ...]:
    """The fields that a filter may name, as the contract writes them; `labels.KEY` stands for any key."""
    return tuple(
        f"{field.name}.KEY" if field.kind in (FieldKind.LABELS, FieldKind.JSON) else field.name
        for field in rules.fields
        if field.filterable
    )


def holds(condition: Filter, fits: Callable[[FilterComparison], bool]) -> bool:
    """Whether a condition is true. `fits` says for each comparison whether the comparison is true."""
    match condition:
        case AllOf(parts):
            return all(holds(part, fits) for part in parts)
        case AnyOf(parts):
            return any(holds(part, fits) for part in parts)
        case Negation(part):
            return not holds(part, fits)
        case FilterComparison():
            return fits(condition)


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time. Raises ValueError, also for a time without an offset."""
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError("a time needs an offset")
    return parsed


class _Parser:
    """Reads one filter from left to right. Every error names the character at which the text went wrong, counted from 1."""

    def __init__(self, rules: ListRules, text: str, path: str) -> None:
        self._rules = rules
        self._text = text
        self._path = path
        self._place = 0
        self._comparisons = 0
        self._depth = 0

    def parse(self) -> Sequence[Filter]:
        self._skip()
        if self._place == len(self._text):
            return ()
        condition = self._all()
        if self._place < len(self._text):
            raise self._mismatch(
                "AND or OR" if self._text[self._place] != ")" else "no `)`",
                self._place,
                "between comparisons",
            )
        return condition.parts if isinstance(condition, AllOf) else (condition,)

    def _all(self) -> Filter:
        parts = [self._any()]
        while self._take(_WORDS["AND"]):
            parts.append(self._any())
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _any(self) -> Filter:
        parts = [self._term()]
        while self._take(_WORDS["OR"]):
            parts.append(self._term())
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _term(self) -> Filter:
        start = self._place
        negated = self._take(_WORDS["NOT"]) or self._take(_MINUS)
        opened = self._take_character("(")
        if not negated and not opened:
            return self._comparison()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._bad(
                f"more than {MAX_DEPTH} parentheses and negations around a comparison at character {start + 1}; "
                "write a simpler filter"
            )
        term = self._all() if opened else self._term()
        if opened and not self._take_character(")"):
            raise self._mismatch("`)`", self._place, f"for the `(` at character {start + 1}")
        self._depth -= 1
        return Negation(term) if negated else term

    def _comparison(self) -> Filter:
        start = self._place
        field = _FIELD.match(self._text, start)
        if field is None:
            raise self._mismatch("a field", start, 'as in `create_time > "2026-01-31T00:00:00Z"`')
        self._comparisons += 1
        if self._comparisons > MAX_COMPARISONS:
            raise self._bad(f"at most {MAX_COMPARISONS} comparisons; write a shorter filter")
        self._move(field.end())
        operator = _OPERATOR.match(self._text, self._place)
        if operator is None:
            raise self._mismatch("one of = != < <= > >= :", self._place, f"after {_shorten(field[0])}")
        rule, path = self._field(field[0], start, Operator(operator[0]))
        self._move(operator.end())
        value = _QUOTED.match(self._text, self._place) or _BARE.match(self._text, self._place)
        if value is None:
            raise self._mismatch(
                "a value", self._place, "; put a value with spaces or special characters in quotes"
            )
        try:
            read = _value(rule, path, Operator(operator[0]), value[0])
        except ValueError as error:
            raise self._bad(f"{error} (character {self._place + 1})") from error
        self._move(value.end())
        return FilterComparison(rule.name, Operator(operator[0]), read, path)

    def _field(self, written: str, position: int, operator: Operator) -> tuple[Field, tuple[str, ...]]:
        name, dot, _ = written.partition(".")
        path = tuple(
            bare or _ESCAPE.sub(r"\1", quoted) for bare, quoted in _SEGMENT.findall(written, len(name))
        )
        for field in self._rules.fields:
            if not field.filterable or field.name != name:
                continue
            match field.kind:
                case FieldKind.LABELS if path or operator is Operator.HAS:
                    # A key may contain dots.
                    return field, (".".join(path),) if path else ()
                case FieldKind.JSON if path or operator is Operator.HAS:
                    return field, path
                case FieldKind.LABELS | FieldKind.JSON:
                    raise self._bad(f"{name} at character {position + 1} needs a key, as in `{name}.KEY = x`")
                case _ if not dot:
                    return field, ()
                case _:
                    pass
        raise self._bad(f"there is no field `{_shorten(written)}` (character {position + 1})")

    def _move(self, position: int) -> None:
        self._place = position
        self._skip()

    def _skip(self) -> None:
        match = _SPACE.match(self._text, self._place)
        self._place = self._place if match is None else match.end()

    def _take(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self._text, self._place)
        if match is not None:
            self._move(match.end())
        return match is not None

    def _take_character(self, character: str) -> bool:
        if not self._text.startswith(character, self._place):
            return False
        self._move(self._place + 1)
        return True

    def _mismatch(self, what: str, position: int, more: str) -> InvalidRequest:
        joint = "" if more.startswith(";") else " " if more.startswith(("after", "for", "between")) else ", "
        return self._bad(f"expected {what} at character {position + 1}{joint}{more}")

    def _bad(self, what: str) -> InvalidRequest:
        allowed = ",".join(filterable(self._rules))
        fields = f"fields: {allowed}" if allowed else "leave it empty: this list has no filter"
        described = f"{what}; {fields}"
        violation = FieldViolation(self._path, Reason.FILTER_INVALID.value.lower(), described)
        return InvalidRequest(
            Reason.FILTER_INVALID, f"{self._path}: {described}", {"filterable": allowed}, (violation,)
        )


def _value(
    field: Field, path: Sequence[str], operator: Operator, written: str
) -> str | datetime | UUID | int | Wildcard | TimeSpan | JsonLiteral:
    """The value of a comparison, converted to the field's kind. Raises ValueError, whose text says what to write instead."""
    name = ".".join((field.name, *path))
    if operator not in _ALLOWED[field.kind]:
        allowed = " ".join(_ALLOWED[field.kind])
        raise ValueError(f"{name} cannot be compared with {operator.value!r}; use one of {allowed}")
    text = _ESCAPE.sub(r"\1", written[1:-1]) if written[:1] in ("'", '"') else written
    wildcard = _wildcard(written, name) if operator in (Operator.EQ, Operator.NE) else None
    match field.kind:
        case FieldKind.TEXT | FieldKind.LABELS:
            return wildcard or text
        case FieldKind.JSON:
            return wildcard or _literal(written, text)
        case FieldKind.SLUG | FieldKind.COLLECTION if wildcard is not None:
            first, *rest = wildcard.parts
            return Wildcard((first.removeprefix(f"{field.prefix}/"), *rest))
        case FieldKind.SLUG | FieldKind.COLLECTION:
            return _parse(name, text, f"{field.prefix}/{{id}}", lambda: names.parse_slug(field.prefix, text))
        case FieldKind.NAME:
            return _parse(
                name, text, f"{field.prefix}/{{uuid}}", lambda: names.parse_uuid(field.prefix, text)
            )
        case FieldKind.TIME:
            return _time(name, text)
        case FieldKind.NUMBER if _WHOLE.match(text) is None:
            raise ValueError(f"{_repr(text)} is not a value of {name}; write a whole number")
        case FieldKind.NUMBER:
            return int(text)
        case FieldKind.ENUM if text not in field.values:
            raise ValueError(f"{name} is one of {', '.join(field.values)}")
        case FieldKind.ENUM:
            return field.values[text]


def _parse(name: str, text: str, form: str, parse: Callable[[], Identity]) -> Identity:
    try:
        return parse()
    except ValueError as error:
        raise ValueError(f"{_repr(text)} is not a value of {name}; write {form}") from error


def _time(name: str, text: str) -> datetime | TimeSpan:
    try:
        if (match := _DATE.match(text)) is None:
            return parse_time(text)
        year, month, day = (int(part) if part else None for part in match.groups())
        assert year is not None, "the pattern begins with a year"
        start = datetime(year, month or 1, day or 1, tzinfo=UTC)
        if day is not None:
            end = datetime.fromordinal(start.toordinal() + 1).replace(tzinfo=UTC)
        elif month is not None:
            end = start.replace(year=year + month // 12, month=month % 12 + 1)
        else:
            end = start.replace(year=year + 1)
        return TimeSpan(start, end)
    except (ValueError, OverflowError) as error:
        remedy = "write a day such as 2026-01-31, a month, a year, or an RFC 3339 time with an offset"
        raise ValueError(f"{_repr(text)} is not a value of {name}; {remedy}") from error


def _literal(written: str, text: str) -> JsonLiteral:
    """A value without quotes may be a number or a constant; it equals the text that looks the same, too."""
    if written[:1] in ("'", '"'):
        return JsonLiteral(text, (text,))
    if text in _CONSTANTS:
        return JsonLiteral(text, (text, _CONSTANTS[text]))
    if _NUMBER.match(text) is not None and math.isfinite(number := float(text)):
        return JsonLiteral(text, (text, number), number)
    return JsonLiteral(text, (text,))


def _wildcard(written: str, name: str) -> Wildcard | None:
    """The parts between the asterisks of a value; None if the value has no asterisk. A backslash in quotes makes an asterisk plain."""
    if "*" not in written:
        return None
    quoted = written[:1] in ("'", '"')
    parts = [""]
    for escaped, asterisk, plain in _PIECE.findall(written[1:-1]) if quoted else _bare_pieces(written):
        if asterisk:
            parts.append("")
        else:
            parts[-1] += escaped or plain
    if len(parts) > MAX_ASTERISKS + 1:
        raise ValueError(f"a value of {name} may have at most {MAX_ASTERISKS} asterisks; leave some out")
    return Wildcard(tuple(parts)) if len(parts) > 1 else None


def _bare_pieces(written: str) -> list[tuple[str, str, str]]:
    pieces: list[tuple[str, str, str]] = []
    for index, part in enumerate(written.split("*")):
        pieces += [("", "*", "")] * (index > 0)
        pieces.append(("", "", part))
    return pieces


def _repr(text: str) -> str:
    return repr(_shorten(text))


def _shorten(text: str) -> str:
    return text if len(text) <= 64 else text[:64] + "…"
