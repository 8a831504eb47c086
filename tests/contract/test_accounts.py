"""Accounts on real PostgreSQL: sign-in, refresh tokens, sessions, invitations, codes, and the count of attempts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import bcrypt
import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.accounts import MOST_SESSIONS, NewSession, StartedSession
from responsa_server.domain.addresses import network_of
from responsa_server.domain.errors import (
    AlreadyExists,
    Exhausted,
    InvalidRequest,
    NotFound,
    Reason,
    Unauthenticated,
)
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.people import AuditEvent, Origin, Principal, Role, User, UserChange
from responsa_server.identity import accounts
from responsa_server.identity.accounts import ADDRESS_REPEAT_SECONDS, Accounts, SignedIn
from responsa_server.identity.credentials import LIFETIME_SECONDS, CredentialCache, digest
from responsa_server.identity.passwords import Verified
from responsa_server.identity.service import Credential
from responsa_server.identity.settings import PasswordSettings, Registration, TokenSettings
from responsa_server.identity.users import UserAdministration
from responsa_server.stores.postgres.accounts import PostgresAccountStore
from responsa_server.stores.postgres.audit import PostgresAuditTrail
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.users import PostgresUsers
from tests.conftest import DatabaseUrls
from tests.contract.cut_database import opened
from tests.contract.test_identity import audited, refusal, refused, session_of
from tests.instance import PATIENCE
from tests.people import GOOD, People, people_of
from tests.raising import raises

NEWEST = ListQuery(50, Order("create_time", descending=True))
HERE = Origin("192.0.2.7", "test/1.0")
OTHER = "seven purple walruses hum"


@pytest.fixture
def people(database: Database) -> People:
    return people_of(database)


def token(signed: SignedIn) -> Credential:
    return Credential("token", signed.access_token)


async def user_of(people: People, email: str = "ann@example.org", role: Role = Role.USER) -> User:
    """A user of the tenant acme with the password GOOD."""
    with contextlib.suppress(AlreadyExists):
        await people.identity.create_tenant("acme", "Acme")
    user = await people.identity.create_user("acme", "Ann", email, role)
    code, _ = await people.accounts.create_reset_code(principal(user), user.id)
    await people.accounts.reset_password(code, GOOD)
    return user


def principal(user: User) -> Principal:
    return Principal(user.tenant_id, user.id, user.role, "api_key", owner=user.owner)


async def login(people: People, email: str = "ann@example.org", password: str = GOOD) -> SignedIn:
    signed, _ = await people.accounts.login("acme", email, password, HERE)
    return signed


async def test_a_sign_in_makes_tokens_that_identify_the_user(people: People) -> None:
    user = await user_of(people)
    signed, found = await people.accounts.login("acme", " Ann@Example.ORG ", GOOD, HERE)
    assert found.id == user.id
    assert signed.refresh_token.startswith("rst_")
    left = signed.access_expire_time - datetime.now(UTC)
    assert timedelta(minutes=14) < left <= timedelta(minutes=15, seconds=2)
    assert timedelta(days=29) < signed.refresh_expire_time - datetime.now(UTC) < timedelta(days=31)
    who = await people.identity.authenticate(token(signed))
    assert who == Principal("acme", user.id, Role.USER, "token")
    assert who.expires == signed.access_expire_time.timestamp()
    (session,) = (await people.accounts.store.sessions(who, NEWEST)).items
    assert (session.id, session.address, session.user_agent) == (
        who.session_id,
        "192.0.2.7",
        "test/1.0",
    )
    assert signed.access_token not in repr(signed)


async def test_secrets_are_stored_as_hashes_alone(people: People, database_urls: DatabaseUrls) -> None:
    user = await user_of(people)
    signed = await login(people)
    cookie, _ = await people.accounts.login_browser("acme", user.email, GOOD, HERE)
    invitation, _ = await people.accounts.create_invitation(principal(user), Role.USER, "", 60)
    reset, _ = await people.accounts.create_reset_code(principal(user), user.id)
    _, key = await people.identity.create_key("acme", user.id, "test")
    used, _ = await people.identity.create_session_code(principal(user))
    session, _ = await people.identity.exchange_code(used)
    code, _ = await people.identity.create_session_code(principal(user))
    secrets = (
        GOOD,
        signed.refresh_token,
        signed.access_token,
        cookie,
        invitation,
        reset,
        key,
        used,
        session,
        code,
    )
    tables = database_urls.ask("SELECT tablename FROM pg_tables WHERE schemaname = 'responsa'")
    for (table,) in tables:
        text = str(database_urls.ask(f"SELECT * FROM responsa.{table}"))
        for secret in secrets:
            assert secret not in text, table


async def test_every_failed_sign_in_gets_the_same_reply_after_one_check_of_a_password(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So neither the reply nor its time tells whether the account exists."""
    await user_of(people)
    verify, checked = people.passwords.verify, list[str | None]()

    async def counted(stored: str | None, password: str) -> Verified:
        checked.append(stored)
        return await verify(stored, password)

    monkeypatch.setattr(people.passwords, "verify", counted)
    await people.identity.create_tenant("rival", "Rival")
    await people.identity.create_user("acme", "No password", "keyless@example.org", Role.USER)
    await people.identity.create_user("acme", "Robot", "robot@example.org", Role.SERVICE)
    for tenant, email, password in (
        ("acme", "ann@example.org", OTHER),
        ("acme", "ann@example.org", ""),
        ("acme", "", GOOD),
        ("acme", "nobody@example.org", GOOD),
        ("no-tenant", "ann@example.org", GOOD),
        ("acme", "keyless@example.org", GOOD),
        ("acme", "robot@example.org", GOOD),
        ("rival", "ann@example.org", GOOD),
    ):
        error = await refusal(people.accounts.login(tenant, email, password, HERE))
        assert (error.reason, error.metadata, error.violations) == (Reason.SIGN_IN_FAILED, {}, ())
        assert "wrong" in error.message
        assert len(checked) == 1
        checked.clear()


