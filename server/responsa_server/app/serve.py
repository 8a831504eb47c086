"""Builds, starts, drains and closes one server process, in this order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import FunctionType
from typing import Final

import structlog

from responsa_server.app.layout import Layout
from responsa_server.app.listening import AddressTaken, Front, claim
from responsa_server.app.notify import READY, alive, notify, watchdog_seconds
from responsa_server.app.process import configure_logs, freeze
from responsa_server.app.processes import check_model
from responsa_server.app.resources import (
    Addresses,
    Disks,
    addresses,
    database_urls,
    read_secret,
    redis_url,
    refusal,
)
from responsa_server.app.settings import (
    LogLevel,
    ServeRole,
    Settings,
    drop_foreign_tracers,
    environment,
    otlp,
    unknown_variables,
)
from responsa_server.app.waiting import reached
from responsa_server.app.watchdog import watch
from responsa_server.domain.addresses import Address
from responsa_server.domain.faults import Faults, NoFaults
from responsa_server.domain.knowledge import JobKind
from responsa_server.identity.limits import LimitBook, Limiter
from responsa_server.identity.tokens import Secret
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.limits import PostgresLimits
from responsa_server.stores.postgres.turn_log import NamedQueries
from responsa_server.stores.postgres.users import PostgresUsers
from responsa_server.stores.rates import (
    LocalRates,
    RedisAvailability,
    RedisHolds,
    RedisMessages,
    RedisRates,
    Reserved,
)
from responsa_server.system.fixable import Fixable
from responsa_server.system.importing import pause_collection
from responsa_server.system.plugins import Group, load_rows
from responsa_server.telemetry.stages import Traces


def build_limiter(
    settings: Settings,
    layout: Layout,
    database: Database,
    availability: RedisAvailability,
    stack: AsyncExitStack,
) -> Limiter:
    """Build the limits on an open database and Redis; Redis need not be there."""
    url = redis_url(settings, layout)
    rates, holds, messages = (
        RedisRates(url, availability),
        RedisHolds(url, availability=availability),
        RedisMessages(url, availability),
    )
    for part in (rates, holds, messages):
        stack.push_async_callback(part.close)
    store = PostgresLimits(database)
    book = LimitBook(settings.limits, store, PostgresUsers(database))
    limiter = Limiter(settings.limits, book, store, Reserved(rates), Reserved(LocalRates()), holds, messages)
    stack.push_async_callback(limiter.close)
    return limiter


# How long, after the drain time, the last events of turns may still be committed and sent to the followers.
_LAST_WORDS_SECONDS: Final = 1.0
_SHARE_OF_SYSTEMD: Final = 0.8


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A running server.

    listens: the server's addresses. front: the interface to callers. Call `front.retire` before the block ends, so that
    Envoy has time to notice the shutdown.
    """

    listens: Addresses
    front: Front


def preload() -> None:
    """Import what `running` imports late."""
    with pause_collection():
        for name in ("assemble", "front", "studies"):
            import_module(f"responsa_server.app.{name}")
        load_rows(Group.EXTENSIONS, FunctionType)


