"""Builds an agent from the content of one version, and checks a content that comes from a call instead of files."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import rtoml
import structlog
from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger

from responsa_server.agents.config.check import AgentFiles, Surroundings, check
from responsa_server.agents.config.content import Content, content_of
from responsa_server.agents.config.files import SHARED, SHIPPED, read_shared
from responsa_server.agents.config.parameters import ParameterCheck
from responsa_server.agents.config.problems import AGENT_FILE, Problem, clause, from_validation, in_config
from responsa_server.agents.config.standard import GRAPH, OWN, own_graph, with_graph
from responsa_server.agents.engine.agent import PlannedAgent, agent_options
from responsa_server.agents.engine.alone import TextGenerator
from responsa_server.agents.engine.asking import Pricing
from responsa_server.agents.engine.config import DEFAULT_MODEL, AgentConfig
from responsa_server.agents.engine.graph import Plan, PlanError, plan
from responsa_server.agents.engine.kinds import NodeKind, NodeParts, PartMissing
from responsa_server.agents.engine.prompts import PromptSet
from responsa_server.agents.nodes.table import KINDS
from responsa_server.domain.counters import Counters
from responsa_server.domain.events import Fallback
from responsa_server.domain.faults import Faults, NoFaults
from responsa_server.domain.intents import (
    OUT_OF_SCOPE,
    Classified,
    Example,
    ExamplesUnfit,
    IntentClassifier,
    Trainer,
)
from responsa_server.domain.models import FREE, Models, Price


class BuildFailed(Exception):
    """This server cannot run a version. `problems` lists the reasons."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class BuildContext:
    """The parts from which this server builds agents.

    parts: the parts that all agents share, without the model, prompts and classifiers of any agent. trainer: trains
    classifiers; None if this server cannot train them. default: the models that replace “default” in a chain.
    """

    parts: NodeParts
    models: Models
    counters: Counters
    default: Sequence[str]
    trainer: Trainer | None = None
    faults: Faults = field(default_factory=NoFaults)
    kinds: Mapping[str, NodeKind] = field(default_factory=lambda: KINDS)


class LazyClassifier:
    """An `IntentClassifier` that is trained when it is first used, or earlier by `ready`.

    text: the content of a file of examples, with one JSON object on each line. Raises ExamplesUnfit if no example has an intent.
    """

    def __init__(self, text: str, trainer: Trainer) -> None:
        rows = [json.loads(line) for line in text.split("\n") if line.strip()]
        self.examples: Sequence[Example] = [Example(row["text"], row["label"]) for row in rows]
        self._labels = sorted({example.label for example in self.examples} - OUT_OF_SCOPE)
        if not self._labels:
            raise ExamplesUnfit("no example has an intent")
        self._key = hashlib.sha256(text.encode()).digest()
        self._trainer = trainer
        self._trained: IntentClassifier | None = None
        self._lock = asyncio.Lock()

    @property
    def labels(self) -> Sequence[str]:
        return self._labels

    async def ready(self) -> IntentClassifier:
        """The trained classifier. The first caller trains it, and the others wait. Raises ExamplesUnfit."""
        if self._trained is None:
            async with self._lock:
                if self._trained is None:
                    self._trained = await self._trainer.prepare(self.examples, key=self._key)
        return self._trained

    async def classify(self, text: str) -> Classified:
        return await (self._trained or await self.ready()).classify(text)


def classifiers(examples: Mapping[str, str], trainer: Trainer | None) -> Mapping[str, LazyClassifier]:
    """The classifiers by the paths of their files of examples; empty if there is no trainer. Raises ExamplesUnfit."""
    return {} if trainer is None else {path: LazyClassifier(text, trainer) for path, text in examples.items()}


@dataclass(frozen=True, slots=True)
class BuiltVersion:
    """A runnable version that has no number yet.

    classifiers: the classifiers by the path of their examples. unpriced: the models without a known price; empty if the
    agent does not limit its costs.
    """

    content: Content
    config: AgentConfig
    plan: Plan
    classifiers: Mapping[str, LazyClassifier] = field(default_factory=dict[str, LazyClassifier])
    unpriced: Sequence[str] = ()


