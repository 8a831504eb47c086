"""From a version's content to an agent that answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog
from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger

from responsa_server.agents.config.admission import Admission
from responsa_server.agents.config.check import AGENT_FILE, Problem
from responsa_server.agents.config.check.models import within
from responsa_server.agents.config.content import Content, Defaults
from responsa_server.agents.config.learning import Learning, learnings
from responsa_server.agents.engine.agent import PlannedAgent
from responsa_server.agents.engine.builder import Plan, PlanError
from responsa_server.agents.engine.config import DEFAULT_MODEL, AgentConfig
from responsa_server.agents.engine.planning import options, plan
from responsa_server.agents.engine.prompts import PromptSet
from responsa_server.agents.engine.registry import KINDS, Kind, NodeParts, PartMissing
from responsa_server.domain.events import Fallback
from responsa_server.domain.people import Principal
from responsa_server.domain.ports.agents import AnswerTask, Told
from responsa_server.domain.ports.counters import Counters
from responsa_server.domain.ports.faults import Faults, NoFaults
from responsa_server.domain.ports.intents import ExamplesUnfit, Trainer
from responsa_server.domain.ports.models import Models, Price
from responsa_server.domain.turns import Question


class NotMade(Exception):
    """A version cannot be run here; `problems` say why."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(str(one) for one in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Workshop:
    """What agents are made of here. parts: without a model, prompts and classifiers, which each agent has of its own; trainer: None where none can learn."""

    parts: NodeParts
    models: Models
    counters: Counters
    defaults: Defaults = field(default_factory=Defaults)
    trainer: Trainer | None = None
    faults: Faults = field(default_factory=NoFaults)
    kinds: Mapping[str, Kind] = field(default_factory=lambda: KINDS)


@dataclass(frozen=True, slots=True)
class Prepared:
    """All of a version but its number: what can go wrong has gone well. learning: what is to be trained, by the path of its examples; unpriced: models whose price nobody
    knows, though the agent's turns are limited by it.
    """

    content: Content
    config: AgentConfig
    plan: Plan
    learning: Mapping[str, Learning] = field(default_factory=dict[str, Learning])
    unpriced: Sequence[str] = ()


class MadeAgent:
    """One version of an agent. Implements `Agent`. The graph is compiled for its first question."""

    def __init__(self, prepared: Prepared, version: str, digest: bytes, workshop: Workshop) -> None:
        """version: `agents/{id}/versions/{n}`; digest: of the content, SHA-256."""
        self.config = prepared.config
        self.content = prepared.content
        self._learning = prepared.learning
        self.fingerprint = (prepared.content.agent, digest)
        self._log: FilteringBoundLogger = structlog.get_logger("agents")
        self._counters = workshop.counters
        config = self.config
        if "seconds" not in prepared.content.config.get("limits", {}):
            limits = config.limits.model_copy(update={"seconds": workshop.defaults.seconds})
            config = config.model_copy(update={"limits": limits})
        if prepared.unpriced:
            self._log.warning("agent_cost_not_limited", agent=version, unpriced=list(prepared.unpriced))
        admission = Admission(prepared.content.agent, config.parameters, workshop.parts.teachers)
        self._agent = PlannedAgent(
            prepared.plan,
            options(config, version),
            faults=workshop.faults,
            counted=self._counted,
            admission=admission.admit,
        )

    @property
    def version(self) -> str:
        """See `Agent.version`."""
        return self._agent.version

    @property
    def time_limit_seconds(self) -> float:
        """See `Agent.time_limit_seconds`."""
        return self._agent.time_limit_seconds

    @property
    def history_messages(self) -> int:
        """See `Agent.history_messages`."""
        return self._agent.history_messages

    @property
    def older_messages(self) -> int:
        """See `Agent.older_messages`."""
        return self._agent.older_messages

    @property
    def titles(self) -> bool:
        """See `Agent.titles`."""
        return self._agent.titles

    async def admit(self, who: Principal, question: Question) -> None:
        """See `Agent.admit`."""
        await self._agent.admit(who, question)

    def answer(self, task: AnswerTask) -> AsyncGenerator[Told, None]:
        """See `Agent.answer`."""
        return self._agent.answer(task)

    async def learn(self) -> None:
        """Train its classifiers, for some seconds a file of examples that is new. Raises ExamplesUnfit."""
        for one in self._learning.values():
            await one.ready()

    def compile(self) -> None:
        """Compile its graph. Blocks for some milliseconds."""
        self._agent.compile()

    def _counted(self, fallback: Fallback) -> None:
        self._counters.add("fallbacks", {"agent": self.content.agent, "kind": fallback.kind.value})
        self._log.warning(
            "agent_fell_back",
            agent=self.version,
            kind=fallback.kind.value,
            source=fallback.source,
            target=fallback.target,
            cause=fallback.cause,
        )


