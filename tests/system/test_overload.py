"""A server that is asked three times as much as it can answer: `make soak CAMPAIGN=overload`."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode, aio

from bench.documentation import questions
from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.auth.v1 import user_pb2
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa_client import Responsa
from tests.faults.forms import Form, Report, forms
from tests.instance import ROOT, Instance, eventually, instance_in

_ASK: Final = "/responsa.chat.v1.ChatService/Ask"
_GET_ME: Final = "/responsa.auth.v1.AuthService/GetMe"
_AT_A_TIME: Final = 8
_CALM_SECONDS: Final = 20.0
_TIMES: Final = 3
_LEAST_GOODPUT: Final = 0.8
_MOST_SECONDS: Final = 3.0
_MOST_GET_ME_SECONDS: Final = 1.0
_MOST_RECOVERY_SECONDS: Final = 5.0
# A connection carries at most a hundred streams, and the next ones wait unseen.
_CHANNELS: Final = 16
_GET_ME_PAUSE: Final = 0.1


@dataclass
class Outcomes:
    """What callers got. answers: the seconds until each answer. refusals: the seconds that each refusal names. others: any other end."""

    answers: list[float] = field(default_factory=list[float])
    refusals: list[float] = field(default_factory=list[float])
    others: list[str] = field(default_factory=list[str])


@dataclass
class Asker:
    """Asks questions of which hardly any comes twice, over several connections."""

    channels: Iterator[Any]
    key: str
    texts: Iterator[str]

    async def ask(self, outcomes: Outcomes) -> float:
        """Ask a question, and follow it to its end. Returns how many seconds to wait before the next one: none, unless it was refused."""
        # Requests and responses are bytes here, because the caller shares the machine with the server.
        call = next(self.channels).unary_stream(_ASK)
        request = chat.AskRequest(text=next(self.texts), request_id=str(uuid4())).SerializeToString()
        begun = time.monotonic()
        try:
            frames = [frame async for frame in call(request, metadata=_metadata(self.key), timeout=60)]
        except aio.AioRpcError as error:
            if (wait := _wait(error)) is None:
                outcomes.others.append(f"{error.code()} {error.details()}")
                return 0.0
            outcomes.refusals.append(wait)
            return wait
        end = chat.AskResponse.FromString(frames[-1]).events[-1].WhichOneof("event")
        if end in ("answer", "refused"):
            outcomes.answers.append(time.monotonic() - begun)
        else:
            outcomes.others.append(str(end))
        return 0.0


def _metadata(key: str) -> tuple[tuple[str, str]]:
    return (("authorization", f"Bearer {key}"),)


def _wait(error: aio.AioRpcError) -> float | None:
    """The seconds that a refusal for too much work names; None if the error is another one."""
    trailers: Mapping[str, Any] = dict(error.trailing_metadata() or ())
    status, info, retry = Status(), ErrorInfo(), RetryInfo()
    status.ParseFromString(trailers.get("grpc-status-details-bin", b""))
    told = {type(one) for one in (info, retry) for detail in status.details if detail.Unpack(one)}
    typed = error.code() is StatusCode.RESOURCE_EXHAUSTED and info.reason == "OVERLOADED"
    return retry.retry_delay.ToTimedelta().total_seconds() if typed and RetryInfo in told else None


@asynccontextmanager
async def asker(instance: Instance, key: str) -> AsyncGenerator[Asker]:
    """Somebody who asks with this key."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    channels = [aio.insecure_channel(instance.target, options=options) for _ in range(_CHANNELS)]
    try:
        yield Asker(itertools.cycle(channels), key, questions(time.time_ns()))
    finally:
        await asyncio.gather(*(channel.close() for channel in channels))


async def steadily(caller: Asker, seconds: float, at_a_time: int = _AT_A_TIME) -> Outcomes:
    """Ask one question after the other, this many at a time."""
    outcomes, until = Outcomes(), time.monotonic() + seconds

    async def stream() -> None:
        while time.monotonic() < until:
            wait = await caller.ask(outcomes)
            await asyncio.sleep(wait)

    await asyncio.gather(*(stream() for _ in range(at_a_time)))
    return outcomes


