"""Identity on real PostgreSQL: credentials, sessions, keys, tenants and the audit log."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from uuid_utils.compat import uuid7

from responsa_server.app.resources import ensure_administrator
from responsa_server.domain.errors import (
    AlreadyExists,
    InvalidRequest,
    NotFound,
    Reason,
    ResponsaError,
)
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.people import NewKey, Principal, Role
from responsa_server.identity.credentials import (
    LIFETIME_SECONDS,
    REMEMBERED_SECONDS,
    CredentialCache,
    SecretKind,
    new_secret,
)
from responsa_server.identity.service import Credential, Identity
from responsa_server.identity.settings import SessionSettings
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.identity import PostgresIdentityStore
from tests.conftest import DatabaseUrls
from tests.raising import raises

SESSIONS = SessionSettings()
NEWEST = ListQuery(50, Order("create_time", descending=True))


@pytest.fixture
def identity(database: Database) -> Identity:
    return identity_of(database)


def identity_of(database: Database, cache: CredentialCache | None = None) -> Identity:
    return Identity(
        PostgresIdentityStore(database),
        uuid7,
        code_seconds=SESSIONS.code_seconds,
        session_seconds=SESSIONS.session_seconds,
        cache=cache,
    )


async def person(identity: Identity, tenant: str = "acme", role: Role = Role.USER) -> tuple[Principal, str]:
    """A new user of the tenant, and the secret of the user's key. The tenant is created if it is missing. The first
    tenant is the installation's own, which has no users, so that no user owns the installation.
    """
    for one in ("home", tenant):
        with contextlib.suppress(AlreadyExists):
            await identity.create_tenant(one, one)
    user = await identity.create_user(tenant, "Ann", "", role)
    _, secret = await identity.create_key(tenant, user.id, "test")
    return Principal(tenant, user.id, role, "api_key"), secret


def key(secret: str) -> Credential:
    return Credential("api_key", secret)


async def refusal(work: Awaitable[object]) -> ResponsaError:
    return await raises(ResponsaError, work)


async def refused(reason: Reason, work: Awaitable[object]) -> ResponsaError:
    """The error of a call that is refused for this reason."""
    error = await refusal(work)
    assert error.reason is reason
    return error


async def session_of(identity: Identity, caller: Principal) -> Credential:
    """A browser's session that a code of the caller has begun."""
    code, _ = await identity.create_session_code(caller)
    token, _ = await identity.exchange_code(code)
    return Credential("session", token)


def audited(urls: DatabaseUrls) -> list[tuple[str, str, str]]:
    rows = urls.ask("SELECT actor, action, resource_name FROM responsa.audit_event ORDER BY id")
    return [(actor, action, name) for actor, action, name in rows]


def forget_time(urls: DatabaseUrls, table: str) -> None:
    """Set the expiry of all rows to the past."""
    urls.ask(f"UPDATE responsa.{table} SET expire_time = now() - interval '1 second'")


async def test_a_key_made_on_the_servers_machine_can_have_fewer_rights(identity: Identity) -> None:
    who, _ = await person(identity, role=Role.ADMIN)
    made, secret = await identity.create_key("acme", who.user_id, "", Role.USER)
    assert made.role is Role.USER
    narrow = await identity.authenticate(key(secret))
    assert (narrow.user_id, narrow.role, narrow.narrowed) == (who.user_id, Role.USER, True)
    service = await identity.create_user("acme", "Bot", "", Role.SERVICE)
    error = await refusal(identity.create_key("acme", service.id, "", Role.USER))
    assert isinstance(error, InvalidRequest)
    assert "SERVICE" in error.message
    _, secret = await identity.create_key("acme", service.id, "", widget=True)
    assert (await identity.authenticate(key(secret))).widget


async def test_a_machine_without_its_key_file_keeps_its_administrator(
    identity: Identity, tmp_path: Path
) -> None:
    file = tmp_path / "api-key"
    first = await ensure_administrator(identity, file)
    lost = file.read_text()
    file.unlink()
    assert (await ensure_administrator(identity, file)).user_id == first.user_id
    assert file.read_text() != lost


async def test_a_session_token_is_no_key_and_a_key_no_session(identity: Identity) -> None:
    who, secret = await person(identity)
    code, _ = await identity.create_session_code(who)
    token, _ = await identity.exchange_code(code)
    await refused(Reason.CREDENTIAL_MALFORMED, identity.authenticate(key(token)))
    await refused(Reason.CREDENTIAL_MALFORMED, identity.authenticate(Credential("session", secret)))


