"""Agents whose files change under a running server, over a real database."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
from uuid_utils.compat import uuid7

from responsa_server.agents.config.build import ConfiguredAgent
from responsa_server.agents.config.content import ENGINE
from responsa_server.agents.config.files import AgentFolders, Watch
from responsa_server.agents.config.live import AgentsBroken, LiveAgents, LiveOptions
from responsa_server.agents.config.settings import DEFAULT
from responsa_server.domain.errors import InvalidRequest, NotFound, Precondition, Reason, Unavailable
from responsa_server.domain.model_settings import DefaultModel
from responsa_server.domain.parts import Health
from responsa_server.domain.people import AuditEvent
from responsa_server.domain.relay import Reload
from responsa_server.providers.settings import ModelSettings
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.database import Database, unavailable
from responsa_server.stores.postgres.default_model import PostgresDefaultModel
from responsa_server.stores.postgres.turns import PostgresTurnStore
from responsa_server.stores.redis_relay import RedisRelay
from responsa_server.turns.runtime import Runtime
from responsa_server.turns.service import Turns
from tests.contract.agents_harness import AgentProcesses, Folder, said, served
from tests.contract.people import People
from tests.contract.turn_harness import RELAY_KEY, Cast, Script
from tests.contract.turn_steps import Store, cancelled
from tests.plain_codec import PlainCodec
from tests.raising import raises


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def group(database: Database, folder: Folder) -> AgentProcesses:
    return AgentProcesses(database, folder)


async def test_the_same_files_are_the_same_version_everywhere_and_after_a_restart(
    group: AgentProcesses, folder: Folder, tmp_path: Path
) -> None:
    folder.write("own", "One.")
    # Simulate another machine, with other paths and other file times.
    shutil.copytree(folder.folders.shipped, tmp_path / "there" / "shipped")
    shutil.copytree(folder.path("own"), tmp_path / "there" / "users" / "own")
    elsewhere = AgentFolders(tmp_path / "there" / "users", tmp_path / "there" / "shipped")
    wanted = ["agents/default/versions/1", "agents/own/versions/1"]
    async with group.process() as one, group.process(elsewhere) as other:
        assert served(one) == served(other) == wanted
    async with group.process() as again:
        assert served(again) == wanted
        assert await said(again.find("own")) == "One."


async def test_a_change_is_a_version_and_the_old_one_can_still_be_run(
    group: AgentProcesses, folder: Folder
) -> None:
    folder.write("own", "One.")
    async with group.process() as agents:
        first = agents.find("own")
        before = agents.snapshot
        folder.write("own", "Two.")
        (unchanged, changed) = await agents.reload()
        assert (unchanged.agent, unchanged.changed) == ("default", False)
        assert (changed.agent, changed.version, changed.changed) == ("own", "agents/own/versions/2", True)
        assert await said(agents.find("own")) == "Two."
        assert await said(agents.at(first.version)) == "One."
        assert before.current["own"] is first, "a snapshot never changes"
        folder.write("own", "One.")
        (_, back) = await agents.reload()
        assert (back.version, back.changed) == ("agents/own/versions/1", True)
        assert agents.find("own") is first
        assert await agents.reload() == [
            unchanged,
            type(back)("own", back.version, changed=False),
        ]


async def test_a_version_that_is_asked_for_is_loaded_and_answers_as_it_did(
    group: AgentProcesses, folder: Folder
) -> None:
    folder.write("own", "One.")
    async with group.process() as agents:
        folder.write("own", "Two.")
        await agents.reload()
        folder.write("own", "Three.")
        await agents.reload()
    async with group.process() as later:
        assert served(later) == ["agents/default/versions/1", "agents/own/versions/3"]
        assert "agents/own/versions/1" not in later.versions
        assert await said(await later.version("own", 1)) == "One."
        assert later.at("agents/own/versions/1") is await later.version("own", 1)
        assert await later.version("own", 3) is later.find("own")
        await later.poll()
        assert "agents/own/versions/1" in later.versions
        assert await said(later.find("own")) == "Three."
        for identity, number in (("own", 4), ("default", 2)):
            caught = await raises(NotFound, later.version(identity, number))
            assert caught.metadata["resource_name"] == f"agents/{identity}/versions/{number}"
        shutil.rmtree(folder.path("own"))
        await later.reload()
        caught = await raises(NotFound, later.version("own", 1))
        assert caught.metadata == {
            "resource_type": "agent",
            "resource_name": "agents/own",
            "known": "default",
        }


async def test_a_broken_file_leaves_the_old_version_serving_and_is_told(
    group: AgentProcesses, folder: Folder
) -> None:
    own = folder.write("own", "One.")
    async with group.process() as agents:
        assert (await agents.check()).health is Health.OK
        (own / "prompts" / "greeting.md").write_text("Line one.\n{{ nobody }}\n")
        (_, broken) = await agents.reload()
        assert (broken.version, broken.changed) == ("agents/own/versions/1", False)
        (problem,) = broken.problems
        assert (problem.file, problem.line) == ("prompts/greeting.md", 0)
        assert "“nobody”" in problem.message
        assert await said(agents.find("own")) == "One."
        assert agents.problems() == [broken]
        report = await agents.check()
        assert report.health is Health.DEGRADED
        assert report.detail.startswith(
            "The agent own stays in its last valid version: own/prompts/greeting.md: "
        )
        folder.write("own", "Two.")
        (_, mended) = await agents.reload()
        assert (mended.version, mended.changed, mended.problems) == ("agents/own/versions/2", True, ())
        assert (await agents.check()).health is Health.OK


async def test_the_others_are_not_kept_back_by_a_broken_one(group: AgentProcesses, folder: Folder) -> None:
    own = folder.write("own", "One.")
    folder.write("two", "One.")
    async with group.process() as agents:
        (own / "agent.toml").write_text("name = ")
        folder.write("two", "Two.")
        found = {one.agent: one for one in await agents.reload()}
        assert found["own"].problems
        assert found["two"].version == "agents/two/versions/2"
        assert await said(agents.find("two")) == "Two."


async def test_at_the_start_a_broken_agent_of_the_user_is_left_out_and_told(
    group: AgentProcesses, folder: Folder
) -> None:
    (folder.write("own", "One.") / "agent.toml").write_text("name = 3")
    async with group.process() as agents:
        assert served(agents) == ["agents/default/versions/1"]
        (left_out,) = agents.problems()
        assert (left_out.agent, left_out.version) == ("own", "")
        with pytest.raises(NotFound) as error:
            agents.find("own")
        assert error.value.metadata["known"] == "default"
        assert "`responsa agents check own`" in error.value.message
        folder.write("own", "One.")
        assert [one.version for one in await agents.reload() if one.changed] == ["agents/own/versions/1"]


async def test_at_the_start_a_broken_shipped_agent_or_default_ends_it(
    group: AgentProcesses, folder: Folder
) -> None:
    other = folder.write("other", "One.", shipped=True)
    (other / "agent.toml").write_text(
        'name = "Other"\nstart = "nowhere"\n[nodes]\nend = { kind = "refuse" }\n'
    )
    with pytest.raises(AgentsBroken, match=r"other/agent\.toml: start: there is no node “nowhere”"):
        async with group.process():
            pass
    shutil.rmtree(other)
    with pytest.raises(AgentsBroken, match=r"tutor/agent\.toml: there is no such agent"):
        async with group.process(options=LiveOptions(default="tutor")):
            pass


async def test_the_default_may_be_one_of_the_users(group: AgentProcesses, folder: Folder) -> None:
    folder.write("own", "Mine.")
    async with group.process(options=LiveOptions(default="own")) as agents:
        assert await said(agents.find("")) == "Mine."
        assert [(card.id, card.is_default) for card in agents.cards()] == [("default", False), ("own", True)]
        assert agents.card("").id == "own"


async def test_a_users_agent_takes_the_place_of_a_shipped_one_whole(
    group: AgentProcesses, folder: Folder
) -> None:
    async with group.process() as agents:
        folder.write("default", "Mine.")
        await agents.reload()
        assert await said(agents.find("")) == "Mine."
        shutil.rmtree(folder.path("default"))
        await agents.reload()
        assert await said(agents.find("")) == "Good day."
        assert agents.find("").version == "agents/default/versions/1"


async def test_an_agent_whose_folder_is_gone_serves_no_longer(group: AgentProcesses, folder: Folder) -> None:
    folder.write("own", "One.")
    async with group.process() as agents:
        shutil.rmtree(folder.path("own"))
        (_, gone) = await agents.reload()
        assert (gone.agent, gone.version, gone.changed) == ("own", "", True)
        with pytest.raises(NotFound):
            agents.find("own")
        assert "agents/own/versions/1" in agents.versions, "its turns have not finished yet"


async def test_a_server_without_the_files_runs_what_others_have_brought(
    group: AgentProcesses, folder: Folder, tmp_path: Path
) -> None:
    without = AgentFolders(None, folder.folders.shipped)
    async with group.process() as one, group.process(without) as other:
        folder.write("own", "From afar.")
        await one.reload()
        assert "agents/own/versions/1" not in other.versions
        await other.poll()
        assert await said(other.at("agents/own/versions/1")) == "From afar."
        with pytest.raises(NotFound):
            other.find("own")  # only processes with the files take new questions


async def test_what_open_turns_began_with_is_there_from_the_start(
    store: Store, group: AgentProcesses, folder: Folder
) -> None:
    folder.write("own", "One.")
    async with group.process():
        folder.write("own", "Two.")
    turn = await store.make(version="agents/own/versions/1", pending=True)
    async with group.process() as agents:
        assert agents.find("own").version == "agents/own/versions/2"
        assert await said(agents.at("agents/own/versions/1")) == "One."
        # End the turn, so that no turn needs the version.
        await store.cancel(store.ann, turn.id, True, cancelled)
    async with group.process() as agents:
        assert "agents/own/versions/1" not in agents.versions


async def test_an_older_version_that_another_server_gave_a_turn_is_found(
    store: Store, group: AgentProcesses, folder: Folder
) -> None:
    folder.write("own", "One.")
    async with group.process():
        folder.write("own", "Two.")
    async with group.process() as agents:
        await store.make(version="agents/own/versions/1", pending=True)
        await agents.poll()
        assert await said(agents.at("agents/own/versions/1")) == "One."


async def test_what_serves_no_longer_is_let_go_once_no_turn_needs_it(
    store: Store, group: AgentProcesses, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("own", "One.")
    async with group.process(options=LiveOptions(DEFAULT, keep_seconds=0.0)) as agents:
        turn = await store.make(version="agents/own/versions/1", pending=True)
        folder.write("own", "Two.")
        await agents.reload()
        await agents.poll()
        assert "agents/own/versions/1" in agents.versions
        await store.cancel(store.ann, turn.id, True, cancelled)
        await agents.poll()
        assert list(agents.versions) == ["agents/default/versions/1", "agents/own/versions/2"]
    async with group.process(options=LiveOptions(DEFAULT, keep_seconds=3600.0)) as agents:
        folder.write("own", "Three.")
        await agents.reload()
        await agents.poll()
        assert "agents/own/versions/2" in agents.versions
        monkeypatch.setattr("responsa_server.agents.config.live._MOST_IDLE", 0)
        await agents.poll()
        assert "agents/own/versions/2" not in agents.versions


async def test_a_question_to_an_old_version_counts_as_a_use(
    group: AgentProcesses, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old version's turns end before a poll can see them."""
    now = [0.0]
    monkeypatch.setattr("responsa_server.agents.config.live.time", SimpleNamespace(monotonic=lambda: now[0]))
    folder.write("own", "One.")
    async with group.process(options=LiveOptions(DEFAULT, keep_seconds=10.0)) as agents:
        folder.write("own", "Two.")
        await agents.reload()
        await agents.poll()
        now[0] = 9.0
        await agents.version("own", 1)
        now[0] = 11.0
        await agents.poll()
        assert "agents/own/versions/1" in agents.versions
        now[0] = 22.0
        await agents.poll()
        assert "agents/own/versions/1" not in agents.versions


