"""A server that is asked three times as much as it can answer: `make soak CAMPAIGN=overload`."""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Iterator
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
from responsa.auth.v1.user_pb2 import USER_ROLE_SERVICE
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa_client import Responsa
from tests.faults.forms import Form, Report, forms
from tests.instance import Instance, instance_in

_ASK: Final = "/responsa.chat.v1.ChatService/Ask"
_GET_ME: Final = "/responsa.auth.v1.AuthService/GetMe"
_AT_A_TIME: Final = 16
_CALM_SECONDS: Final = 20.0
_TIMES: Final = 3
# A connection carries at most a hundred streams, and the next ones wait unseen.
_CHANNELS: Final = 16
_GET_ME_PAUSE: Final = 0.1


@dataclass
class Told:
    """What callers got. answers: the seconds until each answer. refusals: the seconds that each refusal names. others: any other end."""

    answers: list[float] = field(default_factory=list[float])
    refusals: list[float] = field(default_factory=list[float])
    others: list[str] = field(default_factory=list[str])


@dataclass
class Asker:
    """Asks questions of which hardly any comes twice, over several connections."""

    channels: list[aio.Channel]
    key: str
    texts: Iterator[str]

    async def ask(self, told: Told) -> None:
        """Ask a question, and follow it to its end."""
        call: Any = next(self._next).unary_stream(_ASK)
        request = chat.AskRequest(text=next(self.texts), request_id=str(uuid4())).SerializeToString()
        begun = time.monotonic()
        last = b""
        try:
            # Requests and responses are bytes here, because the caller shares the machine with the server.
            async for last in call(request, metadata=(("authorization", f"Bearer {self.key}"),), timeout=60):
                pass
        except aio.AioRpcError as error:
            if (wait := _refused(error)) is None:
                told.others.append(f"{error.code()} {error.details()}")
            else:
                told.refusals.append(wait)
            return
        events = chat.AskResponse.FromString(last).events
        end = events[-1].WhichOneof("event") if events else "nothing"
        if end in ("answer", "refused"):
            told.answers.append(time.monotonic() - begun)
        else:
            told.others.append(str(end))

    def __post_init__(self) -> None:
        self._next = itertools.cycle(self.channels)


def _refused(error: aio.AioRpcError) -> float | None:
    """The seconds that a refusal for too much work names; None if the error is another one."""
    status, info, retry = Status(), ErrorInfo(), RetryInfo()
    status.ParseFromString(dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b""))
    told = {type(one) for one in (info, retry) for detail in status.details if detail.Unpack(one)}
    typed = error.code() is StatusCode.RESOURCE_EXHAUSTED and info.reason == "OVERLOADED"
    return retry.retry_delay.ToTimedelta().total_seconds() if typed and RetryInfo in told else None


@asynccontextmanager
async def asker(instance: Instance, key: str) -> AsyncGenerator[Asker]:
    options = (("grpc.use_local_subchannel_pool", 1),)
    channels = [aio.insecure_channel(instance.target, options=options) for _ in range(_CHANNELS)]
    try:
        yield Asker(channels, key, questions(time.time_ns()))
    finally:
        await asyncio.gather(*(channel.close() for channel in channels))


async def steadily(one: Asker, seconds: float, at_a_time: int = _AT_A_TIME) -> Told:
    """Ask one question after the other, this many at a time."""
    told, until = Told(), time.monotonic() + seconds

    async def stream() -> None:
        while time.monotonic() < until:
            await one.ask(told)

    await asyncio.gather(*(stream() for _ in range(at_a_time)))
    return told


async def flood(one: Asker, seconds: float, rate: float) -> Told:
    """Ask this many questions a second, whatever becomes of them."""
    told, begun, asked = Told(), time.monotonic(), 0
    async with asyncio.TaskGroup() as group:
        while (passed := time.monotonic() - begun) < seconds:
            for _ in range(asked, int(passed * rate)):
                group.create_task(one.ask(told))
            asked = int(passed * rate)
            await asyncio.sleep(0.01)
    return told


async def get_me(instance: Instance, key: str, found: list[float]) -> None:
    """Ask again and again who the user is, until this is cancelled."""
    async with aio.insecure_channel(instance.target) as channel:
        call: Any = channel.unary_unary(_GET_ME)
        while True:
            begun = time.monotonic()
            await call(
                auth.GetMeRequest().SerializeToString(),
                metadata=(("authorization", f"Bearer {key}"),),
                timeout=60,
            )
            found.append(time.monotonic() - begun)
            await asyncio.sleep(_GET_ME_PAUSE)
