"""The open sockets of a process."""

from __future__ import annotations

from typing import NoReturn

import structlog
from starlette.websockets import WebSocket

from responsa_server.calls.chain import Calls
from responsa_server.calls.interceptors.limits import CallAdmission
from responsa_server.transports.ws.bridge import MOST_OF_ADDRESS, MOST_WAITING, Bridge, SocketSession


class Leaving(SocketSession):
    """Counts the requests to leave."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(WebSocket({"type": "websocket", "query_string": b"", "headers": []}, unused, unused), bridge)  # fmt: skip
        self.times = 0

    def leave(self) -> None:
        self.times += 1


async def unused(*_: object) -> NoReturn:
    raise AssertionError


def bridge_of() -> Bridge:
    return Bridge(Calls((), CallAdmission(1), structlog.get_logger("test")))


def test_all_are_asked_to_leave() -> None:
    bridge = bridge_of()
    sockets = [Leaving(bridge) for _ in range(3)]
    for socket in sockets:
        bridge.enter(socket)
    gone = Leaving(bridge)
    bridge.enter(gone)
    bridge.exit(gone)
    bridge.exit(gone)
    assert bridge.sockets == len(sockets)
    assert not bridge.leaving
    bridge.leave()
    assert bridge.leaving
    assert [one.times for one in sockets] == [1, 1, 1]
    assert gone.times == 0


def test_sockets_before_their_sign_in_are_counted_by_address() -> None:
    bridge = bridge_of()
    assert [bridge.wait("::1") for _ in range(MOST_OF_ADDRESS + 1)] == [True] * MOST_OF_ADDRESS + [False]
    assert bridge.wait("10.0.0.1")
    assert bridge.wait("")
    bridge.stop_waiting("::1")
    assert bridge.wait("::1")
    # An unknown address has no limit of addresses, but the process has one.
    assert [bridge.wait("") for _ in range(MOST_WAITING)].count(True) == MOST_WAITING - MOST_OF_ADDRESS - 2
