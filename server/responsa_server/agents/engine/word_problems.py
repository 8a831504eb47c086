"""Computations that a message describes in words ("a roll covers 5 square metres, how many do we need for 6.2 m by 2.7 m?"). English, by rules, and pure.

The message's numbers become quantities: a percentage, an amount of money, a length, mass, volume, time or speed, or a number of things, each perhaps per something else.
The kinds of the quantities and what the message asks for decide the expression. A rule that does not use all quantities does not apply.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

UNITS: Final[Mapping[str, tuple[str, str]]] = {
    name: (measure, factor)
    for measure, units in {
        "length": "km kilometre kilometer=1000;m metre meter=1;cm centimetre centimeter=0.01;mm millimetre millimeter=0.001;mile mi=1609.344;yard yd=0.9144;foot feet ft=0.3048;inch inche in=0.0254",
        "mass": "kg kilo kilogram kilogramme=1000;g gram gramme=1;mg milligram=0.001;lb pound lbs=453.59237;oz ounce=28.349523125;stone=6350.29318;tonne=1000000",
        "volume": "l litre liter=1;ml millilitre milliliter=0.001;cl centilitre=0.01;gallon=4.54609;pint=0.56826125",
        "time": "second sec=1;minute min=60;hour hr=3600;day=86400;week=604800;fortnight=1209600",
        "speed": "mph=1.609344;kmh kph=1",
        "area": "square metre|square meter|sq m|m2=1;square foot|square feet|sq ft=0.09290304;square yard=0.83612736;hectare=10000;acre=4046.8564224",
    }.items()
    for unit in units.split(";")
    for names, factor in (unit.split("="),)
    for name in (names.split("|") if "|" in names else names.split())
}
"""The measure of each unit, and how many of the measure's basic units it has. Volumes are imperial."""

