"""The kind `time`: what time it is in a zone, and how far apart two times are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from typing import Final, cast
from zoneinfo import ZoneInfo, available_timezones

from responsa_server.domain.tools import (
    Declaration,
    Effect,
    Tool,
    ToolCall,
    ToolCard,
    ToolFault,
    ToolOutcome,
    ToolResult,
)
from responsa_server.domain.words import counted
from responsa_server.tools.kinds import ToolKind, ToolOptions, ToolParts

_MIDNIGHT: Final = time_of_day()
_TIME: Final = {
    "type": "string",
    "maxLength": 40,
    "description": "A date or a time in ISO 8601, e.g. 2026-03-01 or 2026-03-01T09:30. A time without an offset is a time in `zone`.",
}
_PARAMETERS: Final[Mapping[str, object]] = {
    "type": "object",
    "properties": {
        "zone": {
            "type": "string",
            "maxLength": 64,
            "description": "The time zone by its IANA name, e.g. Europe/Berlin; UTC if it is left out.",
        },
        "time": {
            **_TIME,
            "description": f"The time to show in the zone; now if it is left out. {_TIME['description']}",
        },
        "until": {
            **_TIME,
            "description": f"A second time: the result says how long it is after the first. {_TIME['description']}",
        },
    },
    "additionalProperties": False,
}
_RETURNS: Final[Mapping[str, object]] = {
    "type": "object",
    "properties": {
        "time": {"type": "string"},
        "zone": {"type": "string"},
        "weekday": {"type": "string"},
        "until": {"type": "string"},
        "days": {"type": "integer"},
        "seconds": {"type": "integer"},
    },
    "required": ["time", "zone", "weekday"],
    "additionalProperties": False,
}


class TimeTool:
    """Implements `Tool`."""

    effect = Effect.NONE

    def __init__(self, declaration: Declaration, clock: Callable[[], datetime]) -> None:
        self.card = ToolCard(
            declaration.name, declaration.description, _PARAMETERS, declaration.title, _RETURNS
        )
        self.timeout_seconds = declaration.timeout_seconds
        self._clock = clock

    async def call(self, call: ToolCall) -> ToolResult:
        """See `Tool.call`."""
        given = cast("Mapping[str, str]", call.arguments)
        name = given.get("zone", "UTC")
        if name not in available_timezones():
            return _wrong(f"There is no time zone “{name}”; use an IANA name such as Europe/Berlin.")
        zone = ZoneInfo(name)
        try:
            time = _read(given["time"], zone) if "time" in given else self._clock().astimezone(zone)
            until = _read(given["until"], zone) if "until" in given else None
            data, content = _result(time, until, name, dated="time" in given)
        except (ValueError, OverflowError):
            return _wrong("A time is not valid; write it like 2026-03-01T09:30, with years from 1 to 9999.")
        return ToolResult(ToolOutcome.OK, content, data)

    async def close(self) -> None:
        """See `Tool.close`."""


def _read(text: str, zone: ZoneInfo) -> datetime:
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=zone)).astimezone(zone)


def _result(
    time: datetime, until: datetime | None, zone: str, *, dated: bool
) -> tuple[Mapping[str, object], str]:
    """The data, and what a person would say. dated: whether the caller named the time, so that midnight means the whole day."""
    data: dict[str, object] = {
        "time": time.isoformat(timespec="seconds"),
        "zone": zone,
        "weekday": time.strftime("%A"),
    }
    if until is None:
        if dated and time.time() == _MIDNIGHT:
            return data, f"{_date(time)} is a {time:%A}."
        return data, f"The time is {time:%H:%M:%S} on {time:%A}, {_date(time)} in {_in(time, zone)}."
    # Days are counted on the calendar, so that a day with a change of the clock is one day; seconds are elapsed time.
    days = (until.date() - time.date()).days
    elapsed = until.astimezone(UTC) - time.astimezone(UTC)
    data |= {
        "until": until.isoformat(timespec="seconds"),
        "days": days,
        "seconds": elapsed // timedelta(seconds=1),
    }
    relation = "after" if elapsed >= timedelta() else "before"
    if time.time() == until.time() == _MIDNIGHT:
        first, second = f"{time:%A}, {_date(time)}", f"{until:%A}, {_date(until)}"
        if not days:
            return data, f"Both are {first}."
        return data, f"{second} is {counted(abs(days), 'day')} {relation} {first}."
    first, second = (f"{one:%H:%M:%S} on {one:%A}, {_date(one)}" for one in (time, until))
    calendar = f"; on the calendar, this is {counted(abs(days), 'day')}" if days else ""
    return data, f"{second} is {_lasting(abs(elapsed))} {relation} {first} in {_in(time, zone)}{calendar}."


def _date(time: datetime) -> str:
    return f"{time.day} {time:%B} {time.year}"


def _in(time: datetime, zone: str) -> str:
    """The zone with its offset, which names the time without doubt."""
    offset = time.strftime("%z")
    return zone if zone == "UTC" else f"{zone} (UTC{offset[:3]}:{offset[3:5]})"


def _lasting(elapsed: timedelta) -> str:
    """The duration in days, hours, minutes and seconds, without those that are zero."""
    minutes, seconds = divmod(elapsed.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    values = (("day", elapsed.days), ("hour", hours), ("minute", minutes), ("second", seconds))
    said = [counted(count, unit) for unit, count in values if count]
    *before, last = said or ["0 seconds"]
    return f"{', '.join(before)} and {last}" if before else last


def _wrong(message: str) -> ToolResult:
    return ToolResult(ToolOutcome.ERROR, message, error=ToolFault.ARGUMENTS)


def _make(declaration: Declaration, options: ToolOptions, parts: ToolParts) -> Sequence[Tool]:
    return [TimeTool(declaration, parts.clock)]


KIND: Final = ToolKind(
    ToolOptions,
    _make,
    title="the clock",
    description="Tells the current date and time in any time zone, converts a time to a zone, and says how long it is from one time to another.",
    shipped=True,
)
