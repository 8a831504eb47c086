"""The job queue, which the library procrastinate implements in the schema `procrastinate`. responsa_app enqueues jobs; responsa_log runs them.

A job consists of a kind, a tenant's id and one other id. procrastinate has no fencing and does not retry stalled jobs by itself.
Therefore the work uses the operation's epoch to check that it still owns the operation, and `run` assigns the jobs of lost workers again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import procrastinate
import psycopg
import structlog
from procrastinate import exceptions, jobs
from psycopg_pool import PoolTimeout
from structlog.typing import FilteringBoundLogger

from responsa_server.domain.knowledge import JobKind, Work
from responsa_server.stores.postgres.database import Connection, conninfo

_QUEUE: Final = "knowledge"
PRESENCE: Final = 0x7265_7372
"""The advisory lock that every process with a job worker holds in shared mode. No other lock in this database has this number."""
_OPTIONS: Final = "-c search_path=procrastinate -c statement_timeout=30000"
# The errors that procrastinate raises if the database cannot be reached, and the psycopg errors that it passes on.
_LOST: Final = (exceptions.ConnectorException, psycopg.OperationalError, PoolTimeout, OSError)


@dataclass(frozen=True, slots=True)
class QueuePace:
    """The queue's intervals and limits, in seconds.

    A worker whose last heartbeat is older than `stalled` counts as lost, so `stalled` must be several times `heartbeat`.
    """

    poll: float = 1.0
    heartbeat: float = 2.0
    stalled: float = 10.0
    restart: float = 1.0
    grace: float = 1.0


class _TryAgain(Exception):
    """The job needs another attempt after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"try again in {seconds:g} s")
        self.seconds = seconds


class _Retry(procrastinate.BaseRetryStrategy):
    """Retries every job until its work is done. If the work itself requests another attempt, it also sets the pause. After a shutdown
    there is no pause. After any other error the pauses grow.
    """

    def get_retry_decision(self, *, exception: BaseException, job: jobs.Job) -> procrastinate.RetryDecision:
        match exception:
            case _TryAgain():
                seconds = exception.seconds
            case asyncio.CancelledError() | exceptions.JobAborted():
                seconds = 0.0
            case _:
                seconds = min(60.0, 2.0**job.attempts)
        return procrastinate.RetryDecision(retry_in={"milliseconds": int(seconds * 1000)})


