"""Mails about accounts: registration, confirmation, reset and a new address, with a real mail server and the real queue."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import httpcore2
import pytest
from pydantic import ValidationError
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import Exhausted, Reason, ResponsaError
from responsa_server.domain.knowledge import JobKind
from responsa_server.domain.notifications import Mail, MailFailed, MailKind, MailRefused, MailText
from responsa_server.domain.people import Origin, Principal, Role
from responsa_server.identity.credentials import digest
from responsa_server.identity.mailing import Mailing, SmtpMailer
from responsa_server.identity.service import Credential
from responsa_server.identity.settings import MailSettings, Registration
from responsa_server.identity.tokens import Secret
from responsa_server.outbound.authorities import trust_also
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.jobs import JobQueue, QueuePace
from responsa_server.stores.postgres.mail import Outbox, PostgresMailStore
from responsa_server.telemetry.instruments import MAILS
from tests.conftest import DatabaseUrls
from tests.contract.library_harness import running
from tests.contract.test_accounts import principal, user_of
from tests.contract.test_identity import refusal, refused
from tests.people import ATTEMPTS, GOOD, SECRET, People, people_of
from tests.raising import raises
from tests.wire.smtp import PASSWORD, USER, MailServer, Received, certificate_in, serving

HERE = Origin("192.0.2.7", "test/1.0")
OTHER = "seven purple walruses hum"
PACE = QueuePace(poll=0.05, heartbeat=0.2, stalled=5.0, restart=0.1)
PAGE = "https://responsa.example.org"


@pytest.fixture
def server() -> Iterator[MailServer]:
    with serving() as found:
        yield found


def settings_for(server: MailServer, **more: object) -> MailSettings:
    values = {
        "host": "127.0.0.1",
        "port": server.port,
        "tls": "none",
        "sender": "responsa@example.org",
        **more,
    }
    return MailSettings.model_validate(values)


@dataclass(frozen=True)
class Post:
    """A process that registers people, and the work of its jobs."""

    database: Database
    people: People
    mailing: Mailing
    queue: JobQueue
    server: MailServer

    def working(self) -> AbstractAsyncContextManager[None]:
        return running(self.queue, {JobKind.MAIL: self.mailing.work})

    async def mails(self, address: str, count: int = 1) -> Sequence[Received]:
        """Run jobs until this many mails to an address have arrived."""
        async with self.working():
            return await asyncio.to_thread(self.server.to, address, count)

    async def codes(self, address: str, count: int = 1) -> list[str]:
        """The codes of those mails."""
        return [mail.code for mail in await self.mails(address, count)]


@pytest.fixture
def post(database: Database, database_urls: DatabaseUrls, server: MailServer) -> Post:
    return post_of(database, database_urls, server)


def post_of(
    database: Database, urls: DatabaseUrls, server: MailServer, mails: int = 5, **more: object
) -> Post:
    settings = settings_for(server, **more)
    queue = JobQueue(urls.log, concurrency=1, pace=PACE)
    people = people_of(database, registration=Registration.OPEN, mail=settings, queue=queue, mails=mails)
    mailing = Mailing(
        PostgresMailStore(database),
        SmtpMailer(settings),
        Secret(SECRET),
        page_url=PAGE,
        reset_seconds=1800,
    )
    return Post(database, people, mailing, queue, server)


async def no_jobs(urls: DatabaseUrls) -> None:
    """Wait until no job is left."""

    jobs = "SELECT 1 FROM procrastinate.procrastinate_jobs"
    async with asyncio.timeout(60):
        while await asyncio.to_thread(urls.ask, jobs):  # noqa: ASYNC110 - other sessions send no signal
            await asyncio.sleep(0.02)


def everything(urls: DatabaseUrls) -> str:
    """The whole database as text."""
    query = """SELECT format('SELECT t::text FROM %I.%I AS t', schemaname, tablename) FROM pg_tables
        WHERE schemaname IN ('responsa', 'procrastinate')"""
    return str(urls.ask(" UNION ALL ".join(select for (select,) in urls.ask(query))))


async def test_an_account_is_good_after_the_confirmation_of_its_address(
    post: Post, database_urls: DatabaseUrls
) -> None:
    people = post.people
    await people.identity.create_tenant("acme", "Acme")
    await people.accounts.register("acme", "", " Ann@Example.org", GOOD, "Ann", HERE)
    await refused(Reason.SIGN_IN_FAILED, people.accounts.login("acme", "ann@example.org", GOOD, HERE))
    (code,) = await post.codes("ann@example.org")
    (mail,) = post.server.mails
    assert (mail.sender, list(mail.recipients)) == ("responsa@example.org", ["ann@example.org"])
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert mail.message.get_content_type() == "text/plain"
    # The code is in the fragment, which browsers do not send to servers.
    assert f"{PAGE}/?tenant=acme#/confirm={code}\n" in mail.text
    assert "Ann" not in mail.text.replace("ann@example.org", "")
    stored = everything(database_urls)
    assert code not in stored
    assert digest(code).hex() in stored
    await refused(Reason.INVALID_FIELD, people.accounts.confirm_email(code))
    await refused(Reason.SIGN_IN_FAILED, people.accounts.confirm_email(code, OTHER, HERE))
    logged: list[str] = []
    await people.accounts.confirm_email(code, GOOD, replace(HERE, log_tenant=logged.append))
    assert logged == ["acme"]
    _, user = await people.accounts.login("acme", "ann@example.org", GOOD, HERE)
    assert (user.display_name, user.role) == ("Ann", Role.USER)
    await refused(Reason.CODE_INVALID, people.accounts.confirm_email(code, GOOD))
    assert everything(database_urls).count("ann@example.org") == 1


async def test_a_taken_address_gets_a_mail_that_says_so_and_the_reply_is_the_same(post: Post) -> None:
    people = post.people
    user = await user_of(people)
    await people.accounts.register("acme", "", user.email, OTHER, "Mallory", HERE)
    mails = await post.mails(user.email, 2)
    assert sorted(mail.message["Subject"] for mail in mails) == [
        "You already have an account",
        "Your password was changed",
    ]
    assert not any("rse_" in mail.text for mail in mails)
    await people.accounts.login("acme", user.email, GOOD, HERE)


async def test_an_account_has_no_password_that_a_stranger_chose(post: Post) -> None:
    """Mallory registers Ann's address first. Whichever code Ann uses, only her own password opens an account."""
    people = post.people
    await people.identity.create_tenant("acme", "Acme")
    for password in (OTHER, GOOD):
        await people.accounts.register("acme", "", "ann@example.org", password, "", HERE)
    codes = await post.codes("ann@example.org", 2)
    results = await asyncio.gather(
        *(people.accounts.confirm_email(code, GOOD) for code in codes * 2), return_exceptions=True
    )
    assert results.count(None) == 1
    reasons = {result.reason for result in results if isinstance(result, ResponsaError)}
    assert reasons == {Reason.SIGN_IN_FAILED, Reason.CODE_INVALID}
    await people.accounts.login("acme", "ann@example.org", GOOD, HERE)
    await refused(Reason.SIGN_IN_FAILED, people.accounts.login("acme", "ann@example.org", OTHER, HERE))