@asynccontextmanager
async def running(
    settings: Settings,
    layout: Layout,
    *,
    faults: Faults | None = None,
    turn_queries: NamedQueries | None = None,
) -> AsyncGenerator[RunningServer]:
    """Run a whole server in this process, with the role that the settings choose. The server is ready during the block
    and drained at its end.

    faults, turn_queries: replacements for tests. Raises Fixable if an address is taken or the database's migrations are
    not this version's, and Unavailable if the database cannot be reached.
    """
    drop_foreign_tracers(environment())
    listens = addresses(settings, layout)
    urls = database_urls(settings, layout)
    async with AsyncExitStack() as stack:
        for address in (listens.grpc, listens.http):
            if address is not None:
                stack.enter_context(_claim_or_error(address))
        # Imported late, because these modules load grpc, LangGraph and the embedding model's runtime, which other
        # commands and a refused start do not need.
        with pause_collection():
            from responsa_server.app.accounts import mailing_on
            from responsa_server.app.assemble import (
                build_erasing,
                build_knowledge,
                build_turns,
                keeper,
                open_models,
            )
            from responsa_server.app.caches import Caches
            from responsa_server.app.extension import Extension, Jobs, Parts
            from responsa_server.app.front import CallFront, HealthFront
            from responsa_server.app.measured import Measured
            from responsa_server.app.metrics import metrics
            from responsa_server.app.studies import studies
            from responsa_server.outbound.connector import Connector
            from responsa_server.stores.postgres.migrate import PostgresMigrations, mark_url
            from responsa_server.stores.postgres.pause import PauseWatch, PostgresPause
            from responsa_server.stores.redis import RedisCache

            added = load_rows(Group.EXTENSIONS, FunctionType).values()

        traces = _traces(settings, stack)
        disks = Disks(layout.disks)
        ours = settings.database_url is None
        database = Database(
            mark_url(urls.app),
            mark_url(urls.log),
            size=settings.database_pool,
            full=lambda: ours and disks.holds_full(layout.cluster.parent),
        )
        await database.open()
        stack.push_async_callback(database.close)
        migrations = PostgresMigrations(database)
        await migrations.check()
        pause = PauseWatch(PostgresPause(database))
        state = await pause.start()
        stack.push_async_callback(pause.close)
        if state is not None and state.restoring:
            raise Fixable(
                "The database is being restored",
                "wait until `responsa restore` has finished; if it was interrupted, restore into an empty database",
            )
        if waiting := await migrations.missing():
            structlog.get_logger("server").warning("migration_waits", migration=waiting[0])
        cache = RedisCache(redis_url(settings, layout))
        stack.push_async_callback(cache.close)
        caches = Caches(settings, layout, cache)
        models = open_models(settings, layout, stack)
        knowledge = await build_knowledge(settings, layout, database, caches, models, stack)
        availability = RedisAvailability(redis_url(settings, layout))
        limiter = (
            build_limiter(settings, layout, database, availability, stack)
            if settings.role.accepts_calls
            else None
        )
        turns, agents = await build_turns(
            settings,
            layout,
            database,
            knowledge,
            models,
            faults or NoFaults(),
            stack,
            turn_queries=turn_queries,
            gate=limiter,
            breakers=models.breakers,
            traces=traces,
            pause=pause,
        )
        if knowledge.warming is not None:
            await knowledge.warming  # a process takes no turn and no job before its parts work
        await turns.start()
        stack.push_async_callback(turns.close)
        connector = Connector()
        stack.push_async_callback(connector.close)
        secret = Secret(read_secret(settings, layout))
        parts = Parts(settings, database, knowledge, models, caches, connector, turns, agents, pause, secret)
        extensions: Sequence[Extension] = (studies(parts), *(make(parts) for make in added))
        if knowledge.jobs is not None:
            erasing, mailing = (
                build_erasing(settings, database, knowledge, turns),
                mailing_on(settings, layout, database),
            )
            core = Jobs({JobKind.ERASE: erasing.work, JobKind.MAIL: mailing.work})
            jobs = (core, *(extension.jobs() for extension in extensions))
            await knowledge.jobs.start(
                {kind: work for part in jobs for kind, work in part.work.items()},
                next((part.announce for part in jobs if part.announce is not None), None),
                {kind: end for part in jobs for kind, end in part.give_up.items()},
            )
            stack.push_async_callback(knowledge.jobs.close)
        if settings.role is not ServeRole.RPC:
            for counting in (task for extension in extensions for task in extension.periodic()):
                counting.start()
                stack.push_async_callback(counting.close)
            tenants = keeper(database, turns, knowledge, cache, pause)
            await tenants.start()
            stack.push_async_callback(tenants.close)
        front: Front
        if limiter is None:
            front = HealthFront(listens, pause)
        else:
            front = CallFront(
                settings,
                layout,
                listens,
                database,
                disks,
                knowledge,
                models,
                extensions,
                turns,
                agents,
                limiter,
                traces,
                pause,
            )
        stack.push_async_callback(front.close)
        measured = Measured(database, cache, availability, models.breakers, turns, front, layout)
        try:
            await front.start()
            await stack.enter_async_context(metrics(settings, layout, measured))
        except AddressTaken as error:
            raise _address_taken(error) from error
        try:
            yield RunningServer(listens, front)
        finally:
            # No new work begins, and followers are sent to other replicas. Running turns continue for the drain time.
            # Then other workers take over the turns that are still running.
            knowledge.library.watching.drain()
            await asyncio.gather(
                front.drain(settings.drain_seconds + _LAST_WORDS_SECONDS),
                turns.drain(settings.drain_seconds),
            )


