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
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Final, NamedTuple, cast

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
_MONTH_FIRST: Final = frozenset(code for code, row in _TABLE.items() if row["month_first"])
_CAPITAL: Final = frozenset(code for code, row in _TABLE.items() if row["capital"])
_SURE_LETTERS: Final = 4
"""The fewest letters of a name that is read in a text of another language, or of none that is known, without a year."""
_BUDDHIST: Final = range(2400, 2700)
_BUDDHIST_YEARS: Final = 543
_MOST_MONTHS: Final = 60
"""The most whole months of a range that have terms."""

_NAME: Final = r"(?P<n>(?:[^\W\d_]|[\u0300-\u036f\u0900-\u0963\u0b82-\u0bcd\u0e31-\u0e4e]){3,16})\.?"
_YEAR: Final = r"(?P<y>(?:1[5-9]|20|21|2[4-6])\d\d)(?!\d)"
_DAY: Final = r"(?<![\w.,/-])(?P<d>\d{1,2})(?:st|nd|rd|th|er|º|ª|\.)?"
_LINK: Final = "(?:(?:{})\\s|d['’]|ב)?".format(
    "|".join(sorted({"of", "the", *(word for row in _TABLE.values() for word in row["links"])}))
)
_END: Final = r"(?![\w]|[-/.]\d)"
_FORMS: Final = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        # Year, month and day in digits; a time may follow.
        rf"(?<![\w.,/-]){_YEAR}(?P<s>[-/.])(?P<m>\d{{1,2}})(?P=s)(?P<d>\d{{1,2}})(?:T(?=\d\d:)|{_END})",
        rf"(?<![\w.,/-]){_YEAR}\.\s(?P<m>\d{{1,2}})\.\s(?P<d>\d{{1,2}})\.",
        rf"{_YEAR}\s?[年년]\s?(?P<m>\d{{1,2}})\s?[月월](?:\s?(?P<d>\d{{1,2}})\s?[日号號일])?",
        r"(?<!\d)(?P<m>\d{1,2})\s?[月월]\s?(?P<d>\d{1,2})\s?[日号號일]",
        # Day and month in digits, the day first but after a slash or a dash.
        rf"(?<![\w.,/-])(?P<d>\d{{1,2}})\.\s?(?P<m>\d{{1,2}})\.\s?{_YEAR}",
        rf"(?<![\w.,/-])(?P<d>\d\d)\.(?P<m>\d\d)\.(?P<short>\d\d){_END}",
        rf"(?<![\w.,/-])(?P<a>\d{{1,2}})(?P<s>[/-])(?P<b>\d{{1,2}})(?P=s){_YEAR}{_END}",
        rf"(?<![\w.,/-])(?P<a>\d{{1,2}})/(?P<b>\d{{1,2}})/(?P<short>\d\d){_END}",
        r"(?<![\w.,/-])(?P<d>\d\d)\.(?P<m>\d\d)\.(?!\w|\s\d)",
        # Names of months.
        rf"{_YEAR}\.?\s(?:թ\.\s)?{_NAME}\s(?P<d>\d{{1,2}})(?!\d)\.?",
        rf"{_DAY}[\s-]{_LINK}{_NAME}(?:(?:,?\s|-){_LINK}{_YEAR})?",
        rf"{_DAY}\stháng\s(?P<m>\d{{1,2}})(?:,?\s{_LINK}{_YEAR})?",
        rf"(?<!\w){_NAME}\s{_LINK}(?P<d>\d{{1,2}})(?:st|nd|rd|th|\.)?(?!\d|[.:,]\d)(?:,?\s{_YEAR})?",
        # A month of a year.
        rf"(?<!\w){_NAME},?[\s-]{_LINK}{_YEAR}",
        rf"(?<![\w.,/-])(?P<m>0?[1-9]|1[0-2])/{_YEAR}{_END}",
        rf"(?<![\w.,/-]){_YEAR}-(?P<m>0[1-9]|1[0-2]){_END}",
    )
)
# What stands between the two dates of a range, which may lack in the first one what is in the second.
_TO: Final = r"\s?(?:[-–—]|(?:to|until|through|bis|au|al?|até|tot|till?|do|la|до|έως)(?=\s))\s?"
_BETWEEN: Final = re.compile(_TO, re.IGNORECASE)
_FROM: Final = re.compile(
    rf"(?<![\w.,/-])(?P<d>\d{{1,2}})(?:st|nd|rd|th|\.(?:(?P<m>\d{{1,2}})\.)?)?{_TO}\Z", re.IGNORECASE
)
_UNTIL: Final = re.compile(r"\s?[-–—]\s?(?P<d>\d{1,2})(?!\d)(?:,?\s(?P<y>(?:1[5-9]|20|21)\d\d)(?!\d))?")
_LONE: Final = re.compile(rf"(?<!\w){_NAME}(?!\w)")
_HALF_DAY: Final = r"(?P<half>[ap])\.?\s?m\b\.?"
_TIMES: Final = (
    re.compile(rf"\b(?P<h>\d{{1,2}})(?:[:.](?P<m>\d\d))?\s?{_HALF_DAY}", re.IGNORECASE),
    re.compile(r"\b(?P<h>\d{1,2})(?:[:.](?P<m>\d\d))?\s?(?:uhr\b|o['’]clock\b)", re.IGNORECASE),
    re.compile(r"(?<![\w.,:])(?P<h>[01]?\d|2[0-4])\s?h\s?(?P<m>[0-5]\d)\b"),
    re.compile(r"(?<![\d:])(?P<h>[01]?\d|2[0-4]):(?P<m>[0-5]\d)(?![\d:])"),
)
_DIGIT: Final = re.compile(r"\d")
_DIGITS: Final = {
    code: str(unicodedata.decimal(chr(code))) for code in range(128, 0x20000) if chr(code).isdecimal()
}
_FULL: Final = re.compile(r"\d{4}-\d\d-\d\d")
_TERM: Final = re.compile(r"\d{4}-\d\d(?:-\d\d)?|--\d\d-\d\d")


