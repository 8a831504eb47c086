"""Replays on real PostgreSQL: which questions they ask, as whom, with what, and that each is settled once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.agents import Barrier, RecordedCalls
from responsa_server.domain.errors import AlreadyExists, NotFound, Reason, Unavailable
from responsa_server.domain.events import (
    Effect,
    RefusalReason,
    Refused,
    ToolCalled,
    ToolOutcome,
    ToolReturned,
    Usage,
)
from responsa_server.domain.knowledge import Operation, OwnershipLost
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.people import Principal, Role, Server
from responsa_server.domain.replays import ReplayedTurns, ReplayState
from responsa_server.domain.rows import Row
from responsa_server.domain.turns import Question, TurnState
from responsa_server.domain.unexpected import UnexpectedErrors
from responsa_server.insight.replaying import Replaying, Replays
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.operations import OperationStore
from responsa_server.stores.postgres.replays import PostgresReplays
from responsa_server.turns.service import Turns
from tests.conftest import DatabaseUrls
from tests.contract.conftest import People
from tests.contract.turn_house import QUICK, Cast, Script, Services, answer, citation
from tests.raising import raises

ALL = ReplayedTurns(None, None, (TurnState.ANSWERED, TurnState.REFUSED, TurnState.FAILED), 100)
NEW = "agents/default/versions/2"
PAY = ToolCalled("pay-1", "pay", {"to": "ann"}, "Pay", Effect.ONCE)
PAID = ToolReturned("pay-1", ToolOutcome.OK, "Paid.")
KEPT, LOST = citation("The Nile is long."), citation("The Elbe is short.")


class Theatre:
    """Users who have asked version 1, and version 2, which is replayed."""

    def __init__(self, database: Database, urls: DatabaseUrls, people: People, new: Script) -> None:
        self.house = Services(database)
        self.urls = urls
        self.new = new
        self.admin = replace(people.ann, role=Role.ADMIN)
        self.queue = JobQueue(urls.log, concurrency=1)
        self.operations = OperationStore(database, self.queue)
        self.store = PostgresReplays(database, self.queue, self.house.codec, lambda _: "", uuid7)
        self.ended: list[UUID] = []

    @property
    def agents(self) -> Cast:
        return Cast({"": self.new})

    def worker(self, slice_seconds: float = 60.0) -> Replaying:
        return Replaying(
            self.store,
            self.house.conversations,
            self.agents,
            uuid7,
            busy=lambda: False,
            ended=self.ended.extend,
            errors=UnexpectedErrors(),
            slice_seconds=slice_seconds,
        )

    async def start(
        self,
        source: ReplayedTurns | Sequence[str] = ALL,
        max_cost: int = 0,
        request_id: UUID | None = None,
    ) -> Operation:
        replays = Replays(self.store, self.agents)
        return await replays.start(self.admin, "default", 2, source, max_cost, request_id)

    async def work(self, operation: Operation) -> float | None:
        return await self.worker().work("acme", operation.id, 0)

    @property
    def spent(self) -> int:
        """What the tenant's usage has of replays."""
        query = "SELECT sum(cost_micros)::int FROM responsa.usage_event WHERE kind = 'spent' AND user_id = %s"
        return self.urls.value(query, UUID(int=0))

    async def read_again(self, operation: Operation) -> Operation:
        return await self.operations.get(Server("acme"), operation.id)

    async def questions(self, operation: Operation, tenant: str = "acme") -> Sequence[Row]:
        page = await self.store.list(tenant, operation.id, ListQuery(200, Order("place")))
        return page.items


@pytest.fixture
def theatre(database: Database, database_urls: DatabaseUrls, people: People) -> Theatre:
    new = Script([replace(answer(), citations=[KEPT])], spends=Usage(cost_micros=100), version=NEW)
    return Theatre(database, database_urls, people, new)


@asynccontextmanager
async def asking(theatre: Theatre, old: Script) -> AsyncIterator[Turns]:
    async with theatre.house.turns(old, QUICK) as turns:
        yield turns


async def ask(turns: Turns, caller: Principal, text: str, conversation: UUID | None = None) -> UUID:
    """Returns the conversation."""
    accepted = await turns.accept(caller, Question(text, conversation), None)
    assert (await turns.wait(caller, accepted.turn_id)).state.terminal
    return accepted.conversation_id


