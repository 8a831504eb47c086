"""Builds, starts, drains and closes one server process, in this order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Final, Protocol

import structlog

from responsa_server.app.listening import AddressTaken, claimed
from responsa_server.app.process import configure_logs, freeze
from responsa_server.app.resources import (
    Addresses,
    Disks,
    addresses,
    check_model,
    database_urls,
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
from responsa_server.domain.addresses import Address
from responsa_server.domain.faults import Faults, NoFaults
from responsa_server.domain.knowledge import JobKind
from responsa_server.domain.parts import PartReport
from responsa_server.embedded import EmbeddedError, Layout
from responsa_server.embedded.notify import READY, alive, notify
from responsa_server.identity.limits import LimitBook, Limiter
from responsa_server.importing import uncollected
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.limits import PostgresLimits
from responsa_server.stores.postgres.turn_log import NamedQueries
from responsa_server.stores.postgres.users import PostgresUsers
from responsa_server.stores.rates import LocalRates, Reach, RedisHolds, RedisMessages, RedisRates, Reserved
from responsa_server.telemetry.stages import Traces


def build_limiter(
    settings: Settings, layout: Layout, database: Database, reach: Reach, stack: AsyncExitStack
) -> Limiter:
    """Build the limits on an open database and Redis; Redis need not be there."""
    url = redis_url(settings, layout)
    rates, holds, messages = RedisRates(url, reach), RedisHolds(url, reach=reach), RedisMessages(url, reach)
    for part in (rates, holds, messages):
        stack.push_async_callback(part.close)
    store = PostgresLimits(database)
    book = LimitBook(settings.limits, store, PostgresUsers(database))
    limiter = Limiter(settings.limits, book, store, Reserved(rates), Reserved(LocalRates()), holds, messages)
    stack.push_async_callback(limiter.close)
    return limiter


# How long, after the drain time, the last events of turns may still be committed and sent to the followers.
_LAST_WORDS_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Running:
    """A running server.

    listens: the server's addresses. front: the interface to callers. Call `front.retire` before the block ends, so that
    Envoy has time to notice the shutdown.
    """

    listens: Addresses
    front: Front


def preload() -> None:
    """Import what `running` imports late."""
    with uncollected():
        for name in ("assemble", "front", "sources"):
            import_module(f"responsa_server.app.{name}")


@asynccontextmanager
async def running(
    settings: Settings,
    layout: Layout,
    *,
    faults: Faults | None = None,
    turn_queries: NamedQueries | None = None,
) -> AsyncGenerator[Running]:
    """Run a whole server in this process, with the role that the settings choose. The server is ready during the block
    and drained at its end.

    faults, turn_queries: replacements for tests. Raises EmbeddedError if an address is taken or the database lacks
    migrations, and Unavailable if the database cannot be reached.
    """
    drop_foreign_tracers(environment())
    listens = addresses(settings, layout)
    urls = database_urls(settings, layout)
    async with AsyncExitStack() as stack:
        for address in (listens.grpc, listens.http):
            if address is not None:
                stack.enter_context(_claimed_or_error(address))
        # Imported late, because these modules load grpc, LangGraph and the embedding model's runtime, which other
        # commands and a refused start do not need.
        with uncollected():
            from responsa_server.app.accounts import mailing_on
            from responsa_server.app.assemble import (
                build_erasing,
                build_knowledge,
                build_turns,
                keeper,
                open_models,
                pattern_keeper,
                replay_job,
            )
            from responsa_server.app.caches import Caches
            from responsa_server.app.front import Callers, Silent
            from responsa_server.app.measured import Measured
            from responsa_server.app.metrics import metrics
            from responsa_server.app.sources import (
                delivery_job,
                notifier_on,
                schedule_job,
                source_job,
            )
            from responsa_server.calls.frames import facts_of_terminal
            from responsa_server.insight.experiments import ExperimentKeeper
            from responsa_server.insight.keeper import InsightKeeper
            from responsa_server.outbound.connector import Connector
            from responsa_server.sources.crawling import Crawler
            from responsa_server.sources.sandbox import SourceSandbox
            from responsa_server.stores.postgres.experiments import PostgresExperiments
            from responsa_server.stores.postgres.insight import PostgresInsight
            from responsa_server.stores.postgres.migrate import PostgresMigrations, marked
            from responsa_server.stores.postgres.pause import PauseWatch, PostgresPause
            from responsa_server.stores.redis import RedisCache

        traces = _traces(settings, stack)
        disks = Disks(layout.disks)
        ours = settings.database_url is None
        database = Database(
            marked(urls.app),
            marked(urls.log),
            size=settings.database_pool,
            full=lambda: ours and disks.holds_full(layout.cluster.parent),
            standby_url=urls.standby,
        )
        await database.open()
        stack.push_async_callback(database.close)
        migrations = PostgresMigrations(database)
        reason, remedy = await migrations.unfit()
        if reason:
            raise EmbeddedError(reason, remedy)
        pause = PauseWatch(PostgresPause(database))
        found = await pause.start()
        stack.push_async_callback(pause.close)
        if found is not None and found.restoring:
            raise EmbeddedError(
                "The database is being restored",
                "wait until `responsa restore` has ended; if it was interrupted, restore into an empty database",
            )
        if waiting := await migrations.missing():
            structlog.get_logger("server").warning("migration_waits", migration=waiting[0])
        cache = RedisCache(redis_url(settings, layout))
        stack.push_async_callback(cache.close)
        caches = Caches(settings, layout, cache)
        models = open_models(settings, layout, stack)
        knowledge = await build_knowledge(settings, layout, database, caches, models, stack)
        reach = Reach(redis_url(settings, layout))
        limiter = (
            build_limiter(settings, layout, database, reach, stack) if settings.role.accepts_calls else None
        )
        turns, agents = await build_turns(
            settings,
            layout,
            database,
            knowledge,
            models,
            faults or NoFaults(),
            stack,
            checkpoints=caches.checkpoints,
            turn_queries=turn_queries,
            gate=limiter,
            breakers=models.breakers,
            traces=traces,
            pause=pause,
        )
        await turns.start()
        stack.push_async_callback(turns.close)
        connector = Connector()
        stack.push_async_callback(connector.close)
        sandbox = SourceSandbox(knowledge.parser)
        crawler = Crawler(connector, sandbox)
        if knowledge.jobs is not None:
            erasing, mailing = (
                build_erasing(settings, database, knowledge, turns),
                mailing_on(settings, layout, database),
            )
            notifier = notifier_on(settings, database, knowledge.queue)
            sync = source_job(
                settings,
                database,
                knowledge.queue,
                knowledge.library,
                crawler,
                notifier,
                external_vectors=knowledge.vectors is not None,
            )
            replaying = replay_job(database, knowledge, turns, agents)
            await knowledge.jobs.start(
                {
                    JobKind.ERASE: erasing.work,
                    JobKind.MAIL: mailing.work,
                    JobKind.SYNC: sync.work,
                    JobKind.REPLAY: replaying.work,
                    JobKind.SCHEDULE: schedule_job(database, knowledge.queue, sandbox).work,
                    JobKind.DELIVER: delivery_job(settings, database, knowledge.queue, connector).work,
                    JobKind.NOTICE: notifier.notice,
                },
                notifier.ended,
                {JobKind.SYNC: sync.give_up, JobKind.REPLAY: replaying.give_up},
            )
            stack.push_async_callback(knowledge.jobs.close)
        if settings.role is not ServeRole.RPC:
            patterns = pattern_keeper(settings, database, knowledge, models, caches, pause)
            sums = InsightKeeper(PostgresInsight(database), facts_of_terminal, turns.errors, patterns.wake)
            experiments = ExperimentKeeper(PostgresExperiments(database), agents.agents, turns.errors)
            for counting in (sums, patterns, experiments):
                counting.start()
                stack.push_async_callback(counting.close)
            tenants = keeper(database, turns, knowledge, cache, pause)
            await tenants.start()
            stack.push_async_callback(tenants.close)
        front: Front
        if limiter is None:
            front = Silent(listens, pause)
        else:
            front = Callers(
                settings,
                layout,
                listens,
                database,
                disks,
                knowledge,
                crawler,
                turns,
                agents,
                limiter,
                traces,
                pause,
            )
        stack.push_async_callback(front.close)
        measured = Measured(database, cache, reach, models.breakers, turns, front, layout)
        try:
            await front.start()
            await stack.enter_async_context(metrics(settings, layout, measured))
        except AddressTaken as error:
            raise _address_taken(error) from error
        try:
            yield Running(listens, front)
        finally:
            # No new work begins, and followers are sent to other replicas. Running turns continue for the drain time.
            # Then other workers take over the turns that are still running.
            knowledge.library.drain()
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


class Front(Protocol):
    """A process's interface to callers. Call `start` once, then optionally `retire`, then `drain`, then `close`."""

    async def start(self) -> None:
        """Serve. Raises AddressTaken, OSError."""
        ...

    async def retire(self) -> None:
        """Let the health checks report that the process is shutting down."""
        ...

    async def drain(self, grace_seconds: float) -> None:
        """Refuse new calls, and wait at most `grace_seconds` for running calls to end."""
        ...

    async def close(self) -> None: ...

    @property
    def calls_running(self) -> int:
        """The number of calls with a credential that run now."""
        ...

    @property
    def sockets(self) -> int:
        """The number of open WebSockets."""
        ...

    async def reports(self) -> Mapping[str, PartReport]:
        """The health of each part, by name."""
        ...


