"""A place where ways meet or part: it does nothing, so that edges can be chosen there."""

from __future__ import annotations

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
