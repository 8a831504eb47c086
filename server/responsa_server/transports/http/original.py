"""The paths and shapes of the systems that Responsa replaces: /auth/*, /users/*, /chat/*, /jobs/*, /feedback and /analytics/*. Each is a row of a table that leads to a call of the contract (docs/adr says why).

Requests and replies are plain JSON objects: tokens as in OAuth 2.0 (RFC 6749, section 5.1), a user with `id`, `email`, `name`, `role`, `is_active` and
`created_at`, an error as {"detail": …, "code": …}. The status codes are those of the contract's REST paths.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, cast

from google.longrunning import operations_proto_pb2 as operations
from google.protobuf import json_format
from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa.admin.v1 import insight_pb2, source_pb2
from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.auth.v1 import deletion_receipt_pb2, session_pb2, usage_report_pb2, user_pb2
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1 import feedback_pb2, turn_pb2
from responsa.knowledge.v1 import document_pb2, subject_profile_pb2
from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa_server.calls import status
from responsa_server.calls.call import CALL_ID, Call, peer_of
from responsa_server.calls.chain import Calls
from responsa_server.calls.interceptors.access import metadata_of_headers
from responsa_server.calls.listing import MAX_PAGE_SIZE
from responsa_server.calls.violations import EXAMPLE
from responsa_server.domain.errors import FieldViolation, InvalidRequest, ResponsaError
from responsa_server.transports.http.sessions import MAX_BODY, json_of

_AUTH: Final = "/responsa.auth.v1.AuthService/"
_ADMIN: Final = "/responsa.admin.v1.AdminService/"
_CHAT: Final = "/responsa.chat.v1.ChatService/"
_KNOWLEDGE: Final = "/responsa.knowledge.v1.KnowledgeService/"
_OPERATIONS: Final = "/google.longrunning.Operations/"
_MAX_QUESTION_BODY: Final = 65_536

Given = Mapping[str, Any]
Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Row:
    """One path. methods: the HTTP methods. call: the RPC. request: makes its request from the values of the path, the query and the body, of which `fields` lists those
    that may be given, with their types. shape: makes the reply's body from the response and the values. renamed: the fields of the contract's request that have other
    names here; of several names, the first that was given counts. remedies: what to send instead of a wrong value, by the names here, where the contract's words
    would be wrong here. most: the maximum size of a body, in bytes. of_subject: whether the call is about the subject
    of a user: the value `subject` then is the one of the user in the path.
    """

    methods: Sequence[str]
    path: str
    call: str
    request: Callable[[Given], Message]
    response: type[Message]
    shape: Callable[[Any, Given], Json | None]
    fields: Mapping[str, type]
    code: int = 200
    renamed: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    remedies: Mapping[str, str] = field(default_factory=dict[str, str])
    most: int = MAX_BODY
    of_subject: bool = False


def _tokens(found: session_pb2.SessionTokens) -> Json:
    left = found.access_expire_time.ToDatetime(tzinfo=UTC) - datetime.now(UTC)
    return {
        "access_token": found.access_token,
        "refresh_token": found.refresh_token,
        "token_type": "bearer",
        "expires_in": max(0, round(left.total_seconds())),
    }


def _user(found: user_pb2.User) -> Json:
    return {
        "id": found.name.removeprefix("users/"),
        "email": found.email,
        "name": found.display_name,
        "role": user_pb2.UserRole.Name(found.role).removeprefix("USER_ROLE_").lower(),
        "is_active": not found.HasField("disable_time"),
        "created_at": found.create_time.ToJsonString(),
    }


def _users(found: admin.ListUsersResponse) -> Json:
    return {"users": [_user(user) for user in found.users], "next_page_token": found.next_page_token or None}


def _named(given: Given) -> str:
    return _name("users", given["id"])


def _name(kind: str, given: str) -> str:
    """The name of a resource. given: its id or the name itself, because the contract's errors and the other calls show names."""
    return given if given.startswith(f"{kind}/") else f"{kind}/{given}"


def _id(name: str) -> str:
    """The last part of a name; "" for an empty one."""
    return name.rpartition("/")[2]


def _document(one: subject_profile_pb2.ProfileDocument) -> dict[str, object]:
    document = one.document
    return {
        "id": _id(document.name),
        "kind": one.kind,
        "title": document.title,
        "metadata": json_format.MessageToDict(document.metadata),
        "state": document_pb2.DocumentState.Name(document.state).removeprefix("DOCUMENT_STATE_").lower(),
        "updated_at": document.update_time.ToJsonString(),
    }


