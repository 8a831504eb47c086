"""The audit log over the wire: the caller's address and call id, and refused acts."""

# Requests are written as plain literals here.
# pyright: reportUnknownMemberType=false, reportArgumentType=false

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any, NoReturn

import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1.audit_event_pb2 import AuditEvent
from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.calls.call import Call
from responsa_server.calls.interceptors.audited import ACTIONS, READS
from responsa_server.domain.errors import NotFound
from responsa_server.domain.knowledge import Chunking
from responsa_server.domain.people import MOST_REFUSED, Origin, Role
from responsa_server.stores.postgres.turns import PostgresTurnStore
from tests.conftest import DatabaseUrls
from tests.people import GOOD
from tests.rpc.served import Caller, Served, caller, failed


async def events(served: Served, who: Caller, filter_by: str) -> list[AuditEvent]:
    request = pb.ListAuditEventsRequest(filter=f"actor != local AND {filter_by}")
    return list((await served.admin.ListAuditEvents(request, metadata=who.metadata)).audit_events)


async def test_an_event_names_the_caller_the_address_and_the_call(served: Served) -> None:
    metadata = (*served.ann.metadata, ("x-request-id", "call-7"), ("x-forwarded-for", "203.0.113.9"))
    made = await served.admin.CreateUser(pb.CreateUserRequest(user={"display_name": "Bo"}), metadata=metadata)
    (event,) = await events(served, served.ann, f'resource = "{made.name}"')
    assert event.actor == f"users/{served.ann.who.user_id}"
    assert (event.action, event.outcome, event.address, event.call_id) == (
        "user.create",
        "OK",
        "203.0.113.9",
        "call-7",
    )
    assert await events(served, served.eve, 'action = "user.create"') == []


async def test_refused_acts_of_administrators_are_recorded_with_the_reason(served: Served) -> None:
    own = f"users/{served.ann.who.user_id}"
    assert (
        await failed(served.admin.DisableUser(pb.DisableUserRequest(name=own), metadata=served.ann.metadata))
    ).reason == "LAST_ADMINISTRATOR"
    stale = pb.UpdateUserRequest(
        user={"name": own, "etag": "old", "display_name": "x"}, update_mask={"paths": ["display_name"]}
    )
    await failed(served.admin.UpdateUser(stale, metadata=served.ann.metadata))
    # An invalid request is not an act, and neither is a look at what does not exist.
    await failed(served.admin.DisableUser(pb.DisableUserRequest(name="x"), metadata=served.ann.metadata))
    unknown = pb.GetUserRequest(name=f"users/{uuid7()}")
    assert (await failed(served.admin.GetUser(unknown, metadata=served.ann.metadata))).reason == (
        "RESOURCE_NOT_FOUND"
    )
    found = await events(served, served.ann, "outcome != OK")
    assert [(one.action, one.resource, one.outcome) for one in reversed(found)] == [
        ("user.disable", own, "LAST_ADMINISTRATOR"),
        ("user.update", own, "ETAG_MISMATCH"),
    ]


async def narrower_key(served: Served) -> Caller:
    """Ann, who is an owner, with a key that has the rights of a user."""
    request = auth.CreateApiKeyRequest(api_key={"role": "USER_ROLE_USER"})
    made = await served.auth.CreateApiKey(request, metadata=served.ann.metadata)
    return replace(served.ann, secret=made.secret)


