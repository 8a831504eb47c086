"""Filters, orders and page tokens."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responsa_server.calls.listing import Listing, parse_order
from responsa_server.domain import lists
from responsa_server.domain.errors import InvalidRequest, Reason
from responsa_server.domain.filters import filterable
from responsa_server.domain.listing import ListRules, Page, Position
from responsa_server.domain.people import Principal, Role
from tests.unit.domain.test_filters import KINDS

ANN = Principal("acme", UUID(int=1), Role.USER, "api_key")
BOB = Principal("acme", UUID(int=2), Role.USER, "api_key")
EVE = Principal("rival", UUID(int=1), Role.USER, "api_key")
ID = str(UUID(int=1)).encode()
PROTOS = Path(__file__).resolve().parents[3] / "protos"


def page(after: Position | None) -> Page[str]:
    return Page((), after)


@dataclass
class Request:
    page_size: int = 0
    page_token: str = ""
    filter: str = ""
    order_by: str = ""


def token_of(rules: ListRules, order: str, cursor: bytes, *, descending: bool = False) -> str:
    """A token with the right digest. The digest has no secret key, so anyone who reads the source can make one."""
    same = json.dumps([rules.name, ANN.tenant_id, str(ANN.user_id), "", "", order, descending]).encode()
    digest = hashlib.sha256(same + b"\x00" + cursor).digest()[:16]
    return base64.urlsafe_b64encode(digest + cursor).decode().rstrip("=")


@pytest.mark.parametrize(
    ("order", "cursor"),
    [
        ("create_time", b'["2026", "%b"]' % ID),
        ("create_time", b'["2026-11-20T12:00:00", "%b"]' % ID),
        ("title", b'["a\\u0000b", "%b"]' % ID),
        ("title", b'["a", "n1"]'),
        ("title", b'["a", "000000000000000000000000ABCDEF01"]'),
        ("size_bytes", b'["+7", "%b"]' % ID),
        ("size_bytes", b'["many", "%b"]' % ID),
        ("size_bytes", b'["9223372036854775808", "%b"]' % ID),
        *(
            ("title", cursor)
            for cursor in (
                b"",
                b"xx",
                b"\xff",
                b"null",
                b"{}",
                b"[1, 2]",
                b'["a"]',
                b'["a", "b", "c"]',
                b'["a", null]',
                b'["\\ud800", "%b"]' % ID,
                b"[" * 2000,
            )
        ),
    ],
)
def test_a_cursor_that_the_order_cannot_have_given_is_refused(order: str, cursor: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Listing(KINDS, ANN, Request(order_by=order, page_token=token_of(KINDS, order, cursor)))
    assert caught.value.reason is Reason.PAGE_TOKEN_INVALID


def test_the_digest_covers_the_list_its_reader_and_the_cursor() -> None:
    made = Listing(lists.TURNS, ANN, Request()).token(page(("v", "i")))
    cursor = base64.urlsafe_b64decode(made + "==")[16:]
    assert made == token_of(lists.TURNS, "create_time", cursor, descending=True)


def test_a_token_holds_the_place_in_a_list_ordered_by_size() -> None:
    place = (2**53 + 1, UUID(int=7))
    token = Listing(lists.DOCUMENTS, ANN, Request(order_by="size_bytes desc")).token(page(place))
    again = Listing(lists.DOCUMENTS, ANN, Request(order_by="size_bytes desc", page_token=token))
    assert again.query.after == place


@pytest.mark.parametrize(
    "text", ["title", "update_time,create_time", "update_time DESC", "update_time desc desc", "1", ";"]
)
def test_orders_that_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_order(lists.CONVERSATIONS, text)
    assert caught.value.reason is Reason.ORDER_BY_INVALID
    assert caught.value.metadata == {"orderable": "update_time,create_time"}


def test_a_token_is_bound_to_everything_but_the_page_size() -> None:
    token = Listing(lists.CONVERSATIONS, ANN, Request(), "p").token(page(("v", "i")))
    foreign = [
        (lists.TURNS, ANN, Request(page_token=token), "p"),
        (lists.CONVERSATIONS, BOB, Request(page_token=token), "p"),
        (lists.CONVERSATIONS, EVE, Request(page_token=token), "p"),
        (lists.CONVERSATIONS, ANN, Request(page_token=token, filter="title=x"), "p"),
        (lists.CONVERSATIONS, ANN, Request(page_token=token, order_by="create_time"), "p"),
        (lists.CONVERSATIONS, ANN, Request(page_token=token), "q"),
    ]
    for rules, who, request, parent in foreign:
        with pytest.raises(InvalidRequest) as caught:
            Listing(rules, who, request, parent)
        assert caught.value.reason is Reason.PAGE_TOKEN_INVALID


@given(st.text(max_size=100))
def test_no_made_up_token_is_taken(token: str) -> None:
    if not token:
        return
    with pytest.raises(InvalidRequest) as caught:
        Listing(lists.TURNS, ANN, Request(page_token=token))
    assert caught.value.reason is Reason.PAGE_TOKEN_INVALID


def test_the_longest_cursor_fits_the_contract() -> None:
    key = "é" * 512  # a source_key has at most 1,024 bytes
    assert len(Listing(lists.DOCUMENTS, ANN, Request()).token(page((key, str(UUID(int=7)))))) <= 2048


@pytest.mark.parametrize(
    ("message", "rules"),
    [
        ("ListTurnsRequest", lists.TURNS),
        ("ListConversationsRequest", lists.CONVERSATIONS),
        ("ListMessagesRequest", lists.MESSAGES),
        ("ListCollectionsRequest", lists.COLLECTIONS),
        ("ListDocumentsRequest", lists.DOCUMENTS),
        ("ListApiKeysRequest", lists.API_KEYS),
        ("ListTenantApiKeysRequest", lists.TENANT_API_KEYS),
        ("ListUsersRequest", lists.USERS),
        ("ListAuditEventsRequest", lists.AUDIT_EVENTS),
    ],
)
def test_the_tables_are_what_the_contract_documents(message: str, rules: ListRules) -> None:
    text = "".join(path.read_text() for path in PROTOS.rglob("*.proto"))
    body = re.search(rf"message {message} {{([\s\S]*?)\n}}", text)
    assert body is not None
    written = re.sub(r"\n *// ", " ", body[1])
    fields = re.search(r"on these fields: ((?:[a-z_]+(?:\.KEY)?(?:, )?)+)\. ", written)
    orders = re.search(r"AIP-132\): (.*)\. The first order is the default", written)
    assert fields is not None
    assert orders is not None
    assert tuple(fields[1].split(", ")) == filterable(rules)
    assert {f"{order.field} desc" if order.descending else order.field for order in rules.orders} == set(
        orders[1].split(", ")
    )
    assert orders[1].split(", ")[0].split(" ")[0] == rules.orders[0].field
