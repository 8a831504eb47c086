"""The clock: zones, differences, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast

import pytest

from responsa_server.domain.tools import Declaration, ToolCall, ToolFault, ToolOutcome, ToolResult
from responsa_server.tools.clock import KIND
from responsa_server.tools.kinds import ToolOptions, ToolParts
from tests.unit.graph.evidence import WHO

NOW = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)
DECLARED = Declaration("time", "time", "the clock", "Tells the time.", ToolOptions())


async def asked(**arguments: str) -> ToolResult:
    (tool,) = KIND.make(DECLARED, DECLARED.options, ToolParts(clock=lambda: NOW))
    return await tool.call(ToolCall("k", arguments, WHO))


async def test_now_is_the_clocks_time_in_the_zone() -> None:
    assert (await asked()).data == {"time": "2026-03-28T23:30:00+00:00", "zone": "UTC", "weekday": "Saturday"}
    berlin = await asked(zone="Europe/Berlin")
    assert berlin.content == "The time is 00:30:00 on Sunday, 29 March 2026 in Europe/Berlin (UTC+01:00)."


async def test_days_are_counted_on_the_calendar_and_seconds_as_they_pass() -> None:
    """The clock in Berlin goes forward on this night."""
    result = await asked(zone="Europe/Berlin", time="2026-03-28T12:00", until="2026-03-29T12:00")
    data = cast("Mapping[str, object]", result.data)
    assert (data["days"], data["seconds"]) == (1, 23 * 3600)
    assert result.content == (
        "12:00:00 on Sunday, 29 March 2026 is 23 hours after 12:00:00 on Saturday, 28 March 2026 in Europe/Berlin (UTC+01:00); on the calendar, this is 1 day."
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"time": "2026-12-24"}, "24 December 2026 is a Thursday."),
        (
            {"time": "2026-11-25", "until": "2026-12-24"},
            "Thursday, 24 December 2026 is 29 days after Wednesday, 25 November 2026.",
        ),
        (
            {"time": "2026-12-24", "until": "2026-12-23"},
            "Wednesday, 23 December 2026 is 1 day before Thursday, 24 December 2026.",
        ),
        ({"time": "2026-12-24", "until": "2026-12-24"}, "Both are Thursday, 24 December 2026."),
        (
            {"time": "2026-11-23T09:30", "until": "2026-11-23T18:00"},
            "18:00:00 on Monday, 23 November 2026 is 8 hours and 30 minutes after 09:30:00 on Monday, 23 November 2026 in UTC.",
        ),
    ],
)
async def test_the_result_is_a_sentence(arguments: dict[str, str], says: str) -> None:
    assert (await asked(**arguments)).content == says


async def test_a_time_with_an_offset_is_shown_in_the_zone() -> None:
    result = await asked(zone="Asia/Tokyo", time="2026-01-01T00:00:00-05:00")
    assert result.content == "The time is 14:00:00 on Thursday, 1 January 2026 in Asia/Tokyo (UTC+09:00)."


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"zone": "Mars/Olympus"}, "no time zone"),
        ({"zone": "../../etc/passwd"}, "no time zone"),
        ({"time": "tomorrow"}, "not valid"),
        ({"zone": "Asia/Tokyo", "time": "9999-12-31T23:59:00+00:00"}, "not valid"),
        ({"zone": "America/New_York", "time": "0001-01-01T00:00:00+00:00"}, "not valid"),
    ],
)
async def test_what_is_not_a_time_is_refused_with_the_reason(arguments: dict[str, str], says: str) -> None:
    result = await asked(**arguments)
    assert (result.outcome, result.error) == (ToolOutcome.ERROR, ToolFault.ARGUMENTS)
    assert says in result.content
