"""Takes the arguments of tools from a message, by rules and without a model. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import product
from typing import Any, Final, cast
from zoneinfo import ZoneInfo, available_timezones

from responsa_server.agents.engine.calling import fits
from responsa_server.agents.engine.rewriting import content_words
from responsa_server.domain.tools import ToolCard
from responsa_server.text.dates import DAYS, MONTHS

Arguments = Mapping[str, object]

CALCULATOR: Final = "calculator"
TIME: Final = "time"
WEB_SEARCH: Final = "web_search"
KNOWLEDGE_SEARCH: Final = "knowledge_search"
_MOST_CHARACTERS: Final = 2000
_MOST_CALLS: Final = 4
_MOST_QUERY: Final = 400


@dataclass(frozen=True, slots=True)
class Message:
    """What a user says. text: the message itself. full: the message in words that need no earlier messages. now: the current time, with its zone.
    follows: whether the message goes on with the request of an earlier one ("and in Rome?").
    """

    text: str
    full: str
    now: datetime
    follows: bool = False


def filled(kind: str, card: ToolCard, message: Message) -> Sequence[Arguments]:
    """The arguments of the calls of a tool that a message asks for; empty if the message does not have all required arguments. kind: the tool's kind."""
    text, full = message.text[:_MOST_CHARACTERS], message.full[:_MOST_CHARACTERS]
    cut = Message(text, full, message.now, message.follows)
    return _RULES.get(kind, _by_schema)(card, cut)


def _searched(card: ToolCard, message: Message) -> Sequence[Arguments]:
    query = search_words(message.full)
    return [{"query": query}] if any(one.casefold() not in _ALSO for one in re.findall(r"\w+", query)) else []


# After the words that ask for a search, these say nothing to search for ("Can you search the web, too?").
_ALSO: Final = frozenset(("as", "well", "too", "also", "please", "now", "again"))
_LEAD: Final = re.compile(
    r"""^(?:(?:hi|hello|hey|please|pls|can|could|would|will|you|kindly|just|quickly|i|want|to|know|tell|me|for|us|the|a)\b[\s,]*)*
    (?:search|google|look|check|find|browse)\b(?:\s+(?:out|up|me|for|that|it|on|in|at|online|the|web|internet|net|our|documents|files|whether|if)\b)*[\s?!.:,]*""",
    re.IGNORECASE | re.VERBOSE,
)
_TAIL: Final = re.compile(
    r"[\s,]{0,4}(?:\b(?:please|pls|for\s+me|online|(?:on|in)\s+the\s+(?:web|internet|net))\b[\s,.!?]{0,4})+$",
    re.IGNORECASE,
)


def search_words(question: str) -> str:
    """The question without the words that ask for a search, at most 400 characters."""
    text = " ".join(question.split())
    shorter = _TAIL.sub("", _LEAD.sub("", text, count=1)).strip(' ,:;"“”')
    return shorter[:_MOST_QUERY].strip()


# What stands in quotation marks is not asked.
_QUOTED: Final = re.compile(r"[\"“„][^\"“”„]*[\"”“]")

# Arithmetic. A number may be a part of a name, a date, a range or a telephone number, so a message is computed only if it can hardly mean anything else:
# a known form of words holds all its numbers, and the words around this form belong to a calculation.