async def test_failed_attempts_are_counted_whether_or_not_the_account_exists(database: Database) -> None:
    people = people_of(database, passwords=PasswordSettings(attempts_per_account=3))
    await user_of(people)
    for email in ("ann@example.org", "nobody@example.org"):
        for _ in range(3):
            await refused(Reason.SIGN_IN_FAILED, people.accounts.login("acme", email, OTHER, HERE))
        for password in (OTHER, GOOD):
            error = await refusal(people.accounts.login("acme", email, password, HERE))
            assert (error.reason, error.metadata) == (Reason.TOO_MANY_ATTEMPTS, {})
            assert error.retry_after is not None
            assert 800 < error.retry_after <= 900


async def test_a_success_forgets_failures_and_a_window_ends(
    database: Database, database_urls: DatabaseUrls
) -> None:
    people = people_of(database, passwords=PasswordSettings(attempts_per_account=3))
    await user_of(people)
    for _ in range(3):
        for _ in range(2):
            await refusal(people.accounts.login("acme", "ann@example.org", OTHER, HERE))
        await login(people)
    errors = [await refusal(people.accounts.login("acme", "ann@example.org", OTHER, HERE)) for _ in range(4)]
    assert errors[-1].reason is Reason.TOO_MANY_ATTEMPTS
    database_urls.ask("UPDATE responsa.sign_in_attempt SET end_time = now()")
    await login(people)


async def test_attempts_are_counted_per_address_too_and_at_the_same_time(database: Database) -> None:
    settings = PasswordSettings(attempts_per_address=5)
    people = people_of(database, passwords=settings)
    await user_of(people)
    await login(people)
    errors = await asyncio.gather(
        *(refusal(people.accounts.login("acme", f"no{n}@example.org", OTHER, HERE)) for n in range(20))
    )
    assert sum(error.reason is Reason.SIGN_IN_FAILED for error in errors) == 5
    await refused(Reason.TOO_MANY_ATTEMPTS, login(people))
    await people.accounts.login("acme", "ann@example.org", GOOD, Origin("192.0.2.8"))


async def test_a_stranger_does_not_lock_the_owner_out(database: Database) -> None:
    """Even if the stranger goes on after the refusal, and changes the address within an IPv6 network."""
    settings = PasswordSettings(attempts_per_account=3, attempts_per_account_everywhere=9)
    people = people_of(database, passwords=settings)
    await user_of(people)

    async def attack(addresses: Iterable[str]) -> list[Reason]:
        origins = [Origin(address) for address in addresses]
        return [
            (await refusal(people.accounts.login("acme", "ann@example.org", OTHER, origin))).reason
            for origin in origins
        ]

    failed, refused = [Reason.SIGN_IN_FAILED], [Reason.TOO_MANY_ATTEMPTS]
    assert await attack(["192.0.2.66"] * 20) == failed * 3 + refused * 17
    assert await attack(f"2001:db8::{one:x}" for one in range(1, 20)) == failed * 3 + refused * 16
    assert await attack(["::ffff:192.0.2.66"]) == refused
    await login(people)
    # A success at one address forgives no failures at the others.
    assert await attack(["192.0.2.66"]) == refused
    # Guesses from many addresses have another limit.
    assert await attack(f"198.51.100.{one}" for one in range(5)) == failed * 3 + refused * 2


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_the_addresses_of_one_household_are_one_network(address: str, network: str) -> None:
    assert network_of(address) == network


async def test_refused_sign_ins_are_in_the_audit_log_and_cannot_fill_it(
    database: Database, database_urls: DatabaseUrls
) -> None:
    settings = PasswordSettings(attempts_per_account=3)
    people = people_of(database, passwords=settings)
    user = await user_of(people)

    async def attack(email: str, tenant: str = "acme") -> None:
        await refusal(people.accounts.login(tenant, email, OTHER, Origin("192.0.2.66", "", "call-1")))

    def events() -> list[tuple[object, ...]]:
        query = (
            "SELECT tenant_id, actor, action, resource_name, outcome, address, call_id FROM "
            "responsa.audit_event WHERE outcome <> 'OK' ORDER BY id"
        )
        return database_urls.ask(query)

    for number in range(8):
        await attack("ann@example.org")
        await attack(f"nobody{number}@example.org")
        await attack("ann@example.org", "no-such-tenant")
    await people.accounts.close()
    named = f"users/{user.id}"
    expected = [
        ("acme", "anonymous", "session.create", resource, outcome, "192.0.2.66", "call-1")
        for resource, outcome in (
            (named, "SIGN_IN_FAILED"),
            ("", "SIGN_IN_FAILED"),
            (named, "TOO_MANY_ATTEMPTS"),
        )
    ]
    assert sorted(events(), key=str) == sorted(expected, key=str)
    # Another process writes none of them again, until the window has ended.
    other = people_of(database, passwords=settings)
    await refusal(other.accounts.login("acme", "ann@example.org", OTHER, HERE))
    await other.accounts.close()
    assert len(events()) == len(expected)
    database_urls.ask("UPDATE responsa.sign_in_attempt SET end_time = now()")
    another = people_of(database, passwords=settings)
    await refusal(another.accounts.login("acme", "ann@example.org", OTHER, HERE))
    await another.accounts.close()
    assert len(events()) == len(expected) + 1


async def test_sessions_of_links_and_their_end_in_the_browser_are_in_the_audit_log(
    people: People, database_urls: DatabaseUrls
) -> None:
    user = await user_of(people)
    who = Principal("acme", user.id, Role.USER, "api_key")
    code, _ = await people.identity.create_session_code(who)
    token, _ = await people.identity.exchange_code(code, Origin("192.0.2.1", "", "call-1"))
    session = (await people.identity.authenticate(Credential("session", token))).session_id
    for _ in range(2):
        await people.identity.end_session(token, Origin("192.0.2.2", "", "call-2"))
    query = "SELECT actor, action, address, call_id FROM responsa.audit_event WHERE resource_name = %s ORDER BY id"
    found = database_urls.ask(query, f"sessions/{session}")
    named = f"users/{user.id}"
    assert found == [
        (named, "session.create", "192.0.2.1", "call-1"),
        (named, "session.end", "192.0.2.2", "call-2"),
    ]


