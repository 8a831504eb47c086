"""The agents that there are, for those who ask what there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from responsa_server.domain.agents import AgentCard, Reloaded
from responsa_server.domain.people import Principal


class Catalogue(Protocol):
    """The agents of this installation as their files say, the last sound reading of each."""

    def cards(self) -> Sequence[AgentCard]:
        """All, by id."""
        ...

    def card(self, identity: str) -> AgentCard:
        """The one of this id, "" for the default. Raises NotFound, which lists the known."""
        ...

    async def schema(self, who: Principal, card: AgentCard) -> Mapping[str, object]:
        """Of the card's parameters, with the records that this caller may choose from where a parameter names one (`x-resource`). Raises Unavailable."""
        ...

    def problems(self) -> Sequence[Reloaded]:
        """Agents whose files are broken now, whether or not an older version serves."""
        ...

    async def reload(self) -> Sequence[Reloaded]:
        """Read all files anew and swap in what is sound, all at once; by agent's id. Raises Unavailable when versions cannot be kept: then nothing has changed."""
        ...
