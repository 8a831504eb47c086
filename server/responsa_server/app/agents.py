"""Wires the agents: their files, what their nodes are made of, and where their versions are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import structlog

from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.check.models import within
from responsa_server.agents.config.content import Defaults
from responsa_server.agents.config.folders import Folders
from responsa_server.agents.config.live import LiveAgents, LiveOptions
from responsa_server.agents.config.making import Workshop
from responsa_server.agents.config.snapshot import AgentsBroken
from responsa_server.agents.config.watch import Watch
from responsa_server.agents.engine.config import DEFAULT_MODEL, EXTRACTIVE
from responsa_server.agents.engine.registry import NodeParts
from responsa_server.app.counters import MemoryCounters
from responsa_server.app.documents import Knowledge
from responsa_server.app.models import by_name, known_models, model_table
from responsa_server.app.places import new_id
from responsa_server.app.settings import ServeRole, Settings
from responsa_server.domain.ports.agents import Agent
from responsa_server.domain.ports.counters import Counters
from responsa_server.domain.ports.faults import Faults
from responsa_server.domain.ports.models import Models
from responsa_server.domain.ports.teachers import Teachers
from responsa_server.embedded import EmbeddedError, Layout
from responsa_server.routing.kept import KeptClassifiers
from responsa_server.stores.postgres.agent_versions import PostgresAgentVersions
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.summaries import PostgresSummaries
from responsa_server.stores.postgres.teachers import PostgresTeachers


@dataclass(frozen=True, slots=True)
class AgentParts:
    """The agents, whom they may speak as, and what is counted of them."""

    agents: LiveAgents
    teachers: Teachers
    counters: Counters


async def agents_of(
    settings: Settings,
    layout: Layout,
    database: Database,
    known: Knowledge,
    faults: Faults,
    tell: Callable[[], None],
    stack: AsyncExitStack,
) -> AgentParts:
    """Build them and read their files; what must be closed is closed by the stack. tell: asks the other processes to read theirs anew.

    Raises EmbeddedError when an agent that is needed is broken, Unavailable.
    """
    models = model_table(settings.language_models, layout)
    stack.push_async_callback(models.close)
    see_to_default(models, settings.models.default)
    teachers, counters = PostgresTeachers(database, new_id), MemoryCounters()
    evidence = known.evidence
    parts = NodeParts(
        source=evidence,
        extractor=evidence,
        judge=evidence,
        teachers=teachers,
        summaries=PostgresSummaries(database),
    )
    defaults = Defaults(
        tuple(settings.models.default), settings.turns.history_messages, settings.turns.time_limit_seconds
    )
    workshop = Workshop(
        parts,
        models,
        counters,
        defaults,
        KeptClassifiers(layout.data / "classifiers", known.embedder),
        faults,
    )
    folders = Folders(_users(settings, layout))
    agents = LiveAgents(
        folders,
        PostgresAgentVersions(database),
        workshop,
        surroundings(models, settings),
        LiveOptions(
            default=settings.agents.default,
            beside=await _beside(settings, faults, stack),
            tell=tell,
            works=settings.role is not ServeRole.RPC,
        ),
    )
    try:
        await agents.start()
    except AgentsBroken as error:
        raise EmbeddedError(
            str(error), "correct the files named; `responsa agents check FOLDER` shows all that is wrong"
        ) from error
    except OSError as error:
        raise EmbeddedError(
            f"The agents' folders cannot be read ({error})", "see that this user may read them"
        ) from error
    stack.push_async_callback(agents.close)
    if settings.agents.watch:
        watch = Watch(folders.roots, lambda: agents.want_reload(follow=True))
        watch.start()
        stack.push_async_callback(watch.close)
    return AgentParts(agents, teachers, counters)


def surroundings(models: Models, settings: Settings) -> Surroundings:
    """What agents' files are checked against on this server."""
    known = known_models(settings.language_models)
    return Surroundings(
        models=models,
        suggested_models=(EXTRACTIVE, DEFAULT_MODEL, *settings.models.default, *by_name(known)),
        providers=tuple(known),
    )


def see_to_default(models: Models, default: Sequence[str]) -> None:
    """Raises EmbeddedError for a model of the setting that cannot be had: no agent's file is to blame for it."""
    for place, name in enumerate(default):
        if name == EXTRACTIVE and place < len(default) - 1:
            why = f"“{EXTRACTIVE}” before others, and it can only be the last"
        elif (problem := models.problem(name)) is not None:
            why = f"“{name}”, which cannot be had: {within(problem)}"
        else:
            continue
        raise EmbeddedError(
            f"The setting models.default (RESPONSA_MODELS__DEFAULT) names {why}",
            "see to that, or name another model in this setting, and start again",
        )


def _users(settings: Settings, layout: Layout) -> Path:
    """The folder of the user's agents, made where it is not there, so that it can be watched."""
    folder = settings.agents.folder or layout.home / "agents"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        structlog.get_logger("agents").warning("agents_folder_missing", folder=str(folder), error=str(error))
    return folder


async def _beside(settings: Settings, faults: Faults, stack: AsyncExitStack) -> dict[str, Agent]:
    if not settings.testing.agent:
        return {}
    # Only where it is asked for: production does without a server of its own for scripts.
    from responsa_lab.testing.agent import TESTING, scripted_agent

    agent = await stack.enter_async_context(
        scripted_agent(settings.testing.model_url, settings.testing.tool_url, faults=faults)
    )
    return {TESTING: agent}