# Repetitions have bounds, so that a search ends soon in any text.
_NUMBER: Final = r"[0-9]{1,20}(?:\.[0-9]{1,20})?"
_WORD: Final = r"[a-z]{1,20}"
_TENS: Final = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SMALL: Final = {
    word: str(place)
    for place, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
} | {word: str(10 * place) for place, word in enumerate(_TENS, 2)}
# "one" is a number only next to an operator ("this one").
_SMALL_WORD: Final = re.compile(
    rf"\b(?:{'|'.join(one for one in _SMALL if one != 'one')}|one(?= [-+*/%])|(?<=[-+*/] )one)\b"
)
_COMPOUND: Final = re.compile(rf"\b({'|'.join(_TENS)})[- ]({'|'.join(list(_SMALL)[1:10])})\b")
_AND_A_HALF: Final = re.compile(r"(?<![\d.])(\d{1,6}) and a half\b")
_THOUSANDS: Final = re.compile(r"(?<![\d.,'])\d{1,3}(?:[,\u2009\u202f']\d{3})+(?![\d,'])")
_CURRENCIES: Final = [
    re.compile(rf"[{sign}]|(?<![^\W\d_])(?:{words})\b" if sign else rf"(?<![^\W\d_])(?:{words})\b")
    for sign, words in (("€", "euros?|eur"), ("£", "pounds?|gbp"), ("$", "dollars?|usd"), ("", "chf"))
]
# Next to another unit of mass, a pound is not money.
_WEIGHED: Final = re.compile(r"\b(?:kg|kilos?|kilograms?|grams?|g|ounces?|oz|stone)\b")
_POUNDS: Final = re.compile(r"\bpounds?\b")
_SPELLINGS: Final[Sequence[tuple[re.Pattern[str], str]]] = [
    (re.compile(pattern), by)
    for pattern, by in (
        (r"\b(?:per ?cent|percent|prozent)\b", "%"),
        (r"[×·✕]", "*"),
        (r"÷", "/"),
        (r"[\u2212\u2013]", "-"),
        (r"\^", "**"),
        (r"(?<=\d)\s*x\s*(?=\d)", " * "),
        (r"\bmultiplied by\b|\btimes\b", " * "),
        (r"\bdivided by\b", " / "),
        (r"\bplus\b", " + "),
        (r"\bminus\b", " - "),
        (r"\bto the power of\b", " ** "),
        (r"\bhalf(?: the)? (?:off|price)\b", "50 % off"),
        (r"\b(?:a|one) quarter off\b", "25 % off"),
        (r"\bc[aluc]{4,7}te\b", "calculate"),
        (r"(?<=\d)(?=(?:km|kmh|kph|mph|mi|miles|h|hrs|hours|kg|g)\b)", " "),
        (r"\s+", " "),
    )
]
_DOUBTFUL: Final = re.compile(
    r"""\d{21}
    |\d[,'\u2009\u202f]\d|\d\ \d                   # a decimal comma? one number or two?
    |(?<![\d.])0\d|\d-\d+-\d|(?<!\d)\d{3}-\d{4}(?!\d)  # a telephone number or a code
    |\d{1,2}[./]\d{1,2}[./]\d{2,4}|\d{1,2}:\d{2}|(?:19|20)\d\d-(?:19|20)?\d\d(?!\d)
    |\d\ ?(?:am|pm|a\.m\.|p\.m\.|o['’]?clock|uhr)(?!\w)
    |\.\d+\.\d|\b[^\W\d_]+-?\d[\w-]*|[\#§№]\ ?\d      # a version, or the number of a thing
    |\d\ ?(?:k|m|mn|bn|hundred|thousand|million|billion|trillion|dozen)s?(?!\w)
    |(?<!\d)(?:24/7|50/50|9/11)(?!\d)
    |\d!""",
    re.VERBOSE,
)
_FROM: Final = r"(?<![\w.,:/#°-])"
_TO: Final = r"(?!\w|[.,:/-]\d)"
_EXPRESSION: Final = re.compile(
    rf"(?<![\w.,:/#°])[(\s]{{0,20}}(?:-\s?)?{_NUMBER}(?:[\s()]{{0,20}}(?:\*\*|//|[-+*/])[\s()]{{0,20}}(?:-\s?)?{_NUMBER})+{_TO}[)\s]{{0,20}}"
)
_TWO: Final = re.compile(rf"\(?({_NUMBER})( ?)([-/]) ?({_NUMBER})\)?")
_MOST_FACTORIAL: Final = 20

