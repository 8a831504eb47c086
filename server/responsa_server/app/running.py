"""Everything put together: with its neighbours `wiring_*`, the only place that knows the concrete adapters."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from responsa_server.app.event_loop import settle
from responsa_server.app.logs import configure as configure_logs
from responsa_server.app.places import (
    Addresses,
    DatabaseUrls,
    addresses,
    bring_up_to_date,
    database_urls,
    identity_of,
    new_id,
    reachable,
    redis_url,
)
from responsa_server.app.replaced import Replaced
from responsa_server.app.settings import ServeRole, Settings, environment
from responsa_server.app.tracers import drop_foreign_tracers
from responsa_server.domain.addresses import Address
from responsa_server.domain.ports.faults import Faults, NoFaults
from responsa_server.embedded import EmbeddedError, Layout
from responsa_server.stores.postgres.database import Database
from responsa_server.transports.http.listening import AddressTaken, claimed

__all__ = [
    "Addresses",
    "DatabaseUrls",
    "Replaced",
    "Running",
    "addresses",
    "bring_up_to_date",
    "database_urls",
    "identity_of",
    "new_id",
    "reachable",
    "redis_url",
    "running",
    "serve",
]

# What it takes, once the turns' time is up, to commit their ends and to tell those who follow.
_LAST_WORDS_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs. listens: where. front: what is seen of it; retired some time before the end, it gives Envoy time to notice."""

    listens: Addresses
    front: Front


@asynccontextmanager
async def running(
    settings: Settings,
    layout: Layout,
    *,
    faults: Faults | None = None,
    replaced: Replaced | None = None,
) -> AsyncGenerator[Running]:
    """A whole server in this process, in the role of the settings: ready within the block and drained at its end.

    faults, replaced: what tests put in. Raises EmbeddedError (an address is taken, the database lacks migrations), Unavailable.
    """
    drop_foreign_tracers(environment())
    # Imported here: they bring grpc, LangGraph and the model's runtime, which the commands that only look need not load.
    from responsa_server.app.documents import knowledge
    from responsa_server.app.front import Callers, Seen, Silent
    from responsa_server.app.turns import turns_of
    from responsa_server.stores.postgres.part import PostgresMigrations
    from responsa_server.stores.redis import RedisCache

    replaced = replaced or Replaced()
    listens = addresses(settings, layout)
    urls = database_urls(settings, layout)
    async with AsyncExitStack() as stack:
        for address in (listens.grpc, listens.http):
            if address is not None:
                stack.enter_context(_taken_told(address))
        database = Database(urls.app, urls.log, size=settings.database_pool)
        await database.open()
        stack.push_async_callback(database.close)
        if (await PostgresMigrations(database).state()).pending:
            raise EmbeddedError(
                "The database lacks migrations of this version", "run `responsa migrate`, then start again"
            )
        cache = RedisCache(redis_url(settings, layout))
        stack.push_async_callback(cache.close)
        known = await knowledge(settings, layout, database, cache, stack)
        turns, agents = await turns_of(
            settings, layout, database, known, faults or NoFaults(), replaced, stack
        )
        await turns.start()
        stack.push_async_callback(turns.close)
        if known.jobs is not None:
            await known.jobs.start()
            stack.push_async_callback(known.jobs.close)
        front: Front
        if settings.role is ServeRole.WORKER:
            front = Silent(listens)
        else:
            seen = Seen(agents.agents, agents.teachers, agents.counters, [agents.agents])
            front = Callers(settings, layout, listens, database, known, turns, seen)
        stack.push_async_callback(front.close)
        try:
            await front.start()
        except AddressTaken as error:
            raise _taken(error) from error
        try:
            yield Running(listens, front)
        finally:
            # Nothing new begins, and who follows a turn is sent elsewhere; running turns get their time, and are given up to other workers.
            await asyncio.gather(
                front.drain(settings.drain_seconds + _LAST_WORDS_SECONDS),
                turns.drain(settings.drain_seconds),
            )


class Front(Protocol):
    """What of a process is seen from outside. `start` once, then `retire` or not, then `drain`, then `close`."""

    async def start(self) -> None:
        """Serve. Raises AddressTaken, OSError."""
        ...

    async def retire(self) -> None:
        """Tell by health checks that the process goes away."""
        ...

    async def drain(self, grace_seconds: float) -> None:
        """Take no new calls and let running ones end for so long."""
        ...

    async def close(self) -> None:
        """Serve nothing any more. Repeatable."""
        ...


@contextmanager
def _taken_told(address: Address) -> Generator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(claimed(address))
        except AddressTaken as error:
            raise _taken(error) from error
        except OSError as error:
            raise EmbeddedError(
                f"{address} cannot be listened on ({error.strerror})", "name another place with --listen"
            ) from error
        yield


def _taken(error: AddressTaken) -> EmbeddedError:
    return EmbeddedError(
        str(error),
        "give this one a place of its own, such as --listen unix:/tmp/responsa-2.sock or --listen 127.0.0.1:9002",
    )


async def serve(
    settings: Settings, *, faults: Faults | None = None, replaced: Replaced | None = None
) -> None:
    """Run a server until SIGTERM, which gives Envoy time to notice, or SIGINT. Raises EmbeddedError when what it stands on is not there."""
    configure_logs(settings.log_level.value)
    log = structlog.get_logger("server")
    layout = Layout.of(settings.home)
    # A folder that is no home has no passwords to ask with.
    absent = settings.database_url is None and not layout.is_home()
    if absent or not reachable(database_urls(settings, layout).app):
        raise EmbeddedError(
            "There is no database to serve from",
            "run `responsa up`, which starts one, or set DATABASE_URL and run `responsa migrate`",
        )
    layout.prepare()
    stop: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.put_nowait, number)
    async with running(settings, layout, faults=faults, replaced=replaced) as server:
        where = {"grpc": str(server.listens.grpc), "http": str(server.listens.http)}
        settle()
        log.info("ready", role=settings.role.value, **where)
        if await stop.get() is signal.SIGTERM and server.listens.grpc is not None:
            log.info("leaving")
            await server.front.retire()
            with contextlib.suppress(TimeoutError):  # a second signal ends the notice
                await asyncio.wait_for(stop.get(), settings.notice_seconds)
        log.info("draining")
    with contextlib.suppress(NotImplementedError):
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
