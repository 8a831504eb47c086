"""List calls: page sizes, page tokens (AIP-158), filters (AIP-160) and sort orders (AIP-132)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar, cast
from uuid import UUID

from google.protobuf.message import Message

from responsa_server.domain.errors import FieldViolation, InvalidRequest, Reason
from responsa_server.domain.filters import parse_filter, parse_time
from responsa_server.domain.listing import (
    FieldKind,
    ListQuery,
    ListRules,
    Order,
    Page,
    Position,
    Value,
)
from responsa_server.domain.people import Principal

Item = TypeVar("Item")
Response = TypeVar("Response", bound=Message)

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 200

_DIGEST_BYTES = 16
_ORDER = re.compile(r"\s*([a-z_]+)(?:\s+(asc|desc))?\s*")


class Listing:
    """One list call: its query, and the token of the next page.

    A token holds the position of the last item, and a digest of this position and of everything that must stay the same
    between pages: list, caller, parent, filter and sort order. Because of the digest, a token is invalid for any other
    list. A token grants no
    access: each call checks again whether the caller may see the items.
    """

    def __init__(self, rules: ListRules, caller: Principal, request: Any, parent: str = "") -> None:
        """Read the request, which need not have a filter and an order. Raises InvalidRequest: FILTER_INVALID,
        ORDER_BY_INVALID, PAGE_TOKEN_INVALID."""
        filter_text: str = getattr(request, "filter", "")
        order = parse_order(rules, getattr(request, "order_by", ""))
        self._same = json.dumps(
            [
                rules.name,
                caller.tenant_id,
                str(caller.user_id),
                parent,
                filter_text,
                order.field,
                order.descending,
            ]
        )
        self.query = ListQuery(
            limit=min(request.page_size, MAX_PAGE_SIZE) if request.page_size > 0 else DEFAULT_PAGE_SIZE,
            order=order,
            after=self._after(rules, order, request.page_token),
            filters=parse_filter(rules, filter_text),
            counts=getattr(request, "with_total_size", False),
        )

    def answer(
        self, response: type[Response], page: Page[Item], convert: Callable[[Item], Message], **others: object
    ) -> Response:
        """A page as the response of the call. convert: what makes a message of an item. others: further fields."""
        (items,) = (field.name for field in response.DESCRIPTOR.fields if field.is_repeated)
        fields = {
            items: [convert(item) for item in page.items],
            "next_page_token": self.token(page),
            **({"total_size": page.total} if self.query.counts else {}),
            **others,
        }
        return cast("Callable[..., Response]", response)(**fields)

    def token(self, page: Page[Item]) -> str:
        """The token of the next page, "" after the last page."""
        if page.next_after is None:
            return ""
        cursor = json.dumps([_text_of(value) for value in page.next_after], ensure_ascii=False).encode()
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
    """Read a position that `_text_of` wrote. Raises ValueError."""
    identified = identity if rules.slug_ids else _uuid(identity)
    match rules.field(order.field).kind:
        case FieldKind.TIME:
            return parse_time(value), identified
        case FieldKind.NUMBER:
            return _number(value), identified
        case _:
            return value, identified


def _text_of(value: Value) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


def _is_storable(text: str) -> bool:
    """Whether the database can compare its values with a text from a token. The text must contain neither U+0000 nor
    half a surrogate pair."""
    return "\x00" not in text and text.encode(errors="ignore").decode() == text


def parse_order(rules: ListRules, text: str) -> Order:
    """Read `order_by`; empty means the list's default. Raises InvalidRequest (ORDER_BY_INVALID)."""
    if not text.strip():
        return rules.orders[0]
    match = _ORDER.fullmatch(text)
    order = Order(match[1], match[2] == "desc") if match is not None else None
    if order is None or order not in rules.orders:
        allowed = ", ".join(
            f"`{order.field} desc`" if order.descending else f"`{order.field}`" for order in rules.orders
        )
        orderable = ",".join(dict.fromkeys(order.field for order in rules.orders))
        raise _bad("order_by", Reason.ORDER_BY_INVALID, f"must be one of {allowed}", {"orderable": orderable})
    return order


def _number(text: str) -> int:
    if str(number := int(text)) != text or not -(2**63) <= number < 2**63:
        raise ValueError("the server writes this whole number in another form, or does not write it at all")
    return number


def _uuid(text: str) -> UUID:
    if str(value := UUID(text)) != text:
        raise ValueError("the server writes this UUID in another form")
    return value


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