async def capacity(caller: Asker) -> float:
    """How many questions a second are answered if no more are asked."""
    begun = time.monotonic()
    outcomes = await steadily(caller, _CALM_SECONDS)
    assert not outcomes.others
    return len(outcomes.answers) / (time.monotonic() - begun)


async def flood(caller: Asker, seconds: float, rate: float) -> Outcomes:
    """Ask this many questions a second, whatever becomes of them, and more if the server answers more than a third of
    them: a busy machine becomes quicker now and then."""
    outcomes, begun, sent = Outcomes(), time.monotonic(), 0
    async with asyncio.TaskGroup() as group:
        while (passed := time.monotonic() - begun) < seconds:
            due = max(int(passed * rate), _TIMES * len(outcomes.answers))
            for _ in range(sent, due):
                group.create_task(caller.ask(outcomes))
            sent = max(sent, due)
            await asyncio.sleep(0.01)
    return outcomes


async def get_me(instance: Instance, key: str, seconds: list[float]) -> None:
    """Ask again and again who the user is, until this is cancelled."""
    request = auth.GetMeRequest().SerializeToString()
    async with asker(instance, key) as caller:
        call = next(caller.channels).unary_unary(_GET_ME)
        while True:
            begun = time.monotonic()
            await call(request, metadata=_metadata(key), timeout=60)
            seconds.append(time.monotonic() - begun)
            await asyncio.sleep(_GET_ME_PAUSE)


@pytest.fixture(scope="module")
def own(folder: Path) -> Iterator[Instance]:
    """An instance that has read Responsa's own documents."""
    with instance_in(folder, RESPONSA_DOCS=str(ROOT)) as instance:
        with Responsa(instance.target, instance.key) as client:
            texts = questions(0)
            eventually(lambda: client.answer(next(texts)).terminal_event.HasField("answer"), "an answer", 600)
        yield instance


@forms(long=120)
async def test_of_three_times_as_much_the_server_answers_what_it_can_in_time(
    form: Form, own: Instance, request: pytest.FixtureRequest
) -> None:
    report = Report("overload", form)
    with Responsa(own.target, own.key) as client:
        asking, other = (
            client.create_service_api_key(
                client.create_user(name, role=user_pb2.USER_ROLE_SERVICE).name, "overload"
            ).secret
            for name in ("Flood", "Other")
        )
    load = os.getloadavg()[0]
    async with asker(own, asking) as caller:
        await steadily(caller, 5.0)
        before = await capacity(caller)
        get_me_seconds: list[float] = []
        background = asyncio.create_task(get_me(own, other, get_me_seconds))
        begun = time.monotonic()
        outcomes = await flood(caller, form.count, _TIMES * before)
        rate = len(outcomes.answers) / (time.monotonic() - begun)
        background.cancel()
        ended, again = time.monotonic(), Outcomes()
        while not again.answers or again.answers[-1] > _MOST_GET_ME_SECONDS:
            await caller.ask(again)
        recovered = time.monotonic() - ended
        after = await capacity(caller)
    report.count("answers", len(outcomes.answers))
    report.count("refusals", len(outcomes.refusals))
    report.count("others", len(outcomes.others))
    report.measured("answers", outcomes.answers)
    report.measured("GetMe", get_me_seconds)
    report.tell(request)
    # The rest of the machine may have become busier meanwhile, so the capacity is measured on both sides.
    goodput = rate / ((before + after) / 2)
    p95, slowest = report.quantile("answers", 0.95), report.quantile("GetMe", 0.99)
    print(
        f"load {load:.1f}; capacity {before:.1f} and {after:.1f}/s; goodput {rate:.1f}/s = "
        f"{goodput:.2f}; answers p95 {p95:.2f} s; GetMe p99 {slowest:.2f} s; recovered in "
        f"{recovered:.2f} s"
    )
    assert not outcomes.others
    assert goodput >= _LEAST_GOODPUT
    assert p95 <= _MOST_SECONDS
    assert slowest <= _MOST_GET_ME_SECONDS
    assert recovered <= _MOST_RECOVERY_SECONDS
