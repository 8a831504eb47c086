"""The pauses between the attempts at a job."""

from __future__ import annotations

from responsa_server.domain.knowledge import LONGEST_PAUSE, pause_after


def test_a_pause_has_a_bound_however_often_a_job_has_failed() -> None:
    assert [pause_after(failures) for failures in (0, 1, 5)] == [1.0, 2.0, 32.0]
    assert [pause_after(failures) for failures in (6, 1_024, 10**6)] == [LONGEST_PAUSE] * 3