_N: Final = rf"{_FROM}({_NUMBER}){_TO}"
_BARE_P: Final = rf"({_NUMBER}){_TO} ?%"
_P: Final = _FROM + _BARE_P
_MPH: Final = r"(?:mph|miles? (?:per|an?) hour)"
_KMH: Final = r"(?:km/h|kmh|kph|(?:km|kilomet(?:er|re)s?) (?:per|an?) hour)"
# The expression for each form of words, with the numbers in the order of the words.
_FORMS: Final[Sequence[tuple[re.Pattern[str], str]]] = [
    (re.compile(pattern), made)
    for pattern, made in (
        (rf"{_P} of (?:the )?{_N}", "{1} * {0} / 100"),
        (rf"{_N} (?:less|reduced by) {_P}", "{0} - {0} * {1} / 100"),
        (
            rf"{_N} (?:with|at|after|and)(?: (?:i|you|we) get)?(?: a)? {_P} (?:off|discount|reduction|less)\b",
            "{0} - {0} * {1} / 100",
        ),
        (rf"{_N} (?:with|at|after)(?: a)? (?:discount|reduction) of {_P}", "{0} - {0} * {1} / 100"),
        (rf"{_P} (?:off|discount on|less than) (?:of |from )?{_N}", "{1} - {1} * {0} / 100"),
        (rf"{_N} ?\+ ?{_BARE_P}(?: (?:tax|vat|interest|tip)\b)?", "{0} + {0} * {1} / 100"),
        (rf"add {_P} (?:tax |vat |interest |tip )?to {_N}", "{1} + {1} * {0} / 100"),
        (rf"(?:square root of|sqrt(?: of)?|√) ?\(? ?{_N} ?\)?", "sqrt({0})"),
        (rf"(?:cube|cubic) root of {_N}", "round({0} ** (1 / 3), 10)"),
        (rf"{_N} squared\b", "{0} ** 2"),
        (rf"{_N} cubed\b", "{0} ** 3"),
        (rf"half of {_N}", "{0} / 2"),
        *(
            (rf"(?:{many}|\b(?:a|1|one)) {part} of (?:the )?{_N}", made)
            for part, whole in (("third", 3), ("quarter", 4), ("fifth", 5), ("eighth", 8), ("tenth", 10))
            for many, part, made in (
                (_N, f"{part}s", f"{{1}} * {{0}} / {whole}"),
                ("(?!)", part, f"{{0}} / {whole}"),
            )
        ),
        (rf"{_N} without (?:the )?{_P}(?: (?:tax|vat)\b)?", "{0} / (1 + {1} / 100)"),
        (rf"from {_N} to {_N}\b[a-z ,.;]{{0,30}}(?:%|percentage)", "({1} - {0}) / {0} * 100"),
        (rf"{_N} (?:(?:m|cm|km|ft|feet|metres?|meters?) )?by {_N}\b[^\d]{{0,30}}\barea\b", "{0} * {1}"),
        (rf"(?:^|\bis |\bwhat['’]?s )(?:double|twice) {_N}", "{0} * 2"),
        (rf"(?:split|divide) {_N} by {_N}", "{0} / {1}"),
        (
            rf"(?:split|divide|share) {_N}(?: {_WORD}){{0,4}}? (?:between|among|amongst) (?:the )?{_N}",
            "{0} / {1}",
        ),
        (rf"split {_N} for {_N}", "{0} / {1}"),
        (rf"{_N} of us (?:share|split) {_N}", "{1} / {0}"),
        (rf"multiply {_N} (?:by|with|and) {_N}", "{0} * {1}"),
        (rf"(?:subtract|deduct|take) {_N} from {_N}", "{1} - {0}"),
        (rf"add {_N} to {_N}", "{0} + {1}"),
        (rf"{_N} (?:miles|mi)\b[a-z ,]{{0,30}}? at {_N} {_MPH}", "{0} / {1}"),
        (rf"{_N} (?:km|kilomet(?:er|re)s)\b[a-z ,]{{0,30}}? at {_N} {_KMH}", "{0} / {1}"),
        (rf"{_N} (?:hours|hrs|h) at {_N} (?:{_MPH}|{_KMH})", "{0} * {1}"),
        (rf"{_N} (?:{_MPH}|{_KMH})\b[a-z ,]{{0,40}}\bin {_N} (?:hours|hrs|h)\b", "{0} * {1}"),
        (rf"{_N} {_WORD}(?: {_WORD})? (?:at|for|à|of) {_N} (?:each|apiece)\b", "{0} * {1}"),
        (rf"{_N} {_WORD}(?: {_WORD})? (?:at|à) {_N} cost\b", "{0} * {1}"),
        # "3 weeks at 90 a night" is not a product.
        (rf"{_N} ([a-z]{{2,20}}?)(?:e?s)? (?:at|for|à) {_N} (?:per|an?) \2\b", "{0} * {2}"),
    )
]
_PRICED: Final = re.compile(rf"{_N} {_WORD}(?: {_WORD})? (?:at|à) {_N}")
_MINUS_PERCENT: Final = re.compile(rf"{_N} ?- ?{_BARE_P}")
_LIST: Final = rf"(?:{_FROM}{_NUMBER}{_TO}(?: ?, ?(?:and )?| and | ?& ?)){{1,50}}{_FROM}{_NUMBER}{_TO}"
_MEAN: Final = re.compile(rf"\b(?:average|mean) of (?:the )?({_LIST})")
_SUM: Final = re.compile(rf"\b(?:add(?: up)?|sum(?: up)?|(?:sum|total) of) (?:the )?({_LIST})")
_FACTORIAL: Final = re.compile(
    r"(?<![\w.,-])(?:(\d{1,2}) factorial\b|factorial of (\d{1,2})\b|(\d{1,2})!(?=\s*[-+*/]))"
)
# What may stand before a number that is computed, and after it.
_BEFORE: Final = re.compile(
    r"""(?:^|[=:(,;.!?]|\b(?:what|what['’]?s|is|are|was|would|be|of|for|from|by|with|at|in|over|about|have|has|had|got|get|buy|buys|bought|pay|pays|paid
    |costs?|spend|spent|sell|sold|need|drive|drives|drove|walk|cycle|ride|travel|run|do|does|did|calculate|compute|much|many|and|if|so|then|please|hi|hello|hey
    |ok|okay|only|us|me|takes?|makes?|gives?|equals?|that|when|after|out|ordered|booked|rent|rented))\s*$""",
    re.VERBOSE,
)
_ASKED: Final = re.compile(
    r"""(?:[=]|\b(?:(?:what|how\ (?:much|many))(?:\ (?:is|are|was|would|does|do|will))?|what['’]?s|calculate|compute|evaluate|solve|work\ out|tell\ me|add
    |(?:result|value|sum|product|difference)\ of)[\s:]*)\s*$""",
    re.VERBOSE,
)
_GREETED: Final = re.compile(r"^\W*(?:(?:hi|hello|hey|ok|okay|so|and|now|please|well|thanks)\b[\s,!.:]*)*$")
_CARRIES_ON: Final = r"(?:$|[=?!.,;:]|(?:please|pls|thanks|thank|equals?|is|makes?|(?:comes?|amounts?) to|and|or|for me|exactly|again|then|in total|altogether)\b)"
_AFTER: Final = re.compile(rf"[\s)]*{_CARRIES_ON}")
_AFTER_FORM: Final = re.compile(
    rf"[\s)]*(?:of us\b|(?:people|persons|guests|friends|colleagues|participants|employees|kg|km|g|hours|minutes|days|litres|grams|miles)\b)?\s*{_CARRIES_ON}"
)
_LEFT: Final = re.compile(r"[\d%*+√^]")