def prepared(contents: Mapping[str, Content], workshop: Workshop) -> Mapping[str, Prepared | NotMade]:
    """Make all but the numbers, of each content or say why not, under the same keys. Blocks."""
    return {key: _prepared(content, workshop) for key, content in contents.items()}


def _prepared(content: Content, workshop: Workshop) -> Prepared | NotMade:
    models = workshop.models
    try:
        learning = learnings(content.examples, workshop.trainer)
        model = models.chain(content.chain)
        config = _fitted(AgentConfig.model_validate(content.config), models.window(content.chain))
        small = models.small(content.chain)
        parts = replace(
            workshop.parts,
            model=model,
            small=small,
            larger=models.chain([one for one in content.chain if one not in small]) if small else model,
            price=lambda model="": models.price(model) if model else dearest(models, content.chain),
            classifiers=learning,
            examples={path: one.examples for path, one in learning.items()},
        )
        prompts = PromptSet(content.sources(), content.parts())
        unpriced = [name for name in content.chain if models.price(name) is None]
        made = plan(config, parts, prompts, workshop.kinds)
        return Prepared(content, config, made, learning, unpriced if config.limits.cost_micros else ())
    except KeyError as error:  # a model, or a kind that another build has
        return NotMade(
            list(_unfit(content, models))
            or [Problem(AGENT_FILE, f"cannot be run here: {str(error.args[0]).rstrip('.')}")]
        )
    except ValidationError as error:
        return NotMade([Problem(AGENT_FILE, str(error).splitlines()[0])])
    except (PartMissing, PlanError, ExamplesUnfit) as error:
        return NotMade([Problem(AGENT_FILE, str(error))])


def _unfit(content: Content, models: Models) -> Iterator[Problem]:
    """Models of the chain that cannot be had, and who has named them: the agent, or the setting that `default` stands for."""
    own = AgentConfig.model_validate(content.config).model.chain
    for name in content.chain:
        if (why := models.problem(name)) is None:
            continue
        if name in own:
            yield Problem(AGENT_FILE, f"the model “{name}” cannot be had: {within(why)}", ("model", "chain"))
        else:
            yield Problem(
                AGENT_FILE,
                f"“{DEFAULT_MODEL}” stands for what the setting models.default (RESPONSA_MODELS__DEFAULT) names, and there “{name}” cannot be had: "
                f"{within(why)}; correct the setting",
                ("model", "chain"),
            )


def dearest(models: Models, chain: Sequence[str]) -> Price | None:
    """What a call of a chain costs at most today, whoever answers it and whatever it is made of; None where no price is known."""
    known = [price for name in chain if (price := models.price(name)) is not None]
    if not known:
        return None
    return Price(
        max(one.input for one in known),
        max(one.cached_input for one in known),
        max(one.cache_write for one in known),
        max(one.output for one in known),
    )


def _fitted(config: AgentConfig, window: int | None) -> AgentConfig:
    """The configuration for a model that takes so many tokens together: what a prompt is made of gets its share."""
    if window is None:
        return config
    model, history, retrieval = config.model, config.history, config.retrieval
    tokens = window // 8
    return config.model_copy(
        update={
            "model": model.model_copy(
                update={"max_output_tokens": min(model.max_output_tokens, window // 4)}
            ),
            "history": history.model_copy(
                update={"tokens": min(history.tokens, tokens) if history.tokens else tokens}
            ),
            "retrieval": retrieval.model_copy(
                update={"context_bytes": min(retrieval.context_bytes, window // 2)}
            ),
        }
    )
