"""The admission of calls: while the server stops, and while messages do not arrive."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import pytest
import structlog
from google.protobuf.message import Message

from responsa.auth.v1 import auth_service_pb2 as auth
from responsa_server.calls.call import FORWARDED_FOR, Call
from responsa_server.calls.chain import Calls, Method
from responsa_server.calls.interceptors import limits
from responsa_server.calls.interceptors.limits import CallAdmission
from responsa_server.domain.errors import Exhausted, Reason, Unavailable
from responsa_server.domain.people import Principal, Role
from responsa_server.transports.grpc.server import RpcServer
from tests.raising import raises
from tests.rpc.slow import Burst

ME = "/responsa.auth.v1.AuthService/GetMe"
LOGIN = "/responsa.auth.v1.AuthService/Login"


async def test_callers_that_repeat_their_calls_do_not_hold_up_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_QUIET_SECONDS", 0.05)
    monkeypatch.setattr(limits, "QUIET_SECONDS", 10.0)
    admission = CallAdmission(4)
    admission.drain()
    assert (await raises(Unavailable, admission.on_start(Call(ME, {}, "test")))).reason is Reason.DRAINING
    stopping = asyncio.create_task(admission.quiet())
    await asyncio.sleep(0)
    assert not stopping.done()
    async with asyncio.timeout(5.0):
        await stopping


async def test_a_call_without_its_message_takes_no_place_and_the_oldest_is_given_up() -> None:
    admission, gate = CallAdmission(2), asyncio.Event()

    async def served(*, arrives: bool) -> str:
        call = Call(ME, {}, "test")
        place = await admission.on_start(call)
        try:
            with admission.arriving(call):
                if not arrives:
                    await asyncio.Event().wait()
            await gate.wait()
        except (Exhausted, asyncio.CancelledError) as error:
            found = await admission.on_end(call, place, error)
            return found.reason if isinstance(found, (Exhausted, Unavailable)) else type(found).__name__
        await admission.on_end(call, place, None)
        return ""

    async def begun(*, arrives: bool) -> asyncio.Task[str]:
        task = asyncio.create_task(served(arrives=arrives))
        await asyncio.sleep(0)
        return task

    first, second, third = [await begun(arrives=False) for _ in range(3)]
    assert await first == Reason.OVERLOADED
    second.cancel()  # the caller has left
    assert await second == "CancelledError"
    running = [await begun(arrives=True) for _ in range(2)]
    assert not third.done()
    await raises(Exhausted, admission.on_start(Call(ME, {}, "test")))
    gate.set()
    assert await asyncio.gather(*running) == ["", ""]
    idle = asyncio.ensure_future(admission.idle())
    await asyncio.sleep(0)
    assert not idle.done()  # the third call still waits for its message
    admission.drain()
    admission.cut()
    assert await third == Reason.DRAINING
    await idle


def served_by(admission: CallAdmission) -> Calls:
    """Calls whose methods answer with an empty message."""

    async def handler(_: object) -> Message:
        return auth.GetMeRequest()

    calls = Calls((admission,), admission, structlog.get_logger("test"))
    calls.add([Method(one, auth.GetMeRequest, handler) for one in (ME, LOGIN)])
    return calls


def user(*, acting: UUID | None = None) -> Principal:
    return Principal("acme", uuid4(), Role.USER, "api_key", acting=acting)


async def stalled(
    calls: Calls, method: str = "", address: str = "192.0.2.1", caller: Principal | None = None
) -> asyncio.Task[None]:
    """A call whose message never arrives; without a method, a body whose call has not begun."""
    call = Call(method or ME, {FORWARDED_FOR: [address]}, "test", principal=caller)

    async def read() -> bytes | None:
        await asyncio.Event().wait()
        return None

    async def send(_: object) -> None:
        raise AssertionError("there is no response")

    async def body() -> None:
        with calls.arriving(call):
            await read()

    task = asyncio.create_task(calls.serve(call, read, send) if method else body())
    for _ in range(3):
        await asyncio.sleep(0)
    return task


async def given_up(tasks: Sequence[asyncio.Task[None]]) -> list[int]:
    """The indexes of the requests that were given up. Ends the others."""
    for _ in range(3):
        await asyncio.sleep(0)
    running = [task for task in tasks if not task.done()]
    for one in running:
        one.cancel()
    await asyncio.wait(tasks)
    ended = [index for index, one in enumerate(tasks) if one not in running]
    assert all(isinstance(tasks[index].exception(), Exhausted) for index in ended)
    return ended


async def test_strangers_give_up_only_requests_of_strangers() -> None:
    calls = served_by(CallAdmission(1))
    call, sign_in, body = [await stalled(calls, method) for method in (ME, LOGIN, "")]
    other_body = await stalled(calls)
    await raises(Exhausted, body)
    assert not call.done()
    assert not sign_in.done()
    other_sign_in = await stalled(calls, LOGIN)
    await raises(Exhausted, sign_in)
    left = (call, other_body, other_sign_in)
    assert not any(one.done() for one in left)
    for one in left:
        one.cancel()
    await asyncio.wait(left)


async def test_a_call_whose_message_has_arrived_gives_up_no_other() -> None:
    calls = served_by(CallAdmission(1))
    waiting = await stalled(calls, ME)
    await calls.answer(Call(ME, {}, "test"), auth.GetMeRequest(), auth.GetMeRequest)
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.wait((waiting,))


async def test_the_user_with_the_most_waiting_calls_loses_the_oldest_of_them() -> None:
    calls, bob, eve = served_by(CallAdmission(5)), user(), user()
    order = [bob, bob, eve, eve, eve, eve, eve, bob, user(), user()]
    # Five calls wait; each further one ends another. Eve loses three. Then Bob has the most and loses one, and then Eve
    # has had two for longer than Bob.
    waiting = [await stalled(calls, ME, caller=one) for one in order]
    assert await given_up(waiting) == [0, 2, 3, 4, 5]


async def test_addresses_of_one_network_and_users_of_one_service_count_as_one_caller() -> None:
    service = uuid4()
    for method, callers, ended in (
        ("", [("192.0.2.1", None), *((f"2001:db8::{one}", None) for one in range(4))], [1, 2]),
        (LOGIN, [("192.0.2.1", None), *((f"2001:db8::{one}", None) for one in range(4))], [1, 2]),
        (ME, [("", user()), *(("", user(acting=service)) for _ in range(4))], [1, 2]),
    ):
        calls = served_by(CallAdmission(3))
        waiting = [await stalled(calls, method, address, who) for address, who in callers]
        assert await given_up(waiting) == ended


async def test_waiting_calls_of_many_callers_are_counted_exactly() -> None:
    """A model that counts again for each call gives up the same calls."""
    random, most, callers = Random(7), 6, [user() for _ in range(4)]
    calls = served_by(CallAdmission(most))
    waiting: list[tuple[Principal, asyncio.Task[None]]] = []
    for _ in range(300):
        if waiting and random.random() < 0.3:
            _, left = waiting.pop(random.randrange(len(waiting)))
            left.cancel()
            await asyncio.wait((left,))
            continue
        who = random.choice(callers)
        waiting.append((who, await stalled(calls, ME, caller=who)))
        await asyncio.sleep(0)
        ended = [one for one in waiting if one[1].done()]
        assert len(ended) == (len(waiting) > most)
        for one in ended:
            counts = Counter(other.user_id for other, _ in waiting)
            assert counts[one[0].user_id] == max(counts.values())
            assert one is next(other for other in waiting if other[0] == one[0])
            assert isinstance(one[1].exception(), Exhausted)
            waiting.remove(one)
    await given_up([task for _, task in waiting])


# Thousands of calls that arrive while the event loop is busy.
CALLS = 4_000
"""More than gRPC lets wait by its defaults."""


async def test_calls_that_arrive_at_once_are_all_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short

    async def handler(_: object) -> Message:
        return auth.GetMeRequest()

    admission = CallAdmission(CALLS)
    calls = Calls((admission,), admission, structlog.get_logger("test"))
    calls.add((Method(ME, auth.GetMeRequest, handler),))
    server = RpcServer(calls, (), "unix:server")
    await server.start()
    assert await Burst("server", ME, CALLS).answered() == CALLS
    await server.drain(0)