async def test_a_password_hashed_by_bcrypt_is_upgraded_at_sign_in(
    people: People, database_urls: DatabaseUrls
) -> None:
    user = await user_of(people)
    old = bcrypt.hashpw(GOOD.encode(), bcrypt.gensalt(4)).decode()
    database_urls.ask(f"UPDATE responsa.user_password SET hash = '{old}'")
    await login(people)
    account = await people.store.account_of("acme", user.id)
    assert account is not None
    assert (account.hash or "").startswith("$argon2id$")
    await login(people)


async def test_a_lost_reply_is_repeated(database: Database) -> None:
    here, elsewhere = people_of(database), people_of(database)
    await user_of(here)
    signed, request = await login(here), uuid7()
    first = await here.accounts.refresh(signed.refresh_token, request)
    for people in (here, elsewhere):
        # Also after a rotation: the reply names the same key.
        await elsewhere.tokens.rotate()
        assert await people.accounts.refresh(signed.refresh_token, request) == first
    await here.accounts.refresh(first.refresh_token, uuid7())
    # The successor was used, so this is no longer a lost reply.
    await refused(Reason.TOKEN_INVALID, here.accounts.refresh(signed.refresh_token, request))


async def test_a_lost_reply_without_a_request_id_is_repeated_for_its_address(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All repetitions get the same tokens, on all servers. The addresses of an IPv6 network (/64) count as one."""
    # A busy machine may take longer than the five seconds.
    monkeypatch.setattr(accounts, "ADDRESS_REPEAT_SECONDS", PATIENCE)
    servers = people_of(database), people_of(database)
    await user_of(servers[0])
    for first, again in ((HERE, HERE), (Origin("2001:db8::1"), Origin("2001:db8::ffff"))):
        signed = await login(servers[0])
        wanted = await servers[0].accounts.refresh(signed.refresh_token, None, first)
        replies = await asyncio.gather(
            *(servers[n % 2].accounts.refresh(signed.refresh_token, None, again) for n in range(20))
        )
        assert all(reply == wanted for reply in replies)
        await servers[1].accounts.refresh(wanted.refresh_token, None, again)


@pytest.mark.parametrize("how", ["another address", "unknown address", "a request_id", "late"])
async def test_a_second_use_without_a_request_id_ends_the_session(
    people: People, database_urls: DatabaseUrls, how: str
) -> None:
    await user_of(people)
    signed = await login(people)
    origin = Origin() if how == "unknown address" else HERE
    first = await people.accounts.refresh(signed.refresh_token, None, origin)
    if how == "late":
        late = f"use_time = use_time - interval '{ADDRESS_REPEAT_SECONDS} s'"
        database_urls.ask(f"UPDATE responsa.refresh_token SET {late}")
    again = Origin("192.0.2.8") if how == "another address" else origin
    request = uuid7() if how == "a request_id" else None
    await refused(Reason.TOKEN_INVALID, people.accounts.refresh(signed.refresh_token, request, again))
    await refused(Reason.TOKEN_INVALID, people.identity.authenticate(token(first)))


@pytest.mark.parametrize("how", ["another request_id", "no request_id", "late", "successor used"])
async def test_a_second_use_ends_the_session_everywhere(
    database: Database, database_urls: DatabaseUrls, how: str
) -> None:
    now = 100.0
    here, elsewhere = people_of(database), people_of(database, cache=CredentialCache(lambda: now))
    user = await user_of(here)
    other = await login(here)
    signed, request = await login(here), uuid7()
    first = await here.accounts.refresh(signed.refresh_token, request)
    await elsewhere.identity.authenticate(token(first))
    again = {"another request_id": uuid7(), "no request_id": None}.get(how, request)
    if how == "late":
        database_urls.ask("UPDATE responsa.refresh_token SET use_time = use_time - interval '61 s'")
    elif how == "successor used":
        await here.accounts.refresh(first.refresh_token, uuid7())
    await refused(Reason.TOKEN_INVALID, here.accounts.refresh(signed.refresh_token, again))
    await refused(Reason.TOKEN_INVALID, here.identity.authenticate(token(first)))
    now += LIFETIME_SECONDS
    await refused(Reason.TOKEN_INVALID, elsewhere.identity.authenticate(token(first)))
    await refused(Reason.TOKEN_INVALID, here.accounts.refresh(first.refresh_token, uuid7()))
    # Other sessions of the user go on.
    await here.identity.authenticate(token(other))
    acts = [one[:2] for one in audited(database_urls)]
    assert acts.count((f"users/{user.id}", "session.token_reused")) == 1


async def test_racing_refreshes_with_lost_replies_sign_nobody_out(database: Database) -> None:
    """A dozen sessions. In each, four processes send the same pair at once, on two servers, and each reply may be lost."""
    servers = people_of(database), people_of(database)
    await user_of(servers[0])
    sessions = [await login(servers[0]) for _ in range(12)]
    # A refresh waits ten seconds for a connection. If all sessions refreshed at once, 48 calls would wait for ten
    # connections, and on a busy machine the last ones in vain.
    gate = asyncio.Semaphore(8)

    async def race(signed: SignedIn) -> SignedIn:
        async with gate:
            for _ in range(3):
                request = uuid7()
                replies = await asyncio.gather(
                    *(servers[n % 2].accounts.refresh(signed.refresh_token, request) for n in range(4))
                )
                assert len(set(map(repr, (reply.refresh_token for reply in replies)))) == 1
                assert len({reply.access_token for reply in replies}) == 1
                signed = replies[0]
        return signed

    ends = await asyncio.gather(*map(race, sessions))
    for end in ends:
        await servers[1].identity.authenticate(token(end))
    # Whoever stole a refresh token is caught, whether thief or owner comes first.
    for stolen in sessions[:4]:
        await refusal(servers[0].accounts.refresh(stolen.refresh_token, uuid7()))
    for end in ends[:4]:
        await refused(Reason.TOKEN_INVALID, servers[0].identity.authenticate(token(end)))
    for end in ends[4:]:
        await servers[0].identity.authenticate(token(end))


async def test_racing_thieves_never_both_win(database: Database) -> None:
    servers = people_of(database), people_of(database)
    await user_of(servers[0])
    for _ in range(6):
        signed = await login(servers[0])
        replies = await asyncio.gather(
            *(server.accounts.refresh(signed.refresh_token, uuid7()) for server in servers),
            return_exceptions=True,
        )
        won = [reply for reply in replies if isinstance(reply, SignedIn)]
        assert len(won) == 1
        await refused(Reason.TOKEN_INVALID, servers[0].accounts.refresh(won[0].refresh_token, uuid7()))


async def test_a_session_expires_unless_it_is_refreshed(people: People, database_urls: DatabaseUrls) -> None:
    await user_of(people)
    signed = await login(people)
    # However often it is refreshed, it ends in the end: here, a day from now.
    begun = f"now() - make_interval(secs => {TokenSettings().session_seconds} - 86400)"
    database_urls.ask(
        f"UPDATE responsa.session SET create_time = {begun}, expire_time = now() + interval '1 min'",
    )
    signed = await people.accounts.refresh(signed.refresh_token, uuid7())
    left = signed.refresh_expire_time - datetime.now(UTC)
    assert timedelta(hours=23) < left <= timedelta(days=1, seconds=2)
    database_urls.ask("UPDATE responsa.session SET expire_time = now()")
    await refused(Reason.TOKEN_INVALID, people.accounts.refresh(signed.refresh_token, uuid7()))
    await refused(Reason.TOKEN_INVALID, people.identity.authenticate(token(signed)))


async def test_logout_ends_the_session_at_once(people: People) -> None:
    await user_of(people)
    signed = await login(people)
    second = await people.accounts.refresh(signed.refresh_token, uuid7())
    await people.identity.authenticate(token(second))
    # A used refresh token names its session as well.
    await people.accounts.logout(signed.refresh_token)
    await refused(Reason.TOKEN_INVALID, people.identity.authenticate(token(second)))
    await people.accounts.logout(signed.refresh_token)


async def test_recent_sessions_are_confirmed_together_and_what_another_server_changes_is_noticed(
    database: Database, database_urls: DatabaseUrls
) -> None:
    now = 100.0
    here = people_of(database)
    user = await user_of(here)
    others = [await user_of(here, f"{name}@example.org") for name in ("bob", "eve", "zoe")]
    signed = [await login(here, one.email) for one in (user, user, *others)]
    _, secret = await here.identity.create_key("acme", user.id, "test")
    credentials = [*map(token, signed), Credential("api_key", secret)]
    async with opened(Database(database_urls.app, database_urls.log, size=2)) as pools:
        # The clock of this server's cache stands still, so nothing expires unless the test says so.
        elsewhere = people_of(pools, cache=CredentialCache(lambda: now))
        for credential in credentials:
            await elsewhere.identity.authenticate(credential)
        for _ in range(3):
            now += LIFETIME_SECONDS / 2
            assert await elsewhere.identity.confirm()
        assert len(elsewhere.cache.recent()) == len(credentials)

        administration = UserAdministration(PostgresUsers(database), uuid7, here.cache)
        chief = principal(await user_of(here, "chief@example.org", Role.ADMIN))
        await here.accounts.logout(signed[0].refresh_token)
        await administration.update(chief, others[0].id, UserChange(disabled=True), "")
        await administration.update(chief, others[1].id, UserChange(role=Role.ADMIN), "")
        # The process confirms by itself, without a call.
        async with asyncio.timeout(20):
            while len(elsewhere.cache.recent()) > 3:  # noqa: ASYNC110  the process confirms without a caller
                await asyncio.sleep(0.01)
        await refused(Reason.TOKEN_INVALID, elsewhere.identity.authenticate(credentials[0]))
        await refused(Reason.USER_DISABLED, elsewhere.identity.authenticate(credentials[2]))
        assert (await elsewhere.identity.authenticate(credentials[3])).role is Role.ADMIN
        await elsewhere.identity.authenticate(credentials[1])
        checks = [task for task in asyncio.all_tasks() if task.get_name() == "checks of credentials"]
        assert checks
        await elsewhere.identity.close()
        assert all(check.done() for check in checks)
    # Without the database nobody is confirmed, and nobody is known for longer than before.
    await refused(Reason.PART_UNAVAILABLE, elsewhere.identity.confirm())
    await elsewhere.identity.authenticate(credentials[1])
    now += LIFETIME_SECONDS
    await refused(Reason.PART_UNAVAILABLE, elsewhere.identity.authenticate(credentials[1]))


async def test_a_token_ends_at_its_time_also_while_its_session_is_known(people: People) -> None:
    await user_of(people)
    signed = await login(people)
    who = await people.identity.authenticate(token(signed))
    claims = await people.tokens.verify(signed.access_token)
    ended, _, _ = await people.tokens.sign(claims, datetime.now(UTC) - timedelta(hours=1))
    people.cache.keep(digest(ended), who, who.session_id, people.cache.mark())
    await refused(Reason.TOKEN_INVALID, people.identity.authenticate(Credential("token", ended)))


async def test_sessions_are_revoked_by_name_or_all_others(people: People) -> None:
    await user_of(people)
    stranger = await user_of(people, "eve@example.org")
    first, second, third = [await login(people) for _ in range(3)]
    cookie, _ = await people.accounts.login_browser("acme", "ann@example.org", GOOD, HERE)
    theirs = await login(people, "eve@example.org")
    caller = await people.identity.authenticate(token(first))
    gone = await people.identity.authenticate(token(second))
    await people.identity.authenticate(Credential("session", cookie))
    found = (await people.accounts.store.sessions(caller, NEWEST)).items
    assert len(found) == 4
    assert gone.session_id is not None
    assert await people.accounts.revoke_sessions(caller, [gone.session_id, uuid7()], all_others=False) == 1
    await refusal(people.identity.authenticate(token(second)))
    await people.identity.authenticate(token(third))
    eve = await people.identity.authenticate(token(theirs))
    assert eve.user_id == stranger.id
    assert eve.session_id is not None
    assert await people.accounts.revoke_sessions(caller, [eve.session_id], all_others=False) == 0
    assert await people.accounts.revoke_sessions(caller, [], all_others=True) == 2
    for credential in (token(third), Credential("session", cookie)):
        await refusal(people.identity.authenticate(credential))
    await people.identity.authenticate(token(first))
    await people.identity.authenticate(token(theirs))
    assert [item.id for item in (await people.accounts.store.sessions(caller, NEWEST)).items] == [
        caller.session_id
    ]


class Overtaken(PostgresAccountStore):
    """The store of a server on which something else happens between the check of a password and the beginning of the session."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def begin_session(
        self,
        user_id: UUID,
        kind: str,
        session: NewSession,
        audit: AuditEvent,
        password_time: datetime | None = None,
    ) -> StartedSession | None:
        """Let the other thing happen, once, and go on."""
        act, self.meanwhile = self.meanwhile, None
        if act is not None:
            await act()
        return await super().begin_session(user_id, kind, session, audit, password_time)