async def test_old_questions_are_asked_again_as_their_users_and_compared(
    theatre: Theatre, people: People
) -> None:
    cited = replace(answer(), citations=[KEPT, LOST], usage=Usage(cost_micros=30))
    old = Script([PAY, Barrier(), PAID, cited])
    async with asking(theatre, old) as turns:
        place = await ask(turns, people.ann, "First?")
        old.events = [Refused(RefusalReason.NO_SUPPORT, "No.", Usage(cost_micros=30))]
        await ask(turns, people.ann, "Second?", place)
        await ask(turns, people.bob, "Who?")
        await ask(turns, people.eve, "Another tenant?")
    theatre.urls.ask("UPDATE responsa.app_user SET disable_time = now() WHERE id = %s", people.bob.user_id)
    before = theatre.urls.value("SELECT count(*) FROM responsa.message")

    operation = await theatre.start()
    assert await theatre.work(operation) is None

    first, second = theatre.new.tasks
    ann = replace(people.ann, credential="turn")
    assert [(task.caller, task.question.text) for task in theatre.new.tasks] == [
        (ann, "First?"),
        (ann, "Second?"),
    ]
    assert [len(task.history) for task in theatre.new.tasks] == [0, 2]
    assert isinstance(first.recorded, RecordedCalls)
    paid = first.recorded.result("pay", {"to": "ann"})
    assert paid is not None
    assert (paid.content, first.conversation_id, second.conversation_id) == ("Paid.", None, None)
    assert theatre.urls.value("SELECT count(*) FROM responsa.message") == before

    done = await theatre.read_again(operation)
    assert (done.done, done.error, done.passages_done, done.passages_total) == (True, None, 3, 3)
    times = {name: number for name, number in done.counts.items() if name.endswith("milliseconds")}
    assert {name: number for name, number in done.counts.items() if name not in times and number} == {
        "replayed": 2,
        "left_out": 1,
        "changed_outcomes": 1,
        "citations_kept": 1,
        "citations_lost": 1,
        "citations_new": 1,
        "before_answered": 1,
        "before_refused": 1,
        "before_cost_micros": 60,
        "after_answered": 2,
        "after_cost_micros": 200,
        "spent_micros": 200,
    }
    one, two, left_out = await theatre.questions(operation)
    assert (one.state, one.citations_kept, one.citations_lost, one.question) == (
        ReplayState.REPLAYED,
        1,
        1,
        "",
    )
    assert two.before is not None
    assert two.after is not None
    assert (two.before.state, two.after.state) == (TurnState.REFUSED, TurnState.ANSWERED)
    assert (left_out.state, left_out.user_id, left_out.after) == (
        ReplayState.USER_GONE,
        people.bob.user_id,
        None,
    )
    assert theatre.spent == 200
    acts = "SELECT array_agg(resource_name) FROM responsa.audit_event WHERE action = ''"
    assert theatre.urls.value(acts) == [NEW]
    await raises(NotFound, theatre.questions(operation, "rival"))

    theatre.urls.ask("UPDATE responsa.tenant SET question_texts = true")
    assert [item.question for item in await theatre.questions(operation)] == ["First?", "Second?", "Who?"]
    theatre.urls.ask("DELETE FROM responsa.turn WHERE user_id = %s", people.ann.user_id)
    assert [item.place for item in await theatre.questions(operation)] == [3]


async def test_turns_are_selected_by_time_state_and_number_and_may_be_deleted_meanwhile(
    theatre: Theatre, people: People
) -> None:
    old = Script()
    async with asking(theatre, old) as turns:
        for text in ("One?", "Two?", "Three?"):
            await ask(turns, people.ann, text)
        old.events = [Unavailable(Reason.PART_UNAVAILABLE, "It is down.")]
        await ask(turns, people.bob, "Four?")
    theatre.urls.ask("UPDATE responsa.tenant SET question_texts = true")
    theatre.urls.ask(
        "UPDATE responsa.turn SET create_time = create_time - interval '31 d' WHERE id = (SELECT min(id::text)::uuid FROM responsa.turn)",
    )

    async def texts(source: ReplayedTurns) -> list[str]:
        return [item.question for item in await theatre.questions(await theatre.start(source))]

    assert await texts(ALL) == ["Two?", "Three?", "Four?"]
    assert await texts(replace(ALL, most=2)) == ["Three?", "Four?"]
    assert await texts(replace(ALL, states=[TurnState.FAILED])) == ["Four?"]

    operation = await theatre.start()
    delete = "DELETE FROM responsa.turn WHERE user_id = %s"
    theatre.urls.ask(delete, people.bob.user_id)
    assert await theatre.work(operation) is None
    done = await theatre.read_again(operation)
    assert (done.passages_done, done.counts["replayed"], done.counts["left_out"]) == (3, 2, 1)

    held = asyncio.Event()
    theatre.new.events = [held, answer()]
    operation = await theatre.start()
    working = asyncio.create_task(theatre.work(operation))
    await theatre.new.waiting.wait()
    theatre.urls.ask(delete, people.ann.user_id)  # one of the two is being answered
    held.set()
    assert await working is None
    done = await theatre.read_again(operation)
    assert (done.passages_done, done.passages_total) == (2, 2)
    assert dict(done.counts) == {"left_out": 2, "spent_micros": 100}