class ConfiguredAgent(PlannedAgent):
    """One version of an agent that is configured by files. Its graph is compiled at the first question, or by `compile`."""

    def __init__(self, built: BuiltVersion, version: str, digest: bytes, context: BuildContext) -> None:
        """version: the name, `agents/{id}/versions/{n}`. digest: the version's SHA-256."""
        config = built.config
        admission = ParameterCheck(built.content.agent, config.parameters, context.parts.teachers)
        super().__init__(
            built.plan,
            agent_options(config, version),
            faults=context.faults,
            counted=self._count,
            admission=admission.admit,
            price=lambda: dearest(context.models, built.content.chain, context.parts.judge_name()),
        )
        self.config = built.config
        model, table = context.models.chain(built.content.chain), built.config.model
        price = pricing(context.models, built.content.chain)
        self.alone = (
            None
            if model is None
            else TextGenerator(model, price, table.max_output_tokens, table.temperature, table.json_output)
        )
        """The agent's language model alone; None if it has none."""
        self.content = built.content
        self.fingerprint = (built.content.agent, digest)
        self._classifiers = built.classifiers
        self._counters = context.counters
        self._log: FilteringBoundLogger = structlog.get_logger("agents")
        if built.unpriced:
            self._log.warning("agent_cost_not_limited", version=version, unpriced=list(built.unpriced))

    async def train(self) -> None:
        """Train the classifiers. This takes seconds for each new file of examples. Raises ExamplesUnfit."""
        for classifier in self._classifiers.values():
            await classifier.ready()

    def _count(self, fallback: Fallback) -> None:
        self._counters.add("fallbacks", {"agent": self.content.agent, "kind": fallback.kind.value})
        self._log.warning(
            "agent_fell_back",
            agent=self.content.agent,
            version=self.version,
            kind=fallback.kind.value,
            source=fallback.source,
            target=fallback.target,
            cause=fallback.cause,
        )


_MARKS: Final = "parts/marks.md"
_NUMBERS_ALONE: Final = (
    "The passages are numbered, and each begins with its number in square brackets.\n"
    "- End every sentence that rests on a passage with the passage's number in square brackets, before a space or a "
    "line's end: `Water boils sooner on a mountain. [2]`\n"
    "- Two passages for one sentence: [1][2]. Only numbers that were given to you count. A sentence of your own carries "
    "no number. No list of sources at the end.\n"
)
"""What `marks.md` says to models that mark by numbers alone."""


def build(content: Content, context: BuildContext) -> BuiltVersion:
    """Build a version. Blocks. Raises BuildFailed."""
    models = context.models
    try:
        trained = classifiers(content.examples, context.trainer)
        model = models.chain(content.chain)
        small = models.small(content.chain)
        config = AgentConfig.model_validate(content.config)
        config = _limit_reading(config) if small else config
        parts = replace(
            context.parts,
            model=model,
            small=small,
            requests_tools=models.requests_tools(content.chain),
            larger=models.chain([name for name in content.chain if name not in small]) if small else model,
            price=pricing(models, content.chain),
            classifiers=trained,
            examples={path: classifier.examples for path, classifier in trained.items()},
        )
        partials = dict(content.parts())
        if config.model.marks == "number" and (marks := partials.get(_MARKS)) is not None:
            partials[_MARKS] = replace(marks, text=_NUMBERS_ALONE)
        prompts = PromptSet(content.sources(), partials)
        unpriced = [name for name in content.chain if models.price(name) is None]
        graph = plan(config, parts, prompts, context.kinds, content.agent)
        return BuiltVersion(content, config, graph, trained, unpriced if config.limits.cost_micros else ())
    except KeyError as error:  # the version may name a model or a kind of node that only another release has
        problem = Problem(AGENT_FILE, f"cannot run on this server: {str(error.args[0]).rstrip('.')}")
        raise BuildFailed(list(_missing_models(content, models)) or [problem]) from error
    except ValidationError as error:
        raise BuildFailed([Problem(AGENT_FILE, str(error).splitlines()[0])]) from error
    except (PartMissing, PlanError, ExamplesUnfit) as error:
        raise BuildFailed([Problem(AGENT_FILE, str(error))]) from error