@pytest.mark.parametrize("what", ["reset", "disabled", "service", "upgraded"])
async def test_what_overtakes_a_sign_in_counts(
    database: Database, database_urls: DatabaseUrls, what: str
) -> None:
    """A thief with the old password gets no session that survives the new password."""
    people = people_of(database)
    user = await user_of(people)
    store = Overtaken(database)
    accounts = people_of(database, store=store).accounts

    async def reset() -> None:
        code, _ = await people.accounts.create_reset_code(principal(user), user.id)
        await people.accounts.reset_password(code, OTHER)

    async def changed(values: str) -> None:
        database_urls.ask(f"UPDATE responsa.app_user SET {values}")

    async def upgraded() -> None:
        """Another sign-in has just replaced the hash of the same password."""
        account = await store.account_of("acme", user.id)
        assert account is not None
        assert account.hash is not None
        await store.upgrade_hash("acme", user.id, account.hash, account.hash)

    acts: dict[str, Callable[[], Awaitable[object]]] = {
        "reset": reset,
        "disabled": lambda: changed("disable_time = now()"),
        "service": lambda: changed("role = 'service'"),
        "upgraded": upgraded,
    }
    store.meanwhile = acts[what]
    if what == "upgraded":
        await accounts.login("acme", user.email, GOOD, HERE)
        return
    await refused(Reason.SIGN_IN_FAILED, accounts.login("acme", user.email, GOOD, HERE))
    assert (await people.accounts.store.sessions(principal(user), NEWEST)).items == []


