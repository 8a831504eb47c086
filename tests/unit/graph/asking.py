"""What a node asks a model with: the shipped prompts of the chat agent."""

from __future__ import annotations

from decimal import Decimal

from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.reading import SHIPPED, examine
from responsa_server.agents.engine.calling import FREE, Pricing
from responsa_server.agents.engine.config import Traits
from responsa_server.agents.nodes.asking import Asker
from responsa_server.domain.ports.models import ChatModel, Price

PROMPTS = examine(SHIPPED / "chat", Surroundings()).prompts
DEAR = Price(Decimal(1), Decimal(1), Decimal(1), Decimal(4))


def costing(price: Price | None) -> Pricing:
    """All models cost this; None: nobody knows what they cost."""

    def pricing(model: str = "") -> Price | None:
        return price

    return pricing


FREELY = costing(FREE)


def asker(model: ChatModel, price: Price | None = None) -> Asker:
    """The chat agent's prompts for this model."""
    return Asker(model, PROMPTS, Traits("Chat", ("Why?",)), costing(price))
