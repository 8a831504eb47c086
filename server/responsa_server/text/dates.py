"""The names of months and days, and the dates that files state of themselves."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
"""The English names. Those of the standard library depend on the locale."""
DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
"""The English names, in the order of `date.weekday`."""

_MOST_CHARS: Final = 64
# The dates of ISO 8601 and RFC 3339, from a year to fractions of a second, and those of PDF (ISO 32000-1, 7.9.4), such as D:20260131120000+01'00'.
_DATE: Final = re.compile(
    r"(?:D:)?(\d{4})(?:[-/.]?(\d\d)(?:[-/.]?(\d\d)(?:[T ]?(\d\d):?(\d\d)(?::?(\d\d)(?:[.,]\d+)?)?)?)?)?"
    r"\s*(?:(Z)|([+-])(\d\d)[:']?(\d\d)?'?)?(?:Z?00'00'?)?\Z"
)


def stated_date(text: str) -> datetime | None:
    """The date that a text states, in UTC; None if the text is not a date from the year 1 on.

    A date without a month or a day is the first of its year or month, and a time without an offset is taken as UTC.
    """
    match = _DATE.match(text.strip()[:_MOST_CHARS])
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or "0") for part in match.groups()[:6])
    _, sign, hours, minutes = match.groups()[6:]
    offset = timedelta(hours=int(hours or "0"), minutes=int(minutes or "0"))
    try:
        zone = timezone(-offset if sign == "-" else offset)
        return datetime(year, month or 1, day or 1, hour, minute, min(second, 59), tzinfo=zone).astimezone(
            UTC
        )
    except (ValueError, OverflowError):
        return None
