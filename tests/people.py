"""Identity and accounts on a test's database, with cheap hashes of passwords."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import time
from typing import Final

from uuid_utils.compat import uuid7

from responsa_server.identity.accounts import AccountOptions, Accounts
from responsa_server.identity.credentials import CredentialCache
from responsa_server.identity.passwords import Passwords
from responsa_server.identity.service import Identity
from responsa_server.identity.settings import (
    MailSettings,
    PasswordSettings,
    Registration,
    SessionSettings,
    TokenSettings,
)
from responsa_server.identity.tokens import Secret, Tokens
from responsa_server.stores.postgres.accounts import PostgresAccountStore
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.identity import PostgresIdentityStore
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.mail import Outbox

SECRET: Final = b"a secret of this installation, 32 bytes"
ATTEMPTS: Final = PasswordSettings()
GOOD: Final = "four uncommon marmots yodel"
"""A password that is hard to guess."""


@dataclass(frozen=True, slots=True)
class People:
    """The parts of one server process."""

    identity: Identity
    accounts: Accounts
    tokens: Tokens
    store: PostgresAccountStore
    passwords: Passwords
    cache: CredentialCache


def people_of(
    database: Database,
    *,
    passwords: PasswordSettings = ATTEMPTS,
    tokens: TokenSettings | None = None,
    registration: Registration = Registration.INVITED,
    cache: CredentialCache | None = None,
    clock: Callable[[], float] = time,
    secret: bytes = SECRET,
    mail: MailSettings | None = None,
    queue: JobQueue | None = None,
    store: PostgresAccountStore | None = None,
    waiting: int = 100,
    mails: int = 5,
) -> People:
    """The parts of a process with these settings. store: in place of the usual one. waiting: how many
    passwords may wait. mails: how many an address may get. mail, queue: both for a process
    that sends mails. Several of them on one database behave like several servers."""
    settings, sessions = tokens or TokenSettings(), SessionSettings()
    outbox = None if queue is None else Outbox(queue, uuid7)
    store, known = store or PostgresAccountStore(database, outbox), cache or CredentialCache()
    signing = Tokens(store, Secret(secret), settings, clock)
    identity = Identity(
        PostgresIdentityStore(database),
        uuid7,
        code_seconds=sessions.code_seconds,
        session_seconds=sessions.session_seconds,
        cache=known,
        tokens=signing,
    )
    options = AccountOptions(
        passwords,
        settings,
        mail or MailSettings(),
        registration,
        sessions.session_seconds,
        mails_per_account=mails,
    )
    pool = Passwords(memory_kib=8192, iterations=1, queue=waiting)
    return People(identity, Accounts(store, identity, pool, signing, options), signing, store, pool, known)
