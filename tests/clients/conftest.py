"""The scripted server, and one interface to both clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from responsa.chat.v1 import turn_pb2
from responsa_client import AsyncResponsa, Backoff, Responsa
from responsa_client.connection import AsyncCredential, Credential
from tests.clients.command_line import CommandLine
from tests.clients.library import ScriptedLibrary
from tests.clients.scripted import KEY, Scripted


def quick() -> Backoff:
    """The client's backoff, but a hundred times faster, because the tests check the order of events and not the time."""
    return Backoff(attempts=6, base=0.002, cap=0.05)


@dataclass(frozen=True, slots=True)
class Driver:
    """Calls one of the two clients, and returns the items of its iterators as lists."""

    blocking: bool
    url: str
    credential: AsyncCredential = KEY

    async def call(self, method: str, *arguments: Any, limit: float | None = 20.0, **named: Any) -> Any:
        if not self.blocking:
            async with AsyncResponsa(self.url, self.credential, limit, backoff=quick) as client:
                result = getattr(client, method)(*arguments, **named)
                if isinstance(result, AsyncIterator):
                    return [item async for item in cast("AsyncIterator[Any]", result)]
                return await result

        def run() -> Any:
            credential = cast("Credential", self.credential)
            with Responsa(self.url, credential, limit, backoff=quick) as client:
                result = getattr(client, method)(*arguments, **named)
                return list(cast("Iterator[Any]", result)) if isinstance(result, Iterator) else result

        return await asyncio.to_thread(run)

    async def ask(self, text: str = "Who?", **named: Any) -> list[turn_pb2.TurnEvent]:
        return await self.call("ask", text, **named)


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    scripted = Scripted()
    await scripted.start()
    try:
        yield scripted
    finally:
        await scripted.stop()


@pytest.fixture(params=[True, False], ids=["blocking", "asyncio"])
def driver(request: pytest.FixtureRequest, server: Scripted) -> Driver:
    return Driver(request.param, server.url)


@pytest.fixture
def responsa(server: Scripted, tmp_path: Path) -> CommandLine:
    """The command line, pointed at the scripted server."""
    return CommandLine(server, tmp_path)


@pytest.fixture
def library(server: Scripted) -> ScriptedLibrary:
    """Documents on the scripted server."""
    scripted = ScriptedLibrary()
    scripted.serve(server)
    return scripted