async def test_a_user_has_a_limited_number_of_sessions(people: People, database_urls: DatabaseUrls) -> None:
    user = await user_of(people)
    database_urls.ask(
        f"""INSERT INTO responsa.session (token_sha256, tenant_id, user_id, expire_time, last_use_time)
            SELECT sha256(n::text::bytea), 'acme', '{user.id}', now() + interval '1 hour', now() - make_interval(secs => n)
            FROM generate_series(1, {MOST_SESSIONS}) AS n""",
    )
    await login(people)
    assert database_urls.value("SELECT count(*) FROM responsa.session") == MOST_SESSIONS
    query = "SELECT 1 FROM responsa.session WHERE token_sha256 = sha256(%s)"
    assert database_urls.ask(query, str(MOST_SESSIONS).encode()) == []
    assert [action for _, action, _ in audited(database_urls)][-2:] == ["session.create", "session.end"]


async def test_the_last_sign_in_outlives_its_session_and_is_no_later_than_its_password(
    people: People, database_urls: DatabaseUrls
) -> None:
    user = await user_of(people)

    async def last() -> datetime | None:
        return (await people.identity.user_of("acme", user.id)).last_sign_in_time

    _, key = await people.identity.create_key("acme", user.id, "")
    await people.identity.authenticate(Credential("api_key", key))
    assert await last() is None
    caller = await people.identity.authenticate(token(await login(people)))
    first = await last()
    assert first is not None
    # A link from a session shows no password: it is as old as the sign-in of the session.
    database_urls.ask("UPDATE responsa.session SET sign_in_time = now() - interval '11 minutes'")
    code, _ = await people.identity.create_session_code(caller)
    await people.identity.exchange_code(code)
    assert await last() == first
    # Sign-ins of one user at once do not wait for each other in a circle.
    await asyncio.gather(*[login(people) for _ in range(6)])
    newest = await last()
    assert newest is not None
    assert newest > first
    await people.accounts.revoke_sessions(caller, [], all_others=True)
    await people.accounts.revoke_sessions(caller, [caller.session_id or user.id], all_others=False)
    assert await last() == newest


async def test_a_code_of_a_session_is_as_recent_as_its_sign_in_and_ends_with_it(
    people: People, database_urls: DatabaseUrls
) -> None:
    user = await user_of(people)
    who = await people.identity.authenticate(token(await login(people)))
    database_urls.ask("UPDATE responsa.session SET sign_in_time = now() - interval '11 minutes'")
    browser = await people.identity.authenticate(await session_of(people.identity, who))
    await refused(Reason.SIGN_IN_REQUIRED, people.accounts.require_recent_sign_in(browser))
    # A thief who made a code before the reset has nothing of it afterwards.
    code, _ = await people.identity.create_session_code(browser)
    reset, _ = await people.accounts.create_reset_code(principal(user), user.id)
    await people.accounts.reset_password(reset, OTHER)
    await refused(Reason.SESSION_CODE_INVALID, people.identity.exchange_code(code))
    await refused(Reason.CREDENTIAL_EXPIRED, people.identity.create_session_code(browser))


