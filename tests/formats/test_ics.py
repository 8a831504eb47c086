from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responsa_formats.parsers import ics
from responsa_formats.parsers.sniff import sniff
from responsa_formats.rejections import Cause, Rejected
from tests.formats.originals import rejected


def text_of(*lines: str, kind: str = "VEVENT", before: str = "") -> str:
    made = "\r\n".join(
        ["BEGIN:VCALENDAR", before, f"BEGIN:{kind}", *lines, f"END:{kind}", "END:VCALENDAR", ""]
    )
    return ics.parse(sniff(made.encode(), "a.ics")).canonical_text


def test_an_event_says_its_time_its_place_and_its_people() -> None:
    assert text_of(
        "SUMMARY:Inspection of the\r\n  bridge",
        "DTSTART;TZID=Europe/Berlin:20261117T101500",
        "DTEND;TZID=Europe/Berlin:20261117T114500",
        "LOCATION:Pier 9\\, gate B",
        'ORGANIZER;CN="Voss, Lena":MAILTO:lena@example.org',
        "ATTENDEE:mailto:ben@example.org",
        "ATTENDEE;CN=Cleo:mailto:cleo@example.org",
        "a line that is none",
        "BEGIN:VALARM",
        "DESCRIPTION:Reminder",
        "END:VALARM",
        "DESCRIPTION:Bring boots.\\n\\nAnd a lamp.",
        before="METHOD:CANCEL",
    ) == (
        "Inspection of the bridge\n\nTime: Tuesday, 17 November 2026, 10:15 to 11:45 (Europe/Berlin)\n\nPlace: Pier 9, gate B\n\n"
        "Organizer: Voss, Lena <lena@example.org>\n\nAttendees: ben@example.org, Cleo <cleo@example.org>\n\nStatus: cancelled\n\n"
        "Bring boots.\n\nAnd a lamp."
    )


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["DTSTART;VALUE=DATE:20261224"], "Time: Thursday, 24 December 2026, all day"),
        (
            ["DTSTART;VALUE=DATE:20261224", "DTEND;VALUE=DATE:20261227"],
            "Time: Thursday, 24 December 2026 to Saturday, 26 December 2026, all day",
        ),
        (
            ["DTSTART:20261117T091500Z", "DURATION:PT1H30M"],
            "Time: Tuesday, 17 November 2026, 09:15 to 10:45 (UTC)",
        ),
        (["DTSTART:20261117T091500"], "Time: Tuesday, 17 November 2026, 09:15"),
        (
            ["DTSTART;TZID=A:20261117T220000", "DTEND;TZID=A:20261118T020000"],
            "Time: Tuesday, 17 November 2026, 22:00 to Wednesday, 18 November 2026, 02:00 (A)",
        ),
        (
            ["DTSTART;TZID=A:20261117T080000", "DTEND;TZID=B:20261117T090000"],
            "Time: Tuesday, 17 November 2026, 08:00 (A) to Tuesday, 17 November 2026, 09:00 (B)",
        ),
        (["DTSTART:99991231T235900", "DURATION:P9D"], "Time: Friday, 31 December 9999, 23:59"),
        (
            ["RRULE:FREQ=WEEKLY;BYDAY=MO,WE;UNTIL=20261204T000000Z"],
            "Repeats: every week on Monday and Wednesday, until Friday, 4 December 2026",
        ),
        (
            ["RRULE:FREQ=MONTHLY;INTERVAL=2;BYDAY=2TU,-1FR;COUNT=5"],
            "Repeats: every 2 months on the 2nd Tuesday and the last Friday, 5 times",
        ),
        (
            ["RRULE:FREQ=YEARLY;BYMONTH=3,11;BYMONTHDAY=1,-2"],
            "Repeats: every year on the 1st day of the month and the 2nd day of the month from the end in March and November",
        ),
        (["RRULE:FREQ=MONTHLY;BYDAY=MO;BYSETPOS=1"], "Repeats: FREQ=MONTHLY;BYDAY=MO;BYSETPOS=1"),
        (
            ["EXDATE;VALUE=DATE:20261224,20261225", "EXDATE:20270101T080000"],
            "Not on: Thursday, 24 December 2026, Friday, 25 December 2026, Friday, 1 January 2027, 08:00",
        ),
        (["STATUS:TENTATIVE"], "Status: tentative"),
    ],
)
def test_times_are_said_as_a_reader_says_them(lines: list[str], said: str) -> None:
    assert text_of(*lines) == said


def test_tasks_are_entries_and_a_calendar_without_entries_is_empty() -> None:
    assert (
        text_of("SUMMARY:Paint", "DUE;VALUE=DATE:20261224", kind="VTODO")
        == "Paint\n\nDue: Thursday, 24 December 2026"
    )
    with rejected(Cause.EMPTY):
        text_of("TZID:Europe/Berlin", kind="VTIMEZONE")


@given(st.text(st.sampled_from('BEGIN:VEND\n;=,TRULDAS"19Z\\ FQY')))
def test_whatever_an_event_says_it_is_read(lines: str) -> None:
    try:
        text_of("SUMMARY:S", f"DTSTART:{lines}", f"RRULE:{lines}", lines)
    except Rejected as error:
        assert error.reason is Cause.EMPTY  # noqa: PT017  an END within the lines may leave no entry
