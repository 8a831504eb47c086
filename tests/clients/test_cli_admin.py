"""`responsa admin users`, `keys`, `sessions` and `audit`: requests, output and exit codes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import audit_event_pb2
from responsa.auth.v1 import api_key_pb2, auth_service_pb2, invitation_pb2, session_pb2, user_pb2
from responsa.knowledge.v1 import reader_pb2
from tests.clients.command_line import CommandLine
from tests.clients.scripted import ADMIN, AUTH, Context, Scripted, abort, sent, status
from tests.clients.test_cli_completion import suggested

ADA, BO, KEY = (f"0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a1{number}" for number in range(3))
TIME = Timestamp(seconds=1_793_000_000)
SHOWN = "2026-10-26T07:33:20Z"


def ada() -> user_pb2.User:
    return user_pb2.User(
        name=f"users/{ADA}", display_name="Ada", email="ada@example.org", role=user_pb2.USER_ROLE_ADMIN
    )


def bo() -> user_pb2.User:
    return user_pb2.User(
        name=f"users/{BO}",
        display_name="Bo \x1b[2J",
        role=user_pb2.USER_ROLE_USER,
        disable_time=TIME,
        last_sign_in_time=TIME,
    )


@pytest.fixture(autouse=True)
def served(server: Scripted) -> None:
    """Two users, one key and one event. The last administrator cannot be disabled."""

    async def list_users(_: Any, __: Context) -> pb.ListUsersResponse:
        return pb.ListUsersResponse(users=[ada(), bo()])

    async def one(_: Any, __: Context) -> user_pb2.User:
        return ada()

    async def disable(_: Any, context: Context) -> user_pb2.User:
        refusal = status(
            grpc.StatusCode.FAILED_PRECONDITION, "LAST_ADMINISTRATOR", "Ada is the only administrator."
        )
        await abort(context, refusal)
        return ada()

    async def keys(_: Any, __: Context) -> pb.ListTenantApiKeysResponse:
        return pb.ListTenantApiKeysResponse(api_keys=[_key()])

    async def revoke(_: Any, __: Context) -> api_key_pb2.ApiKey:
        revoked = _key()
        revoked.revoke_time.CopyFrom(TIME)
        return revoked

    async def make_key(_: Any, __: Context) -> pb.CreateServiceApiKeyResponse:
        return pb.CreateServiceApiKeyResponse(api_key=_key(), secret="rsp_secret")

    async def make_own_key(_: Any, __: Context) -> auth_service_pb2.CreateApiKeyResponse:
        return auth_service_pb2.CreateApiKeyResponse(api_key=_key(), secret="rsp_secret")

    async def revoke_all(_: Any, __: Context) -> pb.RevokeCredentialsResponse:
        return pb.RevokeCredentialsResponse(session_count=2, api_key_count=1)

    async def sessions(_: Any, __: Context) -> pb.ListTenantSessionsResponse:
        one = session_pb2.Session(
            name=f"sessions/{KEY}", user=f"users/{ADA}", last_use_time=TIME, address="192.0.2.7"
        )
        return pb.ListTenantSessionsResponse(sessions=[one])

    async def end(_: Any, __: Context) -> pb.RevokeTenantSessionsResponse:
        return pb.RevokeTenantSessionsResponse(revoked_count=2)

    async def events(_: Any, __: Context) -> pb.ListAuditEventsResponse:
        event = audit_event_pb2.AuditEvent(
            name=f"auditEvents/{KEY}",
            create_time=TIME,
            actor=f"users/{ADA}",
            action="user.disable",
            resource=f"users/{BO}",
            affected_user=f"users/{BO}",
            outcome="OK",
            address="192.0.2.7",
        )
        refused = audit_event_pb2.AuditEvent()
        refused.CopyFrom(event)
        refused.outcome = "LAST_ADMINISTRATOR"
        revoked = audit_event_pb2.AuditEvent()
        revoked.CopyFrom(event)
        revoked.action, revoked.resource = "api_key.revoke", f"apiKeys/{KEY}"
        shared = audit_event_pb2.AuditEvent(
            create_time=TIME,
            actor=f"users/{ADA}",
            action="collection.share",
            resource="collections/rivers-1a2b3c4d",
            outcome="OK",
            added_readers=[reader_pb2.Reader(user=f"users/{BO}"), reader_pb2.Reader(everyone=True)],
            removed_readers=[reader_pb2.Reader(role=user_pb2.USER_ROLE_SERVICE)],
        )
        acted = audit_event_pb2.AuditEvent(
            create_time=TIME,
            actor=f"users/{ADA}",
            on_behalf_of=f"users/{BO}",
            action="document.delete",
            resource=f"documents/{KEY}",
            affected_user=f"users/{BO}",
            outcome="OK",
        )
        return pb.ListAuditEventsResponse(audit_events=[event, refused, revoked, shared, acted])

    for method, script in {
        "ListUsers": list_users,
        "GetUser": one,
        "LookupUser": one,
        "CreateUser": one,
        "UpdateUser": one,
        "EnableUser": one,
        "DisableUser": disable,
        "ListTenantApiKeys": keys,
        "CreateServiceApiKey": make_key,
        "RevokeTenantApiKey": revoke,
        "ListTenantSessions": sessions,
        "RevokeTenantSessions": end,
        "RevokeCredentials": revoke_all,
        "ListAuditEvents": events,
    }.items():
        server.on(f"{ADMIN}/{method}", script)
    server.on(f"{AUTH}/CreateApiKey", make_own_key)


def _key() -> api_key_pb2.ApiKey:
    return api_key_pb2.ApiKey(
        name=f"apiKeys/{KEY}", owner=f"users/{ADA}", prefix="rsp_ab12", display_name="laptop"
    )


async def test_users_are_listed_and_shown(server: Scripted, responsa: CommandLine) -> None:
    done = await responsa("admin", "users", "list", "--filter", "role = ADMIN")
    assert (done.code, done.err) == (0, "")
    first, second = done.out.splitlines()
    assert first == f"{ADA}  admin    Ada  <ada@example.org>  never signed in"
    assert second.startswith(f"{BO}  user     Bo ")
    assert second.endswith(f"disabled since {SHOWN}  signed in {SHOWN}")
    assert "\x1b" not in second
    assert sent(server, "ListUsers").filter == "role = ADMIN"
    listed = (await responsa("admin", "users", "list", "--json")).lines
    assert [one["name"] for one in listed] == [f"users/{ADA}", f"users/{BO}"]
    for given, method in ((ADA, "GetUser"), (f"users/{ADA}", "GetUser"), ("ada@example.org", "LookupUser")):
        done = await responsa("admin", "users", "show", given)
        assert done.out == f"{ADA}  admin    Ada  <ada@example.org>\n"
        assert given in str(sent(server, method))


async def test_a_user_is_created_and_changed(server: Scripted, responsa: CommandLine) -> None:
    done = await responsa("admin", "users", "create", "Ada", "--email", "ada@example.org", "--role", "admin")
    assert done.out.startswith(ADA)
    made = sent(server, "CreateUser")
    assert (made.user.display_name, made.user.email, made.user.role) == ("Ada", "ada@example.org", 2)
    assert made.request_id
    done = await responsa("admin", "users", "update", ADA, "--no-email", "--role", "user", "--etag", "e")
    assert done.code == 0
    change = sent(server, "UpdateUser")
    assert (change.user.name, change.user.email, change.user.role, change.user.etag) == (
        f"users/{ADA}",
        "",
        1,
        "e",
    )
    assert list(change.update_mask.paths) == ["email", "role"]
    await responsa("admin", "users", "update", ADA, "--subject", "E-7")
    change = sent(server, "UpdateUser")
    assert (change.user.subject, list(change.update_mask.paths)) == ("E-7", ["subject"])
    for wrong in ((), ("--email", "x@example.org", "--no-email")):
        assert (await responsa("admin", "users", "update", ADA, *wrong)).code == 2
    assert (await responsa("admin", "users", "create", "Ada", "--role", "owner")).code == 2


async def test_a_user_is_enabled_and_a_refusal_is_shown(server: Scripted, responsa: CommandLine) -> None:
    assert (await responsa("admin", "users", "enable", "ada@example.org")).code == 0
    assert sent(server, "EnableUser").name == f"users/{ADA}"
    done = await responsa("admin", "users", "disable", ADA)
    assert (done.code, done.out) == (1, "")
    assert "Ada is the only administrator." in done.err


async def test_codes_let_a_new_user_in_and_a_known_user_in_again(
    server: Scripted, responsa: CommandLine
) -> None:
    async def invite(_: Any, __: Context) -> auth_service_pb2.CreateInvitationResponse:
        return auth_service_pb2.CreateInvitationResponse(code="rsi_code", expire_time=TIME)

    async def reset(_: Any, __: Context) -> auth_service_pb2.CreateResetCodeResponse:
        return auth_service_pb2.CreateResetCodeResponse(code="rsx_code", expire_time=TIME)

    server.on(f"{AUTH}/CreateInvitation", invite)
    server.on(f"{AUTH}/CreateResetCode", reset)
    given = ("--email", "bo@example.org", "--role", "admin", "--days", "2")
    assert (await responsa("admin", "users", "invite", *given)).out == "rsi_code\n"
    request = server.requests[f"{AUTH}/CreateInvitation"][-1]
    assert (request.email, request.role, request.valid_seconds) == ("bo@example.org", 2, 2 * 86_400)
    assert (await responsa("admin", "users", "invite", "--role", "service")).code == 2
    for user in (ADA, "ada@example.org"):
        assert (await responsa("admin", "users", "reset-code", user)).out == "rsx_code\n"
        assert server.requests[f"{AUTH}/CreateResetCode"][-1].user == f"users/{ADA}"
    done = await responsa("admin", "users", "reset-code", ADA, "--json")
    assert done.lines == [{"code": "rsx_code", "expireTime": SHOWN}]


async def test_a_cut_description_is_not_said_twice(server: Scripted, responsa: CommandLine) -> None:
    async def refuse(_: Any, context: Context) -> user_pb2.User:
        described = "must be one of " + ", ".join(f"value_{number}" for number in range(40))
        refusal = status(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", f"name: {described}.")
        violations = error_details_pb2.BadRequest()
        violations.field_violations.add(field="name", description=described[:100] + "…")
        refusal.details.add().Pack(violations)
        await abort(context, refusal)
        return ada()

    server.on(f"{ADMIN}/GetUser", refuse)
    done = await responsa("admin", "users", "show", ADA)
    assert done.code == 2
    assert done.err.count("must be one of") == 1


async def test_limits_are_known_by_name(server: Scripted, responsa: CommandLine) -> None:
    done = await responsa("admin", "limits", "set", ADA, "mesages_per_minute=3")
    assert done.code == 2
    assert "“mesages_per_minute” is not a limit. Known: messages_per_minute, " in done.err
    assert f"{ADMIN}/UpdateUserLimits" not in server.requests


async def test_keys_are_listed_and_revoked(server: Scripted, responsa: CommandLine) -> None:
    done = await responsa(
        "admin", "keys", "list", "--owner", ADA, "--filter", "display_name = a OR display_name = b"
    )
    assert done.out == f"{KEY}  rsp_ab12…  ada@example.org  laptop\n"
    assert (
        sent(server, "ListTenantApiKeys").filter
        == f'owner = "users/{ADA}" AND (display_name = a OR display_name = b)'
    )
    done = await responsa("admin", "keys", "revoke", KEY, f"apiKeys/{KEY}")
    assert done.out.splitlines() == [f"{KEY}  rsp_ab12…  ada@example.org  laptop  revoked {SHOWN}"] * 2
    assert sent(server, "RevokeTenantApiKey").name == f"apiKeys/{KEY}"


async def test_a_key_of_a_service_is_created_and_its_secret_printed_once(
    server: Scripted, responsa: CommandLine
) -> None:
    done = await responsa(
        *("admin", "keys", "create", "--service", "ada@example.org", "--display-name", "nightly"),
        *("--valid-days", "30"),
    )
    assert (done.code, done.out) == (0, "rsp_secret\n")
    request = sent(server, "CreateServiceApiKey")
    assert (request.user, request.api_key.display_name) == (f"users/{ADA}", "nightly")
    valid = request.api_key.expire_time.ToDatetime(UTC) - datetime.now(UTC)
    assert timedelta(days=29) < valid <= timedelta(days=30)
    assert request.request_id
    [made] = (await responsa("admin", "keys", "create", "--service", ADA, "--json")).lines
    assert (made["secret"], made["apiKey"]["name"]) == ("rsp_secret", f"apiKeys/{KEY}")
    assert not sent(server, "CreateServiceApiKey").api_key.HasField("expire_time")
    done = await responsa("admin", "keys", "create", "--service", ADA, "--role", "user")
    assert (done.code, done.out) == (2, "")
    assert "Leave out --role." in done.err


async def test_a_key_of_ones_own_is_created_also_with_fewer_rights(
    server: Scripted, responsa: CommandLine
) -> None:
    done = await responsa("admin", "keys", "create", "--display-name", "laptop", "--valid-days", "1")
    assert (done.code, done.out) == (0, "rsp_secret\n")
    request = server.requests[f"{AUTH}/CreateApiKey"][-1]
    assert (request.api_key.display_name, request.api_key.role) == ("laptop", 0)
    assert request.api_key.HasField("expire_time")
    assert (await responsa("admin", "keys", "create", "--role", "user")).out == "rsp_secret\n"
    assert server.requests[f"{AUTH}/CreateApiKey"][-1].api_key.role == user_pb2.USER_ROLE_USER
    for command in (("admin", "keys", "create"), ("admin", "create-key", "acme", f"users/{ADA}")):
        done = await responsa(*command, "--role", "admin")
        assert (done.code, done.out) == (2, "")
        assert "'admin' is not allowed" in " ".join(done.err.replace("│", " ").split())
        assert await suggested(responsa, f"responsa {' '.join(command)} --role ") == ["user"]


async def test_all_credentials_of_a_user_are_revoked(server: Scripted, responsa: CommandLine) -> None:
    done = await responsa("admin", "users", "revoke-credentials", "ada@example.org")
    assert (done.code, done.out) == (0, "2 sessions ended; 1 API key revoked\n")
    assert sent(server, "RevokeCredentials").name == f"users/{ADA}"
    done = await responsa("admin", "users", "revoke-credentials", ADA, "--json")
    assert done.lines == [{"sessionCount": 2, "apiKeyCount": 1}]


async def test_invitations_are_listed_and_revoked(server: Scripted, responsa: CommandLine) -> None:
    async def invitations(_: Any, __: Context) -> auth_service_pb2.ListInvitationsResponse:
        one = invitation_pb2.Invitation(
            name=f"invitations/{KEY}", role=user_pb2.USER_ROLE_ADMIN, creator=f"users/{ADA}", expire_time=TIME
        )
        other = invitation_pb2.Invitation(
            name=f"invitations/{BO}", role=user_pb2.USER_ROLE_USER, email="bo@example.org", expire_time=TIME
        )
        return auth_service_pb2.ListInvitationsResponse(invitations=[one, other])

    async def revoke(_: Any, __: Context) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    server.on(f"{AUTH}/ListInvitations", invitations)
    server.on(f"{AUTH}/RevokeInvitation", revoke)
    done = await responsa("admin", "invitations", "list", "--filter", "role = ADMIN")
    assert done.out.splitlines() == [
        f"{KEY}  admin    any address  expires {SHOWN}  by ada@example.org",
        f"{BO}  user     <bo@example.org>  expires {SHOWN}",
    ]
    assert server.requests[f"{AUTH}/ListInvitations"][-1].filter == "role = ADMIN"
    listed = (await responsa("admin", "invitations", "list", "--json")).lines
    assert [one["name"] for one in listed] == [f"invitations/{KEY}", f"invitations/{BO}"]
    done = await responsa("admin", "invitations", "revoke", KEY, f"invitations/{BO}")
    assert done.out.splitlines() == [f"revoked invitations/{KEY}", f"revoked invitations/{BO}"]
    names = [one.name for one in server.requests[f"{AUTH}/RevokeInvitation"]]
    assert names == [f"invitations/{KEY}", f"invitations/{BO}"]


async def test_sessions_are_listed_and_revoked(server: Scripted, responsa: CommandLine) -> None:
    done = await responsa("admin", "sessions", "list", "--user", "ada@example.org")
    assert done.out == f"{KEY}  ada@example.org  used {SHOWN}  192.0.2.7\n"
    assert sent(server, "ListTenantSessions").filter == f'user = "users/{ADA}"'
    done = await responsa("admin", "sessions", "revoke", KEY, f"sessions/{KEY}", "--user", ADA)
    assert done.out == "2 sessions ended\n"
    request = sent(server, "RevokeTenantSessions")
    assert (list(request.names), request.user) == ([f"sessions/{KEY}"] * 2, f"users/{ADA}")
    assert (await responsa("admin", "sessions", "revoke")).code == 2


async def test_the_audit_log_is_printed(server: Scripted, responsa: CommandLine) -> None:
    given = ("--actor", "ada@example.org", "--action", "user.*", "--since", "2026-10-01", "--limit", "2")
    done = await responsa("admin", "audit", *given, "--filter", "outcome != OK")
    line = f"{SHOWN}  users/{ADA}  user.disable  users/{BO}"
    assert done.out.splitlines() == [
        f"{line}  from 192.0.2.7",
        f"{line}  LAST_ADMINISTRATOR  from 192.0.2.7",
    ]
    assert sent(server, "ListAuditEvents").filter == (
        f'actor = "users/{ADA}" AND action = "user.*" AND create_time >= "2026-10-01" AND (outcome != OK)'
    )
    done = await responsa("admin", "audit", "--actor", "local", "--resource", 'a"b', "--json")
    assert [one["outcome"] for one in done.lines] == ["OK", "LAST_ADMINISTRATOR", "OK", "OK", "OK"]
    assert sent(server, "ListAuditEvents").filter == 'actor = "local" AND resource = "a\\"b"'
    # A deleted user has only a UUID, which nobody looks up.
    done = await responsa("admin", "audit", "--affected", BO)
    assert done.out.splitlines()[2] == (
        f"{SHOWN}  users/{ADA}  api_key.revoke  apiKeys/{KEY}  about users/{BO}  from 192.0.2.7"
    )
    assert done.out.splitlines()[3] == (
        f"{SHOWN}  users/{ADA}  collection.share  collections/rivers-1a2b3c4d  added users/{BO}  added everyone  removed role service"
    )
    assert done.out.splitlines()[4] == (
        f"{SHOWN}  users/{ADA}  for users/{BO}  document.delete  documents/{KEY}"
    )
    assert sent(server, "ListAuditEvents").filter == f'affected_user = "users/{BO}"'


async def test_the_shell_completes_the_commands(responsa: CommandLine) -> None:
    assert await suggested(responsa, "responsa admin u") == ["users"]
    assert await suggested(responsa, "responsa admin users d") == ["disable", "delete"]
    assert await suggested(responsa, "responsa admin create-") == [
        "create-tenant",
        "create-user",
        "create-key",
    ]
    assert await suggested(responsa, "responsa admin audit --act") == ["--actor", "--action"]
