"""A place where ways meet or part: it does nothing, so that edges can be chosen there."""

from __future__ import annotations

from typing import Final

from responsa_server.agents.engine.kinds import Kind
from responsa_server.agents.engine.node import Node, NodeModel, Run


class ConditionModel(NodeModel):
    """Nothing is read and nothing written: what is asked stands in the edges."""


class Condition(Node[ConditionModel, ConditionModel]):
    """Passes on."""

    name = "condition"
    input_model = ConditionModel
    output_model = ConditionModel

    async def process(self, given: ConditionModel, run: Run) -> ConditionModel:
        """Do nothing."""
        return given


KIND: Final = Kind(lambda _, __, ___: Condition(), ConditionModel, ConditionModel)
