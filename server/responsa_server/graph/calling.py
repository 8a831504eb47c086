"""One call of a model: what it may write, what it costs while it runs, and who wrote in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from decimal import Decimal
from math import inf
from typing import Final

from responsa_server.domain.events import Fallback, FallbackKind, ModelUsed, ProviderSwitched, Usage
from responsa_server.domain.ports.models import (
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
from responsa_server.graph.limits import OverBudget, most_output
from responsa_server.graph.node import Run

BYTES_A_TOKEN: Final = 4
# What is left after it is for whatever is done instead: a share, so that each of several calls leaves time to the next.
_SHARE: Final = 0.5
FREE: Final = Price(Decimal(0), Decimal(0), Decimal(0), Decimal(0))
_PIECE: Final = Usage(output_tokens=1)


Pricing = Callable[[], Price | None]
"""What a model costs now, the dearest of several; None where nobody knows. Prices change from one day to the next."""


def no_price() -> Price | None:
    """Of a model of which nobody knows it."""
    return None


def read_tokens(messages: Sequence[PromptMessage]) -> int:
    """What a prompt counts, at four bytes a token: until the provider tells."""
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
    """How many seconds a call may take to its first word: half of what is left of the turn, at most so many; None: any number."""
    left = min(most, _SHARE * max(0.0, run.until - asyncio.get_running_loop().time()))
    return None if left == inf else left


class Call:
    """A call and what is known of it. model: who writes now, `provider:model`. tells: whether what it has cost is told as an event; it is counted anyway."""

    def __init__(
        self,
        model: ChatModel,
        prompt: ModelPrompt,
        run: Run,
        price: Price | None = None,
        *,
        tells: bool = True,
    ) -> None:
        self._asked = model
        self._prompt = prompt
        self._run = run
        self._spending = _Spending(run, prompt.messages, price or FREE)
        self._tells = tells
        self.model = model.name

    async def pieces(self) -> AsyncGenerator[TextPiece | ToolRequest | Ended, None]:
        """What comes of it; what it costs is counted, and told at its end. Raises ModelError."""
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
            # Also of a call that failed or was cut short: it is paid for.
            if self._tells and self._spending.told:
                self._run.emit(ModelUsed(self.model, self._spending.counted))

    def _switched(self, piece: Switched) -> None:
        self.model = piece.target
        self._run.emit(ProviderSwitched(piece.source, piece.target, piece.fault.value))
        self._run.fell_back(Fallback(FallbackKind.PROVIDER, piece.source, piece.target, piece.fault.value))


class _Spending:
    """Counts what a call costs while it runs, so that a call that is cut short is paid for, too.

    Until the provider tells, each piece is taken for a token and the prompt for its bytes by four; what the provider tells replaces that.
    """

    __slots__ = ("_counted", "_messages", "_pieces", "_price", "_run", "_told_since_piece", "told")

    def __init__(self, run: Run, messages: Sequence[PromptMessage], price: Price) -> None:
        self._run = run
        self._messages = messages
        self._price = price
        self._told_since_piece = False
        self._counted = Usage()
        self._pieces = 0
        self.told = False

    @property
    def counted(self) -> Usage:
        """What the call has cost so far."""
        return self._counted + Usage(output_tokens=self._pieces) if self._pieces else self._counted

    def piece(self) -> None:
        """Text has come."""
        if self._told_since_piece:
            self._told_since_piece = False
            return
        price = self._price
        if price is FREE and self._counted.input_tokens:
            # By far the most pieces: those of a prompt that is counted, for which nothing is to be worked out.
            self._pieces += 1
            self._run.spend(_PIECE)
            return
        counted = self.counted
        read = read_tokens(self._messages) if counted == Usage() else 0
        if price is FREE:
            self._add(Usage(input_tokens=read, output_tokens=1))
            return
        cost = (counted.input_tokens + read) * price.input + (counted.output_tokens + 1) * price.output
        more = max(0, int(cost.to_integral_value("ROUND_CEILING")) - counted.cost_micros)
        self._add(Usage(input_tokens=read, output_tokens=1, cost_micros=more))

    def exactly(self, usage: Usage) -> None:
        """The provider tells what the call has cost so far."""
        self._told_since_piece = self.told = True
        self._add(usage - self.counted)

    def _add(self, usage: Usage) -> None:
        self._counted += usage
        self._run.spend(usage)
