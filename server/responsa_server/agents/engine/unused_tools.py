"""Reports the tools that a turn could not use, because only models call tools."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.engine.node import Run
from responsa_server.domain.events import Fallback, FallbackKind
from responsa_server.domain.tools import KNOWLEDGE_SEARCH

NO_MODEL: Final = "no_model"
"""The cause if the agent has no model."""
SMALL_MODEL: Final = "small_model"
"""The cause if all models of the agent are small. Small models choose no tools, because they choose badly."""
MOST_REPORTED: Final = 12
"""The maximum number of tools that a turn reports, so that its other fallbacks are shown too."""


def tools_unused(parts: NodeParts, run: Run, cause: str, called: Collection[str] = ()) -> None:
    """Report a fallback for each tool that the agent uses and the user may use. Searches in the documents are left out, because the agent answers from these without them.

    cause: NO_MODEL, SMALL_MODEL, or the model's failure. called: the tools that the turn has called; they are left out, too.
    """
    if not parts.traits.tools:
        return
    found = [
        candidate.tool.card.id
        for candidate in parts.candidates(run.who)
        if candidate.kind != KNOWLEDGE_SEARCH
    ]
    for tool in [one for one in found if one not in called][:MOST_REPORTED]:
        run.fell_back(Fallback(FallbackKind.WITHOUT_TOOL, tool, "", cause))
