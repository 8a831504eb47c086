"""How many turns without a model a process admits, by a clock that stands still until it is set."""

from __future__ import annotations

import pytest

from responsa_server.domain.errors import Exhausted, Reason
from responsa_server.turns.admission import Admission

SLOTS = 4
SECONDS = 1.5


class Served:
    """A process that finishes turns at a constant rate while it has any."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.admission = Admission(SLOTS, SECONDS, lambda: self.now)
        self.admitted = 0
        self.refusals: list[Exhausted] = []

    def ask(self, questions: int) -> None:
        for _ in range(questions):
            try:
                self.admission.admit()
            except Exhausted as error:
                self.refusals.append(error)
            else:
                self.admission.begin()
                self.admitted += 1

    def work(self, seconds: float, rate: float, questions: int = 0) -> None:
        """Finish this many turns a second, after each of which so many questions come."""
        for _ in range(round(seconds * rate)):
            self.now += 1 / rate
            if self.admission.unfinished:
                self.admission.end(finished=True)
            self.ask(questions)


@pytest.fixture
def served() -> Served:
    return Served()


def test_a_process_that_has_measured_nothing_takes_a_burst(served: Served) -> None:
    served.ask(30)
    assert served.admitted == 30


@pytest.mark.parametrize("rate", [5.0, 15.0, 60.0, 400.0])
def test_under_three_times_the_rate_it_has_what_it_finishes_in_time(served: Served, rate: float) -> None:
    served.work(60, rate, questions=3)
    assert served.admission.rate == pytest.approx(rate, rel=0.05)
    assert served.admission.unfinished == pytest.approx(rate * SECONDS, rel=0.1, abs=1)
    assert len(served.refusals) > served.admitted
    for refusal in served.refusals:
        assert refusal.reason is Reason.OVERLOADED
        assert refusal.retry_after is not None
    # In the end, those who were refused are told to come when the present turns are done, spread over half of that time.
    waits = [refusal.retry_after or 0.0 for refusal in served.refusals[-100:]]
    assert SECONDS / 2 * 0.9 <= min(waits) < max(waits) <= SECONDS * 1.1


def test_a_rate_that_changes_is_followed_within_seconds(served: Served) -> None:
    served.work(30, 60.0, questions=3)
    served.work(15, 10.0, questions=3)
    assert served.admission.unfinished == pytest.approx(10.0 * SECONDS, rel=0.3)
    served.work(15, 60.0, questions=10)
    assert served.admission.unfinished == pytest.approx(60.0 * SECONDS, rel=0.3)


def test_a_quiet_time_is_no_slow_one(served: Served) -> None:
    served.work(30, 60.0, questions=3)
    while served.admission.unfinished:
        served.now += 1 / 60
        served.admission.end(finished=True)
    measured = served.admission.rate
    for _ in range(100):
        served.ask(1)
        served.now += 30.0  # a turn that takes half a minute, alone
        served.admission.end(finished=True)
    assert served.admission.rate == measured


def test_while_nothing_ends_as_many_as_there_are_slots_are_taken(served: Served) -> None:
    served.ask(1000)
    served.now += 3600
    served.ask(1)
    assert served.refusals[-1].metadata == {"limit": str(SLOTS)}
    assert 15 <= (served.refusals[-1].retry_after or 0) <= 30
    for _ in range(served.admitted):
        served.admission.end(finished=False)
    before = served.admitted
    served.ask(1000)
    assert served.admitted - before == SLOTS


def test_new_questions_never_keep_out_what_was_accepted_earlier(served: Served) -> None:
    served.ask(1000)
    for _ in range(SLOTS):
        assert served.admission.may_claim
        served.admission.begin()
    assert not served.admission.may_claim
