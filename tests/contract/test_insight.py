"""The sums of usage and quality, which must equal a count of the turns themselves, whatever is being written or added up meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from responsa_server.calls.frames import AskFrames
from responsa_server.domain import lists
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import (
    Answered,
    AnswerOutcome,
    CancelCause,
    Cancelled,
    Failed,
    Fallback,
    FallbackKind,
    NumberedEvent,
    RefusalReason,
    Refused,
    Terminal,
    ToolCalled,
    ToolOutcome,
    ToolReturned,
    Usage,
)
from responsa_server.domain.insight import (
    EVERYBODY,
    Dimension,
    Granularity,
    Quality,
    QuestionOutcome,
    Span,
    percentile,
)
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.people import Principal
from responsa_server.domain.turns import NewTurn
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.insight import PostgresInsight
from responsa_server.stores.postgres.patterns import PostgresPatterns
from responsa_server.turns.worker import conclude
from tests.conftest import DatabaseUrls
from tests.contract.people import People
from tests.contract.turn_harness import citation
from tests.contract.turn_steps import Store, cancelled, claim_of, row

CODEC = AskFrames()
ALL = tuple(Dimension)
NOW = datetime.now(UTC)
WHOLE = Span(NOW - timedelta(days=400), NOW + timedelta(days=1))
FALLBACKS = (Fallback(FallbackKind.PROVIDER, "a:x", "b:y", "timeout"),)
TURNS = 60
# What the turns of a tenant come to, counted in the log.
RECOUNT = """
    WITH t AS (
        SELECT user_id, state, input_tokens + coalesce(s.more, 0) AS input_tokens,
            (SELECT count(*) FROM responsa.turn_tool AS c WHERE c.turn_id = t.id) AS tools,
            (SELECT count(*) FROM responsa.citation AS c JOIN responsa.message AS m ON m.id = c.message_id
                WHERE m.turn_id = t.id) AS citations
        FROM responsa.turn AS t LEFT JOIN LATERAL (
            SELECT sum(input_tokens) AS more FROM responsa.turn_spent AS s WHERE s.turn_id = t.id) AS s ON true
        WHERE end_time IS NOT NULL AND tenant_id = 'acme'
    )
    SELECT count(*) FILTER (WHERE state = 'answered'), count(*) FILTER (WHERE state = 'refused'), count(*) FILTER (WHERE state = 'failed'),
        count(*) FILTER (WHERE state = 'cancelled'), coalesce(sum(input_tokens), 0)::bigint,
        coalesce(sum(tools), 0)::bigint, coalesce(sum(citations), 0)::bigint
    FROM t WHERE %s::uuid IS NULL OR user_id = %s"""


def endings(dice: random.Random) -> Terminal:
    """An end as an agent gives it."""
    usage = Usage(dice.randrange(9), dice.randrange(500), dice.randrange(500), dice.randrange(10))
    text = "The Nile is 6,650 km long."
    some: Mapping[int, Callable[[], Terminal]] = {
        0: lambda: Answered(
            text,
            hashlib.sha256(text.encode()).digest(),
            [citation() for _ in range(dice.randrange(4))],
            AnswerOutcome.COMPLETE,
            1,
            usage,
            model=dice.choice(("openai:a", "passages")),
            collection_id=dice.choice(("", "rivers")),
            fallbacks=FALLBACKS[: dice.randrange(2)],
            unsupported=dice.randrange(2),
        ),
        1: lambda: Refused(RefusalReason.NO_SUPPORT, "No.", usage),
        2: lambda: Failed(Unavailable(Reason.PART_UNAVAILABLE, "x", {"part": "x"}), True, usage),
        3: lambda: Cancelled(CancelCause.OWNER),
    }
    return some[dice.randrange(4)]()


async def turn(
    store: Store, caller: Principal, dice: random.Random, text: str = "How long is the river?"
) -> NewTurn:
    """A turn that calls a tool, or not, and ends one way or another; it may lose a worker that had spent something."""
    new = await store.make(
        text, caller=caller, version=f"agents/{dice.choice(('default', 'tutor'))}/versions/1"
    )
    claim, seq = claim_of(new), 2
    if dice.random() < 0.3:
        tools = [ToolCalled("c1", "clock", {}), ToolReturned("c1", ToolOutcome.OK, "12:00")]
        await store.write(claim, row(2, 3), tools=tools)
        seq = 4
    if dice.random() < 0.5:
        await store.write(claim, row(seq, deltas=True))
        seq += 1
    terminal = endings(dice)
    if isinstance(terminal, Cancelled):
        await store.cancel(caller, new.id, True, cancelled)
        await store.record_usage(claim, Usage(1, 20, 3))
        return new
    bytes_ = CODEC.event(NumberedEvent(seq, 1, None, terminal))
    await store.finish(claim, [row(seq)], conclude(terminal, bytes_, new.question, uuid7))
    return new


async def numbers_of(insight: PostgresInsight, user_id: UUID) -> tuple[int, ...]:
    """What a report says of the counts of RECOUNT, apart from the citations."""
    report = await insight.usage("acme", user_id, WHOLE, Granularity.WEEK, ALL)
    names = (
        "answered_turns",
        "refused_turns",
        "failed_turns",
        "cancelled_turns",
        "input_tokens",
        "tool_calls",
    )
    return tuple(sum(getattr(one, name) for one in report.rows) for name in names)


async def quality(insight: PostgresInsight) -> Quality:
    return (await insight.quality("acme", WHOLE))[0][0]


def recounted(urls: DatabaseUrls, user_id: UUID | None = None) -> tuple[int, ...]:
    (counts,) = urls.ask(RECOUNT, user_id, user_id)
    return counts


@pytest.fixture
def insight(database: Database) -> PostgresInsight:
    return PostgresInsight(database)


async def test_the_sums_equal_the_log_while_turns_end_and_are_added_up(
    database: Database, people: People, database_urls: DatabaseUrls, insight: PostgresInsight
) -> None:
    store, dice = Store(database_urls, database, CODEC), random.Random(20)
    ended = asyncio.Event()

    async def fold() -> None:
        while not ended.is_set():
            await insight.fold()

    folding = [asyncio.create_task(fold()) for _ in range(2)]
    await asyncio.gather(*(turn(store, dice.choice((people.ann, people.bob)), dice) for _ in range(TURNS)))
    *counts, citations = recounted(database_urls)
    assert sum(counts[:4]) == TURNS
    # Part of it is in the sums, and the rest is not yet.
    assert await numbers_of(insight, EVERYBODY) == tuple(counts)
    ended.set()
    await asyncio.gather(*folding)
    while await insight.fold():
        pass
    assert await numbers_of(insight, EVERYBODY) == tuple(counts)
    for who in (people.ann, people.bob):
        assert await numbers_of(insight, who.user_id) == recounted(database_urls, who.user_id)[:-1]
    assert await numbers_of(insight, people.eve.user_id) == (0,) * 6
    whole = await quality(insight)
    assert [whole.turns.get(end, 0) for end in ("answered", "refused", "failed", "cancelled")] == counts[:4]
    assert whole.citations == citations
    assert sum(whole.latencies.values()) == counts[0] + counts[1]
    assert sum(whole.first_words.values()) == counts[0] + counts[1]
    assert whole.refusals == {"no_support": counts[1]}
    # The periods add up to the whole, whether they are read from the sums of days or of hours; and the list has each turn.
    for granularity in Granularity:
        _, periods, _ = await insight.quality("acme", WHOLE, granularity)
        assert sum(sum(one.turns.values()) for one in periods) == TURNS
        assert sum(one.citations for one in periods) == citations
        assert all(one.start_time and not one.agent for one in periods)
    listed = (await insight.turns("acme", WHOLE, ListQuery(200, Order("latency_ms", True)))).items
    assert len(listed) == TURNS
    assert [one.latency_ms for one in listed] == sorted((one.latency_ms for one in listed), reverse=True)
    early = [one for one in listed if one.first_words_ms < one.latency_ms]
    assert early
    assert all(one.first_words_ms <= one.latency_ms for one in listed)
    assert not (await insight.turns("rival", WHOLE, ListQuery(200, Order("create_time")))).items
    # A conversation that is deleted takes nothing from the sums.
    database_urls.ask("DELETE FROM responsa.turn")
    assert await numbers_of(insight, EVERYBODY) == tuple(counts)
    # What is read by days equals what is read by hours.
    hours = await insight.usage("acme", EVERYBODY, WHOLE, Granularity.HOUR, ())
    assert sum(one.answered_turns for one in hours.rows) == counts[0]
    # A tenant sees its own sums alone.
    assert (await insight.usage("rival", EVERYBODY, WHOLE, None, ())).rows == []


async def test_a_turn_names_its_slowest_tool(
    database: Database, people: People, database_urls: DatabaseUrls, insight: PostgresInsight
) -> None:
    store, dice = Store(database_urls, database, CODEC), random.Random(3)
    for _ in range(2):
        new = await store.make(caller=people.ann)
        claim = claim_of(new)
        for number, tool in enumerate(("clock", "seats", "seats")):
            calls = [ToolCalled(f"c{number}", tool, {}), ToolReturned(f"c{number}", ToolOutcome.OK, "12")]
            # Nobody knows how long the last call took.
            await store.write(claim, row(2 + 2 * number, 3 + 2 * number), tools=calls[: 2 - number // 2])
        terminal = endings(dice)
        while isinstance(terminal, Cancelled):
            terminal = endings(dice)
        bytes_ = CODEC.event(NumberedEvent(8, 1, None, terminal))
        await store.finish(claim, [row(8)], conclude(terminal, bytes_, new.question, uuid7))
    (last, _) = (await insight.turns("acme", WHOLE, ListQuery(2, Order("create_time", True)))).items
    database_urls.ask(
        """UPDATE responsa.turn_tool SET create_time = coalesce(end_time, now()) - CASE call_id
            WHEN 'c0' THEN interval '1 s' WHEN 'c1' THEN interval '4.1 s' ELSE interval '1 h' END WHERE turn_id = %s""",
        last.id,
    )
    database_urls.ask("DELETE FROM responsa.turn_tool WHERE turn_id <> %s", last.id)
    listed = (await insight.turns("acme", WHOLE, ListQuery(2, Order("create_time", True)))).items
    assert [(one.slowest_tool, one.slowest_tool_ms) for one in listed] == [("seats", 4100), ("", 0)]


def test_percentiles_are_within_nine_percent() -> None:
    dice = random.Random(3)
    times = sorted(dice.lognormvariate(6, 1) for _ in range(5000))
    buckets: dict[int, int] = {}
    for one in times:
        place = math.floor(4 * math.log2(max(one, 1)))
        buckets[place] = buckets.get(place, 0) + 1
    for share in (0.5, 0.9, 0.99):
        exact = times[math.ceil(share * len(times)) - 1]
        assert abs(percentile(buckets, share) / exact - 1) < 0.095
    assert percentile({}, 0.5) == 0
    assert percentile({0: 1, 40: 1}, 0.5) == percentile({0: 1}, 0.5)


# Patterns as the questions of %s turns make them (about half of the turns are of the first 20 of 500), feedback on a
# tenth of the answers, and its turns.
FULL = (
    "DELETE FROM responsa.question_event WHERE %s > 0",
    (
        "INSERT INTO responsa.question_pattern (id, tenant_id, embedding, vector, central, "
        "turns, last_time) SELECT md5(p::text)::uuid, 'acme', 'm', '', '', %s / p, now() FROM "
        "generate_series(1, 500) AS p"
    ),
    """INSERT INTO responsa.pattern_day
        SELECT 'acme', false, date_trunc('day', now(), 'UTC') - d * interval '1 day', md5(p::text)::uuid,
            c, c / 4, c / 5, 0, 0, c, c, 0, now(), now()
        FROM generate_series(0, 364) AS d, generate_series(1, 500) AS p,
            LATERAL (SELECT round(%s / 365.0 / p / 6.8)::int AS c) AS n WHERE c > 0""",
    """INSERT INTO responsa.pattern_day
        SELECT tenant_id, true, date_trunc('month', day, 'UTC'), pattern_id, sum(answered), sum(refused), sum(no_support), 0, 0,
            sum(cited_answers), sum(citations), 0, min(day), max(day)
        FROM responsa.pattern_day WHERE %s > 0 GROUP BY 1, 3, 4""",
    """WITH c AS (INSERT INTO responsa.conversation (id, tenant_id, user_id, title, titled, origin)
            SELECT gen_random_uuid(), 'acme', id, 'x', true, 'page' FROM responsa.app_user WHERE tenant_id = 'acme' LIMIT 1
            RETURNING id, user_id),
        t AS (INSERT INTO responsa.turn (id, tenant_id, user_id, conversation_id, request, request_sha256, agent_version,
                state, last_seq, terminal, end_time, create_time)
            SELECT gen_random_uuid(), 'acme', c.user_id, c.id, '', sha256(''), 'agents/default/versions/1', 'answered', 2, '',
                now(), now() - random() * interval '365 days' FROM c, generate_series(1, %s / 10)
            RETURNING id, create_time),
        m AS (INSERT INTO responsa.message (id, tenant_id, conversation_id, turn_id, speaker, content)
            SELECT gen_random_uuid(), 'acme', c.id, t.id, 'assistant', 'x' FROM c, t RETURNING id, turn_id)
        INSERT INTO responsa.message_feedback (tenant_id, message_id, rating, create_time, update_time, agent, pattern_id)
        SELECT 'acme', m.id, CASE WHEN random() < 0.2 THEN 'down' ELSE 'up' END, t.create_time, t.create_time, 'default',
            md5((1 + floor(500 * random() * random()))::int::text)::uuid FROM m JOIN t ON t.id = m.turn_id""",
    (
        "INSERT INTO responsa.turn_pattern SELECT m.turn_id, 'acme', f.pattern_id, 'answered', "
        "f.update_time FROM responsa.message_feedback AS f JOIN responsa.message AS m ON m.id = "
        "f.message_id WHERE %s > 0"
    ),
    "ANALYZE",
)


@pytest.mark.soak
async def test_a_million_turns_of_a_year(
    people: People, database: Database, insight: PostgresInsight, database_urls: DatabaseUrls
) -> None:
    """Adds up 100,000 turns a round, and prints how long a round and the reports take."""
    turns = int(os.environ.get("RESPONSA_SOAK_COUNT") or 1_000_000)
    each = min(turns, 100_000)
    added = """
        INSERT INTO responsa.usage_event
            (tenant_id, user_id, time, kind, agent, model, collection, tools, input_tokens, cost_micros, milliseconds, citations)
        SELECT 'acme', %s, now() - random() * interval '365 days',
            (ARRAY['answered', 'answered', 'answered', 'refused', 'failed'])[1 + n %% 5],
            'agent' || n %% 3, 'model' || n %% 2, 'collection' || n %% 3,
            CASE n %% 10 WHEN 0 THEN ARRAY['clock'] ELSE '{}' END, 100, 7, 1 + n %% 5000, n %% 3
        FROM generate_series(1, %s) AS n"""
    seconds, taken = list[float](), list[float]()
    for round_ in range(turns // each):
        who = people.ann if round_ % 2 else people.bob
        database_urls.ask(added, who.user_id, each)
        began = time.perf_counter()
        while await insight.fold():
            pass
        seconds.append(time.perf_counter() - began)
    for statement in FULL:
        database_urls.ask(statement, *[turns] * statement.count("%s"))
    print(f"adding {each:,} turns: {min(seconds):.1f} to {max(seconds):.1f} s")
    for user_id, expected in ((EVERYBODY, turns), (people.bob.user_id, each * math.ceil(turns / each / 2))):
        for granularity, by in ((Granularity.DAY, ALL), (Granularity.MONTH, (Dimension.AGENT,)), (None, ())):
            taken: list[float] = []
            for _ in range(5):
                began = time.perf_counter()
                report = await insight.usage("acme", user_id, WHOLE, granularity, by)
                taken.append(time.perf_counter() - began)
            assert (
                sum(one.answered_turns + one.refused_turns + one.failed_turns for one in report.rows)
                == expected
            )
            assert sum(one.input_tokens for one in report.rows) == 100 * expected
            print(f"{granularity} by {len(by)}: {len(report.rows)} rows, {min(taken) * 1000:.0f} ms")
    patterns = PostgresPatterns(database, CODEC)
    query = ListQuery(50, lists.QUESTION_PATTERNS.orders[0])

    async def feedback() -> object:
        return await insight.feedback("acme", ListQuery(50, lists.FEEDBACK.orders[0]))

    for name, read in (
        ("quality", lambda: quality(insight)),
        ("feedback counts", lambda: insight.feedback_counts("acme", WHOLE)),
        ("feedback", feedback),
        ("patterns", lambda: patterns.read("acme", WHOLE, None, query)),
        ("what documents lack", lambda: patterns.read("acme", WHOLE, QuestionOutcome.NO_SUPPORT, query)),
        ("patterns rated down", lambda: patterns.read("acme", WHOLE, QuestionOutcome.RATED_DOWN, query)),
    ):
        taken = []
        for _ in range(5):
            began = time.perf_counter()
            await read()
            taken.append(time.perf_counter() - began)
        print(f"{name}: {min(taken) * 1000:.0f} ms")
    assert sum((await quality(insight)).turns.values()) == turns