async def test_wrong_passwords_of_a_registration_count_as_failed_sign_ins(post: Post) -> None:
    people = post.people
    await people.identity.create_tenant("acme", "Acme")
    await people.accounts.register("acme", "", "ann@example.org", GOOD, "", HERE)
    (code,) = await post.codes("ann@example.org")
    for _ in range(ATTEMPTS.attempts_per_account):
        await refused(Reason.SIGN_IN_FAILED, people.accounts.confirm_email(code, OTHER, HERE))
    await refused(Reason.TOO_MANY_ATTEMPTS, people.accounts.confirm_email(code, GOOD, HERE))
    await people.accounts.confirm_email(code, GOOD, Origin("198.51.100.9"))


async def test_a_code_of_a_confirmation_works_once_in_races(post: Post) -> None:
    people = post.people
    await people.identity.create_tenant("acme", "Acme")
    for number in range(5):
        await people.accounts.register(
            "acme", "", f"ann{number}@example.org", GOOD, "", Origin(f"192.0.2.{number}")
        )
    for number in range(5):
        (code,) = await post.codes(f"ann{number}@example.org")
        results = await asyncio.gather(
            *(people.accounts.confirm_email(code, GOOD) for _ in range(10)), return_exceptions=True
        )
        assert [type(result) for result in results].count(type(None)) == 1


