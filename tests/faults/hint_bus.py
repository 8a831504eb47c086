"""The simulated operating system and Redis for processes within one process. Processes can stop and die, and hints can be lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from uuid import UUID

from responsa_server.domain.relay import Hint


class Gate:
    """Whether a simulated process is alive, and whether it runs. A task waits at the gate of a stopped process, and
    never returns from the gate of a dead process."""

    def __init__(self) -> None:
        self.dead = asyncio.Event()
        self._running = asyncio.Event()
        self._running.set()

    def stop(self) -> None:
        """Stop the process, as SIGSTOP does."""
        self._running.clear()

    def go_on(self) -> None:
        """Continue the process, as SIGCONT does."""
        self._running.set()

    async def passed(self) -> None:
        """Wait until the process runs."""
        while self.dead.is_set() or not self._running.is_set():
            if self.dead.is_set():
                await asyncio.get_running_loop().create_future()
            await self._running.wait()


class HintBus:
    """Replaces Redis between processes. Forwards hints, and loses some of them."""

    def __init__(self, dice: random.Random) -> None:
        self.loss = 0.0
        """The share of hints that get lost; 1 simulates a missing Redis."""
        self._dice = dice
        self._heard: dict[UUID, tuple[Gate, Callable[[Hint], None]]] = {}

    def relay(self, gate: Gate) -> HintRelay:
        """The relay through which a process sends and receives hints."""
        return HintRelay(self, gate)

    def join(self, process: UUID, gate: Gate, heard: Callable[[Hint], None]) -> None:
        self._heard[process] = (gate, heard)

    def leave(self, process: UUID) -> None:
        self._heard.pop(process, None)

    def send(self, sender: UUID, process: UUID | None, hint: Hint) -> None:
        for one, (gate, heard) in self._heard.items():
            if one == sender or process not in (None, one) or self._dice.random() < self.loss:
                continue
            if not gate.dead.is_set():
                asyncio.get_running_loop().call_soon(self._deliver, gate, heard, hint)

    @staticmethod
    def _deliver(gate: Gate, heard: Callable[[Hint], None], hint: Hint) -> None:
        if not gate.dead.is_set():
            heard(hint)


class HintRelay:
    """A `Relay`."""

    away = False

    def __init__(self, hints: HintBus, gate: Gate) -> None:
        self._town = hints
        self._gate = gate
        self._process = UUID(int=0)

    async def start(self, process: UUID, heard: Callable[[Hint], None]) -> None:
        self._process = process
        self._town.join(process, self._gate, heard)

    def tell(self, process: UUID, hint: Hint) -> None:
        if not self._gate.dead.is_set():
            self._town.send(self._process, process, hint)

    def tell_all(self, hint: Hint) -> None:
        if not self._gate.dead.is_set():
            self._town.send(self._process, None, hint)

    async def close(self) -> None:
        self._town.leave(self._process)