async def test_services_have_no_sessions(people: People, database: Database) -> None:
    await user_of(people, "root@example.org", Role.ADMIN)
    robot = await user_of(people, "robot@example.org")
    signed = await login(people, "robot@example.org")
    users = UserAdministration(PostgresUsers(database), uuid7, people.cache)
    admin = replace(principal(robot), role=Role.ADMIN, user_id=uuid7())
    await users.update(admin, robot.id, UserChange(role=Role.SERVICE), "")
    await refused(Reason.TOKEN_INVALID, people.identity.authenticate(token(signed)))
    # The role may have changed while the code was on its way.
    code, _ = await people.identity.create_session_code(principal(robot))
    await refused(Reason.SESSION_CODE_INVALID, people.identity.exchange_code(code))
    service = replace(principal(robot), role=Role.SERVICE)
    await refused(Reason.ROLE_REQUIRED, people.identity.create_session_code(service))


async def test_a_new_password_needs_the_old_one_and_ends_other_sessions(people: People) -> None:
    await user_of(people)
    first, second = await login(people), await login(people)
    caller = await people.identity.authenticate(token(first))
    change = people.accounts.change_password
    await refused(Reason.SIGN_IN_FAILED, change(caller, OTHER, OTHER, HERE))
    error = await refusal(change(caller, GOOD, "short", HERE))
    assert (error.reason, error.violations[0].field) == (Reason.INVALID_FIELD, "new_password")
    await people.identity.authenticate(token(second))
    await change(caller, GOOD, OTHER, HERE)
    await people.identity.authenticate(token(first))
    await refused(Reason.TOKEN_INVALID, people.identity.authenticate(token(second)))
    await refused(Reason.SIGN_IN_FAILED, login(people))
    await login(people, password=OTHER)


async def test_a_first_password_needs_a_recent_sign_in(people: People, database_urls: DatabaseUrls) -> None:
    await people.identity.create_tenant("acme", "Acme")
    user = await people.identity.create_user("acme", "Ann", "ann@example.org", Role.ADMIN)
    key = principal(user)
    await refused(Reason.SIGN_IN_REQUIRED, people.accounts.change_password(key, "", GOOD, HERE))
    browser = await people.identity.authenticate(await session_of(people.identity, key))
    database_urls.ask("UPDATE responsa.session SET sign_in_time = now() - interval '601 s'")
    await refused(Reason.SIGN_IN_REQUIRED, people.accounts.change_password(browser, "", GOOD, HERE))
    database_urls.ask("UPDATE responsa.session SET sign_in_time = now() - interval '590 s'")
    await people.accounts.change_password(browser, "", GOOD, HERE)
    await login(people)
    nameless = await people.identity.create_user("acme", "No address", "", Role.USER)
    await refused(
        Reason.PASSWORD_NOT_USABLE, people.accounts.change_password(principal(nameless), "", GOOD, HERE)
    )


async def test_an_api_key_is_no_sign_in_of_a_user_who_has_a_password(people: People) -> None:
    """Whoever has stolen a key could otherwise change the address or delete the account with a link that the key makes."""
    user = await user_of(people)
    key, _ = await people.identity.create_key("acme", user.id, "stolen")
    by_key = replace(principal(user), key_id=key.id)
    browser = await people.identity.authenticate(await session_of(people.identity, by_key))
    error = await refused(Reason.SIGN_IN_REQUIRED, people.accounts.require_recent_sign_in(browser))
    assert "sign in with it again" in error.message
    # Nor is a session that this session makes.
    browser = await people.identity.authenticate(await session_of(people.identity, browser))
    await refused(Reason.SIGN_IN_REQUIRED, people.accounts.require_recent_sign_in(browser))
    await people.accounts.require_recent_sign_in(
        await people.identity.authenticate(token(await login(people)))
    )
    # Users without a password have nothing but the key.
    keyed = await people.identity.create_user("acme", "Keyed", "keyed@example.org", Role.USER)
    key, _ = await people.identity.create_key("acme", keyed.id, "only")
    code, _ = await people.identity.create_session_code(replace(principal(keyed), key_id=key.id))
    cookie, _ = await people.identity.exchange_code(code)
    await people.accounts.require_recent_sign_in(
        await people.identity.authenticate(Credential("session", cookie))
    )


async def test_two_changes_at_once_do_not_both_win(people: People) -> None:
    user = await user_of(people)
    who = principal(user)
    results = await asyncio.gather(
        *(people.accounts.change_password(who, GOOD, f"{OTHER} {n}", HERE) for n in range(4)),
        return_exceptions=True,
    )
    assert sum(result is None for result in results) == 1


async def test_an_invitation_is_good_once(people: People, database_urls: DatabaseUrls) -> None:
    admin = await user_of(people, role=Role.ADMIN)
    code, ends = await people.accounts.create_invitation(principal(admin), Role.ADMIN, "", 3600)
    assert timedelta(minutes=59) < ends - datetime.now(UTC) <= timedelta(minutes=60, seconds=2)
    register = people.accounts.register
    error = await refusal(register("", code, "bob@example.org", "password1234", "Bob"))
    assert error.violations[0].field == "password"
    results = await asyncio.gather(
        *(register("", code, f"bob{n}@example.org", GOOD, "Bob") for n in range(5)), return_exceptions=True
    )
    assert sum(result is None for result in results) == 1
    await refused(Reason.CODE_INVALID, register("", code, "carol@example.org", GOOD, ""))
    roles = database_urls.ask("SELECT role FROM responsa.app_user WHERE email LIKE 'bob%'")
    assert roles == [("admin",)]


@pytest.mark.parametrize("named", ["", "ann@example.org"])
async def test_one_invitation_answers_for_one_address(
    people: People, database_urls: DatabaseUrls, named: str
) -> None:
    """Otherwise its holder could try addresses until a free one uses it up, and so learn which are taken."""
    admin = await user_of(people, role=Role.ADMIN)
    code, _ = await people.accounts.create_invitation(principal(admin), Role.USER, named, 3600)
    results = await asyncio.gather(
        *(people.accounts.register("", code, "ann@example.org", OTHER, "Not Ann", HERE) for _ in range(3)),
        return_exceptions=True,
    )
    assert sum(result is None for result in results) == 1
    assert {result.reason for result in results if isinstance(result, Unauthenticated)} == {
        Reason.CODE_INVALID
    }
    await refused(Reason.SIGN_IN_FAILED, login(people, password=OTHER))
    await refused(Reason.CODE_INVALID, people.accounts.register("", code, "bob@example.org", GOOD, "Bob"))
    found = database_urls.ask(
        "SELECT actor, outcome, resource_name LIKE 'invitations/%' FROM responsa.audit_event WHERE action = 'user.register'"
    )
    assert found == [("anonymous", "RESOURCE_ALREADY_EXISTS", True)]


