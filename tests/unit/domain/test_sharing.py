from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest

from responsa_server.domain import sharing
from responsa_server.domain.errors import Exhausted, Reason
from responsa_server.domain.people import Principal, Role, for_turn, work_for
from responsa_server.domain.sharing import SLICE_SECONDS, Scheduler, be_patient, pause, work_within


def user(tenant: str = "acme") -> Principal:
    return Principal(tenant, uuid4(), Role.USER, "api_key")


class Clock:
    """A clock that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(sharing, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Line:
    """Calls at one shared part. Each turn takes the seconds that its call says, on the test's clock."""

    def __init__(self, clock: Clock) -> None:
        self.scheduler = Scheduler("embedding", 1)
        self.clock = clock
        self.served: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def fill(self) -> Callable[[], None]:
        """Take the only turn, so that further calls wait."""
        return await self.scheduler.take()

    async def add(
        self, name: str, caller: Principal, calls: int = 1, *, costs: float = 1.0, background: bool = False
    ) -> None:
        """Let calls wait."""
        for _ in range(calls):
            self.tasks.append(asyncio.create_task(self._call(name, caller, costs, background)))
        await asyncio.sleep(0)

    async def _call(self, name: str, caller: Principal, costs: float, background: bool) -> None:
        work_for(caller, background=background)
        async with self.scheduler.turn():
            self.served.append(name)
            self.clock.now += costs

    async def end(self) -> str:
        """Wait until all calls were served. Returns the order."""
        await asyncio.gather(*self.tasks)
        return "".join(self.served)


async def test_tenants_have_equal_shares_and_so_have_the_users_of_a_tenant(clock: Clock) -> None:
    line, ann, bob, eve = Line(clock), user(), user(), user("rival")
    release = await line.fill()
    await line.add("a", ann, 8)
    await line.add("b", bob, 8)
    await line.add("e", eve, 8)
    release()
    served = await line.end()
    assert Counter(served[:12]) == {"a": 3, "b": 3, "e": 6}


async def test_a_share_is_measured_by_cost_not_by_calls(clock: Clock) -> None:
    line = Line(clock)
    release = await line.fill()
    await line.add("d", user(), 4, costs=8.0)
    await line.add("c", user(), 24, costs=1.0)
    release()
    counted = Counter((await line.end())[:18])
    assert counted["c"] >= 6 * counted["d"]


async def test_who_was_away_has_saved_nothing_up(clock: Clock) -> None:
    line, ann, bob = Line(clock), user(), user()
    release = await line.fill()
    await line.add("b", bob)
    await line.add("a", ann, 20)
    release()
    await line.end()
    release = await line.fill()
    await line.add("a", ann, 8)
    await line.add("b", bob, 8)
    release()
    assert Counter((await line.end())[21:29]) == {"a": 4, "b": 4}


async def test_questions_come_first_and_everything_else_gets_a_tenth(clock: Clock) -> None:
    line = Line(clock)
    release = await line.fill()
    await line.add("r", user(), 40, background=True)
    await line.add("q", user("rival"), 40)
    release()
    served = await line.end()
    assert 3 <= served[:40].count("r") <= 5


async def test_calls_whose_callers_went_away_leave_the_line(clock: Clock) -> None:
    line, ann = Line(clock), user()
    release = await line.fill()
    await line.add("x", user())
    await line.add("x", ann, 2)
    await line.add("a", ann)
    alone, gone, granted, _ = line.tasks
    alone.cancel()
    gone.cancel()
    await asyncio.sleep(0)
    release()  # the second has its turn, and goes before it has noticed
    granted.cancel()
    assert await asyncio.gather(*line.tasks, return_exceptions=True)
    assert line.served == ["a"]
    assert line.scheduler._free


async def test_a_user_whose_calls_wait_already_is_refused_and_others_are_not() -> None:
    drawings, ann = Scheduler("drawings", 1), user()

    async def draw(caller: Principal) -> None:
        work_for(caller)
        async with drawings.turn():
            pass

    release = await drawings.take()
    waiting = [asyncio.create_task(draw(ann)) for _ in range(sharing.SHARED["drawings"].waiting)]
    await asyncio.sleep(0)
    with pytest.raises(Exhausted) as refused:
        await draw(ann)
    assert refused.value.reason is Reason.OVERLOADED
    assert (refused.value.retry_after or 0) > 0
    other = asyncio.create_task(draw(user()))
    await asyncio.sleep(0)
    release()
    await asyncio.gather(*waiting, other)


async def test_a_call_whose_turn_would_come_after_its_deadline_is_refused_at_once(clock: Clock) -> None:
    line, ann = Line(clock), user()
    for _ in range(100):  # a turn takes about ten seconds
        await line.add("a", ann, costs=10.0)
        await line.end()
    release = await line.fill()
    await line.add("a", ann, 4, costs=10.0)
    work_for(ann, clock.now + 20.0)
    with pytest.raises(Exhausted) as refused:
        await line.scheduler.take()
    assert 40 < (refused.value.retry_after or 0) < 60
    work_for(user(), clock.now + 60.0)  # another user's turn comes after one or two of hers
    other = asyncio.create_task(line.scheduler.take())
    await asyncio.sleep(0)
    assert not other.done()
    release()
    (await other)()
    await line.end()


