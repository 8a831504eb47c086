"""Reads the quantities of a text: numbers with their units, percentages, fractions, clock times, dates and ordinals, in
digits and, in English and German, in words. Pure functions.

No quantity is computed with: two texts have the same quantity if both state it, in whatever notation.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from importlib.resources import files
from itertools import takewhile
from typing import Final, cast

from text_to_num import alpha2digit  # pyright: ignore[reportUnknownVariableType] its package has few types

from responsa_formats.text.languages import STOPWORDS
from responsa_server.text.dates import MONTH_NAMES, Date, find_dates, find_months, find_times
from responsa_server.text.lexical import POINT, Analyzer, read_number

_in_digits: Final = cast("Callable[[str, str, float], str]", alpha2digit)
"""A text with its number words in digits. It takes the text, a language, and the least number that is an ordinal in digits."""
_WORDS: Final = frozenset({"en", "de"})
"""The languages whose number words are read."""
_MOST_CHARS: Final = 4_096
_TABLE: Final = cast(
    "dict[str, list[str]]",
    tomllib.loads((files("responsa_server.text") / "measures.toml").read_text("utf-8")),
)
_FRACTIONS: Final = (
    re.compile(r"(?<![\d/.,])(?P<n>\d{1,3})\s?[/⁄]\s?(?P<of>[1-9]\d{0,2})(?![\d/])"),
    re.compile(r"\b(?P<n>\d{1,2}|an?|the)[\s-](?P<of>\d{1,2})(?:rd|th|nd)(?:s\b|\sof\b)", re.IGNORECASE),
    re.compile(
        r"\b(?:(?P<n>\d{1,2}|ein|das)[\s-])?(?<!and\s)(?<!and\sa\s)(?P<word>half|halves|halbe[nrsm]?|hälfte|quarters?|drittel|viertel|fünftel|zehntel)\b(?!\s(?:past|to)\b)",
        re.IGNORECASE,
    ),
)
# The first three letters of a written fraction: what it divides by.
_OF: Final = {"hal": 2, "häl": 2, "qua": 4, "vie": 4, "dri": 3, "fün": 5, "zeh": 10}
_OF_UNIT: Final = re.compile(r"\s(?:of\s)?(?:an?\s|the\s|einer\s)?(?P<unit>[^\W\d_]+)", re.IGNORECASE)
_SIGNS: Final = {"½": " 1/2", "⅓": " 1/3", "⅔": " 2/3", "¼": " 1/4", "¾": " 3/4"}
_ORDINAL: Final = re.compile(
    r"\b(?P<n>\d{1,4})(?:st|nd|rd|th)\b|\b(?P<g>\d{1,3})\.(?=\s[^\W\d_])", re.IGNORECASE
)
_FORMS: Final = {"fraction": _FRACTIONS, "ordinal": (_ORDINAL,)}
"""How quantities other than plain numbers, dates and times are written. Each is taken out of the text before the next is looked for."""
_NUMBER: Final = re.compile(
    r"(?<![\w.])(?P<sign>[$€£¥]\s?)?(?P<digits>\d{1,3}(?:[.,'’\u00a0\u2009\u202f ]\d{3}(?!\d))+(?:[.,]\d+)?|\d+(?:[.,]\d+)?)"
    r"(?P<unit>[\s-]{0,8}(?:%|°\w?|[$€£¥]|[^\W\d_]+))?"
)
# A number after a name with a capital letter belongs to the name, as in "Windows 11".
_NAMED: Final = re.compile(r"\b[A-Z][^\Wa-z]*+[a-z]\w*+ $")
_GROUPS: Final = re.compile(r"['’\s]")
_UNITS: Final = {
    name: (names[0], base, Fraction(factor))
    for base, factor, *names in map(str.split, _TABLE["units"])
    for name in names
}
"""Of each name of a unit the first name of the unit, the base unit, and how many of that it is."""
MEASURES: Final = frozenset((*MONTH_NAMES, *_UNITS))
"""The words in lower case that belong to quantities: months and units."""
_ONE: Final = re.compile(
    rf"(?<!half )\b(?:an?|eine?[mnrs]?)(?=\s(?:{'|'.join(name for name in _UNITS if len(name) > 2 and name != 'second')})\b)",
    re.IGNORECASE,
)
"""The article before a unit, which counts it. "A second" may be another one."""
_THOUSANDS: Final = re.compile(r"(?<=\d)k\b")
_LEAST_NAME: Final = 5
"""The fewest letters behind a figure that are the rest of a name, and no unit."""
_MOST_SPELLED: Final = 16
"""The most words that a number is spelled in."""
_SPELLED: Final = frozenset(map(str, range(1, 13)))
_FIGURE: Final = re.compile(r"\b\d{1,2}\b")
_PLACED: Final = re.compile(r"\w+|[^\w\s]")
_AFTER: Final = re.compile(r"[%€$£]|[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A quantity of a text.

    kind: "number", "date", "time" or "ordinal". values: the quantity in each way in which its notation can be read.
    unit: the sign before it, or the word or sign after it; or "".
    sizes: the values in the base unit, if the unit is known. near: the unit, and the terms of the next words before a
    function word. weak: whether it may be no quantity, as "one" in "one of them". exact: of a date, the value with all
    its parts; the others lack some. span: its characters in the text.
    """

    kind: str
    values: frozenset[str]
    unit: str = ""
    sizes: frozenset[str] = frozenset()
    near: frozenset[str] = frozenset()
    weak: bool = False
    exact: str = ""
    span: tuple[int, int] = field(default=(0, 0), compare=False)

    def is_in(self, others: Sequence[Quantity]) -> bool:
        """Whether one of the others states the same quantity, and not only with another unit."""
        alike = [other for other in others if other.kind == self.kind]
        if self.weak:
            # Only another number of the same things shows that it counts.
            counted = [other for other in alike if self.unit and self.unit in other.near]
            return not counted or any(not self.values.isdisjoint(other.values) for other in counted)
        wanted = {self.exact} if self.exact else self.values
        same = [other for other in alike if not other.values.isdisjoint(wanted)]
        bare = self.kind == "ordinal" or not self.unit
        # A unit is a word of its own; of other words, one in common says what is counted.
        units = frozenset({self.unit}) if self.sizes else self.near
        return any(bare or not other.near or not units.isdisjoint(other.near) for other in same) or any(
            not other.sizes.isdisjoint(self.sizes) for other in alike
        )

    def is_like(self, other: Quantity) -> bool:
        """Whether the other may stand in this one's place: another value with this unit, or this value with another."""
        if self.kind != other.kind or self.kind in ("date", "time"):
            return self.kind == other.kind
        return (
            not self.near.isdisjoint(other.near)
            or not self.values.isdisjoint(other.values)
            or not {size.split()[1] for size in self.sizes}.isdisjoint(
                size.split()[1] for size in other.sizes
            )
        )


