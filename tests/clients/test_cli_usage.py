"""`responsa usage`: output and exit codes."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from clients.conformance.server import Context
from responsa.auth.v1 import user_usage_pb2
from tests.clients.command_line import CommandLine
from tests.clients.scripted import (
    AUTH,
    Scripted,
)

ADA = "0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a10"
RESET = Timestamp(seconds=1_793_059_200)
TODAY = (
    "today  1 question; 1,131 of 5,000 tokens (500 more reserved); 0.000526 USD; ends 2026-10-27 00:00 UTC"
)
MONTH = "month  20 questions; 9,000 tokens; 1.00 of 2.50 USD; ends 2026-10-27 00:00 UTC"

STORED = "stored 35,111 of 1,000,000 bytes; 1 document; 2 collections; 3 of 10,000 conversations"


def usage() -> user_usage_pb2.UserUsage:
    day = user_usage_pb2.PeriodUsage(
        reset_time=RESET,
        message_count=1,
        tokens=user_usage_pb2.QuotaUsage(used=1131, reserved=500, limit=5000),
        cost_usd_micros=user_usage_pb2.QuotaUsage(used=526),
    )
    month = user_usage_pb2.PeriodUsage(
        reset_time=RESET,
        message_count=20,
        tokens=user_usage_pb2.QuotaUsage(used=9000),
        cost_usd_micros=user_usage_pb2.QuotaUsage(used=1_000_000, limit=2_500_000),
    )
    storage = user_usage_pb2.StorageUsage(
        stored_bytes=35_111,
        limit_bytes=1_000_000,
        document_count=1,
        collection_count=2,
        conversation_count=3,
        conversation_limit=10_000,
    )
    return user_usage_pb2.UserUsage(user=f"users/{ADA}", day=day, month=month, storage=storage)


@pytest.fixture(autouse=True)
def served(server: Scripted) -> None:
    async def mine(_: Any, __: Context) -> user_usage_pb2.UserUsage:
        return usage()

    server.on(f"{AUTH}/GetMyUsage", mine)


async def test_usage_is_shown_with_its_limits_and_reservations(responsa: CommandLine) -> None:
    done = await responsa("usage")
    assert (done.code, done.out.splitlines(), done.err) == (0, [TODAY, MONTH, STORED], "")
    (shown,) = (await responsa("usage", "--json")).lines
    assert shown["day"]["tokens"] == {"used": "1131", "reserved": "500", "limit": "5000"}
