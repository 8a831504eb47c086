"""Calendar files and the invitations of e-mail messages (iCalendar, RFC 5545).

Each event, task and journal entry is a heading with its summary; its time, place, recurrence and people are lines
below. Times stay as they are written, with the name of their time zone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final, cast

from icalendar import vDuration
from icalendar.parser import Contentlines, Parameters

from responsa_formats.parsers.blocks import BlockWriter
from responsa_formats.parsers.sniff import Original
from responsa_formats.rejections import Rejected
from responsa_formats.text.canonical import DAYS, MONTHS, BlockKind, ParsedDocument, name_document, one_line

_ENTRIES: Final = frozenset({"VEVENT", "VTODO", "VJOURNAL"})
_MOMENT: Final = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z?))?")
_WEEKDAY: Final = re.compile(r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)")
_EVERY: Final = {"DAILY": "day", "WEEKLY": "week", "MONTHLY": "month", "YEARLY": "year"}
_SAID_PARTS: Final = frozenset(
    {"FREQ", "INTERVAL", "COUNT", "UNTIL", "BYDAY", "BYMONTHDAY", "BYMONTH", "WKST"}
)


@dataclass(frozen=True, slots=True)
class _Property:
    """A property. parameters: with names in upper case."""

    parameters: Parameters
    value: str


@dataclass(slots=True)
class _Component:
    kind: str
    properties: dict[str, list[_Property]] = field(default_factory=dict[str, list[_Property]])

    def text(self, name: str) -> str:
        return next((line.value.strip() for line in self.properties.get(name, ())), "")

    def people(self, name: str) -> str:
        return ", ".join(filter(None, map(_person, self.properties.get(name, ()))))

    def dates(self, name: str) -> str:
        lines = self.properties.get(name, ())
        each = (_Property(line.parameters, value) for line in lines for value in line.value.split(","))
        return ", ".join(_say(*moment) for value in each if (moment := _moment(value)) is not None)


def parse(original: Original) -> ParsedDocument:
    """Extract the text. Raises Rejected if there is no entry, or there are more blocks than the server stores."""
    calendar = _Component("VCALENDAR")
    blocks, summaries = BlockWriter(), 0
    for entry in _entries(original.text, calendar):
        summary = one_line(entry.text("SUMMARY"))
        if summary:
            summaries += 1
            blocks.write(summary, BlockKind.HEADING, 1)
        for name, value in _facts(entry, calendar):
            if value:
                blocks.write(f"{name}: {one_line(value)}", BlockKind.PARAGRAPH)
        for paragraph in entry.text("DESCRIPTION").splitlines():
            if paragraph.strip():
                blocks.write(paragraph.strip(), BlockKind.PARAGRAPH)
    if not blocks.parts:
        raise Rejected.as_empty("The calendar has no entries. Upload a calendar with events.")
    return blocks.document(
        original,
        title=name_document(one_line(calendar.text("X-WR-CALNAME")), original.name if summaries > 1 else ""),
    )


def _entries(text: str, calendar: _Component) -> Iterator[_Component]:
    """The entries. Also reads the properties of the calendar. What is nested in an entry, such as a reminder, is not read."""
    opened: list[_Component] = []
    for line in cast("Any", Contentlines).from_ical(text.replace("\x00", "")):
        try:
            name, parameters, value = line.parts()
        except (ValueError, AttributeError):
            continue  # a line that is none, and the empty one at the end
        match name.upper():
            case "BEGIN":
                opened.append(calendar if value.upper() == "VCALENDAR" else _Component(value.upper()))
            case "END" if opened:
                entry = opened.pop()
                if entry.kind in _ENTRIES:
                    yield entry
            case other if opened:
                opened[-1].properties.setdefault(other, []).append(_Property(parameters, value))
            case _:
                pass


def _facts(entry: _Component, calendar: _Component) -> Iterator[tuple[str, str]]:
    yield "Time", _time(entry)
    yield "Due", entry.dates("DUE")
    yield "Instead of", entry.dates("RECURRENCE-ID")
    rule = entry.text("RRULE")
    yield "Repeats", _recurrence(rule) if rule else ""
    yield "Also on", entry.dates("RDATE")
    yield "Not on", entry.dates("EXDATE")
    yield "Place", entry.text("LOCATION")
    yield "Organizer", entry.people("ORGANIZER")
    yield "Attendees", entry.people("ATTENDEE")
    cancelled = calendar.text("METHOD").upper() == "CANCEL"
    yield "Status", "cancelled" if cancelled else entry.text("STATUS").lower()
    yield "Link", entry.text("URL")


def _person(line: _Property) -> str:
    name = str(line.parameters.get("CN", ""))
    address = re.sub(r"\Amailto:", "", line.value.strip(), flags=re.IGNORECASE)
    return f"{name} <{address}>" if name and name != address else address


def _moment(line: _Property | None) -> tuple[date, str] | None:
    """A date, or a date and time, with the name of its time zone; None if the line has none."""
    match = _MOMENT.match(line.value.strip()) if line is not None else None
    if line is None or match is None:
        return None
    year, month, day, hour, minute, second = (int(part or "0") for part in match.groups()[:6])
    zone = "UTC" if match.group(7) else str(line.parameters.get("TZID", ""))
    try:
        if match.group(4) is None:
            return date(year, month, day), ""
        return datetime(year, month, day, hour, minute, min(second, 59)), zone  # noqa: DTZ001  the zone is only named
    except ValueError:
        return None


def _day(moment: date) -> str:
    return f"{DAYS[moment.weekday()]}, {moment.day} {MONTHS[moment.month - 1]} {moment.year}"


def _say(moment: date, zone: str) -> str:
    if not isinstance(moment, datetime):
        return _day(moment)
    return f"{_day(moment)}, {moment:%H:%M}{f' ({zone})' if zone else ''}"


def _time(entry: _Component) -> str:
    start = _moment(next(iter(entry.properties.get("DTSTART", ())), None))
    if start is None:
        return ""
    try:
        return _span(entry, *start)
    except OverflowError:  # it ends after the year 9999
        return _say(*start)


def _span(entry: _Component, begins: date, zone: str) -> str:
    end = _moment(next(iter(entry.properties.get("DTEND", ())), None))
    ends, end_zone = end or (begins + _duration(entry.text("DURATION")), zone)
    if not isinstance(begins, datetime) or not isinstance(ends, datetime):
        # The day of the end is the first one that is free again.
        last = ends - timedelta(days=1)
        return f"{_day(begins)} to {_day(last)}, all day" if last > begins else f"{_day(begins)}, all day"
    if ends <= begins and end_zone == zone:
        return _say(begins, zone)
    if zone == end_zone and begins.date() == ends.date():
        return f"{_day(begins)}, {begins:%H:%M} to {ends:%H:%M}{f' ({zone})' if zone else ''}"
    return f"{_say(begins, zone if zone != end_zone else '')} to {_say(ends, end_zone)}"


def _duration(value: str) -> timedelta:
    try:
        return cast("Any", vDuration).from_ical(value)
    except ValueError:
        return timedelta()


def _recurrence(rule: str) -> str:
    """A rule in words; the rule itself if it has parts that are rare."""
    parts = {
        name.upper(): value for name, _, value in (part.partition("=") for part in rule.split(";")) if value
    }
    unit = _EVERY.get(parts.get("FREQ", "").upper())
    days = [_WEEKDAY.fullmatch(day.upper()) for day in parts.get("BYDAY", "").split(",") if day]
    numbers = (
        [parts.get(name, "1") for name in ("INTERVAL", "COUNT")]
        + _list(parts, "BYMONTHDAY")
        + _list(parts, "BYMONTH")
    )
    months = _list(parts, "BYMONTH")
    if (
        unit is None
        or not parts.keys() <= _SAID_PARTS
        or not all(days)
        or not all(re.fullmatch(r"-?\d{1,4}", number) for number in numbers)
        or not all(month in map(str, range(1, 13)) for month in months)
    ):
        return rule
    interval = parts.get("INTERVAL", "1")
    text = f"every {unit}" if interval == "1" else f"every {interval} {unit}s"
    if days:
        text += f" on {_and([_weekday(day) for day in days if day])}"
    if "BYMONTHDAY" in parts:
        text += f" on {_and([_nth(day, 'day of the month') for day in _list(parts, 'BYMONTHDAY')])}"
    if months:
        text += f" in {_and([MONTHS[int(month) - 1] for month in months])}"
    if "COUNT" in parts:
        text += f", {parts['COUNT']} times"
    until = _moment(_Property(Parameters(), parts["UNTIL"])) if "UNTIL" in parts else None
    return f"{text}, until {_day(until[0])}" if until else text


def _list(parts: dict[str, str], name: str) -> list[str]:
    return [item for item in parts.get(name, "").split(",") if item]


def _weekday(match: re.Match[str]) -> str:
    day = DAYS[("MO", "TU", "WE", "TH", "FR", "SA", "SU").index(match.group(2))]
    return _nth(match.group(1), day) if match.group(1) else day


def _nth(number: str, what: str) -> str:
    """Such as "the 2nd Monday", "the last Friday"."""
    count = int(number)
    if count == -1:
        return f"the last {what}"
    tail = {1: "st", 2: "nd", 3: "rd"}.get(
        abs(count) % 10 if abs(count) % 100 not in (11, 12, 13) else 0, "th"
    )
    return f"the {abs(count)}{tail} {what}{' from the end' if count < 0 else ''}"


def _and(words: Sequence[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