def _traces(settings: Settings, stack: AsyncExitStack) -> Traces:
    """How this process records stages."""
    log = structlog.get_logger("turns") if settings.log_level is LogLevel.DEBUG else None
    if not otlp(settings).makes_traces:
        return Traces(log=log)
    # Imported late, because the SDK is slow to import and most installations make no traces.
    from responsa_server.app.traces import SentTraces

    sent = SentTraces(settings, log)
    stack.push_async_callback(sent.close)
    return sent.traces


@contextmanager
def _claim_or_error(address: Address) -> Generator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(claim(address))
        except AddressTaken as error:
            raise _address_taken(error) from error
        except OSError as error:
            raise Fixable(
                f"The server cannot listen on {address} ({error.strerror})",
                "name another address with --listen",
            ) from error
        yield


def _address_taken(error: AddressTaken) -> Fixable:
    return Fixable(
        str(error),
        "give this process its own address, such as --listen 127.0.0.1:9002",
    )


async def _database_reached(settings: Settings, layout: Layout, stop: asyncio.Queue[signal.Signals]) -> bool:
    """Wait for the user's own database. Returns False if a signal came first."""
    log = structlog.get_logger("server")

    def say(reason: str) -> None:
        if reason:
            log.warning("waits_for_database", reason=reason)
        else:
            log.info("database_reached")

    http, urls = addresses(settings, layout).http, database_urls(settings, layout)
    with contextlib.nullcontext() if http is None else _claim_or_error(http):
        try:
            return await reached(urls.app, http, say, stop) and await reached(urls.log, http, say, stop)
        except AddressTaken as error:
            raise _address_taken(error) from error


def _loop_limit(settings: Settings) -> float:
    """For how many seconds the event loop may stand still; 0 for any time."""
    seconds, systemd = settings.watchdog_seconds, watchdog_seconds(environment())
    # Systemd would kill the process without a word.
    return min(seconds, _SHARE_OF_SYSTEMD * systemd) if systemd else seconds


async def serve(
    settings: Settings,
    layout: Layout,
    *,
    faults: Faults | None = None,
    turn_queries: NamedQueries | None = None,
) -> None:
    """Run a server until SIGTERM or SIGINT. After SIGTERM, the server waits for Envoy to notice before it drains. At
    the start, it waits for a database of the user's own that is away.

    Raises Fixable if the database does not let this server in, or if the embedded one does not run.
    """
    configure_logs(settings.log_level.value)
    log = structlog.get_logger("server")
    if names := unknown_variables(environment()):
        log.warning("unknown_variables", variables=names)
    check_model()
    layout.check_restored()
    own = settings.database_url is not None
    # If the home folder is not a data folder, it has no passwords for the embedded database.
    if not own and (
        reason := refusal(database_urls(settings, layout).app)
        if layout.is_home()
        else "there is no data folder"
    ):
        raise Fixable(
            f"The server cannot reach a database ({reason})",
            "run `responsa up`, which starts a database, or set DATABASE_URL and run `responsa migrate`",
        )
    layout.prepare()
    if settings.authorities is not None:
        from responsa_server.outbound.authorities import trust_also

        try:
            trust_also(settings.authorities)
        except OSError as error:
            raise Fixable(f"The setting authorities cannot be used ({error})", "name a PEM file") from error
    stop: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.put_nowait, number)
    async with alive(environment()), AsyncExitStack() as stack:  # also while it waits and drains
        if not own or await _database_reached(settings, layout, stop):
            async with running(settings, layout, faults=faults, turn_queries=turn_queries) as server:
                stack.enter_context(watch(_loop_limit(settings)))
                where = {"grpc": str(server.listens.grpc), "http": str(server.listens.http)}
                freeze()
                log.info("ready", role=settings.role.value, **where)
                notify(READY, environment())
                if await stop.get() is signal.SIGTERM and server.listens.grpc is not None:
                    log.info("leaving")
                    await server.front.retire()
                    with contextlib.suppress(TimeoutError):  # a second signal ends this wait
                        await asyncio.wait_for(stop.get(), settings.notice_seconds)
                log.info("draining")
    with contextlib.suppress(NotImplementedError):
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
