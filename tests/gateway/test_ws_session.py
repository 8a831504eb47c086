"""Tests a socket's session directly: the user and the teacher under which the session is registered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest
from starlette.websockets import WebSocket

from responsa.auth.v1 import auth_service_pb2
from responsa.chat.v1 import chat_service_pb2
from responsa_server.calls.chain import Calls
from responsa_server.transports.ws.bridge import Bridge, Owner, Session
from tests.gateway.in_process import calls_of
from tests.gateway.scripted_turns import name_of
from tests.gateway.stand_in import Auth, Chat, user_name

KEY = "Bearer rsp_good"
OWNER = Owner("tenants/one", user_name(KEY))
TEACHER = "0192f3c8-0000-7000-8000-0000000000bb"


@pytest.fixture
def calls() -> Calls:
    # Methods that these tests do not call stay unimplemented.
    chat = Chat()  # pyright: ignore[reportAbstractUsage]
    auth = Auth()  # pyright: ignore[reportAbstractUsage]
    files = (chat_service_pb2, chat), (auth_service_pb2, auth)
    return calls_of(
        *((one.DESCRIPTOR.services_by_name[f"{type(found).__name__}Service"], found) for one, found in files)
    )


class Opened:
    """A session, and the client's side of its socket."""

    def __init__(self, bridge: Bridge) -> None:
        self._to: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        self._from: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        headers = [(b"authorization", KEY.encode())]
        scope: dict[str, Any] = {"type": "websocket", "query_string": b"", "headers": headers}
        self._to.put_nowait({"type": "websocket.connect"})
        socket = WebSocket(scope, self._to.get, self._from.put)
        self.session = Session(socket, bridge)
        self.task = asyncio.create_task(self.session.run())

    async def turn(self, **fields: Any) -> None:
        """Ask, and read all frames up to the end."""
        self._to.put_nowait({"type": "websocket.receive", "text": json.dumps(fields)})
        while True:
            sent = await self._from.get()
            if "text" in sent and json.loads(sent["text"])["type"] in ("message", "error"):
                return

    async def close(self) -> None:
        """Disconnect the client."""
        self._to.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await self.task


async def test_who_resumes_a_turn_is_about_its_teacher(calls: Calls) -> None:
    bridge = Bridge(calls)
    asking, resuming = Opened(bridge), Opened(bridge)
    await asking.turn(content="script limit", request_id="r", teacher_id=TEACHER)
    assert [*bridge.of(OWNER, TEACHER)] == [asking.session]
    await resuming.turn(type="resume", turn=name_of("script limitr"))
    assert {*bridge.of(OWNER, TEACHER)} == {asking.session, resuming.session}
    # The next question names no teacher.
    await resuming.turn(content="script limit")
    assert [*bridge.of(OWNER, TEACHER)] == [asking.session]
    await asking.close()
    await resuming.close()
    assert [*bridge.of(OWNER)] == []