def quantities(text: str, language: str, analyzer: Analyzer) -> Sequence[Quantity]:
    """The quantities of a text, of which the first 4,096 characters are read. language: ISO 639-1, or "" if it is not known."""
    text = original = text[:_MOST_CHARS]
    for sign, word in _SIGNS.items():
        text = text.replace(sign, word)
    text = _THOUSANDS.sub("000", text)
    spelled = _SPELLED.difference(_FIGURE.findall(text))
    if language in _WORDS or not language:
        text = _ONE.sub("1", text)
        text = _in_digits(text, language or "en", 0)
    digits = text
    quantities: list[Quantity] = []
    for find in (_dates, _times):
        for quantity in find(text, language):
            quantities.append(quantity)
            text = _blank(text, *quantity.span)
    for kind, patterns in _FORMS.items():
        for pattern in patterns:
            for match in pattern.finditer(text):
                if quantity := _read(kind, match, spelled, language, analyzer):
                    quantities.append(replace(quantity, span=match.span()))
                    text = _blank(text, *match.span())
    quantities += _numbers(text, language, analyzer, spelled)
    if digits == original:
        return quantities
    places = _align(original, digits)
    return [replace(quantity, span=_map_span(places, quantity.span)) for quantity in quantities]


def _blank(text: str, start: int, end: int) -> str:
    return text[:start] + " " * (end - start) + text[end:]


def _dates(text: str, language: str) -> Iterator[Quantity]:
    """A date without a year or a day is stated by each date that has its other parts."""
    dates = find_dates(text, language)
    for date in dates:
        ends = [*date.readings, *([date.until] if date.until else ())]
        values = {value for each in ends for value in _list_parts(each)}
        exact = "" if len(ends) > 1 else "{}-{}-{}".format(*(part or "" for part in ends[0]))
        yield Quantity("date", frozenset(values), exact=exact, span=(date.start, date.end))
    for month in find_months(text, language):
        if not any(date.start <= month.start < date.end for date in dates):
            values = frozenset(_list_parts(month.readings[0]))
            yield Quantity("date", values, exact=next(iter(values)), span=(month.start, month.end))


def _list_parts(date: Date) -> Iterator[str]:
    for year in {date.year, 0}:
        for day in {date.day, 0}:
            yield f"{year or ''}-{date.month}-{day or ''}"


def _times(text: str, _language: str) -> Iterator[Quantity]:
    for start, end, readings in find_times(text):
        yield Quantity("time", frozenset(readings), span=(start, end))


