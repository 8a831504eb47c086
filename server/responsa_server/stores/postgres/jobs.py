"""The job queue, which the library procrastinate implements in the schema `procrastinate`. responsa_app enqueues jobs;
responsa_log runs them.

A job consists of a kind, a tenant's id, one other id, and the id of the user whose document is read. procrastinate has
no fencing and does not retry stalled jobs by itself. Therefore the work uses the operation's epoch to check that it
still owns the operation, and `run` assigns the jobs of lost workers again.

A late heartbeat does not prove that a worker is lost: on a loaded machine, heartbeats were late by more than ten
seconds, and living workers lost their jobs. So each worker also holds an advisory lock. PostgreSQL releases the lock as
soon as the worker's process has ended, however the process ends. Only a worker that neither beats nor holds its lock is
lost; or one that has not beaten for a minute, because its machine or its network may be gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

import procrastinate
import psycopg
import structlog
from procrastinate import exceptions, jobs
from procrastinate.manager import JobManager, NotificationCallback
from psycopg_pool import PoolTimeout
from structlog.contextvars import bind_contextvars
from structlog.typing import FilteringBoundLogger

from responsa_server.domain import names
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.knowledge import GiveUp, JobKind, Look, Work, pause_after
from responsa_server.domain.parts import Health, PartReport
from responsa_server.domain.unexpected import UnexpectedErrors
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    check_idle,
    conninfo,
    shielded,
)
from responsa_server.stores.postgres.locks import Lock
from responsa_server.stores.postgres.pool import Pool
from responsa_server.telemetry.unexpected import note

_QUEUE: Final = "knowledge"
# Separate queues, because a worker of the release before would take a job of a kind that it does not know, and lose it.
_REINDEX_QUEUE: Final = "reindex"
_DISCARD_QUEUE: Final = "discard"
_ERASE_QUEUE: Final = "erase"
_MAIL_QUEUE: Final = "mail"
_SYNC_QUEUE: Final = "sync"
_SCHEDULE_QUEUE: Final = "schedule"
_DELIVER_QUEUE: Final = "deliver"
_NOTICE_QUEUE: Final = "notice"
_QUEUES: Final = (
    _QUEUE,
    _REINDEX_QUEUE,
    _DISCARD_QUEUE,
    _ERASE_QUEUE,
    _SCHEDULE_QUEUE,
)


@dataclass(frozen=True, slots=True)
class ReservedSlots:
    """Queues with separate places. places: how many. of_a_tenant: how many of them a tenant gets. usual: how many may
    have jobs that are not urgent. usual_of_a_tenant: how many of these a tenant gets, so that its long jobs leave room
    for those of other tenants.
    """

    name: str
    queues: Sequence[str]
    places: int
    of_a_tenant: int
    usual: int
    usual_of_a_tenant: int


_RESERVED: Final = (
    # These jobs wait for the network or take a moment. The slow receivers of one tenant do not hold up the others.
    ReservedSlots(
        "sending",
        (_MAIL_QUEUE, _DELIVER_QUEUE, _NOTICE_QUEUE),
        places=8,
        of_a_tenant=4,
        usual=8,
        usual_of_a_tenant=4,
    ),
    # Most of these runs wait for their turns, which tenants take (`responsa_etl.sources.budget`). The runs for one
    # subject, for which somebody waits, need none.
    ReservedSlots("runs", (_SYNC_QUEUE,), places=34, of_a_tenant=3, usual=32, usual_of_a_tenant=1),
)
_ALL_QUEUES: Final = frozenset({*_QUEUES, *(queue for reserved in _RESERVED for queue in reserved.queues)})
_ABOUT: Final[Mapping[JobKind, Callable[[UUID], Mapping[str, str]]]] = {
    **dict.fromkeys(
        (JobKind.INGEST, JobKind.REINDEX, JobKind.SYNC),
        lambda identity: {"operation": names.operation(identity)},
    ),
    JobKind.MAIL: lambda identity: {"mail": str(identity)},
    JobKind.DELIVER: lambda identity: {"delivery": str(identity)},
}
"""What the lines of the log about a job name besides its number and its tenant."""
_QUEUE_OF: Final[Mapping[JobKind, str]] = {
    JobKind.INGEST: _QUEUE,
    JobKind.PRUNE: _QUEUE,
    JobKind.REINDEX: _REINDEX_QUEUE,
    JobKind.DISCARD: _DISCARD_QUEUE,
    JobKind.ERASE: _ERASE_QUEUE,
    JobKind.MAIL: _MAIL_QUEUE,
    JobKind.SYNC: _SYNC_QUEUE,
    JobKind.SCHEDULE: _SCHEDULE_QUEUE,
    JobKind.DELIVER: _DELIVER_QUEUE,
    JobKind.NOTICE: _NOTICE_QUEUE,
}
_LONG: Final = (JobKind.REINDEX, JobKind.DISCARD, JobKind.SYNC)
SMALL_BYTES: Final = 1024 * 1024
"""The size up to which a document is small. Small documents of other tenants do not wait for large ones."""
# The number of tenants, and of users, whose turns a worker remembers.
_TURNS: Final = 1000
# Without statistics of a queue that has just grown, PostgreSQL takes a tenant's jobs for so few that it collects and
# sorts all of them, instead of reading the first ones in the
# order of an index.
# If PostgreSQL's machine fails, the queue may forget its last half second: that a worker took a job, or ended it. The
# job then runs again, and the operation's epoch decides as after the
# loss of a worker. What happened before a commit that is waited for, such as a publication, is never forgotten.
OPTIONS: Final = "-c search_path=procrastinate -c statement_timeout=30000 -c enable_bitmapscan=off -c synchronous_commit=off"
"""The settings of the queue's connections."""
# The errors that procrastinate raises if the database cannot be reached, and the psycopg errors that it passes on.
_LOST: Final = (exceptions.ConnectorException, psycopg.OperationalError, PoolTimeout, OSError)


