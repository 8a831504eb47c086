"""A tool's endpoint that counts: how often it was called, and how often that had an effect, by the call's key."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Any, cast

from responsa_lab.testing.loopback import Exchange, LoopbackServer, as_json
from responsa_lab.testing.script import ToolFailure, tool_body
from responsa_server.domain.tools import Effect


@dataclass(slots=True)
class Calls:
    """The calls with one key. effects: how many had an effect. finished: how many were answered. at: their times, in seconds since the epoch."""

    calls: int = 0
    effects: int = 0
    finished: int = 0
    at: list[float] = field(default_factory=list[float])


class ToolSink:
    """POST /once and POST /idempotent, with an `Idempotency-Key`; GET /calls. Used once: start, then close.

    The effect comes first, then the pause, then the answer: a client that is killed during a call has had the effect. The counts outlive every client.
    """

    def __init__(self) -> None:
        self._server = LoopbackServer(self._handle)
        self.calls: dict[str, Calls] = {}
        """By key."""
        self._called = asyncio.Event()

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`"""
        return self._server.url

    def endpoint(self, effect: Effect) -> str:
        """The URL for calls with this effect, ONCE or IDEMPOTENT."""
        return endpoint(self.url, effect)

    async def start(self, port: int = 0) -> None:
        """Listen; port 0 takes any that is free."""
        await self._server.start(port)

    async def close(self) -> None:
        """Cut the open calls and stop listening."""
        await self._server.close()

    async def called(self, times: int = 1) -> None:
        """Wait until so many calls have come."""
        while sum(one.calls for one in self.calls.values()) < times:
            self._called.clear()
            await self._called.wait()

    def stats(self) -> Mapping[str, object]:
        """The body of GET /calls."""
        return {"calls": {key: asdict(one) for key, one in self.calls.items()}}

    async def _handle(self, exchange: Exchange) -> None:
        match exchange.request.method, exchange.request.path:
            case "POST", "/once":
                await self._call(exchange, Effect.ONCE)
            case "POST", "/idempotent":
                await self._call(exchange, Effect.IDEMPOTENT)
            case "GET", "/calls":
                await exchange.reply(HTTPStatus.OK, as_json(self.stats()))
            case _:
                await exchange.reply(HTTPStatus.NOT_FOUND, as_json({"error": "there is no such path"}))

    async def _call(self, exchange: Exchange, effect: Effect) -> None:
        try:
            arguments = cast("dict[str, Any]", json.loads(exchange.request.body))
            key = exchange.request.headers["idempotency-key"]
            pause = float(arguments.get("pause_ms", 0)) / 1000
            failure = ToolFailure(arguments.get("fail", "none"))
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            await exchange.reply(HTTPStatus.BAD_REQUEST, as_json({"error": repr(error)}))
            return
        found = self.calls.setdefault(key, Calls())
        found.calls += 1
        found.at.append(time.time())
        if effect is Effect.ONCE or found.effects == 0:
            found.effects += 1
        self._called.set()
        if pause > 0:
            await asyncio.sleep(pause)
        if failure is ToolFailure.CUT:
            exchange.cut()
            return
        status = HTTPStatus.OK if failure is ToolFailure.NONE else HTTPStatus.INTERNAL_SERVER_ERROR
        await exchange.reply(status, tool_body(arguments))
        found.finished += 1


def endpoint(url: str, effect: Effect) -> str:
    """The URL of a sink for calls with this effect."""
    return f"{url}/{effect.value}"