_NUMBER: Final = r"\d{1,12}(?:\.\d{1,8})?"
_UNIT: Final = rf"(?:{'|'.join(sorted((re.escape(one) for one in UNITS), key=len, reverse=True))})s?(?![\w²])"
_FRACTION: Final = r"(?:half|third|quarter|fifth|sixth|eighth|tenth)"
_PARTS: Final = {"half": 2, "third": 3, "quarter": 4, "fifth": 5, "sixth": 6, "eighth": 8, "tenth": 10}
_PER: Final = r"(?:(?: of [a-z]{2,12})? ?(?:(?:per|an?|every|to the|to an?|for every|for each)\b|/) ?(?P<per>(?!bit|lot|few|total|time\b)[a-z]{1,14})|(?: of [a-z]{2,12}| [a-z]{3,12}){0,2}? (?P<each>each|apiece)\b)"
_QUANTITY: Final = re.compile(
    rf"""(?<![\w.])(?:
    (?P<fraction>(?:(?P<over>a|one|two|three|four|\d)[ -])?(?P<part>{_FRACTION})s?)(?=\ (?:of|off|less|more|cheaper)\b)
    |(?P<sign>[£€$]\ ?)?(?P<number>{_NUMBER})(?![\w.]*\d)(?:\ ?(?P<percent>%)|\ ?(?P<money>[£€$]|quid|pence|p)(?![a-z])|[ -]?(?P<unit>{_UNIT})|(?:\ (?:of\ )?(?:our|the|my|us)\b)?\ (?P<noun>[a-z-]{{2,20}}))?)""",
    re.VERBOSE,
)
# "A roll covers 5 square metres", "one guide for every 8 people".
_OF_ONE: Final = re.compile(
    r"(?:\b(?:an?|one|each|every|per|the) (?P<of>[a-z]{1,14})(?: of [a-z]{1,14})?|\b(?P<each>each)\b)(?: of us| of them)? (?:holds?|has|is|are|costs?|cost|covers?|lasts?|takes?|uses?|fits?|weighs?|needs?|makes?|burns?|contains?|for every|for each|for)(?: only| about| over)? $"
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """value: a number, as the calculator reads it. kind: `percent` (the value is a fraction), `money`, a measure of UNITS, or `count`. factor: the basic units in one unit. noun: the unit, or what is counted. per: what it is for one of; `each` if the message does not say.
    start, end: its place in the text.
    """

    value: str
    kind: str
    factor: str
    noun: str
    per: str
    start: int
    end: int

    @property
    def size(self) -> float:
        """The value without units."""
        return float(self.value) if self.kind != "percent" and "(" not in self.value else 0.0

    def in_units(self, other: Quantity) -> str:
        """The value in the units of another quantity of the same kind."""
        return self.value if self.factor == other.factor else f"{self.value} * {self.factor} / {other.factor}"


def _singular(word: str) -> str:
    return word.removesuffix("s") if len(word) > 2 else word


_RANGE: Final = re.compile(r"\d ?- ?\d")
_ASKS: Final = re.compile(
    r"\?|^(?:tip|vat|tax|interest|commission|deposit|net|gross|sq[ua]+re|sq)\b|\b(?:what|whats|how (?:much|many|long|far|fast|big|heavy|high|deep)|hw much|which|who owes|total|altogether|calculate|work (?:it )?out|compute|percentage|average|mean|add|convert|sum|take|volume|area|circumference)\b|% change"
)
_WANTS_SHARE: Final = re.compile(
    r"(?<![\d%] )(?<!\d)(?:%|per ?cent\b)|\bpercentages?\b|\bwhat (?:share|proportion|fraction|part)\b|\bas a (?:share|proportion)\b"
)
_CHANGES: Final = re.compile(
    r"\b(?:drop(?:ped)?|fell|fall(?:en)?|rise|risen|rose|raised?|grown?|grew|increased?|decreased?|changed?|went|gone|go|up from|down from|from|more|less|cheaper|dearer|reduced|reduction|off|saved?|saving)\b"
)
_OFF: Final = re.compile(
    r"\b(?:off|discount(?:ed)?|reduced|reduction|cheaper|cut|sale|rebate|less|lower|minus|deducted|loses?|lost|after (?:\S+ ){0,3}tax)\b"
)
_BEFORE: Final = re.compile(
    r"\b(?:before|originally|original|without|excluding|excl|ex|exclusive|net|used to (?:be|cost)|take (?:the )?(?:vat|tax) out)\b"
)
_ADDED: Final = re.compile(
    r"\b(?:rise|rises|rose|raise|raised|up|increase[sd]?|plus|add|added|adding|more|grows?|gains?|goes up|on top|markup|mark-up|surcharge|dearer|with (?:\S+ ){0,2}(?:tip|vat|tax)|including|incl)\b"
)
_OF: Final = re.compile(r"\b(?:of|on|tip|interest|commission|deposit|vat|tax|fee|share|bonus)\b")
_YEARLY: Final = re.compile(
    r"\b(?:interest|a year|per year|yearly|annual(?:ly)?|per annum|each year|every year|compound)\b"
)
_REMAINING: Final = re.compile(r"\b(?:rest|remaind(?:er|ing))\b")
_SHARED: Final = re.compile(
    r"\b(?:split(?:ting)?|share[sd]?|sharing|divided?|dividing|between|among(?:st)?|equal(?:ly)?|each (?:pays?|of us|gets?|one)|does each|per (?:person|head|piece|item)|of us|one\b)"
)
_TOTAL: Final = re.compile(
    r"\b(?:total|altogether|together|in all|all in all|sum|overall|adds? (?:\w+ ){0,2}up|add|adds|come to|comes to|makes?|takings|pay|cost|costs|spend|spent|owe|how much)\b"
)
_MEAN: Final = re.compile(r"\b(?:average|mean)\b")
_SPEED: Final = re.compile(r"\b(?:speed|how fast|pace|mph|km/h|kmh|miles (?:an|per) hour|average)\b")
_PER_SECOND: Final = re.compile(r"\bm/s\b|\bmet(?:re|er)s? (?:per|a) second\b")
_COUNTED: Final = re.compile(r"\b(?:how many|number of)\b")
_CHEAPER: Final = re.compile(
    r"\b(?:which|better|cheaper|should i buy|value|save per|per [a-z]+ do (?:i|we) save)\b"
)
_AREA: Final = re.compile(r"\b(?:area|square|sq|m2|m²|carpet|floor space)\b|²")
_VOLUME: Final = re.compile(r"\b(?:volume|litres?|liters?|cubic)\b")
_TIMES: Final = re.compile(r"\bby\b|x|\*|×")
_PARTS_OF: Final = re.compile(r"\b(?:ratio|parts?)\b")
_REST: Final = re.compile(
    r"\b(?:left|remains?|rest|other(?: one)?|change|difference|over|short|missing|stay empty|empty)\b"
)

# A name with a number, such as "Alder 2", in the middle of a sentence.
_NAMED: Final = re.compile(
    r"(?<![.?!:] )(?<!^)\b(?!(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b)[A-Z][a-z]{2,} \d{1,3}(?![\d.,%])"
)


def solved(original: str, text: str) -> Sequence[str]:
    """The expressions that a message asks for, of which several are compared; empty if the message has no computation that is understood.

    original: the message as it was written. text: the message in lower case, with numbers in digits and without separators of thousands.
    """
    if _NAMED.search(original) or _ASKS.search(text) is None or _RANGE.search(text):
        return ()
    for pattern, by in _SPELLINGS:
        text = pattern.sub(by, text)
    found = quantities(text)
    if not 1 <= len(found) <= _MOST:
        return ()
    problem = Problem(text, found)
    for rule in _RULES:
        if made := rule(problem):
            return [made] if isinstance(made, str) else made
    return ()


_MOST: Final = 12
_SPELLINGS: Final[Sequence[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]]] = [
    (re.compile(r"\b(\d{1,4}) dozen\b"), lambda found: str(12 * int(found[1]))),
    (re.compile(r"\b(?:a )?half (?:a|an)(?= [a-z])"), "0.5"),
    (re.compile(r"\b(?:3|three) quarters of an?\b"), "0.75"),
    (re.compile(r"\b(?:a )?quarter of an?\b"), "0.25"),
    (re.compile(r"\bpercnt(?:age)?\b"), "percentage"),
    (re.compile(r"\bsqaure\b"), "square"),
]