def expression(question: str) -> str:
    """The arithmetic in a question, as the calculator reads it. The result is "" if the question has no arithmetic, or if its meaning is not sure."""
    text = _THOUSANDS.sub(lambda found: re.sub(r"\D", "", found.group()), question.casefold())
    if _WEIGHED.search(text):
        text = _POUNDS.sub("lb", text)
    currencies = [one for one in _CURRENCIES if one.search(text)]
    if len(currencies) > 1:
        return ""
    for one in currencies:
        text = one.sub(" ", text)
    for pattern, by in _SPELLINGS:
        text = pattern.sub(by, text)
    text = _COMPOUND.sub(lambda found: f"{_SMALL[found[1]][0]}{_SMALL[found[2]]}", text.strip())
    text = _SMALL_WORD.sub(lambda found: _SMALL[found.group()], text)
    text = _AND_A_HALF.sub(r"\1.5", text)
    if converted := _in_units(text):
        return converted
    text = _FACTORIAL.sub(_factorial, text)
    if _DOUBTFUL.search(text) or any(_LEFT.search(one.group()) for one in _DATE.finditer(text)):
        return ""
    return _formed(text, priced=bool(currencies)) or _symbolic(text) or _added(text, priced=bool(currencies))


def _formed(text: str, *, priced: bool) -> str:
    """The expression for a form of words."""
    forms = [*_FORMS, (_PRICED, "{0} * {1}")] if priced else _FORMS
    for pattern, made in forms:
        if (found := pattern.search(text)) and _is_whole(text, found):
            return made.format(*found.groups())
    for pattern, made in ((_MEAN, "({}) / {}"), (_SUM, "{}")):
        if (found := pattern.search(text)) and _is_whole(text, found):
            numbers = re.findall(_NUMBER, found[1])
            return made.format(" + ".join(numbers), len(numbers))
    return ""


