"""Quotas: how many tokens of language models, and how much money, the turns of one user may use in a day and in a month (UTC).

A turn that may call a model reserves the most that it can use when it is accepted, and its end replaces the reservation
with what it has used. A reservation counts against the day and the month in which it is checked; what a turn has used
counts in the day and the month of its end. Money is in millionths of a US dollar.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import Exhausted, Precondition, Reason
from responsa_server.domain.formatting import counted
from responsa_server.domain.limits import Limits
from responsa_server.domain.models import FREE, Price
from responsa_server.domain.people import Role

TURN_TOKENS: Final = 100_000
"""The most tokens of one turn if neither the agent nor the settings limit them. It applies only to users who have a quota."""
MOST: Final = 10**15
"""The most that one turn reserves, and the largest quota of a role, so that sums fit into 64 bits."""
_BUSY_SECONDS: Final = 5.0


class Metric(StrEnum):
    """What a quota limits. TOKENS: the tokens that language models read and write. COST_MICROS: the cost of models with a known price."""

    TOKENS = "tokens"
    COST_MICROS = "cost_micros"


class Period(StrEnum):
    """The calendar period of a quota, in UTC."""

    DAY = "day"
    MONTH = "month"

    def begin(self, now: datetime) -> datetime:
        """The beginning of the period that contains `now`."""
        day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return day if self is Period.DAY else day.replace(day=1)

    def end(self, now: datetime) -> datetime:
        begin = self.begin(now)
        if self is Period.DAY:
            return begin + timedelta(days=1)
        return (begin + timedelta(days=32)).replace(day=1)


LIMITS: Final[Mapping[str, tuple[Metric, Period]]] = {
    f"{metric}_per_{period}": (metric, period) for metric in Metric for period in Period
}
"""The metric and the period of each field of `Quota`."""


@dataclass(frozen=True, slots=True)
class Quota:
    """The limits of one user, each at least 0; None for no limit."""

    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    cost_micros_per_day: int | None = None
    cost_micros_per_month: int | None = None

    def limit(self, metric: Metric, period: Period) -> int | None:
        value: int | None = getattr(self, f"{metric}_per_{period}")
        return value

    def limits(self, metric: Metric) -> bool:
        return any(self.limit(metric, period) is not None for period in Period)

    @property
    def unlimited(self) -> bool:
        return self == UNLIMITED


UNLIMITED: Final = Quota()


@dataclass(frozen=True, slots=True)
class QuotaRules:
    """The quotas of the settings. roles: the quota of each role; a role that is missing has no limits. turn_tokens: the
    most tokens that models may use for one turn if the agent has no limit of tokens and the user has a quota.
    """

    roles: Mapping[Role, Quota] = field(default_factory=dict[Role, Quota])
    turn_tokens: int = TURN_TOKENS

    def of(self, role: Role) -> Quota:
        return self.roles.get(role, UNLIMITED)


@dataclass(frozen=True, slots=True)
class QuotaException:
    """What an administrator has set for one user. limits: the limits that replace the role's, by the field of `Quota`;
    None lifts a limit. revision: the number of changes so far.
    """

    limits: Mapping[str, int | None] = field(default_factory=dict[str, int | None])
    revision: int = 0

    def over(self, role: Quota) -> Quota:
        """The user's quota. role: the quota of the user's role."""
        return Quota(**{name: self.limits.get(name, getattr(role, name)) for name in LIMITS})


@dataclass(frozen=True, slots=True)
class Demand:
    """The most that a turn can use, as far as its agent and its request limit it.

    tokens, cost_micros: these limits; 0 for no limit. price: the highest price of the models for one token, in
    millionths of a US dollar; 0 if the models are free or no price is known. least_tokens: a turn that gets fewer
    tokens is not worth beginning. unpriced: a model whose price is not known; "" if there is none.
    """

    tokens: int
    cost_micros: int
    price: Decimal
    least_tokens: int
    unpriced: str = ""

    @classmethod
    def of_price(cls, price: Price | None, tokens: int, cost_micros: int, least_tokens: int) -> Demand:
        """The demand at the highest price of the models; None without models."""
        price = price or FREE
        highest = max(price.input, price.cache_write, price.output)
        return cls(tokens, cost_micros, highest, least_tokens, price.unpriced)

    def most(self, metric: Metric, turn_tokens: int) -> int:
        """The most that the turn can use; 0 if it uses nothing that counts. turn_tokens: see `QuotaRules`."""
        tokens = min(self.tokens or turn_tokens, MOST)
        if metric is Metric.TOKENS:
            return tokens
        cost = min(math.ceil(tokens * self.price), MOST)
        return min(self.cost_micros, cost) if self.cost_micros else cost

    def least(self, metric: Metric, turn_tokens: int) -> int:
        """The least that makes the turn worth beginning, at least 1."""
        least = self.least_tokens if metric is Metric.TOKENS else math.ceil(self.least_tokens * self.price)
        return max(1, min(least, self.most(metric, turn_tokens)))


@dataclass(frozen=True, slots=True)
class Grant:
    """What a turn has reserved, and may use: tokens of language models and money. None: no quota limits this metric.
    short: the metrics of which the quota had less left than the turn can use.
    """

    tokens: int | None = None
    cost_micros: int | None = None
    short: frozenset[Metric] = frozenset()

    def of(self, metric: Metric) -> int | None:
        return self.tokens if metric is Metric.TOKENS else self.cost_micros


@dataclass(frozen=True, slots=True)
class UsedAmounts:
    """What a user's turns have used in the current day or month (`used`), or have reserved (`reserved`)."""

    tokens: int = 0
    cost_micros: int = 0

    def of(self, metric: Metric) -> int:
        return self.tokens if metric is Metric.TOKENS else self.cost_micros


