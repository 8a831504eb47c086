"""The limits of callers on real PostgreSQL and Redis: one count for all processes, which becomes stricter without Redis and never opens."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import replace
from typing import TypeVar

import pytest
from uuid_utils.compat import uuid7

from responsa_local.embedded.redis import EmbeddedRedis
from responsa_server.domain.errors import Exhausted, NotFound, Reason, ResponsaError
from responsa_server.domain.limits import DAY, AcceptLimits, CountsAway, Limits, Room, Scope
from responsa_server.domain.people import NewKey, Principal, Role
from responsa_server.domain.quotas import QuotaRules
from responsa_server.domain.turns import Ending, OpenTurn, Question, TurnState
from responsa_server.identity.credentials import CredentialCache
from responsa_server.identity.limits import FIXED, Hold, LimitBook, Limiter, QuotaAdministration
from responsa_server.identity.settings import (
    LimitSettings,
    ServiceLimitSettings,
    TenantLimitSettings,
    UserLimitSettings,
)
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.limits import PostgresLimits
from responsa_server.stores.postgres.quotas import PostgresQuotas
from responsa_server.stores.postgres.turns import PostgresTurnStore
from responsa_server.stores.postgres.users import PostgresUsers
from responsa_server.stores.rates import (
    LocalRates,
    RedisAvailability,
    RedisHolds,
    RedisMessages,
    RedisRates,
    Reserved,
)
from responsa_server.stores.redis import redis_client
from tests.contract.library_harness import Harness
from tests.contract.people import People
from tests.contract.test_identity import identity_of
from tests.contract.turn_harness import NO_REDIS, Script, Services
from tests.contract.turn_steps import Store, new_turn
from tests.raising import raises

Result = TypeVar("Result")


def limits(**values: int) -> LimitSettings:
    """Settings with these limits of users, and no other settings of limits of users and tenants."""
    none = dict.fromkeys(UserLimitSettings.model_fields, 0)
    user = UserLimitSettings(**{**none, **values})
    tenant = TenantLimitSettings(**dict.fromkeys(TenantLimitSettings.model_fields, 0))
    return LimitSettings(user=user, tenant=tenant)


@asynccontextmanager
async def limiter(
    database: Database,
    url: str,
    settings: LimitSettings,
    *,
    fixed: Limits | None = None,
    hold_seconds: int = 60,
    renew_seconds: float = 15.0,
    kind: type[RedisHolds] = RedisHolds,
    availability: RedisAvailability | None = None,
) -> AsyncGenerator[Limiter]:
    """The limits of one process. fixed: those of the role USER that are no settings."""
    store = PostgresLimits(database)
    async with AsyncExitStack() as stack:
        availability = availability or RedisAvailability(url)
        rates, messages = RedisRates(url, availability), RedisMessages(url, availability)
        holds = kind(url, hold_seconds, availability)
        for part in (rates, holds, messages):
            stack.push_async_callback(part.close)
        made = Limiter(
            settings,
            LimitBook(
                settings,
                store,
                PostgresUsers(database),
                FIXED if fixed is None else {**FIXED, Role.USER.value: fixed},
            ),
            store,
            Reserved(rates),
            Reserved(LocalRates()),
            holds,
            messages,
            renew_seconds,
        )
        stack.push_async_callback(made.close)
        yield made


@pytest.fixture
async def two(database: Database, redis: EmbeddedRedis) -> AsyncIterator[tuple[Limiter, Limiter]]:
    """Two processes with one count: ten messages a minute."""
    settings = limits(messages_per_minute=10)
    async with limiter(database, redis.url, settings) as one, limiter(database, redis.url, settings) as other:
        yield one, other


async def refused(work: Awaitable[object]) -> Exhausted:
    return await raises(Exhausted, work)


async def admitted(gates: tuple[Limiter, ...], caller: Principal, count: int) -> int:
    """Ask `count` questions at once, over all processes. Returns how many of them were admitted."""
    outcomes = await asyncio.gather(
        *(gates[place % len(gates)].admit(caller, uuid7()) for place in range(count)), return_exceptions=True
    )
    for outcome in outcomes:
        assert isinstance(outcome, AcceptLimits) or (
            isinstance(outcome, Exhausted) and outcome.reason is Reason.RATE_LIMIT
        ), outcome
    return sum(isinstance(outcome, AcceptLimits) for outcome in outcomes)


async def flush(redis: EmbeddedRedis) -> None:
    client = redis_client(redis.url, 5.0)
    try:
        await client.flushall()  # pyright: ignore[reportUnknownMemberType]  # its extra arguments
    finally:
        await client.aclose()


async def accept(store: PostgresTurnStore, caller: Principal, gate: Limiter) -> None:
    """Ask a question: its message, and its turn."""
    turn = new_turn(request_id=uuid7())
    await gate.admit(caller, turn.id)
    await store.accept(caller, turn, _no_interrupt)


def _no_interrupt(_: OpenTurn) -> Ending:
    raise AssertionError("nothing to interrupt")


async def test_two_processes_share_one_count_and_the_eleventh_message_is_refused_with_a_time(
    two: tuple[Limiter, Limiter], people: People
) -> None:
    for place in range(10):
        await two[place % 2].admit(people.ann, uuid7())
    for gate in two:
        error = await refused(gate.admit(people.ann, uuid7()))
        assert error.reason is Reason.RATE_LIMIT
        assert error.metadata == {"limit": "messages_per_minute", "scope": "user", "value": "10"}
        assert error.retry_after is not None
        assert 55 < error.retry_after <= 60
    await two[0].admit(people.bob, uuid7())


async def test_a_flushed_redis_is_filled_again_from_the_turns(
    store: Store, two: tuple[Limiter, Limiter], redis: EmbeddedRedis
) -> None:
    for _ in range(7):
        await accept(store, store.ann, two[0])
    await flush(redis)
    # Both processes look into the database at the same time; the messages count once.
    assert await admitted(two, store.ann, 40) == 3


async def test_when_redis_is_back_the_messages_of_the_meantime_count(
    store: Store, database: Database, redis: EmbeddedRedis
) -> None:
    async with limiter(database, redis.url, limits(messages_per_minute=10)) as one:
        redis.stop()
        for _ in range(5):
            await accept(store, store.ann, one)
        redis.start()
        async with limiter(database, redis.url, limits(messages_per_minute=10)) as other:
            assert await admitted((other,), store.ann, 30) == 5


async def test_without_redis_a_message_is_given_back_in_the_database(
    database: Database, people: People
) -> None:
    async with limiter(database, NO_REDIS, limits(messages_per_minute=2)) as one:
        turn_id = uuid7()
        await one.admit(people.ann, turn_id)
        await refused(one.admit(people.ann, uuid7()))
        await one.give_back(people.ann, turn_id)
        await one.admit(people.ann, uuid7())


async def test_a_refused_question_costs_no_message(
    database: Database, redis: EmbeddedRedis, people: People
) -> None:
    harness = Services(database)
    async with (
        limiter(database, redis.url, limits(messages_per_minute=1)) as gate,
        harness.turns(Script(), gate=gate) as turns,
    ):
        for _ in range(3):
            await raises(NotFound, turns.accept(people.ann, Question("?", uuid7()), None))
        await turns.accept(people.ann, Question("How long is the Nile?"), None)
        await refused(turns.accept(people.ann, Question("How long is the Nile?"), None))


async def test_questions_with_one_request_id_at_once_cost_one_message_and_none_of_them_takes_it_back(
    database: Database, redis: EmbeddedRedis, people: People
) -> None:
    harness = Services(database)
    async with (
        limiter(database, redis.url, limits(messages_per_minute=20)) as gate,
        harness.turns(Script(), gate=gate) as turns,
    ):
        asked, missing = Question("How long is the Nile?"), Question("How long is the Nile?", uuid7())
        for _ in range(10):
            # The second question is refused, for want of its conversation or because the first has its request_id. Its
            # refusal must not give the first one's message back.
            request_id = uuid7()
            found = await asyncio.gather(
                *(turns.accept(people.ann, one, request_id) for one in (asked, missing, asked)),
                return_exceptions=True,
            )
            assert isinstance(found[1], ResponsaError)
            assert not any(isinstance(found[place], BaseException) for place in (0, 2))
        assert await harness.value("SELECT count(*) FROM responsa.turn") == 10
        assert await admitted((gate,), people.ann, 40) == 10


async def test_many_questions_at_once_never_pass_the_limit_of_open_turns(
    database: Database, redis: EmbeddedRedis, people: People
) -> None:
    harness = Services(database)
    waiting = asyncio.Event()
    async with (
        limiter(database, redis.url, limits(pending_turns=7)) as gate,
        harness.turns(Script([waiting]), gate=gate) as first,
        harness.turns(Script([waiting]), gate=gate) as other,
    ):
        outcomes = await asyncio.gather(
            *((first, other)[place % 2].accept(people.ann, Question("?"), uuid7()) for place in range(50)),
            return_exceptions=True,
        )
        errors = [found for found in outcomes if isinstance(found, ResponsaError)]
        assert len(outcomes) - len(errors) == 7
        assert {found.reason for found in errors} == {Reason.LIMIT_REACHED}
        assert errors[0].metadata == {"limit": "pending_turns", "scope": "user", "value": "7"}
        open_turns = "SELECT count(*) FROM responsa.turn WHERE state IN ('queued', 'pending', 'running')"
        assert await harness.value(open_turns) == 7
        assert (await first.accept(people.bob, Question("?"), None)).state is TurnState.RUNNING


async def test_two_processes_share_the_count_of_calls(
    database: Database, redis: EmbeddedRedis, people: People
) -> None:
    settings = limits(calls_per_minute=400)
    async with (
        limiter(database, redis.url, settings) as first,
        limiter(database, redis.url, settings) as other,
    ):
        done = [0, 0]
        errors: list[Exhausted] = []

        async def call(place: int) -> None:
            while True:
                try:
                    await (first, other)[place].calls(people.ann)
                except Exhausted as error:
                    errors.append(error)
                    return
                done[place] += 1

        await asyncio.gather(call(0), call(1))
        # A process may keep a reservation of four calls that it does not use.
        assert 392 <= sum(done) <= 400, done
        assert {(found.reason, (found.retry_after or 0) > 0) for found in errors} == {
            (Reason.RATE_LIMIT, True)
        }
        await first.calls(people.bob)


async def test_a_service_that_acts_for_many_users_keeps_its_own_limit(
    database: Database, redis: EmbeddedRedis, people: People
) -> None:
    service = LimitSettings(service=ServiceLimitSettings(calls_per_minute=10, streams=1)).service
    settings = limits(calls_per_minute=8).model_copy(update={"service": service})
    async with limiter(database, redis.url, settings) as gate:
        acting = uuid7()
        for_ann, for_bob = (replace(one, acting=acting) for one in (people.ann, people.bob))
        for _ in range(5):
            await gate.calls(for_ann)
            await gate.calls(for_bob)
        error = await refused(gate.calls(for_ann))
        assert error.metadata == {"limit": "calls_per_minute", "scope": "service", "value": "10"}
        # The calls counted for the users, too, except the refused one.
        for _ in range(3):
            await gate.calls(people.ann)
        assert (await refused(gate.calls(people.ann))).metadata["scope"] == "user"
        await gate.stream(for_ann, "", "first")
        assert (await refused(gate.stream(for_bob, "", "second"))).metadata["scope"] == "service"


async def test_without_redis_each_process_counts_a_quarter(database: Database, people: People) -> None:
    async with limiter(database, NO_REDIS, limits(calls_per_minute=40, streams=8)) as gate:
        for _ in range(10):
            await gate.calls(people.ann)
        await refused(gate.calls(people.ann))
        kept = [await gate.stream(people.ann, "", str(place)) for place in range(2)]
        error = await refused(gate.stream(people.ann, "", "c"))
        assert error.metadata == {"limit": "streams", "scope": "user", "value": "8"}
        kept[0].release()
        await gate.stream(people.ann, "", "d")


async def test_streams_are_counted_over_all_processes_and_their_end_makes_room(
    database: Database, redis: EmbeddedRedis, people: People
) -> None:
    settings = limits(streams=5)
    async with limiter(database, redis.url, settings) as one, limiter(database, redis.url, settings) as other:
        outcomes = await asyncio.gather(
            *((one, other)[place % 2].stream(people.ann, "", str(place)) for place in range(60)),
            return_exceptions=True,
        )
        held = [found for found in outcomes if not isinstance(found, BaseException)]
        assert len(held) == 5
        assert {found.reason for found in outcomes if isinstance(found, Exhausted)} == {Reason.LIMIT_REACHED}
        held[0].release()
        await _eventually_free(other, people.ann)


async def test_short_streams_one_after_the_other_never_reach_the_limit(
    database: Database, redis: EmbeddedRedis, people: People
) -> None:
    async with limiter(database, redis.url, limits(streams=2)) as one:
        for place in range(100):
            (await one.stream(people.ann, "", str(place))).release()


class LateHolds(RedisHolds):
    """Holds whose first release arrives only after somebody was refused."""

    begun = asyncio.Event()
    refused = asyncio.Event()

    async def take(self, rooms: Sequence[Room], member: str) -> Room | None:
        """See `Holds.take`."""
        full = await super().take(rooms, member)
        if full is not None:
            self.refused.set()
        return full

    async def release(self, members: Mapping[str, Sequence[str]]) -> None:
        """See `Holds.release`."""
        self.begun.set()
        await self.refused.wait()
        await super().release(members)


async def test_a_stream_that_begins_while_the_end_of_another_is_on_its_way_is_not_refused(
    database: Database, redis: EmbeddedRedis, people: People
) -> None:
    async with limiter(database, redis.url, limits(streams=1), kind=LateHolds) as one:
        (await one.stream(people.ann, "", "first")).release()
        await LateHolds.begun.wait()
        (await one.stream(people.ann, "", "second")).release()


async def test_streams_of_a_killed_process_stop_counting_and_a_flush_is_repaired(
    database: Database, redis: EmbeddedRedis, people: People
) -> None:
    settings = limits(streams=1)
    dead = RedisHolds(redis.url, 1)
    room = Room(f"streams:user:acme/{people.ann.user_id}", "streams", Scope.USER, 1)
    assert await dead.take([room], "killed") is None
    await dead.close()
    async with (
        limiter(database, redis.url, settings, hold_seconds=2, renew_seconds=0.1) as one,
        limiter(database, redis.url, settings, hold_seconds=2, renew_seconds=0.1) as other,
    ):
        await refused(one.stream(people.ann, "", "early"))
        held = await _eventually_free(one, people.ann)
        await flush(redis)
        await _eventually_refused(other, people.ann)
        held.release()


async def _eventually_free(gate: Limiter, caller: Principal) -> Hold:
    for _ in range(600):
        try:
            return await gate.stream(caller, "", uuid7().hex)
        except Exhausted:
            await asyncio.sleep(0.05)
    raise AssertionError("no room")


async def _eventually_refused(gate: Limiter, caller: Principal) -> None:
    for _ in range(600):
        try:
            (await gate.stream(caller, "", uuid7().hex)).release()
        except Exhausted:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("always room")


async def test_exceptions_of_a_user_replace_the_defaults_and_are_audited(
    database: Database, redis: EmbeddedRedis, people: People
) -> None:
    admin = Principal("acme", people.bob.user_id, Role.ADMIN, "api_key")
    settings = limits(messages_per_minute=1, streams=3)
    async with limiter(database, redis.url, settings) as gate:
        changed = await gate.book.change(admin, people.ann.user_id, {"messages_per_minute": 3})
        assert changed.exceptions == {"messages_per_minute": 3}
        assert (changed.limits.messages_per_minute, changed.limits.streams) == (3, 3)
        # A change to the present values makes no event.
        await gate.book.change(admin, people.ann.user_id, {"messages_per_minute": 3})
        assert await admitted((gate,), people.ann, 9) == 3
        assert await admitted((gate,), people.bob, 9) == 1
        changed = await gate.book.change(admin, people.ann.user_id, {"messages_per_minute": None})
        assert changed == await gate.book.read(admin, people.ann.user_id)
        assert changed.exceptions == {}
        async with database.tenant("acme") as connection:
            cursor = await connection.execute(
                "SELECT resource_name FROM responsa.audit_event ORDER BY create_time"
            )
            expected = (f"users/{people.ann.user_id}/limits",)
            assert await cursor.fetchall() == [expected, expected]
        stranger = Principal("rival", people.eve.user_id, Role.ADMIN, "api_key")
        for work in (
            gate.book.read(stranger, people.ann.user_id),
            gate.book.change(stranger, people.ann.user_id, {"streams": 0}),
        ):
            await raises(NotFound, work)


class CountedAvailability(RedisAvailability):
    """Counts the commands that are sent to Redis."""

    sent = 0

    async def run(self, work: Callable[[], Awaitable[Result]]) -> Result:
        def counted() -> Awaitable[Result]:
            self.sent += 1
            return work()

        return await super().run(counted)


async def test_one_call_alone_waits_for_a_redis_that_does_not_answer(
    database: Database, redis: EmbeddedRedis, people: People
) -> None:
    availability = CountedAvailability(redis.url)
    settings = limits(calls_per_minute=1000, streams=100, messages_per_minute=100)
    async with limiter(database, redis.url, settings, availability=availability) as one:

        async def question() -> None:
            await one.calls(people.ann)
            await one.stream(people.ann, "", uuid7().hex)
            await one.admit(people.ann, uuid7())

        await question()
        before = availability.sent
        assert redis.process is not None
        pid = redis.process.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(3):
                await question()
            assert (availability.sent - before, availability.away) == (1, True)
        finally:
            os.kill(pid, signal.SIGCONT)
        async with asyncio.timeout(30):
            while availability.away:  # noqa: ASYNC110  the probe reports to nobody
                await asyncio.sleep(0.05)
        await question()
        assert availability.sent > before + 1


async def test_reserved_calls_are_never_more_than_were_taken(redis: EmbeddedRedis) -> None:
    shared = RedisRates(redis.url)
    reserved = Reserved(shared)
    room = Room("calls:user:x", "calls_per_minute", Scope.USER, 250)
    try:
        outcomes = await asyncio.gather(*(reserved.take(room, 60, 1) for _ in range(400)))
    finally:
        await shared.close()
    assert outcomes.count(0.0) <= 250
    assert outcomes.count(0.0) >= 248


async def test_counts_that_cannot_be_reached_say_so() -> None:
    rates, holds, messages = RedisRates(NO_REDIS), RedisHolds(NO_REDIS), RedisMessages(NO_REDIS)
    room = Room("calls:user:x", "calls_per_minute", Scope.USER, 10)
    caller = Principal("acme", uuid7(), Role.USER, "api_key")
    for work in (
        rates.take(room, 60, 1),
        holds.take([room], "a"),
        holds.renew({"a": ["b"]}),
        holds.release({"a": ["b"]}),
        messages.count(caller, uuid7(), 1, []),
        messages.give_back(caller, uuid7()),
    ):
        await raises(CountsAway, work)
    for part in (rates, holds, messages):
        await part.close()


async def test_many_new_keys_at_once_never_pass_the_limit_and_a_revoked_key_makes_room(
    database: Database, people: People
) -> None:
    identity = identity_of(database, CredentialCache())
    outcomes = await asyncio.gather(
        *(identity.create_api_key(people.ann, NewKey("key"), None, 4) for _ in range(20)),
        return_exceptions=True,
    )
    made = [found[0] for found in outcomes if not isinstance(found, BaseException)]
    assert len(made) == 4
    assert {found.reason for found in outcomes if isinstance(found, ResponsaError)} == {Reason.LIMIT_REACHED}
    await identity.create_api_key(people.bob, NewKey("key"), None, 4)
    await identity.revoke_api_key(people.ann, made[0].id)
    await identity.create_api_key(people.ann, NewKey("key"), None, 4)
    await refused(identity.create_api_key(people.ann, NewKey("key"), None, 4))


async def test_the_bytes_of_a_day_are_counted_over_all_processes(
    database: Database, redis: EmbeddedRedis, people: People
) -> None:
    settings, fixed = limits(), Limits(upload_bytes_per_day=10_000)
    async with (
        limiter(database, redis.url, settings, fixed=fixed) as first,
        limiter(database, redis.url, settings, fixed=fixed) as other,
    ):
        await first.count_upload(people.ann, 6_000)
        error = await refused(other.count_upload(people.ann, 4_001))
        assert error.reason is Reason.RATE_LIMIT
        assert error.metadata == {"limit": "upload_bytes_per_day", "scope": "user", "value": "10000"}
        # A part of the day's window is a quarter of an hour.
        assert error.retry_after is not None
        assert 86_400 - 900 - 60 < error.retry_after <= 86_400
        await other.count_upload(people.ann, 4_000)
        await refused(first.count_upload(people.ann, 1))
        # A file that can never fit has no time after which to try again.
        error = await refused(first.count_upload(people.bob, 10_001))
        assert (error.reason, error.retry_after) == (Reason.LIMIT_REACHED, None)
        await first.count_upload(people.bob, 10_000)


async def test_a_changed_limit_finds_what_has_been_used(
    database: Database, redis: EmbeddedRedis, people: People
) -> None:
    before, after = Limits(upload_bytes_per_day=10_000), Limits(upload_bytes_per_day=6_500)
    async with (
        limiter(database, redis.url, limits(calls_per_minute=10), fixed=before) as first,
        limiter(database, redis.url, limits(calls_per_minute=2), fixed=after) as other,
    ):
        await first.count_upload(people.ann, 6_000)
        error = await refused(other.count_upload(people.ann, 501))
        assert error.reason is Reason.RATE_LIMIT
        await other.count_upload(people.ann, 500)
        for _ in range(2):
            await first.calls(people.ann)
        error = await refused(other.calls(people.ann))
        assert error.reason is Reason.RATE_LIMIT
        await first.calls(people.ann)


async def test_stored_originals_are_limited(
    database: Database, redis: EmbeddedRedis, harness: Harness
) -> None:
    text = b"# Ferries\n\nThe ferry leaves at nine.\n"
    settings = limits(storage_bytes=len(text) + 10)
    async with limiter(database, redis.url, settings) as gate:
        with gate.storing(harness.ann) as upload:
            await upload.add(len(text) + 10)
            error = await refused(upload.add(1))
            assert error.metadata["limit"] == "storage_bytes"
    await harness.upload(harness.ann, text, "ferries.md")
    async with limiter(database, redis.url, settings) as gate:
        with gate.storing(harness.ann) as upload, gate.storing(harness.bob) as other:
            await refused(upload.add(11))
            await upload.add(10)
            await other.add(len(text))
        administration = QuotaAdministration(PostgresQuotas(database, QuotaRules()), gate.book)
        admin = replace(harness.bob, role=Role.ADMIN)
        for found in (
            await administration.mine(harness.ann),
            await administration.of_user(admin, harness.ann.user_id),
        ):
            assert (found.stored.size_bytes, found.stored.documents) == (len(text), 1)
            assert found.limits.storage_bytes == len(text) + 10
        assert (await administration.mine(harness.bob)).stored.documents == 0


async def test_uploads_at_once_never_pass_the_limits_of_stored_bytes(
    database: Database, redis: EmbeddedRedis, people: People
) -> None:
    settings = limits(storage_bytes=110_000)
    settings.tenant.storage_bytes = 150_000
    async with limiter(database, redis.url, settings) as gate:
        with ExitStack() as stack:
            uploads = [stack.enter_context(gate.storing(people.ann)) for _ in range(10)]
            outcomes = await asyncio.gather(*(one.add(99_000) for one in uploads), return_exceptions=True)
            assert outcomes.count(None) == 1
            # The upload under way counts, although the database does not have its bytes.
            await refused(uploads[0].add(11_001))
            await uploads[0].add(11_000)
            other = stack.enter_context(gate.storing(people.bob))
            error = await refused(other.add(40_001))
            assert error.metadata["scope"] == "tenant"
            await other.add(40_000)
        # All of them have ended, and nothing was stored.
        with gate.storing(people.ann) as upload:
            await upload.add(110_000)


@pytest.mark.parametrize("local", [True, False])
async def test_the_wait_of_a_refusal_is_long_enough_and_not_much_longer(
    redis: EmbeddedRedis, local: bool
) -> None:
    shared = RedisRates(redis.url)
    rates = LocalRates() if local else shared
    room = Room("bytes:user:x", "upload_bytes_per_day", Scope.USER, 100)
    try:
        assert await rates.take(room, 2, 100) == 0.0
        wait = await rates.take(room, 2, 40)
        # All events count until their window ends (in memory, windows begin at fixed times), and fade in the two
        # seconds after that: 40 have faded after 0.8 seconds.
        assert (0.8 if local else 2.0) < wait <= 2.85
        waits = 0
        while await rates.take(room, 2, 40) > 0.0:
            waits += 1
            await asyncio.sleep(wait + 0.1)
        assert waits == 1
        assert await rates.take(room, 2, 40) > 0.0
        assert await rates.take(room, 2, 101) == 2
    finally:
        await shared.close()


async def test_a_window_in_parts_makes_room_exactly_after_the_wait(redis: EmbeddedRedis) -> None:
    rates = RedisRates(redis.url)
    room = Room("bytes:user:x", "upload_bytes_per_day", Scope.USER, 100)
    try:
        assert await rates.take_in_parts(room, 2, 100) == 0.0
        wait = await rates.take_in_parts(room, 2, 40)
        assert 0 < wait <= 2
        waits = 0
        while (wait := await rates.take_in_parts(room, 2, 40)) > 0.0:
            waits += 1
            await asyncio.sleep(wait + 0.01)
        assert waits == 1
        # The earlier events no longer count at all.
        assert await rates.take_in_parts(room, 2, 60) == 0.0
        assert 0 < await rates.take_in_parts(room, 2, 40) <= 2
        assert await rates.take_in_parts(room, 2, 101) == 2
    finally:
        await rates.close()


async def test_a_window_in_parts_in_memory_never_waits_longer_than_the_window() -> None:
    now: float = 1_000_000.0
    rates = LocalRates(lambda: now)
    room = Room("bytes:user:x", "upload_bytes_per_day", Scope.USER, 100)
    assert await rates.take(room, DAY, 60) == 0.0
    now += 3600
    assert await rates.take(room, DAY, 40) == 0.0
    wait = await rates.take(room, DAY, 60)
    assert DAY - 3600 - 900 < wait <= DAY - 3600
    # The last byte waits for the second upload.
    last = await rates.take(room, DAY, 61)
    assert wait < last <= DAY
    assert await rates.take(room, DAY, 101) == DAY
    now += wait
    assert await rates.take(room, DAY, 61) > 0.0
    assert await rates.take(room, DAY, 60) == 0.0