async def test_an_invitation_is_not_good_when_its_maker_is_no_administrator_any_more(
    people: People, database: Database
) -> None:
    """A dismissed administrator could otherwise come back as one."""
    root = principal(await user_of(people, "root@example.org", Role.ADMIN))
    maker = await user_of(people, "maker@example.org", Role.ADMIN)
    users = UserAdministration(PostgresUsers(database), uuid7, people.cache)
    code, _ = await people.accounts.create_invitation(principal(maker), Role.ADMIN, "", 3600)
    register = people.accounts.register
    await users.update(root, maker.id, UserChange(role=Role.USER), "")
    await refused(Reason.CODE_INVALID, register("", code, "eve@example.org", GOOD, ""))
    await users.update(root, maker.id, UserChange(role=Role.ADMIN), "")
    await users.update(root, maker.id, UserChange(disabled=True), "")
    await refused(Reason.CODE_INVALID, register("", code, "eve@example.org", GOOD, ""))
    await users.update(root, maker.id, UserChange(disabled=False), "")
    await register("", code, "eve@example.org", GOOD, "")
    await login(people, "eve@example.org")


async def test_an_invitation_for_an_address_is_for_that_address(people: People) -> None:
    admin = await user_of(people, role=Role.ADMIN)
    code, _ = await people.accounts.create_invitation(principal(admin), Role.USER, "Bob@Example.org", 60)
    error = await refusal(people.accounts.register("", code, "eve@example.org", GOOD, ""))
    assert (error.reason, error.violations[0].field) == (Reason.INVALID_FIELD, "email")
    await people.accounts.register("rival", code, "", GOOD, "Bob")
    _, user = await people.accounts.login("acme", "bob@example.org", GOOD, HERE)
    assert (user.tenant_id, user.display_name, user.role) == ("acme", "Bob", Role.USER)


async def test_expired_codes_begin_nothing(people: People, database_urls: DatabaseUrls) -> None:
    admin = await user_of(people, role=Role.ADMIN)
    invitation, _ = await people.accounts.create_invitation(principal(admin), Role.USER, "", 60)
    reset, _ = await people.accounts.create_reset_code(principal(admin), admin.id)
    for table in ("invitation", "reset_code"):
        database_urls.ask(f"UPDATE responsa.{table} SET expire_time = now()")
    for work in (
        people.accounts.register("", invitation, "bob@example.org", GOOD, ""),
        people.accounts.reset_password(reset, OTHER),
        people.accounts.reset_password("rsx_" + "x" * 43, OTHER),
        people.accounts.reset_password("x", OTHER),
        people.accounts.register("", "rsi_" + "x" * 43, "bob@example.org", GOOD, ""),
    ):
        await refused(Reason.CODE_INVALID, work)


@pytest.mark.parametrize("registration", list(Registration))
async def test_the_setting_decides_who_may_register(database: Database, registration: Registration) -> None:
    people = people_of(database, registration=registration)
    await people.identity.create_tenant("default", "Default")
    work = people.accounts.register("", "", "ann@example.org", GOOD, "Ann")
    if registration is not Registration.OPEN:
        error = await refusal(work)
        assert (error.reason, error.metadata) == (
            Reason.REGISTRATION_CLOSED,
            {"registration": registration.value},
        )
        return
    await work
    _, user = await people.accounts.login("", "ann@example.org", GOOD, HERE)
    assert user.role is Role.USER
    # The same reply for a taken address and for a tenant that does not exist.
    await people.accounts.register("", "", "ann@example.org", OTHER, "Eve")
    await people.accounts.register("no-tenant", "", "ann@example.org", GOOD, "Eve")
    await people.accounts.login("", "ann@example.org", GOOD, HERE)
    await raises(InvalidRequest, people.accounts.register("", "", "", GOOD, ""))


async def test_nobody_is_invited_where_registration_is_closed(database: Database) -> None:
    people = people_of(database, registration=Registration.CLOSED)
    admin = await user_of(people, role=Role.ADMIN)
    await refused(
        Reason.REGISTRATION_CLOSED, people.accounts.create_invitation(principal(admin), Role.USER, "", 60)
    )


async def test_a_reset_ends_all_sessions_and_works_once(people: People, database_urls: DatabaseUrls) -> None:
    user = await user_of(people)
    signed = await login(people)
    await people.identity.authenticate(token(signed))
    older, _ = await people.accounts.create_reset_code(principal(user), user.id)
    code, ends = await people.accounts.create_reset_code(principal(user), user.id)
    assert timedelta(minutes=29) < ends - datetime.now(UTC) <= timedelta(minutes=30, seconds=2)
    await refused(Reason.CODE_INVALID, people.accounts.reset_password(older, OTHER))
    await refused(Reason.INVALID_FIELD, people.accounts.reset_password(code, "short"))
    results = await asyncio.gather(
        *(people.accounts.reset_password(code, OTHER) for _ in range(5)), return_exceptions=True
    )
    others = [result for result in results if result is not None]
    assert [getattr(result, "reason", result) for result in others] == 4 * [Reason.CODE_INVALID]
    await refused(Reason.TOKEN_INVALID, people.identity.authenticate(token(signed)))
    await login(people, password=OTHER)
    assert {one[1] for one in audited(database_urls)} >= {"user.reset_password", "session.create"}


async def test_reset_codes_are_for_users_of_the_own_tenant_with_an_address(people: People) -> None:
    admin = await user_of(people, role=Role.ADMIN)
    await people.identity.create_tenant("rival", "Rival")
    theirs = await people.identity.create_user("rival", "Eve", "eve@example.org", Role.USER)
    robot = await people.identity.create_user("acme", "Robot", "robot@example.org", Role.SERVICE)
    for user_id in (theirs.id, uuid7()):
        await raises(NotFound, people.accounts.create_reset_code(principal(admin), user_id))
    await refused(Reason.PASSWORD_NOT_USABLE, people.accounts.create_reset_code(principal(admin), robot.id))