@pytest.mark.parametrize("kind", ["narrower key", "user", "service"])
async def test_each_administrative_call_without_the_role_is_recorded_once(served: Served, kind: str) -> None:
    who = served.bob
    if kind == "narrower key":
        who = await narrower_key(served)
    elif kind == "service":
        who = await caller(served.identity, served.channel, "acme", Role.SERVICE)
    rules = {Rule.ADMIN, Rule.OWNER} if kind == "service" else {Rule.ADMIN, Rule.OWNER, Rule.SERVICE}
    expected: list[tuple[str, str]] = []
    for method in (one for one, rule in RULES.items() if rule in rules):
        stub, module = (served.admin, pb) if "AdminService" in method else (served.auth, auth)
        name = method.rpartition("/")[2]
        call, request = getattr(stub, name), getattr(module, f"{name}Request")()
        assert (await failed(call(request, metadata=who.metadata))).reason == "ROLE_REQUIRED", method
        expected.append(({**ACTIONS, **READS}[method][0], "ROLE_REQUIRED"))
    assert len(expected) > 50
    own, pages = f"users/{who.who.user_id}", pb.ListAuditEventsRequest(page_size=200, filter="outcome != OK")
    found = (await served.admin.ListAuditEvents(pages, metadata=served.ann.metadata)).audit_events
    assert [(one.action, one.outcome) for one in reversed(found)] == expected
    assert {(one.actor, one.affected_user) for one in found} == {(own, "")}
    assert all(one.call_id for one in found)
    # The server checks the role before it reads the request.
    assert {one.resource for one in found} == {"", "agents/-"}


async def test_a_service_without_a_grant_is_recorded(served: Served) -> None:
    service = await caller(served.identity, served.channel, "acme", Role.SERVICE)
    bob = f"users/{served.bob.who.user_id}"
    metadata = (*service.metadata, ("responsa-on-behalf-of", bob))
    listing, naming = pb.ListUsersRequest(), auth.ChangePasswordRequest(new_password=GOOD)
    assert (await failed(served.admin.ListUsers(listing, metadata=metadata))).reason == "GRANT_REQUIRED"
    assert (await failed(served.auth.ChangePassword(naming, metadata=metadata))).reason == "GRANT_REQUIRED"
    grant = pb.CreateServiceGrantRequest(
        service_grant={"service": f"users/{service.who.user_id}", "user": bob}
    )
    await served.admin.CreateServiceGrant(grant, metadata=served.ann.metadata)
    assert (await failed(served.admin.ListUsers(listing, metadata=metadata))).reason == "ROLE_REQUIRED"
    assert (await failed(served.auth.ChangePassword(naming, metadata=metadata))).reason == (
        "ON_BEHALF_NOT_ALLOWED"
    )
    found = await events(served, served.ann, f'actor = "users/{service.who.user_id}"')
    assert [(one.action, one.outcome, one.on_behalf_of, one.affected_user) for one in reversed(found)] == [
        ("user.read", "GRANT_REQUIRED", "", ""),
        ("user.change_password", "GRANT_REQUIRED", "", bob),
        ("user.read", "ROLE_REQUIRED", bob, bob),
        ("user.change_password", "ON_BEHALF_NOT_ALLOWED", bob, bob),
    ]


async def test_nobody_fills_the_log_with_refused_calls(served: Served, database_urls: DatabaseUrls) -> None:
    """Neither a user without the role, nor an administrator whose acts are refused."""
    own = f"users/{served.ann.who.user_id}"
    disable, enable = pb.DisableUserRequest(name=own), pb.EnableUserRequest(name=own)

    async def refuse(who: Caller, times: int) -> None:
        await asyncio.gather(
            *(failed(served.admin.DisableUser(disable, metadata=who.metadata)) for _ in range(times))
        )

    await refuse(served.bob, MOST_REFUSED + 3)
    await refuse(served.ann, MOST_REFUSED + 3)
    # Other acts, other reasons and other callers have their own places.
    await failed(served.admin.EnableUser(enable, metadata=served.bob.metadata))
    await failed(
        served.admin.DisableUser(pb.DisableUserRequest(name=own, etag="old"), metadata=served.ann.metadata)
    )

    async def counted() -> Counter[tuple[str, str, str]]:
        request = pb.ListAuditEventsRequest(page_size=100, filter="outcome != OK")
        found = (await served.admin.ListAuditEvents(request, metadata=served.ann.metadata)).audit_events
        return Counter((one.actor, one.action, one.outcome) for one in found)

    bob = f"users/{served.bob.who.user_id}"
    expected = Counter(
        {
            (bob, "user.disable", "ROLE_REQUIRED"): MOST_REFUSED,
            (own, "user.disable", "LAST_ADMINISTRATOR"): MOST_REFUSED,
            (bob, "user.enable", "ROLE_REQUIRED"): 1,
            (own, "user.disable", "ETAG_MISMATCH"): 1,
        }
    )
    assert await counted() == expected
    with psycopg.connect(database_urls.superuser) as connection:
        connection.execute("UPDATE responsa.sign_in_attempt SET end_time = now()")
    await refuse(served.bob, 1)
    expected[(bob, "user.disable", "ROLE_REQUIRED")] += 1
    assert await counted() == expected


