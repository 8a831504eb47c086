"""Which sockets a user has open."""

from __future__ import annotations

import pytest

from responsa_server.domain.errors import Exhausted, Reason
from responsa_server.transports.ws.auth import Owner
from responsa_server.transports.ws.registry import Registry

ANNE, BERT, NAMESAKE = (
    Owner("tenants/a", "users/1"),
    Owner("tenants/a", "users/2"),
    Owner("tenants/b", "users/1"),
)


class Told:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.times = 0

    def leave(self) -> None:
        self.times += 1


def test_sockets_by_user_and_teacher() -> None:
    registry, first, second, other = Registry(2), Told(), Told(), Told()
    registry.enter(ANNE, first)
    registry.enter(ANNE, second)
    registry.enter(NAMESAKE, other)
    registry.about(ANNE, second, "t1")
    assert [*registry.of(ANNE)] == [first, second]
    assert [*registry.of(ANNE, "t1")] == [second]
    assert [*registry.of(ANNE, "")] == [first]
    assert [*registry.of(NAMESAKE)] == [other]
    assert [*registry.of(BERT)] == []
    registry.exit(ANNE, second)
    registry.exit(ANNE, second)
    # What has left is about nothing any more.
    registry.about(ANNE, second, "t1")
    assert [*registry.of(ANNE)] == [first]


def test_a_user_has_so_many_and_no_more() -> None:
    registry, first = Registry(1), Told()
    registry.enter(ANNE, first)
    with pytest.raises(Exhausted) as raised:
        registry.enter(ANNE, Told())
    assert (raised.value.reason, raised.value.metadata) == (Reason.OVERLOADED, {"limit": "1"})
    registry.exit(ANNE, first)
    registry.enter(ANNE, Told())


def test_all_are_told_to_leave() -> None:
    registry, sockets = Registry(4), [Told() for _ in range(3)]
    for owner, socket in zip((ANNE, ANNE, BERT), sockets, strict=True):
        registry.enter(owner, socket)
    assert not registry.leaving
    registry.leave()
    assert registry.leaving
    assert [one.times for one in sockets] == [1, 1, 1]
