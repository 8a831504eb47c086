"""Reloads during the training of agents, and after a failed training."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from responsa_server.agents.config.build import BuildContext
from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.files import AgentFolders
from responsa_server.agents.config.live import LiveAgents, LiveOptions
from responsa_server.agents.config.settings import DEFAULT
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.app.models import model_table
from responsa_server.domain.agents import NewVersion, Publication, StoredVersion
from responsa_server.domain.counters import Counters
from responsa_server.domain.intents import Example, IntentClassifier
from responsa_server.providers.settings import ModelSettings
from tests.unit.agents.configured import DEFAULTS
from tests.unit.agents.evidence import FixedEvidence
from tests.unit.agents.shipping import Knows

AGENT = """\
name = "Own"
start = "intent"
model = { chain = ["passages"] }
[nodes]
intent = { kind = "intent_router", examples = "examples/intents.jsonl", intents = ["qa"] }
greet = { kind = "template", template = "greeting" }
[graph]
edges = [{ from = "intent", to = "greet" }]
"""


@dataclass
class MemoryVersions:
    """AgentVersions in memory."""

    rows: list[tuple[NewVersion, StoredVersion]] = field(
        default_factory=list[tuple[NewVersion, StoredVersion]]
    )

    async def register(self, versions: Sequence[NewVersion]) -> Sequence[StoredVersion]:
        for version in versions:
            if not any(version.sha256 == new.sha256 and version.agent == new.agent for new, _ in self.rows):
                number = 1 + sum(new.agent == version.agent for new, _ in self.rows)
                self.rows.append(
                    (
                        version,
                        StoredVersion(
                            version.agent, number, len(self.rows) + 1, version.content, version.engine
                        ),
                    )
                )
        return [
            next(row for new, row in self.rows if (new.agent, new.sha256) == (version.agent, version.sha256))
            for version in versions
        ]

    async def newest(self) -> int:
        return len(self.rows)

    async def since(self, ordinal: int, engine: int) -> Sequence[StoredVersion]:
        return [row for _, row in self.rows if row.ordinal > ordinal]

    async def open(self) -> Collection[str]:
        return ()

    async def publications(self) -> Sequence[Publication]:
        return []

    async def listings(self) -> Mapping[str, bool]:
        return {}

    async def find(self, names: Collection[str], engine: int) -> Sequence[StoredVersion]:
        return [row for _, row in self.rows if row.name in names]


class School:
    """A trainer that trains when the test allows it, and fails for given examples."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.asked = asyncio.Event()
        self.trained_on: list[str] = []

    async def prepare(self, examples: Sequence[Example], *, key: bytes) -> IntentClassifier:
        self.asked.set()
        await self.open.wait()
        self.trained_on.append(examples[0].text)
        if examples[0].text == "broken":
            raise OSError("the disk is full")
        return Knows({}, "qa")


def write(root: Path, agent: str, text: str) -> None:
    folder = root / agent
    for name, content in {
        "agent.toml": AGENT,
        "prompts/greeting.md": "Hello.\n",
        "examples/intents.jsonl": f'{{"text": "{text}", "label": "qa"}}\n',
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


class Declared:
    """Tools whose declarations have always changed. Closing needs the event loop, and reading must not block it."""

    names: Collection[str] = ()

    def __init__(self) -> None:
        self.closed = 0
        self._replaced = 0

    def reload(self) -> bool:
        self._replaced += 1
        return True

    def release(self) -> None:
        asyncio.get_running_loop()
        self.closed += self._replaced
        self._replaced = 0


@asynccontextmanager
async def running(root: Path, school: School, tools: Declared | None = None) -> AsyncGenerator[LiveAgents]:
    """The agents of a folder that has the agent `default`, after their start. The school is open."""
    write(root, "default", "one")
    school.open.set()
    parts = NodeParts(FixedEvidence())
    workshop = BuildContext(parts, model_table(ModelSettings()), Counters(), DEFAULTS, school)
    options = LiveOptions(DEFAULT, poll_seconds=3600.0, tools=tools)
    agents = LiveAgents(AgentFolders(None, root), MemoryVersions(), workshop, Surroundings(), options)
    await agents.start()
    try:
        yield agents
    finally:
        await agents.close()


async def test_polling_goes_on_while_a_reload_trains(tmp_path: Path) -> None:
    school = School()
    async with running(tmp_path, school) as agents:
        school.open.clear()
        school.asked.clear()
        write(tmp_path, "default", "two")
        reloading = asyncio.create_task(agents.reload())
        await school.asked.wait()
        before = agents.find("")
        async with asyncio.timeout(10):
            await agents.poll()
        assert not reloading.done()
        assert agents.find("") is before
        # A version that was registered during the reload can run at once, and the end of the reload does not drop it.
        assert "agents/default/versions/2" in agents.versions
        school.open.set()
        (told,) = await reloading
        assert (told.version, told.changed) == ("agents/default/versions/2", True)
        assert agents.find("").version == "agents/default/versions/2"
        assert before.version in agents.versions


async def test_an_agent_that_cannot_be_trained_keeps_none_from_it(tmp_path: Path) -> None:
    school = School()
    async with running(tmp_path, school) as agents:
        write(tmp_path, "alpha", "broken")
        write(tmp_path, "beta", "fine")
        told = await agents.reload()
        assert [one.agent for one in told if one.changed] == ["alpha", "beta"]
        assert {"broken", "fine"} <= set(school.trained_on)


async def test_a_reload_closes_the_tools_that_it_replaces(tmp_path: Path) -> None:
    tools = Declared()
    async with running(tmp_path, School(), tools) as agents:
        before = tools.closed
        await agents.reload()
        assert tools.closed == before + 1
