"""Schedules: their mistakes, and the times that they name where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from responsa_etl.sources.mapping import read_schedule
from responsa_etl.sources.mapping_text import read_mapping
from tests.etl.test_mapping import GOOD


def times(expression: str, zone: str, moment: datetime, count: int) -> list[str]:
    found, schedule = list[str](), read_schedule(expression, zone)
    for _ in range(count):
        moment = schedule.after(moment)
        found.append(f"{moment:%m-%d %H:%M}")
    return found


def test_times_are_those_of_the_zone_also_when_clocks_change() -> None:
    friday = datetime(2026, 3, 27, 12, tzinfo=UTC)
    # On 29 March there is no half past two in Berlin; on 25 October there are two.
    assert times("30 2 * * *", "Europe/Berlin", friday, 3) == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]
    autumn = datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert times("30 2 * * *", "Europe/Berlin", autumn, 2) == ["10-25 00:30", "10-26 01:30"]
    assert times("0 6 * * 1-5", "UTC", friday, 2) == ["03-30 06:00", "03-31 06:00"]


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        ('schedule = "0 2 * *"', "must have five fields"),
        ('schedule = "0 0 2 * * *"', "must have five fields"),
        ('schedule = "60 2 * * *"', "schedule: is not a cron expression: bad minute"),
        ('schedule = "0 0 31 2 *"', "is not a cron expression"),
        ('schedule = "@daily"', "must have five fields"),
        ('schedule = "0 2 * * *"\ntime_zone = "Europe/Berlni"', "time_zone: must be the name of a time zone"),
        (
            'schedule = "0 2 * * *"\ntime_zone = "../../etc/passwd"',
            "time_zone: must be the name of a time zone",
        ),
        ('schedule = "0 2 * * *"\ntime_zone = ""', "time_zone: must be the name of a time zone"),
    ],
)
def test_a_schedule_with_a_mistake_is_refused(schedule: str, says: str) -> None:
    found, problems = read_mapping(schedule + "\n" + GOOD)
    assert found is None
    assert [says in f"{problem.path}: {problem.message}" for problem in problems] == [True]
