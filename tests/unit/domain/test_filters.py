"""Filters: which texts are read, what they mean, and what the errors say."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responsa_server.domain import lists
from responsa_server.domain.errors import InvalidRequest, Reason
from responsa_server.domain.filters import MAX_COMPARISONS, MAX_DEPTH, filterable, parse_filter
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
    Order,
    TimeSpan,
    Wildcard,
)

PROTOS = Path(__file__).resolve().parents[3] / "protos"


def parsed(text: str, rules: ListRules = lists.CONVERSATIONS) -> list[tuple[str, str, str]]:
    """The comparisons of a filter without OR, NOT and parentheses."""
    found = parse_filter(rules, text)
    comparisons = [one for one in found if isinstance(one, FilterComparison)]
    assert len(comparisons) == len(found)
    return [
        (".".join((comparison.field, *comparison.path)), comparison.operator.value, str(comparison.value))
        for comparison in comparisons
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ('title : "two words"', [("title", ":", "two words")]),
        (r'title = "a \"b\" \\ c"', [("title", "=", 'a "b" \\ c')]),
        ('title = "x AND y"', [("title", "=", "x AND y")]),
        ("create_time>=2026-01-31T00:00:00Z", [("create_time", ">=", "2026-01-31 00:00:00+00:00")]),
        ("labels.topic = rivers", [("labels.topic", "=", "rivers")]),
        ('labels."my topic" : x', [("labels.my topic", ":", "x")]),
        ('title != a AND title!="b"', [("title", "!=", "a"), ("title", "!=", "b")]),
        ("title = ANDROID AND title = x", [("title", "=", "ANDROID"), ("title", "=", "x")]),
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
        "title = x title = y",
        "title = x ANDtitle = y",
        "(title = x",
        "title = x NOT title = y",
        'title = "open',
        "labels = x",
        "title.x = y",
        "title = x; DROP TABLE turn",
        " AND ".join(["title = x"] * (MAX_COMPARISONS + 1)),
        "(" * (MAX_DEPTH + 1) + "title = x" + ")" * (MAX_DEPTH + 1),
        "NOT " * (MAX_DEPTH + 1) + "title = x",
        'title = "*a*b*c*d*"',
    ],
)
def test_filters_that_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parsed(text)
    assert caught.value.reason is Reason.FILTER_INVALID
    assert caught.value.metadata == {
        "filterable": "title,pinned,archived,origin,create_time,update_time,labels.KEY"
    }
    assert caught.value.violations[0].field == "filter"


KINDS = ListRules(
    "kinds",
    (
        Field("title"),
        Field("labels", FieldKind.LABELS),
        Field("state", FieldKind.ENUM, values={"READY": "ready", "STATE_READY": "ready"}),
        Field("conversation", FieldKind.NAME, prefix="conversations"),
        Field("create_time", FieldKind.TIME),
        Field("hidden", filterable=False),
        Field("collection", FieldKind.COLLECTION, prefix="collections"),
        Field("size_bytes", FieldKind.NUMBER),
        Field("metadata", FieldKind.JSON),
    ),
    (Order("title"), Order("create_time"), Order("size_bytes")),
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("title = READY", "READY"),
        ("state = READY", "ready"),
        ("state != STATE_READY", "ready"),
        (f"conversation = conversations/{UUID(int=2)}", UUID(int=2)),
        ('create_time < "2026-11-20T14:00:03+02:00"', datetime(2026, 11, 20, 12, 0, 3, tzinfo=UTC)),
        ("labels.team : x", "x"),
        ("labels : team", "team"),
        ("create_time < 2026", TimeSpan(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))),
        (
            "create_time=2026-12",
            TimeSpan(datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        ),
        (
            'create_time > "2024-02-29"',
            TimeSpan(datetime(2024, 2, 29, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)),
        ),
        ("title = a*b", Wildcard(("a", "b"))),
        (r'title != "*a\*"', Wildcard(("", "a*"))),
        (r'title = "a\*"', "a*"),
        ("title : a*", "a*"),
        ("collection = collections/law", "law"),
        ('collection = "collections/law-*"', Wildcard(("law-", ""))),
        ("size_bytes >= 1024", 1024),
        ("metadata.year = 2025", JsonLiteral("2025", ("2025", 2025.0), 2025.0)),
        ('metadata.year = "2025"', JsonLiteral("2025", ("2025",))),
        ("metadata.done = true", JsonLiteral("true", ("true", True))),
        ('metadata.a."b c".d : *', JsonLiteral("*", ("*",))),
    ],
)
def test_values_are_read_as_their_kind(text: str, value: object) -> None:
    (found,) = parse_filter(KINDS, text)
    assert isinstance(found, FilterComparison)
    assert found.value == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nothing = 1", "there is no field `nothing` (character 1)"),
        ("labels = 1", "labels at character 1 needs a key, as in `labels.KEY = x`"),
        ("labels.team < 1", "labels.team cannot be compared with '<'"),
        ("state = ready", "state is one of READY, STATE_READY"),
        ('create_time = "2026-11-20T12:00:00"', "'2026-11-20T12:00:00' is not a value of create_time"),
        ("create_time = soon", "'soon' is not a value of create_time"),
        (
            "title = x AND create_time = 2026-02-30",
            "write a day such as 2026-01-31, a month, a year, or an RFC 3339 time",
        ),
        ("collection = Law", "'Law' is not a value of collection; write collections/{id}"),
        ("size_bytes = 1e3", "'1e3' is not a value of size_bytes; write a whole number (character 14)"),
        ("title = x title = y", "expected AND or OR at character 11 between comparisons"),
        ("(title = x", "expected `)` at character 11 for the `(` at character 1"),
        ("title = x AND (", "expected a field at character 16"),
        (f"conversation = turns/{UUID(int=1)}", "is not a value of conversation"),
    ],
)
def test_a_value_that_its_field_cannot_have_is_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_filter(KINDS, text)
    assert caught.value.reason is Reason.FILTER_INVALID
    assert caught.value.metadata == {
        "filterable": "title,labels.KEY,state,conversation,create_time,collection,size_bytes,metadata.KEY"
    }
    assert says in caught.value.message
    assert caught.value.message.endswith(
        "; fields: title,labels.KEY,state,conversation,create_time,collection,size_bytes,metadata.KEY"
    )


@given(st.text(max_size=200))
def test_no_filter_breaks_the_parser(text: str) -> None:
    try:
        parse_filter(lists.SEARCHED, text)
    except InvalidRequest as error:
        assert error.reason is Reason.FILTER_INVALID  # noqa: PT017


TOKENS = (
    "title", "labels.team", "metadata.a.b", "date", "owner", "collection", "=", "!=", "<", ">=", ":", "(", ")", "AND", "OR", "NOT", "-",
    "x", '"a b"',
    "*", "2025", "2025-13", "0000", "9999", "99999-01-01", "1e400", "-1", "'", '"', "\\", "users/x", "collections/a*", "--", ";", ",", "\n",
    "\u202e",
)  # fmt: skip


@given(st.lists(st.sampled_from(TOKENS), max_size=40).map(" ".join))
def test_nothing_that_looks_like_a_filter_breaks_the_parser(text: str) -> None:
    try:
        expression = parse_filter(lists.SEARCHED, text)
    except InvalidRequest as error:
        (violation,) = error.violations
        assert (error.reason, violation.field) == (Reason.FILTER_INVALID, "filter")  # noqa: PT017
        assert "; fields: source_key," in violation.description
    else:
        assert bool(expression) == bool(text.strip())


@given(st.text(max_size=100))
def test_a_quoted_value_is_read_as_it_was_meant(value: str) -> None:
    quoted = re.sub(r"([\\\"*])", r"\\\1", value)
    assert parse_filter(lists.CONVERSATIONS, f'title = "{quoted}"') == (
        FilterComparison("title", Operator.EQ, value),
    )


A, B, C, D = (FilterComparison("title", Operator.EQ, letter) for letter in "abcd")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("title=a OR title=b", (AnyOf((A, B)),)),
        ("title=a AND title=b OR title=c", (A, AnyOf((B, C)))),
        ("title=a OR title=b AND title=c OR title=d", (AnyOf((A, B)), AnyOf((C, D)))),
        ("(title=a AND title=b) OR title=c", (AnyOf((AllOf((A, B)), C)),)),
        ("NOT title=a AND title=b", (Negation(A), B)),
        ("-title=a OR -(title=b AND title=c)", (AnyOf((Negation(A), Negation(AllOf((B, C))))),)),
        ("NOT(title=a)", (Negation(A),)),
        ("NOT NOT title=a", (Negation(Negation(A)),)),
        ("((title=a))", (A,)),
        ("title=a AND(title=b)", (A, B)),
    ],
)
def test_or_binds_tighter_than_and(text: str, expected: tuple[Filter, ...]) -> None:
    assert tuple(parse_filter(KINDS, text)) == expected


def test_an_error_names_the_field_of_the_request() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_filter(lists.SEARCHED, "tags = a", "requests[2].scope.filter")
    assert caught.value.violations[0].field == "requests[2].scope.filter"
    assert caught.value.message.startswith(
        "requests[2].scope.filter: there is no field `tags` (character 1); "
    )


def test_the_contract_documents_the_fields_of_searches() -> None:
    written = re.sub(r"\n *// ", " ", (PROTOS / "responsa/type/v1/scope.proto").read_text())
    fields = re.search(r"on these fields: ((?:[a-z_]+(?:\.KEY)?(?:, )?)+)\. ", written)
    assert fields is not None
    assert tuple(fields[1].split(", ")) == filterable(lists.SEARCHED)
    assert f"at most {MAX_COMPARISONS} comparisons, each within at most {MAX_DEPTH} parentheses" in written
