"""Accounts and users: /auth/* and /users."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.auth.v1 import deletion_receipt_pb2, session_pb2, user_pb2
from responsa_server.transports.http.original_paths.rows import (
    ADMIN,
    AUTH,
    Json,
    OriginalRow,
    row_of_list,
    row_of_one,
    user_of,
)


def _tokens(tokens: session_pb2.SessionTokens) -> Json:
    left = tokens.access_expire_time.ToDatetime(tzinfo=UTC) - datetime.now(UTC)
    return {
        "access_token": tokens.access_token,
        "refresh_token": tokens.refresh_token,
        "token_type": "bearer",
        "expires_in": max(0, round(left.total_seconds())),
    }


def _user(user: user_pb2.User) -> Json:
    return {
        "id": user.name.removeprefix("users/"),
        "email": user.email,
        "name": user.display_name,
        "role": user_pb2.UserRole.Name(user.role).removeprefix("USER_ROLE_").lower(),
        "is_active": not user.HasField("disable_time"),
        "created_at": user.create_time.ToJsonString(),
    }


ROWS: Final[Sequence[OriginalRow]] = (
    OriginalRow(
        ("POST",),
        "/auth/register",
        AUTH + "Register",
        lambda values: auth.RegisterRequest(
            email=values.get("email", ""),
            password=values.get("password", ""),
            display_name=values.get("name", ""),
            invitation=values.get("invitation", ""),
            tenant=values.get("tenant", ""),
        ),
        Empty,
        # The reply says nothing about the account, as that of the call: the address may be taken.
        lambda _, values: {"email": values.get("email", ""), "name": values.get("name", "")},
        {"email": str, "password": str, "name": str, "invitation": str, "tenant": str},
        code=201,
        renamed={"display_name": ("name",)},
    ),
    OriginalRow(
        ("POST",),
        "/auth/login",
        AUTH + "Login",
        lambda values: auth.LoginRequest(
            email=values.get("email", ""),
            password=values.get("password", ""),
            tenant=values.get("tenant", ""),
        ),
        auth.LoginResponse,
        lambda reply, _: {**_tokens(reply.tokens), "user": _user(reply.user)},
        {"email": str, "password": str, "tenant": str},
    ),
    OriginalRow(
        ("POST",),
        "/auth/refresh",
        AUTH + "RefreshToken",
        lambda values: auth.RefreshTokenRequest(
            refresh_token=values.get("refresh_token", ""), request_id=values.get("request_id", "")
        ),
        auth.RefreshTokenResponse,
        lambda reply, _: _tokens(reply.tokens),
        {"refresh_token": str, "request_id": str},
    ),
    OriginalRow(
        ("POST",),
        "/auth/logout",
        AUTH + "Logout",
        lambda values: auth.LogoutRequest(refresh_token=values.get("refresh_token", "")),
        Empty,
        lambda _found, _given: None,
        {"refresh_token": str},
        code=204,
    ),
    OriginalRow(
        ("GET",),
        "/users/me",
        AUTH + "GetMe",
        lambda _: auth.GetMeRequest(),
        user_pb2.User,
        lambda reply, _: _user(reply),
        {},
    ),
    OriginalRow(
        ("PATCH", "PUT"),
        "/users/me",
        AUTH + "UpdateMe",
        lambda values: auth.UpdateMeRequest(
            user=user_pb2.User(display_name=values.get("name", "")),
            update_mask=FieldMask(paths=["display_name"] if "name" in values else []),
        ),
        user_pb2.User,
        lambda reply, _: _user(reply),
        {"name": str},
        renamed={"user.display_name": ("name",), "display_name": ("name",), "update_mask": ("name",)},
    ),
    row_of_list(
        "/users", ADMIN + "ListUsers", admin.ListUsersRequest, admin.ListUsersResponse, "users", _user
    ),
    OriginalRow(
        ("GET",),
        "/users/email/{email}",
        ADMIN + "LookupUser",
        lambda values: admin.LookupUserRequest(email=values["email"]),
        user_pb2.User,
        lambda reply, _: _user(reply),
        {},
    ),
    OriginalRow(
        ("DELETE",),
        "/users/me",
        AUTH + "DeleteMe",
        lambda values: auth.DeleteMeRequest(),
        deletion_receipt_pb2.DeletionReceipt,
        lambda reply, _: None,
        {},
        code=204,
    ),
    row_of_one(
        ("DELETE",),
        "/users/{id}",
        ADMIN + "DeleteUser",
        lambda values: admin.DeleteUserRequest(name=user_of(values)),
        deletion_receipt_pb2.DeletionReceipt,
    ),
    *(
        row_of_one(
            methods,
            f"/users/{{id}}{path}",
            f"{ADMIN}{call}",
            lambda values, request=request: request(name=user_of(values)),
            user_pb2.User,
            _user,
        )
        for methods, path, call, request in (
            (("GET",), "", "GetUser", admin.GetUserRequest),
            (("POST",), "/disable", "DisableUser", admin.DisableUserRequest),
            (("POST",), "/enable", "EnableUser", admin.EnableUserRequest),
        )
    ),
)