_TOTALLED: Final = re.compile(
    r"\b(?:total|together|in all|altogether|all in all|sum)\W*$|\bhow much (?:is|does|do|are|will)\b[^.?!]*\W*$"
)
_ITEM: Final = re.compile(
    rf"(?:{_N}|\b(?:a|an|one)) (?:[a-z-]{{1,20}} ){{1,4}}?(?:at|for|à|costs?) {_N}(?: each\b)?(?! ?(?:%|per\b|an?\b))"
)
_MANY: Final = re.compile(
    r"[%*/+^]|\d ?-|\b(?:each|apiece|per|times|every|half|twice|double|at|for|off|less|minus|between|among|share|split|of them)\b"
)
_CHANGE: Final = re.compile(
    r"\b(?:how much|what|my) (?:\w+ ){0,2}change\b|\bchange (?:do|does|will|should|from)\b"
)


def _added(text: str, *, priced: bool) -> str:
    """The sum of amounts that a message lists and asks to add, with or without a number of pieces; or the change that somebody gets back."""
    numbers = re.findall(_N, text)
    if priced and len(numbers) == 2 and _CHANGE.search(text):
        paid, price = sorted(numbers, key=float, reverse=True)
        return f"{paid} - {price}"
    if _TOTALLED.search(text) is None:
        return ""
    items = list(_ITEM.finditer(text))
    if len(items) > 1 and not _LEFT.search(_ITEM.sub(" ", text)):
        return " + ".join(f"{one[1] or 1} * {one[2]}" for one in items)
    if len(numbers) > 1 and not _MANY.search(text) and re.search(r"(?:,|\band\b)", text):
        return " + ".join(numbers)
    return ""


_UNITS: Final[Mapping[str, tuple[str, str]]] = {
    name: (measure, factor)
    for measure, units in {
        "length": "km kilometre kilometer=1000;m metre meter=1;cm centimetre centimeter=0.01;mm millimetre millimeter=0.001;mile mi=1609.344;yard yd=0.9144;foot feet ft=0.3048;inch inche in=0.0254",
        "mass": "kg kilo kilogram=1000;g gram=1;mg milligram=0.001;lb pound lbs=453.59237;oz ounce=28.349523125;stone=6350.29318",
        "volume": "l litre liter=1;ml millilitre milliliter=0.001;cl centilitre=0.01;gallon=4.54609;pint=0.56826125",
        "time": "second sec=1;minute min=60;hour hr=3600;day=86400;week=604800;fortnight=1209600",
        "speed": "mph=1.609344;kmh kph=1",
    }.items()
    for unit in units.split(";")
    for names, factor in (unit.split("="),)
    for name in names.split()
}
_UNIT: Final = rf"({'|'.join(sorted((re.escape(one) for one in _UNITS), key=len, reverse=True))})s?"
_DEGREES: Final = r"(?:degrees? |° ?)?(celsius|fahrenheit|c|f)"
_CONVERTED: Final = [
    (re.compile(pattern), order)
    for pattern, order in (
        (
            rf"\bhow many {_UNIT} (?:are|is|in|make|are there in|is there in|does|do)(?: there)?(?: in)? (?:({_NUMBER}) |an? ){_UNIT}\b",
            (2, 3, 1),
        ),
        (rf"(?<![\w.,-])({_NUMBER}) ?{_UNIT} (?:to|into|in|as|are|is) (?:how many )?{_UNIT}\b", (1, 2, 3)),
        (rf"\b(?:convert|what is|how much is|what are) (an?) {_UNIT} (?:to|into|in|as) {_UNIT}\b", (1, 2, 3)),
    )
]
_FEET: Final = re.compile(
    rf"({_NUMBER}) (?:feet|foot|ft) ({_NUMBER})(?: (?:inches|inch|in))? (?:to|into|in) {_UNIT}\b"
)
_WARMTH: Final = re.compile(
    rf"((?:- ?)?{_NUMBER}) ?{_DEGREES} (?:(?:is|are) )?(?:to|into|in|as) {_DEGREES}\b"
)


