"""Loops that outlive their errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
import structlog
from structlog.testing import capture_logs

from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.unexpected import UnexpectedErrors
from responsa_server.telemetry.unexpected import keep_going


def in_turn(rounds: Sequence[Exception | None]) -> Callable[[], Awaitable[None]]:
    """Works that fail with these errors, one after the other, and are then cancelled."""
    coming = iter(rounds)

    async def work() -> None:
        error = next(coming, asyncio.CancelledError())
        if error is not None:
            raise error

    return work


async def test_a_part_that_stays_away_is_logged_once_until_it_is_back() -> None:
    away = Unavailable(Reason.PART_UNAVAILABLE, "The database is away.")
    work = in_turn([away, away, ValueError(), away, None, away])
    with capture_logs() as logs, pytest.raises(asyncio.CancelledError):
        await keep_going(work, 0, structlog.get_logger(), "mills", UnexpectedErrors())
    assert [line["event"] for line in logs] == ["mills_unavailable", "mills_failed", "mills_unavailable"]