@dataclass(frozen=True, slots=True)
class Totals:
    """The usage of one user at a moment. day, month: what ended turns have used since the beginning of the day and of
    the month. reserved: what open turns have reserved. day_messages, month_messages: the questions of the user's
    conversations since then. time: the moment, by the database's clock.
    """

    time: datetime
    day: UsedAmounts = field(default_factory=UsedAmounts)
    month: UsedAmounts = field(default_factory=UsedAmounts)
    reserved: UsedAmounts = field(default_factory=UsedAmounts)
    day_messages: int = 0
    month_messages: int = 0

    def total(self, metric: Metric, period: Period) -> int:
        return (self.day if period is Period.DAY else self.month).of(metric)


@dataclass(frozen=True, slots=True)
class StoredAmounts:
    """What a user has stored. size_bytes: see `PostgresLimits.bytes_of_user`. The other fields are the numbers of the
    user's documents, collections and conversations."""

    size_bytes: int = 0
    documents: int = 0
    collections: int = 0
    conversations: int = 0


@dataclass(frozen=True, slots=True)
class UserUsage:
    """A user's usage, quota, and what an administrator has set for the user. limits: the user's limits."""

    user_id: UUID
    usage: Totals
    quota: Quota
    exception: QuotaException
    stored: StoredAmounts = field(default_factory=StoredAmounts)
    limits: Limits = field(default_factory=Limits)

    @property
    def etag(self) -> str:
        """Changes with every change of the exception."""
        return str(self.exception.revision)


@dataclass(frozen=True, slots=True)
class _Shortage:
    """A quota that has too little left. least: what the turn needs. until: when the quota resets; None if open turns
    have reserved the rest, or if even the whole quota is too small.
    """

    metric: Metric
    period: Period
    limit: int
    used: int
    reserved: int
    least: int
    until: datetime | None