async def test_a_search_waits_for_its_beginning_as_long_as_its_own_turns_let_it(clock: Clock) -> None:
    searches, ann, bob = Scheduler("searches"), user(), user()

    async def search(caller: Principal, seconds: float) -> None:
        work_for(caller)
        be_patient()
        async with searches.turn(1):
            await asyncio.sleep(0)
            clock.now += seconds

    # Each of Ann's searches takes eight seconds, so the second one that waits comes too late.
    tried = [asyncio.create_task(search(ann, 8.0)) for _ in range(2)]
    await tried[0]
    tried += [asyncio.create_task(search(ann, 8.0)) for _ in range(2)]
    outcomes = await asyncio.gather(*tried, return_exceptions=True)
    assert [isinstance(outcome, Exhausted) for outcome in outcomes] == [False, False, False, True]
    # Bob's are short, whatever hers take.
    await asyncio.gather(*(search(bob, 0.1) for _ in range(20)))


async def test_a_search_that_has_begun_is_not_refused_for_want_of_patience(clock: Clock) -> None:
    line, ann = Line(clock), user()
    work_for(ann)
    be_patient()
    (await line.scheduler.take())()
    clock.now += 100.0
    release = await line.fill()
    second = asyncio.create_task(line.scheduler.take())
    await asyncio.sleep(0)
    assert not second.done()
    release()
    (await second)()


async def test_a_limit_of_time_does_not_count_the_wait_for_a_turn() -> None:
    scheduler = Scheduler("embedding", 1)
    release = await scheduler.take()

    async def work() -> str:
        async with work_within(0.01), scheduler.turn():
            return "in time"

    async def hang() -> None:
        async with work_within(0.01), scheduler.turn():
            await asyncio.Event().wait()

    waiting = asyncio.create_task(work())
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, later.set)
    await later.wait()
    release()
    assert await waiting == "in time"
    with pytest.raises(TimeoutError):
        await hang()
    assert scheduler._free


async def test_a_user_has_so_many_turns_at_a_time_and_another_has_own_ones() -> None:
    searches, ann = Scheduler("searches"), user()
    work_for(ann)
    first, second = await searches.take(2), await searches.take(2)
    third = asyncio.create_task(searches.take(2))
    await asyncio.sleep(0)
    assert not third.done()
    work_for(user())
    (await searches.take(2))()
    first()
    (await third)()
    second()


async def test_a_thread_works_for_one_call_at_a_time_although_callers_leave() -> None:
    scheduler, gate, entered = Scheduler("embedding", 1), threading.Event(), threading.Event()
    begun: list[str] = []

    def work(name: str) -> None:
        begun.append(name)
        entered.set()
        gate.wait()

    with ThreadPoolExecutor(1) as thread:
        gone = asyncio.create_task(scheduler.run(thread, work, "gone"))
        await asyncio.to_thread(entered.wait)
        gone.cancel()
        assert await asyncio.gather(gone, return_exceptions=True)
        assert not scheduler._free
        waiting = asyncio.create_task(scheduler.run(thread, work, "waiting"))
        await asyncio.sleep(0)
        assert begun == ["gone"]
        gate.set()
        await waiting
    assert begun == ["gone", "waiting"]


async def test_slices_of_several_searches_leave_the_loop_to_others(clock: Clock) -> None:
    scheduler, steps = Scheduler("loop", 1), list[str]()

    async def search(name: str) -> None:
        scheduler.slice_up()
        for _ in range(10):
            await pause()
            steps.append(name)
            clock.now += SLICE_SECONDS / 2

    async def other() -> None:
        while not searches.done():
            await asyncio.sleep(0)
            steps.append("|")

    searches = asyncio.gather(*(search(name) for name in "abc"))
    await asyncio.gather(searches, other())
    slices = "".join(steps).split("|")
    assert max(map(len, slices)) <= 2
    assert scheduler._free


async def test_a_search_that_is_cancelled_between_slices_gives_its_turn_back() -> None:
    scheduler = Scheduler("loop", 1)

    async def search() -> None:
        scheduler.slice_up()
        await pause()

    search_task = asyncio.create_task(search())
    await asyncio.sleep(0)  # it has its turn, and lets others go first
    assert not scheduler._free
    search_task.cancel()
    await asyncio.wait([search_task])
    await asyncio.sleep(0)
    assert scheduler._free


async def test_a_turn_belongs_to_its_user_and_that_of_a_widget_to_the_visitor() -> None:
    def party() -> sharing.Party:
        return sharing.PARTY.get()

    ann = user()
    work_for(ann, 5.0)
    assert party() == sharing.Party("acme", str(ann.user_id), False, 5.0)
    visitors = [replace(ann, widget=True, address=f"2001:db8:{number}::1") for number in (1, 2)]
    users = set[str]()
    for visitor in visitors:
        work_for(visitor)
        here = party()
        # The turn knows no address, and begins in the context of the call.
        work_for(for_turn("acme", ann.user_id, "widget"))
        assert party() == here
        users.add(here.user)
    assert len(users) == 2
    work_for(user())
    work_for(for_turn("acme", ann.user_id, "widget"))
    assert party().user == str(ann.user_id)
