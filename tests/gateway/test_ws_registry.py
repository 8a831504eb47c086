"""The open sockets of a user."""

from __future__ import annotations

from typing import NoReturn

import structlog
from starlette.websockets import WebSocket

from responsa_server.calls.chain import Calls
from responsa_server.calls.interceptors.limits import Admission
from responsa_server.transports.ws.bridge import Bridge, Owner, Session

ANNE, BERT, NAMESAKE = (
    Owner("tenants/a", "users/1"),
    Owner("tenants/a", "users/2"),
    Owner("tenants/b", "users/1"),
)


class Leaving(Session):
    """Counts the requests to leave."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(WebSocket({"type": "websocket", "query_string": b"", "headers": []}, unused, unused), bridge)  # fmt: skip
        self.times = 0

    def leave(self) -> None:
        self.times += 1


async def unused(*_: object) -> NoReturn:
    raise AssertionError


def bridge_of(most_per_address: int = 0) -> Bridge:
    return Bridge(Calls((), Admission(1), structlog.get_logger("test")), most_per_address=most_per_address)


def test_sockets_by_user_and_teacher() -> None:
    bridge = bridge_of()
    first, second, other = Leaving(bridge), Leaving(bridge), Leaving(bridge)
    bridge.enter(ANNE, first)
    bridge.enter(ANNE, second)
    bridge.enter(NAMESAKE, other)
    bridge.about(ANNE, second, "t1")
    assert [*bridge.of(ANNE)] == [first, second]
    assert [*bridge.of(ANNE, "t1")] == [second]
    assert [*bridge.of(ANNE, "")] == [first]
    assert [*bridge.of(NAMESAKE)] == [other]
    assert [*bridge.of(BERT)] == []
    bridge.exit(ANNE, second)
    bridge.exit(ANNE, second)
    # A socket that has left is not recorded again.
    bridge.about(ANNE, second, "t1")
    assert [*bridge.of(ANNE)] == [first]


def test_all_are_asked_to_leave() -> None:
    bridge = bridge_of()
    sockets = [Leaving(bridge) for _ in range(3)]
    for owner, socket in zip((ANNE, ANNE, BERT), sockets, strict=True):
        bridge.enter(owner, socket)
    assert not bridge.leaving
    bridge.leave()
    assert bridge.leaving
    assert [one.times for one in sockets] == [1, 1, 1]


def test_sockets_before_their_sign_in_are_counted_by_address() -> None:
    bridge = bridge_of(most_per_address=2)
    assert [bridge.wait(address) for address in ("::1", "::1", "::1", "10.0.0.1", "")] == [
        True,
        True,
        False,
        True,
        True,
    ]
    bridge.waited("::1")
    assert bridge.wait("::1")
    # An unknown address has no limit of addresses, but the process has one.
    most = bridge.settings.before_sign_in
    assert [bridge.wait("") for _ in range(most)].count(True) == most - 4
