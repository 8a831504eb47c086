"""The job queue: procrastinate in the schema `procrastinate`, put into by responsa_app, run by responsa_log.

A job is a kind, a tenant's id and one other id. procrastinate has no fencing and takes nothing stalled up by itself: the work checks by an
epoch of its own that it is still wanted, and `run` hands out again what a lost worker left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import procrastinate
import psycopg
from procrastinate import exceptions, jobs
from psycopg_pool import PoolTimeout

from responsa_server.domain.ports.knowledge import JobKind, Work
from responsa_server.stores.postgres.database import Connection, conninfo

_LOG: Final = logging.getLogger(__name__)
_QUEUE: Final = "knowledge"
PRESENCE: Final = 0x7265_7372
"""The advisory lock that every process that takes jobs holds, shared, for as long as it does; the number is ours alone in this database."""
_OPTIONS: Final = "-c search_path=procrastinate -c statement_timeout=30000"
# What procrastinate raises when the database cannot be reached, apart from what it lets through from below.
_LOST: Final = (exceptions.ConnectorException, psycopg.OperationalError, PoolTimeout, OSError)


@dataclass(frozen=True, slots=True)
class QueuePace:
    """Seconds. A worker that has not been heard of for `stalled` is taken for lost; it must be several times `heartbeat`."""

    poll: float = 1.0
    heartbeat: float = 2.0
    stalled: float = 10.0
    restart: float = 1.0
    grace: float = 1.0


class _TryAgain(Exception):
    """The work asks for another attempt after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"try again in {seconds:g} s")
        self.seconds = seconds


class _Retry(procrastinate.BaseRetryStrategy):
    """Every job is tried until its work says that it is done: as asked, at once after a shutdown, else with growing pauses."""

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
    """Puts jobs in and runs them; implements the port `JobRunner`."""

    def __init__(self, log_url: str, *, concurrency: int = 2, pace: QueuePace | None = None) -> None:
        """Take the URL of the role responsa_log. concurrency: jobs at once."""
        self._conninfo = conninfo(log_url, _OPTIONS)
        self._concurrency = concurrency
        self._pace = pace or QueuePace()
        self._putting = self._make_app()

    async def defer(
        self, connection: Connection, kind: JobKind, tenant_id: str, identity: UUID, *, after: float = 0.0
    ) -> None:
        """Put a job in, as part of the connection's transaction. after: seconds before it may begin."""
        # procrastinate names nothing by schema. Added for this transaction alone, and last, so that it hides nothing.
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
        """Take jobs and do them until cancelled; a database that cannot be reached is waited for."""
        while True:
            app = self._make_app()
            for kind, one in work.items():
                self._register(app, kind, one)
            try:
                async with app.open_async():
                    await self._run_once(app)
                _LOG.warning("the job worker ended by itself and is started again")
            except _LOST as error:
                _LOG.warning("the job worker lost the database and tries again: %s", _cause(error))
            # A worker that is stopped while the database is away answers with that, and not with having been cancelled.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError
            await asyncio.sleep(self._pace.restart)

    async def _run_once(self, app: procrastinate.App) -> None:
        async with self._present(app):
            await self._take_jobs(app)

    @asynccontextmanager
    async def _present(self, app: procrastinate.App) -> AsyncGenerator[None]:
        """Show for the time of the block that jobs are taken here.

        When nobody else takes any, what is under way was left by processes that are no more, and is handed out again at once rather than once their
        silence tells.
        """
        connection = await psycopg.AsyncConnection[tuple[bool]].connect(self._conninfo, autocommit=True)
        async with connection:
            cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", [PRESENCE])
            row = await cursor.fetchone()
            alone = row is not None and row[0]
            if alone:
                await app.job_manager.prune_stalled_workers(0)
            # Waits for one who is just finding out the same.
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
                abort_job_polling_interval=60.0,  # cancelling is the epoch's business
                update_heartbeat_interval=self._pace.heartbeat,
                stalled_worker_timeout=self._pace.stalled,
                shutdown_graceful_timeout=self._pace.grace,
                delete_jobs="always",  # what came of it stands in the operation
            )
        finally:
            sweep.cancel()
            with suppress(asyncio.CancelledError):
                await sweep

    async def _sweep(self, app: procrastinate.App) -> None:
        """Hand out again the jobs of workers that are lost."""
        while True:
            try:
                stalled = await app.job_manager.get_stalled_jobs(
                    queue=_QUEUE, seconds_since_heartbeat=self._pace.stalled
                )
                for job in stalled:
                    # Another process may have been faster: the job is no longer under way then, which is refused.
                    with suppress(exceptions.ConnectorException):
                        await app.job_manager.retry_job(job)
                        _LOG.warning("job %s of a lost worker is taken up again", job.id)
            except _LOST as error:
                _LOG.warning("stalled jobs cannot be looked for at the moment: %s", _cause(error))
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
    """The kind of error, as procrastinate met it."""
    return type(error.__cause__ or error).__name__
