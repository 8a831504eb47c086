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

from responsa_server.calls import listing
from responsa_server.calls.listing import Listing, ListRules
from responsa_server.domain.errors import InvalidRequest, Reason
from responsa_server.domain.listing import Comparison, Operator, Order, Page
from responsa_server.domain.people import Principal, Role

ANN = Principal("acme", UUID(int=1), Role.USER, "api_key")
BOB = Principal("acme", UUID(int=2), Role.USER, "api_key")
EVE = Principal("rival", UUID(int=1), Role.USER, "api_key")
PROTOS = Path(__file__).resolve().parents[3] / "protos"


def page(after: tuple[str, str] | None) -> Page[str]:
    return Page((), after)


@dataclass
class Request:
    page_size: int = 0
    page_token: str = ""
    filter: str = ""
    order_by: str = ""


def parsed(text: str, rules: ListRules = listing.CONVERSATIONS) -> list[tuple[str, str, str]]:
    return [(one.field, one.operator.value, one.value) for one in listing.parse_filter(rules, text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("   ", []),
        ("title=Rivers", [("title", "=", "Rivers")]),
        ('title : "two words"', [("title", ":", "two words")]),
        ("title:'it\\'s'", [("title", ":", "it's")]),
        (r'title = "a \"b\" \\ c"', [("title", "=", 'a "b" \\ c')]),
        ('title = "x AND y"', [("title", "=", "x AND y")]),
        ("create_time>=2026-01-31T00:00:00Z", [("create_time", ">=", "2026-01-31T00:00:00Z")]),
        ("labels.topic = rivers", [("labels.topic", "=", "rivers")]),
        ('labels."my topic" : x', [("labels.my topic", ":", "x")]),
        ('title != a AND title!="b"', [("title", "!=", "a"), ("title", "!=", "b")]),
        ("title = ANDROID AND title = x", [("title", "=", "ANDROID"), ("title", "=", "x")]),
        ("title:*", [("title", ":", "*")]),
    ],
)
def test_filters_that_are_read(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert parsed(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "secret = 1",
        "title",
        "title =",
        "= x",
        "title = x OR title = y",
        "title = x title = y",
        "title = x AND",
        "title = x ANDtitle = y",
        "(title = x)",
        "NOT title = x",
        'title = "open',
        "labels = x",
        "labels. = x",
        "title.x = y",
        "title == x",
        "title = x; DROP TABLE turn",
        " AND ".join(["title = x"] * 17),
    ],
)
def test_filters_that_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parsed(text)
    assert caught.value.reason is Reason.FILTER_INVALID
    assert caught.value.metadata == {"filterable": "title,create_time,update_time,labels.KEY"}
    assert caught.value.violations[0].field == "filter"


@given(st.text(max_size=200))
def test_no_filter_breaks_the_parser(text: str) -> None:
    try:
        parsed(text)
    except InvalidRequest as error:
        assert error.reason is Reason.FILTER_INVALID  # noqa: PT017


@given(st.text(max_size=100))
def test_a_quoted_value_is_read_as_it_was_meant(value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    assert listing.parse_filter(listing.CONVERSATIONS, f'title = "{quoted}"') == (
        Comparison("title", Operator.EQ, value),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Order("update_time", descending=True)),
        ("update_time desc", Order("update_time", descending=True)),
        ("update_time", Order("update_time")),
        ("create_time asc", Order("create_time")),
        ("  create_time   desc ", Order("create_time", descending=True)),
    ],
)
def test_orders_that_are_read(text: str, expected: Order) -> None:
    assert listing.parse_order(listing.CONVERSATIONS, text) == expected


@pytest.mark.parametrize(
    "text", ["title", "update_time,create_time", "update_time DESC", "update_time desc desc", "1", ";"]
)
def test_orders_that_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        listing.parse_order(listing.CONVERSATIONS, text)
    assert caught.value.reason is Reason.ORDER_BY_INVALID
    assert caught.value.metadata == {"orderable": "update_time,create_time"}


def test_a_token_leads_to_the_page_after() -> None:
    first = Listing(listing.CONVERSATIONS, ANN, Request(filter="title:x"))
    token = first.token(page(("2026-01-31T00:00:00+00:00", str(UUID(int=7)))))
    second = Listing(listing.CONVERSATIONS, ANN, Request(page_size=3, page_token=token, filter="title:x"))
    assert second.query.after == ("2026-01-31T00:00:00+00:00", str(UUID(int=7)))
    assert second.query.limit == 3
    assert first.token(page(None)) == ""


