"""Quotas in the transactions of turns: accept reserves, every end settles, and turns that begin at once never use more than the quota."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain import names
from responsa_server.domain.errors import Conflict, Exhausted, Reason, Unavailable
from responsa_server.domain.events import Usage
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.quotas import Demand, Grant, Metric, Quota, QuotaRules, UsedAmounts, UserUsage
from responsa_server.domain.turns import Claim, Conclusion, NewTurn, OnBusy, TurnState
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.quotas import PostgresQuotas
from responsa_server.stores.postgres.turns import PostgresTurnStore
from tests.conftest import DatabaseUrls
from tests.contract.cut_database import CutDatabase
from tests.contract.turn_steps import Store, append_of, cancelled, checkpoint, new_turn, row
from tests.raising import raises

Result = TypeVar("Result")

DEMAND = Demand(tokens=1000, cost_micros=0, price=Decimal("0.5"), least_tokens=20)
DAILY = QuotaRules({Role.USER: Quota(tokens_per_day=2500)})
MONEY = QuotaRules({Role.USER: Quota(cost_micros_per_month=600)})


def asks(demand: Demand | None = DEMAND, **more: Any) -> NewTurn:
    """A turn that may call a model."""
    return replace(new_turn(**more), demand=demand)


@pytest.fixture
def store(database_urls: DatabaseUrls, database: Database) -> Store:
    return Store(database_urls, database, rules=DAILY)


def with_rules(store: Store, rules: QuotaRules) -> Store:
    """The same store with other quotas."""
    return Store(store.urls, store.database, rules=rules)


async def usage_of(store: Store, caller: Principal | None = None, rules: QuotaRules = DAILY) -> UserUsage:
    asking = caller or store.ann
    return await PostgresQuotas(store.database, rules).usage(asking.tenant_id, asking.user_id)


def ends(read: int = 0, written: int = 0, micros: int = 0) -> Conclusion:
    return Conclusion(TurnState.FAILED, b"failed", Usage(0, read, written, micros))


async def ended(store: PostgresTurnStore, new: NewTurn, conclusion: Conclusion, grant: Grant | None) -> None:
    claim = Claim(new.id, "acme", 1, new.lease_seconds, grant)
    await store.finish(claim, [row(2)], conclusion)


async def test_an_agent_that_may_use_more_than_64_bits_gets_what_the_quota_has(store: Store) -> None:
    huge = replace(DEMAND, tokens=2**64)
    accepted = await store.take(asks(huge))
    assert accepted.grant == Grant(2500, None, frozenset({Metric.TOKENS}))


async def test_accept_reserves_and_finish_settles(store: Store) -> None:
    new = asks()
    accepted = await store.take(new)
    assert accepted.grant == Grant(1000, None, frozenset())
    before = (await usage_of(store)).usage
    assert (before.reserved, before.day, before.month) == (UsedAmounts(1000, 0), UsedAmounts(), UsedAmounts())
    assert (before.day_messages, before.month_messages) == (1, 1)
    await ended(store, new, ends(300, 100, 7), accepted.grant)
    after = (await usage_of(store)).usage
    assert (after.reserved, after.day, after.month) == (
        UsedAmounts(),
        UsedAmounts(400, 7),
        UsedAmounts(400, 7),
    )
    # A repeated finish is found, and counts nothing twice.
    await ended(store, new, ends(300, 100, 7), accepted.grant)
    assert (await usage_of(store)).usage.day == UsedAmounts(400, 7)
    assert (await usage_of(store, store.bob)).usage.day == UsedAmounts()


async def test_a_turn_gets_what_the_quota_has_left_and_the_next_one_is_refused(store: Store) -> None:
    grants = [(await store.take(asks())).grant for _ in range(3)]
    assert grants == [Grant(1000), Grant(1000), Grant(500, None, frozenset({Metric.TOKENS}))]
    request_id = uuid7()
    error = await raises(Exhausted, store.take(asks(request_id=request_id)))
    assert error.reason is Reason.QUOTA_EXHAUSTED
    assert dict(error.metadata) == {
        "user": names.user(store.ann.user_id),
        "quota": "tokens_per_day",
        "limit": "2500",
        "used": "0",
        "reserved": "2500",
        "reset_time": "",
    }
    assert error.retry_after is not None
    assert error.retry_after < 60
    assert store.count()["turn"] == store.count()["conversation"] == 3
    # Nothing was recorded, so the same request_id serves another question. Another user has another quota.
    other = asks(demand=None, text="Something else", request_id=request_id)
    assert not (await store.take(other)).attached
    assert (await store.take(asks(), store.bob)).grant == Grant(1000)


async def test_a_used_quota_says_when_it_resets(store: Store) -> None:
    new = asks()
    grant = (await store.take(new)).grant
    await ended(store, new, ends(2490), grant)
    caught = await raises(Exhausted, store.take(asks()))
    found = await usage_of(store)
    assert (caught.metadata["used"], caught.metadata["reserved"]) == ("2490", "0")
    assert caught.metadata["reset_time"] > found.usage.time.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert 0 < (caught.retry_after or 0) <= 86_400


async def test_money_is_reserved_at_the_highest_price(store: Store) -> None:
    store = with_rules(store, MONEY)
    first, second = asks(), asks()
    assert (await store.take(first)).grant == Grant(None, 500)
    accepted = await store.take(second)
    assert accepted.grant == Grant(None, 100, frozenset({Metric.COST_MICROS}))
    caught = await raises(Exhausted, store.take(asks()))
    assert caught.metadata["quota"] == "cost_usd_micros_per_month"
    # Free models cost no money, and a turn without a model is never refused.
    assert (await store.take(asks(replace(DEMAND, price=Decimal(0))))).grant is None
    assert (await store.take(asks(None))).grant is None


async def test_attaching_costs_nothing(store: Store) -> None:
    store = with_rules(store, QuotaRules({Role.USER: Quota(tokens_per_day=1000)}))
    new = asks(request_id=uuid7())
    first = await store.take(new)
    again = await store.take(new)
    assert (again.turn_id, again.attached, again.grant) == (new.id, False, first.grant)
    other = await store.take(replace(new, id=uuid7(), conversation_id=uuid7()))
    assert (other.turn_id, other.attached) == (new.id, True)
    assert (await usage_of(store)).usage.reserved == UsedAmounts(1000, 0)


async def patiently(call: Callable[[], Awaitable[Result]]) -> Result:
    """Make a call again for which no connection became free in time: on a busy machine, a thousand calls at once wait longer."""
    while True:
        with contextlib.suppress(Unavailable):
            return await call()


@pytest.mark.parametrize("turns", [40, pytest.param(1000, marks=pytest.mark.soak)])
async def test_turns_at_once_never_use_more_than_the_quota(store: Store, turns: int) -> None:
    limit = turns * 40
    store = with_rules(store, QuotaRules({Role.USER: Quota(tokens_per_day=limit)}))

    async def used_by_one(place: int) -> int:
        """Returns what the turn used: everything that it was granted, which is the worst case."""
        new = asks(replace(DEMAND, tokens=100 + place % 7))
        try:
            grant = (await patiently(lambda: store.take(new))).grant
        except Exhausted as error:
            refused.append(error.reason)
            return 0
        assert grant is not None
        assert grant.tokens is not None
        if place % 5 == 0:
            await patiently(lambda: store.cancel(store.ann, new.id, True, cancelled))
            return 0
        end = ends(grant.tokens - 1, 1)
        await patiently(lambda: ended(store, new, end, grant))
        return grant.tokens

    refused: list[Reason] = []
    spent = list(await asyncio.gather(*(used_by_one(place) for place in range(turns))))
    assert set(refused) == {Reason.QUOTA_EXHAUSTED}
    # Cancelled turns have released what they had reserved. Further turns use the rest, and not more.
    refused.clear()
    while not refused:
        spent.append(await used_by_one(1))
    usage = (await usage_of(store)).usage
    assert usage.reserved == UsedAmounts()
    assert usage.day.tokens == sum(spent)
    # Less than one turn's least is left.
    assert limit - DEMAND.least_tokens < usage.day.tokens <= limit


async def test_cancelling_releases_and_the_stopped_worker_books(store: Store) -> None:
    new = asks()
    grant = (await store.take(new)).grant
    claim = Claim(new.id, "acme", 1, 60.0, grant)
    await store.append(
        [append_of(claim, row(2), checkpoint=replace(checkpoint(2), usage=Usage(0, 100, 50, 3)))]
    )
    await store.cancel(store.ann, new.id, True, cancelled)
    usage = (await usage_of(store)).usage
    assert (usage.reserved, usage.day) == (UsedAmounts(), UsedAmounts(150, 3))
    for _ in range(2):
        await store.record_usage(claim, Usage(0, 20, 5, 1))
    assert (await usage_of(store)).usage.day == UsedAmounts(175, 4)


async def test_a_takeover_keeps_the_reservation(store: Store) -> None:
    new = asks(lease_seconds=0.0)
    grant = (await store.take(new)).grant
    (taken,) = await store.claim_all()
    assert taken.claim.grant == grant
    assert (await usage_of(store)).usage.reserved == UsedAmounts(1000, 0)
    await store.finish(taken.claim, [row(2)], ends(600))
    usage = (await usage_of(store)).usage
    assert (usage.reserved, usage.day) == (UsedAmounts(), UsedAmounts(600, 0))


async def test_an_interrupted_turn_makes_room_for_its_successor(store: Store) -> None:
    store = with_rules(store, QuotaRules({Role.USER: Quota(tokens_per_day=1000)}))
    first = asks()
    await store.take(first)
    second = asks(conversation=first.conversation_id, on_busy=OnBusy.INTERRUPT)
    accepted = await store.take(second)
    assert ([one.turn_id for one in accepted.ended], accepted.grant) == ([first.id], Grant(1000))
    # A refused question interrupts nothing.
    third = asks(
        replace(DEMAND, least_tokens=2000, tokens=3000),
        conversation=first.conversation_id,
        on_busy=OnBusy.INTERRUPT,
    )
    await raises(Exhausted, store.take(third))
    assert await store.state(second) is TurnState.RUNNING
    assert (await usage_of(store)).usage.reserved == UsedAmounts(1000, 0)


async def test_queued_turns_reserve_when_they_are_accepted(store: Store) -> None:
    first = asks()
    grant = (await store.take(first)).grant
    queued = asks(conversation=first.conversation_id, on_busy=OnBusy.QUEUE)
    accepted = await store.take(queued)
    assert (accepted.state, accepted.grant) == (TurnState.QUEUED, Grant(1000))
    await ended(store, first, ends(10), grant)
    (taken,) = await store.claim_all()
    assert (taken.claim.turn_id, taken.claim.grant) == (queued.id, Grant(1000))


async def test_usage_is_counted_without_a_quota(store: Store) -> None:
    store, new = with_rules(store, QuotaRules()), asks()
    assert (await store.take(new)).grant is None
    await ended(store, new, ends(300, 1, 9), None)
    found = await usage_of(store, rules=QuotaRules())
    assert (found.usage.day, found.usage.reserved, found.quota.unlimited) == (
        UsedAmounts(301, 9),
        UsedAmounts(),
        True,
    )


@pytest.mark.parametrize("times", [1, 2])
async def test_a_lost_commit_of_accept_and_of_finish_counts_once(
    cut_database: CutDatabase, cut_store: Store, times: int
) -> None:
    store, new = with_rules(cut_store, DAILY), asks(request_id=uuid7())

    async def sure(work: Callable[[], Any]) -> Any:
        cut_database.cut = times
        for _ in range(times):
            await raises(Unavailable, work())
        return await work()

    accepted = await sure(lambda: store.take(new))
    assert (accepted.attached, accepted.grant) == (False, Grant(1000))
    assert (await usage_of(store)).usage.reserved == UsedAmounts(1000, 0)
    await sure(lambda: ended(store, new, ends(200), accepted.grant))
    usage = (await usage_of(store)).usage
    assert (usage.reserved, usage.day) == (UsedAmounts(), UsedAmounts(200, 0))


async def test_days_and_months_begin_at_zero_and_keep_reservations(store: Store) -> None:
    new = asks()
    grant = (await store.take(new)).grant
    store.urls.ask("UPDATE responsa.user_usage SET day_tokens = 2400, month_tokens = 2400")
    await raises(Exhausted, store.take(asks()))
    store.urls.ask("UPDATE responsa.user_usage SET day = day - 1")
    usage = (await usage_of(store)).usage
    assert (usage.day, usage.month, usage.reserved) == (
        UsedAmounts(),
        UsedAmounts(2400, 0),
        UsedAmounts(1000, 0),
    )
    await ended(store, new, ends(100), grant)
    usage = (await usage_of(store)).usage
    assert (usage.day, usage.month) == (UsedAmounts(100, 0), UsedAmounts(2500, 0))
    store.urls.ask("UPDATE responsa.user_usage SET month = month - interval '1 month'")
    other = asks()
    await ended(store, other, ends(7), (await store.take(other)).grant)
    usage = (await usage_of(store)).usage
    assert (usage.day, usage.month) == (UsedAmounts(107, 0), UsedAmounts(7, 0))


async def test_pruned_checkpoints_are_counted_with_the_end(store: Store) -> None:
    new = asks(lease_seconds=0.0)
    grant = (await store.take(new)).grant
    claim = Claim(new.id, "acme", 1, 0.0, grant)
    await store.append(
        [append_of(claim, row(2), checkpoint=replace(checkpoint(2), usage=Usage(0, 100, 50, 3)))]
    )
    store.urls.ask("UPDATE responsa.turn_checkpoint SET update_time = now() - interval '9 h'")
    assert await store.prune_checkpoints(1) == 1
    (taken,) = await store.claim_all()
    await store.finish(taken.claim, [row(3)], ends(10))
    usage = (await usage_of(store)).usage
    assert (usage.reserved, usage.day) == (UsedAmounts(), UsedAmounts(160, 3))


async def set_limits(
    quotas: PostgresQuotas,
    caller: Principal,
    change: dict[str, int | None],
    dropped: Sequence[str] = (),
    etag: str = "",
    user_id: UUID | None = None,
) -> UserUsage:
    acting = replace(caller, act="user.update_quota")
    return await quotas.update(acting, user_id or caller.user_id, change, frozenset(dropped), etag)


async def test_an_exception_replaces_the_limits_of_the_role(store: Store) -> None:
    quotas, store = PostgresQuotas(store.database, DAILY), with_rules(store, DAILY)
    changed = await set_limits(quotas, store.ann, {"tokens_per_day": 700, "cost_micros_per_day": 100})
    assert changed.quota == Quota(tokens_per_day=700, cost_micros_per_day=100)
    accepted = await store.take(asks())
    assert accepted.grant == Grant(700, 100, frozenset(Metric))
    lifted = await set_limits(
        quotas, store.ann, {"tokens_per_day": None}, ["cost_micros_per_day"], changed.etag
    )
    assert (lifted.quota, lifted.exception.limits) == (Quota(), {"tokens_per_day": None})
    assert (await store.take(asks())).grant is None
    await raises(Conflict, set_limits(quotas, store.ann, {"tokens_per_day": 1}, etag=changed.etag))
    again = await set_limits(quotas, store.ann, {"tokens_per_day": None})
    assert again.etag == lifted.etag
    restored = await set_limits(quotas, store.ann, {}, ["tokens_per_day"])
    assert restored.quota == Quota(tokens_per_day=2500)
    # Each of the three changes is audited; the call that changed nothing and the refused one are not.
    assert (
        store.urls.value("SELECT count(*) FROM responsa.audit_event WHERE action = 'user.update_quota'") == 3
    )
    assert (await usage_of(store, store.bob)).quota == Quota(tokens_per_day=2500)


async def test_an_exception_limits_a_user_whose_role_has_no_limits(store: Store) -> None:
    quotas, store = PostgresQuotas(store.database, QuotaRules()), with_rules(store, QuotaRules())
    assert (await store.take(asks())).grant is None
    await set_limits(quotas, store.ann, {"tokens_per_month": 0})
    caught = await raises(Exhausted, store.take(asks()))
    assert (caught.metadata["quota"], caught.retry_after) == ("tokens_per_month", None)
    assert (await store.take(asks(), store.bob)).grant is None


async def test_concurrent_first_changes_of_an_exception_all_remain(store: Store) -> None:
    quotas = PostgresQuotas(store.database, QuotaRules())
    fields = ("tokens_per_day", "tokens_per_month", "cost_micros_per_day", "cost_micros_per_month")
    await asyncio.gather(*(set_limits(quotas, store.ann, {name: 5}) for name in fields))
    assert (await usage_of(store)).quota == Quota(5, 5, 5, 5)


async def test_two_processes_that_end_turns_of_many_users_do_not_block_each_other(store: Store) -> None:
    """Each process ends the turns of both users together, in the opposite order."""
    stores = [with_rules(store, DAILY), with_rules(store, DAILY)]
    small = replace(DEMAND, tokens=1, least_tokens=1)
    for _ in range(10):
        turns: list[tuple[PostgresTurnStore, NewTurn, Grant | None]] = []
        for who in (store.ann, store.bob, store.bob, store.ann):
            new = asks(small)
            accepted = await stores[0].accept(who, new, cancelled)
            turns.append((stores[len(turns) // 2], new, accepted.grant))
        await asyncio.gather(*(ended(store, new, ends(1), grant) for store, new, grant in turns))
    assert store.urls.value("SELECT sum(day_tokens) FROM responsa.user_usage") == 40
    assert store.urls.value("SELECT sum(reserved_tokens) FROM responsa.user_usage") == 0
