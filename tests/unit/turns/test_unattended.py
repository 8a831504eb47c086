"""Work that belongs to no call, and its end."""

from __future__ import annotations

import asyncio

import pytest

from responsa_server.turns.unattended import Unattended


async def test_what_does_not_end_in_time_is_stopped() -> None:
    async def short() -> int:
        await asyncio.sleep(0)
        return 7

    async def endless() -> None:
        await asyncio.Event().wait()

    work = Unattended()
    ends, never = work.begin(short()), work.begin(endless())
    await work.done(0.05)
    assert (ends.result(), never.cancelled()) == (7, True)


async def test_it_waits_for_no_longer_than_needed() -> None:
    work = Unattended()
    gate = asyncio.Event()
    waiting = work.begin(gate.wait())
    done = asyncio.create_task(work.done(3600.0))
    await asyncio.sleep(0)
    assert not done.done()
    gate.set()
    await done
    assert waiting.result()
    with pytest.raises(RuntimeError, match="seen"):
        await work.run(_raises())


async def _raises() -> None:
    raise RuntimeError("seen")
