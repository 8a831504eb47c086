"""List calls: page sizes, page tokens (AIP-158), filters (AIP-160) and sort orders (AIP-132)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol, TypeVar, cast
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import FieldViolation, InvalidRequest, Reason
from responsa_server.domain.listing import (
    Comparison,
    Field,
    FieldKind,
    ListQuery,
    ListRules,
    Operator,
    Order,
    Page,
    Position,
    Value,
)
from responsa_server.domain.people import Principal

Item = TypeVar("Item")

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 200
MAX_COMPARISONS = 16

_DIGEST_BYTES = 16
_SPACE = re.compile(r"\s*")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.(?:[A-Za-z0-9_-]+|\"(?:[^\"\\]|\\.)*\"))*")
_OPERATOR = re.compile(r"<=|>=|!=|=|<|>|:")
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", re.DOTALL)
_BARE = re.compile(r"[^\s()\"'=<>!,]+")
_AND = re.compile(r"AND(?![^\s])")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ORDER = re.compile(r"\s*([a-z_]+)(?:\s+(asc|desc))?\s*")


class ListRequest(Protocol):
    """The fields that all list requests have."""

    @property
    def page_size(self) -> int: ...  # noqa: D102
    @property
    def page_token(self) -> str: ...  # noqa: D102
    @property
    def filter(self) -> str: ...  # noqa: D102
    @property
    def order_by(self) -> str: ...  # noqa: D102


class PagedRequest(Protocol):
    """The fields of a list request that has neither a filter nor an order."""

    @property
    def page_size(self) -> int: ...  # noqa: D102
    @property
    def page_token(self) -> str: ...  # noqa: D102


class Unfiltered:
    """A list request without filter and order in the shape of `ListRequest`."""

    def __init__(self, request: PagedRequest) -> None:
        self.page_size = request.page_size
        self.page_token = request.page_token
        self.filter = self.order_by = ""


class Listing:
    """One list call: its query, and the token of the next page.

    A token holds the position of the last item, and a digest of this position and of everything that must stay the same between pages: list, caller, parent,
    filter and sort order. Because of the digest, a token is invalid for any other list. A token grants no
    access: each call checks again whether the caller may see the items.
    """

    def __init__(self, rules: ListRules, who: Principal, request: ListRequest, parent: str = "") -> None:
        """Read the request. Raises InvalidRequest: FILTER_INVALID, ORDER_BY_INVALID, PAGE_TOKEN_INVALID."""
        order = parse_order(rules, request.order_by)
        self._same = json.dumps(
            [
                rules.name,
                who.tenant_id,
                str(who.user_id),
                parent,
                request.filter,
                order.field,
                order.descending,
            ]
        )
        self.query = ListQuery(
            limit=min(request.page_size, MAX_PAGE_SIZE) if request.page_size > 0 else DEFAULT_PAGE_SIZE,
            order=order,
            after=self._after(rules, order, request.page_token),
            filters=parse_filter(rules, request.filter),
        )

    def token(self, page: Page[Item]) -> str:
        """The token of the next page, "" after the last page."""
        if page.next_after is None:
            return ""
        cursor = json.dumps([_written(one) for one in page.next_after], ensure_ascii=False).encode()
        return base64.urlsafe_b64encode(self._digest(cursor) + cursor).decode().rstrip("=")

    def _after(self, rules: ListRules, order: Order, token: str) -> Position | None:
        if not token:
            return None
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            cursor = data[_DIGEST_BYTES:]
            if data[:_DIGEST_BYTES] != self._digest(cursor):
                raise _bad_token()
            # The digest has no key, so anyone can make a token. Check its content like any other input.
            match cast("object", json.loads(cursor)):
                case [str(value), str(identity)] if _is_storable(value + identity):
                    return _position(rules, order, value, identity)
                case _:
                    raise _bad_token()
        except (binascii.Error, ValueError, RecursionError) as error:
            raise _bad_token() from error

    def _digest(self, cursor: bytes) -> bytes:
        return hashlib.sha256(self._same.encode() + b"\x00" + cursor).digest()[:_DIGEST_BYTES]


def _position(rules: ListRules, order: Order, value: str, identity: str) -> Position:
    """Read a position that `_written` wrote. Raises ValueError."""
    kind = rules.field(order.field).kind
    return _time(value) if kind is FieldKind.TIME else value, identity if rules.slug_ids else _uuid(identity)


def _written(value: Value) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


def _is_storable(text: str) -> bool:
    """Whether the database can compare its values with a text from a token. The text must contain neither U+0000 nor half a surrogate pair."""
    return "\x00" not in text and text.encode(errors="ignore").decode() == text


def parse_order(rules: ListRules, text: str) -> Order:
    """Read `order_by`; empty means the list's default. Raises InvalidRequest (ORDER_BY_INVALID)."""
    if not text.strip():
        return rules.orders[0]
    match = _ORDER.fullmatch(text)
    order = Order(match[1], match[2] == "desc") if match is not None else None
    if order is None or order not in rules.orders:
        allowed = ", ".join(
            f"`{one.field} desc`" if one.descending else f"`{one.field}`" for one in rules.orders
        )
        orderable = ",".join(dict.fromkeys(one.field for one in rules.orders))
        raise _bad("order_by", Reason.ORDER_BY_INVALID, f"must be one of {allowed}", {"orderable": orderable})
    return order