async def test_a_refused_deletion_of_oneself_is_recorded_as_that_of_another_administrator_is(
    served: Served,
) -> None:
    own = f"users/{served.ann.who.user_id}"
    await failed(served.admin.DeleteUser(pb.DeleteUserRequest(name=own), metadata=served.ann.metadata))
    # A key is not a sign-in.
    await failed(served.auth.DeleteMe(auth.DeleteMeRequest(), metadata=served.ann.metadata))
    code = await served.auth.CreateSessionCode(auth.CreateSessionCodeRequest(), metadata=served.ann.metadata)
    token, _ = await served.identity.exchange_code(code.code)
    browser = (("cookie", f"responsa_session={token}"),)
    assert (await failed(served.auth.DeleteMe(auth.DeleteMeRequest(), metadata=browser))).reason == (
        "LAST_ADMINISTRATOR"
    )
    found = await events(served, served.ann, "outcome != OK")
    assert [(one.actor, one.action, one.resource, one.outcome) for one in reversed(found)] == [
        (own, "user.delete", own, reason)
        for reason in ("LAST_ADMINISTRATOR", "SIGN_IN_REQUIRED", "LAST_ADMINISTRATOR")
    ]


@pytest.mark.parametrize("role", [Role.USER, Role.ADMIN])
async def test_refused_acts_on_ones_own_account_are_recorded_once(
    served: Served, database_urls: DatabaseUrls, role: Role
) -> None:
    ann, user = (
        served.ann.who.user_id,
        await served.identity.create_user("acme", "Zoe", "zoe@example.org", role),
    )
    zoe = f"users/{user.id}"
    reset, _ = await served.accounts.create_reset_code(served.ann.who, user.id)
    await served.accounts.reset_password(reset, GOOD)
    signed, _ = await served.accounts.login("acme", "zoe@example.org", GOOD, Origin())
    metadata = (("authorization", f"Bearer {signed.access_token}"),)
    key = await served.auth.CreateApiKey(auth.CreateApiKeyRequest(), metadata=served.ann.metadata)
    with psycopg.connect(database_urls.superuser) as connection:
        connection.execute("UPDATE responsa.session SET sign_in_time = now() - interval '11 minutes'")

    def guess(new: str) -> auth.ChangePasswordRequest:
        return auth.ChangePasswordRequest(current_password="wrong", new_password=new)

    def change(**fields: str) -> auth.UpdateMeRequest:
        paths = [field for field in fields if field != "etag"]
        return auth.UpdateMeRequest(user=fields, update_mask={"paths": paths})

    stub, new = served.auth, "six other marmots whistle"
    acts: list[tuple[Any, Any, str]] = [
        (stub.ChangePassword, guess("marmots"), "INVALID_FIELD"),
        (stub.ChangePassword, guess(new), "SIGN_IN_FAILED"),
        (stub.CreateApiKey, auth.CreateApiKeyRequest(), "SIGN_IN_REQUIRED"),
        (stub.DeleteMe, auth.DeleteMeRequest(), "SIGN_IN_REQUIRED"),
        (
            stub.UnlinkIdentity,
            auth.UnlinkIdentityRequest(name=f"identities/{uuid7()}"),
            "SIGN_IN_REQUIRED",
        ),
        (stub.UpdateMe, change(display_name="Z", etag="old"), "ETAG_MISMATCH"),
        (stub.UpdateMe, change(email="z@example.org"), "MAIL_NOT_CONFIGURED"),
        (stub.RevokeApiKey, auth.RevokeApiKeyRequest(name=key.api_key.name), "RESOURCE_NOT_FOUND"),
        (stub.RevokeApiKey, auth.RevokeApiKeyRequest(name=f"apiKeys/{uuid7()}"), "RESOURCE_NOT_FOUND"),
    ]
    for method, request, reason in acts:
        assert (await failed(method(request, metadata=metadata))).reason == reason
    found = await events(served, served.ann, "outcome != OK")
    assert {one.actor for one in found} == {zoe}
    assert [(one.action, one.resource, one.outcome, one.affected_user) for one in reversed(found)] == [
        ("user.change_password", zoe, "SIGN_IN_FAILED", ""),
        ("api_key.create", "", "SIGN_IN_REQUIRED", ""),
        ("user.delete", zoe, "SIGN_IN_REQUIRED", ""),
        ("user.unlink", zoe, "SIGN_IN_REQUIRED", ""),
        ("user.update", zoe, "ETAG_MISMATCH", ""),
        ("user.request_email", zoe, "MAIL_NOT_CONFIGURED", ""),
        ("api_key.revoke", key.api_key.name, "RESOURCE_NOT_FOUND", f"users/{ann}"),
    ]
    while (await failed(stub.ChangePassword(guess(new), metadata=metadata))).reason != "TOO_MANY_ATTEMPTS":
        pass
    (ended,) = await events(served, served.ann, "outcome = TOO_MANY_ATTEMPTS")
    assert (ended.actor, ended.action, ended.resource) == (zoe, "user.change_password", zoe)


