"""Measures the reload of changed agents: reading, checking, numbering in the database and swapping, with a hundred agents of the tutor's size."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.peers.evidence import MemoryEvidence
from bench.report import Line
from bench.run import Run
from responsa_server.agents.config.build import BuildContext
from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.content import Defaults
from responsa_server.agents.config.files import SHIPPED, Folders
from responsa_server.agents.config.live import LiveAgents, LiveOptions
from responsa_server.agents.config.settings import DEFAULT
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.app.models import model_table
from responsa_server.app.resources import new_id
from responsa_server.domain.counters import Counters
from responsa_server.embedded import EmbeddedPostgres, Layout
from responsa_server.providers.settings import ModelSettings
from responsa_server.stores.postgres.agent_versions import PostgresAgentVersions
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.teachers import PostgresTeachers
from responsa_server.turns.settings import TurnSettings

TITLE: Final = "Reloading agents: 100 of the tutor's size (13 nodes, 12 prompts and parts, 841 examples), without training"
AGENTS: Final = 100


def measure(run: Run) -> list[Line]:
    """The time of a reload in milliseconds if no agent, one agent or all agents have changed."""
    run.say(f"reloading {AGENTS} agents")
    postgres = EmbeddedPostgres(Layout.of(run.place.home))
    return asyncio.run(measured(postgres.dsn("app"), postgres.dsn("log"), run.pick(9, 3)))


async def measured(app_url: str, log_url: str, rounds: int) -> list[Line]:
    """Makes the measurement of `measure` on any database with the migrations."""
    database = Database(app_url, log_url, size=10)
    await database.open()
    try:
        with tempfile.TemporaryDirectory() as folder:
            return await _measured(database, Path(folder), rounds)
    finally:
        await database.close()


async def _measured(database: Database, folder: Path, rounds: int) -> list[Line]:
    names = [f"bench-{number:03}" for number in range(AGENTS)]
    for name in names:
        shutil.copytree(SHIPPED / "tutor", folder / name, ignore=shutil.ignore_patterns("samples"))
    evidence = MemoryEvidence()
    parts = NodeParts(evidence, evidence, PostgresTeachers(database, new_id))
    models = model_table(ModelSettings())
    turns = TurnSettings()
    agents = LiveAgents(
        Folders(folder),
        PostgresAgentVersions(database),
        BuildContext(
            parts, models, Counters(), Defaults((), turns.history_messages, turns.time_limit_seconds)
        ),
        Surroundings(models=models),
        # A process that runs turns also compiles graphs and trains classifiers, but in the background, not as part of a reload.
        LiveOptions(DEFAULT, runs_turns=False, poll_seconds=3600.0),
    )
    await agents.start()
    found: dict[str, list[float]] = {}
    try:
        for number in range(rounds):
            for what, changed in (("none", ()), ("one", names[:1]), ("all", names)):
                for name in changed:
                    path = folder / name / "prompts" / "greeting.md"
                    path.write_text(
                        f"{path.read_text(encoding='utf-8')}Edition {number} {what}.\n", encoding="utf-8"
                    )
                # If the files were written immediately before this reload, the next reload would read them again.
                await asyncio.sleep(0.2)
                found.setdefault(what, []).append(await _reload(agents, changed))
    finally:
        await agents.close()
        await models.close()
    return [
        Line.alone(TITLE, f"{what} changed", "ms", values, measured=len(values))
        for what, values in found.items()
    ]


async def _reload(agents: LiveAgents, changed: Sequence[str]) -> float:
    begun = time.perf_counter()
    outcome = await agents.reload(notify=False)
    taken = (time.perf_counter() - begun) * 1000
    if sum(one.changed for one in outcome) != len(changed) or any(one.problems for one in outcome):
        raise AssertionError(
            f"the reload did not take the written files: {[one for one in outcome if one.problems or one.changed]}"
        )
    return taken