async def test_an_invitation_stays_good_until_the_address_is_confirmed_and_gives_the_role(post: Post) -> None:
    people = post.people
    admin = principal(await user_of(people, "boss@example.org", Role.ADMIN))
    invitation, _ = await people.accounts.create_invitation(admin, Role.ADMIN, "", 3600)
    for email in ("ann@example.org", "bob@example.org"):
        await people.accounts.register("acme", invitation, email, GOOD, "", HERE)
    (ann,) = await post.codes("ann@example.org")
    (bob,) = await post.codes("bob@example.org")
    await people.accounts.confirm_email(ann, GOOD)
    _, user = await people.accounts.login("acme", "ann@example.org", GOOD, HERE)
    assert user.role is Role.ADMIN
    await refused(Reason.CODE_INVALID, people.accounts.confirm_email(bob, GOOD))
    named, _ = await people.accounts.create_invitation(admin, Role.USER, "cleo@example.org", 3600)
    await people.accounts.register("acme", named, "", GOOD, "", HERE)
    await people.accounts.login("acme", "cleo@example.org", GOOD, HERE)


async def test_a_reset_by_mail_works_once_and_ends_all_sessions(
    post: Post, database_urls: DatabaseUrls
) -> None:
    people = post.people
    user = await user_of(people)
    signed, _ = await people.accounts.login("acme", user.email, GOOD, HERE)
    await people.accounts.request_reset("acme", "ANN@example.org", HERE)
    async with post.working():
        mails = await asyncio.to_thread(post.server.to, user.email, 2)
        await no_jobs(database_urls)
    (mail,) = [one for one in mails if "rsx_" in one.text]
    assert f"{PAGE}/?tenant=acme#/reset={mail.code}\n" in mail.text
    assert "30 minutes" in mail.text
    assert mail.code not in everything(database_urls)
    await people.accounts.reset_password(mail.code, OTHER, HERE)
    await refused(Reason.TOKEN_INVALID, people.accounts.refresh(signed.refresh_token, None))
    await people.accounts.login("acme", user.email, OTHER, HERE)
    await refused(Reason.CODE_INVALID, people.accounts.reset_password(mail.code, GOOD))


@pytest.mark.parametrize("email", ["nobody@example.org", "robot@example.org", "gone@example.org"])
async def test_a_reset_for_nobody_gets_the_same_reply_and_sends_nothing(
    post: Post, database_urls: DatabaseUrls, email: str
) -> None:
    people = post.people
    await people.identity.create_tenant("acme", "Acme")
    await people.identity.create_user("acme", "Robot", "robot@example.org", Role.SERVICE)
    gone = await people.identity.create_user("acme", "Gone", "gone@example.org", Role.USER)
    database_urls.ask("UPDATE responsa.app_user SET disable_time = now() WHERE id = %s", gone.id)
    await people.accounts.request_reset("acme", email, HERE)
    await people.accounts.request_reset("nowhere", email, HERE)
    async with post.working():
        await no_jobs(database_urls)
    assert post.server.mails == []
    stored = everything(database_urls)
    assert "nobody@example.org" not in stored