async def test_nothing_changes_while_versions_cannot_be_kept(
    group: AgentProcesses, folder: Folder, database: Database
) -> None:
    folder.write("own", "One.")
    async with group.process() as agents:
        before = agents.snapshot
        folder.write("own", "Two.")
        folder.write("more", "One.")
        await database.close()
        await raises(Unavailable, agents.reload())
        assert agents.snapshot is before
        assert await said(agents.find("own")) == "One."


async def test_nothing_changes_while_the_folders_cannot_be_read(
    group: AgentProcesses, folder: Folder
) -> None:
    folder.write("own", "One.")
    async with group.process() as agents:
        before = agents.snapshot
        prompts = folder.folders.shared / "prompts"
        prompts.parent.mkdir()
        prompts.symlink_to(prompts)
        await raises(Unavailable, agents.reload(), "folders cannot be read")
        assert agents.snapshot is before


async def test_versions_of_another_engine_are_left_to_those_who_know_them(
    store: Store, group: AgentProcesses, folder: Folder
) -> None:
    folder.write("own", "One.")
    async with group.process():
        pass
    store.urls.ask("UPDATE responsa.agent_version SET engine = %s WHERE agent_id = 'own'", ENGINE + 1)
    shutil.rmtree(folder.path("own"))
    await store.make(version="agents/own/versions/1", pending=True)
    async with group.process() as agents:
        assert list(agents.versions) == ["agents/default/versions/1"]


