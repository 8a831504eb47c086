"""The kind `time`: what time it is in a zone, and how far apart two times are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
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
from responsa_server.tools.kinds import ToolKind, ToolOptions, ToolParts

_FORM: Final = "A date or a time in ISO 8601, e.g. 2026-03-01 or 2026-03-01T09:30. A time without an offset is a time in `zone`."
_PARAMETERS: Final[Mapping[str, object]] = {
    "type": "object",
    "properties": {
        "zone": {
            "type": "string",
            "maxLength": 64,
            "description": "The time zone by its IANA name, e.g. Europe/Berlin; UTC if it is left out.",
        },
        "time": {
            "type": "string",
            "maxLength": 40,
            "description": f"The time to show in the zone; now if it is left out. {_FORM}",
        },
        "until": {
            "type": "string",
            "maxLength": 40,
            "description": f"A second time: the result says how long it is after the first. {_FORM}",
        },
    },
    "additionalProperties": False,
}
_RETURNS: Final[Mapping[str, object]] = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("time", "zone", "weekday", "until")},
        **{name: {"type": "integer"} for name in ("days", "seconds")},
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
        arguments = cast("Mapping[str, str]", call.arguments)
        name = arguments.get("zone", "UTC")
        if name not in available_timezones():
            return _wrong(f"There is no time zone “{name}”; use an IANA name such as Europe/Berlin.")
        zone = ZoneInfo(name)
        try:
            time = _read(arguments["time"], zone) if "time" in arguments else self._clock().astimezone(zone)
            until = _read(arguments["until"], zone) if "until" in arguments else None
            content = f"{_shown(time)} in {name}."
            data: dict[str, object] = {
                "time": time.isoformat(timespec="seconds"),
                "zone": name,
                "weekday": f"{time:%A}",
            }
            if until is not None:
                # Days are counted on the calendar, so that a day with a change of the clock is one day; seconds are elapsed time.
                days = (until.date() - time.date()).days
                seconds = (until.astimezone(UTC) - time.astimezone(UTC)) // timedelta(seconds=1)
                data |= {"until": until.isoformat(timespec="seconds"), "days": days, "seconds": seconds}
                content = f"From {_shown(time)} until {_shown(until)} in {name}: {days} calendar days, {seconds} seconds."
        except (ValueError, OverflowError):
            return _wrong("A time is not valid; write it like 2026-03-01T09:30, with years from 1 to 9999.")
        return ToolResult(ToolOutcome.OK, content, data)

    async def close(self) -> None:
        pass


def _read(text: str, zone: ZoneInfo) -> datetime:
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=zone)).astimezone(zone)


def _shown(time: datetime) -> str:
    return f"{time:%A}, {time.isoformat(timespec='seconds')}"


def _wrong(message: str) -> ToolResult:
    return ToolResult(ToolOutcome.ERROR, message, error=ToolFault.ARGUMENTS)


def _make(declaration: Declaration, options: ToolOptions, parts: ToolParts) -> Sequence[Tool]:
    return [TimeTool(declaration, parts.clock)]


KIND: Final = ToolKind(
    ToolOptions,
    _make,
    title="the clock",
    description=(
        "Tells the current date and time in any time zone, converts a time to a zone, and says "
        "how long it is from one time to another."
    ),
    shipped=True,
)
