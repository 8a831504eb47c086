"""An agent that begins without a file: it is made, tried, published, changed, rolled back, and gives way to a file."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from google.protobuf.json_format import MessageToDict

from responsa.knowledge.v1 import reader_pb2
from responsa_client import Conflict, FailedPrecondition, InvalidRequest, NotFound, Responsa
from responsa_server.domain.people import Role
from tests.callers import Registry
from tests.instance import eventually
from tests.system.conftest import Bench

FERRY = b"# A ferry\n\nThe ferry to Skye leaves from Mallaig at six in the morning.\n"
QUESTION = "When does the ferry to Skye leave?"


def form(**values: Any) -> dict[str, Any]:
    """The content of a version, as the page sends it."""
    config = {"standard": True, "name": "Ferryman", "model": {"chain": ["lab:echo"]}, **values}
    return {"config": config}


@pytest.fixture
def owner(bench: Bench) -> Iterator[Responsa]:
    with Responsa(bench.instance.url, bench.instance.key) as client:
        yield client


@contextmanager
def colleague(bench: Bench, owner: Responsa) -> Generator[Responsa]:
    """Another user of the owner's tenant."""
    registry = Registry(bench.instance)
    try:
        _, key = registry.key_of(owner.me().tenant.partition("/")[2], "Dora", Role.USER)
    finally:
        registry.close()
    with Responsa(bench.instance.url, key) as client:
        yield client


def said(client: Responsa, agent: str) -> str:
    """What the agent, or a version of it, answers to the question."""
    return str(client.answer(QUESTION, agent=agent).terminal_event.answer.text)


def listed(client: Responsa) -> dict[str, bool]:
    return {agent.name: agent.listed for agent in client.agents()}


def test_an_agent_without_a_file_is_made_changed_and_rolled_back(bench: Bench, owner: Responsa) -> None:
    with pytest.raises(NotFound):
        owner.agent("agents/ferryman")
    first = owner.create_agent_version("ferryman", form(instructions="Say: FIRST", greeting="Ahoy!"))
    assert not first.is_current
    assert said(owner, first.name) == "FIRST"  # it can be tried, and is in no list
    assert "agents/ferryman" not in listed(owner)

    made = owner.publish_agent_version(first.name)
    assert (made.version, made.file_version, made.display_name) == (first.name, "", "Ferryman")
    assert (made.greeting, made.listed, list(made.models)) == ("Ahoy!", True, ["lab:echo"])
    assert said(owner, "agents/ferryman") == "FIRST"

    # The form is what the version contains.
    content = MessageToDict(owner.agent_version(first.name).content)
    content["prompts"]["small_talk"]["body"] = "Go away."
    with pytest.raises(InvalidRequest, match="prompts: is not read beside"):
        owner.create_agent_version("ferryman", content)
    content = MessageToDict(owner.agent_version(first.name).content)
    content["config"]["instructions"] = "Say: SECOND"
    second = owner.create_agent_version("ferryman", content)
    assert (said(owner, second.name), said(owner, "agents/ferryman")) == ("SECOND", "FIRST")
    changed = owner.publish_agent_version(second.name, etag=made.etag)
    with pytest.raises(Conflict) as raised:
        owner.publish_agent_version(first.name, etag=made.etag)
    assert raised.value.reason == "ETAG_MISMATCH"
    assert said(owner, "agents/ferryman") == "SECOND"

    # Listed or not is a switch, which the next publication of a form sets again.
    assert not owner.update_agent("ferryman", listed=False, etag=changed.etag).listed
    assert owner.agent("agents/ferryman").listed is False
    assert said(owner, "agents/ferryman") == "SECOND"
    with pytest.raises(Conflict):
        owner.update_agent("ferryman", listed=True, etag=changed.etag)

    owner.reload()
    assert owner.agent("agents/ferryman").version == second.name
    assert owner.rollback_agent_version(second.name).version == first.name
    with pytest.raises(FailedPrecondition):
        owner.rollback_agent_version(second.name)
    assert owner.rollback_agent_version(first.name).version == ""
    with pytest.raises(NotFound):
        owner.agent("agents/ferryman")
    acts = owner.audit_events(filter_by='resource = "agents/ferryman"')
    assert [(one.action, one.outcome) for one in acts] == [
        ("agent.update", "ETAG_MISMATCH"),
        ("agent.update", "OK"),
    ]