async def test_what_cannot_be_run_here_is_left_out_and_asked_for_once(
    store: Store, group: AgentProcesses, folder: Folder
) -> None:
    folder.write("own", "One.")
    scripted = ModelSettings(scripted=True)
    own = folder.path("own")
    (own / "agent.toml").write_text((own / "agent.toml").read_text().replace("passages", "scripted:strong"))
    async with group.process(models=scripted) as agents:
        assert agents.card("own").models == ("scripted:strong",)
    shutil.rmtree(own)
    await store.make(version="agents/own/versions/1", pending=True)
    async with group.process() as agents:
        assert "agents/own/versions/1" not in agents.versions
        await agents.poll()
        assert "agents/own/versions/1" not in agents.versions
        folder.write("own", "Two.")
        await agents.reload()
        refused = await raises(Precondition, agents.version("own", 1))
        assert refused.reason is Reason.AGENT_VERSION_UNFIT
        assert "scripted:strong" in refused.metadata["cause"]


async def test_a_created_version_answers_on_every_server_that_it_is_asked_from(
    group: AgentProcesses, folder: Folder, people: People
) -> None:
    folder.write("own", "One.")
    event = AuditEvent.of(people.ann, "agent_version.create", "agents/own")
    async with group.process() as agents, group.process() as other:
        own = agents.find("own")
        assert isinstance(own, ConfiguredAgent)
        same = await agents.create("own", own.content.model_dump(mode="json", by_alias=True), "{}", event)
        assert same.number == 1
        prompts = own.content.model_dump(mode="json", by_alias=True)["prompts"]
        document = {"config": own.content.config, "prompts": prompts}
        prompts["greeting"]["body"] = "Created."
        for _ in range(2):
            created = await agents.create("own", document, '{"score":1}', event)
            assert created.name == "agents/own/versions/2"
        assert await said(await other.version("own", 2)) == "Created."
        assert (await agents.reload())[1].version == "agents/own/versions/1"
        refused = await raises(
            InvalidRequest,
            agents.create(
                "own", {"config": {**own.content.config, "start": "gone", "nmae": "Own"}}, "", event
            ),
        )
        assert {one.rule for one in refused.violations} == {"agent.problem"}
        assert len(refused.violations) > 1
        await raises(NotFound, agents.create("nobody", document, "", event))