async def test_mails_to_an_address_are_limited_whether_or_not_it_has_an_account(
    database: Database, database_urls: DatabaseUrls, server: MailServer
) -> None:
    post = post_of(database, database_urls, server, mails=3)
    people = post.people
    await user_of(people)
    for email in ("ann@example.org", "nobody@example.org"):
        for _ in range(3):
            await people.accounts.request_reset("acme", email, Origin())
        error = await refusal(people.accounts.request_reset("acme", email, Origin()))
        assert isinstance(error, Exhausted)
        assert (error.reason, error.retry_after is not None) == (Reason.TOO_MANY_ATTEMPTS, True)
    # Signing in is counted apart.
    await people.accounts.login("acme", "ann@example.org", GOOD, HERE)


async def test_registrations_of_an_address_keep_nobody_from_a_reset(
    database: Database, database_urls: DatabaseUrls, server: MailServer
) -> None:
    people = post_of(database, database_urls, server, mails=3).people
    user = await user_of(people)
    for _ in range(3):
        await people.accounts.register("acme", "", user.email, OTHER, "", HERE)
    await refused(Reason.TOO_MANY_ATTEMPTS, people.accounts.register("acme", "", user.email, OTHER, "", HERE))
    await people.accounts.request_reset("acme", user.email, HERE)


async def test_the_mails_that_an_ipv6_network_asks_for_count_together(
    database: Database, database_urls: DatabaseUrls, server: MailServer
) -> None:
    people = people_of(
        database,
        passwords=ATTEMPTS.model_copy(update={"attempts_per_address": 3}),
        mail=settings_for(server),
        queue=JobQueue(database_urls.log, concurrency=1, pace=PACE),
    )
    await people.identity.create_tenant("acme", "Acme")
    for place in range(3):
        await people.accounts.request_reset("acme", f"a{place}@example.org", Origin(f"2001:db8::{place:x}"))
    await refused(
        Reason.TOO_MANY_ATTEMPTS,
        people.accounts.request_reset("acme", "b@example.org", Origin("2001:db8::ffff")),
    )
    await people.accounts.request_reset("acme", "b@example.org", Origin("2001:db8:0:1::1"))


async def test_a_new_address_is_confirmed_there_with_the_password_and_the_earlier_one_gets_a_notice(
    post: Post, database_urls: DatabaseUrls
) -> None:
    people = post.people
    user = await user_of(people)
    signed, _ = await people.accounts.login("acme", user.email, GOOD, HERE)
    caller = await people.identity.authenticate(credential_of(signed.access_token))
    await people.accounts.change_email(caller, "Ann.Two@example.org", HERE)
    (code,) = await post.codes("ann.two@example.org")
    # The owner of a mistyped address, or a stranger, can read the mail and does not know the password.
    await refused(Reason.INVALID_FIELD, people.accounts.confirm_email(code))
    for _ in range(ATTEMPTS.attempts_per_account):
        await refused(Reason.SIGN_IN_FAILED, people.accounts.confirm_email(code, OTHER))
    assert (await people.identity.me(caller)).email == user.email
    # These attempts count for the account, so that each new address does not give further ones.
    await refused(Reason.TOO_MANY_ATTEMPTS, people.accounts.login("acme", user.email, OTHER, Origin()))
    await people.accounts.confirm_email(code, GOOD, HERE)
    assert (await people.identity.me(caller)).email == "ann.two@example.org"
    mails = await post.mails(user.email, 2)
    assert mails[-1].message["Subject"] == "Your e-mail address was changed"
    await people.accounts.login("acme", "ann.two@example.org", GOOD, HERE)

    await people.identity.create_user("acme", "Bob", "bob@example.org", Role.USER)
    await people.accounts.change_email(caller, "bob@example.org", HERE)
    (mail,) = await post.mails("bob@example.org")
    assert mail.message["Subject"] == "You already have an account"
    assert (await people.identity.me(caller)).email == "ann.two@example.org"

    # A new password takes back what somebody with the old one has asked for.
    await people.accounts.change_email(caller, "thief@example.org", HERE)
    (code,) = await post.codes("thief@example.org")
    reset, _ = await people.accounts.create_reset_code(caller, user.id)
    await people.accounts.reset_password(reset, OTHER)
    await refused(Reason.CODE_INVALID, people.accounts.confirm_email(code, OTHER))
    assert (await people.identity.me(caller)).email == "ann.two@example.org"


