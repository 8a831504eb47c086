"""The table of kinds of nodes. A new one is one file in `nodes/` and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from responsa_server.agents.engine.calling import Pricing, no_price
from responsa_server.agents.engine.config import Traits
from responsa_server.agents.engine.node import Node, NodeModel
from responsa_server.agents.engine.options import NodeOptions, Offered
from responsa_server.agents.engine.prompts import PromptSet
from responsa_server.agents.nodes import (
    deciding,
    grader,
    intent_router,
    prompt,
    query_expander,
    rewriter,
    summariser,
    template,
)
from responsa_server.agents.nodes.asking import Asker
from responsa_server.agents.nodes.citation_checker import (
    CitationChecker,
    CitationCheckerInput,
    CitationCheckerOutput,
)
from responsa_server.agents.nodes.condition import Condition, ConditionModel
from responsa_server.agents.nodes.extractive_answer import Answer, AnswerInput, AnswerOutput
from responsa_server.agents.nodes.grader import Grade, GradeInput, GradeOutput
from responsa_server.agents.nodes.intent_router import IntentInput, IntentOptions, IntentOutput, IntentRouter
from responsa_server.agents.nodes.output import Output, OutputModel
from responsa_server.agents.nodes.post_processor import PostInput, PostOptions, PostOutput, PostProcessor
from responsa_server.agents.nodes.prompt import Prompt, PromptInput, PromptOutput
from responsa_server.agents.nodes.query_expander import QueryExpander, QueryExpanderInput, QueryExpanderOutput
from responsa_server.agents.nodes.question_categoriser import (
    CategoryInput,
    CategoryOptions,
    CategoryOutput,
    QuestionCategoriser,
)
from responsa_server.agents.nodes.refuse import Refuse, RefuseInput, RefuseOptions, RefuseOutput
from responsa_server.agents.nodes.retrieval_need import (
    DIRECT,
    RETRIEVE,
    NeedInput,
    NeedOptions,
    NeedOutput,
    RetrievalNeed,
)
from responsa_server.agents.nodes.retriever import Retrieve, RetrieveInput, RetrieveOutput
from responsa_server.agents.nodes.rewriter import Rewrite, RewriteInput, RewriteOutput
from responsa_server.agents.nodes.summariser import Summarise, SummaryInput, SummaryOptions, SummaryOutput
from responsa_server.agents.nodes.teacher import ChooseTeacher, TeacherInput, TeacherOptions, TeacherOutput
from responsa_server.agents.nodes.template import Template, TemplateInput, TemplateOptions, TemplateOutput
from responsa_server.agents.nodes.tool import CallTool, CallToolInput, CallToolOutput
from responsa_server.domain.events import FallbackKind
from responsa_server.domain.ports.answers import CitationJudge, EvidenceSource, Extractor
from responsa_server.domain.ports.intents import Example, IntentClassifier
from responsa_server.domain.ports.models import ChatModel
from responsa_server.domain.ports.summaries import Summaries
from responsa_server.domain.ports.teachers import Teachers
from responsa_server.domain.ports.tools import Tool

AnyNode = Node[Any, Any]
Part = TypeVar("Part")


class PartMissing(Exception):
    """A node needs a part that this server does not have; the message says which."""


@dataclass(frozen=True, slots=True)
class NodeParts:
    """What nodes may be made of; None where there is none.

    classifiers: trained, and examples: what they were trained with, both by the path of the examples in the agent's folder. price: of the models, at the time
    of a call. traits: what the agent's tables say; `plan` puts them here. small: those of the model's chain that are (`Models.small`); larger: the chain without
    them, None where nothing is left; of no account where there are none.
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
        """The model, for a node that asks it with this prompt, or one of several; None where there is no model, or the node has no prompt."""
        if self.model is None or self.prompts is None or not prompt:
            return None
        return Asker(self.model, self.prompts, self.traits, self.price)

    def decider(self, prompt: object) -> Asker | None:
        """As `asker`, for a node that decides or makes data, which a small model is not asked for: the node then does what it does without one."""
        asker = self.asker(prompt)
        if asker is None or not self.small:
            return asker
        return None if self.larger is None else replace(asker, model=self.larger)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of node: how one is made (from parts, validated options, its name), and what a plan must know of it before.

    tells: whether it tells the answer's text, unless its option `stream` is false. fallback: what an edge `on = "unavailable"` from it is told as; None: it is
    never unavailable, and has no such edge. offers: variables for the prompts and templates that its options name. values: the values that a field of its
    output can have, by options, where its type does not say. needs_model: it cannot be made without one. stands_in: what going round a model to it is told
    as. tells_anew: it tells the text that nodes before it have written, and must not have told. filled: fields of its output that always have something in
    them. labels: those that the lines of its examples may have, by options, and each of which must have one; None: any. asked: an input that may have nothing in it to answer with, so that an edge on the way must have asked of it.
    """

    make: Callable[[NodeParts, Any, str], AnyNode]
    input_model: type[NodeModel]
    output_model: type[NodeModel]
    options: type[NodeOptions] = NodeOptions
    tells: bool = False
    fallback: FallbackKind | None = None
    offers: Offered = field(default_factory=Offered)
    values: Callable[[Any], Mapping[str, Sequence[str]]] | None = None
    needs_model: bool = False
    stands_in: FallbackKind | None = None
    tells_anew: bool = False
    filled: frozenset[str] = frozenset()
    labels: Callable[[Any], Sequence[str]] | None = None
    asked: str = ""


def _there(part: Part | None, name: str) -> Part:
    if part is None:
        raise PartMissing(f"there is no {name}")
    return part


def _by_examples(kind: Callable[..., AnyNode]) -> Callable[[NodeParts, Any, str], AnyNode]:
    """How a kind is made that has a prompt and examples."""
    return lambda parts, options, name: kind(
        name,
        options,
        parts.decider(options.prompt),
        parts.classifiers.get(options.examples),
        parts.examples.get(options.examples, ()),
    )


KINDS: Final[Mapping[str, Kind]] = {
    "intent_router": Kind(
        _by_examples(IntentRouter),
        IntentInput,
        IntentOutput,
        IntentOptions,
        offers=deciding.OFFERED,
        values=intent_router.values,
        labels=lambda options: options.intents,
    ),
    "question_categoriser": Kind(
        _by_examples(QuestionCategoriser),
        CategoryInput,
        CategoryOutput,
        CategoryOptions,
        offers=deciding.OFFERED,
    ),
    "retrieval_need": Kind(
        _by_examples(RetrievalNeed),
        NeedInput,
        NeedOutput,
        NeedOptions,
        offers=deciding.OFFERED,
        labels=lambda _: (RETRIEVE, DIRECT),
    ),
    "teacher": Kind(
        lambda parts, options, name: ChooseTeacher(_there(parts.teachers, "teachers"), name, options),
        TeacherInput,
        TeacherOutput,
        TeacherOptions,
    ),
    "summariser": Kind(
        lambda parts, options, name: Summarise(name, options, parts.asker(options.prompt), parts.summaries),
        SummaryInput,
        SummaryOutput,
        SummaryOptions,
        offers=summariser.OFFERED,
    ),
    "condition": Kind(lambda _, __, ___: Condition(), ConditionModel, ConditionModel),
    "rewriter": Kind(
        lambda parts, options, _: Rewrite(parts.decider(options.prompt), options.prompt),
        RewriteInput,
        RewriteOutput,
        rewriter.RewriterOptions,
        offers=rewriter.OFFERED,
    ),
    "query_expander": Kind(
        lambda parts, options, _: QueryExpander(parts.decider(options.prompt), options),
        QueryExpanderInput,
        QueryExpanderOutput,
        query_expander.QueryExpanderOptions,
        offers=query_expander.OFFERED,
    ),
    "retriever": Kind(
        lambda parts, _, __: Retrieve(_there(parts.source, "source of evidence"), parts.traits.retrieval),
        RetrieveInput,
        RetrieveOutput,
        fallback=FallbackKind.WITHOUT_RETRIEVAL,
    ),
    "grader": Kind(
        lambda parts, options, _: Grade(
            _there(parts.extractor, "extractor"),
            parts.traits.retrieval,
            parts.source,
            parts.decider(options.prompt),
            options.prompt,
        ),
        GradeInput,
        GradeOutput,
        grader.GraderOptions,
        offers=grader.OFFERED,
    ),
    "extractive_answer": Kind(
        lambda _, __, ___: Answer(), AnswerInput, AnswerOutput, tells=True, asked="extraction"
    ),
    "prompt": Kind(
        lambda parts, options, name: Prompt(
            _there(parts.model, "model"),
            name,
            tools=[tool.card for tool in parts.tools] if options.tools else (),
            answers=not options.tools,
            options=options,
            asker=parts.asker(options.prompt),
            source=parts.source,
            traits=parts.traits,
            price=parts.price,
            small=parts.small,
            judge=parts.judge,
        ),
        PromptInput,
        PromptOutput,
        prompt.PromptOptions,
        tells=True,
        fallback=FallbackKind.EXTRACTIVE,
        offers=prompt.OFFERED,
        needs_model=True,
        filled=frozenset({"text"}),
    ),
    "template": Kind(
        lambda parts, options, name: Template(
            _there(parts.prompts, "set of prompts"),
            options.template,
            name,
            traits=parts.traits,
            has_model=parts.model is not None,
        ),
        TemplateInput,
        TemplateOutput,
        TemplateOptions,
        tells=True,
        offers=template.OFFERED,
        stands_in=FallbackKind.TEMPLATE,
    ),
    "post_processor": Kind(
        lambda _, options, name: PostProcessor(name, options),
        PostInput,
        PostOutput,
        PostOptions,
        tells=True,
        fallback=FallbackKind.EXTRACTIVE,
        tells_anew=True,
        filled=frozenset({"text"}),
    ),
    "output": Kind(
        lambda _, __, name: Output(name),
        OutputModel,
        OutputModel,
        tells=True,
        tells_anew=True,
        filled=frozenset({"text"}),
    ),
    "citation_checker": Kind(
        lambda parts, _, __: CitationChecker(
            _there(parts.source, "source of evidence"),
            _there(parts.judge, "judge of citations"),
            parts.traits.retrieval,
        ),
        CitationCheckerInput,
        CitationCheckerOutput,
    ),
    "tool_caller": Kind(lambda parts, _, __: CallTool(parts.tools), CallToolInput, CallToolOutput),
    "refuse": Kind(
        lambda parts, options, _: Refuse(parts.traits, out_of_scope=options.out_of_scope),
        RefuseInput,
        RefuseOutput,
        RefuseOptions,
    ),
}
