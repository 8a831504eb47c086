"""Schedules: cron expressions with five fields in a time zone. Pure.

When clocks change, a scheduled time that is skipped moves to the next time that exists, and a scheduled time that occurs twice counts once, as in Debian's cron.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_FIELDS: Final = 5
# A path in place of a name would make zoneinfo read other files.
_ZONES: Final = "the name of a time zone, such as Europe/Berlin"


class ScheduleProblem(ValueError):
    """A schedule that cannot be used. field: "schedule" or "time_zone"."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Schedule:
    """A cron expression (minute, hour, day of the month, month, day of the week) and its time zone."""

    expression: str
    zone: ZoneInfo

    def after(self, moment: datetime) -> datetime:
        """The first time after the moment, in UTC. Raises ScheduleProblem if there are no more."""
        try:
            return next(CronSim(self.expression, moment.astimezone(self.zone))).astimezone(UTC)
        except StopIteration:
            raise ScheduleProblem("schedule", "names a day that never comes") from None


def read_schedule(expression: str, time_zone: str) -> Schedule:
    """A schedule. Raises ScheduleProblem."""
    try:
        zone = ZoneInfo(time_zone)
    except (ValueError, OSError, KeyError):
        raise ScheduleProblem("time_zone", f"must be {_ZONES}") from None
    if len(expression.split()) != _FIELDS:
        raise ScheduleProblem(
            "schedule",
            "must have five fields: minute, hour, day of the month, month and day of the week, such as “30 2 * * 1-5”",
        )
    try:
        CronSim(expression, datetime.now(zone))
    except CronSimError as error:
        raise ScheduleProblem("schedule", f"is not a cron expression: {str(error).lower()}") from None
    found = Schedule(expression, zone)
    found.after(datetime.now(UTC))
    return found