class JobQueue:
    """Enqueues jobs and runs them. Implements the port `JobRunner`."""

    def __init__(self, log_url: str, *, concurrency: int, pace: QueuePace | None = None) -> None:
        """log_url: the URL for the role responsa_log. concurrency: the maximum number of jobs that run at the same time."""
        self._conninfo = conninfo(log_url, _OPTIONS)
        self._concurrency = concurrency
        self._pace = pace or QueuePace()
        self._putting = self._make_app()
        self._log: FilteringBoundLogger = structlog.get_logger("jobs")

    async def defer(
        self, connection: Connection, kind: JobKind, tenant_id: str, identity: UUID, *, after: float = 0.0
    ) -> None:
        """Enqueue a job within the connection's transaction. after: the number of seconds before the job may begin."""
        # procrastinate's SQL uses names without a schema. Therefore its schema is added to the search path of this transaction.
        # At the end of the path, the schema hides no other name.
        await connection.execute(
            """SELECT set_config('search_path',
                concat_ws(', ', nullif(current_setting('search_path'), ''), 'procrastinate'), true)"""
        )
        delay = {"milliseconds": int(after * 1000)} if after > 0 else None
        task = self._putting.configure_task(
            kind.value, queue=_QUEUE, schedule_in=delay, connection=connection, allow_unknown=True
        )
        await task.defer_async(tenant_id=tenant_id, id=str(identity))

    async def run(self, work: Mapping[JobKind, Work]) -> None:
        """Run jobs until cancelled. While the database cannot be reached, keep trying to connect."""
        while True:
            app = self._make_app()
            for kind, one in work.items():
                self._register(app, kind, one)
            try:
                async with app.open_async():
                    await self._run_once(app)
                self._log.warning("the job worker ended by itself and will be started again")
            except _LOST as error:
                self._log.warning(
                    "the job worker has no connection to the database and will try again", cause=_cause(error)
                )
            # If a worker is cancelled while the database is unavailable, it raises the database's error instead of
            # CancelledError.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError
            await asyncio.sleep(self._pace.restart)

    async def _run_once(self, app: procrastinate.App) -> None:
        async with self._present(app):
            await self._take_jobs(app)

    @asynccontextmanager
    async def _present(self, app: procrastinate.App) -> AsyncGenerator[None]:
        """During the block, other processes can see that this process runs jobs.

        If no other process runs jobs at the beginning, any jobs marked as running were left by processes that have died. These jobs are
        assigned again at once, without waiting for an overdue heartbeat.
        """
        connection = await psycopg.AsyncConnection[tuple[bool]].connect(self._conninfo, autocommit=True)
        async with connection:
            cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", [PRESENCE])
            row = await cursor.fetchone()
            alone = row is not None and row[0]
            if alone:
                await app.job_manager.prune_stalled_workers(0)
            # This waits for any other process that is making the same check.
            await connection.execute("SELECT pg_advisory_lock_shared(%s)", [PRESENCE])
            if alone:
                await connection.execute("SELECT pg_advisory_unlock(%s)", [PRESENCE])
            yield

    async def _take_jobs(self, app: procrastinate.App) -> None:
        sweep = asyncio.create_task(self._sweep(app), name="sweep of stalled jobs")
        try:
            await app.run_worker_async(
                queues=[_QUEUE],
                name="knowledge",
                concurrency=self._concurrency,
                install_signal_handlers=False,
                listen_notify=True,
                fetch_job_polling_interval=self._pace.poll,
                abort_job_polling_interval=60.0,  # rarely: jobs are cancelled through the epoch instead
                update_heartbeat_interval=self._pace.heartbeat,
                stalled_worker_timeout=self._pace.stalled,
                shutdown_graceful_timeout=self._pace.grace,
                delete_jobs="always",  # the operation stores the outcome
            )
        finally:
            sweep.cancel()
            with suppress(asyncio.CancelledError):
                await sweep

    async def _sweep(self, app: procrastinate.App) -> None:
        """Assign the jobs of lost workers again."""
        while True:
            try:
                stalled = await app.job_manager.get_stalled_jobs(
                    queue=_QUEUE, seconds_since_heartbeat=self._pace.stalled
                )
                for job in stalled:
                    # If another process was faster, the job is no longer running, and procrastinate refuses this
                    # retry.
                    with suppress(exceptions.ConnectorException):
                        await app.job_manager.retry_job(job)
                        self._log.warning("a job of a lost worker is assigned again", job=job.id)
            except _LOST as error:
                self._log.warning("cannot look for stalled jobs at the moment", cause=_cause(error))
            await asyncio.sleep(self._pace.heartbeat)

    def _make_app(self) -> procrastinate.App:
        return procrastinate.App(
            connector=procrastinate.PsycopgConnector(
                conninfo=self._conninfo, min_size=1, max_size=self._concurrency + 3, timeout=10
            )
        )

    @staticmethod
    def _register(app: procrastinate.App, kind: JobKind, work: Work) -> None:
        async def job(context: procrastinate.JobContext, tenant_id: str, id: str) -> None:  # noqa: A002 - the job's argument
            again = await work(tenant_id, UUID(id), context.job.attempts)
            if again is not None:
                raise _TryAgain(again)

        app.task(name=kind.value, queue=_QUEUE, retry=_Retry(), pass_context=True)(job)


def _cause(error: Exception) -> str:
    """The type of the error that procrastinate raised."""
    return type(error.__cause__ or error).__name__
