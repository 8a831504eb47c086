"""What one turn may take, and what is left of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from responsa_server.domain.events import Usage

_MORE: Final = {
    "steps": "take more steps than the agent may take for",
    "tokens": "take more tokens of language models than the agent may use for",
    "cost_micros": "cost more than the agent may spend on",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a turn may take: nodes, tokens of language models, millionths of a US dollar. 0: no limit. asked: whether the cost is the request's own limit."""

    steps: int = 0
    tokens: int = 0
    cost_micros: int = 0
    asked: bool = False

    def lowered(self, cost_micros: int) -> Limits:
        """With a cost that a request allows (0: it does not say), which can only lower the limit."""
        if not cost_micros or 0 < self.cost_micros <= cost_micros:
            return self
        return replace(self, cost_micros=cost_micros, asked=True)

    def tokens_left(self, spent: Usage) -> int | None:
        """How many tokens may still be read and written together, at least 0; None: any number."""
        if not self.tokens:
            return None
        return max(0, self.tokens - spent.input_tokens - spent.output_tokens)

    def micros_left(self, spent: Usage) -> int | None:
        """How many millionths of a US dollar may still be spent, at least 0; None: any number."""
        if not self.cost_micros:
            return None
        return max(0, self.cost_micros - spent.cost_micros)

    def reached(self, spent: Usage) -> str:
        """The key of the limit that allows no further call of a model, "" for none."""
        if self.tokens_left(spent) == 0:
            return "tokens"
        return "cost_micros" if self.micros_left(spent) == 0 else ""

    def sentence(self, limit: str) -> str:
        """What to tell people whose question would take more than this limit, a key under `limits`, allows; with what helps."""
        if limit == "cost_micros" and self.asked:
            return "An answer would cost more than you allow for it. Allow more, or ask for less at a time."
        return f"An answer would {_MORE[limit]} one question. Ask for less at a time."


class OverBudget(Exception):
    """A turn has taken all that it may. limit: the key under `limits` that ended it; text: of the answer, as far as it was told."""

    def __init__(self, limit: str, text: str = "") -> None:
        super().__init__(f"the turn has reached its limit of {limit}")
        self.limit = limit
        self.text = text

    @property
    def cause(self) -> str:
        """As a fallback is told of it."""
        return f"budget:{self.limit}"


def most_output(
    configured: int,
    *,
    prompt_tokens: int,
    tokens_left: int | None = None,
    micros_left: int | None = None,
    input_price: Decimal = Decimal(0),
    output_price: Decimal = Decimal(0),
) -> int:
    """How many tokens a call may write: as configured, or fewer where the turn's tokens or money would not do. 0 or less: the call must not be made.

    Prices are in US dollars a million tokens, so millionths of a dollar a token. None left: no such limit.
    """
    most = configured
    if tokens_left is not None:
        most = min(most, tokens_left - prompt_tokens)
    if micros_left is not None:
        after_prompt = Decimal(micros_left) - prompt_tokens * input_price
        if after_prompt < 0 or (output_price == 0 and micros_left <= 0):
            return 0
        if output_price > 0:
            most = min(most, int(after_prompt / output_price))
    return most