def _profile(found: subject_profile_pb2.SubjectProfile) -> Json:
    return {
        "user_id": _id(found.user) or None,
        "subject": found.subject,
        "document_count": found.document_count,
        "sources": [
            {
                "source": _id(part.source) or None,
                "name": part.source_display_name,
                "documents": [_document(document) for document in part.documents],
                "failed_rows": part.failed_rows,
                "job_id": _id(part.newest_run) or None,
                "synced_at": part.sync_time.ToJsonString() if part.HasField("sync_time") else None,
            }
            for part in found.parts
        ],
    }


def _documents(found: subject_profile_pb2.SubjectProfile) -> Json:
    documents = [
        {**_document(document), "source": _id(part.source) or None}
        for part in found.parts
        for document in part.documents
    ]
    return {"documents": documents, "document_count": found.document_count}


def _exchange(turn: turn_pb2.Turn) -> dict[str, object]:
    """A question with its answer. A refusal's text is the answer, too; `outcome` tells them apart."""
    event = turn.terminal_event
    outcome = event.WhichOneof("event")
    text = {
        "answer": event.answer.text,
        "refused": event.refused.message,
        "failed": event.failed.status.message,
    }
    return {
        "id": _id(turn.name),
        "conversation_id": _id(turn.conversation) or None,
        "question": turn.text,
        "outcome": {"answer": "answered", None: "pending"}.get(outcome, outcome),
        "answer": text.get(outcome or "", ""),
        "category": event.answer.category,
        "sources": [
            {
                "title": citation.title,
                "quote": citation.quote,
                "document_id": citation.document_version.split("/")[1],
            }
            for citation in event.answer.citations
            if citation.document_version
        ],
        "created_at": turn.create_time.ToJsonString(),
    }


def _history(found: chat.ListTurnsResponse) -> Json:
    return {
        "history": [_exchange(turn) for turn in found.turns],
        "next_page_token": found.next_page_token or None,
    }