def _in_units(text: str) -> str:
    """The expression that converts a length, mass, volume, duration, speed or temperature; "" if a message does not ask for that, or has other numbers. Volumes are imperial."""
    if (found := _WARMTH.search(text)) and not _LEFT.search(text.replace(found[0], " ", 1)):
        degrees, source, target = found[1].replace(" ", ""), found[2][0], found[3][0]
        if source == target:
            return ""
        return f"{degrees} * 9 / 5 + 32" if source == "c" else f"({degrees} - 32) * 5 / 9"
    if (found := _FEET.search(text)) and not _LEFT.search(text.replace(found[0], " ", 1)):
        measure, factor = _UNITS[found[3]]
        return f"({found[1]} * 0.3048 + {found[2]} * 0.0254) / {factor}" if measure == "length" else ""
    for pattern, order in _CONVERTED:
        found = pattern.search(text)
        if found is None or _LEFT.search(text.replace(found[0], " ", 1)):
            continue
        number, source, target = (found[place] for place in order)
        if number is None or not number[0].isdigit():
            number = "1"
        (measure, factor), (wanted, divisor) = _UNITS[source], _UNITS[target]
        if measure == wanted and factor != divisor:
            return f"{number} * {factor}" + (f" / {divisor}" if divisor != "1" else "")
    return ""


def _is_whole(text: str, found: re.Match[str]) -> bool:
    """Whether a form holds all that can be computed, and the words around it leave no doubt."""
    before, form, after = text[: found.start()], found.group(), text[found.end() :]
    if _LEFT.search(before) or _LEFT.search(after):
        return False
    # No name ends with a percentage.
    begins = form[0].isdigit() and re.match(rf"{_NUMBER} ?%", form) is None
    if begins and not _BEFORE.search(before):
        return False
    return not form[-1].isdigit() or _AFTER_FORM.match(after) is not None


def _symbolic(text: str) -> str:
    """The expression that is written with operators. It must be asked for, or begin the message."""
    percent = _MINUS_PERCENT.search(text)
    found = percent or max(_EXPRESSION.finditer(text), key=lambda one: len(one.group()), default=None)
    if found is None:
        return ""
    before, after = text[: found.start()], text[found.end() :]
    asked = _ASKED.search(before) is not None or after.lstrip(" )").startswith("=")
    if not (asked or _GREETED.search(before)) or _LEFT.search(before) or _LEFT.search(after):
        return ""
    if _AFTER.match(after) is None:
        return ""
    if percent:
        # "10 - 15 %" is a range.
        first, share = percent.groups()
        return f"{first} - {first} * {share} / 100" if float(first) > float(share) else ""
    made = _balanced(found.group().strip())
    if not asked and (two := _TWO.fullmatch(made)):
        # "9-17", "5 - 10" and "3/4" say something else more often.
        first, space, sign, second = two.groups()
        if not space or (sign == "-" and float(first) < float(second)):
            return ""
    return made


def _factorial(found: re.Match[str]) -> str:
    number = int(next(one for one in found.groups() if one))
    return str(math.factorial(number)) if number <= _MOST_FACTORIAL else found.group()


def _balanced(text: str) -> str:
    """The expression if its parentheses are in pairs, else without parentheses at its ends; "" if that does not help."""
    for one in (text, text.strip("() ")):
        depth = 0
        for character in one:
            depth += (character == "(") - (character == ")")
            if depth < 0:
                break
        if depth == 0:
            return one
    return ""


def _computed(card: ToolCard, message: Message) -> Sequence[Arguments]:
    found = expression(_QUOTED.sub(" ", message.text))
    return [{"expression": found}] if found else []


# Dates and times.

_MONTH: Final = "|".join(f"{one[:3]}(?:{one[3:]})?" for one in MONTHS) + "|sept"
_DAY: Final = r"\d{1,2})(?:st|nd|rd|th|\.)?"
_DATE: Final = re.compile(
    rf"""\b(?:(?P<iso>\d{{4}}-\d{{2}}-\d{{2}})
    |(?P<d1>{_DAY}[ ](?:of[ ])?(?P<m1>{_MONTH})\b\.?(?:,?[ ](?P<y1>\d{{4}}))?
    |(?P<m2>{_MONTH})\.?[ ](?:the[ ])?(?P<d2>{_DAY}(?!:)(?:,?[ ](?P<y2>\d{{4}}))?
    |(?P<d3>\d{{1,2}})\.(?P<m3>\d{{1,2}})\.(?P<y3>\d{{4}})
    |(?P<feast>christmas[ ]eve|christmas(?:[ ]day)?|new[ ]year(?:['’]?s)?(?:[ ](?:day|eve))?)
    |(?P<near>today|tomorrow|yesterday)
    |in[ ](?P<ahead>\d{{1,3}})[ ](?P<unit1>days?|weeks?)
    |(?P<past>\d{{1,3}})[ ](?P<unit2>days?|weeks?)[ ]ago
    |(?:next|coming|on)[ ](?P<day>{"|".join(DAYS)})
    )(?!\w)""",
    re.IGNORECASE | re.VERBOSE,
)
_FEASTS: Final = {"christmas eve": (12, 24), "christmas": (12, 25), "christmas day": (12, 25)}
_NEAR: Final = {"yesterday": -1, "today": 0, "tomorrow": 1}