def parse_filter(rules: ListRules, text: str) -> Sequence[Comparison]:
    """Read a filter: comparisons `field operator value` joined by AND; quotes surround a value with spaces. Raises InvalidRequest (FILTER_INVALID)."""
    result: list[Comparison] = []
    position = _skip(text, 0)
    while position < len(text):
        if result:
            joined = _AND.match(text, position)
            if joined is None:
                raise _bad_filter(
                    rules,
                    f"expected AND at character {position + 1}; comparisons can only be joined with AND",
                )
            position = _skip(text, joined.end())
        field = _FIELD.match(text, position)
        if field is None:
            raise _bad_filter(
                rules,
                f'expected a field at character {position + 1}, as in `create_time > "2026-01-31T00:00:00Z"`',
            )
        name = _field_name(field[0])
        kind = _filtered(rules, name)
        position = _skip(text, field.end())
        operator = _OPERATOR.match(text, position)
        if operator is None:
            raise _bad_filter(rules, f"expected one of = != < <= > >= : at character {position + 1}")
        position = _skip(text, operator.end())
        value = _QUOTED.match(text, position) or _BARE.match(text, position)
        if value is None:
            raise _bad_filter(
                rules,
                f"expected a value at character {position + 1}; put a value with spaces or special characters in quotes",
            )
        result.append(_comparison(rules, kind, name, Operator(operator[0]), _unquoted(value[0])))
        position = _skip(text, value.end())
    if len(result) > MAX_COMPARISONS:
        raise _bad_filter(rules, f"at most {MAX_COMPARISONS} comparisons")
    return tuple(result)


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return position if match is None else match.end()


def _field_name(text: str) -> str:
    head, dot, tail = text.partition(".")
    return head + dot + _unquoted(tail)


def _unquoted(text: str) -> str:
    return _ESCAPE.sub(r"\1", text[1:-1]) if text[:1] in ("'", '"') else text


def _filtered(rules: ListRules, name: str) -> Field:
    """The field that a filter names; `labels.KEY` stands for any key. Raises InvalidRequest (FILTER_INVALID)."""
    head, dot, key = name.partition(".")
    for one in rules.fields:
        if one.filterable and one.name == head and (one.kind is FieldKind.LABELS) == bool(dot) == bool(key):
            return one
    raise _bad_filter(rules, f"this list has no field `{_cut(name)}`")


def _comparison(rules: ListRules, field: Field, name: str, operator: Operator, value: str) -> Comparison:
    """A comparison, with its value converted to the field's kind. Raises InvalidRequest (FILTER_INVALID)."""
    equality = operator in (Operator.EQ, Operator.NE, Operator.HAS)
    try:
        match field.kind:
            case FieldKind.TEXT:
                return Comparison(name, operator, value)
            case FieldKind.LABELS if equality:
                return Comparison(name, operator, value)
            case FieldKind.TIME if operator is not Operator.HAS:
                return Comparison(name, operator, _time(value))
            case FieldKind.ENUM if equality:
                if value not in field.values:
                    raise _bad_filter(rules, f"{name} is one of {', '.join(field.values)}")
                return Comparison(name, operator, field.values[value])
            case FieldKind.NAME if equality:
                return Comparison(name, operator, names.parse_uuid(field.prefix, value))
            case _:
                raise _bad_filter(rules, f"{name} cannot be compared with {operator.value!r}")
    except ValueError as error:
        raise _bad_filter(rules, f"{value!r} is not a value of {name}") from error


def _time(text: str) -> datetime:
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError("a time needs an offset")
    return parsed


def _uuid(text: str) -> UUID:
    if str(found := UUID(text)) != text:
        raise ValueError("not the form in which the server writes a UUID")
    return found


def filterable(rules: ListRules) -> tuple[str, ...]:
    """The fields that a filter may name, as the contract writes them; `labels.KEY` stands for any key."""
    return tuple(
        f"{one.name}.KEY" if one.kind is FieldKind.LABELS else one.name
        for one in rules.fields
        if one.filterable
    )


def _bad_filter(rules: ListRules, what: str) -> InvalidRequest:
    allowed = ",".join(filterable(rules))
    fields = f"fields: {allowed}" if allowed else "leave it empty: this list has no filter"
    return _bad("filter", Reason.FILTER_INVALID, f"{what}; {fields}", {"filterable": allowed})


def _bad_token() -> InvalidRequest:
    return _bad(
        "page_token",
        Reason.PAGE_TOKEN_INVALID,
        "is not a page token of this list for these arguments; send the last next_page_token and leave all other fields unchanged, "
        "or begin with the first page",
        {},
    )


def _bad(field: str, reason: Reason, what: str, metadata: dict[str, str]) -> InvalidRequest:
    return InvalidRequest(
        reason, f"{field}: {what}", metadata, (FieldViolation(field, reason.value.lower(), what),)
    )


def _cut(text: str) -> str:
    return text if len(text) <= 64 else text[:64] + "…"
