"""Calls a model within a budget, and records every answer, so that a run that stopped goes on without asking anything twice."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from responsa_server.agents.engine.asking import prompt_bytes
from responsa_server.domain.events import Usage
from responsa_server.domain.models import (
    ChatModel,
    ModelError,
    ModelPrompt,
    Price,
    Spent,
    TextPiece,
    Withdrawn,
)

_FILE: Final = "calls.jsonl"
_CONCURRENT: Final = 4
"""How many calls run at once, so that a vendor's limit is not reached."""


_Work = Callable[[int], Awaitable[tuple[str, int]]]


class Stopped(Exception):
    """No further call may be made. The message gives the reason and the remedy. cost_micros: what the call that failed has cost."""

    def __init__(self, message: str, cost_micros: int = 0) -> None:
        super().__init__(message)
        self.cost_micros = cost_micros


class Record:
    """The calls of one model and of a server's agent, in a folder with mode 0700. The record of a call holds a hash of
    the prompt, and the answer with its cost.

    name: the model. spent_micros: what all recorded calls have cost, in millionths of a US dollar. calls: their number.
    stopped: why no further call may be made; None while calls may be made.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        model: ChatModel,
        price: Price,
        budget_micros: int,
        *,
        small: bool = False,
    ) -> None:
        """name: the model's name, `provider:model`. budget_micros: the most that all recorded calls may cost together.
        small: whether the model is a small one of this machine, which would let calls wait that are made at once.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / _FILE
        self.name = name
        self._model = model
        self._price = price
        self._budget = budget_micros
        self._answers = dict[str, str]()
        self._asking = dict[str, asyncio.Task[str]]()
        self._reserved = 0
        self._slots = 1 if small else _CONCURRENT
        self._free = asyncio.Semaphore(self._slots)
        self.spent_micros = self.calls = 0
        self.stopped: Stopped | None = None
        self._begun = self._path.exists() and not self._path.read_text().endswith("\n")
        for line in self._path.read_text().splitlines() if self._path.exists() else ():
            try:
                self._take(json.loads(line))
            except ValueError:
                continue  # a run was killed while it wrote this line

    def find(self, prompt: ModelPrompt) -> str | None:
        """The recorded answer to a prompt; None if there is none."""
        return self._answers.get(self._key(prompt))

    async def ask(self, prompt: ModelPrompt) -> str:
        """The model's whole answer, from the record if the same prompt was asked before. Raises Stopped."""
        key = self._key(prompt)
        return await self._once(key, lambda: self._call(key, prompt))

    async def keep(self, parts: Sequence[object], limit: int, work: _Work) -> str:
        """The result of work that costs money elsewhere, from the record if it was done before. Raises Stopped.

        parts: the plain values that tell this work from other work. limit: what it may cost at most, in millionths of a
        US dollar; 0 for no limit of its own. work: gets what it may cost at most, which is 0 if nothing is left, and
        returns its result and its cost. It may raise Stopped.
        """
        key = _hash(parts)
        return await self._once(key, lambda: self._do(key, limit, work))

    async def _once(self, key: str, make: Callable[[], Coroutine[Any, Any, str]]) -> str:
        if (known := self._answers.get(key)) is not None:
            return known
        if key not in self._asking:
            self._asking[key] = asyncio.create_task(make())
        try:
            return await self._asking[key]
        finally:
            self._asking.pop(key, None)

    async def _do(self, key: str, limit: int, work: _Work) -> str:
        async with self._free:
            if self.stopped is not None:
                raise self.stopped
            left = max(0, self._budget - self.spent_micros - self._reserved) // self._slots
            limit = min(left, limit or left)
            self._slots -= 1
            self._reserved += limit
            text, cost = "", limit
            try:
                text, cost = await work(limit)
            except Stopped as stopped:
                self.stopped, cost = stopped, stopped.cost_micros
                raise
            except Exception as error:  # the other questions would fail, too
                self.stopped = Stopped(f"The run has failed ({error}).")
                raise
            finally:
                self._slots += 1
                self._reserved -= limit
                if text or cost:
                    self._write(key, text or None, Usage(cost_micros=cost))
            return text

    async def _call(self, key: str, prompt: ModelPrompt) -> str:
        async with self._free:
            if self.stopped is not None:
                raise self.stopped
            # No token is shorter than a byte, so no call costs more.
            limit = int(
                prompt_bytes(prompt.messages) * self._price.input + prompt.max_tokens * self._price.output
            )
            if self.spent_micros + self._reserved + limit > self._budget:
                self.stopped = self.over()
                raise self.stopped
            self._reserved += limit
            pieces, usage, failed, whole = list[str](), Usage(cost_micros=limit), None, False
            try:
                async with aclosing(self._model.stream(prompt)) as stream:
                    async for piece in stream:
                        match piece:
                            case TextPiece():
                                pieces.append(piece.text)
                            case Withdrawn():
                                pieces = ["".join(pieces)[: piece.keep]]
                            case Spent():
                                usage = piece.usage
                            case _:
                                pass
                whole = True
            except ModelError as error:
                failed = error
            finally:
                self._reserved -= limit
                # What a stopped call has cost is not known, so it counts as the most that it can.
                self._write(key, "".join(pieces) if whole else None, usage)
            if failed is not None:
                self.stopped = Stopped(
                    f"{failed.model or self.name} fails ({failed.fault.value}). Run the same command again to go on from here."
                )
                raise self.stopped from failed
            return "".join(pieces)

    def _key(self, prompt: ModelPrompt) -> str:
        shape = [
            self.name,
            [[message.role.value, message.text] for message in prompt.messages],
            prompt.schema,
            prompt.max_tokens,
            prompt.temperature,
        ]
        return _hash(shape)

    def over(self, cost_micros: int = 0) -> Stopped:
        """The stop because the budget is spent. cost_micros: what the last call has cost."""
        return Stopped(
            f"The next call may cost more than is left of the budget: {self.calls} calls have cost ${self.spent_micros / 1e6:.4f}. "
            "Give a larger --budget to go on from here.",
            cost_micros,
        )

    def _write(self, key: str, text: str | None, usage: Usage) -> None:
        row = {"key": key, "text": text, "cost_micros": usage.cost_micros}
        with os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
            file.write("\n" * self._begun + json.dumps(row) + "\n")
        self._begun = False
        self._take(row)

    def _take(self, row: Mapping[str, Any]) -> None:
        if (text := row["text"]) is not None:
            self._answers[row["key"]] = text
        self.spent_micros += row["cost_micros"]
        self.calls += 1


def _hash(parts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
