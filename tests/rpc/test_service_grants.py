"""Services that act on behalf of users, over gRPC: grants, their end at once, and both names in the records."""

from __future__ import annotations

import grpc
from uuid_utils.compat import uuid7

from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.domain.people import Role
from tests.rpc.served import Caller, Metadata, Served, by_cookie, caller, failed


def acting(service: Caller, user: str) -> Metadata:
    return (*service.metadata, ("responsa-on-behalf-of", user))


async def service_of(served: Served, tenant: str = "acme") -> Caller:
    return await caller(served.identity, served.channel, tenant, Role.SERVICE)


async def grant(served: Served, service: Caller, user: Caller | None = None) -> str:
    scope = {"all_users": True} if user is None else {"user": user.name}
    return (await served.ann.CreateServiceGrant(service_grant={"service": service.name, **scope})).name


async def key_of(served: Served, caller: Caller) -> str:
    (found,) = (await served.ann.ListTenantApiKeys(filter=f'owner = "{caller.name}"')).api_keys
    return found.name


async def test_a_call_on_behalf_of_a_user_is_the_users(served: Served) -> None:
    service = await service_of(served)
    await grant(served, service, served.bob)
    as_bob = acting(service, served.bob.name)
    assert (await served.sending(as_bob).GetMe()).name == served.bob.name
    made = await served.sending(as_bob).CreateConversation(conversation={"title": "Rivers"})
    assert (await served.bob.GetConversation(name=made.name)).title == "Rivers"
    error = await failed(service.GetConversation(name=made.name))
    assert error.reason == "RESOURCE_NOT_FOUND"
    line = next(one for one in served.lines.of("call") if one["method"].endswith("/CreateConversation"))
    assert (line["tenant"], line["user"], line["acting"]) == (
        "acme",
        str(served.bob.who.user_id),
        str(service.who.user_id),
    )


async def test_both_names_are_in_the_audit_log(served: Served) -> None:
    """What a service changes of a user's resources is audited, as it is when an administrator does it."""
    service = await service_of(served)
    await grant(served, service, served.bob)
    as_bob = acting(service, served.bob.name)
    made = await served.sending(as_bob).CreateConversation(conversation={"title": "Rivers"})
    rivers = await served.harness.take_in(served.bob.who, "The Nile is long.", "rivers.md")
    document = f"documents/{rivers.document_id}"
    turn = await served.sending(as_bob).StartTurn(text="wait")
    await served.sending(as_bob).UpdateDocument(
        document={"name": document, "labels": {"kind": "river"}}, update_mask={"paths": ["labels"]}
    )
    await served.sending(as_bob).CancelTurn(name=turn.name)
    await served.sending(as_bob).DeleteConversation(name=made.name)
    await served.sending(as_bob).DeleteDocument(name=document)
    events = await served.ann.ListAuditEvents(
        filter=f'on_behalf_of = "{served.bob.name}"', order_by="create_time"
    )
    assert [(audit_event.action, audit_event.resource) for audit_event in events.audit_events] == [
        ("document.update", document),
        ("turn.cancel", turn.name),
        ("conversation.delete", made.name),
        ("document.delete", document),
    ]
    assert {
        (audit_event.actor, audit_event.on_behalf_of, audit_event.affected_user)
        for audit_event in events.audit_events
    } == {(service.name, served.bob.name, served.bob.name)}
    about_bob = await served.ann.ListAuditEvents(
        filter=f'affected_user = "{served.bob.name}" AND actor = "{service.name}"',
        order_by="create_time",
    )
    assert list(about_bob.audit_events) == list(events.audit_events)


async def test_a_grant_for_all_users_is_for_those_of_the_role_user_alone(served: Served) -> None:
    service, other = await service_of(served), await service_of(served)
    second = await caller(served.identity, served.channel, "acme", Role.ADMIN)
    await grant(served, service)
    newcomer = await caller(served.identity, served.channel, "acme", Role.USER)
    for user in (served.bob, newcomer):
        assert (await served.sending(acting(service, user.name)).GetMe()).name == user.name
    nobody = f"users/{uuid7()}"
    for user in (served.ann.name, second.name, other.name, service.name, served.eve.name, nobody):
        error = await failed(served.sending(acting(service, user)).GetMe())
        assert (error.code, error.reason, error.metadata) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "GRANT_REQUIRED",
            {"user": user},
        )
        assert error.message == (await failed(served.sending(acting(service, nobody)).GetMe())).message


async def test_only_a_service_with_a_key_acts_for_others(served: Served) -> None:
    token, _ = await served.identity.exchange_code((await served.ann.CreateSessionCode()).code)
    browser: Metadata = by_cookie(f"responsa_session={token}")
    for own in (served.ann.metadata, served.bob.metadata, browser):
        error = await failed(served.sending((*own, ("responsa-on-behalf-of", served.bob.name))).GetMe())
        assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ON_BEHALF_NOT_ALLOWED")


async def test_a_name_that_cannot_be_read_is_refused(served: Served) -> None:
    service = await service_of(served)
    for given in ("", "bob", "users/", "users/me", "users/0192F3C8-7A1E-7CC3-9B1E-2F6D2D5C1A10"):
        error = await failed(served.sending(acting(service, given)).GetMe())
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
        assert "users/{uuid}" in error.violations["responsa-on-behalf-of"]
    twice = (*acting(service, served.bob.name), ("responsa-on-behalf-of", served.bob.name))
    assert (await failed(served.sending(twice).GetMe())).reason == "INVALID_FIELD"


async def test_nothing_about_an_account_and_no_administration_is_done_on_a_users_behalf(
    served: Served,
) -> None:
    service = await service_of(served)
    await grant(served, service, served.bob)
    reasons = {
        Rule.OWN: "ON_BEHALF_NOT_ALLOWED",
        Rule.ADMIN: "ROLE_REQUIRED",
        Rule.OWNER: "ROLE_REQUIRED",
    }
    for method, reason in ((one, reasons[rule]) for one, rule in RULES.items() if rule in reasons):
        call = served.channel.unary_unary(method)(b"", metadata=acting(service, served.bob.name))
        error = await failed(call)
        assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, reason), method


def test_of_the_calls_about_the_account_only_reading_ones_own_record_is_left() -> None:
    members = {
        one for one, rule in RULES.items() if one.startswith("/responsa.auth.") and rule is Rule.MEMBER
    }
    assert members == {"/responsa.auth.v1.AuthService/GetMe"}


async def test_grants_that_cannot_be(served: Served) -> None:
    service, other, gone = [await service_of(served) for _ in range(3)]
    disabled = await caller(served.identity, served.channel, "acme", Role.USER)
    for who in (gone, disabled):
        await served.ann.DisableUser(name=who.name)
    cases = [
        (service, other, "INVALID_FIELD", "service_grant.user"),  # half of a cycle
        (service, disabled, "INVALID_FIELD", "service_grant.user"),
        (served.ann, served.bob, "INVALID_FIELD", "service_grant.service"),
        (gone, served.bob, "INVALID_FIELD", "service_grant.service"),
        (gone, None, "INVALID_FIELD", "service_grant.service"),
        (service, served.eve, "RESOURCE_NOT_FOUND", ""),
    ]
    for one, user, reason, field in cases:
        error = await failed(grant(served, one, user))
        assert error.reason == reason, (one, user)
        assert not field or list(error.violations) == [field]
    assert not (await served.ann.ListServiceGrants()).service_grants
    for user in (served.bob, None):
        assert await grant(served, service, user) == await grant(served, service, user)
