"""How the hub delivers rows to the followers of its process, and what it exchanges with other processes."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.people import Principal, Role
from responsa_server.domain.relay import Committed, Hint, Interest
from responsa_server.domain.turns import Cursor, LogRow, News
from responsa_server.turns.hub import MAX_WAITING_BYTES, MAX_WAITING_ROWS, Hub

ANN = Principal("acme", UUID(int=1), Role.USER, "api_key")
BOB = Principal("acme", UUID(int=2), Role.USER, "api_key")
TURN = UUID(int=7)
HERE, THERE = UUID(int=8), UUID(int=9)


def row(first: int, last: int | None = None, size: int = 1) -> LogRow:
    return LogRow(first, last or first, True, b"x" * size)


class Heard:
    """A relay that records its messages."""

    def __init__(self) -> None:
        self.to: list[tuple[UUID | None, Hint]] = []
        self.away = False

    async def start(self, process: UUID, heard: Callable[[Hint], None]) -> None:
        del process, heard

    def tell(self, process: UUID, hint: Hint) -> None:
        self.to.append((process, hint))

    def tell_all(self, hint: Hint) -> None:
        self.to.append((None, hint))

    async def close(self) -> None:
        self.to.clear()


@pytest.fixture
def relay() -> Heard:
    return Heard()


@pytest.fixture
async def hub(relay: Heard) -> Hub:
    return Hub(HERE, relay, 0.5, lambda: 100.0)


async def test_rows_that_follow_are_handed_over_and_a_hole_is_asked_about(hub: Hub, relay: Heard) -> None:
    mine = hub.subscribe(TURN, ANN, 0)
    assert mine.behind
    assert relay.to == [(None, Interest(HERE, (TURN,)))]
    mine.behind = False
    hub.read(TURN, 3, 0)
    hub.offer(TURN, [row(2, 3), row(4)], ended=False)
    assert mine.take() == (row(4),)
    hub.offer(TURN, [row(6)], ended=True)
    assert (mine.take(), mine.ended, hub.stale.is_set()) == ((), False, True)
    assert hub.due(all_of_them=False) == [Cursor(TURN, 4)]
    assert hub.due(all_of_them=False) == [], "a log is read once, however often it is asked for"
    hub.receive(News(TURN, [row(5), row(6)], 6, 0), more=False)
    assert (mine.take(), mine.ended) == ((row(5), row(6)), True)


async def test_an_answer_for_one_who_left_does_not_end_the_stream_of_one_who_came(hub: Hub) -> None:
    with hub.subscribe(TURN, ANN, 0):
        hub.read(TURN, 9, 0)
    mine = hub.subscribe(TURN, ANN, 4)  # before the log has answered the first follower
    hub.receive(News(TURN, [], 9, 0), more=False)
    assert (mine.ended, mine.behind) == (False, True)


async def test_where_one_reader_has_read_further_the_others_are_told(hub: Hub) -> None:
    first, second = hub.subscribe(TURN, ANN, 0), hub.subscribe(TURN, ANN, 0)
    first.behind = second.behind = False
    hub.read(TURN, 3, 0)
    hub.read(TURN, 5, 0)
    assert hub.due(all_of_them=False) == [Cursor(TURN, 3)]


async def test_who_runs_here_is_known_by_its_owner_alone(hub: Hub) -> None:
    hub.open(TURN, ANN, 1, row(1), watched=False)
    assert not hub.subscribe(TURN, ANN, 0, fresh=True).behind
    assert hub.subscribe(
        TURN, ANN, 0
    ).behind  # the log says whether she may still read what the turn has read
    assert hub.subscribe(TURN, BOB, 0, fresh=True).behind
    assert hub.subscribe(TURN, ANN, 2, fresh=True).behind  # beyond the rows that this process knows


async def test_a_turn_that_is_taken_away_is_asked_about_and_its_late_rows_are_not_shown(
    hub: Hub, relay: Heard
) -> None:
    live = hub.open(TURN, ANN, 1, row(1), watched=False)
    mine = hub.subscribe(TURN, ANN, 0, fresh=True)
    assert mine.take() == (row(1),)
    hub.close(live)
    assert relay.to == [(None, Interest(HERE, (TURN,)))]
    assert hub.due(all_of_them=False) == [Cursor(TURN, 1)]
    hub.publish(live, [row(2)], ended=True)
    assert (mine.take(), mine.ended) == ((), False)


async def test_other_processes_hear_of_what_they_follow_also_when_they_said_so_before(
    hub: Hub, relay: Heard
) -> None:
    hub.interest(THERE, [TURN])
    live = hub.open(TURN, ANN, 1, row(1), watched=False)
    hub.publish(live, [row(2)], ended=False)
    other, elsewhere = uuid7(), uuid7()
    hub.interest(other, [elsewhere, TURN])
    assert relay.to == [
        (THERE, Committed(TURN, (row(1),), ended=False)),
        (THERE, Committed(TURN, [row(2)], ended=False)),
        (other, Committed(TURN, [row(1), row(2)], ended=False)),
    ]


@pytest.mark.parametrize(
    ("size", "most"), [(1, MAX_WAITING_ROWS), (MAX_WAITING_BYTES // 4, 4), (10 * MAX_WAITING_BYTES, 1)]
)
async def test_a_reader_may_leave_so_much_lying_and_no_more(hub: Hub, size: int, most: int) -> None:
    live = hub.open(TURN, ANN, 0, None, watched=False)
    mine = hub.subscribe(TURN, ANN, 0, fresh=True)
    for place in range(most):
        hub.publish(live, [row(place + 1, size=size)], ended=False)
    assert not mine.behind
    hub.publish(live, [row(most + 1, size=size)], ended=False)
    assert (mine.behind, mine.take()) == (True, ())


async def test_who_reads_an_older_picture_than_others_is_told_to_read_on(hub: Hub) -> None:
    for _ in range(2):
        hub.subscribe(TURN, ANN, 0)
    assert not hub.read(TURN, 3, 0)
    assert hub.read(TURN, 2, 0)
    assert not hub.read(TURN, 3, 0)
    assert not hub.read(UUID(int=99), 1, 0)


async def test_readers_of_a_turn_that_is_gone_look_for_themselves(hub: Hub) -> None:
    mine = hub.subscribe(TURN, ANN, 0)
    mine.behind = False
    hub.note_deleted([TURN, UUID(int=99)])
    assert mine.behind


async def test_a_follower_without_access_reads_the_log_before_it_shows_more(hub: Hub) -> None:
    live = hub.open(TURN, ANN, 1, row(1), watched=False)
    mine = hub.subscribe(TURN, ANN, 0, fresh=True)
    assert list(hub.turns()) == [TURN]
    hub.publish(live, [row(2)], ended=False)
    hub.mark_forbidden([TURN])
    assert (mine.withheld, mine.behind) == (True, True)


async def test_a_drained_hub_tells_how_many_followers_it_has_sent_away(hub: Hub) -> None:
    hub.open(TURN, ANN, 0, None, watched=False)
    followers = [hub.subscribe(TURN, ANN, 0, fresh=True) for _ in range(3)]
    assert hub.drain() == 3
    assert all(follower.leaving for follower in followers)


async def test_a_heartbeat_says_that_somebody_works_on_the_turn(relay: Heard) -> None:
    """Otherwise a follower would wait as long as a full disk keeps every worker from the turn."""
    now = 100.0
    hub = Hub(HERE, relay, 0.5, lambda: now)
    mine = hub.subscribe(TURN, ANN, 0)

    def beats(*, orphaned: bool = False, unread: float = 0.0) -> bool:
        nonlocal now
        hub.receive(News(TURN, [], None, 0, orphaned), more=False)
        now += unread
        mine.beat = False
        hub.beat(0.0)
        return mine.beat

    assert beats()
    assert not beats(orphaned=True)
    assert beats(), "another worker has it"
    assert not beats(unread=15.0)
    assert beats()
    hub.open(TURN, ANN, 0)
    now += 60.0
    mine.beat = False
    hub.beat(0.0)
    assert mine.beat, "it runs here"
