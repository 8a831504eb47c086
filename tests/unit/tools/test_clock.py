"""The clock: zones, differences, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast

import pytest

from responsa_server.domain.tools import Declaration, ToolCall, ToolFault, ToolOutcome, ToolResult
from responsa_server.tools.clock import KIND
from responsa_server.tools.kinds import ToolOptions, ToolParts
from tests.unit.agents.evidence import WHO

NOW = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)
DECLARED = Declaration("time", "time", "the clock", "Tells the time.", ToolOptions())


async def clock_result(**arguments: str) -> ToolResult:
    (tool,) = KIND.make(DECLARED, DECLARED.options, ToolParts(clock=lambda: NOW))
    return await tool.call(ToolCall("k", arguments, WHO))


async def test_now_is_the_clocks_time_in_the_zone() -> None:
    assert (await clock_result()).data == {
        "time": "2026-03-28T23:30:00+00:00",
        "zone": "UTC",
        "weekday": "Saturday",
    }
    berlin = await clock_result(zone="Europe/Berlin")
    assert berlin.content == "Sunday, 2026-03-29T00:30:00+01:00 in Europe/Berlin."


async def test_days_are_counted_on_the_calendar_and_seconds_as_they_pass() -> None:
    """The clock in Berlin goes forward on this night."""
    result = await clock_result(zone="Europe/Berlin", time="2026-03-28T12:00", until="2026-03-29T12:00")
    data = cast("Mapping[str, object]", result.data)
    assert (data["days"], data["seconds"]) == (1, 23 * 3600)
    assert result.content == (
        "From Saturday, 2026-03-28T12:00:00+01:00 until Sunday, 2026-03-29T12:00:00+02:00 in Europe/Berlin: 1 calendar days, 82800 seconds."
    )


async def test_a_date_is_its_midnight_and_may_lie_before_the_first_time() -> None:
    assert (await clock_result(time="2026-12-24")).content == "Thursday, 2026-12-24T00:00:00+00:00 in UTC."
    data = cast("Mapping[str, object]", (await clock_result(time="2026-12-24", until="2026-12-23")).data)
    assert (data["days"], data["seconds"]) == (-1, -86400)


async def test_a_time_with_an_offset_is_shown_in_the_zone() -> None:
    result = await clock_result(zone="Asia/Tokyo", time="2026-01-01T00:00:00-05:00")
    assert result.content == "Thursday, 2026-01-01T14:00:00+09:00 in Asia/Tokyo."


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"zone": "Mars/Olympus"}, "use an IANA name such as Europe/Berlin"),
        ({"zone": "../../etc/passwd"}, "no time zone"),
        ({"time": "tomorrow"}, "write it like 2026-03-01T09:30"),
        ({"zone": "Asia/Tokyo", "time": "9999-12-31T23:59:00+00:00"}, "not valid"),
        ({"zone": "America/New_York", "time": "0001-01-01T00:00:00+00:00"}, "not valid"),
    ],
)
async def test_what_is_not_a_time_is_refused_with_the_reason(arguments: dict[str, str], says: str) -> None:
    result = await clock_result(**arguments)
    assert (result.outcome, result.error) == (ToolOutcome.ERROR, ToolFault.ARGUMENTS)
    assert says in result.content