async def test_a_user_with_all_allowed_keys_is_in_the_log_if_the_next_one_is_refused(served: Served) -> None:
    bob = f"users/{served.bob.who.user_id}"
    await served.admin.UpdateUserLimits(
        pb.UpdateUserLimitsRequest(
            user_limits={"name": f"{bob}/limits", "exceptions": {"api_keys": 1}},
            update_mask={"paths": ["exceptions.api_keys"]},
        ),
        metadata=served.ann.metadata,
    )
    await failed(served.auth.CreateApiKey(auth.CreateApiKeyRequest(), metadata=served.bob.metadata))
    found = await events(served, served.ann, f'actor = "{bob}"')
    assert [(one.action, one.outcome) for one in found] == [("api_key.create", "LIMIT_REACHED")]


async def test_reloads_and_cancellations_of_anothers_turn(served: Served) -> None:
    await served.admin.ReloadAgents(pb.ReloadAgentsRequest(), metadata=served.ann.metadata)
    turn = await served.chat.StartTurn(chat.StartTurnRequest(text="wait"), metadata=served.bob.metadata)
    own = await served.chat.StartTurn(chat.StartTurnRequest(text="wait"), metadata=served.ann.metadata)
    for one in (turn, own):
        await served.chat.CancelTurn(chat.CancelTurnRequest(name=one.name), metadata=served.ann.metadata)
    found = await events(served, served.ann, "outcome = OK")
    assert [(one.action, one.resource) for one in reversed(found)] == [
        ("agents.reload", "agents/-"),
        ("turn.cancel", turn.name),
    ]


