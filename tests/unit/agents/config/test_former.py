"""Turns that are open when the server is upgraded to another engine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from responsa_server.agents.config.build import BuildContext
from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.content import ENGINE
from responsa_server.agents.config.files import AgentFolders
from responsa_server.agents.config.live import LiveAgents, LiveOptions
from responsa_server.agents.config.settings import DEFAULT
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.engine.state import to_milestone
from responsa_server.app.models import model_table
from responsa_server.domain.agents import NewVersion
from responsa_server.domain.counters import Counters
from responsa_server.domain.errors import Precondition, Unavailable
from responsa_server.domain.turns import ToolRecord
from responsa_server.providers.settings import ModelSettings
from tests.raising import raises
from tests.unit.agents.config.test_live import Kept, School, write
from tests.unit.agents.configured import DEFAULTS
from tests.unit.agents.evidence import Shelf, task
from tests.unit.agents.speaking import answer_in, told_by

OLD = "agents/own/versions/1"


class Upgraded(Kept):
    """A store with a version of an earlier engine, on which a turn is open."""

    async def open(self) -> Collection[str]:
        return (OLD,)


async def upgraded(folder: Path) -> LiveAgents:
    store = Upgraded()
    await store.register([NewVersion("own", ENGINE - 1, b"1" * 32, b"what only the old engine reads")])
    write(folder, "own", "Hello!")
    (folder / "own" / "agent.toml").write_text(
        'name = "Own"\nstart = "greet"\n[nodes]\ngreet = { kind = "template", template = "greeting" }\n'
    )
    shelf = Shelf()
    context = BuildContext(NodeParts(shelf), model_table(ModelSettings()), Counters(), DEFAULTS, School())
    options = LiveOptions(DEFAULT, poll_seconds=3600.0)
    agents = LiveAgents(AgentFolders(None, folder), store, context, Surroundings(), options)
    await agents.reload()
    await agents.poll()
    return agents


async def test_a_turn_that_has_shown_nothing_begins_again_with_the_present_version(tmp_path: Path) -> None:
    agents = await upgraded(tmp_path)
    assert agents.find("own").version == "agents/own/versions/2"
    milestone = to_milestone("quote", {"question": "Why?", "extraction": {"quotes": []}, "shown": 3})
    for resume in (None, milestone):
        end = answer_in(await told_by(agents.at(OLD), replace(task("Why?"), resume=resume)))
        assert end.text == "Hello."


async def test_a_turn_that_has_shown_text_or_called_a_tool_fails_and_may_be_asked_again(
    tmp_path: Path,
) -> None:
    agents = await upgraded(tmp_path)
    question = task("Why?")
    for begun in (
        replace(question, resume=to_milestone("cite", {"text": "So", "bytes_sent": 2})),
        replace(question, resume=to_milestone("finish", {"answer": {"text": "So"}})),
        replace(question, resume=b"\x01\xff"),
        replace(question, tools={"call-1": ToolRecord(None, "")}),
    ):
        caught = await raises(Unavailable, told_by(agents.at(OLD), begun), "Ask again")
        assert caught.metadata["cause"] == "upgraded"


async def test_nobody_can_ask_for_a_version_of_an_earlier_engine(tmp_path: Path) -> None:
    agents = await upgraded(tmp_path)
    await raises(Precondition, agents.version("own", 1), "an earlier release made it")
