"""Follows operations, wherever they run. The database is the only source; the notices of this process only make it faster.

One task reads the seqs of all watched operations in one query per tenant. So many watchers cost little, and a watcher
holds no connection while it waits.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable
from contextlib import contextmanager
from contextvars import Context
from typing import Any, Final, TypeVar
from uuid import UUID

import structlog
from structlog.typing import FilteringBoundLogger

from responsa_server.domain import names
from responsa_server.domain.errors import (
    FieldViolation,
    InvalidRequest,
    NotFound,
    Reason,
    ResponsaError,
    Unavailable,
)
from responsa_server.domain.knowledge import Operation, OwnershipLost
from responsa_server.domain.people import Reader
from responsa_server.stores.postgres.operations import OperationStore

Result = TypeVar("Result")

POLL_SECONDS: Final = 0.5
"""How often the seqs of watched operations are compared with the database."""


class Watcher:
    """A task that waits for changes of one operation."""

    def __init__(self, operations: OperationStore, reader: Reader, operation_id: UUID, seq: int) -> None:
        self.reader = reader
        self.operation_id = operation_id
        self.seq = seq
        self.changed_event = asyncio.Event()
        self._operations = operations

    async def read(self) -> Operation:
        """Return the newest state. Raises NotFound, Unavailable."""
        self.changed_event.clear()
        operation = await self._operations.get(self.reader, self.operation_id)
        self.seq = operation.seq
        return operation

    async def wait_for_change(self, seconds: float | None = None) -> bool:
        """Wait for news since `read`, at most `seconds`. Returns whether news came; `read` tells whether the state has changed."""
        try:
            async with asyncio.timeout(seconds):
                await self.changed_event.wait()
        except TimeoutError:
            return False
        return True


class Watching:
    """All watchers of this process."""

    def __init__(
        self,
        operations: OperationStore,
        heartbeat_seconds: float = 15.0,
        *,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """heartbeat_seconds: how often a caller of `follow` gets a heartbeat while nothing changes."""
        self._operations = operations
        self._heartbeat_seconds = heartbeat_seconds
        self._poll_seconds = poll_seconds
        self._watchers: defaultdict[UUID, set[Watcher]] = defaultdict(set)
        self._polling: asyncio.Task[None] | None = None
        self._draining = False
        self._log: FilteringBoundLogger = structlog.get_logger("ingest")

    @contextmanager
    def watch(self, reader: Reader, operation_id: UUID, seq: int = 0) -> Generator[Watcher, None, None]:
        """Watch an operation during the block. seq: that of the newest state that the caller knows. Without it, read
        the operation inside the block, because it may have ended before the block began.
        """
        watcher = Watcher(self._operations, reader, operation_id, seq)
        if not self._watchers:
            # It serves everybody, so its lines name nothing of the call that happens to begin it.
            self._polling = asyncio.create_task(self._poll(), name="watched operations", context=Context())
        self._watchers[operation_id].add(watcher)
        try:
            yield watcher
        finally:
            self._watchers[operation_id].discard(watcher)
            if not self._watchers[operation_id]:
                del self._watchers[operation_id]
            if not self._watchers and self._polling is not None:
                self._polling.cancel()

    async def wait(self, reader: Reader, operation_id: UUID, timeout_seconds: float) -> Operation:
        """Wait at most `timeout_seconds` until an operation of the reader's tenant ends, and return the operation in
        its state after the wait. Raises NotFound.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        with self.watch(reader, operation_id) as watcher:
            while True:
                operation = await watcher.read()
                left = deadline - loop.time()
                if operation.done or left <= 0:
                    return operation
                await watcher.wait_for_change(left)

    async def follow(
        self, reader: Reader, operation_id: UUID, after_seq: int = 0
    ) -> AsyncGenerator[Operation | None, None]:
        """Yield the states of an operation of the reader's tenant whose seq is greater than `after_seq`, up to the final state.

        Each state is the newest one at its time, so that states may be left out, except the final one. None is a
        heartbeat, for a caller that has got nothing for a while. Raises NotFound, InvalidRequest
        (AFTER_SEQ_BEYOND_END), Unavailable (also if the server shuts down).
        """
        with self.watch(reader, operation_id) as watcher:
            first = True
            while True:
                operation = await watcher.read()
                if first and after_seq > operation.seq:
                    raise _beyond_end(operation, after_seq)
                first = False
                if operation.seq > after_seq:
                    after_seq = operation.seq
                    yield operation
                if operation.done:
                    return
                if self._draining:
                    raise Unavailable(
                        Reason.DRAINING,
                        "The server is shutting down; try again in a moment.",
                        retry_after=1.0,
                    )
                if not await watcher.wait_for_change(self._heartbeat_seconds):
                    yield None

    async def run_until(
        self,
        reader: Reader,
        operation_id: UUID,
        seq: int,
        is_lost: Callable[[Operation], bool],
        work: Coroutine[Any, Any, Result],
        seconds: float | None = None,
    ) -> Result:
        """Do work for an operation. Once it `is_lost` or gone, wherever it was ended, the work is cancelled, and has
        ended when this does. seq: as for `watch`. Raises OwnershipLost, TimeoutError after `seconds`, and the errors of
        the work."""
        with self.watch(reader, operation_id, seq) as watcher:
            working = asyncio.ensure_future(work)
            lost = asyncio.ensure_future(_wait_until(watcher, is_lost))
            try:
                done, _ = await asyncio.wait(
                    {working, lost}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    raise TimeoutError
                if not working.done():
                    lost.result()
                    raise OwnershipLost
                return working.result()
            finally:
                lost.cancel()
                working.cancel()
                await asyncio.gather(working, lost, return_exceptions=True)

    def report_end(self, operations: Iterable[UUID]) -> None:
        """Wake the watchers of these operations, which this process has ended."""
        for operation_id in operations:
            for watcher in self._watchers.get(operation_id, ()):
                watcher.changed_event.set()

    def drain(self) -> None:
        """End every `follow`, so that its caller goes on at another server."""
        self._draining = True
        self.report_end(list(self._watchers))

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            readers: defaultdict[Reader, list[Watcher]] = defaultdict(list)
            for watchers in self._watchers.values():
                for watcher in watchers:
                    readers[watcher.reader].append(watcher)
            for reader, watchers in readers.items():
                try:
                    seqs = await self._operations.seqs(reader, [watcher.operation_id for watcher in watchers])
                except ResponsaError as error:  # the next round tries again
                    self._log.info("watched operations cannot be read", reason=error.reason.value)
                    continue
                for watcher in watchers:
                    # An operation that was deleted, or that the reader may not read any more, has no seq. Its watcher
                    # finds that out when it reads the operation.
                    if seqs.get(watcher.operation_id) != watcher.seq:
                        watcher.changed_event.set()


async def _wait_until(watcher: Watcher, is_lost: Callable[[Operation], bool]) -> None:
    while True:
        await watcher.wait_for_change()
        try:
            if is_lost(await watcher.read()):
                return
        except NotFound:
            return
        except Unavailable:
            await asyncio.sleep(POLL_SECONDS)  # the work itself waits for the database, or fails
            watcher.changed_event.set()


def _beyond_end(operation: Operation, after_seq: int) -> InvalidRequest:
    name = names.operation(operation.id)
    advice = f"the newest state of {name} is {operation.seq}, before {after_seq}; send the seq of a frame of this operation"
    return InvalidRequest(
        Reason.AFTER_SEQ_BEYOND_END,
        f"after_seq: {advice}",
        {"operation": name, "last_seq": str(operation.seq)},
        (FieldViolation("after_seq", "after_seq.beyond_end", advice),),
    )
