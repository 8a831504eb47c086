"""Plays the cases of the conformance kit (clients/conformance) with this client.

Usage: python -m clients.conformance -- python clients/python/conformance.py [--asyncio]
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from responsa.chat.v1 import turn_pb2
from responsa_client import (
    AsyncResponsa,
    AsyncTurnStream,
    Backoff,
    BrokenAnswer,
    CannotConnect,
    DeadlineExceeded,
    Notice,
    Reconnecting,
    Responsa,
    ResponsaError,
    StreamCut,
    TurnStream,
    Waiting,
)


@dataclass
class Seen:
    """What the user of the client saw."""

    events: list[tuple[int, str | None]] = field(default_factory=list[tuple[int, str | None]])
    places: list[int] = field(default_factory=list[int])
    pauses_ms: list[float] = field(default_factory=list[float])
    error: ResponsaError | None = None

    def notice(self, notice: Notice) -> None:
        """Take a notice of the client."""
        match notice:
            case Waiting(place):
                self.places.append(place)
            case Reconnecting(seconds, _):
                self.pauses_ms.append(seconds * 1000)

    def take(self, event: turn_pb2.TurnEvent) -> int:
        """Take an event, and return its seq."""
        self.events.append((event.seq, event.WhichOneof("event")))
        return event.seq

    def result(self, order: Mapping[str, Any], stream: TurnStream | AsyncTurnStream) -> Mapping[str, Any]:
        """The line for the kit."""
        return {
            "case": order["case"],
            "turn": stream.turn,
            "events": self.events,
            "text": stream.text,
            "sha256": hashlib.sha256(stream.text.encode()).hexdigest(),
            "citations": len(stream.citations),
            "terminal": stream.terminal.WhichOneof("event") if stream.terminal else "",
            "error": self.error and described(self.error),
            "places": self.places,
            "pauses_ms": self.pauses_ms,
        }


def described(error: ResponsaError) -> Mapping[str, Any]:
    """The error as the kit reads it. The errors that the client itself raises have words of the kit."""
    words: Mapping[type[ResponsaError], str] = {
        BrokenAnswer: "broken",
        DeadlineExceeded: "deadline",
        CannotConnect: "unreachable",
        StreamCut: "cut",
    }
    return {
        "reason": error.reason or words.get(type(error), error.code.name),
        "message": error.message,
        "fields": [[one.field, one.rule, one.description] for one in error.violations],
        "retry_after_ms": None if error.retry_after is None else error.retry_after * 1000,
        "turn": error.turn,
        "after_seq": error.after_seq,
    }


def settings(order: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments of the client."""
    base = order["backoff_ms"] / 1000
    tokens = list(order["tokens"])

    def token() -> str:
        return tokens.pop(0) if len(tokens) > 1 else tokens[0]

    return {
        "url": order["address"],
        "api_key": token,
        "backoff": lambda: Backoff(base=base, cap=1000 * base, jitter=lambda: 1.0),
        "patience": order["patience_ms"] / 1000,
        "silence": order["silence_ms"] / 1000,
    }


def begun(client: Any, order: Mapping[str, Any], notice: Callable[[Notice], None]) -> Any:
    """The stream of an order."""
    timeout = None if order["timeout_ms"] is None else order["timeout_ms"] / 1000
    named = {"include_deltas": order["include_deltas"], "timeout": timeout, "on_notice": notice}
    if order["start"] == "ask":
        return client.ask(order["text"], agent=order["agent"], **named)
    return client.resume(order["turn"], order["after_seq"], **named)


def play(order: Mapping[str, Any]) -> Mapping[str, Any]:
    """Obey an order with the blocking client."""
    seen = Seen()
    with Responsa(**settings(order)) as client:
        stream: TurnStream = begun(client, order, seen.notice)
        try:
            for event in stream:
                if seen.take(event) == order["cancel_after"]:
                    stream.stop()
        except ResponsaError as error:
            seen.error = error
        return seen.result(order, stream)


async def play_async(order: Mapping[str, Any]) -> Mapping[str, Any]:
    """Obey an order with the asyncio client."""
    seen = Seen()
    async with AsyncResponsa(**settings(order)) as client:
        stream: AsyncTurnStream = begun(client, order, seen.notice)
        try:
            async for event in stream:
                if seen.take(event) == order["cancel_after"]:
                    await stream.stop()
        except ResponsaError as error:
            seen.error = error
        return seen.result(order, stream)


def main() -> None:
    """Obey the orders on stdin."""
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            order = json.loads(line)
            result = runner.run(play_async(order)) if "--asyncio" in sys.argv else play(order)
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