def dates(text: str, today: date) -> Sequence[date]:
    """The dates that a text names, in its order. A date without a year is the next one from today."""
    found = [_date(one, today) for one in _DATE.finditer(" ".join(text.split()))]
    return [one for one in found if one is not None]


def _date(found: re.Match[str], today: date) -> date | None:
    group = found.groupdict()
    try:
        if group["iso"]:
            return date.fromisoformat(group["iso"])
        if near := group["near"]:
            return today + timedelta(days=_NEAR[near.casefold()])
        for count, unit, sign in (("ahead", "unit1", 1), ("past", "unit2", -1)):
            if group[count]:
                length = 7 if group[unit].casefold().startswith("week") else 1
                return today + timedelta(days=sign * length * int(group[count]))
        if day := group["day"]:
            return today + timedelta(days=(DAYS.index(day.capitalize()) - today.weekday() - 1) % 7 + 1)
        if feast := group["feast"]:
            month, number = _feast(feast.casefold())
            return _next(month, number, today)
        for place in ("1", "2", "3"):
            if group[f"d{place}"]:
                month = _month(group[f"m{place}"])
                year = group[f"y{place}"]
                number = int(group[f"d{place}"])
                return date(int(year), month, number) if year else _next(month, number, today)
    except (ValueError, OverflowError):
        return None
    return None


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
_HOURS_ASKED: Final = re.compile(r"\bhow\s+(?:many\s+(?:hours|minutes)|long|much\s+time)\b", re.IGNORECASE)
_SPAN: Final = re.compile(
    r"\b(?:how\s+(?:many|long|much\s+time)|days|weeks|months|between|until|till|since|left)\b", re.IGNORECASE
)
_DAYS_ASKED: Final = re.compile(r"\bhow\s+many\s+(?:days|weeks|months)\b", re.IGNORECASE)
_AGO: Final = re.compile(r"\bago\b|\bsince\b|\bhave\s+passed\b", re.IGNORECASE)
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


def _timed(card: ToolCard, message: Message) -> Sequence[Arguments]:
    text, today = _QUOTED.sub(" ", message.text), message.now.date()
    named, days = zones(text), dates(text, today)
    if message.follows and not _ASKS_TIME.search(text):
        return [{"zone": zone} for _, zone in named[:_MOST_CALLS]] or [
            {"time": one.isoformat()} for one in days[:1]
        ]
    if days and _SPAN.search(text) and (_DAYS_ASKED.search(text) or not _EVENT.search(text)):
        if len(days) == 1 and days[0] > today and _AGO.search(text) and not _YEAR.search(text):
            days = [_year_before(days[0])]
        first, second = (days[0], days[1]) if len(days) > 1 else sorted((today, days[0]))
        return [{"time": first.isoformat(), "until": second.isoformat()}]
    if not named and not days and _HOURS_ASKED.search(text) and (span := _hours(text, message.now)):
        return [span]
    if _EVENT.search(text):
        return []
    if days and _WEEKDAY_ASKED.search(text):
        return [{"time": days[0].isoformat()}]
    if not _ASKS_TIME.search(text) and not re.search(r"\bnow\b", text, re.IGNORECASE):
        return []
    if len(named) > 1 and (clock := _clock(text)) is not None:
        return _converted(clock, named, message.now)
    if days and days[0] != today:
        return [{"time": days[0].isoformat()}]
    if not named and any(one.casefold() not in _NO_PLACE for one in _PLACE.findall(text)):
        return []
    if not named and content_words(_TIME_WORDS.sub(" ", text)) > _MOST_OTHER_WORDS:
        return []
    return [{"zone": zone} for _, zone in named[:_MOST_CALLS]] or [{}]


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