async def test_a_key_revoked_elsewhere_is_refused_within_a_second(database: Database) -> None:
    now = 100.0
    here = identity_of(database, CredentialCache(lambda: now))
    elsewhere = identity_of(database)
    who, secret = await person(elsewhere)
    await here.authenticate(key(secret))
    (one,) = (await elsewhere.store.list_keys(who, NEWEST)).items
    await elsewhere.revoke_api_key(who, one.id)
    now += LIFETIME_SECONDS
    assert LIFETIME_SECONDS < 1
    await refused(Reason.CREDENTIAL_REVOKED, here.authenticate(key(secret)))


async def test_a_server_that_keeps_no_credentials_refuses_at_once(database: Database) -> None:
    here, elsewhere = identity_of(database, CredentialCache(seconds=0)), identity_of(database)
    who, secret = await person(elsewhere)
    await here.authenticate(key(secret))
    (one,) = (await elsewhere.store.list_keys(who, NEWEST)).items
    await elsewhere.revoke_api_key(who, one.id)
    await refused(Reason.CREDENTIAL_REVOKED, here.authenticate(key(secret)))


async def without_database(urls: DatabaseUrls, cache: CredentialCache) -> Identity:
    gone = Database(urls.app, urls.log, size=1)
    await gone.open()
    await gone.close()
    return identity_of(gone, cache)


async def test_without_the_database_calls_about_outages_know_whom_it_has_confirmed(
    database: Database, database_urls: DatabaseUrls
) -> None:
    now = 100.0
    cache = CredentialCache(lambda: now)
    here, away = identity_of(database, cache), await without_database(database_urls, cache)
    who, secret = await person(here, role=Role.ADMIN)
    _, unseen = await here.create_key("acme", who.user_id, "never used")
    known = await here.authenticate_in_outage(key(secret))
    now += LIFETIME_SECONDS
    await refused(Reason.PART_UNAVAILABLE, away.authenticate(key(secret)))
    assert await away.authenticate_in_outage(key(secret)) == known
    await refused(Reason.PART_UNAVAILABLE, away.authenticate_in_outage(key(unseen)))
    now += REMEMBERED_SECONDS
    await refused(Reason.PART_UNAVAILABLE, away.authenticate_in_outage(key(secret)))


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_key_that_is_known_to_be_revoked_is_not_remembered(
    elsewhere: bool, database: Database, database_urls: DatabaseUrls
) -> None:
    now = 100.0
    cache = CredentialCache(lambda: now)
    here, away = identity_of(database, cache), await without_database(database_urls, cache)
    who, secret = await person(here)
    known = await here.authenticate(key(secret))
    now += LIFETIME_SECONDS
    assert await away.authenticate_in_outage(key(secret)) == known
    (one,) = (await here.store.list_keys(who, NEWEST)).items
    await (identity_of(database) if elsewhere else here).revoke_api_key(who, one.id)
    if elsewhere:
        await refused(Reason.CREDENTIAL_REVOKED, here.authenticate(key(secret)))
    await refused(Reason.PART_UNAVAILABLE, away.authenticate_in_outage(key(secret)))


async def test_an_answer_that_a_revocation_overtook_is_not_kept() -> None:
    cache = CredentialCache()
    caller = Principal("acme", uuid7(), Role.USER, "api_key")
    mark = cache.mark()
    cache.forget("key")
    cache.keep(b"digest", caller, "key", mark)
    assert cache.find(b"digest") is None
    cache.keep(b"digest", caller, "key", cache.mark())
    assert cache.find(b"digest") == caller


async def test_an_expired_key(identity: Identity, database_urls: DatabaseUrls) -> None:
    who, _ = await person(identity)
    _, secret = await identity.create_api_key(who, NewKey("short", datetime.now(UTC) + timedelta(days=1)))
    forget_time(database_urls, "api_key")
    await refused(Reason.CREDENTIAL_EXPIRED, identity.authenticate(key(secret)))


async def test_a_key_made_twice_at_once(identity: Identity) -> None:
    who, _ = await person(identity)
    request = uuid7()
    made = await asyncio.gather(*(identity.create_api_key(who, NewKey("laptop"), request) for _ in range(5)))
    assert len({found.id for found, _ in made}) == 1
    assert len([secret for _, secret in made if secret]) == 1


