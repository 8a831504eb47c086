"""The admission of calls while the server stops."""

from __future__ import annotations

import asyncio

import pytest
import structlog
from google.protobuf.message import Message

from responsa.auth.v1 import auth_service_pb2 as auth
from responsa_server.calls.call import Call
from responsa_server.calls.chain import Calls, Method
from responsa_server.calls.interceptors import limits
from responsa_server.calls.interceptors.limits import Admission
from responsa_server.domain.errors import Exhausted, Reason, Unavailable

ME = "/responsa.auth.v1.AuthService/GetMe"
LOGIN = "/responsa.auth.v1.AuthService/Login"


async def test_callers_that_repeat_their_calls_do_not_hold_up_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_QUIET_SECONDS", 0.05)
    monkeypatch.setattr(limits, "QUIET_SECONDS", 10.0)
    admission = Admission(4)
    admission.drain()
    with pytest.raises(Unavailable) as refused:
        await admission.on_start(Call("/responsa.auth.v1.AuthService/GetMe", {}, "test"))
    assert refused.value.reason is Reason.DRAINING
    async with asyncio.timeout(5.0):
        await admission.quiet()


async def test_a_call_without_its_message_takes_no_place_and_the_oldest_is_given_up() -> None:
    admission, gate = Admission(2), asyncio.Event()
    me = "/responsa.auth.v1.AuthService/GetMe"

    async def served(*, arrives: bool) -> str:
        call = Call(me, {}, "test")
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
    with pytest.raises(Exhausted):
        await admission.on_start(Call(me, {}, "test"))
    gate.set()
    assert await asyncio.gather(*running) == ["", ""]
    idle = asyncio.ensure_future(admission.idle())
    await asyncio.sleep(0)
    assert not idle.done()  # the third call still waits for its message
    admission.drain()
    admission.cut()
    assert await third == Reason.DRAINING
    await idle


def served_by(admission: Admission) -> Calls:
    """Calls whose methods answer with an empty message."""

    async def handler(_: object) -> Message:
        return auth.GetMeRequest()

    calls = Calls((admission,), admission, structlog.get_logger("test"))
    calls.add([Method(one, auth.GetMeRequest, handler) for one in (ME, LOGIN)])
    return calls


async def stalled(calls: Calls, method: str = "") -> asyncio.Task[None]:
    """A call whose message never arrives; without a method, a body whose call has not begun."""

    async def read() -> bytes | None:
        await asyncio.Event().wait()
        return None

    async def send(_: object) -> None:
        raise AssertionError("there is no response")

    async def body() -> None:
        with calls.arriving():
            await read()

    task = asyncio.create_task(calls.serve(Call(method, {}, "test"), read, send) if method else body())
    for _ in range(3):
        await asyncio.sleep(0)
    return task


async def test_strangers_give_up_only_requests_of_strangers() -> None:
    calls = served_by(Admission(1))
    call, sign_in, body = [await stalled(calls, method) for method in (ME, LOGIN, "")]
    other_body = await stalled(calls)
    with pytest.raises(Exhausted):
        await body
    assert not call.done()
    assert not sign_in.done()
    other_sign_in = await stalled(calls, LOGIN)
    with pytest.raises(Exhausted):
        await sign_in
    left = (call, other_body, other_sign_in)
    assert not any(one.done() for one in left)
    for one in left:
        one.cancel()
    await asyncio.wait(left)


async def test_a_call_whose_message_has_arrived_gives_up_no_other() -> None:
    calls = served_by(Admission(1))
    waiting = await stalled(calls, ME)
    await calls.answer(Call(ME, {}, "test"), auth.GetMeRequest(), auth.GetMeRequest)
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.wait((waiting,))