async def test_the_log_finds_what_was_done_to_a_user(served: Served) -> None:
    """Also the acts on what belongs to the user, whose resource is not the user. What users do to themselves is not among them."""
    ann, bob = (f"users/{one.who.user_id}" for one in (served.ann, served.bob))
    key = await served.auth.CreateApiKey(auth.CreateApiKeyRequest(), metadata=served.bob.metadata)
    await served.auth.RevokeApiKey(
        auth.RevokeApiKeyRequest(name=key.api_key.name), metadata=served.bob.metadata
    )
    turn = await served.chat.StartTurn(chat.StartTurnRequest(text="wait"), metadata=served.bob.metadata)
    owned = await served.auth.CreateApiKey(auth.CreateApiKeyRequest(), metadata=served.bob.metadata)
    service = await served.admin.CreateUser(
        pb.CreateUserRequest(user={"display_name": "Sync", "role": "USER_ROLE_SERVICE"}),
        metadata=served.ann.metadata,
    )
    grant = await served.admin.CreateServiceGrant(
        pb.CreateServiceGrantRequest(service_grant={"service": service.name, "user": bob}),
        metadata=served.ann.metadata,
    )
    await served.admin.DeleteServiceGrant(
        pb.DeleteServiceGrantRequest(name=grant.name), metadata=served.ann.metadata
    )
    await served.admin.CreateServiceApiKey(
        pb.CreateServiceApiKeyRequest(user=service.name), metadata=served.ann.metadata
    )
    await served.chat.CancelTurn(chat.CancelTurnRequest(name=turn.name), metadata=served.ann.metadata)
    await served.admin.RevokeTenantApiKey(
        pb.RevokeTenantApiKeyRequest(name=owned.api_key.name), metadata=served.ann.metadata
    )
    stale = pb.UpdateUserRequest(
        user={"name": bob, "etag": "old", "display_name": "x"}, update_mask={"paths": ["display_name"]}
    )
    await failed(served.admin.UpdateUser(stale, metadata=served.ann.metadata))
    await served.admin.DeleteUser(pb.DeleteUserRequest(name=bob), metadata=served.ann.metadata)

    found = await events(served, served.ann, f'affected_user = "{bob}"')
    assert [(one.action, one.actor, one.affected_user) for one in reversed(found)] == [
        (action, ann, bob)
        for action in (
            "service_grant.create",
            "service_grant.delete",
            "turn.cancel",
            "api_key.revoke",
            "user.update",
            "user.delete",
        )
    ]
    made = await events(served, served.ann, f'affected_user = "{service.name}"')
    assert [one.action for one in reversed(made)] == ["user.create", "api_key.create"]
    assert await events(served, served.ann, f'affected_user = "{ann}"') == []
    request = pb.ListAuditEventsRequest(filter='affected_user = "Bob"')
    assert (await failed(served.admin.ListAuditEvents(request, metadata=served.ann.metadata))).reason == (
        "FILTER_INVALID"
    )


