"""Kinds of nodes: how a node is made and from which parts, and their properties for the check and the plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from responsa_server.agents.engine.asking import Asker, Pricing, no_price
from responsa_server.agents.engine.config import Traits
from responsa_server.agents.engine.node import AnyNode, NodeModel, NodeOptions, Offered
from responsa_server.agents.engine.prompts import PromptSet
from responsa_server.domain.answers import CitationJudge, EvidenceSource, Extractor
from responsa_server.domain.conversations import Summaries
from responsa_server.domain.events import FallbackKind
from responsa_server.domain.intents import Example, IntentClassifier
from responsa_server.domain.models import ChatModel
from responsa_server.domain.teachers import Teachers
from responsa_server.domain.tools import Tool

Part = TypeVar("Part")


class PartMissing(Exception):
    """A node needs a part that this server does not have; the message says which."""


@dataclass(frozen=True, slots=True)
class NodeParts:
    """The parts that nodes are made of; None for a part that the server does not have.

    classifiers, examples: trained classifiers and their examples, by the path of the examples in the agent's
    folder. price: of the models, at the time of a call. traits: values from the agent's tables, filled in by
    `plan`. small: the small models of the chain (`Models.small`); larger: the chain without them, None if no
    model is left.
    """

    source: EvidenceSource | None = None
    extractor: Extractor | None = None
    judge: CitationJudge | None = None
    teachers: Teachers | None = None
    summaries: Summaries | None = None
    model: ChatModel | None = None
    small: frozenset[str] = frozenset()
    larger: ChatModel | None = None
    tools: Sequence[Tool] = ()
    prompts: PromptSet | None = None
    classifiers: Mapping[str, IntentClassifier] = field(default_factory=dict[str, IntentClassifier])
    examples: Mapping[str, Sequence[Example]] = field(default_factory=dict[str, Sequence[Example]])
    price: Pricing = no_price
    traits: Traits = field(default_factory=Traits)

    def asker(self, prompt: object) -> Asker | None:
        """The model for a node with this prompt, or table of prompts; None without a model or a prompt."""
        if self.model is None or self.prompts is None or not prompt:
            return None
        return Asker(self.model, self.prompts, self.traits, self.price)

    def decider(self, prompt: object) -> Asker | None:
        """As `asker`, but without small models: for nodes that make decisions or data, which small models do badly."""
        asker = self.asker(prompt)
        if asker is None or not self.small:
            return asker
        return None if self.larger is None else replace(asker, model=self.larger)


@dataclass(frozen=True, slots=True)
class NodeKind:
    """A kind of node.

    make: the node from parts, validated options and its name. offers: the variables for prompts and templates. needs_model: it cannot be made without a model.
    streams: it sends the answer's text, unless its option `stream` is false. repeats_text: it sends text of earlier nodes, which must not have sent it.
    fallback: the kind of fallback that an edge `on = "unavailable"` from it reports; None: it is never unavailable. replaces_model: the kind of fallback that a
    detour around a model to this node reports. values: the possible values of an output, by options, where its type does not list them. labels: the labels
    that its examples may have, each of which needs an example, by options; None: any. needs_test: an input that may be an empty result, which an edge on every
    path must test.
    """

    make: Callable[[NodeParts, Any, str], AnyNode]
    input_model: type[NodeModel]
    output_model: type[NodeModel]
    options: type[NodeOptions] = NodeOptions
    streams: bool = False
    fallback: FallbackKind | None = None
    offers: Offered = field(default_factory=Offered)
    values: Callable[[Any], Mapping[str, Sequence[str]]] | None = None
    needs_model: bool = False
    replaces_model: FallbackKind | None = None
    repeats_text: bool = False
    labels: Callable[[Any], Sequence[str]] | None = None
    needs_test: str = ""


def required(part: Part | None, name: str) -> Part:
    """A part that a node cannot do without. Raises PartMissing."""
    if part is None:
        raise PartMissing(f"there is no {name}")
    return part