def _job(found: operations.Operation) -> Json:
    metadata, result = source_pb2.SyncMetadata(), source_pb2.SyncResult()
    run = found.metadata.Unpack(metadata)
    failed = found.HasField("error")
    return {
        "id": _id(found.name),
        "state": "failed" if failed else "done" if found.done else "running",
        "error": found.error.message if failed else None,
        "progress": {"done": metadata.documents_done, "total": metadata.documents_total} if run else None,
        "result": json_format.MessageToDict(
            result, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        if found.response.Unpack(result)
        else None,
    }


def _feedback(found: feedback_pb2.Feedback) -> Json:
    return {
        "message_id": found.name.split("/")[1],
        "rating": feedback_pb2.Rating.Name(found.rating).removeprefix("RATING_").lower(),
        "comment": found.comment,
        "created_at": found.create_time.ToJsonString(),
        "updated_at": found.update_time.ToJsonString(),
    }


def _given_feedback(found: insight_pb2.GivenFeedback) -> dict[str, object]:
    return {
        "message_id": found.feedback.split("/")[1],
        "turn_id": _id(found.turn),
        "user_id": _id(found.user),
        "agent": _id(found.agent),
        "rating": feedback_pb2.Rating.Name(found.rating).removeprefix("RATING_").lower(),
        "comment": found.comment,
        "state": insight_pb2.FeedbackState.Name(found.state).removeprefix("FEEDBACK_STATE_").lower(),
        "created_at": found.create_time.ToJsonString(),
        "updated_at": found.update_time.ToJsonString(),
    }


def _all_feedback(found: admin.ListFeedbackResponse) -> Json:
    return {
        "feedback": [_given_feedback(one) for one in found.feedback],
        "next_page_token": found.next_page_token or None,
    }


def _feedback_filter(given: Given) -> str:
    """The filter of the values that were given."""
    wanted = {name: given[name].upper() for name in ("rating", "state") if name in given}
    if "agent" in given:
        wanted["agent"] = _name("agents", given["agent"])
    if "user_id" in given:
        wanted["user"] = _name("users", given["user_id"])
    return " AND ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in wanted.items())


def _feedback_stats(found: admin.GetFeedbackStatsResponse) -> Json:
    return {
        "agents": [
            {
                "agent": _id(one.agent),
                "up": one.up,
                "down": one.down,
                "commented": one.commented,
                "open": one.open,
            }
            for one in found.counts
        ],
        "complete_through": found.complete_through.ToJsonString(),
    }


def _usage(found: admin.QueryUsageResponse | auth.QueryMyUsageResponse) -> Json:
    return {
        "usage": [
            {
                "date": one.start_time.ToJsonString()[:10],
                "agent": _id(one.agent) or None,
                "questions": one.answered_turns + one.refused_turns + one.failed_turns + one.cancelled_turns,
                **{
                    name: getattr(one, name)
                    for name in (
                        "answered_turns",
                        "refused_turns",
                        "failed_turns",
                        "cancelled_turns",
                        "searches",
                        "uploads",
                        "sign_ins",
                        "tool_calls",
                        "input_tokens",
                        "output_tokens",
                        "cost_usd_micros",
                    )
                },
            }
            for one in found.rows
        ],
        "complete_through": found.complete_through.ToJsonString(),
    }


def _granularity(given: Given) -> usage_report_pb2.UsageGranularity.ValueType:
    """The length of the periods. Another word becomes the value that the contract refuses, after the check of the credential."""
    return _GRANULARITIES.get(given.get("by", "day"), _UNKNOWN_GRANULARITY)


_GRANULARITIES: Final = {
    "hour": usage_report_pb2.USAGE_GRANULARITY_HOUR,
    "day": usage_report_pb2.USAGE_GRANULARITY_DAY,
    "week": usage_report_pb2.USAGE_GRANULARITY_WEEK,
    "month": usage_report_pb2.USAGE_GRANULARITY_MONTH,
}
# A number that the contract refuses.
_UNKNOWN_GRANULARITY: Final = cast("usage_report_pb2.UsageGranularity.ValueType", 99)
_BY_AGENT: Final = (usage_report_pb2.USAGE_DIMENSION_AGENT,)
_RATINGS: Final = {"up": feedback_pb2.RATING_UP, "down": feedback_pb2.RATING_DOWN}


def _rating(given: Given) -> feedback_pb2.Rating.ValueType:
    """The rating. Another word becomes the value that the contract refuses, after the check of the credential."""
    return _RATINGS.get(given.get("rating", ""), feedback_pb2.RATING_UNSPECIFIED)


def _subject(given: Given) -> str:
    """The subject of a path; "" for the caller."""
    return "" if given["id"] == "me" else _named(given)


def _conversation(given: Given) -> str:
    identity = given.get("conversation_id", "")
    return "" if identity in ("", "new") else _name("conversations", identity)


_NAMED: Final[Mapping[str, Sequence[str]]] = {"name": ("id",), "subject": ("id",)}
_UUID: Final = f"a UUID such as {EXAMPLE}"
_IDENTIFIED: Final = {"id": f"must be {_UUID}"}
"""The remedy for the id in a path, which cannot be a name with a slash."""
_PERIODS: Final = {"by": "must be hour, day, week or month"}
_CONVERSATION_ID: Final = {"conversation_id": f"must be {_UUID}, or new"}

ROWS: Final[Sequence[Row]] = (
    Row(
        ("POST",),
        "/auth/register",
        _AUTH + "Register",
        lambda given: auth.RegisterRequest(
            email=given.get("email", ""),
            password=given.get("password", ""),
            display_name=given.get("name", ""),
            invitation=given.get("invitation", ""),
            tenant=given.get("tenant", ""),
        ),
        Empty,
        # The reply says nothing about the account, as that of the call: the address may be taken.
        lambda _, given: {"email": given.get("email", ""), "name": given.get("name", "")},
        {"email": str, "password": str, "name": str, "invitation": str, "tenant": str},
        code=201,
        renamed={"display_name": ("name",)},
    ),
    Row(
        ("POST",),
        "/auth/login",
        _AUTH + "Login",
        lambda given: auth.LoginRequest(
            email=given.get("email", ""),
            password=given.get("password", ""),
            tenant=given.get("tenant", ""),
        ),
        auth.LoginResponse,
        lambda found, _: {**_tokens(found.tokens), "user": _user(found.user)},
        {"email": str, "password": str, "tenant": str},
    ),
    Row(
        ("POST",),
        "/auth/refresh",
        _AUTH + "RefreshToken",
        lambda given: auth.RefreshTokenRequest(
            refresh_token=given.get("refresh_token", ""), request_id=given.get("request_id", "")
        ),
        auth.RefreshTokenResponse,
        lambda found, _: _tokens(found.tokens),
        {"refresh_token": str, "request_id": str},
    ),
    Row(
        ("POST",),
        "/auth/logout",
        _AUTH + "Logout",
        lambda given: auth.LogoutRequest(refresh_token=given.get("refresh_token", "")),
        Empty,
        lambda _found, _given: None,
        {"refresh_token": str},
        code=204,
    ),
    Row(
        ("GET",),
        "/users/me",
        _AUTH + "GetMe",
        lambda _: auth.GetMeRequest(),
        user_pb2.User,
        lambda found, _: _user(found),
        {},
    ),
    Row(
        ("PATCH", "PUT"),
        "/users/me",
        _AUTH + "UpdateMe",
        lambda given: auth.UpdateMeRequest(
            user=user_pb2.User(display_name=given.get("name", "")),
            update_mask=FieldMask(paths=["display_name"] if "name" in given else []),
        ),
        user_pb2.User,
        lambda found, _: _user(found),
        {"name": str},
        renamed={"user.display_name": ("name",), "display_name": ("name",), "update_mask": ("name",)},
    ),
    Row(
        ("GET",),
        "/users",
        _ADMIN + "ListUsers",
        lambda given: admin.ListUsersRequest(
            page_size=given.get("limit"), page_token=given.get("page_token", "")
        ),
        admin.ListUsersResponse,
        lambda found, _: _users(found),
        {"limit": int, "page_token": str},
        renamed={"page_size": ("limit",)},
    ),
    Row(
        ("GET",),
        "/users/email/{email}",
        _ADMIN + "LookupUser",
        lambda given: admin.LookupUserRequest(email=given["email"]),
        user_pb2.User,
        lambda found, _: _user(found),
        {},
    ),
    Row(
        ("GET",),
        "/users/{id}",
        _ADMIN + "GetUser",
        lambda given: admin.GetUserRequest(name=_named(given)),
        user_pb2.User,
        lambda found, _: _user(found),
        {},
        renamed=_NAMED,
        remedies=_IDENTIFIED,
    ),
    Row(
        ("DELETE",),
        "/users/me",
        _AUTH + "DeleteMe",
        lambda given: auth.DeleteMeRequest(),
        deletion_receipt_pb2.DeletionReceipt,
        lambda found, _: None,
        {},
        code=204,
    ),
    Row(
        ("DELETE",),
        "/users/{id}",
        _ADMIN + "DeleteUser",
        lambda given: admin.DeleteUserRequest(name=_named(given)),
        deletion_receipt_pb2.DeletionReceipt,
        lambda found, _: None,
        {},
        code=204,
        renamed=_NAMED,
        remedies=_IDENTIFIED,
    ),
    Row(
        ("POST",),
        "/users/{id}/disable",
        _ADMIN + "DisableUser",
        lambda given: admin.DisableUserRequest(name=_named(given)),
        user_pb2.User,
        lambda found, _: _user(found),
        {},
        renamed=_NAMED,
        remedies=_IDENTIFIED,
    ),
    Row(
        ("POST",),
        "/users/{id}/enable",
        _ADMIN + "EnableUser",
        lambda given: admin.EnableUserRequest(name=_named(given)),
        user_pb2.User,
        lambda found, _: _user(found),
        {},
        renamed=_NAMED,
        remedies=_IDENTIFIED,
    ),
    Row(
        ("GET",),
        "/users/{id}/profile",
        _KNOWLEDGE + "GetSubjectProfile",
        lambda given: knowledge.GetSubjectProfileRequest(subject=_subject(given)),
        subject_profile_pb2.SubjectProfile,
        lambda found, _: _profile(found),
        {},
        renamed=_NAMED,
        remedies=_IDENTIFIED,
    ),
    Row(
        ("GET",),
        "/users/{id}/documents",
        _KNOWLEDGE + "GetSubjectProfile",
        lambda given: knowledge.GetSubjectProfileRequest(subject=_subject(given)),
        subject_profile_pb2.SubjectProfile,
        lambda found, _: _documents(found),
        {},
        renamed=_NAMED,
        remedies=_IDENTIFIED,
    ),
    *(
        Row(
            ("POST",),
            f"/users/{{id}}/{what}",
            _ADMIN + "NotifySubjectChanged",
            lambda given, cause=cause: admin.NotifySubjectChangedRequest(
                subject=given["subject"], cause=cause, request_id=given.get("request_id", "")
            ),
            admin.NotifySubjectChangedResponse,
            lambda found, _: {"jobs": [_job(operation) for operation in found.operations]},
            {"request_id": str},
            code=202,
            renamed=_NAMED,
            remedies=_IDENTIFIED,
            of_subject=True,
        )
        for what, cause in (("reprocess", "reprocess"), ("test-completed", "test completed"))
    ),
    Row(
        ("POST",),
        "/chat/question",
        _CHAT + "Answer",
        lambda given: chat.AnswerRequest(
            text=given.get("question", ""),
            conversation=_conversation(given),
            agent=_name("agents", given["agent"]) if given.get("agent") else "",
            request_id=given.get("request_id", ""),
        ),
        turn_pb2.Turn,
        lambda found, _: _exchange(found),
        {"question": str, "conversation_id": str, "agent": str, "request_id": str},
        renamed={"text": ("question",), "conversation": ("conversation_id",)},
        remedies=_CONVERSATION_ID,
        most=_MAX_QUESTION_BODY,
    ),
    Row(
        ("GET",),
        "/chat/history",
        _CHAT + "ListTurns",
        lambda given: chat.ListTurnsRequest(
            page_size=given.get("limit"),
            page_token=given.get("page_token", ""),
            filter=f"conversation = {json.dumps(_conversation(given))}" if _conversation(given) else "",
        ),
        chat.ListTurnsResponse,
        lambda found, _: _history(found),
        {"conversation_id": str, "limit": int, "page_token": str},
        renamed={"page_size": ("limit",), "filter": ("conversation_id",)},
        remedies=_CONVERSATION_ID,
    ),
    Row(
        ("GET",),
        "/jobs/{id}",
        _OPERATIONS + "GetOperation",
        lambda given: operations.GetOperationRequest(name=f"operations/{given['id']}"),
        operations.Operation,
        lambda found, _: _job(found),
        {},
        renamed=_NAMED,
        remedies=_IDENTIFIED,
    ),
    Row(
        ("POST",),
        "/feedback",
        _CHAT + "SubmitFeedback",
        lambda given: chat.SubmitFeedbackRequest(
            message=_name("messages", given["message_id"])
            if "message_id" in given
            else _name("turns", given.get("turn_id", "")),
            rating=_rating(given),
            comment=given.get("comment", ""),
        ),
        feedback_pb2.Feedback,
        lambda found, _: _feedback(found),
        {"turn_id": str, "message_id": str, "rating": str, "comment": str},
        renamed={"message": ("turn_id", "message_id")},
        remedies={
            "turn_id": f"must be the id of a turn: {_UUID}",
            "message_id": f"must be the id of a message: {_UUID}",
            "rating": "must be up or down",
        },
    ),
    Row(
        ("GET",),
        "/feedback",
        _ADMIN + "ListFeedback",
        lambda given: admin.ListFeedbackRequest(
            page_size=given.get("limit"),
            page_token=given.get("page_token", ""),
            filter=_feedback_filter(given),
        ),
        admin.ListFeedbackResponse,
        lambda found, _: _all_feedback(found),
        {"rating": str, "state": str, "agent": str, "user_id": str, "limit": int, "page_token": str},
        renamed={"page_size": ("limit",), "filter": ("rating", "state", "agent", "user_id")},
    ),
    Row(
        ("GET",),
        "/feedback/stats",
        _ADMIN + "GetFeedbackStats",
        lambda _: admin.GetFeedbackStatsRequest(),
        admin.GetFeedbackStatsResponse,
        lambda found, _: _feedback_stats(found),
        {},
    ),
    Row(
        ("GET",),
        "/analytics/usage",
        _AUTH + "QueryMyUsage",
        lambda given: auth.QueryMyUsageRequest(granularity=_granularity(given), group_by=_BY_AGENT),
        auth.QueryMyUsageResponse,
        lambda found, _: _usage(found),
        {"by": str},
        renamed={"granularity": ("by",)},
        remedies=_PERIODS,
    ),
    Row(
        ("GET",),
        "/analytics/system",
        _ADMIN + "QueryUsage",
        lambda given: admin.QueryUsageRequest(granularity=_granularity(given), group_by=_BY_AGENT),
        admin.QueryUsageResponse,
        lambda found, _: _usage(found),
        {"by": str},
        renamed={"granularity": ("by",)},
        remedies=_PERIODS,
    ),
    Row(
        ("GET",),
        "/analytics/users/{id}",
        _ADMIN + "QueryUsage",
        lambda given: admin.QueryUsageRequest(
            user=_named(given), granularity=_granularity(given), group_by=_BY_AGENT
        ),
        admin.QueryUsageResponse,
        lambda found, _: _usage(found),
        {"by": str},
        renamed={"granularity": ("by",), "user": ("id",)},
        remedies={**_PERIODS, **_IDENTIFIED},
    ),
)


def original_routes(calls: Calls) -> Iterator[BaseRoute]:
    """The routes of all rows."""
    for row in ROWS:
        yield Route(row.path, _Path(calls, row).serve, methods=list(row.methods))


class _Path:
    """Serves one row."""

    def __init__(self, calls: Calls, row: Row) -> None:
        self._calls = calls
        self._row = row

    async def serve(self, request: Request) -> Response:
        """Make the call, and shape its response or its error."""
        row = self._row
        headers = request.headers
        metadata = {
            **metadata_of_headers(headers.items()),
            "user-agent": [headers.get("user-agent", "")],
        }
        call = Call(row.call, metadata, f"http {peer_of(request.scope.get('client'))}")
        try:
            given = await self._given(request, call)
        except ResponsaError as error:
            return self._problem(error, call, [*error.violations])
        try:
            if row.of_subject:
                wanted = knowledge.GetSubjectProfileRequest(
                    subject=_subject(given), read_mask=FieldMask(paths=["subject"])
                )
                call = Call(_KNOWLEDGE + "GetSubjectProfile", metadata, call.peer)
                profile = await self._calls.answer(call, wanted, subject_profile_pb2.SubjectProfile)
                given = {**given, "subject": profile.subject}
                call = Call(row.call, metadata, call.peer)
            found = await self._calls.answer(call, row.request(given), row.response)
        except ResponsaError as error:
            return self._problem(
                error, call, [self._here(violation, given) for violation in error.violations]
            )
        body = row.shape(found, given)
        sent = {"cache-control": "no-store", CALL_ID: call.id}
        if body is None:
            return Response(status_code=row.code, headers=sent)
        return JSONResponse(body, status_code=row.code, headers=sent)

    async def _given(self, request: Request, call: Call) -> Given:
        """The values of the path, and those of the query or the body. Raises InvalidRequest."""
        row = self._row
        if request.method in ("GET", "HEAD"):
            pairs: list[tuple[str, object]] = [
                (name, _number(name, value) if row.fields.get(name) is int else value)
                for name, value in request.query_params.multi_items()
            ]
        elif row.fields:
            with self._calls.arriving(call):
                pairs = [*(await json_of(request, row.most, optional=True)).items()]
        else:
            pairs = []
        found: dict[str, object] = {}
        for name, value in pairs:
            kind = row.fields.get(name)
            if kind is None or name in found:
                known = ", ".join(row.fields) or "no fields"
                raise InvalidRequest.of_field(
                    name[:64], "unknown_field", f"this path takes {known}, each once"
                )
            if not isinstance(value, kind):
                raise InvalidRequest.of_field(name, "type", "must be a text")
            if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
                raise InvalidRequest.of_field(name, "string", "must not contain halves of surrogate pairs")
            found[name] = value
        return {**found, **cast("Mapping[str, object]", request.path_params)}

    def _here(self, one: FieldViolation, given: Given) -> FieldViolation:
        """A violation of the contract's request in the names and the words of this path."""
        names = self._row.renamed.get(one.field, (one.field,))
        name = next((name for name in names if name in given), names[0])
        return replace(one, field=name, description=self._row.remedies.get(name, one.description))

    def _problem(self, error: ResponsaError, call: Call, violations: Sequence[FieldViolation]) -> Response:
        """The response for an error. violations: those of the error, in the names of this path."""
        found = status.of(error)
        body: dict[str, object] = {"detail": found.message, "code": error.reason.value}
        if error.violations:
            # The message begins with the first violation, in the words of the contract.
            first, here = error.violations[0], violations[0]
            told = f"{first.field}: {first.description}"
            if found.message.startswith(told):
                body["detail"] = f"{here.field}: {here.description}{found.message.removeprefix(told)}"
            body["errors"] = [
                {"field": violation.field, "message": violation.description}
                for violation in violations[: status.MAX_VIOLATIONS]
            ]
        headers = {"cache-control": "no-store", CALL_ID: call.id}
        if (seconds := status.retry_after(error)) is not None:
            headers["retry-after"] = seconds
        return JSONResponse(body, status_code=status.http_status(found), headers=headers)


def _number(name: str, text: str) -> int:
    plain = text.isascii() and text.isdecimal() and len(text) <= 9
    if not plain or not 1 <= int(text) <= MAX_PAGE_SIZE:
        raise InvalidRequest.of_field(name, "type", f"must be a whole number from 1 to {MAX_PAGE_SIZE}")
    return int(text)
