from __future__ import annotations

from itertools import count
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responsa_server.domain.conversations import MAX_TITLE_BYTES, Speaker
from responsa_server.domain.errors import Reason, ResponsaError, Unavailable
from responsa_server.domain.events import (
    Answered,
    AnswerOutcome,
    CancelCause,
    Cancelled,
    RefusalReason,
    Refused,
    Terminal,
    Usage,
)
from responsa_server.domain.turns import Question, TurnState
from responsa_server.turns import worker

TURN = UUID(int=7)
NEW_IDS = [UUID(int=2), UUID(int=1)]


@pytest.mark.parametrize(
    ("terminal", "state", "reply"),
    [
        (Answered("A.", b"", (), AnswerOutcome.COMPLETE, 1, Usage(3)), TurnState.ANSWERED, "A."),
        (Refused(RefusalReason.NO_SUPPORT, "No.", Usage(3)), TurnState.REFUSED, "No."),
    ],
)
def test_question_and_reply_are_written_in_the_order_of_speaking(
    terminal: Terminal, state: TurnState, reply: str
) -> None:
    ids = iter(NEW_IDS)
    conclusion = worker.conclude(terminal, b"end", Question("Why?"), lambda: next(ids))
    assert (conclusion.state, conclusion.terminal, conclusion.usage) == (state, b"end", Usage(3))
    asked, replied = conclusion.messages
    assert (asked.speaker, asked.text) == (Speaker.USER, "Why?")
    assert (replied.speaker, replied.text) == (Speaker.ASSISTANT, reply)
    assert asked.id < replied.id
    assert conclusion.title == "Why?"


def test_statistics_name_no_files_of_a_conversation() -> None:
    answered = Answered("A.", b"", (), AnswerOutcome.COMPLETE, 1, Usage(3), collection_id="clip")
    for files, counted in (("clip", ""), ("", "clip")):
        ids = iter(NEW_IDS)
        conclusion = worker.conclude(answered, b"", Question("Why?"), lambda ids=ids: next(ids), files=files)
        assert conclusion.facts.collection_id == counted


def test_what_was_cancelled_leaves_nothing() -> None:
    conclusion = worker.conclude(Cancelled(CancelCause.OWNER), b"end", Question("Why?"), lambda: TURN)
    assert (conclusion.state, conclusion.messages, conclusion.title) == (TurnState.CANCELLED, (), "")


def test_failures_leave_nothing_and_say_whether_asking_again_helps() -> None:
    numbers = count()
    for failed, reason, retriable in (
        (worker.worker_lost(TURN, 6), Reason.WORKER_LOST, True),
        (worker.time_limit(TURN, 1.5), Reason.TURN_TIME_LIMIT, True),
        (worker.internal_failure(TURN), Reason.INTERNAL, True),
        (worker.failure_of(Unavailable(Reason.PART_UNAVAILABLE, "")), Reason.PART_UNAVAILABLE, True),
        (worker.failure_of(ResponsaError(Reason.INVALID_FIELD, "")), Reason.INVALID_FIELD, False),
    ):
        assert (failed.error.reason, failed.retriable) == (reason, retriable)
        conclusion = worker.conclude(failed, b"end", Question("Why?"), lambda: UUID(int=next(numbers)))
        assert (conclusion.state, conclusion.messages, conclusion.title) == (TurnState.FAILED, (), "")
    assert worker.time_limit(TURN, 1.5).error.metadata == {"turn": f"turns/{TURN}", "limit_seconds": "1.5"}


def test_titles_end_at_a_word() -> None:
    assert worker.title_of("  How long\nis it? ") == "How long is it?"
    long = "How long does it take for the water of the river to reach the sea in spring?"
    assert worker.title_of(long) == "How long does it take for the water of the river to reach…"
    assert worker.title_of("x" * 100) == "x" * 59 + "…"


@given(st.text(min_size=1, max_size=400).filter(lambda text: bool(text.strip())))
def test_titles_fit_and_are_never_empty(text: str) -> None:
    assert 1 <= len(worker.title_of(text).encode()) <= MAX_TITLE_BYTES
