"""Servers of language models for tests of a whole instance. There is one server for each protocol. A test can
unplug a server and plug it in again while the instance runs.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

from responsa_lab.scripted.reading import ParsedPrompt
from responsa_lab.scripted.strong import Strong
from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer, as_json
from responsa_server.agents.config.files import SHIPPED
from responsa_server.domain.models import ModelPrompt, PromptMessage, Provenance, Role
from tests.wire.anthropic import Anthropic
from tests.wire.gemini import Gemini
from tests.wire.openai import OpenAi
from tests.wire.speaking import KEY, Scene, WireServer

Result = TypeVar("Result")
Json = dict[str, Any]

LONG = 3600
"""The retry time of a busy station, in seconds: too long to wait while there is another model."""


class Plug(StrEnum):
    """How a station is connected. REFUSED: nobody listens. KEY: the station rejects the key. BUSY: it asks
    callers to wait an hour. SILENT: it accepts the question and sends nothing. CUT: after some text, it closes
    the socket. STALLED: after some text, it sends nothing more. STRONG: it plays a strong model; this works only
    with OpenAI's protocol.
    """

    IN = "in"
    REFUSED = "refused"
    KEY = "key"
    BUSY = "busy"
    SILENT = "silent"
    CUT = "cut"
    STALLED = "stalled"
    STRONG = "strong"


class Station:
    """One server. asked: the bodies of all requests that the server received."""

    def __init__(self, name: str, wire: WireServer, run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self.name = name
        self.wire = wire
        self.asked: list[Json] = []
        self._run = run
        self._plug = Plug.REFUSED
        self._server: LoopbackServer | None = None
        # The socket is bound but does not listen. The port thus stays reserved, and connections are refused.
        self._place = _bound(0)
        self.port = int(self._place.getsockname()[1])
        self.plug(Plug.IN)

    @property
    def url(self) -> str:
        """The URL for the setting `models.servers.NAME.url`."""
        return f"http://127.0.0.1:{self.port}{self.wire.root}"

    @property
    def says(self) -> Sequence[str]:
        """The pieces of this station's answer."""
        return (f"I am {self.name}. ", "Plus costs 3.90 euros a month [1].")

    def plug(self, plug: Plug) -> None:
        """Connect the station in this way from now on."""
        self._plug = plug
        if plug is Plug.REFUSED and self._server is not None:
            self._run(self._server.close())
            self._server = None
            self._place = _bound(self.port)
        elif plug is not Plug.REFUSED and self._server is None:
            self._place.close()
            self._server = LoopbackServer(self._handle)
            self._run(self._server.start(self.port))

    def close(self) -> None:
        """Close the station."""
        self.plug(Plug.REFUSED)
        self._place.close()

    async def _handle(self, exchange: LoopbackExchange) -> None:
        body = json.loads(exchange.request.body)
        self.asked.append(body)
        match self._plug:
            case Plug.KEY | Plug.BUSY:
                status = 401 if self._plug is Plug.KEY else 429
                complaint = self.wire.complaint(status, KEY if self._plug is Plug.KEY else "")
                headers = {**complaint.headers, **({"retry-after": str(LONG)} if status == 429 else {})}
                await exchange.reply(complaint.status, as_json(complaint.body), headers)
            case Plug.SILENT:
                await asyncio.Event().wait()
            case Plug.CUT | Plug.STALLED:
                await exchange.begin("text/event-stream")
                for one in self.wire.unfinished(self.says[0]):
                    await exchange.piece(one)
                if self._plug is Plug.STALLED:
                    await asyncio.Event().wait()
                exchange.cut()
            case _:
                texts = [played(body)] if self._plug is Plug.STRONG else self.says
                await exchange.begin("text/event-stream")
                for event in self.wire.events(Scene(texts)):
                    await exchange.piece(event)
                await exchange.end()


class Lab:
    """A station for each protocol, in the order of a chain: alpha uses OpenAI's protocol, beta Anthropic's and gamma Gemini's."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lab", daemon=True)
        self._thread.start()
        wires: Mapping[str, WireServer] = {"alpha": OpenAi(), "beta": Anthropic(), "gamma": Gemini()}
        self.stations = [Station(name, wire, self._wait) for name, wire in wires.items()]

    @property
    def settings(self) -> dict[str, str]:
        """The settings of an instance whose models are the stations. A station's models have two names, such as
        `alpha:NAME` and `alpha-too:NAME`. Tests that reject the key use the second name, because the server
        remembers a rejected key.
        """
        named = {"RESPONSA_MODELS__PATIENCE_SECONDS": "3"}
        for one, wire in zip(self.stations, ("openai", "anthropic", "gemini"), strict=True):
            for name in (one.name, f"{one.name}-too"):
                values = {"URL": one.url, "WIRE": wire, "API_KEY": KEY}
                named |= {
                    f"RESPONSA_MODELS__SERVERS__{name.upper()}__{key}": value for key, value in values.items()
                }
        return named

    def plug(self, *plugs: Plug) -> None:
        """Set the connections of the stations in order, and delete the recorded requests. Stations without a given
        connection work normally."""
        for place, one in enumerate(self.stations):
            one.plug(plugs[place] if place < len(plugs) else Plug.IN)
            one.asked.clear()

    def close(self) -> None:
        """Close all stations."""
        for station in self.stations:
            station.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


def played(body: Json) -> str:
    """The response of the scripted strong model to a request in OpenAI's protocol."""
    messages = [_message(str(one["role"]), str(one["content"])) for one in body["messages"]]
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
    return Strong().says(ParsedPrompt(ModelPrompt(messages, "", schema=schema, purpose=purpose(body))))


def purpose(body: Json) -> str:
    """The name of the shipped prompt that a request in OpenAI's protocol contains: all fixed lines of the prompt are in
    the request. "" if there is no such prompt."""
    instructions = set(str(body["messages"][0]["content"]).splitlines())
    found = [name for name, lines in _fixed().items() if instructions.issuperset(lines)]
    assert len(found) <= 1, found
    return found[0] if found else ""


@cache
def _fixed() -> Mapping[str, Sequence[str]]:
    """The lines of each prompt's instructions that do not depend on its variables."""
    fixed: dict[str, Sequence[str]] = {}
    for file in SHIPPED.glob("*/prompts/*.md"):
        instructions, mark, _ = file.read_text(encoding="utf-8").partition("=== user")
        if mark:
            body = instructions.rpartition("+++")[2]
            fixed[file.stem] = [line for line in body.splitlines() if len(line) > 20 and "{" not in line]
            assert fixed[file.stem], file
    return fixed


def _message(role: str, text: str) -> PromptMessage:
    if role == "user":
        place = Provenance.RETRIEVED if "⟦data passage" in text else Provenance.USER
        return PromptMessage(Role.USER, text, place=place)
    if role == "system":
        return PromptMessage(Role.SYSTEM, text, place=Provenance.INSTRUCTION)
    return PromptMessage(Role.ASSISTANT, text, place=Provenance.MODEL)


def _bound(port: int) -> socket.socket:
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(("127.0.0.1", port))
    return found
