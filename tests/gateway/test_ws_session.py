"""Tests a socket's session directly: the user and the teacher under which the session is registered, and the end of its credential."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import MutableMapping, Sequence
from typing import Any

import pytest
from starlette.websockets import WebSocket

from responsa.auth.v1 import auth_service_pb2
from responsa.chat.v1 import chat_service_pb2
from responsa_server.calls.chain import Calls
from responsa_server.calls.interceptors.lasting import CredentialWatch
from responsa_server.domain.errors import Reason, ResponsaError, Unauthenticated, Unavailable
from responsa_server.domain.people import Principal
from responsa_server.transports.ws.bridge import Bridge, SocketSession
from tests.gateway.in_process import calls_of
from tests.gateway.stand_in import Auth, Chat

KEY = "Bearer rsp_good"


@pytest.fixture
def calls() -> Calls:
    # Methods that these tests do not call stay unimplemented.
    chat = Chat()
    auth = Auth()
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
        self.session = SocketSession(socket, bridge)
        self.task = asyncio.create_task(self.session.run())

    def say(self, **fields: Any) -> None:
        """Send a message."""
        self._to.put_nowait({"type": "websocket.receive", "text": json.dumps(fields)})

    async def frame(self) -> Any:
        """The next frame."""
        while "text" not in (sent := await self._from.get()):
            pass
        return json.loads(sent["text"])

    async def turn(self, **fields: Any) -> None:
        """Ask, and read all frames up to the end."""
        self.say(**fields)
        while (await self.frame())["type"] not in ("message", "error"):
            pass

    async def ends(self) -> tuple[Sequence[Any], int]:
        """All frames up to the end, and the code with which the server closes the socket."""
        frames: list[Any] = []
        while (sent := await self._from.get())["type"] != "websocket.close":
            if "text" in sent:
                frames.append(json.loads(sent["text"]))
        return frames, sent["code"]

    async def close(self) -> None:
        """Disconnect the client."""
        self._to.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await self.task


class Scripted:
    """Credentials about which the database says one thing after another, and nothing before the gate opens."""

    def __init__(self, *ends: ResponsaError | None) -> None:
        self.gate = asyncio.Event()
        self.ends = list(ends)

    async def recheck(self, callers: Sequence[Principal]) -> Sequence[ResponsaError | None]:
        """See `Credentials`."""
        await self.gate.wait()
        return [self.ends.pop(0) for _ in callers]


DISABLED = Unauthenticated(Reason.USER_DISABLED, "This account is disabled.")


async def test_a_socket_with_a_followed_turn_gets_one_frame_when_its_credential_ends(calls: Calls) -> None:
    found = Scripted(DISABLED)
    opened = Opened(Bridge(calls, watch=CredentialWatch(found, 0.0)))
    opened.say(content="script answer hang=2", request_id="lost")
    assert (await opened.frame())["seq"] == 2
    found.gate.set()
    frames, code = await opened.ends()
    assert [(frame["code"], "turn" in frame) for frame in frames if frame["type"] == "error"] == [
        ("UNAUTHENTICATED", False)
    ]
    assert frames[-1]["type"] == "error"
    assert code == 1008


async def test_a_socket_stays_open_and_watched_when_its_user_gets_another_role(calls: Calls) -> None:
    changed = Unavailable(Reason.ROLE_CHANGED, "Your role has changed.")
    found = Scripted(changed, changed, None, DISABLED)
    found.gate.set()
    frames, code = await Opened(Bridge(calls, watch=CredentialWatch(found, 0.0))).ends()
    assert [frame["code"] for frame in frames] == ["UNAUTHENTICATED"]
    assert code == 1008
    assert found.ends == []


async def test_a_socket_that_closes_is_watched_no_more(calls: Calls) -> None:
    found = Scripted(DISABLED)
    opened = Opened(Bridge(calls, watch=CredentialWatch(found, 0.0)))
    await opened.turn(content="script limit")
    await opened.close()
    found.gate.set()
    # The watch ends because nothing is left to ask about.
    await asyncio.gather(*(task for task in asyncio.all_tasks() if "open calls" in task.get_name()))


async def test_a_socket_says_that_its_token_expires_and_closes_when_it_does(calls: Calls) -> None:
    opened = Opened(Bridge(calls))
    opened.say(type="auth", token="rsp_good~1")
    opened.say(content="script answer hang=2", request_id="expires")
    frames, code = await opened.ends()
    kinds = [frame["type"] for frame in frames if "turn" not in frame]
    assert kinds == ["credential_ends", "error"]
    (ending,) = [frame for frame in frames if frame["type"] == "credential_ends"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", ending["expire_time"])
    assert frames[-1]["status"]["details"][0]["reason"] == "TOKEN_INVALID"
    assert code == 1008


async def test_a_renewed_token_goes_on_with_the_turns_and_the_rest_of_the_socket(calls: Calls) -> None:
    bridge = Bridge(calls, limits=(counted := Counted()))
    opened = Opened(bridge)
    opened.say(type="auth", token="rsp_good~59")
    assert (await opened.frame())["type"] == "credential_ends"
    opened.say(content="script answer hang=2", request_id="renewed")
    begun = await opened.frame()
    opened.say(type="auth", token="rsp_good~3600")
    opened.say(type="ping")
    while (await opened.frame())["type"] != "pong":
        pass
    # What expires has been replaced, also for the turn that is followed.
    assert [task.get_name() for task in asyncio.all_tasks()].count("token expires") == 1
    opened.say(type="cancel", turn=begun["turn"])
    while (frame := await opened.frame())["type"] != "message":
        pass
    assert frame["metadata"]["outcome"] == "cancelled"
    assert bridge.sockets == 1
    assert counted.held == 1
    await opened.close()
    assert counted.held == 0


class Counted:
    """Counts sockets."""

    def __init__(self) -> None:
        self.held = 0

    async def socket(self, caller: Principal, member: str) -> Counted:
        """See `SocketLimits`."""
        self.held += 1
        return self

    def release(self) -> None:
        """See `SocketSlot`."""
        self.held -= 1
