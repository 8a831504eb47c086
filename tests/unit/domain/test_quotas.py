from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest

from responsa_server.domain.errors import Exhausted, Precondition, Reason
from responsa_server.domain.people import Role
from responsa_server.domain.quotas import (
    UNLIMITED,
    Demand,
    Grant,
    Metric,
    Period,
    Quota,
    QuotaException,
    QuotaRules,
    Totals,
    UsedAmounts,
    grant_for,
)
from responsa_server.identity.settings import QuotaSettings

USER = UUID("0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a10")
NOON = datetime(2026, 12, 31, 12, tzinfo=UTC)
NOTHING = Totals(NOON)
DEMAND = Demand(tokens=1000, cost_micros=0, price=Decimal("2.5"), least_tokens=10)


def grant(quota: Quota, usage: Totals = NOTHING, demand: Demand = DEMAND) -> Grant | None:
    return grant_for(USER, quota, usage, demand, 5000)


def refusal(quota: Quota, usage: Totals = NOTHING, demand: Demand = DEMAND) -> Exhausted:
    with pytest.raises(Exhausted) as caught:
        grant(quota, usage, demand)
    return caught.value


def test_a_quota_in_money_refuses_a_model_without_a_price() -> None:
    unpriced = replace(DEMAND, unpriced="lab:m")
    with pytest.raises(Precondition) as caught:
        grant(Quota(cost_micros_per_month=10**9), demand=unpriced)
    assert (caught.value.reason, caught.value.metadata) == (Reason.PRICE_UNKNOWN, {"model": "lab:m"})
    assert grant(Quota(tokens_per_day=1000), demand=unpriced) == Grant(1000)


def test_periods_are_of_the_calendar_in_utc() -> None:
    assert (Period.DAY.begin(NOON), Period.DAY.end(NOON)) == (
        datetime(2026, 12, 31, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    )
    assert (Period.MONTH.begin(NOON), Period.MONTH.end(NOON)) == (
        datetime(2026, 12, 1, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    )
    late = datetime(2026, 2, 28, 23, tzinfo=timezone(timedelta(hours=-3)))
    assert Period.MONTH.begin(late) == Period.DAY.begin(late) == datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("quota", "demand", "expected"),
    [
        (UNLIMITED, DEMAND, None),
        (Quota(tokens_per_day=1000), DEMAND, Grant(1000)),
        (Quota(tokens_per_day=999), DEMAND, Grant(999, None, frozenset({Metric.TOKENS}))),
        (Quota(tokens_per_day=9000, tokens_per_month=10), DEMAND, Grant(10, None, frozenset({Metric.TOKENS}))),
        # Without a limit of the agent, the settings limit the turn.
        (Quota(tokens_per_day=9000), replace(DEMAND, tokens=0), Grant(5000)),
        # Money: the tokens at the highest price, or the limit of the request.
        (Quota(cost_micros_per_day=9000), DEMAND, Grant(None, 2500)),
        (Quota(cost_micros_per_day=9000), replace(DEMAND, cost_micros=70), Grant(None, 70)),
        (Quota(cost_micros_per_day=9000), replace(DEMAND, cost_micros=7000), Grant(None, 2500)),
        (Quota(cost_micros_per_day=0), replace(DEMAND, price=Decimal(0)), None),
        (Quota(tokens_per_day=2000, cost_micros_per_month=100), DEMAND, Grant(1000, 100, frozenset({Metric.COST_MICROS}))),
    ],
)  # fmt: skip
def test_what_is_granted(quota: Quota, demand: Demand, expected: Grant | None) -> None:
    assert grant(quota, demand=demand) == expected


def test_what_is_used_and_what_is_reserved_count_together() -> None:
    usage = Totals(NOON, day=UsedAmounts(300, 0), month=UsedAmounts(700, 0), reserved=UsedAmounts(200, 0))
    assert grant(Quota(tokens_per_day=1000), usage) == Grant(500, None, frozenset({Metric.TOKENS}))
    assert grant(Quota(tokens_per_month=1000), usage) == Grant(100, None, frozenset({Metric.TOKENS}))


def test_a_used_quota_names_its_end_and_the_longest_wait_counts() -> None:
    usage = Totals(NOON - timedelta(days=3), day=UsedAmounts(995, 0), month=UsedAmounts(2995, 0))
    error = refusal(Quota(tokens_per_day=1000, tokens_per_month=3000), usage)
    assert error.metadata["quota"] == "tokens_per_month"
    assert error.metadata["reset_time"] == "2027-01-01T00:00:00Z"
    assert error.retry_after == 3.5 * 86_400
    assert "Your quota of 3,000 tokens a month is used up: you have used 2,995 tokens." in error.message
    assert refusal(Quota(tokens_per_day=1000), usage).retry_after == 43_200


def test_a_reserved_quota_is_free_again_soon() -> None:
    error = refusal(Quota(cost_micros_per_day=1_500_000), Totals(NOON, reserved=UsedAmounts(0, 1_499_990)))
    assert (error.metadata["reset_time"], error.retry_after) == ("", 5.0)
    assert "have reserved 1.49999 US dollars, the rest of your quota of 1.5 US dollars a day" in error.message


def test_waiting_does_not_help_if_the_whole_quota_is_too_small() -> None:
    error = refusal(Quota(tokens_per_day=9, tokens_per_month=50), Totals(NOON, month=UsedAmounts(45, 0)))
    assert (error.metadata["quota"], error.metadata["reset_time"], error.retry_after) == (
        "tokens_per_day",
        "",
        None,
    )
    assert "too small" in error.message


def test_a_quota_that_is_just_enough_for_a_turn_is_worth_waiting_for() -> None:
    """The tokens of a day would be enough once they are free; the money of the month comes back later."""
    usage = Totals(NOON - timedelta(days=3), day=UsedAmounts(5, 0), month=UsedAmounts(5, 2000))
    quota = Quota(tokens_per_day=10, cost_micros_per_month=2000)
    assert refusal(quota, usage).metadata["quota"] == "cost_usd_micros_per_month"


def test_exceptions_and_roles() -> None:
    settings = QuotaSettings.model_validate({"tokens_per_day": 5, "cost_micros_per_day": 6})
    assert {settings.rules.of(role) for role in Role} == {Quota(5, None, 6)}
    assert QuotaSettings().rules.of(Role.USER).unlimited
    assert QuotaRules().of(Role.SERVICE).unlimited
    own = QuotaException({"tokens_per_day": None, "tokens_per_month": 0})
    assert own.over(settings.rules.of(Role.USER)) == Quota(None, 0, 6)
