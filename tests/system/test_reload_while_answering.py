"""An agent's prompt is edited while the agent answers, and the server is killed. The answer still comes from the
version with which the turn began."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import grpc
import pytest
from uuid_utils.compat import uuid7

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa.chat.v1 import chat_service_pb2 as chat
from tests.instance import eventually
from tests.system.conftest import Bench

AGENT = """\
name = "Echo"
start = "write"
model = { chain = ["lab:echo"] }
[nodes]
write = { kind = "prompt", prompt = "say" }
"""


@pytest.fixture
def echo(bench: Bench) -> Iterator[Bench]:
    """The bench with an agent `echo`, which is removed afterwards."""
    with bench.agent("echo", AGENT, say="Say: FIRST\n"):
        yield bench


def test_a_turn_keeps_its_version_through_an_edit_and_a_kill(echo: Bench) -> None:
    version = echo.version("echo")
    echo.echo.open.clear()
    request = chat.AskRequest(text="What do you say?", agent="agents/echo", request_id=str(uuid7()))
    asking = threading.Thread(target=_asked, args=(echo, request))
    asking.start()
    assert echo.echo.waiting.acquire(timeout=60), "the model is asked"
    (echo.agents / "echo/prompts/say.md").write_text("Say: SECOND\n")
    eventually(lambda: echo.version("echo") not in ("", version), lambda: echo.instance.log("server")[-2000:])
    newer = echo.version("echo")
    os.kill(echo.instance.processes()["server"].pid, signal.SIGKILL)
    echo.echo.open.set()
    asking.join()
    eventually(lambda: echo.version("echo") == newer, lambda: echo.instance.log("server")[-2000:])
    events = [event for frame in echo.frames(request) for event in frame.events]
    started, end = events[0].started, events[-1]
    assert started.agent_version == version
    assert end.answer.text == "FIRST", end
    assert echo.ask("And now?", "echo").answer.text == "SECOND"


def test_a_broken_edit_is_told_and_changes_nothing(echo: Bench) -> None:
    version = echo.version("echo")
    (echo.agents / "echo/prompts/say.md").write_text("Say: {{ nothing }}\n")
    status = admin.GetSystemStatusRequest()

    def reported() -> bool:
        parts = echo.call("AdminService", "GetSystemStatus", status).parts
        return any(part.part == "agents" and "prompts/say.md: uses" in part.detail for part in parts)

    eventually(reported, lambda: echo.instance.log("server")[-2000:])
    found = echo.call("AdminService", "ReloadAgents", admin.ReloadAgentsRequest()).agents
    (broken,) = [one for one in found if one.agent == "agents/echo"]
    assert (broken.version, broken.changed) == (version, False)
    assert [problem.file for problem in broken.problems] == ["prompts/say.md"]
    assert echo.ask("Still there?", "echo").answer.text == "FIRST"


def _asked(bench: Bench, request: chat.AskRequest) -> None:
    try:
        bench.frames(request)
    except grpc.RpcError:
        return  # the server that received the question is killed
