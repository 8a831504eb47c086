"""The prompts with which a node asks a model: the shipped prompts of the chat agent."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.files import SHIPPED, examine
from responsa_server.agents.engine.asking import FREE, Asker, Pricing
from responsa_server.agents.engine.config import Traits
from responsa_server.domain.models import ChatModel, Price
from responsa_server.domain.tools import Effect, Tool, ToolCall, ToolCard, ToolResult

PROMPTS = examine(SHIPPED / "chat", Surroundings()).prompts
DEAR = Price(Decimal(1), Decimal(1), Decimal(1), Decimal(4))


def costing(price: Price | None) -> Pricing:
    """A `Pricing` with one price for all models. price: None if the price is unknown."""

    def pricing(model: str = "") -> Price | None:
        return price

    return pricing


FREELY = costing(FREE)


def asker(model: ChatModel, price: Price | None = None) -> Asker:
    """An asker with this model and the chat agent's prompts."""
    return Asker(model, PROMPTS, Traits("Chat", ("Why?",)), costing(price))


@dataclass
class Offered:
    """A tool that prompts offer to a model. These tests never call the tool."""

    card: ToolCard
    effect: Effect = Effect.NONE
    timeout_seconds: float = 20.0

    async def call(self, call: ToolCall) -> ToolResult:
        raise AssertionError(self.card.id)

    async def close(self) -> None:
        pass


NOTE: Tool = Offered(ToolCard("note", "Notes."))