async def test_a_key_that_was_refused_leaves_its_request_id_free(identity: Identity) -> None:
    caller, _ = await person(identity)
    request = uuid7()
    past = datetime.now(UTC) - timedelta(seconds=5)
    for _ in range(2):
        await refused(Reason.INVALID_FIELD, identity.create_api_key(caller, NewKey("late", past), request))
    _, secret = await identity.create_api_key(caller, NewKey("on time"), request)
    assert secret


async def test_of_many_who_use_a_code_at_once_one_wins(identity: Identity) -> None:
    who, _ = await person(identity)
    code, _ = await identity.create_session_code(who)
    results = await asyncio.gather(*(identity.exchange_code(code) for _ in range(8)), return_exceptions=True)
    assert sum(not isinstance(result, BaseException) for result in results) == 1
    assert all(
        result.reason is Reason.SESSION_CODE_INVALID
        for result in results
        if isinstance(result, ResponsaError)
    )


async def test_an_expired_code_begins_nothing(identity: Identity, database_urls: DatabaseUrls) -> None:
    who, _ = await person(identity)
    code, _ = await identity.create_session_code(who)
    forget_time(database_urls, "session_code")
    await refused(Reason.SESSION_CODE_INVALID, identity.exchange_code(code))
    assert database_urls.value("SELECT count(*) FROM responsa.session") == 0


async def test_sessions_end(identity: Identity, database_urls: DatabaseUrls) -> None:
    caller, _ = await person(identity)
    token, _ = await identity.exchange_code((await identity.create_session_code(caller))[0])
    await identity.authenticate(Credential("session", token))
    await identity.end_session(token)
    await identity.end_session(token)
    await identity.end_session("nonsense")
    error = await refused(Reason.CREDENTIAL_UNKNOWN, identity.authenticate(Credential("session", token)))
    assert "session has ended" in error.message

    other, _ = await identity.exchange_code((await identity.create_session_code(caller))[0])
    forget_time(database_urls, "session")
    await refused(Reason.CREDENTIAL_EXPIRED, identity.authenticate(Credential("session", other)))
    await identity.create_session_code(caller)
    assert database_urls.value("SELECT count(*) FROM responsa.session") == 0


async def test_what_administrators_do_is_audited(identity: Identity, database_urls: DatabaseUrls) -> None:
    who, _ = await person(identity)
    made, _ = await identity.create_api_key(who, NewKey("second"))
    await identity.revoke_api_key(who, made.id)
    await identity.revoke_api_key(who, made.id)
    user = f"users/{who.user_id}"
    events = [one for one in audited(database_urls) if one[2] != "tenants/home"]
    assert [(actor, action) for actor, action, _ in events] == [
        ("local", "tenant.create"),
        ("local", "user.create"),
        ("local", "api_key.create"),
        (user, ""),
        (user, ""),
    ]
    assert events[0][2] == "tenants/acme"
    assert events[1][2] == user
    assert events[3][2] == events[4][2] == f"apiKeys/{made.id}"


async def test_users(identity: Identity) -> None:
    await identity.create_tenant("acme", "Acme")
    await identity.create_tenant("rival", "Rival")
    made = await identity.create_user("acme", "Ann", "  Ann@Example.ORG ", Role.ADMIN)
    assert (made.email, made.role) == ("ann@example.org", Role.ADMIN)
    error = await refusal(identity.create_user("acme", "Ann again", "ＡＮＮ@example.org", Role.USER))
    assert isinstance(error, AlreadyExists)
    await identity.create_user("rival", "Another Ann", "ann@example.org", Role.USER)
    await identity.create_user("acme", "No mail", "", Role.SERVICE)
    await identity.create_user("acme", "No mail either", "", Role.SERVICE)
    missing = await refusal(identity.create_user("nobody", "x", "", Role.USER))
    assert missing.metadata == {"resource_type": "tenant", "resource_name": "tenants/nobody"}
    assert isinstance(await refusal(identity.create_key("acme", uuid7(), "")), NotFound)
    assert isinstance(await refusal(identity.create_key("rival", made.id, "")), NotFound)


async def test_addresses_that_are_none(identity: Identity) -> None:
    for address in ("a", "@b", "a@", "a b@c", "a@b@c", "a\n@b", "a@.", "é" * 200 + "@b.org"):
        error = await refusal(identity.create_user("acme", "x", address, Role.USER))
        assert error.violations[0].field == "email"


def test_a_credential_does_not_show_its_secret() -> None:
    secret = new_secret(SecretKind.API_KEY)
    assert secret not in repr(key(secret))