def test_while_a_budget_is_in_money_a_published_model_needs_a_price(bench: Bench, owner: Responsa) -> None:
    paid = owner.create_agent_version("paid", form(model={"chain": ["paid:house-large"]}))
    free = owner.create_agent_version("paid", form())

    def limit(micros: int) -> None:
        url = f"{bench.instance.url}/v1/insightSettings?updateMask=costUsdMicrosPerMonth"
        headers = {"authorization": f"Bearer {bench.instance.key}"}
        httpx2.patch(url, headers=headers, json={"costUsdMicrosPerMonth": str(micros)}).raise_for_status()

    limit(20_000_000)
    try:
        with pytest.raises(FailedPrecondition) as raised:
            owner.publish_agent_version(paid.name)
        assert (raised.value.reason, raised.value.metadata["model"]) == ("PRICE_UNKNOWN", "paid:house-large")
        assert owner.publish_agent_version(free.name).version == free.name
    finally:
        limit(0)
    assert owner.publish_agent_version(paid.name).version == paid.name
    owner.rollback_agent_version(paid.name)
    owner.rollback_agent_version(free.name)


def test_the_model_of_chores_is_listed_beside_a_default_agent_that_is_not(
    bench: Bench, owner: Responsa
) -> None:
    def models() -> set[str]:
        headers = {"authorization": f"Bearer {bench.instance.key}"}
        found = httpx2.get(f"{bench.instance.url}/v1/models", headers=headers).json()["data"]
        return {one["id"] for one in found if one["id"].partition(":")[0] in ("default", "chat")}

    before = models()
    assert {"default", "default:chores"} <= before
    owner.update_agent("default", listed=False)
    try:
        assert models() == {"default:chores"}
    finally:
        owner.update_agent("default", listed=True)
    assert models() == before


def test_a_form_counts_until_the_files_are_taken(bench: Bench, owner: Responsa) -> None:
    file = bench.agents / "harbour" / "agent.toml"
    file.parent.mkdir(parents=True)
    file.write_text(
        'standard = true\nname = "Harbour"\ninstructions = "Say: FILE"\nmodel.chain = ["lab:echo"]\n'
    )
    eventually(lambda: bench.version("harbour") != "", lambda: bench.instance.log("server")[-2000:])
    files = owner.agent("agents/harbour").version
    assert said(owner, "agents/harbour") == "FILE"
    content = MessageToDict(owner.agent_version(files).content)
    content["config"]["instructions"] = "Say: FORM"
    made = owner.create_agent_version("harbour", content)
    assert owner.publish_agent_version(made.name).file_version == files
    file.write_text(file.read_text().replace("FILE", "NEWER"))
    owner.reload()
    agent = owner.agent("agents/harbour")
    assert (agent.version, agent.file_version != files) == (made.name, True)  # a new file changes nothing
    assert said(owner, "agents/harbour") == "FORM"
    assert owner.publish_agent_version(agent.file_version).version == agent.file_version
    file.write_text(file.read_text().replace("NEWER", "NEWEST"))
    owner.reload()
    assert said(owner, "agents/harbour") == "NEWEST"
    # A graph of the file's own beside the standard one is a mistake.
    file.write_text(file.read_text() + 'start = "write"\n')
    (broken,) = [one for one in owner.reload().agents if one.agent == "agents/harbour"]
    assert [(one.key, one.message.partition(";")[0]) for one in broken.problems] == [
        ("start", "is not read beside `standard = true`")
    ]
    file.unlink()
    file.parent.rmdir()
    owner.reload()


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": ""}, "name"),
        ({"instructions": "x" * 20_001}, "instructions"),
        ({"retrieval": {"collections": ["No such id"]}}, "retrieval.collections[0]"),
        ({"model": {"chain": ["nobody:model"]}}, "model.chain[0]"),
        ({"tools": {"use": ["Not a name"]}}, "tools.use[0]"),
        ({"colour": "blue"}, "colour"),
        ({"start": "write"}, "start"),
    ],
)
def test_a_mistake_in_a_form_is_told_at_its_field(
    owner: Responsa, values: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        owner.create_agent_version("ferryman", form(**values))
    assert [one.field for one in raised.value.violations] == [f"agent_version.content.config.{field}"]


def test_an_agent_gives_nobody_what_the_asker_may_not_read(bench: Bench, owner: Responsa) -> None:
    secret = owner.create_collection("ferries")
    owner.wait(owner.upload(FERRY, source_key="ferry.md", collection=secret.name))
    own = form(model={"chain": ["passages"]}, retrieval={"collections": ["ferries"]})
    made = owner.create_agent_version("ferryman", own)
    owner.publish_agent_version(made.name)
    try:
        assert "Mallaig" in said(owner, "agents/ferryman")
        with colleague(bench, owner) as dora:
            for agent in ("agents/ferryman", made.name):
                assert "Mallaig" not in str(dora.answer(QUESTION, agent=agent).terminal_event)
            owner.update_collection("ferries", readers=[reader_pb2.Reader(everyone=True)])
            assert "Mallaig" in said(dora, "agents/ferryman")
    finally:
        owner.rollback_agent_version(made.name)
        owner.delete_collection("ferries", force=True)