async def test_a_user_without_a_password_sets_one_before_another_address(
    post: Post, database_urls: DatabaseUrls
) -> None:
    people = post.people
    user = await user_of(people)
    signed, _ = await people.accounts.login("acme", user.email, GOOD, HERE)
    caller = await people.identity.authenticate(credential_of(signed.access_token))
    database_urls.ask("DELETE FROM responsa.user_password")
    error = await refusal(people.accounts.change_email(caller, "new@example.org", HERE))
    assert (error.reason, "Set one first" in error.message) == (Reason.PASSWORD_NOT_USABLE, True)
    # Without an address, no password can be set either: the code alone confirms the first address.
    database_urls.ask("UPDATE responsa.app_user SET email = ''")
    await people.accounts.change_email(caller, "new@example.org", HERE)
    (code,) = await post.codes("new@example.org")
    await people.accounts.confirm_email(code)
    assert (await people.identity.me(caller)).email == "new@example.org"


def credential_of(token: str) -> Credential:
    return Credential("token", token)


async def test_what_needs_a_recent_sign_in_and_a_mail_server(
    post: Post, database: Database, database_urls: DatabaseUrls
) -> None:
    people = post.people
    user = await user_of(people)
    by_key = Principal("acme", user.id, Role.USER, "api_key")
    signed, _ = await people.accounts.login("acme", user.email, GOOD, HERE)
    by_session = await people.identity.authenticate(credential_of(signed.access_token))
    await people.accounts.require_recent_sign_in(by_session)
    database_urls.ask("UPDATE responsa.session SET sign_in_time = now() - interval '601 s'")
    for who in (by_key, by_session):
        await refused(Reason.SIGN_IN_REQUIRED, people.accounts.require_recent_sign_in(who))
        await refused(Reason.SIGN_IN_REQUIRED, people.accounts.change_email(who, "new@example.org", HERE))
    without = people_of(database)
    for work in (
        without.accounts.request_reset("acme", user.email, HERE),
        without.accounts.change_email(by_session, "new@example.org", HERE),
    ):
        error = await refused(Reason.MAIL_NOT_CONFIGURED, work)
        assert "administrator" in error.message