def quantities(text: str) -> Sequence[Quantity]:
    """The quantities of a text, in its order."""
    found = list[Quantity]()
    for match in _QUANTITY.finditer(text):
        group = match.groupdict()
        end = match.end()
        if group["fraction"]:
            over = {"a": "1", "one": "1", "two": "2", "three": "3", "four": "4", None: "1"}
            top = over.get(group["over"], group["over"] or "1")
            found.append(
                Quantity(f"{top} / {_PARTS[group['part']]}", "percent", "1", "", "", match.start(), end)
            )
            continue
        number, noun, kind, factor = group["number"], "", "count", "1"
        if group["percent"]:
            number, kind = f"{number} / 100", "percent"
        elif group["sign"] or group["money"]:
            kind, end = "money", match.end("money") if group["money"] else match.end("number")
            if group["money"] in ("p", "pence"):
                number = f"{number} / 100"
        elif group["unit"]:
            noun = group["unit"] if group["unit"] in UNITS else _singular(group["unit"])
            kind, factor = UNITS[noun]
        elif group["noun"] and group["noun"] not in _NO_NOUNS:
            noun = _singular(group["noun"])
        else:
            end = match.end("number")
        tail = re.match(_PER, text[end:])
        per = (tail["per"] or tail["each"] or "") if tail else ""
        if per in _NO_NOUNS and per != "each":
            per = ""
        if not per and (
            lead := _OF_ONE.search(
                text[max(0, match.start() - 60) : match.start("number") - len(group["sign"] or "")]
            )
        ):
            per = lead["of"] or lead["each"]
            per = "" if per in _NO_NOUNS else per
        found.append(
            Quantity(number, kind, factor, noun, _singular(per) if per != "each" else per, match.start(), end)
        )
    priced = any(one.kind == "money" for one in found)
    joined = _joined(text, found)
    return [
        replace(one, kind="money")
        if priced and one.kind == "count" and re.fullmatch(r"\d+\.\d\d", one.value)
        else one
        for one in joined
    ]


_NO_NOUNS: Final = frozenset(
    [
        "a",
        "an",
        "and",
        "at",
        "by",
        "for",
        "from",
        "in",
        "is",
        "it",
        "of",
        "on",
        "or",
        "the",
        "to",
        "with",
        "each",
        "per",
        "every",
        "if",
        "was",
        "were",
        "are",
        "as",
        "but",
        "which",
        "what",
        "how",
        "that",
        "then",
        "than",
        "i",
        "we",
        "you",
        "do",
        "does",
        "plus",
        "minus",
        "times",
        "off",
        "less",
        "more",
        "between",
        "among",
        "into",
        "instead",
        "half",
        "both",
        "together",
        "only",
        "because",
        "over",
        "under",
        "when",
        "how",
        "please",
        "per",
    ]
)