async def test_a_lost_worker_repeats_no_settled_question(theatre: Theatre) -> None:
    held = asyncio.Event()
    request_id = uuid7()
    operation = await theatre.start(["One?", "Two?"], request_id=request_id)
    assert (await theatre.start(["One?", "Two?"], request_id=request_id)).id == operation.id
    for other, field in ((["One?"], 0), "texts"), ((["One?", "Two?"], 1), "max_cost_usd_micros"):
        refused = await raises(AlreadyExists, theatre.start(*other, request_id=request_id))
        assert refused.metadata["difference"] == field

    stale = await theatre.store.begin("acme", operation.id)
    assert stale is not None
    assert await theatre.worker(slice_seconds=0.0).work("acme", operation.id, 0)  # a slice has one question
    await raises(OwnershipLost, theatre.store.end(stale))
    theatre.new.events = [held, answer()]
    lost = asyncio.create_task(theatre.work(operation))
    await theatre.new.waiting.wait()
    lost.cancel()
    await asyncio.wait({lost})
    held.set()
    assert await theatre.work(operation) is None
    assert [task.question.text for task in theatre.new.tasks] == ["One?", "Two?", "Two?"]
    assert {task.caller.user_id for task in theatre.new.tasks} == {theatre.admin.user_id}
    done = await theatre.read_again(operation)
    assert (done.passages_done, done.counts["replayed"], done.counts["citations_new"]) == (2, 2, 0)
    assert (done.counts["spent_micros"], theatre.spent) == (
        300,
        300,
    )  # the lost worker has said what it had spent
    assert theatre.ended == [operation.id]


async def test_a_question_over_the_agents_own_limits_ends_no_replay(theatre: Theatre) -> None:
    theatre.new.events = [Refused(RefusalReason.BUDGET, "Ask for less at a time.", Usage(cost_micros=100))]
    operation = await theatre.start(["One?", "Two?", "Three?"], max_cost=1000)
    assert await theatre.work(operation) is None
    ends = [(item.state, item.after and item.after.reason) for item in await theatre.questions(operation)]
    assert ends == [(ReplayState.REPLAYED, "BUDGET")] * 3


async def test_a_replay_ends_at_its_cost_and_when_it_is_cancelled(theatre: Theatre) -> None:
    limited = await theatre.start(["One?", "Two?", "Three?"], max_cost=150)
    assert await theatre.work(limited) is None
    assert [task.question.max_cost_micros for task in theatre.new.tasks] == [150, 50]
    states = [item.state for item in await theatre.questions(limited)]
    assert states == [ReplayState.REPLAYED, ReplayState.REPLAYED, ReplayState.COST_LIMIT]

    refused = Refused(RefusalReason.BUDGET, "Ask for less at a time.", Usage(cost_micros=100))
    theatre.new.events, theatre.new.over_request = [refused], True
    limited = await theatre.start(["One?", "Two?"], max_cost=1000)
    assert await theatre.work(limited) is None
    assert {item.state for item in await theatre.questions(limited)} == {ReplayState.COST_LIMIT}

    for ends in (False, True):  # the answer is stopped, or its end comes too late
        held = asyncio.Event()
        theatre.new.events = [held, answer()]
        theatre.new.closed.clear()
        theatre.new.waiting.clear()
        spent, cancelled = theatre.spent, await theatre.start(["Four?"])
        working = asyncio.create_task(theatre.work(cancelled))
        await theatre.new.waiting.wait()
        await theatre.operations.cancel("acme", cancelled.id)
        if ends:
            held.set()
        assert await working is None
        assert theatre.new.closed.is_set()
        assert (await theatre.questions(cancelled))[0].state == ReplayState.WAITING
        assert theatre.spent == spent + 100
