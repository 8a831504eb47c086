"""The catalogue of a server with a single agent. The agent has no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from responsa_server.domain import names
from responsa_server.domain.agents import AgentCard, Reloaded, StoredVersion
from responsa_server.domain.errors import NotFound
from responsa_server.domain.people import AuditEvent, Principal


class Alone:
    """Implements `Catalogue`."""

    def __init__(self, card: AgentCard) -> None:
        self._card = card

    def cards(self) -> Sequence[AgentCard]:
        """See `Catalogue.cards`."""
        return [self._card]

    def card(self, identity: str) -> AgentCard:
        """See `Catalogue.card`."""
        if identity not in ("", self._card.id):
            raise NotFound.of("agent", names.agent(identity))
        return self._card

    async def schema(self, caller: Principal, card: AgentCard) -> Mapping[str, object]:
        """See `Catalogue.schema`."""
        return card.schema

    def problems(self) -> Sequence[Reloaded]:
        """See `Catalogue.problems`."""
        return []

    async def create(
        self, identity: str, document: Mapping[str, object], card: str, event: AuditEvent
    ) -> StoredVersion:
        """See `Catalogue.create`. The agent is code and has no other versions."""
        raise NotFound.of("agent", names.agent(identity))

    async def publish(self, identity: str, number: int, event: AuditEvent, etag: str = "") -> None:
        """See `Catalogue.publish`."""
        raise NotFound.of("agent", names.agent(identity))

    async def list_agent(self, identity: str, *, listed: bool, event: AuditEvent, etag: str = "") -> None:
        """See `Catalogue.list_agent`."""
        raise NotFound.of("agent", names.agent(identity))

    async def roll_back(self, identity: str, number: int, event: AuditEvent) -> None:
        """See `Catalogue.roll_back`."""
        raise NotFound.of("agent", names.agent(identity))

    async def check_candidate(self, identity: str, number: int) -> int:
        """See `Catalogue.check_candidate`."""
        raise NotFound.of("agent", names.agent(identity))

    async def reload(self) -> Sequence[Reloaded]:
        """See `Catalogue.reload`."""
        return [Reloaded(self._card.id, self._card.version, changed=False)]
