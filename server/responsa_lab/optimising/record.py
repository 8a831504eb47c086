"""Calls a model within a budget, and records every answer, so that a run that stopped goes on without asking anything twice."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Mapping
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


class Stopped(Exception):
    """No further call may be made. The message gives the reason and the remedy."""


class Record:
    """The calls of one model, in a folder with mode 0700. The record of a call holds a hash of the prompt, and the answer with its cost.

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
        """name: the model's name, `provider:model`. budget_micros: the most that all recorded calls may cost together. small: whether the model is a small one of
        this machine, which would let calls wait that are made at once.
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
        self._free = asyncio.Semaphore(1 if small else _CONCURRENT)
        self.spent_micros = self.calls = 0
        self.stopped: Stopped | None = None
        self._begun = self._path.exists() and not self._path.read_text().endswith("\n")
        for line in self._path.read_text().splitlines() if self._path.exists() else ():
            try:
                self._take(json.loads(line))
            except ValueError:
                continue  # a run was killed while it wrote this line

    async def ask(self, prompt: ModelPrompt) -> str:
        """The model's whole answer, from the record if the same prompt was asked before. Raises Stopped."""
        key = self._key(prompt)
        if (known := self._answers.get(key)) is not None:
            return known
        if key not in self._asking:
            self._asking[key] = asyncio.create_task(self._call(key, prompt))
        try:
            return await self._asking[key]
        finally:
            self._asking.pop(key, None)

    async def _call(self, key: str, prompt: ModelPrompt) -> str:
        async with self._free:
            if self.stopped is not None:
                raise self.stopped
            # No token is shorter than a byte, so no call costs more.
            most = int(
                prompt_bytes(prompt.messages) * self._price.input + prompt.max_tokens * self._price.output
            )
            if self.spent_micros + self._reserved + most > self._budget:
                self.stopped = Stopped(
                    f"The next call may cost more than is left of the budget: {self.calls} calls have cost ${self.spent_micros / 1e6:.4f}. "
                    "Give a larger --budget to go on from here."
                )
                raise self.stopped
            self._reserved += most
            pieces, usage, failed, whole = list[str](), Usage(cost_micros=most), None, False
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
                self._reserved -= most
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
        return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()

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
