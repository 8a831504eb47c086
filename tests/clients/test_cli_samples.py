"""`responsa samples`: the objects that the commands create or leave unchanged, and the exit codes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2

from clients.conformance.server import Context, abort, status
from responsa.admin.v1 import admin_service_pb2, source_pb2
from responsa.auth.v1 import user_pb2
from responsa.chat.v1 import agent_pb2
from responsa.knowledge.v1 import collection_pb2, knowledge_service_pb2
from responsa_etl.samples import SAMPLE_DATABASES
from responsa_etl.sources.declarations import read_connections
from responsa_server.cli.samples import read
from responsa_server.system.instance import SHIPPED_AGENTS
from tests.clients.agents_served import NOWHERE, ServedAgents
from tests.clients.command_line import CommandLine
from tests.clients.library import ScriptedLibrary
from tests.clients.scripted import (
    ADMIN,
    AUTH,
    KNOWLEDGE,
    OPERATION,
    Scripted,
    operation,
)

SAMPLES = "responsa_etl.samples"
TEACHERS = """
[[teachers]]
id = "11111111-1111-4111-8111-111111111111"
display_name = "Ms One"
persona = \"\"\"
You are the first.
\"\"\"
[teachers.parameters]
subject = "counting"
age = 40

[[teachers]]
id = "22222222-2222-4222-8222-222222222222"
display_name = "Mr Two"
persona = "You are the second."
"""


@pytest.fixture
def served(server: Scripted) -> ServedAgents:
    agents = ServedAgents()
    agents.serve(server)
    return agents


@pytest.fixture
def own(tmp_path: Path, served: ServedAgents) -> Path:
    """The folder of an agent on this machine, with two documents and two teachers."""
    folder = tmp_path / "home" / "agents" / "mine"
    (folder / "samples" / "corpus" / "parts").mkdir(parents=True)
    (folder / "agent.toml").write_text("")
    (folder / "samples" / "corpus" / "one.md").write_text("# One\n")
    (folder / "samples" / "corpus" / "parts" / "two.txt").write_text("Two.\n")
    (folder / "samples" / "corpus" / ".hidden.md").write_text("No.\n")
    (folder / "samples" / "teachers.toml").write_text(TEACHERS)
    served.agents.append(agent_pb2.Agent(name="agents/mine", collections=["collections/theirs"]))
    return folder


async def test_samples_are_loaded_once_however_often(
    server: Scripted, served: ServedAgents, library: ScriptedLibrary, own: Path, responsa: CommandLine
) -> None:
    listed = await responsa("samples", "list")
    assert "mine  2 documents, 2 teachers" in listed.out.splitlines()
    done = await responsa("samples", "load", "mine")
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        "mine: 2 documents: 2 new, 0 changed, 0 unchanged, 0 failed, in collection theirs; 2 teachers: 2 new, 0 existing\n"
    )
    # The agent names the collection, and the keys are paths relative to the corpus folder.
    assert library.keys("collections/theirs") == ["one.md", "parts/two.txt"]
    first = served.teachers["teachers/11111111-1111-4111-8111-111111111111"]
    assert (first.display_name, first.persona) == ("Ms One", "You are the first.")
    assert first.parameters["age"] == 40

    first.persona = "Changed by somebody."
    (own / "samples" / "corpus" / "one.md").write_text("# One, again\n")
    done = await responsa("samples", "load", "agents/mine", "mine", "--json")
    (line,) = done.lines
    assert line == {
        "agent": "mine",
        "collection": "theirs",
        "documents": {"new": 0, "changed": 1, "unchanged": 1, "failed": 0},
        "teachers": {"new": 0, "there": 2, "leftOut": 0},
    }
    assert first.persona == "Changed by somebody."
    assert len(server.requests[f"{ADMIN}/CreateTeacher"]) == 2
    # The command finds the samples even if the folder of the user's agents is elsewhere.
    moved = own.parent.rename(own.parents[2] / "elsewhere")
    done = await responsa("samples", "load", "mine", RESPONSA_AGENTS__FOLDER=str(moved))
    assert (done.code, "2 unchanged" in done.out) == (0, True)
    assert (await responsa("samples", "load", "mine")).code == 2


async def test_synonyms_are_set_unless_the_collection_has_some(
    server: Scripted, served: ServedAgents, library: ScriptedLibrary, own: Path, responsa: CommandLine
) -> None:
    theirs = collection_pb2.Collection(name="collections/theirs")

    async def update(request: Any, __: Context) -> collection_pb2.Collection:
        assert list(request.update_mask.paths) == ["synonyms"]
        theirs.synonyms = request.collection.synonyms
        return theirs

    server.reply(f"{KNOWLEDGE}/GetCollection", theirs)
    server.on(f"{KNOWLEDGE}/UpdateCollection", update)
    (own / "samples" / "synonyms.txt").write_text("one, first\n")
    assert (await responsa("samples", "load", "mine")).code == 0
    assert theirs.synonyms == "one, first\n"
    theirs.synonyms = "two, second\n"
    assert (await responsa("samples", "load", "mine")).code == 0
    assert theirs.synonyms == "two, second\n"
    (own / "samples" / "synonyms.txt").write_bytes(b"\xff")
    done = await responsa("samples", "load", "mine")
    assert (done.code, f"{own}/samples/synonyms.txt cannot be read" in done.err) == (2, True)


async def test_without_the_role_teachers_are_left_out_and_that_is_said(
    served: ServedAgents, library: ScriptedLibrary, own: Path, responsa: CommandLine
) -> None:
    served.admin = False
    done = await responsa("samples", "load", "mine")
    assert done.code == 0
    assert done.err == "responsa: mine: 2 teachers were skipped: creating teachers needs the role ADMIN.\n"
    assert library.keys("collections/theirs") == ["one.md", "parts/two.txt"]
    assert "teacher" not in done.out


async def test_all_samples_are_those_of_agents_that_the_server_has(
    served: ServedAgents, library: ScriptedLibrary, own: Path, responsa: CommandLine
) -> None:
    done = await responsa("samples", "load")
    assert done.code == 0
    assert [line.partition(":")[0] for line in done.out.splitlines()] == ["mine", "tutor"]
    assert done.err == "".join(
        f"responsa: The server has no agent {name}: its samples were skipped.\n"
        for name in ("cairo", "chat", "knowledge", "scarb")
    )
    shipped = read("tutor", SHIPPED_AGENTS / "tutor" / "samples")
    assert library.keys("collections/tutor") == [document.key for document in shipped.documents]
    assert len(served.teachers) == len(shipped.teachers) + 2
    # If the user names an agent that the server does not have, the command fails.
    done = await responsa("samples", "load", "chat")
    assert done.code == 2
    assert "Known: default, tutor, mine." in done.err


async def test_what_goes_wrong_with_samples_is_told(
    server: Scripted, served: ServedAgents, library: ScriptedLibrary, own: Path, responsa: CommandLine
) -> None:
    done = await responsa("samples", "load", "nobody")
    assert (done.code, done.out) == (2, "")
    assert (
        "no samples for nobody. These agents have samples: cairo, chat, knowledge, mine, scarb, tutor."
        in done.err
    )

    # A package has no samples of the code assistants.
    elsewhere = own.parents[2] / "elsewhere"
    (elsewhere / "tutor").mkdir(parents=True)
    done = await responsa("samples", "load", "cairo", "tutor", "--from", str(elsewhere))
    assert (done.code, done.out) == (2, "")
    assert "The samples of cairo are not part of the installed package." in done.err
    assert "--from FOLDER" in done.err

    (own / "samples" / "corpus" / "bad.md").write_text("unreadable")
    done = await responsa("samples", "load", "mine")
    assert done.code == 1
    assert "bad.md: It cannot be read." in done.err
    assert "1 failed" in done.out

    for text, message in (
        ("[[teachers]\n", "cannot be read"),
        (TEACHERS.replace("Mr Two", ""), "teachers.1.display_name"),
        (TEACHERS.replace("22222222-2", "2-2"), "teachers.1.id"),
        ("[[pupils]]\n", "pupils"),
    ):
        (own / "samples" / "teachers.toml").write_text(text)
        done = await responsa("samples", "load", "mine")
        assert (done.code, done.out) == (2, "")
        assert message in done.err

    (own / "samples" / "teachers.toml").unlink()
    server.refuse(
        f"{KNOWLEDGE}/GetCollection", status(grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED", "No.")
    )
    assert (await responsa("samples", "load", "mine")).code == 1


async def test_a_sample_database_is_made_and_its_sources_run(
    server: Scripted, library: ScriptedLibrary, responsa: CommandLine
) -> None:
    """The server's part is scripted: reading a thousand documents takes minutes."""
    me = user_pb2.User(tenant="tenants/acme", role=user_pb2.USER_ROLE_USER)
    sources = dict[str, source_pb2.Source]()
    known = True
    followed = list[str]()

    async def get_me(_: Any, __: Context) -> user_pb2.User:
        return me

    async def create(request: admin_service_pb2.CreateSourceRequest, context: Context) -> source_pb2.Source:
        if not known:
            named = {"resource_type": "connection", "resource_name": "connections/aptitude"}
            await abort(context, status(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND", metadata=named))
        name = f"sources/{request.source_id}"
        if name in sources:
            await abort(context, status(grpc.StatusCode.ALREADY_EXISTS, "RESOURCE_ALREADY_EXISTS"))
        sources[name] = source_pb2.Source(name=name, mapping=request.source.mapping, connection="aptitude")
        return sources[name]

    async def get(request: admin_service_pb2.GetSourceRequest, _: Context) -> source_pb2.Source:
        return sources[request.name]

    async def sync(
        request: admin_service_pb2.SyncSourceRequest, context: Context
    ) -> operations_pb2.Operation:
        if request.name == "sources/aptitude":  # an earlier call's run has not ended
            named = {"source": request.name, "operation": f"operations/{NOWHERE}"}
            await abort(
                context, status(grpc.StatusCode.FAILED_PRECONDITION, "SOURCE_RUNNING", metadata=named)
            )
        return operation()

    async def watch(
        request: knowledge_service_pb2.WatchOperationRequest, _: Context
    ) -> AsyncIterator[knowledge_service_pb2.WatchOperationResponse]:
        followed.append(request.name)
        source = "sources/catalogues" if request.name == OPERATION else "sources/aptitude"
        state = operations_pb2.Operation(name=request.name)
        state.metadata.Pack(
            source_pb2.SyncMetadata(
                source=source,
                stage=source_pb2.SYNC_STAGE_INDEXING,
                documents_done=3,
                documents_total=8,
            )
        )
        yield knowledge_service_pb2.WatchOperationResponse(operation=state, seq=1)
        state.done = True
        state.response.Pack(source_pb2.SyncResult(created=7))
        yield knowledge_service_pb2.WatchOperationResponse(operation=state, seq=2)

    for path, script in {
        f"{AUTH}/GetMe": get_me,
        f"{ADMIN}/CreateSource": create,
        f"{ADMIN}/GetSource": get,
        f"{ADMIN}/SyncSource": sync,
        f"{KNOWLEDGE}/WatchOperation": watch,
    }.items():
        server.on(path, script)
    folder = responsa.folder / "home" / "connections"
    done = await responsa(module=SAMPLES)
    assert (done.code, "needs the role ADMIN" in done.err, folder.exists()) == (1, True, False)

    me.role = user_pb2.USER_ROLE_ADMIN
    known = False
    done = await responsa(module=SAMPLES)
    assert done.code == 1
    assert f"does not know the connection aptitude, which is declared in {folder}." in done.err

    known = True
    done = await responsa(module=SAMPLES)
    assert (done.code, done.out) == (
        0,
        "".join(f"source {name}: 7 created, 0 unchanged\n" for name in ("catalogues", "aptitude")),
    )
    assert followed == [OPERATION, f"operations/{NOWHERE}"]
    assert {"collections/aptitude", "collections/aptitude-catalogues"} <= library.collections
    assert sources["sources/aptitude"].mapping == SAMPLE_DATABASES["aptitude"].mapping("aptitude")
    [declared] = read_connections(folder)
    assert declared.item is not None, declared.problems
    assert declared.item.tenants == ("acme",)

    # What exists stays as it is.
    (folder / "aptitude.db").write_text("changed by somebody")
    sources["sources/catalogues"].connection = "staff"
    done = await responsa(module=SAMPLES)
    assert "There is another source with the id catalogues." in done.err
    assert (folder / "aptitude.db").read_text() == "changed by somebody"