async def test_a_refused_act_names_the_user_to_whom_the_resource_belongs(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the request does not name the user. Another tenant's administrator gets the reply for what does not exist, and no name."""
    ann, bob = (f"users/{one.who.user_id}" for one in (served.ann, served.bob))
    second = await caller(served.identity, served.channel, "acme", Role.ADMIN)
    key = await served.auth.CreateApiKey(auth.CreateApiKeyRequest(), metadata=served.ann.metadata)
    code = await served.auth.CreateSessionCode(auth.CreateSessionCodeRequest(), metadata=served.ann.metadata)
    await served.identity.exchange_code(code.code)
    sessions = await served.admin.ListTenantSessions(pb.ListTenantSessionsRequest(), metadata=second.metadata)
    (session,) = sessions.sessions
    turn = await served.chat.StartTurn(chat.StartTurnRequest(text="wait"), metadata=served.bob.metadata)
    rivers = await served.house.library.create_collection(served.bob.who, "rivers", "", Chunking())
    await served.house.upload(served.bob.who, "The Elbe is long.", collection="rivers")
    collection = f"collections/{rivers.shared_id}"

    async def gone(*_: object) -> NoReturn:
        raise NotFound.of("turn", turn.name)

    monkeypatch.setattr(PostgresTurnStore, "cancel", gone)  # as if the turn was deleted meanwhile
    stub, of_sessions = served.admin, [session.name, f"sessions/{uuid7()}"]
    acts: list[tuple[Any, Any, str]] = [
        (stub.RevokeTenantApiKey, pb.RevokeTenantApiKeyRequest(name=key.api_key.name), "RESOURCE_NOT_FOUND"),
        (served.chat.CancelTurn, chat.CancelTurnRequest(name=turn.name), "RESOURCE_NOT_FOUND"),
        (
            served.knowledge.DeleteCollection,
            knowledge.DeleteCollectionRequest(name=collection),
            "RESOURCE_NOT_FOUND",
        ),
        (
            served.knowledge.UpdateCollection,
            knowledge.UpdateCollectionRequest(
                collection={"name": collection, "etag": "old"}, update_mask={"paths": ["readers"]}
            ),
            "RESOURCE_NOT_FOUND",
        ),
    ]
    for method, request, reason in acts:
        assert (await failed(method(request, metadata=served.eve.metadata))).reason == reason
        await failed(method(request, metadata=second.metadata))
    ending = pb.RevokeTenantSessionsRequest(names=of_sessions)
    assert (
        await failed(stub.RevokeTenantSessions(ending, metadata=second.metadata))
    ).reason == "ROLE_REQUIRED"

    found = await events(served, second, "outcome != OK")
    assert [(one.action, one.resource, one.outcome, one.affected_user) for one in reversed(found)] == [
        ("api_key.revoke", key.api_key.name, "ROLE_REQUIRED", ann),
        ("turn.cancel", turn.name, "RESOURCE_NOT_FOUND", bob),
        ("collection.delete", collection, "COLLECTION_NOT_EMPTY", bob),
        ("collection.share", collection, "ETAG_MISMATCH", bob),
        ("session.revoke", session.name, "ROLE_REQUIRED", ann),
        ("session.revoke", of_sessions[1], "ROLE_REQUIRED", ""),
    ]
    elsewhere = await events(served, served.eve, "outcome != OK")
    assert [(one.action, one.affected_user) for one in elsewhere] == [("api_key.revoke", "")]


async def test_refusals_about_ones_own_and_of_users_are_no_acts_of_administrators(served: Served) -> None:
    for who in (served.ann, served.bob):
        made = await served.knowledge.CreateCollection(
            knowledge.CreateCollectionRequest(collection_id="lakes"), metadata=who.metadata
        )
        stale = knowledge.DeleteCollectionRequest(name=made.name, etag="old")
        assert (await failed(served.knowledge.DeleteCollection(stale, metadata=who.metadata))).reason == (
            "ETAG_MISMATCH"
        )
    theirs = knowledge.DeleteCollectionRequest(name=f"collections/{uuid7()}")
    for who in (served.ann, served.bob):
        await failed(served.knowledge.DeleteCollection(theirs, metadata=who.metadata))
    assert await events(served, served.ann, "outcome != OK") == []


async def test_an_administrator_who_cancels_a_turn_does_not_read_it(served: Served) -> None:
    """Otherwise the cancellation of a turn that has ended would return the answer, and leave no event."""
    running = await served.chat.StartTurn(
        chat.StartTurnRequest(text="wait", request_id=str(uuid7())), metadata=served.bob.metadata
    )
    answered = await served.chat.Answer(
        chat.AnswerRequest(text="How long is the river?"), metadata=served.bob.metadata
    )
    for name in (running.name, answered.name):
        found = await served.chat.CancelTurn(chat.CancelTurnRequest(name=name), metadata=served.ann.metadata)
        assert (found.name, found.owner) == (name, f"users/{served.bob.who.user_id}")
        assert (found.text, found.request_id) == ("", "")
        assert found.terminal_event.WhichOneof("event") in (None, "cancelled")
    read = await served.chat.GetTurn(chat.GetTurnRequest(name=answered.name), metadata=served.bob.metadata)
    assert read.terminal_event.answer.text


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("grpc ipv4:192.0.2.1:5000", [], "192.0.2.1"),
        ("grpc ipv6:%5B2001:db8::1%5D:5000", [], "2001:db8::1"),
        ("grpc unix:", [], ""),
        ("grpc unix:", ["198.51.100.1"], "198.51.100.1"),
        ("http 192.0.2.1:5000", [], "192.0.2.1"),
        ("http 2001:db8::1:5000", [], "2001:db8::1"),
        ("http ", [], ""),
        ("", [], ""),
        # Envoy appends the address that it sees. What a caller sends comes first.
        ("grpc unix:", ["10.0.0.1, 203.0.113.9"], "203.0.113.9"),
        ("grpc unix:", ["x" * 1000], "x" * 64),
    ],
)
def test_the_address_of_a_call(peer: str, forwarded: list[str], address: str) -> None:
    metadata = {"x-forwarded-for": forwarded} if forwarded else {}
    assert Call("/x", metadata, peer).address == address