def test_a_token_is_bound_to_everything_but_the_page_size() -> None:
    token = Listing(listing.CONVERSATIONS, ANN, Request(), "p").token(page(("v", "i")))
    foreign = [
        (listing.TURNS, ANN, Request(page_token=token), "p"),
        (listing.CONVERSATIONS, BOB, Request(page_token=token), "p"),
        (listing.CONVERSATIONS, EVE, Request(page_token=token), "p"),
        (listing.CONVERSATIONS, ANN, Request(page_token=token, filter="title=x"), "p"),
        (listing.CONVERSATIONS, ANN, Request(page_token=token, order_by="create_time"), "p"),
        (listing.CONVERSATIONS, ANN, Request(page_token=token), "q"),
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
        Listing(listing.TURNS, ANN, Request(page_token=token))
    assert caught.value.reason is Reason.PAGE_TOKEN_INVALID


def test_the_longest_cursor_fits_the_contract() -> None:
    key = "é" * 512  # a source_key has at most 1,024 bytes
    assert len(Listing(listing.DOCUMENTS, ANN, Request()).token(page((key, str(UUID(int=7)))))) <= 2048


def test_page_sizes() -> None:
    assert Listing(listing.TURNS, ANN, Request()).query.limit == 50
    assert Listing(listing.TURNS, ANN, Request(page_size=200)).query.limit == 200
    assert Listing(listing.TURNS, ANN, Request(page_size=5000)).query.limit == 200


@pytest.mark.parametrize(
    ("message", "rules"),
    [
        ("ListTurnsRequest", listing.TURNS),
        ("ListConversationsRequest", listing.CONVERSATIONS),
        ("ListMessagesRequest", listing.MESSAGES),
        ("ListCollectionsRequest", listing.COLLECTIONS),
        ("ListDocumentsRequest", listing.DOCUMENTS),
        ("ListApiKeysRequest", listing.API_KEYS),
    ],
)
def test_the_tables_are_what_the_contract_documents(message: str, rules: ListRules) -> None:
    text = "".join(path.read_text() for path in PROTOS.rglob("*_service.proto"))
    body = re.search(rf"message {message} {{([\s\S]*?)\n}}", text)
    assert body is not None
    fields = re.search(r"comparisons joined by AND, on: ([^.]*(?:\.KEY)?)\. Else", body[1])
    orders = re.search(r"AIP-132: (.*); the first is the default", body[1])
    assert fields is not None
    assert orders is not None
    assert tuple(fields[1].split(", ")) == rules.filterable
    assert {f"{one.field} desc" if one.descending else one.field for one in rules.orders} == set(
        orders[1].split(", ")
    )
    assert orders[1].split(", ")[0].split(" ")[0] == rules.orders[0].field


@pytest.mark.parametrize(
    "cursor",
    [
        b"",
        b"xx",
        b"\xff",
        b"null",
        b"{}",
        b"[1, 2]",
        b'["a"]',
        b'["a", "b", "c"]',
        b'["a", null]',
        b'["\\ud800", "x"]',
        b'["a\\u0000", "x"]',
        b"[" * 2000,
    ],
)
def test_a_token_with_the_right_digest_and_a_wrong_cursor_is_refused(cursor: bytes) -> None:
    """The digest has no key: whoever reads the source can make one."""
    last = page(("v", "i"))
    right = Listing(listing.TURNS, ANN, Request())
    made = base64.urlsafe_b64decode(right.token(last) + "==")
    # What the digest is of stands before the cursor; an honest token shows how it is made.
    same = json.dumps(["turns", ANN.tenant_id, str(ANN.user_id), "", "", "create_time", True]).encode()
    assert hashlib.sha256(same + b"\x00" + made[16:]).digest()[:16] == made[:16]
    forged = hashlib.sha256(same + b"\x00" + cursor).digest()[:16] + cursor
    with pytest.raises(InvalidRequest) as refused:
        Listing(listing.TURNS, ANN, Request(page_token=base64.urlsafe_b64encode(forged).decode().rstrip("=")))
    assert refused.value.reason is Reason.PAGE_TOKEN_INVALID
