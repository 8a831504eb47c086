"""The paths and shapes of the systems that Responsa replaces: /auth/* and /users/*. Each is a row of a table that leads to a call of the contract (docs/adr says why).

Requests and replies are plain JSON objects: tokens as in OAuth 2.0 (RFC 6749, section 5.1), a user with `id`, `email`, `name`, `role`, `is_active` and
`created_at`, an error as {"detail": …, "code": …}. The status codes are those of the contract's REST paths.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, cast

from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.auth.v1 import deletion_receipt_pb2, session_pb2, user_pb2
from responsa_server.calls import status
from responsa_server.calls.call import CALL_ID, Call, peer_of
from responsa_server.calls.chain import Calls
from responsa_server.calls.interceptors.access import metadata_of_headers
from responsa_server.domain.errors import InvalidRequest, ResponsaError
from responsa_server.transports.http.sessions import json_of

_AUTH: Final = "/responsa.auth.v1.AuthService/"
_ADMIN: Final = "/responsa.admin.v1.AdminService/"

Given = Mapping[str, Any]
Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Row:
    """One path. methods: the HTTP methods. call: the RPC. request: makes its request from the values of the path, the query and the body, of which `fields` lists those
    that may be given, with their types. shape: makes the reply's body from the response and the values. renamed: the fields of the contract's request that have other
    names here.
    """

    methods: Sequence[str]
    path: str
    call: str
    request: Callable[[Given], Message]
    response: type[Message]
    shape: Callable[[Any, Given], Json | None]
    fields: Mapping[str, type]
    code: int = 200
    renamed: Mapping[str, str] = field(default_factory=dict[str, str])


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
    return {"users": [_user(one) for one in found.users], "next_page_token": found.next_page_token or None}


def _named(given: Given) -> str:
    return f"users/{given['id']}"


_NAMED: Final[Mapping[str, str]] = {"name": "id"}

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
        renamed={"display_name": "name"},
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
        renamed={"user.display_name": "name", "display_name": "name", "update_mask": "name"},
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
        renamed={"page_size": "limit"},
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
            given = await self._given(request)
            found = await self._calls.answer(call, row.request(given), row.response)
        except ResponsaError as error:
            return self._problem(error, call)
        body = row.shape(found, given)
        sent = {"cache-control": "no-store", CALL_ID: call.id}
        if body is None:
            return Response(status_code=row.code, headers=sent)
        return JSONResponse(body, status_code=row.code, headers=sent)

    async def _given(self, request: Request) -> Given:
        """The values of the path, and those of the query or the body. Raises InvalidRequest."""
        row = self._row
        if request.method in ("GET", "HEAD"):
            pairs: list[tuple[str, object]] = [
                (name, _number(name, value) if row.fields.get(name) is int else value)
                for name, value in request.query_params.multi_items()
            ]
        else:
            pairs = [*(await json_of(request)).items()] if row.fields else []
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

    def _problem(self, error: ResponsaError, call: Call) -> Response:
        found = status.of(error)
        body: dict[str, object] = {"detail": found.message, "code": error.reason.value}
        if error.violations:
            body["errors"] = [
                {"field": self._row.renamed.get(one.field, one.field), "message": one.description}
                for one in error.violations[: status.MAX_VIOLATIONS]
            ]
        headers = {"cache-control": "no-store", CALL_ID: call.id}
        if error.retry_after is not None:
            headers["retry-after"] = str(math.ceil(error.retry_after))
        return JSONResponse(body, status_code=status.http_status(found), headers=headers)


def _number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise InvalidRequest.of_field(name, "type", "must be a whole number")
    return int(text)
