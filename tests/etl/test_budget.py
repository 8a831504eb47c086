"""Runs that read without an end give their places to other tenants, and go on later."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from responsa_etl.sources import budget
from responsa_etl.sources.budget import Budget, BudgetLimits, BudgetSpent
from responsa_server.domain.people import Server, work_for
from responsa_server.domain.sharing import Scheduler

LIMITS = BudgetLimits(seconds=600, requests=10**9, entries=10**9, size=10**9)


async def test_ten_tenants_with_runs_without_an_end_take_turns_at_two_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("PLACE_SECONDS", "_LOOK_SECONDS"):
        monkeypatch.setattr(budget, name, 0.0)
    places, turns, reading = Scheduler("runs of sources", 2), Counter[str](), set[str]()

    async def read(tenant: str) -> None:
        work_for(Server(tenant), background=True)
        run = Budget(LIMITS, places)
        while True:
            held = tenant in reading
            await run.spend(requests=1)
            if not held:
                turns[tenant] += 1
            reading.add(tenant)
            assert len(reading) <= 2
            await asyncio.sleep(0)
            if run._release is None:
                reading.discard(tenant)

    tenants = [f"tenant {number}" for number in range(10)]
    tasks = [asyncio.create_task(read(tenant)) for tenant in tenants]
    async with asyncio.timeout(30):
        while len(turns) < 10 or min(turns.values()) < 3:
            await asyncio.sleep(0)
            assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_time_in_which_a_run_waits_for_a_place_is_none_of_its_budget() -> None:
    places = Scheduler("runs of sources", 1)
    first, second = Budget(LIMITS, places), Budget(BudgetLimits(0.05, 1, 1, 1), places)
    work_for(Server("first"))
    await first.hold()
    waited = asyncio.create_task(_read(second))
    assert not (await asyncio.wait({waited}, timeout=0.2))[0]
    first.give_up()
    assert await waited == "0.05 seconds"


async def _read(run: Budget) -> str:
    work_for(Server("second"))
    try:
        async with run.reading():
            await run.hold()
            await asyncio.Event().wait()
    except BudgetSpent as spent:
        return str(spent)
    return ""