def _align(original: str, digits: str) -> Sequence[tuple[int, int, int, int]]:
    """Of each word of a text with its number words in digits, its place there, and the place in the original of the
    words that it stands for."""
    words, others = list(_PLACED.finditer(original)), list(_PLACED.finditer(digits))
    places: list[tuple[int, int, int, int]] = []
    at = to = 0
    while to < len(others) and at < len(words):
        # The fewest words on both sides after which the texts are the same again.
        skips = ((skip, total - skip) for total in range(_MOST_SPELLED) for skip in range(total, -1, -1))
        was, now = next(
            (
                (skip, more)
                for skip, more in skips
                if [word.group() for word in words[at + skip : at + skip + 1]]
                == [word.group() for word in others[to + more : to + more + 1]]
            ),
            (len(words) - at, len(others) - to),
        )
        for number in others[to : to + now]:
            places.append((*number.span(), words[at].start(), words[max(at + was - 1, at)].end()))
        at, to = at + was, to + now
        for word, number in zip(words[at : at + 1], others[to : to + 1], strict=False):
            places.append((*number.span(), *word.span()))
        at, to = at + 1, to + 1
    return places


def _map_span(places: Sequence[tuple[int, int, int, int]], span: tuple[int, int]) -> tuple[int, int]:
    within = [pair[2:] for pair in places if pair[0] < span[1] and span[0] < pair[1]]
    return (within[0][0], within[-1][1]) if within else (0, 0)


def _read(
    kind: str, match: re.Match[str], spelled: frozenset[str], language: str, analyzer: Analyzer
) -> Quantity | None:
    caps = match.groupdict()
    match kind:
        case "ordinal":
            number = caps["n"] or caps["g"]
            near = _list_next(match.string, match.end(), language, analyzer)
            unit = near[0] if near else ""
            return Quantity(
                kind,
                frozenset({number}),
                unit,
                near=frozenset(near),
                weak=number == "1" and number in spelled,
            )
        case _:
            of = int(caps["of"]) if caps.get("of") else _OF[caps["word"][:3].lower()]
            count = caps["n"] or "1"
            part = Fraction(int(count) if count.isdigit() else 1, of)
            if not 0 < part < 100:
                return None
            unit = _OF_UNIT.match(match.string, match.end())
            sizes = _sizes(frozenset({str(part)}), unit["unit"].lower()) if unit else frozenset[str]()
            return Quantity(
                "number", frozenset({_shortest(f"{float(part * 100):.2f}")}), "%", sizes, frozenset({"%"})
            )


def _numbers(text: str, language: str, analyzer: Analyzer, spelled: frozenset[str]) -> Iterator[Quantity]:
    stop = STOPWORDS.get(language or "en", frozenset())
    for match in _NUMBER.finditer(text):
        sign = (match["sign"] or match["unit"] or "").strip(" -\u00a0\u202f").lower()
        if sign not in _UNITS and _NAMED.search(text[max(match.start() - 40, 0) : match.start()]):
            sign = ""  # the figure of “Wren 2” counts nothing
        unit = "" if sign in stop and sign != "per" else _unit(sign, language, analyzer)
        if (
            match["unit"]
            and match["unit"].isalpha()
            and len(match["unit"]) >= _LEAST_NAME
            and sign not in _UNITS
        ):
            continue  # a name, such as 37signals
        near = frozenset(filter(None, (unit, *_list_next(text, match.end("digits"), language, analyzer))))
        values = _values(match["digits"], language)
        sizes = _sizes(values, sign)
        # “In two parts” counts what the source may not count.
        weak = values <= spelled and ("1" in values or not sizes)
        # A number ends with its unit; a word after it that is none, does not belong to it.
        end = match.end() if sign in _UNITS or not sign.isalpha() else match.end("digits")
        yield Quantity("number", values, unit, sizes, near, weak, span=(match.start(), end))


def _list_next(text: str, position: int, language: str, analyzer: Analyzer) -> Sequence[str]:
    """The next words up to a function word, at most three."""
    stop = STOPWORDS.get(language or "en", frozenset())
    after = _AFTER.findall(text[position : position + 40].lower())[:3]
    return [
        _unit(word, language, analyzer)
        for word in takewhile(lambda word: word == "per" or word not in stop, after)
    ]


def _unit(sign: str, language: str, analyzer: Analyzer) -> str:
    if sign in _UNITS:
        return _UNITS[sign][0]
    return next(iter(analyzer.terms(sign, language)), sign)


def _sizes(values: frozenset[str], unit: str) -> frozenset[str]:
    if unit not in _UNITS:
        return frozenset()
    _, base, factor = _UNITS[unit]
    return frozenset(f"{Fraction(value) * factor} {base}" for value in values if "," not in value)


def _values(digits: str, language: str) -> frozenset[str]:
    """The number in each way in which it can be read: 1,000 is one thousand in English, 1 in German, and only itself if
    the language is not known."""
    bare = _GROUPS.sub("", digits)
    values = {bare, *_GROUPS.split(digits)} if bare != digits else {bare}
    if re.search("[.,]", bare):
        points = ("." if language in POINT else ",") if language else ".,"
        readings = {read_number(bare, point) for point in points}
        values |= readings if len(readings) == 1 else set[str]()
    return frozenset(_shortest(value) for value in values)


def _shortest(number: str) -> str:
    if "." in number and "," not in number:
        number = number.rstrip("0").rstrip(".")
    return number.lstrip("0") or "0"