@dataclass(frozen=True, slots=True)
class QueuePace:
    """The queue's intervals and limits, in seconds.

    A worker whose last heartbeat is older than `stalled` counts as lost if it does not hold its lock either, so
    `stalled` must be several times `heartbeat`. A worker whose last heartbeat is older than `gone` counts as lost in
    any case.
    """

    poll: float = 1.0
    heartbeat: float = 2.0
    stalled: float = 10.0
    gone: float = 60.0
    restart: float = 1.0
    grace: float = 1.0


class JobRank(Enum):
    """When a job is taken, among the jobs of its tenant. The value is the priority of a small job; that of a large one
    is smaller by one."""

    URGENT = 1
    """Before the others: the job is short, and somebody waits for it."""
    USUAL = 0
    LATE = -2
    """After the others: nobody waits for this one job, and there may be very many of them."""


class _TryAgain(Exception):
    """The job needs another attempt after `seconds`; with a `Look`, an urgent one."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"try again in {seconds:g} s")
        self.seconds = seconds
        self.priority = JobRank.URGENT.value if isinstance(seconds, Look) else None


class _Retry(procrastinate.BaseRetryStrategy):
    """Retries every job until its work is done. If the work itself requests another attempt, it also sets the pause. After a shutdown
    there is no pause. After any other error the pauses grow.
    """

    def get_retry_decision(self, *, exception: BaseException, job: jobs.Job) -> procrastinate.RetryDecision:
        priority = None  # as before
        match exception:
            case _TryAgain():
                seconds, priority = exception.seconds, exception.priority
            case asyncio.CancelledError() | exceptions.JobAborted():
                seconds = 0.0
            case _:
                seconds = pause_after(job.attempts)
        return procrastinate.RetryDecision(retry_in={"milliseconds": int(seconds * 1000)}, priority=priority)


def places(concurrency: int) -> int:
    """How many documents may be read at the same time: as many of any size, as many small ones of users without a
    running job, and one of a tenant without a running job."""
    return 2 * concurrency + 1


class JobQueue:
    """Enqueues jobs and runs them. A job may run more than once, so each attempt first checks which steps are left."""

    def __init__(
        self,
        log_url: str,
        *,
        concurrency: int,
        max_losses: int = 1,
        pace: QueuePace | None = None,
    ) -> None:
        """log_url: the URL for the role responsa_log. concurrency: the maximum number of jobs that run at the same
        time. In addition, small jobs may run, see `places`. Runs of sources, and jobs that send mails and deliveries,
        have separate places; see `_RESERVED`. max_losses: how many workers a job may lose in succession; after the next
        loss it is given up.
        """
        self._conninfo = conninfo(log_url, OPTIONS)
        self.concurrency = concurrency
        self.max_losses = max_losses
        self.errors = UnexpectedErrors()
        """The unexpected errors of jobs and of all else that counts them here."""
        self.workers: list[int] = []
        """The numbers of all workers that this process has had."""
        self._pace = pace or QueuePace()
        self._queries = Queries("jobs.sql")
        self._putting = self._make_app()
        self._running: dict[asyncio.Future[float | None], str] = {}  # each job's work, and its tenant
        self._log: FilteringBoundLogger = structlog.get_logger("jobs")

    async def defer(
        self,
        connection: Connection,
        kind: JobKind,
        tenant_id: str,
        identity: UUID,
        *,
        after: float = 0.0,
        size_bytes: int = 0,
        rank: JobRank = JobRank.USUAL,
        user_id: UUID | None = None,
    ) -> None:
        """Enqueue a job within the connection's transaction. after: the number of seconds before the job may begin.
        size_bytes: the size of the document to read. rank: whether the job is taken before or after other jobs of the
        tenant. user_id: the user whose job it is; the users of a tenant take turns.
        """
        # procrastinate's SQL uses names without a schema. Therefore its schema is added to the search path of this transaction.
        # At the end of the path, the schema hides no other name.
        await connection.execute(
            """SELECT set_config('search_path',
                concat_ws(', ', nullif(current_setting('search_path'), ''), 'procrastinate'), true)"""
        )
        delay = {"milliseconds": int(after * 1000)} if after > 0 else None
        small = rank is JobRank.URGENT or (size_bytes <= SMALL_BYTES and kind not in _LONG)
        task = self._putting.configure_task(
            kind.value,
            queue=_QUEUE_OF[kind],
            schedule_in=delay,
            priority=rank.value if small else rank.value - 1,
            connection=connection,
            allow_unknown=True,
        )
        user = {} if user_id is None else {"user_id": str(user_id)}
        await task.defer_async(tenant_id=tenant_id, id=str(identity), **user)

    async def hasten(self, connection: Connection, kind: JobKind, identity: UUID) -> bool:
        """Let the waiting job with this id begin now, within the connection's transaction. A running one begins again
        at once if it wants another attempt. Returns whether there is such a job."""
        cursor = await connection.execute("SELECT responsa.hasten_job(%s, %s)", [_QUEUE_OF[kind], identity])
        row = await cursor.fetchone()
        return row is not None and row[0]

    async def run(
        self, work: Mapping[JobKind, Work], give_up: Mapping[JobKind, GiveUp] | None = None
    ) -> None:
        """Run jobs of the kinds in `work`, including jobs whose worker was lost. Others wait for a worker that knows
        their kind. If a job of a kind in `give_up` has lost too many workers in succession, that is called in place of
        its work. The call ends only when it is cancelled.
        """
        while True:
            app = self._make_app()
            for kind, handler in work.items():
                self._register(app, kind, handler, (give_up or {}).get(kind))
            try:
                async with app.open_async(), self._present(app) as manager:
                    app.job_manager = manager
                    await self._take_jobs(app, manager, {_QUEUE_OF[kind] for kind in work})
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

    @asynccontextmanager
    async def _present(self, app: procrastinate.App) -> AsyncGenerator[_Jobs]:
        """During the block, other processes can see that this process runs jobs.

        If no other process runs jobs at the beginning, any jobs marked as running were left by processes that have died. These jobs are
        assigned again at once, without waiting for an overdue heartbeat.
        """
        connection = await psycopg.AsyncConnection[tuple[int]].connect(self._conninfo, autocommit=True)
        async with connection:
            cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", [Lock.JOB_WORKERS])
            row = await cursor.fetchone()
            alone = row is not None and row[0]
            manager = _Jobs(app.job_manager, connection, self, self._queries)
            if alone:
                await self._assign_again(manager, (await self._find_stalled(manager, 0.0)).values())
            # This waits for any other process that is making the same check.
            await connection.execute("SELECT pg_advisory_lock_shared(%s)", [Lock.JOB_WORKERS])
            if alone:
                await connection.execute("SELECT pg_advisory_unlock(%s)", [Lock.JOB_WORKERS])
            yield manager

    async def _take_jobs(self, app: procrastinate.App, manager: _Jobs, known: Collection[str]) -> None:
        workers = (
            # `fetch` decides who may use the places beyond the concurrency.
            ("knowledge", _QUEUES, places(self.concurrency)),
            *((slots.name, slots.queues, slots.places) for slots in _RESERVED),
        )
        tasks = (
            *(
                self._worker(app, name, taken, count)
                for name, queues, count in workers
                if (taken := [queue for queue in queues if queue in known])
            ),
            asyncio.create_task(self._sweep(manager), name="sweep of stalled jobs"),
        )
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        # The sweep ends only with an error, which also ended the workers.
        for error in reversed(ended):
            if isinstance(error, Exception):
                raise error

    def _worker(
        self, app: procrastinate.App, name: str, queues: Sequence[str], concurrency: int
    ) -> asyncio.Task[None]:
        return asyncio.create_task(
            app.run_worker_async(
                queues=list(queues),  # psycopg sends a tuple as a row, not as an array
                name=name,
                concurrency=concurrency,
                install_signal_handlers=False,
                listen_notify=True,
                fetch_job_polling_interval=self._pace.poll,
                abort_job_polling_interval=60.0,  # rarely: jobs are cancelled through the epoch instead
                update_heartbeat_interval=self._pace.heartbeat,
                stalled_worker_timeout=self._pace.gone,
                shutdown_graceful_timeout=self._pace.grace,
                delete_jobs="always",  # the operation stores the outcome
            ),
            name=f"job worker {name}",
        )

    async def _find_stalled(self, manager: _Jobs, seconds: float) -> dict[int | None, jobs.Job]:
        """The running jobs of workers without a heartbeat for this time, by id."""
        running = await manager.get_stalled_jobs(seconds_since_heartbeat=seconds)
        return {job.id: job for job in running if job.queue in _ALL_QUEUES}

    async def _sweep(self, manager: _Jobs) -> None:
        """Assign the jobs of lost workers again. Raises an error once this worker cannot go on and must begin again."""
        while True:
            manager.check()
            await self._hold(manager)
            living = await manager.living()
            try:
                stalled = await self._find_stalled(manager, self._pace.stalled)
                unheard = {id_: job for id_, job in stalled.items() if job.worker_id not in living}
                gone = await self._find_stalled(manager, self._pace.gone) if stalled else {}
                await self._assign_again(manager, (unheard | gone).values())
            except _LOST as error:
                self._log.warning("cannot look for stalled jobs at the moment", cause=_cause(error))
            await asyncio.sleep(self._pace.heartbeat)

    async def _assign_again(self, manager: _Jobs, lost: Iterable[jobs.Job]) -> None:
        for job in lost:
            losses = await manager.assign_lost(job)
            if losses is not None:
                self._log.warning("a job of a lost worker is assigned again", losses=losses, **_label(job))

    async def _hold(self, manager: _Jobs) -> None:
        """Stop the running jobs of suspended tenants. They return to the queue and wait there."""
        if not self._running:
            return
        try:
            held = await manager.find_suspended()
        except _LOST as error:
            self._log.warning("cannot look for suspended tenants at the moment", cause=_cause(error))
            return
        for work, tenant_id in tuple(self._running.items()):
            if tenant_id in held:
                work.cancel()

    def _make_app(self) -> procrastinate.App:
        return procrastinate.App(
            connector=procrastinate.PsycopgConnector(
                pool_factory=_pool,
                configure=_autocommit,
                conninfo=self._conninfo,
                min_size=1,
                max_size=places(self.concurrency) + 5,
                timeout=10,
            )
        )

    def _register(self, app: procrastinate.App, kind: JobKind, work: Work, give_up: GiveUp | None) -> None:
        about = _ABOUT.get(kind)

        async def job(
            context: procrastinate.JobContext,
            tenant_id: str,
            id: str,  # noqa: A002 - the job's arguments; `fetch` reads the user
            user_id: str = "",
            losses: int = 0,
        ) -> None:
            # procrastinate runs each job in a task of its own.
            bind_contextvars(**_label(context.job), **({} if about is None else about(UUID(id))))
            if give_up is not None and losses > self.max_losses:
                self._log.error("a job that lost its workers is given up", losses=losses)
                await give_up(tenant_id, UUID(id), losses)
                return
            try:
                again = await self._await_work(tenant_id, work(tenant_id, UUID(id), context.job.attempts))
            except Unavailable:
                raise
            except Exception as error:  # procrastinate logs it, and tries again
                note(self.errors, error, f"{kind.value}/{id}")
                raise
            if again is not None:
                raise _TryAgain(again)

        app.task(name=kind.value, queue=_QUEUE_OF[kind], retry=_Retry(), pass_context=True)(job)

    async def _await_work(self, tenant_id: str, work: Awaitable[float | None]) -> float | None:
        """Wait for the work of a job. If `_hold` stops it, the job returns to the queue at once, and no worker takes it
        while its tenant is suspended."""
        running = asyncio.ensure_future(work)
        self._running[running] = tenant_id
        try:
            return await running
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self._log.info("a job of a suspended tenant was stopped")
            return 0.0
        finally:
            del self._running[running]


def _pool(**settings: Any) -> Pool:
    """A pool with the settings of procrastinate, but without its query before each use of a connection."""
    settings["check"] = check_idle
    return Pool(**settings)


async def _autocommit(connection: Connection) -> None:
    """Each statement of procrastinate is a whole transaction, so it needs no BEGIN and no COMMIT."""
    await connection.set_autocommit(True)


class _Jobs(JobManager):
    """procrastinate's access to its tables, for the workers of one process: jobs are taken in turn between tenants and
    their users, a worker holds a lock while it lives, and no error of storing the end of a job is lost.
    """

    def __init__(
        self,
        manager: JobManager,
        presence: psycopg.AsyncConnection[tuple[int]],
        queue: JobQueue,
        queries: Queries,
    ) -> None:
        """presence: the connection that holds this process's locks. queue: the process's queue."""
        super().__init__(manager.connector)
        self._presence = presence
        self._queue = queue
        self._queries = queries
        # The tenants, and "tenant user", in the order of their last turns.
        self._served: dict[str, None] = {}
        self._served_users: dict[str, None] = {}
        self._ended = 0
        self._arrived = 0
        self._full_at: tuple[int, int] | None = None
        """The numbers of jobs that had ended and arrived when the last place was taken."""
        self._failure: Exception | None = None
        self._listening: list[tuple[NotificationCallback, frozenset[str]]] = []
        self._log: FilteringBoundLogger = structlog.get_logger("jobs")

    def check(self) -> None:
        """Raise the error if the end of a job could not be stored: the job would stay marked as running as long as this worker lives."""
        if self._failure is not None:
            raise self._failure

    async def living(self) -> frozenset[int]:
        """The numbers of the workers whose processes live. Raises psycopg.OperationalError if this process has lost its locks."""
        cursor = await self._presence.execute(self._queries["living"], {"presence": Lock.JOB_WORKERS})
        return frozenset(number for (number,) in await cursor.fetchall())

    async def find_suspended(self) -> Collection[str]:
        """The tenants whose jobs may not run."""
        row = await self.connector.execute_query_one_async(self._queries["suspended"])
        return frozenset(row["tenants"])

    async def register_worker(self) -> int:
        """Register the worker, and take its lock before it takes any job."""
        number = await super().register_worker()
        self._queue.workers.append(number)
        await self._presence.execute("SELECT pg_advisory_lock(%s)", [Lock.JOB_WORKERS << 32 | number])
        return number

    async def unregister_worker(self, worker_id: int) -> None:
        """Assign the jobs again whose end could not be stored. Later they would name no worker, and count as lost by one."""
        for job in await self.get_stalled_jobs(seconds_since_heartbeat=0.0):
            if job.worker_id == worker_id:
                await self.assign_lost(job)
        await super().unregister_worker(worker_id)

    async def assign_lost(self, job: jobs.Job) -> int | None:
        """Assign a job of a lost worker again. Returns how many workers it has lost in succession; None if another process was faster."""
        with suppress(exceptions.NoResult):
            row = await self.connector.execute_query_one_async(
                self._queries["lose"], job=job.id, worker=job.worker_id, own=self._queue.workers
            )
            return row["losses"]
        return None

    async def listen_for_jobs(
        self, *, on_notification: NotificationCallback, queues: Iterable[str] | None = None
    ) -> None:
        """Listen for new jobs, and keep the callback: a job that ends here makes room for another one."""

        async def note(*, channel: str, notification: jobs.Notification) -> None:
            self._arrived += 1
            await on_notification(channel=channel, notification=notification)

        self._listening.append((note, frozenset(queues or ())))
        await super().listen_for_jobs(on_notification=note, queues=queues)

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> jobs.Job | None:
        """Take the next job, or None if no job may begin now."""
        taken = list(queues or _QUEUES)
        reserved = next((slots for slots in _RESERVED if {*taken} <= {*slots.queues}), None)
        if reserved is None and self._full_at == (self._ended, self._arrived):
            self._full_at = None  # once: later, a job may begin whose time has come
            return None
        while True:
            ended, arrived = self._ended, self._arrived
            try:
                if reserved is not None:
                    row = await self.connector.execute_query_one_async(
                        self._queries["fetch_reserved"],
                        worker=worker_id,
                        queues=taken,
                        of_a_tenant=reserved.of_a_tenant,
                        usual=reserved.usual,
                        usual_of_a_tenant=reserved.usual_of_a_tenant,
                    )
                    return _job(row)
                row = await self.connector.execute_query_one_async(
                    self._queries["fetch"],
                    worker=worker_id,
                    queues=taken,
                    concurrency=self._queue.concurrency,
                    served=list(self._served),
                    served_users=list(self._served_users),
                )
            except exceptions.NoResult:
                if ended == self._ended:
                    return None
                continue  # a job has ended since the query began, so there may be room now
            self._full_at = (ended, arrived) if row["full"] else None
            job = _job(row)
            tenant = str(job.task_kwargs["tenant_id"])
            _note_turn(self._served, tenant)
            _note_turn(self._served_users, f"{tenant} {job.task_kwargs.get('user_id', '')}")
            return job

    async def finish_job(self, job: jobs.Job, status: jobs.Status, delete_job: bool) -> None:
        """Store the end of a job."""
        with self._ending(job):
            await super().finish_job(job, status, delete_job)
        await self._make_room(job.queue)

    async def retry_job(
        self,
        job: jobs.Job,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        """Store that a job has ended and needs another attempt."""
        with self._ending(job):
            losses = job.task_kwargs.get("losses")
            if isinstance(losses, int) and losses <= self._queue.max_losses:
                await self.connector.execute_query_async(
                    self._queries["kept"], job=job.id, worker=job.worker_id
                )
            await super().retry_job(job, retry_at, priority, queue, lock)
        await self._make_room(job.queue)

    @contextmanager
    def _ending(self, job: jobs.Job) -> Generator[None]:
        """Handle the errors of storing the end of a job. procrastinate awaits the task that stores it, but nothing
        awaits the task that runs the job."""
        try:
            yield
        except exceptions.ConnectorException as error:
            if isinstance(error.__cause__, psycopg.errors.RaiseException):
                self._log.warning("a job was assigned to another worker before it ended here", **_label(job))
            else:
                self._failure = error
                self._log.warning("the end of a job cannot be stored", **_label(job), cause=_cause(error))

    async def _make_room(self, ended: str) -> None:
        """Let the worker that takes the jobs of this queue look for another one."""
        self._ended += 1
        for notify, queues in self._listening:
            if ended in queues:
                # Whatever the notification says, procrastinate looks for jobs.
                await notify(channel=_QUEUE, notification={"type": "job_inserted", "job_id": 0})


class OtherJobWorkers:
    """Whether other processes run jobs. A process that runs none reports this. Implements `domain.parts.Part`."""

    name = "jobs"

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = Queries("jobs.sql")

    @shielded
    async def check(self) -> PartReport:
        """Look for a holder of the lock `Lock.JOB_WORKERS`."""
        async with self._database.log() as connection:
            cursor = await connection.execute(self._queries["present"], {"presence": Lock.JOB_WORKERS})
            row = await cursor.fetchone()
        if row is not None and row[0]:
            return PartReport(Health.OK)
        detail = "No process reads uploaded documents. Start one: `responsa serve --role jobs`."
        return PartReport(Health.DOWN, detail=detail)


def _job(row: dict[str, Any]) -> jobs.Job:
    """A job that was taken. Its losses are an argument, if it has any."""
    losses = {"losses": row["losses"]} if row["losses"] else {}
    return jobs.Job.from_row({**row, "args": row["args"] | losses})


def _note_turn(served: dict[str, None], name: str) -> None:
    served.pop(name, None)
    served[name] = None
    if len(served) > _TURNS:
        del served[next(iter(served))]


def _label(job: jobs.Job) -> dict[str, object]:
    """A job and its tenant, for the log."""
    return {"job": job.id, "tenant": job.task_kwargs.get("tenant_id", "")}


def _cause(error: Exception) -> str:
    """The type of the error that procrastinate raised."""
    return type(error.__cause__ or error).__name__
