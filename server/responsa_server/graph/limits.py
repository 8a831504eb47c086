"""What one turn may take, and what is left of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from responsa_server.domain.events import Usage


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a turn may take: nodes, tokens of language models, millionths of a US dollar. 0: no limit."""

    steps: int = 0
    tokens: int = 0
    cost_micros: int = 0

    def lowered(self, cost_micros: int) -> Limits:
        """With a cost that a request allows (0: it does not say), which can only lower the limit."""
        if not cost_micros:
            return self
        most = min(self.cost_micros, cost_micros) if self.cost_micros else cost_micros
        return Limits(self.steps, self.tokens, most)

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


class OverBudget(Exception):
    """A turn has taken all that it may. limit: the key under `limits` that ended it; text: of the answer, as far as it was told."""

    def __init__(self, limit: str, text: str = "") -> None:
        super().__init__(f"the turn has reached its limit of {limit}")
        self.limit = limit
        self.text = text


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