def grant_for(user_id: UUID, quota: Quota, usage: Totals, demand: Demand, turn_tokens: int) -> Grant | None:
    """What a turn may reserve: the most that it can use, or what the quota has left if this is less. None if no quota limits the turn.

    Raises Precondition (PRICE_UNKNOWN) for a quota in money if a model's price is not known, and Exhausted
    (QUOTA_EXHAUSTED) if the quota has less left than makes the turn worth beginning. Of several quotas
    that are used up, the error names the one that blocks the user for the longest time.
    """
    if demand.unpriced and quota.limits(Metric.COST_MICROS):
        raise error_of_unpriced(demand.unpriced, "Ask an administrator to enter it")
    amounts: dict[Metric, int] = {}
    short: set[Metric] = set()
    missing: list[_Shortage] = []
    for metric in Metric:
        highest = demand.most(metric, turn_tokens)
        limits = {period: limit for period in Period if (limit := quota.limit(metric, period)) is not None}
        if not limits or not highest:
            continue
        least, reserved = demand.least(metric, turn_tokens), usage.reserved.of(metric)
        left = min(limit - usage.total(metric, period) - reserved for period, limit in limits.items())
        for period, limit in limits.items():
            used = usage.total(metric, period)
            if limit - used - reserved < least:
                until = period.end(usage.time) if limit - used < least <= limit else None
                missing.append(_Shortage(metric, period, limit, used, reserved, least, until))
        amounts[metric] = min(highest, left)
        if left < highest:
            short.add(metric)
    if missing:
        worst = max(missing, key=lambda lack: (lack.limit < lack.least, lack.until or usage.time))
        raise _to_error(user_id, worst, usage.time)
    if not amounts:
        return None
    return Grant(amounts.get(Metric.TOKENS), amounts.get(Metric.COST_MICROS), frozenset(short))


def error_of_unpriced(model: str, remedy: str) -> Precondition:
    """The refusal to use a model, `provider:model`, while a limit is in money. remedy: what to do, as the beginning of a sentence."""
    message = f"The price of the model {model} is not known, so no limit in money can be kept. {remedy}, or ask for a limit in tokens."
    return Precondition(Reason.PRICE_UNKNOWN, message, {"model": model})


def _to_error(user_id: UUID, shortage: _Shortage, now: datetime) -> Exhausted:
    limit, used, reserved = (
        _to_words(shortage.metric, value) for value in (shortage.limit, shortage.used, shortage.reserved)
    )
    quota = f"quota of {limit} a {shortage.period}"
    wait: float | None = None
    if shortage.limit < shortage.least:
        message = (
            f"Your {quota} is too small for a question to this agent. Ask an administrator for a "
            "larger quota, or ask an agent without a language model."
        )
    elif shortage.until is None:
        message = f"Your open questions have reserved {reserved}, the rest of your {quota}. Wait for their answers, then ask again."
        wait = _BUSY_SECONDS
    else:
        reset = shortage.until.strftime("%Y-%m-%d %H:%M UTC")
        message = f"Your {quota} is used up: you have used {used}. Ask again from {reset} on, or ask an administrator for a larger quota."
        wait = float(max(1, math.ceil((shortage.until - now).total_seconds())))
    metadata = {
        "user": names.user(user_id),
        "quota": contract_name(f"{shortage.metric}_per_{shortage.period}"),
        "limit": str(shortage.limit),
        "used": str(shortage.used),
        "reserved": str(shortage.reserved),
        "reset_time": "" if shortage.until is None else shortage.until.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return Exhausted(Reason.QUOTA_EXHAUSTED, message, metadata, retry_after=wait)


def contract_name(limit: str) -> str:
    """The name of a field of `Quota` in the contract."""
    return limit.replace("cost_micros", "cost_usd_micros")


def _to_words(metric: Metric, value: int) -> str:
    if metric is Metric.TOKENS:
        return counted(value, "token")
    return f"{Decimal(value) / 1_000_000:,.6f}".rstrip("0").rstrip(".") + " US dollars"
