"""One call of a model: its limits, its cost while it runs, and the model that wrote the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from decimal import Decimal
from math import inf
from typing import Final, Protocol

from responsa_server.agents.engine.node import OverBudget, Run, most_output
from responsa_server.domain.events import Fallback, FallbackKind, ModelUsed, ProviderSwitched, Usage
from responsa_server.domain.models import (
    ChatModel,
    Ended,
    ModelError,
    ModelPrompt,
    Price,
    PromptMessage,
    Spent,
    Switched,
    TextPiece,
    ToolRequest,
)

BYTES_A_TOKEN: Final = 4
# A share of the remaining time, so that each of several calls leaves time for the next one or for a detour.
_SHARE: Final = 0.5
FREE: Final = Price(Decimal(0), Decimal(0), Decimal(0), Decimal(0))
_PIECE: Final = Usage(output_tokens=1)
_UNPRICED_PIECE: Final = Usage(output_tokens=1, unpriced_tokens=1)


class Pricing(Protocol):
    """The current prices of models."""

    def __call__(self, model: str = "") -> Price | None:
        """The price of `provider:model`, or, for "", the highest one of the agent's chain. None if it is not known."""
        ...


def no_price(model: str = "") -> Price | None:
    """The price of models without a known price."""
    return None


def read_tokens(messages: Sequence[PromptMessage]) -> int:
    """An estimate of a prompt's tokens at four bytes each, until the provider reports its own count."""
    return -(-sum(len(one.text.encode()) for one in messages) // BYTES_A_TOKEN)


def may_write(run: Run, configured: int, messages: Sequence[PromptMessage], price: Price | None) -> int:
    """The most tokens that a call may write now. price: of the model, the dearest of several; None where none is known.

    Raises OverBudget where the turn has nothing left for it.
    """
    limits, spent, cost = run.limits, run.spent(), price or FREE
    tokens_left, micros_left = limits.tokens_left(spent), limits.micros_left(spent)
    if tokens_left is None and micros_left is None:
        return configured
    read = read_tokens(messages)
    most = most_output(
        configured,
        prompt_tokens=read,
        tokens_left=tokens_left,
        micros_left=micros_left,
        input_price=cost.input,
        output_price=cost.output,
    )
    if most <= 0:
        raise OverBudget("tokens" if tokens_left is not None and tokens_left <= read else "cost_micros")
    return most


def patience(run: Run, most: float = inf) -> float | None:
    """How many seconds a call may take to its first word: half of the turn's remaining time, at most `most`; None for no limit."""
    left = min(most, _SHARE * max(0.0, run.until - asyncio.get_running_loop().time()))
    return None if left == inf else left


class ModelCall:
    """A call of a model. model: the one that writes now, `provider:model`. reports: whether the cost is sent as an event; it is counted in any case."""

    def __init__(
        self,
        model: ChatModel,
        prompt: ModelPrompt,
        run: Run,
        price: Pricing = no_price,
        *,
        reports: bool = True,
    ) -> None:
        self._asked = model
        self._prompt = prompt
        self._run = run
        self._price = price
        self._spending = _Spending(run, prompt.messages, price(model.name))
        self._reports = reports
        self.model = model.name

    async def pieces(self) -> AsyncGenerator[TextPiece | ToolRequest | Ended, None]:
        """The pieces of the answer. The cost is counted, and reported at the end, even after a failure. Raises ModelError."""
        try:
            async with aclosing(self._asked.stream(self._prompt)) as stream:
                async for piece in stream:
                    match piece:
                        case TextPiece():
                            self._spending.piece()
                            yield piece
                        case Spent():
                            self.model = piece.model or self.model
                            self._spending.exactly(piece.usage)
                        case Switched():
                            self._switched(piece)
                        case _:
                            yield piece
        except ModelError as error:
            error.model = error.model or self.model
            raise
        finally:
            # A call that failed or was cancelled costs money too.
            if self._reports and self._spending.any:
                self._run.emit(ModelUsed(self.model, self._spending.counted))

    def _switched(self, piece: Switched) -> None:
        self.model = piece.target
        self._spending.switched(self._price(piece.target))
        self._run.emit(ProviderSwitched(piece.source, piece.target, piece.fault.value))
        self._run.fell_back(Fallback(FallbackKind.PROVIDER, piece.source, piece.target, piece.fault.value))


class _Spending:
    """Counts the cost of a call while it runs, at the price of the model that writes, so that a cancelled call is counted too.

    Until the provider reports its usage, each piece counts as one token and the prompt as a quarter of its bytes. The provider's report replaces that estimate.
    """

    __slots__ = (
        "_begun",
        "_covered",
        "_known",
        "_messages",
        "_pieces",
        "_price",
        "_read",
        "_run",
        "_told",
        "_told_output",
    )

    def __init__(self, run: Run, messages: Sequence[PromptMessage], price: Price | None) -> None:
        """price: of the model that is asked first, None where nobody knows it."""
        self._run = run
        self._messages = messages
        self._price = price
        self._told = False
        # What providers have told, and what was read and said since by a guess.
        self._known = Usage()
        self._read = self._pieces = 0
        # Whether the model's prompt is counted; whether the next piece is; how much was said when the provider told last.
        self._begun = self._covered = False
        self._told_output = 0

    @property
    def any(self) -> bool:
        """Whether there is anything to tell."""
        return self._told or self.counted != Usage()

    @property
    def counted(self) -> Usage:
        """What the call has cost so far."""
        return self._known + self._guess() if self._read or self._pieces else self._known

    def piece(self) -> None:
        """Text has come."""
        if self._covered:
            self._covered = False
            return
        price = self._price
        # By far the most pieces: for what costs nothing, nothing is to be worked out.
        if self._begun and (price is None or not price.output):
            self._pieces += 1
            self._run.spend(_UNPRICED_PIECE if price is None else _PIECE)
            return
        before = self._guess()
        if not self._begun:
            self._begun = True
            self._read = read_tokens(self._messages)
        self._pieces += 1
        self._run.spend(self._guess() - before)

    def exactly(self, usage: Usage) -> None:
        """The provider tells what the call has cost so far."""
        self._run.spend(usage - self.counted)
        self._begun = self._told = True
        # Some tell it together with text, and have counted that; others before there is any.
        self._covered = usage.output_tokens > self._told_output
        self._told_output = usage.output_tokens
        self._known, self._read, self._pieces = usage, 0, 0

    def switched(self, price: Price | None) -> None:
        """Another model is asked. price: its own."""
        self._known, self._read, self._pieces = self.counted, 0, 0
        self._begun = self._covered = False
        self._told_output = self._known.output_tokens
        self._price = price

    def _guess(self) -> Usage:
        read, said, price = self._read, self._pieces, self._price
        if price is None:
            return Usage(input_tokens=read, output_tokens=said, unpriced_tokens=read + said)
        cost = (read * price.input + said * price.output).to_integral_value("ROUND_CEILING")
        return Usage(input_tokens=read, output_tokens=said, cost_micros=int(cost))