def _joined(text: str, found: Sequence[Quantity]) -> Sequence[Quantity]:
    """With "5 hours and 20 minutes" and "5 feet 11" as one quantity each."""
    made = list[Quantity]()
    for one in found:
        last = made[-1] if made else None
        if (
            last
            and last.kind == one.kind
            and last.kind not in ("percent", "money", "count")
            and float(last.factor) > float(one.factor)
            and re.fullmatch(r",? ?(?:and )?", text[last.end : one.start])
        ):
            made[-1] = replace(
                last,
                value=f"({last.value} + {one.value} * {one.factor} / {last.factor})",
                end=one.end,
                per=one.per,
            )
        else:
            made.append(one)
    return made


@dataclass(frozen=True, slots=True)
class Problem:
    """A text with its quantities."""

    text: str
    all: Sequence[Quantity]

    def of(self, *kinds: str) -> Sequence[Quantity]:
        """The quantities of these kinds."""
        return [one for one in self.all if one.kind in kinds]

    def says(self, pattern: re.Pattern[str]) -> bool:
        """Whether the text has the pattern."""
        return pattern.search(self.text) is not None

    @property
    def amounts(self) -> Sequence[Quantity]:
        """All quantities but percentages."""
        return [one for one in self.all if one.kind != "percent"]

    @property
    def asked(self) -> str:
        """The noun after "how many", in the singular."""
        found = re.search(
            r"\bhow many (?:full |whole |more |of (?:the |those )?)?([a-z]+(?: (?:metre|meter|feet|foot|yard)s?)?)",
            self.text,
        )
        return _singular(found[1]) if found else ""


Made = str | Sequence[str]


def _share(problem: Problem) -> Made:
    """What percentage one number is of another, or by what percentage it changed."""
    if len(problem.all) != 2 or problem.of("percent") or not problem.says(_WANTS_SHARE):
        return ""
    first, second = problem.all
    if (
        first.kind != second.kind
        and "count" not in (first.kind, second.kind)
        and {first.kind, second.kind} != {"money", "count"}
    ):
        return ""
    if problem.says(_CHANGES) and not re.search(r"\bout of\b|\bof them\b", problem.text):
        return f"({second.value} - {first.value}) / {first.value} * 100"
    part, whole = sorted(problem.all, key=lambda one: one.size)
    return f"{part.value} / {whole.value} * 100"


def _percents(problem: Problem) -> Made:
    """An amount with percentages, perhaps for several things, for several years, or shared."""
    rates, amounts = problem.of("percent"), problem.amounts
    if not 1 <= len(rates) <= 2 or not 1 <= len(amounts) <= 2:
        return ""
    money = next((one for one in amounts if one.kind == "money" or "." in one.value), None)
    base = amounts[0] if len(amounts) == 1 else money or max(amounts, key=lambda one: one.size)
    others = [one for one in amounts if one is not base]
    rate = rates[0].value
    off, before, added = problem.says(_OFF), problem.says(_BEFORE), problem.says(_ADDED)
    if len(rates) == 2:
        if all("100" not in one.value for one in rates) and not others:
            return f"{base.value} * {rate} * {rates[1].value}"
        if others or not off or before:
            return ""
        return f"{base.value} * (1 - {rate}) * (1 - {rates[1].value})"
    # What is paid in again and again needs more than this.
    if base.per and problem.says(_YEARLY):
        return ""
    if others and re.fullmatch(r"years?", f"{others[0].noun}") and problem.says(_YEARLY):
        return f"{base.value} * (1 + {rate}) ** {others[0].value}"
    if others and others[0].kind == "time":
        return ""
    if others and problem.says(_REMAINING):
        return f"{base.value} * (1 - {rate}) / {others[0].value}"
    if before:
        made = f"{base.value} / (1 {'-' if off else '+'} {rate})"
    elif off:
        made = f"{base.value} * (1 - {rate})"
    elif added or (problem.says(_SHARED) and others):
        made = f"{base.value} * (1 + {rate})"
    elif problem.says(_OF) or problem.says(_YEARLY):
        made = f"{base.value} * {rate}"
    else:
        return ""
    if not others:
        return made
    (other,) = others
    if base.per or (
        base.start > other.end
        and re.search(r"\b(?:at|for|à|cost|costs)\b", problem.text[other.end : base.start])
    ):
        return f"{other.value} * {made}"
    return f"{made} / {other.value}" if problem.says(_SHARED) else ""


