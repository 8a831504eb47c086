"""The arithmetic that a message asks for: in signs, in fixed forms of words, or as a story (`word_problems`). English, by rules, and pure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

from responsa_server.agents.engine.timing import DATE
from responsa_server.agents.engine.word_problems import UNITS, solved
from responsa_server.text.number_words import in_digits

# Arithmetic. A number may be a part of a name, a date, a range or a telephone number, so a message is computed only if it can hardly mean anything else:
# a known form of words holds all its numbers, and the words around this form belong to a calculation.

# Repetitions have bounds, so that a search ends soon in any text.
_NUMBER: Final = r"[0-9]{1,20}(?:\.[0-9]{1,20})?"
_WORD: Final = r"[a-z]{1,20}"
# "one" is a number only next to an operator ("this one").
_ONE: Final = re.compile(r"\bone(?= [-+*/%])|(?<=[-+*/] )one\b")
_AND_A_HALF: Final = re.compile(r"(?<![\d.])(\d{1,6}) and a half\b")
_THOUSANDS: Final = re.compile(r"(?<![\d.,'])\d{1,3}(?:[,\u2009\u202f']\d{3})+(?!\d|[,']\d)")
_CURRENCIES: Final = [
    re.compile(rf"[{sign}]|(?<![^\W\d_])(?:{words})\b" if sign else rf"(?<![^\W\d_])(?:{words})\b")
    for sign, words in (("€", "euros?|eur"), ("£", "pounds?|quid|gbp"), ("$", "dollars?|usd"), ("", "chf"))
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
        (r"\bdiv\w{1,5}d by\b", " / "),
        (r"^(?:wats?|whats|wot is|wat is|hw much is|how mutch is)\b", "what is"),
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
# The expression for each form of words, with the numbers in the order of the words. Unlike a story, a form needs no word that asks for anything ("half of 90").
_FORMS: Final[Sequence[tuple[re.Pattern[str], str]]] = [
    (re.compile(pattern), made)
    for pattern, made in (
        (rf"{_P} of (?:the )?{_N}", "{1} * {0} / 100"),
        (rf"{_N} (?:less|reduced by) {_P}", "{0} - {0} * {1} / 100"),
        (rf"{_N} (?:with|at|after|and)(?: a)? {_P} (?:off|discount|reduction)\b", "{0} - {0} * {1} / 100"),
        (rf"{_N} without (?:the )?{_P}(?: (?:tax|vat)\b)?", "{0} / (1 + {1} / 100)"),
        (rf"{_P} (?:off|discount on|less than) (?:of |from )?{_N}", "{1} - {1} * {0} / 100"),
        (rf"{_N} ?\+ ?{_BARE_P}(?: (?:tax|vat|interest|tip)\b)?", "{0} + {0} * {1} / 100"),
        (rf"(?:square root of|sqrt(?: of)?|√) ?\(? ?{_N} ?\)?", "sqrt({0})"),
        (rf"(?:cube|cubic) root of {_N}", "round({0} ** (1 / 3), 10)"),
        (rf"{_N} squared\b", "{0} ** 2"),
        (rf"{_N} cubed\b", "{0} ** 3"),
        (rf"half of {_N}", "{0} / 2"),
        *(
            (rf"(?:{_N}|\b(?:a|one)) {part}s? of (?:the )?{_N}", f"{{1}} * {{0}} / {whole}")
            for part, whole in (("third", 3), ("quarter", 4), ("fifth", 5), ("eighth", 8), ("tenth", 10))
        ),
        (rf"(?:^|\bis |\bwhat['’]?s )(?:double|twice) {_N}", "{0} * 2"),
        (rf"(?:split|divide) {_N} by {_N}", "{0} / {1}"),
        (
            rf"(?:split|divide|share) {_N}(?: {_WORD}){{0,4}}? (?:between|among|amongst) (?:the )?{_N}",
            "{0} / {1}",
        ),
        (rf"multiply {_N} (?:by|with|and) {_N}", "{0} * {1}"),
        (rf"(?:subtract|deduct|take) {_N} from {_N}", "{1} - {0}"),
        (rf"add {_N} to {_N}", "{0} + {1}"),
        (rf"{_N} {_WORD}(?: {_WORD})? (?:at|for|à|of) {_N} (?:each|apiece)\b", "{0} * {1}"),
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
_LEFT: Final = re.compile(r"[\d%*+√^]|\b(?:half|third|quarter) of\b")


def expression(question: str) -> str:
    """The arithmetic in a question, as the calculator reads it. The result is "" if the question has no arithmetic, or if its meaning is not sure."""
    text, currencies = _spelled(question)
    if len(currencies) > 1:
        return ""
    for one in currencies:
        text = one.sub(" ", text)
    text = " ".join(text.split())
    if converted := _in_units(text):
        return converted
    text = _FACTORIAL.sub(_factorial, text)
    if _is_doubtful(text):
        return ""
    return _formed(text, priced=bool(currencies)) or _symbolic(text) or _added(text, priced=bool(currencies))


def expressions(question: str) -> Sequence[str]:
    """The computations that a question asks for, as the calculator reads them. If there are several, the message compares them."""
    question = _CLAIMED.sub("", question)
    if one := expression(question):
        return [one]
    text, currencies = _spelled(question)
    for sign, one in zip("€£$", _CURRENCIES, strict=False):
        text = one.sub(sign, text)
    # Millions of money are written together with their currency.
    text = re.sub(r"(?<![€£$\d.])(\d[\d.]*) ?m\b", r"\1 metres", text)
    return (
        []
        if len(currencies) > 1 or _is_doubtful(_DOZEN.sub(" ", text))
        else solved(question, " ".join(text.split()))
    )


# What the author got is not part of the computation.
_CLAIMED: Final = re.compile(
    r"[,;–-]? ?\bi (?:make|made|get|got)(?: (?:it|that))? [£€$]?[\d.,]*\d", re.IGNORECASE
)
_DOZEN: Final = re.compile(r"\bdozen\b")


def _spelled(question: str) -> tuple[str, Sequence[re.Pattern[str]]]:
    """The question in lower case, with numbers in digits and words for operations in signs; and the currencies that it names."""
    text = _THOUSANDS.sub(lambda found: re.sub(r"\D", "", found.group()), question.casefold())
    if _WEIGHED.search(text):
        text = _POUNDS.sub("lb", text)
    currencies = [one for one in _CURRENCIES if one.search(text)]
    for pattern, by in _SPELLINGS:
        text = pattern.sub(by, text)
    text = _ONE.sub("1", in_digits(text.strip()))
    return _AND_A_HALF.sub(r"\1.5", text), currencies


def _is_doubtful(text: str) -> bool:
    return _DOUBTFUL.search(text) is not None or any(_LEFT.search(one.group()) for one in DATE.finditer(text))


def _formed(text: str, *, priced: bool) -> str:
    """The expression for a form of words."""
    forms = [*_FORMS, (_PRICED, "{0} * {1}")] if priced else _FORMS
    for pattern, made in forms:
        if (found := pattern.search(text)) and _is_whole(text, found):
            return made.format(*(one or "1" for one in found.groups()))
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
# Some of the amounts are subtracted, or are parts of others.
_BALANCED: Final = re.compile(r"\bbut\b|\bowes? me\b|\bparts?\b|\bratio\b")
_CHANGE: Final = re.compile(
    r"\b(?:how much|what|my) (?:\w+ ){0,2}change\b|\bchange (?:do|does|will|should|from)\b"
)


def _added(text: str, *, priced: bool) -> str:
    """The sum of amounts that a message lists and asks to add, with or without a number of pieces; or the change that somebody gets back."""
    numbers = re.findall(_N, text)
    if priced and len(numbers) == 2 and _CHANGE.search(text):
        paid, price = sorted(numbers, key=float, reverse=True)
        return f"{paid} - {price}"
    if _TOTALLED.search(text) is None or _BALANCED.search(text):
        return ""
    items = list(_ITEM.finditer(text))
    if len(items) > 1 and not _LEFT.search(_ITEM.sub(" ", text)):
        return " + ".join(f"{one[1] or 1} * {one[2]}" for one in items)
    if len(numbers) > 1 and not _MANY.search(text) and re.search(r"(?:,|\band\b)", text):
        return " + ".join(numbers)
    return ""


_UNIT: Final = rf"({'|'.join(sorted((re.escape(one) for one in UNITS), key=len, reverse=True))})s?"
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
        measure, factor = UNITS[found[3]]
        return f"({found[1]} * 0.3048 + {found[2]} * 0.0254) / {factor}" if measure == "length" else ""
    for pattern, order in _CONVERTED:
        found = pattern.search(text)
        if found is None or _LEFT.search(text.replace(found[0], " ", 1)):
            continue
        number, source, target = (found[place] for place in order)
        if number is None or not number[0].isdigit():
            number = "1"
        (measure, factor), (wanted, divisor) = UNITS[source], UNITS[target]
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