class Date(NamedTuple):
    """A date. year, day: 0 if it has none, but not both unless it is a month alone."""

    year: int
    month: int
    day: int

    @property
    def terms(self) -> Sequence[str]:
        """The whole date, its month in its year, and its day in its month: those of them that it states."""
        month = f"{self.year:04}-{self.month:02}" if self.year else ""
        day = f"--{self.month:02}-{self.day:02}" if self.day else ""
        whole = f"{month}-{self.day:02}" if month and day else ""
        return [term for term in (whole, month, day) if term]


@dataclass(frozen=True, slots=True)
class FoundDate:
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


class FoundTime(NamedTuple):
    """A clock time of a text: its characters [start, end), and each time of day that it may be, as 9:05 or 21:05."""

    start: int
    end: int
    readings: Sequence[str]


def to_ascii_digits(text: str) -> str:
    """The text with the digits 0 to 9, whatever digits its script has."""
    return text if text.isascii() else text.translate(_DIGITS)


def is_date_term(term: str) -> bool:
    """Whether a term is one of the three of a date."""
    return _TERM.fullmatch(term) is not None


def is_whole_date(term: str) -> bool:
    """Whether a term is that of a date with its year, month and day."""
    return _FULL.fullmatch(term) is not None


def list_whole_dates(terms: Iterable[str]) -> Sequence[Date]:
    """The dates that the terms of whole ones stand for."""
    return [Date(*map(int, term.split("-"))) for term in terms if is_whole_date(term)]


def other_dates(text: str, language: str, asked: Sequence[Date]) -> bool:
    """Whether a text has whole dates, and none of those asked for, also not in a range."""
    if not asked:
        return False
    dates = [date for date in find_dates(text, language) if date.readings[0].year and date.readings[0].day]
    return bool(dates) and not any(
        date.readings[0] <= wanted <= date.until if date.until else wanted in date.readings
        for date in dates
        for wanted in asked
    )


def find_dates(text: str, language: str) -> Sequence[FoundDate]:
    """The dates of a text in order: those with at least two of day, month and year. language: ISO 639-1, or "" if it is not known."""
    if not _DIGIT.search(text):
        return ()
    text = to_ascii_digits(text)
    found: list[FoundDate] = []
    for form in _FORMS:
        for match in form.finditer(text):
            if any(other.start < match.end() and match.start() < other.end for other in found):
                continue
            if date := _read(match, language):
                insort(found, date, key=lambda date: date.start)
    return _join_ranges(text, found) if found else ()