def _sides(problem: Problem) -> Made:
    """The area of a rectangle or the volume of a box."""
    lengths = [one for one in problem.all if one.kind in ("length", "count")]
    if len(lengths) not in (2, 3) or not _TIMES.search(
        problem.text[lengths[0].end - 4 : lengths[1].start + 1]
    ):
        return ""
    unit = next((one for one in reversed(lengths) if one.kind == "length"), None)
    factor = float(unit.factor) if unit else 1.0
    rest = [one for one in problem.all if one not in lengths]
    sides = " * ".join(one.in_units(unit) if unit and one.kind == "length" else one.value for one in lengths)
    if len(lengths) == 3 and problem.says(_VOLUME):
        litres = (
            f"{sides} * {unit.factor} ** 3 * 1000"
            if unit and re.search(r"\b(?:litre|liter)s?\b", problem.text) and factor != 1e-9
            else sides
        )
        if not rest:
            return litres
        return f"{litres} / {rest[0].value}" if len(rest) == 1 and rest[0].kind == "volume" else ""
    if len(lengths) == 2 and not rest:
        return sides if problem.says(_AREA) else ""
    if len(lengths) == 2 and len(rest) == 1 and rest[0].kind == "area":
        return f"{sides} / {rest[0].value}"
    if len(lengths) == 2 and len(rest) == 1 and re.search(r"\b(?:per|a) (?:square|sq)", problem.text):
        return f"{rest[0].value} / ({sides})"
    return ""


def _rates(problem: Problem) -> Made:
    """A rate, such as a price per kilo, a speed or a consumption a day, with what it is for."""
    rates = [one for one in problem.amounts if one.per or one.kind == "speed"]
    if len(problem.all) != 2 or len(rates) != 1 or problem.of("percent"):
        return ""
    (rate,) = rates
    (other,) = (one for one in problem.all if one is not rate)
    if rate.kind == "speed":
        rate = replace(rate, kind="length", factor="1609.344" if rate.noun == "mph" else "1000", per="hour")
    per = UNITS.get(rate.per) if rate.per not in ("m", "in") else None
    if per and other.kind == per[0] and (other.noun != rate.noun or rate.noun == rate.per):
        value = other.value if other.factor == per[1] else f"{other.value} * {other.factor} / {per[1]}"
        return f"{rate.value} * {value}"
    if other.kind == rate.kind and other.kind != "count" and not (rate.per and other.noun == rate.per):
        # How many hats 2.4 kg are enough for, how many days, how many hours for 61 miles.
        return (
            f"{other.in_units(rate)} / {rate.value}"
            if other.kind != "money" or problem.says(_COUNTED)
            else ""
        )
    if problem.says(_PARTS_OF):
        return ""
    if (
        rate.per == "each"
        or (other.noun and other.noun.startswith(rate.per[:4]))
        or (other.kind == "count" and rate.kind != "count")
    ):
        return f"{other.value} * {rate.value}"
    if other.kind == "count" and rate.kind == "count" and rate.noun == other.noun:
        return f"{other.value} / {rate.value}"
    if (
        other.kind == "count"
        and rate.kind == "count"
        and problem.says(_COUNTED)
        and problem.asked.startswith(rate.per[:4])
    ):
        return f"{other.value} / {rate.value}"
    return ""


def _items(problem: Problem) -> Made:
    """The sum of several items with their prices, "3 mugs at 7.95 and a bowl for 12"."""
    if problem.of("percent") or not problem.says(_TOTAL) or problem.says(_PARTS_OF):
        return ""
    pairs = list[str]()
    rest = list(problem.all)
    while len(rest) > 1:
        count, price = rest[0], rest[1]
        between = problem.text[count.end : price.start]
        if (
            count.kind != "count"
            or not re.search(r"(?:\b(?:at|for|à|costs?)|@) $", between)
            or len(between) > 40
        ):
            return ""
        pairs.append(f"{count.value} * {price.value}")
        rest = rest[2:]
    return " + ".join(pairs) if pairs and not rest else ""