def _missing_models(content: Content, models: Models) -> Iterator[Problem]:
    """A problem for each unavailable model of the chain. The problem says whether the agent or a setting names the
    model.
    """
    own = AgentConfig.model_validate(content.config).model.chain
    for name in content.chain:
        if (why := models.problem(name)) is None:
            continue
        missing = f"“{name}” is not available: {clause(why)}"
        if name in own:
            yield in_config(("model", "chain"), f"the model {missing}")
        else:
            yield in_config(
                ("model", "chain"),
                (
                    f"“{DEFAULT_MODEL}” stands for the setting models.default (RESPONSA_MODELS__DEFAULT), "
                    f"whose model {missing}; correct the setting"
                ),
            )


def pricing(models: Models, chain: Sequence[str]) -> Pricing:
    """The current prices of a chain's models."""
    return lambda model="": models.price(model) if model else dearest(models, chain)


def dearest(models: Models, chain: Sequence[str], judge: str = "") -> Price | None:
    """For each kind of token, the highest price today among a chain's models and the one that judges what they write, and the first
    model without one; None without models."""
    if not chain:
        return None
    prices = {name: models.price(name) for name in (*chain, judge) if name}
    known = [price for price in prices.values() if price is not None] or [FREE]
    return Price(
        max(price.input for price in known),
        max(price.cached_input for price in known),
        max(price.cache_write for price in known),
        max(price.output for price in known),
        unpriced=next((name for name, price in prices.items() if price is None), ""),
    )


_SMALL_TOKENS: Final = 512
"""The most tokens of passages, and of earlier messages, for a small model. Small models run on this machine's processor, which
reads a few hundred tokens a second."""


def _limit_reading(config: AgentConfig) -> AgentConfig:
    """The configuration with limits that fit a small model."""
    history, retrieval = config.history, config.retrieval
    tokens = min(history.tokens or _SMALL_TOKENS, _SMALL_TOKENS)
    context = min(retrieval.context_tokens, _SMALL_TOKENS)
    return config.model_copy(
        update={
            "history": history.model_copy(update={"tokens": tokens}),
            "retrieval": retrieval.model_copy(update={"context_tokens": context}),
        }
    )


def content_from(
    document: Mapping[str, object], identity: str, surroundings: Surroundings, default: Sequence[str]
) -> Content:
    """The content of a version from the document that GetAgentVersion shows, checked like an agent's files.

    `chain` may be missing; then the models follow from `config`, as for files. What no node uses is left out. A `standard` agent has
    the graph, prompts and examples of this release alone, and its models always follow from `config`. Blocks. Raises BuildFailed.
    """
    try:
        draft = Content.model_validate({"agent": identity, "chain": (), **document})
    except ValidationError as error:
        raise BuildFailed(list(from_validation(error, Content, file="content"))) from error
    if draft.agent != identity:
        raise BuildFailed([Problem("content", f"belongs to the agent “{draft.agent}”, not to “{identity}”")])
    config = with_graph(draft.config)
    try:
        text = rtoml.dumps(config, none_value=None)
    except rtoml.TomlSerializationError as error:
        raise BuildFailed([Problem(AGENT_FILE, f"cannot be written as TOML: {error}")]) from error
    if standard := config is not draft.config:
        shared = read_shared(SHIPPED / SHARED)
        files = AgentFiles(identity, shared.prompts, shared.partials, shared.examples)
    else:
        examples = {name: example.encode() for name, example in draft.examples.items()}
        files = AgentFiles(identity, draft.sources(), draft.parts(), examples)
    checked, problems = check(text, files, surroundings)
    if checked is None:
        own = [each for each in problems if not standard or each.key[:1] not in {(key,) for key in GRAPH}]
        raise BuildFailed(own or problems)
    content = content_of(rtoml.loads(text), checked, files, default, surroundings.kinds)
    if not standard:
        return content.model_copy(update={"chain": draft.chain}) if draft.chain else content
    parts = ("prompts", "partials", "examples")
    own = [part for part in parts if getattr(draft, part) not in ({}, getattr(content, part))]
    if wrong := [*own_graph(draft.config, config), *(Problem("content", f"{part}: {OWN}") for part in own)]:
        raise BuildFailed(wrong)
    return content