async def test_a_disabled_user_cannot_sign_in_and_nobody_learns_why(
    people: People, database: Database
) -> None:
    admin = await user_of(people, "root@example.org", Role.ADMIN)
    user = await user_of(people)
    signed, request = await login(people), uuid7()
    cookie, _ = await people.accounts.login_browser("acme", user.email, GOOD, HERE)
    users = UserAdministration(PostgresUsers(database), uuid7, people.cache)
    await users.update(principal(admin), user.id, UserChange(disabled=True), "")
    error = await refusal(login(people))
    assert (error.reason, error.metadata) == (Reason.SIGN_IN_FAILED, {})
    await refused(Reason.SIGN_IN_FAILED, people.accounts.login_browser("acme", user.email, GOOD, HERE))
    await refused(Reason.TOKEN_INVALID, people.accounts.refresh(signed.refresh_token, request))
    for credential in (token(signed), Credential("session", cookie)):
        await refused(Reason.USER_DISABLED, people.identity.authenticate(credential))
    code, _ = await people.accounts.create_reset_code(principal(admin), user.id)
    await refused(Reason.CODE_INVALID, people.accounts.reset_password(code, OTHER))
    await users.update(principal(admin), user.id, UserChange(disabled=False), "")
    # Nothing was lost: the sessions, the refresh token and the code work again.
    await people.identity.authenticate(Credential("session", cookie))
    refreshed = await people.accounts.refresh(signed.refresh_token, request)
    await people.identity.authenticate(token(refreshed))
    await people.accounts.reset_password(code, OTHER)
    await login(people, password=OTHER)


async def test_account_acts_are_audited_with_address_and_call(people: People, database: Database) -> None:
    admin = await user_of(people, "root@example.org", Role.ADMIN)
    user = await user_of(people)
    here = Origin("192.0.2.9", "", "call-1")
    first, _ = await people.accounts.login("acme", user.email, GOOD, here)
    second, _ = await people.accounts.login("acme", user.email, GOOD, here)
    third, _ = await people.accounts.login("acme", user.email, GOOD, here)
    whos = [await people.identity.authenticate(token(one)) for one in (first, second, third)]
    caller = replace(whos[0], address="192.0.2.9", call_id="call-1", act="caller.act")
    await people.accounts.logout(third.refresh_token, here)
    await people.accounts.revoke_sessions(caller, [], all_others=True)
    await people.accounts.refresh(first.refresh_token, uuid7(), here)
    await people.accounts.change_password(caller, GOOD, OTHER, here)
    await refusal(people.accounts.refresh(first.refresh_token, uuid7(), here))
    chief = replace(principal(admin), address="192.0.2.9", call_id="call-1", act="chief.act")
    invitation, _ = await people.accounts.create_invitation(chief, Role.USER, "", 60)
    await people.accounts.register("", invitation, "zoe@example.org", GOOD, "Zoe", here)
    code, _ = await people.accounts.create_reset_code(chief, user.id)
    await people.accounts.reset_password(code, GOOD, here)
    records = (await PostgresAuditTrail(database).list("acme", NEWEST)).items
    found = [record for record in reversed(records) if record.call_id == "call-1"]
    assert {(one.address, one.outcome) for one in found} == {("192.0.2.9", "OK")}
    own, session = f"users/{user.id}", f"sessions/{whos[0].session_id}"
    acts = [(one.actor, one.action, one.resource) for one in found]
    assert acts[:7] == [
        (own, "session.create", session),
        (own, "session.create", f"sessions/{whos[1].session_id}"),
        (own, "session.create", f"sessions/{whos[2].session_id}"),
        (own, "session.end", f"sessions/{whos[2].session_id}"),
        (own, "caller.act", f"sessions/{whos[1].session_id}"),
        (own, "caller.act", own),
        (own, "session.token_reused", session),
    ]
    assert [action for _, action, _ in acts[7:]] == [
        "chief.act",
        "user.register",
        "chief.act",
        "user.reset_password",
    ]
    assert acts[9:] == [
        (f"users/{admin.id}", "chief.act", own),
        (own, "user.reset_password", own),
    ]


async def test_the_end_of_sessions_and_keys_is_noticed(people: People, database_urls: DatabaseUrls) -> None:
    user = await user_of(people)
    _, secret = await people.identity.create_key("acme", user.id, "test")
    key = await people.identity.authenticate(Credential("api_key", secret))
    whos = [await people.identity.authenticate(token(await login(people))) for _ in range(2)]
    whos.append(await people.identity.authenticate(await session_of(people.identity, key)))

    async def reasons() -> list[Reason | None]:
        found = await people.identity.recheck([key, *whos])
        return [None if one is None else one.reason for one in found]

    assert await reasons() == [None] * 4
    assert whos[0].session_id is not None
    assert key.key_id is not None
    await people.accounts.revoke_sessions(key, [whos[0].session_id], all_others=False)
    assert await reasons() == [None, Reason.SESSION_ENDED, None, None]
    # The browser's session began with the key.
    await people.identity.revoke_api_key(key, key.key_id)
    revoked = [Reason.CREDENTIAL_REVOKED, Reason.SESSION_ENDED, None, Reason.SESSION_ENDED]
    assert await reasons() == revoked
    database_urls.ask("UPDATE responsa.session SET expire_time = now()")
    assert await reasons() == [Reason.CREDENTIAL_REVOKED, *[Reason.SESSION_ENDED] * 3]


async def test_too_many_checks_do_not_count_as_attempts(database: Database) -> None:
    people = people_of(database, passwords=PasswordSettings(attempts_per_account=3), waiting=1)
    await user_of(people)
    accounts: Accounts = people.accounts
    results = await asyncio.gather(
        *(accounts.login("acme", "ann@example.org", GOOD, HERE) for _ in range(3)), return_exceptions=True
    )
    assert any(not isinstance(result, Exhausted) for result in results)
    await login(people)
