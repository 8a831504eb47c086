"""What a row of the table of paths is, and what rows share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, Final

from google.protobuf.message import Message

from responsa.admin.v1 import insight_pb2
from responsa.chat.v1 import feedback_pb2
from responsa_server.calls.violations import EXAMPLE
from responsa_server.transports.http.sessions import MAX_BODY

AUTH: Final = "/responsa.auth.v1.AuthService/"
ADMIN: Final = "/responsa.admin.v1.AdminService/"
KNOWLEDGE: Final = "/responsa.knowledge.v1.KnowledgeService/"
OPERATIONS: Final = "/google.longrunning.Operations/"
MAX_QUESTION_BODY: Final = 65_536
"""The largest body with a question, in bytes."""

Given = Mapping[str, Any]
Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class First:
    """A call that comes before a row's own. value: what of its response the row's functions find under `name` in the values."""

    call: str
    request: Callable[[Given], Message]
    response: type[Message]
    name: str
    value: Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class OriginalRow:
    """One path. methods: the HTTP methods. call: the RPC. request: makes its request from the values of the path, the
    query and the body, of which `fields` lists those that count, with their types; others are ignored, as the original
    systems did. shape: makes the reply's body from the response and the values. renamed: the fields of the contract's
    request that have other names here; of several names, the first that was given counts. remedies: what to send
    instead of a wrong value, by the names here, where the contract's words would be wrong here. limit: the maximum size
    of a body, in bytes. first: a call that comes before. alternatives: fields of which at most one may be given. items:
    the field of the response with the entries of a list, whose pages may be counted (`PAGED`). absent: the response in
    place of NOT_FOUND; None if that is an error. events: the name of a turn whose
    events the values have as `events`. form: whether a body may be a form with a file, which goes to
    UploadDocument.
    """

    methods: Sequence[str]
    path: str
    call: str
    request: Callable[[Given], Message]
    response: type[Message]
    shape: Callable[[Any, Given], Json | None]
    fields: Mapping[str, type | UnionType]
    code: int = 200
    renamed: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    remedies: Mapping[str, str] = field(default_factory=dict[str, str])
    limit: int = MAX_BODY
    first: First | None = None
    alternatives: Sequence[str] = ()
    items: str = ""
    absent: Callable[[Given], Message | None] = lambda _: None
    form: bool = False
    events: Callable[[Any], str] | None = None


PAGED: Final[Mapping[str, type | UnionType]] = {
    "limit": int,
    "size": int,
    "page_token": str,
    "skip": int,
    "page": int,
}
"""The fields of a list. limit, size: two names of the number of entries. A page begins after a token, after `skip`
entries, or after the pages before `page`, of which the first is 1."""
WHERE: Final = ("page_token", "skip", "page")
PAGE_SIZE: Final = ("limit", "size")


def page_size(values: Given) -> int:
    """The number of entries of a page; 0 if the request names none."""
    return values.get("limit", values.get("size", 0))


def name_of(kind: str, name: str) -> str:
    """The name of a resource. name: its id or the name itself, because the contract's errors and the other calls show names."""
    return name if name.startswith(f"{kind}/") else f"{kind}/{name}"


def id_of(name: str) -> str:
    """The last part of a name; "" for an empty one."""
    return name.rpartition("/")[2]


def opinion_of(feedback: feedback_pb2.Feedback | insight_pb2.GivenFeedback) -> Json:
    """What a user thinks of an answer. rating: up or down; None for a score of 3. score: None for a rating without one."""
    rating = (
        feedback_pb2.Rating.Name(feedback.rating).removeprefix("RATING_").lower() if feedback.rating else None
    )
    return {"rating": rating, "score": feedback.score or None, "comment": feedback.comment}


def user_of(values: Given) -> str:
    """The name of the user in the path."""
    return name_of("users", values["id"])


NAMED: Final[Mapping[str, Sequence[str]]] = {"name": ("id",), "subject": ("id",)}


UUID: Final = f"a UUID such as {EXAMPLE}"
IDENTIFIED: Final = {"id": f"must be {UUID}"}
"""The remedy for the id in a path, which cannot be a name with a slash."""


def row_of_one(
    methods: Sequence[str],
    path: str,
    call: str,
    request: Callable[[Given], Message],
    response: type[Message],
    shape: Callable[[Any], Json] | None = None,
) -> OriginalRow:
    """A path with the id of a resource and no fields. shape: makes the body of the reply; None for a reply without one."""
    return OriginalRow(
        methods,
        path,
        call,
        request,
        response,
        lambda reply, _: shape and shape(reply),
        {},
        code=200 if shape else 204,
        renamed=NAMED,
        remedies=IDENTIFIED,
    )


def row_of_list(
    path: str,
    call: str,
    request: Callable[..., Message],
    response: type[Message],
    items: str,
    shape: Callable[[Any], Json],
    *,
    where: Callable[[Given], Mapping[str, object]] = lambda _: {},
    key: str = "",
    fields: Mapping[str, type | UnionType] | None = None,
    renamed: Mapping[str, Sequence[str]] | None = None,
    remedies: Mapping[str, str] | None = None,
    head: Callable[[Given], Json] = lambda _: {},
    first: First | None = None,
    absent: Callable[[Given], Message | None] = lambda _: None,
) -> OriginalRow:
    """A path with a list in pages. request: the class of the RPC's request. shape: makes an entry of the reply. where:
    the request's further fields. key: the name of the list in the reply, if it is not `items`. head: what the reply has
    beside the list."""
    return OriginalRow(
        ("GET",),
        path,
        call,
        lambda values: request(
            page_size=page_size(values),
            page_token=values.get("page_token", ""),
            with_total_size=True,
            **where(values),
        ),
        response,
        lambda reply, values: {
            **head(values),
            key or items: [shape(entry) for entry in getattr(reply, items)],
            "next_page_token": reply.next_page_token or None,
            "total": reply.total_size,
        },
        {**(fields or {}), **PAGED},
        renamed={"page_size": PAGE_SIZE, **(renamed or {})},
        remedies=remedies or {},
        alternatives=WHERE,
        items=items,
        first=first,
        absent=absent,
    )