def _fits(problem: Problem) -> Made:
    """How often one measure goes into another: pieces of a rope, mugs of a kettle, gloves for a budget."""
    if len(problem.all) != 2 or not problem.says(_COUNTED):
        return ""
    first, second = problem.all
    if (
        first.kind in _MEASURES
        and second.kind == "count"
        and re.search(r"\b(?:lengths|pieces|portions|bits) of $", problem.text[: second.start])
    ):
        second = replace(second, kind=first.kind, factor=first.factor)
    big, small = sorted((first, second), key=lambda one: one.size * float(one.factor), reverse=True)
    if big.kind != small.kind or big.kind in ("percent", "count"):
        return ""
    if UNITS.get(problem.asked, ("", ""))[0] == big.kind:
        return ""
    return f"{big.in_units(small)} / {small.value}"


def _per_hour(problem: Problem) -> Made:
    """A speed or a gradient."""
    if len(problem.all) != 2:
        return ""
    lengths, times = problem.of("length"), problem.of("time")
    if len(lengths) == len(times) == 1 and problem.says(_SPEED) and not any(one.per for one in problem.all):
        if problem.says(_PER_SECOND):
            return f"{lengths[0].value} * {lengths[0].factor} / ({times[0].value} * {times[0].factor})"
        hours = (
            times[0].value if times[0].factor == "3600" else f"({times[0].value} * {times[0].factor} / 3600)"
        )
        return f"{lengths[0].value} / {hours}"
    if len(lengths) == 2 and re.search(r"\b(?:gradient|slope|steep|incline)\b", problem.text):
        low, high = sorted(lengths, key=lambda one: one.size * float(one.factor))
        return f"{low.in_units(high)} / {high.value} * 100"
    return ""


def _compared(problem: Problem) -> Made:
    """The prices of two offers for one unit each."""
    if len(problem.all) not in (4, 5) or not problem.says(_CHEAPER):
        return ""
    first, second = problem.all[:2], problem.all[2:4]
    made = list[str]()
    for pair in (first, second):
        # The prices stand in the same place of both offers.
        amount, price = (
            pair if pair[1].kind == "money" or pair[0].kind not in ("money",) else (pair[1], pair[0])
        )
        made.append(f"{price.value} / {amount.value}")
    return made if first[0].kind == second[0].kind else ""


def _one_of(problem: Problem) -> Made:
    """The price of one of several things, or of one metre or kilo, or the part of one of several people."""
    if len(problem.all) != 2 or problem.of("percent"):
        return ""
    measured = next((one for one in problem.all if one.kind in _MEASURES and one.kind != "time"), None)
    price = next((one for one in problem.all if one.kind in ("money", "count")), None)
    if (
        measured
        and price
        and re.search(rf"\b(?:per|(?:for )?(?:each|one|every)) {re.escape(measured.noun)}\b", problem.text)
    ):
        return "" if measured.per else f"{price.value} / {measured.value}"
    counts = [one for one in problem.all if one.kind == "count" and "." not in one.value]
    if not counts or not problem.says(_SHARED) or problem.says(_PARTS_OF):
        return ""
    count = counts[0] if len(counts) == 1 else min(counts, key=lambda one: one.size)
    (other,) = (one for one in problem.all if one is not count)
    return "" if count.per or other.per else f"{other.value} / {count.value}"


def _listed(problem: Problem) -> Made:
    """The sum or the average of a list."""
    if (
        problem.of("percent")
        or any(one.per for one in problem.all)
        or len({one.kind for one in problem.all} - {"count"}) > 1
    ):
        return ""
    # "My four ratings were …": the first number counts the others.
    listed = (
        problem.all[1:]
        if problem.all[0].noun and problem.all[0].value == str(len(problem.all) - 1)
        else problem.all
    )
    values = " + ".join(one.value for one in listed)
    if re.search(r"[*/+]|\bbut\b|\bminus\b", problem.text):
        return ""
    if problem.says(_MEAN) and len(listed) > 2:
        mean = f"({values}) / {len(listed)}"
        return [values, mean] if re.search(r"\btotal\b", problem.text) else mean
    if (
        re.search(r"\b(?:total|altogether|in all|sum|add|adds|together)\b", problem.text)
        and len(problem.all) > 2
    ):
        return values
    return ""


