"""The health of this server's parts, and whether it can answer now: for GetSystemStatus, the health checks of all
transports, and the metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar

from responsa_server.domain.background import Background
from responsa_server.domain.errors import ResponsaError
from responsa_server.domain.formatting import in_seconds
from responsa_server.domain.parts import NOT_PAUSED, Health, PartReport, Pause, ReportedPart

Result = TypeVar("Result")

CHECK_SECONDS: Final = 2.0
"""The maximum time that a check of a part is waited for."""
_KNOWN_SECONDS: Final = 1.0
"""How long the outcome of a check is given to callers without a credential, so that they cannot make the server check again and again."""


class PartReports:
    """Asks parts for their health. Call `close` at the end."""

    def __init__(self, parts: Sequence[ReportedPart]) -> None:
        self._parts = tuple(parts)
        self._work = Background()

    async def all(self) -> Mapping[str, PartReport]:
        """The report of each part, by name. If a part raises an error, the error becomes its report: the status is most
        needed when something is broken."""
        reports = await asyncio.gather(*(self._report(part) for part in self._parts))
        return {part.name: report for part, report in zip(self._parts, reports, strict=True)}

    async def wait_for(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait at most two seconds. Late work continues, so no database call is interrupted, but the result of late
        work is dropped. Raises TimeoutError."""
        task = asyncio.ensure_future(work)
        done, _ = await asyncio.wait((task,), timeout=CHECK_SECONDS)
        if not done:
            self._work.hold(task)
            raise TimeoutError
        return task.result()

    async def close(self) -> None:
        """End the checks that still run."""
        await self._work.cancel()

    async def _report(self, part: ReportedPart) -> PartReport:
        try:
            return await self.wait_for(part.check())
        except TimeoutError:
            return PartReport(Health.DOWN, detail=f"did not answer within {in_seconds(CHECK_SECONDS)}")
        except ResponsaError as error:
            return PartReport(Health.DOWN, detail=error.message)
        except Exception as error:
            # A broken part must not hide the others. The error's text may hold addresses, so report only its type.
            return PartReport(Health.DOWN, detail=f"failed with {type(error).__name__}")


class ServerHealth:
    """What this server tells everybody about its health. Outcomes are remembered for a second."""

    def __init__(
        self,
        serving: Callable[[], bool],
        lacking: Callable[[], Awaitable[Collection[str]]] | None = None,
        parts: Callable[[], Awaitable[Mapping[str, PartReport]]] | None = None,
        pause: Pause = NOT_PAUSED,
    ) -> None:
        """serving: whether the server has started and does not leave. lacking: the parts without which no question can
        be answered now. parts: the reports of all parts. pause: the pause after a restore.
        """
        self._serving = serving
        self.pause = pause
        self._lacking = _CachedResult(lacking or _nothing)
        self._parts = _CachedResult(parts or _no_reports)

    async def lacking(self) -> Collection[str]:
        """The parts without which this server cannot answer now; "server" before it has started and once it leaves.
        Empty: it can answer."""
        return await self._lacking.get() if self._serving() else ("server",)

    async def parts(self) -> Mapping[str, Health]:
        """The health of each part, by name."""
        return {name: report.health for name, report in (await self._parts.get()).items()}


async def _nothing() -> Collection[str]:
    return ()


async def _no_reports() -> Mapping[str, PartReport]:
    return {}


class _CachedResult:
    """The result of work that is done at most once a second, whoever asks."""

    def __init__(self, work: Callable[[], Awaitable[Any]]) -> None:
        self._work = work
        self._one_at_a_time = asyncio.Lock()
        self._until = 0.0
        self._result: Any = None

    async def get(self) -> Any:
        async with self._one_at_a_time:
            if time.monotonic() >= self._until:
                self._result = await self._work()
                self._until = time.monotonic() + _KNOWN_SECONDS
            return self._result
