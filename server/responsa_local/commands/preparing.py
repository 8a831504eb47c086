"""What `responsa up` does with the running database, before the server starts and when everything is ready. `up`
imports this module late, while the servers load."""

from __future__ import annotations

import asyncio

import psycopg

from responsa_local.commands.admin import say_waiting
from responsa_local.embedded import EmbeddedError, LocalLayout
from responsa_local.embedded.envoy import check_port
from responsa_server.app.listening import AddressTaken
from responsa_server.app.resources import (
    bring_up_to_date,
    build_identity,
    build_index,
    database_urls,
    ensure_administrator,
    open_identity,
    pools_of,
    reason_of,
)
from responsa_server.app.settings import Settings
from responsa_server.app.waiting import Reaching, reached
from responsa_server.domain.addresses import TcpAddress
from responsa_server.domain.errors import Unavailable
from responsa_server.stores.postgres.migrate import waiting
from responsa_server.stores.postgres.pause import PauseState, PostgresPause
from responsa_server.stores.postgres.vectors import drop_unused_index


def await_database(settings: Settings, layout: LocalLayout) -> None:
    """Wait for the user's own database. Meanwhile, the health checks answer where Envoy will listen. Raises EmbeddedError."""
    address = TcpAddress(settings.listen, settings.port)
    try:
        asyncio.run(reached(database_urls(settings, layout).owner, address, say_waiting))
    except (AddressTaken, OSError):
        check_port(settings.listen, settings.port)  # raises the error that says what to do
        raise


def prepare_database(settings: Settings, layout: LocalLayout, *, repair: bool = False) -> None:
    """Apply the missing migrations, say which one waits, and make the administrator of this machine. repair: also make
    a new key that signs tokens, because the secret of the old ones may be lost. Raises EmbeddedError, MigrationError.
    """
    urls = database_urls(settings, layout)
    try:
        asyncio.run(bring_up_to_date(settings, layout))
        if waits := asyncio.run(waiting(urls.owner)):
            print(waits, flush=True)
        if settings.database_url is not None:
            for url in (urls.app, urls.log):
                Reaching(url).attempt()
        asyncio.run(_administrator(settings, layout))
        if repair:
            asyncio.run(_new_signing_key(settings, layout))
        if settings.database_url is None and settings.docs is not None:
            # In a new database, the own documents are stored without the index. `finish` builds it, and so does the
            # next start after a killed one.
            asyncio.run(drop_unused_index(urls.owner))
    except (psycopg.OperationalError, Unavailable) as error:
        told = f" ({reason_of(error)})" if isinstance(error, psycopg.OperationalError) else ""
        raise EmbeddedError(
            f"The database cannot be reached{told}", "check DATABASE_URL, and that PostgreSQL runs"
        ) from error


def finish(settings: Settings, layout: LocalLayout) -> tuple[str, PauseState | None]:
    """Build a missing index. Returns a code that signs a browser in, and the pause if there is one."""

    async def work() -> tuple[str, PauseState | None]:
        await build_index(settings, layout)
        async with pools_of(settings, layout) as pools:
            identity = build_identity(settings, pools)
            try:
                code, _ = await identity.create_session_code(
                    await ensure_administrator(identity, layout.api_key)
                )
            finally:
                await identity.close()
            return code, await PostgresPause(pools).state()

    return asyncio.run(work())


def pause_of(settings: Settings, layout: LocalLayout) -> PauseState | None:
    """Return the pause of a restored instance; None without one."""

    async def work() -> PauseState | None:
        async with pools_of(settings, layout) as pools:
            return await PostgresPause(pools).state()

    return asyncio.run(work())


async def _administrator(settings: Settings, layout: LocalLayout) -> None:
    async with open_identity(settings, layout) as identity:
        await ensure_administrator(identity, layout.api_key)


async def _new_signing_key(settings: Settings, layout: LocalLayout) -> None:
    # Imported late, because this module loads libraries of cryptography.
    from responsa_server.app.accounts import tokens_on

    async with pools_of(settings, layout) as pools:
        await tokens_on(settings, layout, pools).rotate()