async def test_a_published_version_outranks_the_files_until_they_change(
    group: AgentProcesses, folder: Folder, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> NoReturn:
        raise unavailable()

    folder.write("own", "One.")
    event = AuditEvent.of(people.ann, "agent_version.publish", "agents/own")
    async with group.process() as agents, group.process() as other:
        own = agents.find("own")
        assert isinstance(own, ConfiguredAgent)
        document = own.content.model_dump(mode="json", by_alias=True)
        for words in ("Second.", "Third."):
            document["prompts"]["greeting"]["body"] = words
            await agents.create("own", document, "", event)
        await agents.publish("own", 2, event)
        await agents.publish("own", 2, event)
        assert await said(agents.find("own")) == "Second."
        with monkeypatch.context() as without:
            without.setattr(group.versions, "find", away)
            await raises(Unavailable, other.reload())
        await other.poll()
        while other.find("own").version != "agents/own/versions/2":  # noqa: ASYNC110  the reload has no event
            await asyncio.sleep(0)
        assert await said(other.find("own")) == "Second."
        card = other.card("own")
        assert (card.version, card.file_version) == ("agents/own/versions/2", "agents/own/versions/1")
        await agents.publish("own", 3, event)
        refused = await raises(Precondition, agents.roll_back("own", 2, event))
        assert refused.reason is Reason.AGENT_VERSION_NOT_PUBLISHED
        await agents.roll_back("own", 3, event)
        assert await said(agents.find("own")) == "Second."
        async with group.process() as later:
            assert await said(later.find("own")) == "Second."
        folder.write("own", "Changed.")
        await agents.reload()
        assert await said(agents.find("own")) == "Changed."
        folder.write("own", "One.")
        await agents.reload()
        assert await said(agents.find("own")) == "Second."
        await agents.roll_back("own", 2, event)
        assert await said(agents.find("own")) == "One."
        folder.write("own", "Edited.")  # and not read yet
        await agents.publish("own", 2, event)
        assert await said(agents.find("own")) == "Second."
        await raises(NotFound, agents.publish("own", 9, event))


async def test_agents_that_are_code_stand_beside_those_of_files(
    group: AgentProcesses, folder: Folder
) -> None:
    async with group.process() as other:
        code = other.find("")
    async with group.process(coded={"code": code}) as agents:
        assert agents.find("code") is code
        assert agents.at(code.version).version == code.version
        assert [card.id for card in agents.cards()] == ["code", "default"]
        await agents.reload()
        assert agents.find("code") is code


async def test_a_change_of_files_is_seen_without_being_told(group: AgentProcesses, folder: Folder) -> None:
    noticed = asyncio.Event()
    async with group.process(tell=noticed.set) as agents:
        watch = Watch(folder.folders.roots, lambda: agents.want_reload(notify=True))
        watch.start()
        try:
            await _until(lambda: folder.write("own", "One."), noticed, agents, "One.")
            await _until(lambda: folder.write("own", "Two."), noticed, agents, "Two.")
        finally:
            await watch.close()


async def _until(change: object, noticed: asyncio.Event, agents: LiveAgents, text: str) -> None:
    """Make a change and wait until it is current. The server may read the folder between two writes, so the change may
    make more than one version."""
    assert callable(change)
    noticed.clear()
    change()
    async with asyncio.timeout(20):
        while True:
            await noticed.wait()
            noticed.clear()
            if "own" in agents.snapshot.current and await said(agents.find("own")) == text:
                return


async def test_a_hint_has_the_others_read_their_files(group: AgentProcesses, folder: Folder) -> None:
    heard = asyncio.Event()
    async with group.process() as there:
        before = there.snapshot

        def hint() -> None:
            there.want_reload()
            heard.set()

        async with group.process(tell=hint) as here:
            folder.write("own", "One.")
            await here.reload()
            await heard.wait()
        async with asyncio.timeout(20):
            while there.snapshot is before:
                await asyncio.to_thread(lambda: None)  # the other process's reload runs on this loop
        assert await said(there.find("own")) == "One."


async def test_a_reload_is_told_to_other_processes_over_redis(database: Database, redis_url: str) -> None:
    heard = asyncio.Event()
    relay, other = RedisRelay(redis_url, RELAY_KEY), RedisRelay(redis_url, RELAY_KEY)
    turns = Turns(
        PostgresTurnStore(database, PlainCodec()),
        PostgresConversationStore(database),
        Cast({"": Script()}),
        relay,
        Runtime(uuid7, PlainCodec()),
        heard.set,
    )
    await turns.start()
    await other.start(uuid7(), lambda hint: None)
    try:
        async with asyncio.timeout(20):
            await relay.listening.wait()
            other.tell_all(Reload())
            await heard.wait()
    finally:
        await other.close()
        await turns.close()


async def test_every_process_takes_a_stored_default_model_over(
    group: AgentProcesses, folder: Folder, database: Database, people: People
) -> None:
    folder.write("own", "One.")
    path = folder.path("own") / "agent.toml"
    path.write_text(path.read_text().replace('chain = ["passages"]', 'chain = ["default"]'))
    scripted = ModelSettings(scripted=True)
    store = PostgresDefaultModel(database)
    async with (
        group.process(models=scripted, stored_model=True) as first,
        group.process(models=scripted, stored_model=True) as other,
    ):
        assert [agents.card("own").models for agents in (first, other)] == [(), ()]
        event = AuditEvent.of(people.ann, "default_model.set", "defaultModel/-")
        for model, chain in (
            (DefaultModel("scripted", "strong"), ("scripted:strong",)),
            # What this server cannot use counts as none, so that the server still starts.
            (DefaultModel("scripted", "unheard"), ()),
        ):
            await store.put(model, event)
            await first.reload()
            assert first.card("own").models == chain
            await other.poll()  # as if the hint was lost
            while other.card("own").models != chain:  # noqa: ASYNC110  the reload has no event
                await asyncio.sleep(0)
            assert other.find("own").version == first.find("own").version


async def test_a_published_form_is_a_source_everywhere_that_follows_the_default_model(
    group: AgentProcesses, folder: Folder, database: Database, people: People
) -> None:
    scripted = ModelSettings(scripted=True)
    store = PostgresDefaultModel(database)
    event = AuditEvent.of(people.ann, "agent_version.publish", "agents/made")
    document = {"config": {"standard": True, "name": "Made", "instructions": "Be brief."}}
    async with (
        group.process(models=scripted, stored_model=True) as first,
        group.process(models=scripted, stored_model=True) as other,
    ):
        await first.create("made", document, "", event)
        await first.publish("made", 1, event)
        await store.put(
            DefaultModel("scripted", "strong"), AuditEvent.of(people.ann, "default_model.set", "-")
        )
        await first.reload()
        assert (first.card("made").version, first.card("made").models) == (
            "agents/made/versions/2",
            ("scripted:strong",),
        )
        await other.poll()  # as if the hints were lost
        while served(other) != served(first):  # noqa: ASYNC110  the reload has no event
            await asyncio.sleep(0)
        # The version that answers names the publication, whose number is another one.
        await first.roll_back("made", 2, event)
        assert served(first) == ["agents/default/versions/1"]
        await raises(NotFound, first.roll_back("made", 2, event))


async def test_a_form_whose_model_is_gone_gives_way_to_the_files_and_stops_no_server(
    group: AgentProcesses, folder: Folder, people: People
) -> None:
    event = AuditEvent.of(people.ann, "agent_version.publish", "agents/default")
    document = {"config": {"standard": True, "name": "Made", "model": {"chain": ["scripted:strong"]}}}
    async with group.process(models=ModelSettings(scripted=True)) as agents:
        for agent in ("default", "made"):
            stored = await agents.create(agent, document, "", event)
            await agents.publish(agent, stored.number, event)
        assert [card.display_name for card in agents.cards()] == ["Made", "Made"]
    async with group.process() as agents:
        assert served(agents) == ["agents/default/versions/1"]
        report = await agents.check()
        assert report.health is Health.DEGRADED
        assert "scripted" in report.detail
    async with group.process(models=ModelSettings(scripted=True)) as agents:
        assert [card.display_name for card in agents.cards()] == ["Made", "Made"]