def find_months(text: str, language: str) -> Iterator[FoundDate]:
    """The names of months that have a capital letter, with a date or alone."""
    for match in _LONE.finditer(text):
        month = _month_of(match["n"], language, has_year=False)
        if month and match["n"][0].isupper():
            yield FoundDate(*match.span("n"), (Date(0, month, 0),), match.span("n"))


def find_times(text: str) -> Iterator[FoundTime]:
    """The clock times of a text. The full hours up to 12 may be those of either half of the day, if the text does not say which."""
    if not _DIGIT.search(text):
        return
    text, end = to_ascii_digits(text), 0
    matches = (match for form in _TIMES for match in form.finditer(text))
    for match in sorted(matches, key=lambda match: (match.start(), -match.end())):
        caps = match.groupdict()
        hour, minute, half = int(caps["h"]), int(caps.get("m") or 0), (caps.get("half") or "").lower()
        if match.start() < end or hour > 24 or (half and hour > 12):
            continue
        hours = {hour % 12 + (12 if half == "p" else 0) if half else hour % 24}
        if not half and hour <= 12 and minute == 0:
            hours.add(hour % 12 + 12)
        end = match.end()
        yield FoundTime(match.start(), end, [f"{hour}:{minute:02}" for hour in sorted(hours)])


def _read(match: re.Match[str], language: str) -> FoundDate | None:
    caps = match.groupdict()
    year = int(caps.get("y") or 0) or (2000 + int(caps["short"]) if caps.get("short") else 0)
    name, span = caps.get("n"), (0, 0)
    if name:
        month, span = _month_of(name, language, has_year=bool(year)), match.span("n")
        alone = match.start() == span[0] and not year
        if alone and (name.lower() not in _own(language) or (_writes_capital(language) and name.islower())):
            return None  # “may 12 people”
    else:
        month = int(caps.get("m") or 0)
    if year in _BUDDHIST:
        year -= _BUDDHIST_YEARS
    if "a" in caps:
        orders = [(int(caps["b"]), int(caps["a"])), (int(caps["a"]), int(caps["b"]))]
        if (language or "en") in _MONTH_FIRST:
            orders.reverse()
    else:
        orders = [(month, int(caps.get("d") or 0))]
    needs_day = caps.get("d") is not None or "a" in caps
    readings = dict.fromkeys(
        Date(year, month, day)
        for month, day in orders
        if 1 <= month <= 12 and needs_day <= day <= monthrange(year or 2000, month)[1]
    )
    return FoundDate(*match.span(), [*readings], span) if readings else None


def _own(language: str) -> Mapping[str, int]:
    return _NAMES.get(language or "en", {})


def _writes_capital(language: str) -> bool:
    return (language or "en") in _CAPITAL


def _month_of(name: str, language: str, *, has_year: bool) -> int:
    """The number of a month; 0 if it is none."""
    name = name.lower().removesuffix(".")
    own = _own(language).get(name)
    if own or not (has_year or len(name) >= _SURE_LETTERS):
        return own or 0
    return _ANYWHERE.get(name, 0)


def _join_ranges(text: str, found: Sequence[FoundDate]) -> Sequence[FoundDate]:
    joined: list[FoundDate] = []
    for date in found:
        last, own = date.readings[0], date
        before = joined[-1] if joined else None
        if before is not None and before.until is None and _BETWEEN.fullmatch(text, before.end, date.start):
            begin = before.readings[0]
            begin = begin._replace(year=begin.year or last.year) if begin.day or not last.day else begin
            if _is_range(begin, last):
                joined[-1] = replace(before, end=date.end, readings=(begin, *before.readings[1:]), until=last)
                continue
        low = before.end if before is not None else 0
        if last.day and (begun := _FROM.search(text, max(low, date.start - 16), date.start)):
            begin = Date(last.year, int(begun["m"] or last.month), int(begun["d"]))
            if _is_range(begin, last):
                own = replace(date, start=begun.start(), readings=(begin,), until=last)
        elif last.day and date.name[0] and (until := _UNTIL.match(text, date.end)):
            year = last.year or int(until["y"] or 0)
            begin, last = last._replace(year=year), Date(year, last.month, int(until["d"]))
            if _is_range(begin, last):
                own = replace(date, end=until.end(), readings=(begin,), until=last)
        joined.append(own)
    return joined


def _is_range(first: Date, last: Date) -> bool:
    """Whether two dates are the ends of a range."""
    return bool(first.year) == bool(last.year) and bool(first.day) == bool(last.day) and first < last


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