async def test_a_mail_is_tried_again_with_the_same_code_and_given_up_when_refused(
    post: Post, database_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    people, server = post.people, post.server
    outcomes = list[str]()

    def write(_: float, labels: Mapping[str, str]) -> None:
        outcomes.append(labels["outcome"])

    monkeypatch.setattr(MAILS, "_write", write)
    await people.identity.create_tenant("acme", "Acme")
    await people.accounts.register("acme", "", "ann@example.org", GOOD, "", HERE)
    server.refuses = ["451 try again later"]
    (mail_id,) = mails_in(database_urls)
    assert await post.mailing.work("acme", mail_id, 0) is not None
    assert mails_in(database_urls) == [mail_id]
    assert await post.mailing.work("acme", mail_id, 1) is None
    assert mails_in(database_urls) == []
    assert await post.mailing.work("acme", mail_id, 2) is None
    await people.accounts.confirm_email(server.mails[0].code, GOOD)
    await people.accounts.register("acme", "", "bob@example.org", GOOD, "", HERE)
    server.refuses = ["550 no such user"]
    (mail_id,) = mails_in(database_urls)
    assert await post.mailing.work("acme", mail_id, 0) is None
    assert (mails_in(database_urls), len(server.mails)) == ([], 1)
    assert outcomes == ["failed", "sent", "refused"]
    # A worker without a mail server leaves the mail to others; once it is of no use, it is forgotten.
    await people.accounts.register("acme", "", "cleo@example.org", GOOD, "", HERE)
    (mail_id,) = mails_in(database_urls)
    lame = Mailing(
        PostgresMailStore(post.database),
        None,
        Secret(SECRET),
        page_url=PAGE,
        reset_seconds=1800,
    )
    assert await lame.work("acme", mail_id, 0) is not None
    database_urls.ask("UPDATE responsa.mail SET expire_time = now()")
    assert await lame.work("acme", mail_id, 1) is None


def mails_in(urls: DatabaseUrls) -> list[UUID]:
    return [one for (one,) in urls.ask("SELECT id FROM responsa.mail")]


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_mails_cross_the_network_encrypted_after_a_sign_in(
    tmp_path: Path, tls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Other tests share one context.
    monkeypatch.setattr(httpcore2, "default_ssl_context", vars(httpcore2.default_ssl_context)["__wrapped__"])
    certificate = certificate_in(tmp_path)
    with serving(certificate, tls=tls == "tls") as server:
        good = settings_for(server, tls=tls, user=USER, password=PASSWORD)
        refused = SmtpMailer(good)  # made before the authority is trusted
        # The authorities of the installation are those of mail.
        monkeypatch.setenv("SSL_CERT_FILE", "")  # and back at the end
        trust_also(certificate)
        await SmtpMailer(good).send(UUID(int=1), "ann@example.org", MailText("Hello", "A mail.\n"))
        (mail,) = server.mails
        assert (mail.encrypted, mail.user, mail.text) == (True, USER, "A mail.\n")
        wrong = SmtpMailer(settings_for(server, tls=tls, user=USER, password="wrong"))
        for mailer in (wrong, refused):
            caught = await raises(
                MailFailed, mailer.send(UUID(int=2), "ann@example.org", MailText("Hello", "A mail.\n"))
            )
            assert PASSWORD not in str(caught)
        assert len(server.mails) == 1


async def test_a_server_without_encryption_gets_no_mail(server: MailServer) -> None:
    await raises(
        MailFailed,
        SmtpMailer(settings_for(server, tls="starttls")).send(
            UUID(int=1), "ann@example.org", MailText("a", "b")
        ),
    )
    assert server.mails == []


@pytest.mark.parametrize(
    "address", ["a,b@example.org", "<x>@example.org", "ann@ex(ample).org", "änn@example.org"]
)
async def test_an_address_that_is_not_one_person_is_refused(server: MailServer, address: str) -> None:
    await raises(MailRefused, SmtpMailer(settings_for(server)).send(UUID(int=1), address, MailText("a", "b")))
    assert server.mails == []


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"host": "mail.example.org"}, "mail.sender"),
        ({"host": "mail.example.org", "sender": "a@b", "tls": "none", "password": "x"}, "unencrypted"),
        ({"page_url": "ftp://example.org"}, "page_url"),
    ],
)
def test_settings_that_are_wrong(values: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        MailSettings.model_validate(values)


async def test_a_notice_names_its_source_and_the_number_of_its_events(post: Post) -> None:
    await post.people.identity.create_tenant("acme", "Acme")
    outbox, address = Outbox(post.queue, uuid7), "ann@example.org"
    notices = [
        (MailKind.RUN_FAILED, "people", 59),
        (MailKind.RUN_STOPPED, "people", 1),
        (MailKind.INGESTIONS_FAILED, "", 1200),
    ]
    async with post.database.tenant("acme") as connection:
        for kind, about, events in notices:
            await outbox.put(connection, Mail(uuid7(), "acme", kind, address, about, events))
    async with post.working():
        mails = await asyncio.to_thread(post.server.to, address, len(notices))
    by_subject = {mail.message["subject"]: mail.text for mail in mails}
    assert by_subject.keys() == {
        "59 runs of the source people failed",
        "A run of the source people needs confirmation",
        "1,200 ingestions failed",
    }
    assert all("at most one such e-mail an hour" in text for text in by_subject.values())
    stopped = by_subject["A run of the source people needs confirmation"]
    assert "`responsa call AdminService.SyncSource --name sources/people --allow-deletions`" in stopped
