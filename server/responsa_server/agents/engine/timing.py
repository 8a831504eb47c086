"""The dates, times and places that a message names, and what it asks about them. English, by rules, and pure."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from responsa_server.agents.engine.rewriting import content_words
from responsa_server.text.dates import DAYS, MONTHS
from responsa_server.text.number_words import in_digits

Arguments = Mapping[str, object]
_MOST_CALLS: Final = 4

_MONTH: Final = "|".join(f"{one[:3]}(?:{one[3:]})?" for one in MONTHS) + "|sept"
_DAY: Final = r"\d{1,2})(?:st|nd|rd|th|\.)?"
_WEEKDAY: Final = "|".join(DAYS)
_YEARS: Final = r"(?:,?[ ](?:of[ ]|in[ ])?(?P<{}>\d{{4}}|(?:this|next|last)[ ]year))?"
_ORDINALS: Final = ("first", "second", "third", "fourth", "last")
DATE: Final = re.compile(
    rf"""\b(?:(?P<iso>\d{{4}}-\d{{2}}-\d{{2}})
    |(?P<d1>{_DAY}[ ](?:of[ ])?(?P<m1>{_MONTH})\b\.?{_YEARS.format("y1")}
    |(?P<m2>{_MONTH})\.?[ ](?:the[ ])?(?P<d2>{_DAY}(?!:){_YEARS.format("y2")}
    |(?P<d3>\d{{1,2}})\.(?P<m3>\d{{1,2}})\.(?P<y3>\d{{4}})
    |(?P<feast>christmas[ ]eve|christmas(?:[ ]day)?|boxing[ ]day|new[ ]year(?:['’]?s)?(?:[ ](?:day|eve))?){_YEARS.format("y4")}
    |(?P<near>today|the[ ]day[ ]after[ ]tomorrow|tom+or+ow|the[ ]day[ ]before[ ]yesterday|yesterday)
    |(?P<which>next|coming|this|on|last)[ ](?:coming[ ])?(?P<day>{_WEEKDAY})(?!,?[ ]\d)
    |the[ ](?P<ordinal>{"|".join(_ORDINALS)})[ ](?P<nth>{_WEEKDAY})[ ](?:of|in)[ ](?:(?P<nm>{_MONTH}){_YEARS.format("y5")}|(?P<rm>this|next)[ ]month)
    |(?P<end>(?:the[ ])?end[ ]of[ ](?:the|this)[ ](?P<ended>month|quarter|year))
    |the[ ]year[ ](?P<y6>\d{{4}})(?=[ ]began|[ ]begin)
    |week[ ](?P<week>\d{{1,2}})
    |the[ ](?P<alone>\d{{1,2}})(?:st|nd|rd|th)(?:[ ]of[ ](?P<am>this|next|last)[ ]month)?(?![ ](?:of|floor|edition|place|time|century))
    )(?!\w)""",
    re.IGNORECASE | re.VERBOSE,
)
_FEASTS: Final = {
    "christmas eve": (12, 24),
    "christmas": (12, 25),
    "christmas day": (12, 25),
    "boxing day": (12, 26),
}
_NEAR: Final = {
    "the day before yesterday": -2,
    "yesterday": -1,
    "today": 0,
    "tomorrow": 1,
    "the day after tomorrow": 2,
}
_DURATION: Final = re.compile(
    r"\b(?P<count>\d{1,3}(?:,\d{3})|\d{1,5}|an?)[ ](?P<work>working[ ]|business[ ])?(?P<unit>day|night|week|fortnight|month|year)s?\b(?:['’]s?)?",
    re.IGNORECASE,
)
_THIS_YEAR: Final = re.compile(r"\bthis year\b", re.IGNORECASE)
_FROM: Final = re.compile(
    r"\s+(?P<sign>from|after|following|before|prior\s+to)\s+(?:the\s+)?(?P<now>now\b)?", re.IGNORECASE
)
_AGO_AFTER: Final = re.compile(r"\s+(?:ago|back|earlier)\b", re.IGNORECASE)
_IN_BEFORE: Final = re.compile(r"\b(?:in|within)\s+(?:about\s+)?$", re.IGNORECASE)
_PLUS_BEFORE: Final = re.compile(r"^\s*(?P<sign>plus|minus|\+|-)\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Dated:
    """Dates in a text, in its order, and the durations that belong to none of them."""

    dates: Sequence[date]
    durations: Sequence[re.Match[str]]


def dates(text: str, today: date) -> Sequence[date]:
    """The dates that a text names, in its order. A date without a year is the next one from today."""
    return _dated(text, today).dates


def _dated(text: str, today: date) -> _Dated:
    plain = in_digits(" ".join(text.split()))
    named = [(one.start(), one.end(), day) for one in DATE.finditer(plain) if (day := _date(one, today))]
    if _THIS_YEAR.search(plain):
        named = [
            (start, end, day if day.year == today.year or _YEAR.search(plain) else _year_before(day))
            for start, end, day in named
        ]
    found, alone = list[tuple[int, date]](), list[re.Match[str]]()
    used = set[int]()
    for one in _DURATION.finditer(plain):
        if any(start <= one.start() < end for start, end, _ in named):
            continue
        day = None
        if (link := _FROM.match(plain, one.end())) is not None:
            sign = -1 if link["sign"].casefold() in ("before", "prior to") else 1
            near = next((each for each in named if abs(each[0] - link.end()) <= _ARTICLE), None)
            if link["now"]:
                day = _shifted(today, one, sign)
            elif near is not None:
                used.add(near[0])
                day = _moved(near[2], one, sign, today, yearless=_YEAR.search(plain) is None)
        elif _AGO_AFTER.match(plain, one.end()):
            day = _shifted(today, one, -1)
        elif _IN_BEFORE.search(plain, 0, one.start()):
            day = _shifted(today, one, 1)
        else:
            before = next((each for each in reversed(named) if each[1] <= one.start()), None)
            if before is not None and (plus := _PLUS_BEFORE.match(plain[before[1] : one.start()])):
                used.add(before[0])
                day = _shifted(before[2], one, 1 if plus["sign"] in ("plus", "+") else -1)
        if day is not None:
            found.append((one.start(), day))
        else:
            alone.append(one)
    found += [(start, day) for start, _, day in named if start not in used]
    return _Dated([day for _, day in sorted(found)], alone)


def _moved(day: date, duration: re.Match[str], sign: int, today: date, *, yearless: bool) -> date | None:
    """The date that is a duration after or before a day. If no year is named, the day is the last one whose result is still to come."""
    if (
        yearless
        and day > today
        and (earlier := _shifted(_year_before(day), duration, sign))
        and earlier >= today
    ):
        return earlier
    return _shifted(day, duration, sign)


def _shifted(day: date, duration: re.Match[str], sign: int) -> date | None:
    """The date that is a duration after a day, or before it if the sign is negative."""
    count = 1 if duration["count"].casefold() in ("a", "an") else int(duration["count"].replace(",", ""))
    unit = duration["unit"].casefold()
    try:
        if duration["work"]:
            if count > _MOST_WORKING_DAYS:
                return None
            while count:
                day += timedelta(days=sign)
                count -= day.weekday() < _SATURDAY
            return day
        if unit in ("month", "year"):
            months = day.month - 1 + sign * count * (12 if unit == "year" else 1)
            year, month = day.year + months // 12, months % 12 + 1
            return date(year, month, min(day.day, monthrange(year, month)[1]))
        return day + timedelta(days=sign * count * {"week": 7, "fortnight": 14}.get(unit, 1))
    except (ValueError, OverflowError):
        return None


# A link may have swallowed the article of a date.
_ARTICLE: Final = 4
_SATURDAY: Final = 5
_MOST_WORKING_DAYS: Final = 1000


def _date(found: re.Match[str], today: date) -> date | None:
    group = {name: (value.casefold() if value else "") for name, value in found.groupdict().items()}
    try:
        if group["iso"]:
            return date.fromisoformat(group["iso"])
        if near := group["near"]:
            return today + timedelta(days=_NEAR["tomorrow" if near.startswith("tom") else near])
        if day := group["day"]:
            ahead = (DAYS.index(day.capitalize()) - today.weekday() - 1) % 7 + 1
            return today + timedelta(
                days=ahead
                - (7 if group["which"] == "last" else 0)
                - (7 if group["which"] == "last" and ahead == 7 else 0)
            )
        if feast := group["feast"]:
            month, number = _feast(feast)
            year = _year(group["y4"], today)
            return date(year, month, number) if year else _next(month, number, today)
        if ordinal := group["ordinal"]:
            return _nth(ordinal, group, today)
        if ended := group["ended"]:
            month = {"month": today.month, "quarter": (today.month + 2) // 3 * 3, "year": 12}[ended]
            return date(today.year, month, monthrange(today.year, month)[1])
        if group["y6"]:
            return date(int(group["y6"]), 1, 1)
        if group["week"]:
            return date.fromisocalendar(today.isocalendar().year, int(group["week"]), 1)
        if group["alone"]:
            month = _shifted_month(today, {"next": 1, "last": -1}.get(group["am"], 0))
            return month.replace(day=int(group["alone"]))
        for place in ("1", "2", "3"):
            if group[f"d{place}"]:
                month, number = _month(group[f"m{place}"]), int(group[f"d{place}"])
                year = _year(group[f"y{place}"], today)
                return date(year, month, number) if year else _next(month, number, today)
    except (ValueError, OverflowError):
        return None
    return None


def _year(said: str, today: date) -> int:
    """The year that a text names; 0 if it does not name a year."""
    if said.isdigit():
        return int(said)
    return today.year + {"last": -1, "this": 0, "next": 1}[said.split()[0]] if said else 0


def _nth(ordinal: str, group: Mapping[str, str], today: date) -> date:
    """The first, second, … or last of a weekday in a month."""
    weekday = DAYS.index(group["nth"].capitalize())
    if group["nm"]:
        month = _month(group["nm"])
        year = _year(group["y5"], today) or (today.year if month >= today.month else today.year + 1)
        first = date(year, month, 1)
    else:
        first = _shifted_month(today, 1 if group["rm"] == "next" else 0)
    days = [first + timedelta(days=one) for one in range(monthrange(first.year, first.month)[1])]
    found = [one for one in days if one.weekday() == weekday]
    return found[-1 if ordinal == "last" else _ORDINALS.index(ordinal)]


def _shifted_month(today: date, by: int) -> date:
    """The first day of the month that is this number of months after today's."""
    months = today.year * 12 + today.month - 1 + by
    return date(months // 12, months % 12 + 1, 1)


def _feast(name: str) -> tuple[int, int]:
    if name in _FEASTS:
        return _FEASTS[name]
    return (12, 31) if name.endswith("eve") else (1, 1)


def _month(name: str) -> int:
    if name.isdigit():
        return int(name)
    return next(place for place, one in enumerate(MONTHS, 1) if one.startswith(name[:3].capitalize()))


def _next(month: int, day: int, today: date) -> date:
    this_year = date(today.year, month, day)
    return this_year if this_year >= today else date(today.year + 1, month, day)


_REGIONS: Final = ("Africa", "America", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")
# The last parts of some zones' names are ordinary words.
_NOT_PLACES: Final = {
    "easter",
    "christmas",
    "north",
    "south",
    "west",
    "center",
    "midway",
    "nome",
    "acre",
    "act",
    "east",
}
_PLACES: Final = {
    place: zone
    for zone, places in {
        "America/New_York": "new york city,nyc,manhattan,eastern time,eastern standard time,orlando,boston,washington,washington dc,miami,atlanta,philadelphia",
        "America/Los_Angeles": "la,pacific time,pacific standard time,pst,hollywood,san francisco,seattle,las vegas,san diego,california,portland",
        "America/Chicago": "central time,houston,dallas,austin,texas,new orleans",
        "America/Toronto": "ottawa,montreal",
        "America/Sao_Paulo": "são paulo,rio,rio de janeiro,brasilia",
        "America/Argentina/Buenos_Aires": "argentina",
        "Asia/Kolkata": "india,delhi,new delhi,mumbai,bombay,bangalore,bengaluru,chennai",
        "Asia/Shanghai": "china,beijing,peking,shenzhen,guangzhou",
        "Asia/Tokyo": "japan,osaka,kyoto",
        "Asia/Seoul": "south korea,korea",
        "Asia/Ho_Chi_Minh": "vietnam,hanoi",
        "Asia/Bangkok": "thailand",
        "Asia/Manila": "philippines",
        "Asia/Karachi": "pakistan,islamabad,lahore",
        "Asia/Dubai": "abu dhabi,uae,emirates",
        "Asia/Jerusalem": "israel,tel aviv",
        "Africa/Johannesburg": "south africa,cape town",
        "Africa/Cairo": "egypt",
        "Africa/Nairobi": "kenya",
        "Africa/Lagos": "nigeria",
        "Australia/Sydney": "canberra",
        "Europe/London": "uk,united kingdom,england,scotland,wales,britain,great britain,manchester,leeds,edinburgh,bristol,cardiff,glasgow,birmingham,liverpool,york",
        "Europe/Dublin": "ireland",
        "Europe/Berlin": "germany,cet,central european time,munich,hamburg,frankfurt,cologne",
        "Europe/Paris": "france,lyon,marseille",
        "Europe/Madrid": "spain,barcelona,seville",
        "Europe/Lisbon": "portugal,porto",
        "Europe/Rome": "italy,milan,naples,florence,venice",
        "Europe/Zurich": "switzerland,geneva,bern,basel,zürich",
        "Europe/Vienna": "austria,salzburg,graz",
        "Europe/Amsterdam": "netherlands,rotterdam,the hague",
        "Europe/Brussels": "belgium,antwerp",
        "Europe/Stockholm": "sweden,gothenburg",
        "Europe/Oslo": "norway,bergen",
        "Europe/Copenhagen": "denmark",
        "Europe/Helsinki": "finland",
        "Europe/Warsaw": "poland,krakow",
        "Europe/Prague": "czech republic,czechia,brno",
        "Europe/Budapest": "hungary",
        "Europe/Athens": "greece",
        "Europe/Istanbul": "turkey,ankara",
        "Europe/Kyiv": "ukraine,kiev",
        "Pacific/Auckland": "new zealand,wellington,christchurch",
        "Pacific/Honolulu": "hawaii",
        "America/Denver": "mountain time",
        "UTC": "utc,gmt",
    }.items()
    for place in places.split(",")
}
_SHORT: Final = frozenset(("nyc", "utc", "gmt", "cet", "pst", "uk", "uae"))
_WORDS: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|[A-Za-z]+/[A-Za-z_/]+")


@lru_cache(maxsize=1)
def _zones() -> Mapping[str, str]:
    """Time zones by the names of places, in lower case."""
    found = dict[str, str]()
    known = sorted(available_timezones())
    for zone in known:
        region, _, rest = zone.partition("/")
        place = rest.rpartition("/")[2].replace("_", " ").casefold()
        if region in _REGIONS and place and place not in _NOT_PLACES:
            found.setdefault(place, zone)
    found |= {place: zone for place, zone in _PLACES.items() if zone in known}
    return found | {zone.casefold(): zone for zone in known if "/" in zone}


def zones(text: str) -> Sequence[tuple[int, str]]:
    """The time zones of the places that a text names, each with its position, in the order of the text."""
    known, found, end = _zones(), list[tuple[int, str]](), 0
    words = list(_WORDS.finditer(text))
    for place, first in enumerate(words):
        if first.start() < end:
            continue
        for last in reversed(words[place : place + 3]):
            name = " ".join(text[first.start() : last.end()].casefold().split())
            # Short names such as "la" are words too, unless they are written like names.
            if name in known and (len(name) > 3 or text[first.start()].isupper() or name in _SHORT):
                found.append((first.start(), known[name]))
                end = last.end()
                break
    return found


_ASKS_TIME: Final = re.compile(
    r"\b(?:time|time\s?zones?|date|clock|weekday|o['’]?clock|how late|what hour|is today|(?:what|which|is it)\s+(?:day|month|year|monday|tuesday|wednesday|thursday|friday|saturday|sunday)|day\s+(?:of|is|was|will)|today['’]?s)\b",
    re.IGNORECASE,
)
_WEEKDAY_ASKED: Final = re.compile(
    rf"^\W*(?:and\s+)?(?:was|is|will|does|did)\b.*\b(?:a|on|on a|be a|be)\s+(?:{'|'.join(DAYS)})\W*$",
    re.IGNORECASE,
)
# A day is named, and the message asks for its date or its weekday.
_DATE_ASKED: Final = re.compile(
    rf"""\b(?:(?:what|which|wat|on\ (?:what|which))\s+(?:week)?(?:days?|dates?)|(?:what|when)(?:['’]?s|\ is|\ was)\ (?:the\ )?(?:date|day|last|that|next)|weekday|weekend|working\ day|what\ date|where\ do\ (?:i|we)\ land|where\ does\ that\ take)
    |\b(?:{_WEEKDAY})\W*(?:\?|$|,\ is|when\b|[-–]\ what)|\b(?:a|on\ a)\s+(?:{_WEEKDAY})\b|\bwhen['’]?s\b|\bwhen\ (?:is|are|was|will)\b|^\W*is\s+(?:it\s+)?.*\d(?:st|nd|rd|th)|\bso\ on\b""",
    re.IGNORECASE | re.VERBOSE,
)
_NOW_ASKED: Final = re.compile(
    rf"""\b(?:what|which)(?:['’]?s|\ is)?\s+(?:the\s+)?(?:current\s+)?(?:time|date|hour)(?:\ is\ it|\ it\ is|\ now|\ right\ now)?\W*(?:\?|$|please)|\btoday['’]?s\s+date\b|\bwhat\s+(?:time|day|date)\s+is\s+it\b|\bhow\s+late\s+is\s+it\b
    |\b(?:which|what|odd|even)\b.*\b(?:calendar\ )?week\b(?!\ \d)|\bweek\s+number\b|\bleap\s+year\b|\bis\s+it\s+(?:already\s+|still\s+|really\s+)?(?:past\s+)?(?:noon|midnight|{_WEEKDAY})\b.*\?|\bis\s+it\s+(?:{_WEEKDAY})\s+or\b""",
    re.IGNORECASE | re.VERBOSE,
)
_PERIOD: Final = re.compile(
    r"\bhow\s+(?:many|much|long)\b.*\b(?:(?:this|the)\s+(?P<period>month|quarter|year)\b)", re.IGNORECASE
)
# A period that begins on a date: what follows it, or whether it is over.
_ENDS: Final = re.compile(
    r"\b(?:when|which\s+(?:day|date)|what\s+(?:day|date)|end|ends|over|last\s+day|until|till|expires?|valid|run(?:s|ning)?\s+out|good\s+for|home|how\s+(?:long|much\s+time))\b|\bon\s+(?:which|what)\b",
    re.IGNORECASE,
)
_LEFT_ASKED: Final = re.compile(r"\bhow\s+(?:much|long|many)\b", re.IGNORECASE)
# A date of these is not the next one.
_PAST: Final = re.compile(
    r"\b(?:ago|since|(?:have|has)\s+passed|was|were|did|began|bought|gave|got\s+(?:it|them)|\w{2,}ed\s+(?:\w+\s+){0,3}on|left\s+on|since\s+when)\b",
    re.IGNORECASE,
)
_EARLIER: Final = re.compile(r"\b(?:earlier|before|ago)\b", re.IGNORECASE)
_HOURS_ASKED: Final = re.compile(r"\bhow\s+(?:many\s+(?:hours|minutes)|long|much\s+time)\b", re.IGNORECASE)
_SPAN: Final = re.compile(
    r"""\bhow\s+(?:many|long|old|much\s+(?:time|longer))\b|\bbetween\b|\b(?:days|weeks|months|years|time)\s+(?:until|till|to|since|left)\b|\blies\s+further\b""",
    re.IGNORECASE,
)
_DAYS_ASKED: Final = re.compile(r"\bhow\s+many\s+(?:days|weeks|months)\b", re.IGNORECASE)
_YEAR: Final = re.compile(r"\b\d{4}\b")
# The time of an event is not on the clock.
_EVENT: Final = re.compile(
    r"\btime\b.*\b(?:does|do|did|is|are|will|can|must|should|has|have)\b(?!\s+it\b).*\b\w|\btimes\b.*\bfrom\b|\b(?:opens?|closes?|begins?|starts?|kicks?|arrives?|leaves?|departs?)\b",
    re.IGNORECASE,
)
_CLOCK: Final = re.compile(
    r"\b(?:(?P<hour>\d{1,2})(?::(?P<minute>\d{2}))?\s*(?P<half>am|pm|a\.m\.|p\.m\.|o['’]?clock|h|uhr)?|(?P<named>noon|midnight))(?!\w)",
    re.IGNORECASE,
)
# A message that asks for the time of now says little else.
_TIME_WORDS: Final = re.compile(
    rf"\b(?:times?|dates?|days?|clock|hour|weekday|week|month|year|today|now|current|moment|right|thanks|hey|hi|{'|'.join(DAYS)})\b",
    re.IGNORECASE,
)
_MOST_OTHER_WORDS: Final = 2
_PLACE: Final = re.compile(r"\b(?:in|at)\s+(?:the\s+)?([^\W\d_]{3,})", re.IGNORECASE)
_NO_PLACE: Final = frozenset(
    ["moment", "minute", "day", "week", "weeks", "days", "time", "morning", "evening", "general", "english"]
)


def timed(text: str, full: str, now: datetime, *, follows: bool) -> Sequence[Arguments]:
    """The arguments of the clock's calls that a message asks for.

    text: the message without quotations. full: the message in words that need no earlier messages. follows: whether it continues the request of an earlier message.
    """
    today = now.date()
    named, dated = zones(text), _dated(text, today)
    days = dated.dates
    if follows and not _ASKS_TIME.search(text):
        if dated.durations and (before := dates(full, today)):
            moved = _shifted(before[-1], dated.durations[0], -1 if _EARLIER.search(text) else 1)
            return [{"time": moved.isoformat()}] if moved else []
        return [{"zone": zone} for _, zone in named[:_MOST_CALLS]] or [
            {"time": one.isoformat()} for one in days[:1]
        ]
    if days and min(days) > today and _PAST.search(text) and not _YEAR.search(text):
        days = [_year_before(one) for one in days]
    if len(days) == 1 and len(dated.durations) == 1 and _ENDS.search(text):
        # The date is the beginning of a period.
        end = _moved(days[0], dated.durations[0], 1, today, yearless=_YEAR.search(text) is None)
        if end is None:
            return []
        return [_span(today, end) if _LEFT_ASKED.search(text) else {"time": end.isoformat()}]
    if days and _SPAN.search(text) and (_DAYS_ASKED.search(text) or not _EVENT.search(text)):
        first, second = (days[0], days[1]) if len(days) > 1 else sorted((today, days[0]))
        return [_span(first, second)]
    if not days and (period := _PERIOD.search(text)):
        return [_span(today, _end_of(period["period"].casefold(), today))]
    if not named and not days and _HOURS_ASKED.search(text) and (span := _hours(text, now)):
        return [span]
    if days and (_WEEKDAY_ASKED.search(text) or _DATE_ASKED.search(text)):
        return [{"time": days[0].isoformat()}]
    if _EVENT.search(text):
        return []
    if _NOW_ASKED.search(text) and not named and not days:
        return [{}]
    if not _ASKS_TIME.search(text) and not re.search(r"\bnow\b", text, re.IGNORECASE):
        return []
    if len(named) > 1 and (clock := _clock(text)) is not None:
        return _converted(clock, named, now)
    if days and days[0] != today:
        return [{"time": days[0].isoformat()}]
    if not named and any(one.casefold() not in _NO_PLACE for one in _PLACE.findall(text)):
        return []
    if not named and content_words(_TIME_WORDS.sub(" ", text)) > _MOST_OTHER_WORDS:
        return []
    return [{"zone": zone} for _, zone in named[:_MOST_CALLS]] or [{}]


def _span(first: date, second: date) -> Arguments:
    return {"time": first.isoformat(), "until": second.isoformat()}


def _end_of(period: str, today: date) -> date:
    """The last day of this month, quarter or year."""
    month = {"month": today.month, "quarter": (today.month + 2) // 3 * 3}.get(period, 12)
    return date(today.year, month, monthrange(today.year, month)[1])


def _year_before(day: date) -> date:
    leap = (day.month, day.day) == (2, 29)
    return day.replace(year=day.year - 1, day=28 if leap else day.day)


def _hours(text: str, now: datetime) -> Arguments | None:
    """From one time of day to another, or from now until a time of day; None if the text names no such times."""
    times = list[datetime]()
    at = 0
    while (clock := _clock(text[at:])) is not None:
        found = _CLOCK.match(text, at + clock[0])
        times.append(now.replace(hour=clock[1], minute=clock[2], second=0, microsecond=0))
        at = found.end() if found else len(text)
    if len(times) == 1 and re.search(r"\b(?:until|till?|to|before)\b", text, re.IGNORECASE):
        times.insert(0, now)
    if len(times) != 2:
        return None
    first, second = times
    second += timedelta(days=1) if second < first else timedelta()
    return {"time": first.isoformat(timespec="minutes"), "until": second.isoformat(timespec="minutes")}


def _clock(text: str) -> tuple[int, int, int] | None:
    """The first time of day: its position, hour and minute."""
    for found in _CLOCK.finditer(text):
        if found["named"]:
            return found.start(), 12 if found["named"].casefold() == "noon" else 0, 0
        if not (found["half"] or found["minute"]):
            continue
        hour, minute, half = int(found["hour"]), int(found["minute"] or 0), (found["half"] or "").casefold()
        if half.startswith(("a", "p")):
            hour = hour % 12 + (12 if half.startswith("p") else 0)
        if hour < 24 and minute < 60:
            return found.start(), hour, minute
    return None


def _converted(
    clock: tuple[int, int, int], named: Sequence[tuple[int, str]], now: datetime
) -> Sequence[Arguments]:
    """The arguments for a time in one zone, as it is in another. The time belongs to the place that follows it, or else to the last place before it."""
    at, hour, minute = clock
    source = next((zone for place, zone in named if place > at), named[-1][1])
    target = next((zone for _, zone in named if zone != source), "")
    if not target:
        return []
    time = now.astimezone(ZoneInfo(source)).replace(hour=hour, minute=minute, second=0, microsecond=0)
    return [{"time": time.isoformat(timespec="minutes"), "zone": target}]
