"""A node without work, for edges to meet or to be chosen at."""

from __future__ import annotations

from typing import Final

from responsa_server.agents.engine.kinds import NodeKind
from responsa_server.agents.engine.node import Node, NodeModel, Run


class ConditionModel(NodeModel):
    """No fields: the conditions are in the edges."""


class Condition(Node[ConditionModel, ConditionModel]):
    """Does nothing."""

    name = "condition"
    input_model = ConditionModel
    output_model = ConditionModel

    async def process(self, given: ConditionModel, run: Run) -> ConditionModel:
        """Do nothing."""
        return given


KIND: Final = NodeKind(lambda _, __, ___: Condition(), ConditionModel, ConditionModel)
