"""Finds the dates and the clock times of a text, in digits and with the names of months in the languages of the product, and
the terms by which search knows them. Pure functions.

A date in digits may have two readings: 03/04/2026 is the fourth of March where the language writes the month first, and
the third of April elsewhere. `months.json` has what the languages write; `tools/months.py` makes it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from bisect import insort
from calendar import monthrange
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from itertools import product
from typing import Any, Final, NamedTuple, cast

from responsa_server.text.patterns import read_patterns

_TABLE: Final = cast(
    "dict[str, dict[str, Any]]",
    json.loads((files("responsa_server.text") / "months.json").read_text("utf-8")),
)
_NAMES: Final[Mapping[str, Mapping[str, int]]] = {
    code: {name: number for number, names in enumerate(row["months"], 1) for name in names.split()}
    for code, row in _TABLE.items()
}
# What a name means in any language; that of the language of the text goes before.
_ANYWHERE: Final = {name: number for names in reversed(_NAMES.values()) for name, number in names.items()}
MONTH_NAMES: Final = frozenset(_ANYWHERE)
"""The names of the months in small letters."""
_SURE_LETTERS: Final = 4
"""The fewest letters of a name that is read in a text of another language, or of none that is known, without a year."""
_BUDDHIST: Final = range(2400, 2700)
_BUDDHIST_YEARS: Final = 543
_MOST_MONTHS: Final = 60
"""The most whole months of a range that have terms."""

_LINKS: Final = "|".join(sorted({"of", "the", *(word for row in _TABLE.values() for word in row["links"])}))
_FORMS: Final = read_patterns("dates", LINK=f"(?:(?:{_LINKS})\\s|d['’]|ב)?")
_DIGIT: Final = re.compile(r"\d")
_DIGITS: Final = {
    code: str(unicodedata.decimal(chr(code))) for code in range(128, 0x20000) if chr(code).isdecimal()
}
_FULL: Final = re.compile(r"\d{4}-\d\d-\d\d")
_DAY: Final = re.compile(r"--\d\d-\d\d")


class Date(NamedTuple):
    """A date. year, day: 0 if it has none, but not both unless it is a month alone."""

    year: int
    month: int
    day: int

    @property
    def is_real(self) -> bool:
        """Whether there is such a day, or such a month."""
        return 1 <= self.month <= 12 and self.day <= monthrange(self.year or 2000, self.month)[1]

    @property
    def terms(self) -> Sequence[str]:
        """The whole date, its month in its year, and its day in its month: those of them that it states."""
        month = f"{self.year:04}-{self.month:02}" if self.year else ""
        day = f"--{self.month:02}-{self.day:02}" if self.day else ""
        whole = f"{month}-{self.day:02}" if month and day else ""
        return [term for term in (whole, month, day) if term]


class FoundDate(NamedTuple):
    """A date of a text: its characters [start, end). readings: at least one, the likelier first. name: the characters of
    the name of its month, or (0, 0). until: the last date of a range that begins with the first reading; None if it is no range."""

    start: int
    end: int
    readings: Sequence[Date]
    name: tuple[int, int] = (0, 0)
    until: Date | None = None

    def list_terms(self) -> Sequence[str]:
        """Its terms. A range has those of all its days, or months; an unlikelier reading only that of the whole date."""
        first = self.readings[0]
        terms = [*first.terms, *(term for other in self.readings[1:] for term in other.terms[:1])]
        if self.until is not None:
            terms += (term for date in _list_days(first, self.until) for term in date.terms)
        years = (date.year for date in (first, self.until) if date is not None and date.year)
        return [*dict.fromkeys((*terms, *map(str, years)))]


def to_ascii_digits(text: str) -> str:
    """The text with the digits 0 to 9, whatever digits its script has."""
    return text if text.isascii() else text.translate(_DIGITS)


def is_whole_date(term: str) -> bool:
    """Whether a term is that of a date with its year, month and day."""
    return _FULL.fullmatch(term) is not None


def list_asked_dates(terms: Iterable[str]) -> Sequence[Date]:
    """The dates that the terms of whole ones stand for; without such a term, those of days without a year."""
    terms = [*terms]
    days = [Date(0, *map(int, term[2:].split("-"))) for term in terms if _DAY.fullmatch(term)]
    return [Date(*map(int, term.split("-"))) for term in terms if is_whole_date(term)] or days


def find_wanted(text: str, language: str, wanted_dates: Sequence[Date]) -> int | None:
    """The index of the first whole date of a text that is asked for, also in a range; -1 if the text has only others; None
    if no date is asked for, or the text has none."""
    if not wanted_dates:
        return None
    dates = [date for date in find_dates(text, language) if date.readings[0].year and date.readings[0].day]
    match = (any(_is_in(wanted, date) for wanted in wanted_dates) for date in dates)
    return next((index for index, matches in enumerate(match) if matches), -1 if dates else None)


def _is_in(wanted: Date, date: FoundDate) -> bool:
    readings = date.readings[:1] if date.until else date.readings
    return any(
        first <= wanted._replace(year=wanted.year or year) <= (date.until or first)
        for first in readings
        for year in {first.year, (date.until or first).year}
    )


def find_dates(text: str, language: str) -> Sequence[FoundDate]:
    """The dates of a text in order: those with at least two of day, month and year. language: ISO 639-1, or "" if it is not known."""
    if not _DIGIT.search(text):
        return ()
    text = _FORMS["joint"][0].sub("–", to_ascii_digits(text))
    dates: list[FoundDate] = []
    for form in _FORMS["dates"]:
        for match in form.finditer(text):
            if any(other.start < match.end() and match.start() < other.end for other in dates):
                continue
            if date := _read(match, language):
                insort(dates, date, key=lambda date: date.start)
    return _join_ranges(text, dates) if dates else ()


_FIRST_PAGE: Final = 3_000
_BEFORE: Final = 70


def find_stated(text: str, language: str) -> datetime | None:
    """The day that the first page of a text calls that of its approval, validity or publication, the first if it names
    several; None without one."""
    for date in find_dates(text[:_FIRST_PAGE], language):
        year, month, day = date.readings[0]
        before = text[max(0, date.start - _BEFORE) : date.start]
        if year and date.readings[0].is_real and _FORMS["stated"][0].search(before):
            return datetime(year, month, day or 1, tzinfo=UTC)
    return None


def find_months(text: str, language: str) -> Iterator[FoundDate]:
    """The names of months that have a capital letter, with a date or alone."""
    for match in _FORMS["month"][0].finditer(text):
        month = _month_of(match["n"], language, has_year=False)
        if month and match["n"][0].isupper():
            yield FoundDate(*match.span("n"), (Date(0, month, 0),), match.span("n"))


def find_times(text: str) -> Iterator[tuple[int, int, Sequence[str]]]:
    """The characters [start, end) of each clock time of a text, and the times of day that it may be, as 9:05 or 21:05: a full
    hour up to 12 may be in either half of the day if the text does not say which."""
    text, last = to_ascii_digits(text), 0
    matches = (match for form in _FORMS["times"] for match in form.finditer(text))
    for match in sorted(matches, key=lambda match: (match.start(), -match.end())):
        (start, end), caps = match.span(), match.groupdict()
        hour, minute, half = int(caps["h"]), int(caps["m"] or 0), (caps.get("half") or "").lower()
        if start >= last and hour <= (12 if half else 24):
            hours = {hour % 12 + (12 if half == "p" else 0) if half else hour % 24}
            if not half and hour <= 12 and minute == 0:
                hours.add(hour % 12 + 12)
            last = end
            yield start, end, [f"{hour}:{minute:02}" for hour in sorted(hours)]


def _read(match: re.Match[str], language: str) -> FoundDate | None:
    caps = {key: value for key, value in match.groupdict().items() if value}
    year = int(caps.get("y") or f"20{caps['short']}" if "y" in caps or "short" in caps else 0)
    year -= _BUDDHIST_YEARS if year in _BUDDHIST else 0
    month, day = int(caps.get("m", 0)), int(caps.get("d", 0))
    if name := caps.get("n"):
        month = _month_of(name, language, has_year=bool(year))
        own = _TABLE.get(language or "en", _TABLE["en"])
        lone = "first" in caps and not year
        if lone and (name.lower() not in _own(language) or (own["capital"] and name.islower())):
            return None  # “may 12 people”
    orders = (
        [(int(caps["b"]), int(caps["a"])), (int(caps["a"]), int(caps["b"]))]
        if "a" in caps
        else [(month, day)]
    )
    orders = orders[::-1] if (language or "en") == "en" else orders
    dates = dict.fromkeys(
        Date(year, month, day) for month, day in orders if month and (day or orders == [(month, 0)])
    )
    readings = [date for date in dates if date.is_real]
    if not readings:
        return None
    last = readings[0]
    begin = last._replace(month=int(caps.get("fm", last.month)), day=int(caps.get("fd", last.day)))
    begin = begin._replace(year=begin.year - (bool(begin.year) and begin.month > last.month))
    end = last._replace(day=int(caps.get("ud", last.day)))
    span = match.span("n") if name else (0, 0)
    if begin < end and begin.is_real and end.is_real:
        return FoundDate(*match.span(), [begin], span, end)
    return FoundDate(*match.span(), readings, span)


def _own(language: str) -> Mapping[str, int]:
    return _NAMES.get(language or "en", {})


def _month_of(name: str, language: str, *, has_year: bool) -> int:
    """The number of a month; 0 if it is none."""
    name = name.lower().removesuffix(".")
    own = _own(language).get(name)
    if own or not (has_year or len(name) >= _SURE_LETTERS):
        return own or 0
    return _ANYWHERE.get(name, 0)


def _join_ranges(text: str, dates: Sequence[FoundDate]) -> Sequence[FoundDate]:
    """The dates, of which two that a dash or a word joins are a range; the first one may lack the year."""
    joined: list[FoundDate] = []
    for date in dates:
        before = joined[-1] if joined else date
        # Both ends are written in one order, which one of them may show alone; then the shorter range is meant.
        orders = zip if len(before.readings) == len(date.readings) else product
        ends = ((_fill_year(begin, last), last) for begin, last in orders(before.readings, date.readings))
        pairs = [
            (begin, last)
            for begin, last in ends
            if bool(begin.year) == bool(last.year) and bool(begin.day) == bool(last.day) and begin < last
        ]
        pair = (pairs[0] if orders is zip else min(pairs, key=lambda pair: pair[1])) if pairs else None
        between = _FORMS["between"][0].fullmatch(text, before.end, date.start) or (
            _FORMS["from"][0].search(text, 0, before.start)
            and _FORMS["and"][0].fullmatch(text, before.end, date.start)
        )
        if pair and between and before.until is None:
            joined[-1] = before._replace(end=date.end, readings=[pair[0]], until=pair[1])
        else:
            joined.append(date)
    return joined


def _fill_year(begin: Date, last: Date) -> Date:
    """The first date of a range, with the year of the last one, or the year before, if it has none."""
    if begin.year or not begin.day or not last.year:
        return begin
    return begin._replace(year=last.year - (begin[1:] > last[1:]))


def _list_days(first: Date, last: Date) -> Iterator[Date]:
    """The days of a range in the months of which it has a part; the months of which it has all."""
    months = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)[:_MOST_MONTHS]
    for number in months:
        year, month = number // 12, number % 12 + 1
        begin = first.day if number == months[0] and first.day else 1
        length = monthrange(year or 2000, month)[1]
        end = last.day if (year, month) == last[:2] and last.day else length
        if year and begin == 1 and end == length:
            yield Date(year, month, 0)
        else:
            yield from (Date(year, month, day) for day in range(begin, end + 1))
