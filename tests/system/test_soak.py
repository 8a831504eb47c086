"""Long campaigns that a normal test run leaves out: `pytest -m soak tests/system`. RESPONSA_SOAK_ROUNDS sets
the number of rounds (20 by default).
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

import grpc
import pytest

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa_local.embedded import LocalLayout
from tests.instance import Instance, eventually
from tests.system.test_kill import Asking, answers, kill, nothing_was_lost
from tests.transports import stub_of

ROLES = ("redis", "envoy", "server", "postgres", "supervisor", "guard")


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_whatever_is_killed_again_and_again(second: Instance) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    earlier: list[Asking] = []
    for _ in range(int(os.environ.get("RESPONSA_SOAK_ROUNDS", "20"))):
        role = dice.choice(ROLES)
        before = second.processes()[role]
        asking = Asking(second)
        kill(second, role)
        asking.let_go()
        if role in ("supervisor", "guard"):
            second.until_nothing_left()
            second.process.wait(60)
            second.start().until_ready()
        else:
            eventually(lambda role=role, before=before: second.processes().get(role, before) != before, role)
        eventually(lambda: answers(second), lambda: f"an answer; {second.said()}")
        earlier.append(asking)
        for one in earlier:
            nothing_was_lost(one)


@pytest.mark.soak
def test_a_server_without_envoy_bears_pings_every_ten_seconds(second: Instance) -> None:
    """gRPC allows one ping every ten seconds. Therefore three pings fit into a silence of half a minute."""
    options: Sequence[tuple[str, int | str]] = (
        ("grpc.keepalive_time_ms", 10_500),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.default_authority", "localhost"),
    )
    asking = Asking(second)
    try:
        target = f"unix:{LocalLayout.of(second.home).server_socket}"
        with grpc.insecure_channel(target, options) as channel:
            call = stub_of(channel, "ChatService").Ask(asking.request, metadata=asking.metadata, timeout=45)
            frames: list[chat.AskResponse] = [next(call)]
            # The heartbeats of the stream come every fifteen seconds.
            frames += [next(call), next(call), next(call)]
    finally:
        asking.let_go()
    assert len(frames) == 4