@contextmanager
def _claimed_or_error(address: Address) -> Generator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(claimed(address))
        except AddressTaken as error:
            raise _address_taken(error) from error
        except OSError as error:
            raise EmbeddedError(
                f"The server cannot listen on {address} ({error.strerror})",
                "name another address with --listen",
            ) from error
        yield


def _address_taken(error: AddressTaken) -> EmbeddedError:
    return EmbeddedError(
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
    with contextlib.nullcontext() if http is None else _claimed_or_error(http):
        try:
            return await reached(urls.app, http, say, stop) and await reached(urls.log, http, say, stop)
        except AddressTaken as error:
            raise _address_taken(error) from error


async def serve(
    settings: Settings, *, faults: Faults | None = None, turn_queries: NamedQueries | None = None
) -> None:
    """Run a server until SIGTERM or SIGINT. After SIGTERM, the server waits for Envoy to notice before it drains. At the start, it waits for a database of the user's own that is away.

    Raises EmbeddedError if the database does not let this server in, or if the embedded one does not run.
    """
    configure_logs(settings.log_level.value)
    log = structlog.get_logger("server")
    if names := unknown_variables(environment()):
        log.warning("unknown_variables", variables=names)
    check_model()
    layout = Layout.of(settings.home)
    layout.check_restored()
    own = settings.database_url is not None
    # If the home folder is not a data folder, it has no passwords for the embedded database.
    if not own and (
        reason := refusal(database_urls(settings, layout).app)
        if layout.is_home()
        else "there is no data folder"
    ):
        raise EmbeddedError(
            f"The server cannot reach a database ({reason})",
            "run `responsa up`, which starts a database, or set DATABASE_URL and run `responsa migrate`",
        )
    layout.prepare()
    stop: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.put_nowait, number)
    async with alive(environment()):  # also while it waits and drains
        if not own or await _database_reached(settings, layout, stop):
            async with running(settings, layout, faults=faults, turn_queries=turn_queries) as server:
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
