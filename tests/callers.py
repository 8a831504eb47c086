"""The callers in tests. Each test gets its own tenant on a running instance, with users and every kind of credential."""

from __future__ import annotations

import asyncio
import base64
import itertools
import threading
from collections.abc import Coroutine, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg import sql

from responsa_local.embedded import EmbeddedPostgres, LocalLayout
from responsa_server.app.accounts import AccountServices
from responsa_server.app.resources import database_urls, open_identity
from responsa_server.app.settings import load
from responsa_server.domain.people import NewKey, Origin, Role
from responsa_server.identity.accounts import Accounts
from responsa_server.identity.service import Credential as Given
from responsa_server.identity.service import Identity
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.jobs import JobQueue
from tests.instance import Instance

Result = TypeVar("Result")
_numbers = itertools.count(1)
PASSWORD = "four uncommon marmots yodel"


class Credential(StrEnum):
    """The credential of a call."""

    OWNER = "owner"
    """The owner of the installation, who belongs to its own tenant."""
    ADMIN = "admin"
    USER = "user"
    COLLEAGUE = "colleague"
    """Another user of the same tenant."""
    OTHER_TENANT = "other_tenant"
    """The administrator of another tenant."""
    SESSION = "session"
    """The user's session, as a browser sends it."""
    TOKEN = "token"
    """The user's access token."""
    FORGED = "forged"
    """An access token whose header says that it is not signed."""
    NONE = "none"
    REVOKED = "revoked"
    DISABLED = "disabled"
    """A user whom an administrator disabled."""
    MALFORMED = "malformed"
    UNKNOWN = "unknown"