# Any other tool: its schema says what stands in the message.

_TOKEN: Final = re.compile(r"[^\s,;!?()\"“”]+")
# A time, a date or a fraction is not a number.
_PLAIN_NUMBER: Final = re.compile(
    r"(?<![\w.,:/-])-?\d+(?:\.\d+)?(?![\w%]|[.,:/-]\d|\s?(?:am|pm|a\.m\.|p\.m\.|o['’]?clock)(?!\w))",
    re.IGNORECASE,
)


def _by_schema(card: ToolCard, message: Message) -> Sequence[Arguments]:
    properties, required = _properties(card)
    values = dict[str, Sequence[object]]()
    # A message that goes on with the question before may leave out a value that stands there.
    before = Message(message.full, message.full, message.now) if message.follows else message
    for name, schema in properties.items():
        found = list(_values(schema, message)) or list(_values(schema, before))
        if name in required:
            if not found:
                return []
            values[name] = found
        elif len(found) == 1 and ("enum" in schema or "pattern" in schema):
            values[name] = found
    numeric = [name for name in values if properties[name].get("type") in ("number", "integer")]
    if len(numeric) > 1 or any(len(values[name]) > 1 for name in numeric):
        return []  # which number is which is not known
    calls = [dict(zip(values, one, strict=True)) for one in product(*values.values())]
    return calls if len(calls) <= _MOST_CALLS else []


def _properties(card: ToolCard) -> tuple[Mapping[str, Mapping[str, Any]], Sequence[str]]:
    properties, required = card.parameters.get("properties"), card.parameters.get("required")
    given: Mapping[str, Any] = (
        cast("Mapping[str, Any]", properties) if isinstance(properties, Mapping) else {}
    )
    listed: Sequence[object] = (
        cast("Sequence[object]", required) if isinstance(required, list | tuple) else ()
    )
    names = [one for one in listed if isinstance(one, str)]
    # A required parameter that is not described cannot be filled.
    found: dict[str, Mapping[str, Any]] = {name: {} for name in names}
    found |= {name: cast("Mapping[str, Any]", one) for name, one in given.items() if isinstance(one, Mapping)}
    return found, names


def needs_value(card: ToolCard) -> bool:
    """Whether a tool needs a value that a message must name, such as the number of an order: a message that has one can hardly mean anything else."""
    properties, required = _properties(card)
    return any("pattern" in properties[name] or "enum" in properties[name] for name in required)


def _values(schema: Mapping[str, Any], message: Message) -> Iterator[object]:
    """The values for a parameter that stand in the message, or the one value that it can have."""
    if "const" in schema:
        yield schema["const"]
    elif isinstance(choices := schema.get("enum"), list):
        yield from _standing(cast("list[object]", choices), message.text)
    elif schema.get("type") in ("number", "integer"):
        yield from _numbers(schema, message.text)
    elif schema.get("format") == "date":
        yield from (one.isoformat() for one in dates(message.text, message.now.date()))
    elif "pattern" in schema:
        yield from _matching(schema, message.text)
    elif "default" in schema:
        yield schema["default"]


def _standing(choices: Sequence[object], text: str) -> Iterator[object]:
    folded = text.casefold()
    for one in choices:
        if isinstance(one, str) and re.search(rf"(?<!\w){re.escape(one.casefold())}(?!\w)", folded):
            yield one


def _numbers(schema: Mapping[str, Any], text: str) -> Iterator[object]:
    for found in dict.fromkeys(_PLAIN_NUMBER.findall(text)):
        value = float(found) if "." in found else int(found)
        if fits(schema, value):
            yield value


def _matching(schema: Mapping[str, Any], text: str) -> Iterator[object]:
    """The words with a digit that fit a pattern. A pattern without digits fits too many words."""
    seen = set[str]()
    for found in _TOKEN.finditer(text):
        word = found.group().rstrip(".:'’")
        if not any(character.isdigit() for character in word):
            continue
        for one in (word, word.upper()):
            if one not in seen and fits(schema, one):
                seen.add(one)
                yield one
                break


_RULES: Final[Mapping[str, Callable[[ToolCard, Message], Sequence[Arguments]]]] = {
    CALCULATOR: _computed,
    TIME: _timed,
    WEB_SEARCH: _searched,
    KNOWLEDGE_SEARCH: _searched,
}
