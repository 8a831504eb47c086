"""Builds accounts and tokens. Only processes that take calls import this module, because it loads libraries of cryptography."""

from __future__ import annotations

from collections.abc import Sequence

from responsa_server.app.layout import Layout
from responsa_server.app.resources import build_identity, new_id, read_secret
from responsa_server.app.settings import Settings
from responsa_server.domain.accounts import SignInProvider
from responsa_server.domain.people import DEFAULT_TENANT
from responsa_server.identity.accounts import AccountOptions, Accounts
from responsa_server.identity.credentials import CredentialCache
from responsa_server.identity.mailing import Mailing
from responsa_server.identity.openid import OpenId, OpenIdOptions
from responsa_server.identity.openid_provider import LinkedIdentities
from responsa_server.identity.passwords import Passwords
from responsa_server.identity.programs import Programs
from responsa_server.identity.service import Identity
from responsa_server.identity.tokens import Secret, Tokens
from responsa_server.stores.postgres.accounts import PostgresAccountStore
from responsa_server.stores.postgres.audit import PostgresAuditTrail
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.groups import PostgresGroups
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.mail import Outbox, PostgresMailStore
from responsa_server.stores.postgres.openid import PostgresOpenIdStore
from responsa_server.stores.postgres.resources import PROGRAMS, ResourceStore
from responsa_server.stores.postgres.users import PostgresUsers


class AccountServices:
    """Identity with access tokens, accounts, and sign-in with OpenID Connect. Call `close` at the end."""

    def __init__(
        self,
        settings: Settings,
        layout: Layout,
        database: Database,
        queue: JobQueue,
        cache: CredentialCache | None = None,
    ) -> None:
        """queue: for the mails to send. cache: the cache of credentials; a new one by default. Raises Fixable if the
        secret file cannot be read."""
        outbox = Outbox(queue, new_id) if settings.mail.configured else None
        store = PostgresAccountStore(database, outbox)
        self.tokens = tokens_on(settings, layout, database)
        self._passwords = Passwords()
        known = cache or CredentialCache()
        self.identity: Identity = build_identity(settings, database, known, self.tokens)
        options = AccountOptions(
            settings.passwords,
            settings.tokens,
            settings.mail,
            settings.accounts.registration,
            settings.sessions.session_seconds,
            providers_of(settings),
        )
        self.accounts = Accounts(store, self.identity, self._passwords, self.tokens, options)
        registered = ResourceStore(database, PROGRAMS)
        self.programs = Programs(self.accounts, registered, self.tokens.secret, settings.programs)
        external = PostgresOpenIdStore(database)
        self.identities = LinkedIdentities(external, self.identity, options.providers)
        self.openid = OpenId(
            external,
            store,
            PostgresUsers(database, outbox),
            PostgresGroups(database, new_id),
            PostgresAuditTrail(database),
            self.identity,
            known,
            self.tokens.secret,
            self.accounts.begin_tokens,
            OpenIdOptions(
                settings.oidc,
                settings.passwords,
                options.registration,
                options.session_seconds,
            ),
        )

    async def close(self) -> None:
        """Finish or stop the work in the background, and the threads that check passwords. Call this before the database is closed."""
        await self.accounts.close()
        await self.identity.close()
        self._passwords.close()


def tokens_on(settings: Settings, layout: Layout, database: Database) -> Tokens:
    """Return the signing keys of an open database. Raises Fixable if the secret file cannot be read."""
    secret = Secret(read_secret(settings, layout))
    return Tokens(PostgresAccountStore(database), secret, settings.tokens)


def providers_of(settings: Settings) -> Sequence[SignInProvider]:
    """Return the OpenID Connect providers of all tenants."""
    return [
        SignInProvider(name, provider.tenant or DEFAULT_TENANT, provider.display_name, provider.issuer)
        for name, provider in settings.oidc.providers.items()
    ]


def mailing_on(settings: Settings, layout: Layout, database: Database) -> Mailing:
    """Return the work of jobs that send mails. Raises Fixable if the secret file cannot be read."""
    mailer = None
    if settings.mail.configured:
        # Imported late, because most installations send no mails.
        from responsa_server.identity.mailing import SmtpMailer

        mailer = SmtpMailer(settings.mail)
    return Mailing(
        PostgresMailStore(database),
        mailer,
        Secret(read_secret(settings, layout)),
        page_url=settings.page_url,
        reset_seconds=settings.passwords.reset_code_seconds,
    )
