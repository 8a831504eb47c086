"""The audit log over the wire: the caller's address and call id, and refused acts."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1.audit_event_pb2 import AuditEvent
from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.calls.call import Call
from responsa_server.calls.interceptors.audited import ACTS
from responsa_server.domain.people import MOST_REFUSED, Origin, Role
from tests.conftest import DatabaseUrls
from tests.people import GOOD
from tests.rpc.served import Caller, Sender, Served, bearer, by_cookie, caller, failed, zoe


async def events(sender: Sender, filter_by: str) -> list[AuditEvent]:
    return list((await sender.ListAuditEvents(filter=f"actor != local AND {filter_by}")).audit_events)


async def test_an_event_names_the_caller_the_address_and_the_call(served: Served) -> None:
    metadata = (*served.ann.metadata, ("x-request-id", "call-7"), ("x-forwarded-for", "203.0.113.9"))
    made = await served.sending(metadata).CreateUser(user={"display_name": "Bo"})
    (event,) = await events(served.ann, f'resource = "{made.name}"')
    assert event.actor == served.ann.name
    assert (event.action, event.outcome, event.address, event.call_id) == (
        "user.create",
        "OK",
        "203.0.113.9",
        "call-7",
    )
    assert await events(served.eve, 'action = "user.create"') == []


async def test_refused_acts_of_administrators_are_recorded_with_the_reason(served: Served) -> None:
    own = served.ann.name
    assert (await failed(served.ann.DisableUser(name=own))).reason == "LAST_ADMINISTRATOR"
    await failed(
        served.ann.UpdateUser(
            user={"name": own, "etag": "old", "display_name": "x"}, update_mask={"paths": ["display_name"]}
        )
    )
    # An invalid request is not an act, and neither is a look at what does not exist.
    await failed(served.ann.DisableUser(name="x"))
    assert (await failed(served.ann.GetUser(name=f"users/{uuid7()}"))).reason == ("RESOURCE_NOT_FOUND")
    found = await events(served.ann, "outcome != OK")
    assert [(one.action, one.resource, one.outcome) for one in reversed(found)] == [
        ("user.disable", own, "LAST_ADMINISTRATOR"),
        ("user.update", own, "ETAG_MISMATCH"),
    ]


async def narrower_key(served: Served) -> Caller:
    """Ann, who is an owner, with a key that has the rights of a user."""
    made = await served.ann.CreateApiKey(api_key={"role": "USER_ROLE_USER"})
    return Caller(served.ann.who, made.secret, served.channel)


@pytest.mark.parametrize("kind", ["narrower key", "user", "service"])
async def test_each_administrative_call_without_the_role_is_recorded_once(served: Served, kind: str) -> None:
    principal = served.bob
    if kind == "narrower key":
        principal = await narrower_key(served)
    elif kind == "service":
        principal = await caller(served.identity, served.channel, "acme", Role.SERVICE)
    rules = {Rule.ADMIN, Rule.OWNER} if kind == "service" else {Rule.ADMIN, Rule.OWNER, Rule.SERVICE}
    expected: list[tuple[str, str]] = []
    for method in (one for one, rule in RULES.items() if rule in rules):
        call = getattr(principal, method.rpartition("/")[2])
        assert (await failed(call())).reason == "ROLE_REQUIRED", method
        expected.append((ACTS[method][0], "ROLE_REQUIRED"))
    assert len(expected) > 50
    own, pages = principal.name, pb.ListAuditEventsRequest(page_size=200, filter="outcome != OK")
    found = (await served.ann.ListAuditEvents(pages)).audit_events
    assert [(one.action, one.outcome) for one in reversed(found)] == expected
    assert {(one.actor, one.affected_user) for one in found} == {(own, "")}
    assert all(one.call_id for one in found)
    # The server checks the role before it reads the request.
    assert {one.resource for one in found} == {"", "agents/-", "defaultModel/-", "insightSettings/-"}


async def test_a_service_without_a_grant_is_recorded(served: Served) -> None:
    service = await caller(served.identity, served.channel, "acme", Role.SERVICE)
    bob = served.bob.name
    acting = served.sending((*service.metadata, ("responsa-on-behalf-of", bob)))
    for listing, naming in (("GRANT_REQUIRED", "GRANT_REQUIRED"), ("ROLE_REQUIRED", "ON_BEHALF_NOT_ALLOWED")):
        assert (await failed(acting.ListUsers())).reason == listing
        assert (await failed(acting.ChangePassword(new_password=GOOD))).reason == naming
        await served.ann.CreateServiceGrant(service_grant={"service": service.name, "user": bob})
    found = await events(served.ann, f'actor = "{service.name}"')
    assert [(one.action, one.outcome, one.on_behalf_of, one.affected_user) for one in reversed(found)] == [
        ("user.read", "GRANT_REQUIRED", "", ""),
        ("user.change_password", "GRANT_REQUIRED", "", bob),
        ("user.read", "ROLE_REQUIRED", bob, bob),
        ("user.change_password", "ON_BEHALF_NOT_ALLOWED", bob, bob),
    ]


async def test_nobody_fills_the_log_with_refused_calls(served: Served, database_urls: DatabaseUrls) -> None:
    """Neither a user without the role, nor an administrator whose acts are refused."""
    own = served.ann.name
    disable, enable = pb.DisableUserRequest(name=own), pb.EnableUserRequest(name=own)

    async def refuse(caller: Caller, times: int) -> None:
        await asyncio.gather(*(failed(caller.DisableUser(disable)) for _ in range(times)))

    await refuse(served.bob, MOST_REFUSED + 3)
    await refuse(served.ann, MOST_REFUSED + 3)
    # Other acts, other reasons and other callers have their own places.
    await failed(served.bob.EnableUser(enable))
    await failed(served.ann.DisableUser(name=own, etag="old"))

    async def counted() -> Counter[tuple[str, str, str]]:
        found = (await served.ann.ListAuditEvents(page_size=100, filter="outcome != OK")).audit_events
        return Counter((one.actor, one.action, one.outcome) for one in found)

    bob = served.bob.name
    expected = Counter(
        {
            (bob, "user.disable", "ROLE_REQUIRED"): MOST_REFUSED,
            (own, "user.disable", "LAST_ADMINISTRATOR"): MOST_REFUSED,
            (bob, "user.enable", "ROLE_REQUIRED"): 1,
            (own, "user.disable", "ETAG_MISMATCH"): 1,
        }
    )
    assert await counted() == expected
    database_urls.ask("UPDATE responsa.sign_in_attempt SET end_time = now()")
    await refuse(served.bob, 1)
    expected[(bob, "user.disable", "ROLE_REQUIRED")] += 1
    assert await counted() == expected


async def test_a_refused_deletion_of_oneself_is_recorded_as_that_of_another_administrator_is(
    served: Served,
) -> None:
    own = served.ann.name
    await failed(served.ann.DeleteUser(name=own))
    # A key is not a sign-in.
    await failed(served.ann.DeleteMe())
    code = await served.ann.CreateSessionCode()
    token, _ = await served.identity.exchange_code(code.code)
    browser = by_cookie(f"responsa_session={token}")
    assert (await failed(served.sending(browser).DeleteMe())).reason == ("LAST_ADMINISTRATOR")
    found = await events(served.ann, "outcome != OK")
    assert [(one.actor, one.action, one.resource, one.outcome) for one in reversed(found)] == [
        (own, "user.delete", own, reason)
        for reason in ("LAST_ADMINISTRATOR", "SIGN_IN_REQUIRED", "LAST_ADMINISTRATOR")
    ]


@pytest.mark.parametrize("role", [Role.USER, Role.ADMIN])
async def test_refused_acts_on_ones_own_account_are_recorded_once(
    served: Served, database_urls: DatabaseUrls, role: Role
) -> None:
    own = f"users/{(await zoe(served, role)).id}"
    signed, _ = await served.accounts.login("acme", "zoe@example.org", GOOD, Origin())
    signed_in = served.sending(bearer(signed.access_token))
    key = await served.ann.CreateApiKey()
    database_urls.ask("UPDATE responsa.session SET sign_in_time = now() - interval '11 minutes'")

    guess = {"current_password": "wrong", "new_password": "six other marmots whistle"}
    paths = {"paths": ["display_name"]}
    acts: list[tuple[str, dict[str, Any], str]] = [
        ("ChangePassword", {**guess, "new_password": "marmots"}, "INVALID_FIELD"),
        ("ChangePassword", guess, "SIGN_IN_FAILED"),
        ("CreateApiKey", {}, "SIGN_IN_REQUIRED"),
        ("DeleteMe", {}, "SIGN_IN_REQUIRED"),
        ("UnlinkIdentity", {"name": f"identities/{uuid7()}"}, "SIGN_IN_REQUIRED"),
        ("UpdateMe", {"user": {"display_name": "Z", "etag": "old"}, "update_mask": paths}, "ETAG_MISMATCH"),
        (
            "UpdateMe",
            {"user": {"email": "z@example.org"}, "update_mask": {"paths": ["email"]}},
            "MAIL_NOT_CONFIGURED",
        ),
        ("RevokeApiKey", {"name": key.api_key.name}, "RESOURCE_NOT_FOUND"),
        ("RevokeApiKey", {"name": f"apiKeys/{uuid7()}"}, "RESOURCE_NOT_FOUND"),
    ]
    for method, fields, reason in acts:
        assert (await failed(getattr(signed_in, method)(**fields))).reason == reason
    found = await events(served.ann, "outcome != OK")
    assert {one.actor for one in found} == {own}
    assert [(one.action, one.resource, one.outcome, one.affected_user) for one in reversed(found)] == [
        ("user.change_password", own, "SIGN_IN_FAILED", ""),
        ("api_key.create", "", "SIGN_IN_REQUIRED", ""),
        ("user.delete", own, "SIGN_IN_REQUIRED", ""),
        ("user.unlink", own, "SIGN_IN_REQUIRED", ""),
        ("user.update", own, "ETAG_MISMATCH", ""),
        ("user.request_email", own, "MAIL_NOT_CONFIGURED", ""),
        ("api_key.revoke", key.api_key.name, "RESOURCE_NOT_FOUND", served.ann.name),
    ]
    while (await failed(signed_in.ChangePassword(**guess))).reason != "TOO_MANY_ATTEMPTS":
        pass
    (ended,) = await events(served.ann, "outcome = TOO_MANY_ATTEMPTS")
    assert (ended.actor, ended.action, ended.resource) == (own, "user.change_password", own)


async def test_a_user_with_all_allowed_keys_is_in_the_log_if_the_next_one_is_refused(served: Served) -> None:
    bob = served.bob.name
    await served.ann.UpdateUserLimits(
        user_limits={"name": f"{bob}/limits", "exceptions": {"api_keys": 1}},
        update_mask={"paths": ["exceptions.api_keys"]},
    )
    await failed(served.bob.CreateApiKey())
    found = await events(served.ann, f'actor = "{bob}"')
    assert [(one.action, one.outcome) for one in found] == [("api_key.create", "LIMIT_REACHED")]


async def test_reloads_and_cancellations_of_anothers_turn(served: Served) -> None:
    await served.ann.ReloadAgents()
    turn = await served.bob.StartTurn(text="wait")
    own = await served.ann.StartTurn(text="wait")
    for one in (turn, own):
        await served.ann.CancelTurn(name=one.name)
    found = await events(served.ann, "outcome = OK")
    assert [(one.action, one.resource) for one in reversed(found)] == [
        ("agents.reload", "agents/-"),
        ("turn.cancel", turn.name),
    ]


async def test_the_log_finds_what_was_done_to_a_user(served: Served) -> None:
    """Also the acts on what belongs to the user, whose resource is not the user. What users do to themselves is not among them."""
    ann, bob = (one.name for one in (served.ann, served.bob))
    key = await served.bob.CreateApiKey()
    await served.bob.RevokeApiKey(name=key.api_key.name)
    turn = await served.bob.StartTurn(text="wait")
    owned = await served.bob.CreateApiKey()
    service = await served.ann.CreateUser(user={"display_name": "Sync", "role": "USER_ROLE_SERVICE"})
    grant = await served.ann.CreateServiceGrant(service_grant={"service": service.name, "user": bob})
    await served.ann.DeleteServiceGrant(name=grant.name)
    await served.ann.CreateServiceApiKey(user=service.name)
    await served.ann.CancelTurn(name=turn.name)
    await served.ann.RevokeTenantApiKey(name=owned.api_key.name)
    await failed(
        served.ann.UpdateUser(
            user={"name": bob, "etag": "old", "display_name": "x"}, update_mask={"paths": ["display_name"]}
        )
    )
    await served.ann.DeleteUser(name=bob)

    found = await events(served.ann, f'affected_user = "{bob}"')
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
    made = await events(served.ann, f'affected_user = "{service.name}"')
    assert [one.action for one in reversed(made)] == ["user.create", "api_key.create"]
    assert await events(served.ann, f'affected_user = "{ann}"') == []
    assert (await failed(served.ann.ListAuditEvents(filter='affected_user = "Bob"'))).reason == (
        "FILTER_INVALID"
    )


async def test_a_refused_act_names_the_user_to_whom_the_resource_belongs(served: Served) -> None:
    """Also if the request does not name the user. Another tenant's administrator gets the reply for what does not exist, and no name."""
    ann = served.ann.name
    second = await caller(served.identity, served.channel, "acme", Role.ADMIN)
    key = await served.ann.CreateApiKey()
    code = await served.ann.CreateSessionCode()
    await served.identity.exchange_code(code.code)
    (session,) = (await second.ListTenantSessions()).sessions
    answered = await served.bob.Answer(text="How long is the river?")
    share = await served.bob.ShareTurn(turn=answered.name)
    await served.bob.CreateCollection(collection_id="rivers")
    await served.harness.upload(served.bob.who, "The Elbe is long.", collection="rivers")
    (rivers,) = (await second.ListCollections()).collections
    for method, name in (
        ("RevokeTenantApiKey", key.api_key.name),
        # Neither the link nor the name of the user who has sent it comes into the log.
        ("RevokeShare", share.name),
        # Users make this call, too.
        ("DeleteCollection", rivers.name),
    ):
        assert (await failed(getattr(served.eve, method)(name=name))).reason == "RESOURCE_NOT_FOUND"
        await failed(getattr(second, method)(name=name))
    of_sessions = [session.name, f"sessions/{uuid7()}"]
    assert (await failed(second.RevokeTenantSessions(names=of_sessions))).reason == "ROLE_REQUIRED"

    found = await events(second, "outcome != OK")
    assert [(one.action, one.resource, one.outcome, one.affected_user) for one in reversed(found)] == [
        ("api_key.revoke", key.api_key.name, "ROLE_REQUIRED", ann),
        ("collection.delete", rivers.name, "COLLECTION_NOT_EMPTY", served.bob.name),
        ("session.revoke", session.name, "ROLE_REQUIRED", ann),
        ("session.revoke", of_sessions[1], "ROLE_REQUIRED", ""),
    ]
    elsewhere = await events(served.eve, "outcome != OK")
    assert [(one.action, one.affected_user) for one in elsewhere] == [("api_key.revoke", "")]


async def test_refusals_about_ones_own_and_of_users_are_no_acts_of_administrators(served: Served) -> None:
    for who in (served.ann, served.bob):
        made = await who.CreateCollection(collection_id="lakes")
        assert (await failed(who.DeleteCollection(name=made.name, etag="old"))).reason == ("ETAG_MISMATCH")
    for who in (served.ann, served.bob):
        await failed(who.DeleteCollection(name=f"collections/{uuid7()}"))
    assert await events(served.ann, "outcome != OK") == []


async def test_an_administrator_who_cancels_a_turn_does_not_read_it(served: Served) -> None:
    """Otherwise the cancellation of a turn that has ended would return the answer, and leave no event."""
    running = await served.bob.StartTurn(text="wait", request_id=str(uuid7()))
    answered = await served.bob.Answer(text="How long is the river?")
    for name in (running.name, answered.name):
        found = await served.ann.CancelTurn(name=name)
        assert (found.name, found.owner) == (name, served.bob.name)
        assert (found.text, found.request_id) == ("", "")
        assert found.terminal_event.WhichOneof("event") in (None, "cancelled")
    read = await served.bob.GetTurn(name=answered.name)
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
