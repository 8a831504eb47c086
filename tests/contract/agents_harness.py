"""Agents in folders, over a real database. Each `LiveAgents` stands for one process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from uuid_utils.compat import uuid7

from responsa_server.agents.config.build import BuildContext
from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.files import AgentFolders
from responsa_server.agents.config.live import LiveAgents, LiveOptions
from responsa_server.agents.config.settings import DEFAULT
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.app.models import model_table
from responsa_server.app.settings import load
from responsa_server.domain.agents import Agent, AnswerTask
from responsa_server.domain.counters import Counters
from responsa_server.domain.events import Answered
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.turns import Question
from responsa_server.providers.settings import ModelSettings
from responsa_server.stores.postgres.agent_versions import PostgresAgentVersions
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.resources import TEACHERS, ResourceTable
from tests.default_models import build_default_models
from tests.unit.agents.configured import DEFAULTS
from tests.unit.agents.evidence import FixedEvidence
from tests.unit.agents.shipping import Judge

GREETER = """\
name = "{name}"
start = "greet"
model = {{ chain = ["passages"] }}
{more}
[nodes]
greet = {{ kind = "template", template = "greeting" }}
"""
WHO = Principal("acme", uuid7(), Role.USER, "api_key")


class Folder:
    """The files of agents: the shipped agents, which include `default`, and a user's agents."""

    def __init__(self, root: Path) -> None:
        self.folders = AgentFolders(root / "users", root / "shipped")
        (root / "users").mkdir()
        self.write("default", "Good day.", shipped=True)

    def path(self, agent: str, *, shipped: bool = False) -> Path:
        root = self.folders.shipped if shipped else self.folders.users
        assert root is not None
        return root / agent

    def write(
        self, agent: str, greeting: str, *, shipped: bool = False, name: str = "", more: str = ""
    ) -> Path:
        """Write an agent that greets with these words. more: further TOML tables of the agent's file."""
        folder = self.path(agent, shipped=shipped)
        (folder / "prompts").mkdir(parents=True, exist_ok=True)
        (folder / "prompts" / "greeting.md").write_text(greeting + "\n")
        (folder / "agent.toml").write_text(GREETER.format(name=name or agent.title(), more=more))
        return folder


class AgentProcesses:
    """Processes that share a database. Processes with the same folder also share its files."""

    def __init__(self, database: Database, folder: Folder) -> None:
        self.database = database
        self.folder = folder
        self.versions = PostgresAgentVersions(database)
        self.counters = Counters()
        self.teachers = ResourceTable(database, TEACHERS, uuid7)

    @asynccontextmanager
    async def process(
        self,
        folders: AgentFolders | None = None,
        *,
        tell: Callable[[], None] = lambda: None,
        coded: Mapping[str, Agent] | None = None,
        options: LiveOptions | None = None,
        models: ModelSettings | None = None,
        stored_model: bool = False,
    ) -> AsyncGenerator[LiveAgents]:
        """A process that has started. It polls only when a test requests it. stored_model: whether `default` stands for
        the model that the database names."""
        fixed = FixedEvidence()
        table = model_table(models or ModelSettings())
        parts = NodeParts(fixed, Judge(), teachers=self.teachers)
        workshop = BuildContext(parts, table, self.counters, models.default if models else DEFAULTS)
        settings = load(models=(models or ModelSettings()).model_dump())
        stored = build_default_models(settings, table, self.database) if stored_model else None
        options = replace(
            options or LiveOptions(DEFAULT),
            notify=tell,
            coded=coded or {},
            poll_seconds=3600.0,
            models=stored and stored.refresh,
        )
        agents = LiveAgents(
            folders or self.folder.folders, self.versions, workshop, Surroundings(models=table), options
        )
        try:
            await agents.start()
            yield agents
        finally:
            await agents.close()
            await table.close()


async def said(agent: Agent, text: str = "Hello!") -> str:
    """The whole answer of an agent."""
    task = AnswerTask(uuid7(), WHO, Question(text), history=())
    end = await agent.answer(task, lambda _: None)
    assert isinstance(end, Answered), end
    return end.text


def served(agents: LiveAgents) -> Sequence[str]:
    """The names of the versions that answer new questions."""
    return [card.version for card in agents.cards()]
