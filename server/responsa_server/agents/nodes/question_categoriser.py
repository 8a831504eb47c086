"""Finds the category of a question, for prompts and edges to depend on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict

from responsa_server.agents.engine.asking import OFFERED, Asker, DecidingNode, DecidingOptions, choice
from responsa_server.agents.engine.kinds import NodeKind, from_examples
from responsa_server.agents.engine.node import NodeModel, Run
from responsa_server.agents.engine.state import Said
from responsa_server.domain.intents import OUT_OF_SCOPE, Example, IntentClassifier


class CategoryOptions(DecidingOptions):
    """examples: a file whose labels are the categories."""


class CategoryInput(NodeModel):
    """The question."""

    question: str
    standalone_question: str = ""
    history: tuple[Said, ...] = ()


class CategoryOutput(NodeModel):
    """category: "" for a question of an unknown category."""

    category: str


class CategoryShape(BaseModel):
    """What a model answers; `category` has its values from the examples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    category: str


class QuestionCategoriser(DecidingNode[CategoryInput, CategoryOutput]):
    """Decides by a model, else by the classifier."""

    input_model = CategoryInput
    output_model = CategoryOutput

    def __init__(
        self,
        name: str,
        options: CategoryOptions,
        asker: Asker | None = None,
        classifier: IntentClassifier | None = None,
        examples: Sequence[Example] = (),
    ) -> None:
        found = {one.label for one in examples} | set(() if classifier is None else classifier.labels)
        self._labels = tuple(sorted(found - OUT_OF_SCOPE))
        # Without categories a model is not asked.
        super().__init__(name, options, asker if self._labels else None, classifier, examples)
        self._shape = choice(CategoryShape, "category", self._labels) if self.calls_model else None

    async def process(self, given: CategoryInput, run: Run) -> CategoryOutput:
        """Choose. A model's failure never fails the node."""
        question = given.standalone_question or given.question
        if self._shape is not None:
            found = await self._asked(run, self._shape, self._labels, question, given.history)
            if found is not None:
                return CategoryOutput(category=found.category)
        if self._classifier is None:
            return CategoryOutput(category="")
        decided = await self._classifier.classify(question)
        return CategoryOutput(category=decided.label if decided.in_scope else "")


KIND: Final = NodeKind(
    from_examples(QuestionCategoriser), CategoryInput, CategoryOutput, CategoryOptions, offers=OFFERED
)