class Registry:
    """Blocking calls to the identity service on the database of a running instance. `responsa admin` uses the service in the same way."""

    def __init__(self, instance: Instance) -> None:
        self._layout = LocalLayout.of(instance.home)
        self.owner_key = instance.key
        self._postgres = EmbeddedPostgres(self._layout)
        self.port = instance.port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="registry")
        self._thread.start()
        self._context = open_identity(
            load(home=instance.home, port=instance.port, DATABASE_URL=None), self._layout
        )
        self._identity = self.wait(self._context.__aenter__())
        self._pools = self.wait(self._open(instance))
        self._holder: psycopg.Connection[tuple[Any, ...]] | None = None
        self._counter: psycopg.Connection[tuple[Any, ...]] | None = None
        self._tables: list[str] = []

    def wait(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine to its end on the registry's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    async def _open(self, instance: Instance) -> tuple[Database, AccountServices]:
        settings = load(home=instance.home, port=instance.port, DATABASE_URL=None)
        urls = database_urls(settings, self._layout)
        database = Database(urls.app, urls.log, size=2)
        await database.open()
        return database, AccountServices(settings, self._layout, database, JobQueue(urls.log, concurrency=1))

    @property
    def accounts(self) -> Accounts:
        """The accounts; pass their coroutines to `wait`."""
        return self._pools[1].accounts

    @property
    def identity(self) -> Identity:
        """The identity service; pass its coroutines to `wait`."""
        return self._identity

    def database(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A new connection to the instance's database. The connection sees all rows."""
        return psycopg.connect(self._postgres.dsn("superuser"), autocommit=True)

    def new_tenant(self) -> Tenant:
        """A tenant that no other test uses."""
        name = f"tenant-{next(_numbers)}"
        self.wait(self._identity.create_tenant(name, name))
        return Tenant(self, name)

    @cached_property
    def common(self) -> Tenant:
        """A tenant whose users make only calls that fail."""
        return self.new_tenant()

    def close(self) -> None:
        """Close the connection, and stop the loop and its thread."""
        if self._counter is not None:
            self._counter.close()
        self.wait(self._pools[1].close())
        self.wait(self._pools[0].close())
        self.wait(self._context.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def key_of(self, tenant: str, display_name: str, role: Role) -> tuple[str, str]:
        """Create a user and a key; returns the user's name and the key's secret."""
        user = self.wait(
            self._identity.create_user(tenant, display_name, f"{display_name}@{tenant}.example", role)
        )
        _, secret = self.wait(self._identity.create_key(tenant, user.id, display_name))
        return f"users/{user.id}", secret

    def rows(self, *tenants: str) -> Mapping[str, int]:
        """The number of these tenants' rows in each table. Tables without such rows are left out, and so are the audit
        log, which records refused acts too, and mails, deliveries, notices and what is counted of usage, which jobs
        make or delete at any time.
        """
        # If a table is locked, only the connection that holds the lock can count the table's rows.
        connection = self._holder or self._counting()
        if not self._tables:
            self._tables = [
                str(table)
                for (table,) in connection.execute(
                    "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
                    "join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' "
                    "where n.nspname = 'responsa' and c.relkind in ('r', 'p') and not c.relispartition and "
                    "c.relname not in ('audit_event', 'mail', 'delivery', 'notice', 'usage_event', "
                    "'usage_hour', 'usage_day', 'quality_hour', 'quality_day', 'question_event', "
                    "'question_pattern', 'turn_pattern', 'pattern_day', 'pattern_loss') order by 1"
                )
            ]
        counts = [
            sql.SQL(
                "select {name}, count(*) from responsa.{table} where tenant_id = any(%(tenants)s)"
            ).format(name=sql.Literal(table), table=sql.Identifier(table))
            for table in self._tables
        ]
        found = connection.execute(sql.SQL(" union all ").join(counts), {"tenants": list(tenants)}).fetchall()
        assert len(found) > 10
        return {str(table): int(count) for table, count in found if count}

    def _counting(self) -> psycopg.Connection[tuple[Any, ...]]:
        """The connection that counts rows."""
        if self._counter is None:
            self._counter = self.database()
        return self._counter

    @contextmanager
    def holding(self, table: str) -> Generator[None]:
        """Lock this table during the block, so that every reader and writer waits."""
        with self.database() as connection, connection.transaction():
            name = sql.Identifier("responsa", table)
            connection.execute(sql.SQL("lock table {} in access exclusive mode").format(name))
            self._holder = connection
            try:
                yield
            finally:
                self._holder = None

    def count_writers(self, table: str) -> int:
        """The number of transactions that write this table, or wait to."""
        query = (
            "select count(*) from pg_locks where mode = 'RowExclusiveLock' and "
            "relation = format('responsa.%%I', %(table)s::text)::regclass"
        )
        [[count]] = self._counting().execute(query, {"table": table}).fetchall()
        return int(count)


@dataclass
class Tenant:
    """A tenant and its callers, each created on first use."""

    registry: Registry
    name: str
    _secrets: dict[str, str] = field(default_factory=dict[str, str])
    _other: list[Tenant] = field(default_factory=list["Tenant"])

    def key(self, credential: Credential = Credential.USER) -> str:
        """The API key of one of the tenant's users."""
        if credential not in self._secrets:
            role = Role.ADMIN if credential is Credential.ADMIN else Role.USER
            _, self._secrets[credential] = self.registry.key_of(self.name, credential.value, role)
        return self._secrets[credential]

    @property
    def other(self) -> Tenant:
        """Another tenant, which has no access to this one."""
        if not self._other:
            self._other.append(self.registry.new_tenant())
        return self._other[0]

    @property
    def names(self) -> list[str]:
        """This tenant's id, and the other tenant's id if that tenant was created."""
        return [self.name, *(one.name for one in self._other)]

    def headers(self, kind: Credential) -> dict[str, str]:
        """The metadata that a call sends for this kind of credential."""
        match kind:
            case Credential.NONE:
                return {}
            case Credential.MALFORMED:
                return _bearer("rsp_tooshort")
            case Credential.UNKNOWN:
                return _bearer("rsp_" + base64.urlsafe_b64encode(bytes(32)).decode().rstrip("="))
            case Credential.OTHER_TENANT:
                return _bearer(self.other.key(Credential.ADMIN))
            case Credential.REVOKED:
                return _bearer(self._revoked())
            case Credential.DISABLED:
                return _bearer(self._disabled())
            case Credential.TOKEN:
                return _bearer(self._token())
            case Credential.FORGED:
                return _bearer(
                    "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0Iiwia2lkIjoiYSJ9."
                    + self._token().split(".")[1]
                    + "."
                )
            case Credential.OWNER:
                return _bearer(self.registry.owner_key)
            case Credential.SESSION:
                # The server's own page sends it.
                cookie = f"responsa_session_{self.registry.port}={self._session()}"
                return {"cookie": cookie, "sec-fetch-site": "same-origin"}
            case Credential.ADMIN | Credential.USER | Credential.COLLEAGUE:
                return _bearer(self.key(kind))

    def _revoked(self) -> str:
        identity, own = self.registry.identity, Given("api_key", self.key())

        async def act() -> str:
            who = replace(await identity.authenticate(own), act="api_key.create")
            key, secret = await identity.create_api_key(who, NewKey("revoked"))
            await identity.revoke_api_key(who, key.id)
            return secret

        if Credential.REVOKED not in self._secrets:
            self._secrets[Credential.REVOKED] = self.registry.wait(act())
        return self._secrets[Credential.REVOKED]

    def _disabled(self) -> str:
        if Credential.DISABLED not in self._secrets:
            name, secret = self.registry.key_of(self.name, "disabled", Role.USER)
            with self.registry.database() as connection:
                connection.execute(
                    "update responsa.app_user set disable_time = now() where id = %s",
                    (name.removeprefix("users/"),),
                )
            self._secrets[Credential.DISABLED] = secret
        return self._secrets[Credential.DISABLED]

    def _token(self) -> str:
        self.key()
        accounts = self.registry.accounts
        email = f"{Credential.USER.value}@{self.name}.example"

        async def act() -> str:
            who = await self.registry.identity.authenticate(Given("api_key", self.key(Credential.ADMIN)))
            me = await self.registry.identity.authenticate(Given("api_key", self.key()))
            code, _ = await accounts.create_reset_code(replace(who, act="user.create_reset_code"), me.user_id)
            await accounts.reset_password(code, PASSWORD)
            signed, _ = await accounts.login(self.name, email, PASSWORD, Origin())
            return signed.access_token

        self.key(Credential.ADMIN)
        return self.registry.wait(act())

    def _session(self) -> str:
        identity, own = self.registry.identity, Given("api_key", self.key())

        async def act() -> str:
            # As with a password: a link that a key made does not count as a sign-in of users with an identity.
            who = replace(await identity.authenticate(own), key_id=None)
            code, _ = await identity.create_session_code(who)
            token, _ = await identity.exchange_code(code)
            return token

        if Credential.SESSION not in self._secrets:
            self._secrets[Credential.SESSION] = self.registry.wait(act())
        return self._secrets[Credential.SESSION]


def _bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


@pytest.fixture(scope="session")
def registry(instance: Instance) -> Iterator[Registry]:
    """The registry of the run's shared instance."""
    found = Registry(instance)
    try:
        yield found
    finally:
        found.close()
