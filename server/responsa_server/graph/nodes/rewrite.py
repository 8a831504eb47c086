"""Makes a follow-up question stand alone."""

from __future__ import annotations

from responsa_server.domain.turns import Step
from responsa_server.graph.node import Announcement, Node, NodeModel, Run
from responsa_server.graph.rewriting import standalone
from responsa_server.graph.state import Said


class RewriteInput(NodeModel):
    """The question as asked and what was said before."""

    question: str
    history: tuple[Said, ...] = ()


class RewriteOutput(NodeModel):
    """standalone_question: "" when the question stood alone already."""

    standalone_question: str


class Rewrite(Node[RewriteInput, RewriteOutput]):
    """Carries over what the last answer was about."""

    name = "rewrite"
    input_model = RewriteInput
    output_model = RewriteOutput
    announcement = Announcement(Step.REWRITING, "Rephrasing your question...")

    async def process(self, given: RewriteInput, run: Run) -> RewriteOutput:
        """Rewrite by rule."""
        return RewriteOutput(standalone_question=standalone(given.question, given.history) or "")
