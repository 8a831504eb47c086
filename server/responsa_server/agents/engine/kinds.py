"""Kinds of nodes: how nodes of a kind are made from parts, and the kind's properties for the check and the plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from responsa_server.agents.engine.asking import Asker, Pricing, no_price
from responsa_server.agents.engine.config import Traits
from responsa_server.agents.engine.node import AnyNode, NodeModel, NodeOptions, Offered
from responsa_server.agents.engine.prompts import PromptSet
from responsa_server.domain.answers import CitationJudge, EvidenceSource, SectionSource
from responsa_server.domain.breakers import Breakers
from responsa_server.domain.conversations import Summaries
from responsa_server.domain.events import FallbackKind
from responsa_server.domain.intents import Example, IntentClassifier
from responsa_server.domain.models import ChatModel
from responsa_server.domain.people import Principal
from responsa_server.domain.teachers import Teachers
from responsa_server.domain.tools import Candidate, FixedTools, Tool, Toolbox

Part = TypeVar("Part")


class PartMissing(Exception):
    """A node needs a part that this server does not have. The message names the part."""


@dataclass(frozen=True, slots=True)
class NodeParts:
    """The parts that nodes are made of. A part is None if the server does not have it.

    classifiers, examples: trained classifiers and their examples, by the path of the examples in the agent's folder.
    price: the function that returns the models' prices at the time of a call. traits: values from the agent's tables;
    `plan` fills them in. small: the small models of the chain (`Models.small`). larger: the chain without its small
    models; None if no model is left. requests_tools: whether a model of the chain can request tools.
    breakers: the circuit breakers of the tools. citation_model: what now asks the model that judges all citations. judge_name: that model,
    `provider:model`, or "".
    """

    source: EvidenceSource | None = None
    judge: CitationJudge | None = None
    teachers: Teachers | None = None
    summaries: Summaries | None = None
    model: ChatModel | None = None
    small: frozenset[str] = frozenset()
    requests_tools: bool = True
    larger: ChatModel | None = None
    tools: Toolbox = field(default_factory=FixedTools)
    breakers: Breakers = field(default_factory=Breakers)
    prompts: PromptSet | None = None
    classifiers: Mapping[str, IntentClassifier] = field(default_factory=dict[str, IntentClassifier])
    examples: Mapping[str, Sequence[Example]] = field(default_factory=dict[str, Sequence[Example]])
    price: Pricing = no_price
    traits: Traits = field(default_factory=Traits)
    sections: SectionSource | None = None
    citation_model: Callable[[], Asker | None] = lambda: None
    judge_name: Callable[[], str] = lambda: ""

    def candidates(self, caller: Principal) -> Sequence[Candidate]:
        """The tools that `list_granted` returns, with what is needed to choose among them."""
        return self.tools.candidates(self.traits.tools, caller, self.traits.agent)

    def list_granted(self, caller: Principal) -> Sequence[Tool]:
        """The tools that the agent uses and that this user may use, as they are declared now."""
        return self.tools.list_granted(self.traits.tools, caller, self.traits.agent)

    def asker(self, prompt: object) -> Asker | None:
        """The asker for a node with this prompt or table of prompts; None if the agent has no model or the node has no prompt."""
        if self.model is None or self.prompts is None or not prompt:
            return None
        return Asker(self.model, self.prompts, self.traits, self.price)

    def deciding_asker(self, prompt: object) -> Asker | None:
        """Like `asker`, but without small models, which are bad at decisions and at structured data."""
        asker = self.asker(prompt)
        if asker is None or not self.small:
            return asker
        return None if self.larger is None else replace(asker, model=self.larger)


@dataclass(frozen=True, slots=True)
class NodeKind:
    """A kind of node.

    make: the function that makes a node from parts, validated options and the node's name. offers: the variables for
    prompts and templates. needs_model: whether a node cannot be made without a model. fallback: the kind of fallback that an edge `on =
    "unavailable"` from the node reports; None if the node is never unavailable. labels: for given options, returns the labels that
    examples may have, each of which needs an example; None if every label is allowed. needs_test: an input that may be
    an empty result and that an edge on every path must test; "" if no input needs a test. uses: for given options, a further
    kind that the node may use, with its options, whose files belong to the agent's version; None if it uses none.
    """

    make: Callable[[NodeParts, Any, str], AnyNode]
    input_model: type[NodeModel]
    output_model: type[NodeModel]
    options: type[NodeOptions] = NodeOptions
    fallback: FallbackKind | None = None
    offers: Offered = field(default_factory=Offered)
    needs_model: bool = False
    labels: Callable[[Any], Sequence[str]] | None = None
    needs_test: str = ""
    uses: Callable[[Any], tuple[NodeKind, NodeOptions] | None] | None = None

    def list_uses(self, options: NodeOptions | None) -> Sequence[tuple[NodeKind, NodeOptions]]:
        """The kind that `uses` returns, if there is one."""
        use = None if self.uses is None or options is None else self.uses(options)
        return () if use is None else (use,)


def require(part: Part | None, name: str) -> Part:
    """The part itself. Raises PartMissing if the part is None."""
    if part is None:
        raise PartMissing(f"there is no {name}")
    return part