def _converted(problem: Problem) -> Made:
    """A quantity in another unit."""
    if len(problem.all) != 1:
        return ""
    (one,) = problem.all
    found = re.search(rf"\b(?:in|into|to|as|how many)(?: the)? ({_UNIT})", problem.text)
    if one.kind not in _MEASURES or found is None:
        return ""
    unit = found[1] if found[1] in UNITS else _singular(found[1])
    measure, factor = UNITS[unit]
    if measure != one.kind or (factor == one.factor and "(" not in one.value):
        return ""
    return f"{one.value} * {one.factor} / {factor}"


def _figure(problem: Problem) -> Made:
    """The circumference or area of a circle, or the area of a triangle."""
    values = [one.value for one in problem.all if one.kind in ("length", "count")]
    if len(values) != len(problem.all):
        return ""
    text = problem.text
    if len(values) == 2 and "triang" in text and problem.says(_AREA):
        return f"{values[0]} * {values[1]} / 2"
    if len(values) == 1 and re.search(r"\b(?:diameter|radius|across)\b", text):
        radius = values[0] if "radius" in text else f"({values[0]} / 2)"
        if re.search(r"\bcircumference\b|\bway round\b|\baround\b", text):
            return f"2 * 3.14159265358979 * {radius}"
        if problem.says(_AREA):
            return f"3.14159265358979 * {radius} ** 2"
    return ""


def _chained(problem: Problem) -> Made:
    """Several things each of which has or costs several others, perhaps less an amount: "two coaches hold 53 people each and 88 have signed up, how many seats stay empty?"."""
    if (
        len(problem.all) != 3
        or problem.of("percent")
        or not re.search(r"\b(?:each|every|apiece)\b", problem.text)
    ):
        return ""
    first, second, third = problem.all
    if problem.says(_REST):
        return (
            f"{first.value} * {second.value} - {third.value}"
            if first.kind == "count" and (second.per or second.kind == "money")
            else ""
        )
    if first.kind == second.kind == "count" and (third.kind == "money" or third.per == "each"):
        return f"{first.value} * {second.value} * {third.value}"
    return ""


def _summed(problem: Problem) -> Made:
    """The sum or the difference of two quantities of one measure."""
    if (
        len(problem.all) != 2
        or problem.all[0].kind not in _MEASURES
        or problem.all[0].kind != problem.all[1].kind
    ):
        return ""
    first, second = problem.all
    sign = problem.text[first.end : second.start].strip()
    return f"{first.value} {sign} {second.in_units(first)}" if sign in ("+", "-") else ""


_MEASURES: Final = frozenset(measure for measure, _ in UNITS.values())


def _margin(problem: Problem) -> Made:
    """The margin of a sale, in percent of its price."""
    if len(problem.all) != 2 or problem.of("percent") or not re.search(r"\bmargin\b", problem.text):
        return ""
    low, high = sorted(problem.all, key=lambda one: one.size)
    return f"({high.value} - {low.value}) / {high.value} * 100"


def _rest(problem: Problem) -> Made:
    """What remains of an amount."""
    if (
        len(problem.all) != 2
        or problem.of("percent")
        or not re.search(
            r"\b(?:remains?|rest|other one|change|difference|what(?:['’]s| is) left)\b", problem.text
        )
    ):
        return ""
    first, second = problem.all
    if first.kind != second.kind and "count" not in (first.kind, second.kind):
        return ""
    big, small = sorted(problem.all, key=lambda one: one.size, reverse=True)
    return f"{big.value} - {small.value}"


_RULES: Final[Sequence[Callable[[Problem], Made]]] = (
    _converted,
    _figure,
    _margin,
    _summed,
    _share,
    _percents,
    _sides,
    _compared,
    _per_hour,
    _rates,
    _chained,
    _items,
    _fits,
    _rest,
    _one_of,
    _listed,
)
