"""`responsa usage` and `responsa admin quotas`: requests, output and exit codes."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from responsa.admin.v1 import user_quota_pb2
from responsa.auth.v1 import user_usage_pb2
from tests.clients.command_line import CommandLine
from tests.clients.scripted import ADMIN, AUTH, Context, Scripted

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

    async def quota(_: Any, __: Context) -> user_quota_pb2.UserQuota:
        return user_quota_pb2.UserQuota(
            name=f"users/{ADA}/quota",
            tokens_per_day=user_quota_pb2.QuotaLimit(at_most=5000),
            cost_usd_micros_per_day=user_quota_pb2.QuotaLimit(unlimited=True),
            usage=usage(),
            etag="3",
        )

    server.on(f"{AUTH}/GetMyUsage", mine)
    server.on(f"{ADMIN}/GetUserQuota", quota)
    server.on(f"{ADMIN}/UpdateUserQuota", quota)


async def test_usage_is_shown_with_its_limits_and_reservations(responsa: CommandLine) -> None:
    done = await responsa("usage")
    assert (done.code, done.out.splitlines(), done.err) == (0, [TODAY, MONTH, STORED], "")
    (shown,) = (await responsa("usage", "--json")).lines
    assert shown["day"]["tokens"] == {"used": "1131", "reserved": "500", "limit": "5000"}


async def test_a_quota_is_shown(server: Scripted, responsa: CommandLine) -> None:
    done = await responsa("admin", "quotas", "show", ADA)
    own = "set for this user: tokens a day 5,000, cost a day unlimited"
    assert (done.code, done.out.splitlines()) == (0, [TODAY, MONTH, STORED, own])
    assert server.requests[f"{ADMIN}/GetUserQuota"][-1].name == f"users/{ADA}/quota"


async def test_limits_are_set_lifted_and_dropped(server: Scripted, responsa: CommandLine) -> None:
    given = (
        "--tokens-per-day",
        "0",
        "--tokens-per-month",
        "role",
        "--cost-per-day",
        "unlimited",
        "--cost-per-month",
        "0.50",
    )
    done = await responsa("admin", "quotas", "set", ADA, *given, "--etag", "2")
    assert done.code == 0
    sent = server.requests[f"{ADMIN}/UpdateUserQuota"][-1]
    assert sorted(sent.update_mask.paths) == [
        "cost_usd_micros_per_day",
        "cost_usd_micros_per_month",
        "tokens_per_day",
        "tokens_per_month",
    ]
    quota = sent.user_quota
    assert quota.tokens_per_day.WhichOneof("kind") == "at_most"
    assert not quota.HasField("tokens_per_month")
    assert quota.cost_usd_micros_per_day.unlimited
    assert (quota.cost_usd_micros_per_month.at_most, quota.etag) == (500_000, "2")


@pytest.mark.parametrize(
    "wrong",
    [
        (),
        ("--tokens-per-day", "-1"),
        ("--tokens-per-day", "1.5"),
        ("--tokens-per-day", "many"),
        ("--cost-per-day", "0.0000001"),
        ("--cost-per-month", "NaN"),
    ],
)
async def test_a_wrong_limit_is_refused_before_the_call(
    server: Scripted, responsa: CommandLine, wrong: tuple[str, ...]
) -> None:
    done = await responsa("admin", "quotas", "set", ADA, *wrong)
    assert done.code == 2
    assert done.err.startswith("responsa: ")
    assert f"{ADMIN}/UpdateUserQuota" not in server.requests
