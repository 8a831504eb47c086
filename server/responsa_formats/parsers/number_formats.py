"""Shows the numbers and dates of spreadsheet cells as their number formats say (ISO/IEC 29500-1, section 18.8.30).

Decimals, thousands, percentages, currencies, literal text, dates and times are shown as in the sheet, with English
names of months and days. Conditions such as [<0.9] choose among the sections of a format. Dates in a format that
depends on the reader's country are shown as 2024-02-29. Scientific formats fall back to the plain number.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final

from responsa_formats.text.canonical import DAYS, MONTHS

Shown = Callable[[float], str]

BUILT_IN: Final = {
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    9: "0%",
    10: "0.00%",
    12: "# ?/?",
    13: "# ??/??",
    14: "yyyy-mm-dd",
    15: "d-mmm-yy",
    16: "d-mmm",
    17: "mmm-yy",
    18: "h:mm AM/PM",
    19: "h:mm:ss AM/PM",
    20: "h:mm",
    21: "h:mm:ss",
    22: "yyyy-mm-dd h:mm",
    37: "#,##0;-#,##0",
    38: "#,##0;-#,##0",
    39: "#,##0.00;-#,##0.00",
    40: "#,##0.00;-#,##0.00",
    45: "mm:ss",
    46: "[h]:mm:ss",
    47: "mm:ss.0",
}
"""The formats with these ids, which files do not define. Ids that are missing here mean General."""

_MAX_CODE = 300
_EPOCH_1900 = datetime(1899, 12, 30)  # noqa: DTZ001  dates of spreadsheets have no time zone
_EPOCH_1904 = datetime(1904, 1, 1)  # noqa: DTZ001  dates of spreadsheets have no time zone
# Quoted and escaped text, padding (_x), fill (*x), a currency ([$€-407]) or another bracket, and the tokens of dates and numbers.
_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"|\\(?P<escaped>.)|(?P<padding>[_*].)|\[\$(?P<currency>[^\]\-]*)[^\]]*\]|\[(?P<elapsed>h+|m+|s+)\]'
    r"|(?P<bracket>\[[^\]]*\])|(?P<half>AM/PM|A/P)|(?P<general>General|@)|(?P<fraction>\.0+(?=[^0#?]|$))"
    r"|(?P<date>y+|m+|d+|h+|s+|e+)|(?P<digits>[0#?][0#?,]*(?:\.[0#?]*)?,*(?:E[+-][0#?]+)?|\.[0#?]+)|(?P<other>.)",
    re.IGNORECASE | re.DOTALL,
)
_FRACTION: Final = re.compile(
    r"(?:(?P<whole>[#0?]+) +)?[#0?]+ */ *(?:(?P<digits>[#0?]{1,4})|(?P<fixed>[1-9]\d{0,4}))"
)
"""A format of fractions: with a whole number before them or not, and with a number of digits or a fixed denominator."""
_Token = tuple[str, str]
_CONDITION = re.compile(r"\[(<>|[<>]=?|=)(-?(?:\d++(?:\.\d*+)?|\.\d++)(?:E[+-]?\d{1,3})?)\]", re.IGNORECASE)
_COMPARED: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "<>": operator.ne,
}


def general(number: float) -> str:
    """A number in the format General: with up to 10 decimals, and without an exponent between 1e-9 and 1e15."""
    if number == 0 or not math.isfinite(number):
        return "0" if number == 0 else str(number)
    if not 1e-9 <= abs(number) < 1e15:
        return f"{number:.10g}"
    text = f"{number:.10f}" if abs(number) < 1e5 else f"{number:.5f}"
    text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def compile_format(code: str, *, since_1904: bool) -> Shown:
    """The function that shows numbers in the format `code`. since_1904: whether the workbook counts days from 1904."""
    codes = _sections(" ".join(code[:_MAX_CODE].split()))
    sections = [_tokens(section) for section in codes]
    showing = [
        _fractional(form) if (form := _FRACTION.fullmatch(code.strip())) else _compile(section, since_1904)
        for code, section in zip(codes, sections[:3], strict=False)
    ]
    if any(kind == "condition" for section in sections for kind, _ in section):
        return _conditional(sections[:3], showing)

    def render(number: float) -> str:
        if len(showing) > 2 and number == 0:
            return showing[2](number)
        if len(showing) > 1 and number < 0:
            return showing[1](-number)
        return showing[0](number)

    return render


def _conditional(sections: Sequence[Sequence[_Token]], showing: Sequence[Shown]) -> Shown:
    """Shows a number as the first section whose condition holds. Of two sections without a condition, the first is for
    negative numbers; a number for which there is no section is plain."""
    rules: list[tuple[Callable[[float, float], bool], float, Shown]] = []
    others: list[Shown] = []
    for section, show in zip(sections, showing, strict=True):
        match = next((_CONDITION.fullmatch(text) for kind, text in section if kind == "condition"), None)
        if match is None:
            others.append(show)
        else:
            rules.append((_COMPARED[match.group(1)], float(match.group(2)), show))
    if len(others) > 1:
        rules.append((operator.lt, 0.0, others.pop(0)))

    def render(number: float) -> str:
        for holds, limit, show in rules:
            if holds(number, limit):
                # The section of negative numbers says by itself that they are negative.
                return show(
                    -number if number < 0 >= limit and holds in (operator.lt, operator.le) else number
                )
        return others[0](number) if others else general(number)

    return render


def _sections(code: str) -> list[str]:
    """The parts of a format for positive numbers, negative numbers and zero. A semicolon inside quotes does not count."""
    sections = [""]
    for match in re.finditer(r'"[^"]*"|\\.|;|.', code, re.DOTALL):
        if match.group() == ";":
            sections.append("")
        else:
            sections[-1] += match.group()
    return sections


def _tokens(section: str) -> list[_Token]:
    tokens: list[_Token] = []
    for match in _TOKEN.finditer(section):
        kind = match.lastgroup or "currency"
        text = match.group(kind)
        match kind:
            case "quoted" | "escaped" | "currency" | "other":
                tokens.append(("text", text))
            case "padding":
                tokens.append(("text", " " if text.startswith("_") else ""))
            case "bracket":
                # Colours and countries do not change the number; comparisons choose among the sections.
                if text[1] in "<>=":
                    tokens.append(("condition", text))
            case _:
                tokens.append((kind, text))
    return tokens


def _compile(tokens: Sequence[_Token], since_1904: bool) -> Shown:
    kinds = {kind for kind, _ in tokens}
    if kinds & {"date", "elapsed", "half"}:
        marked = _minutes(tokens)
        return lambda number: _date(number, marked, since_1904)
    if "general" in kinds:
        before, after = _around(tokens, "general")
        return lambda number: f"{before}{general(number)}{after}".strip()
    digits = [text for kind, text in tokens if kind in ("digits", "fraction")]
    if len(digits) > 1 and "/" not in _text(tokens) and all(set(digit) <= set("0#?") for digit in digits):
        return lambda number: _group(number, tokens)
    if len(digits) > 1 or any("E" in digit.upper() for digit in digits):
        return general
    if not digits:
        text = _text(tokens).strip()
        return lambda _: text
    before, after = _around(tokens, "digits", "fraction")
    # Each per cent sign multiplies by 100; each comma after the last digit divides by 1,000.
    body = digits[0]
    scale = 100.0 ** (before + after).count("%") / 1000.0 ** (len(body) - len(body.rstrip(",")))
    body = body.rstrip(",")
    whole_part, _, decimals = body.partition(".")
    places = min(len(decimals), 15)
    optional = len(decimals) - len(decimals.rstrip("#?"))
    grouping = "," if "," in whole_part else ""
    least = whole_part.count("0")

    def render(number: float) -> str:
        text = f"{abs(number) * scale:{grouping}.{places}f}"
        if optional:
            trimmed = text.rstrip("0")
            text = max(trimmed, text[: len(text) - optional], key=len).rstrip(".")
        if least > 1 and not grouping:
            head, dot, tail = text.partition(".")
            text = head.zfill(min(least, 30)) + dot + tail
        sign = "-" if number < 0 and text.strip("0.,") else ""
        return f"{sign}{before}{text}{after}".strip()

    return render


def _fractional(form: re.Match[str]) -> Shown:
    """Shows a number as a fraction: 2 1/2."""
    fixed = int(form.group("fixed") or 0)
    limit = 10 ** len(form.group("digits") or "") - 1

    def render(number: float) -> str:
        if not math.isfinite(number):
            return general(number)
        value = Fraction(abs(number))
        whole = int(value) if form.group("whole") else 0
        value -= whole
        part = Fraction(round(value * fixed), fixed) if fixed else value.limit_denominator(limit)
        if form.group("whole") and part == 1:
            whole, part = whole + 1, Fraction(0)
        above, below = part.numerator, part.denominator
        if fixed:
            above, below = above * (fixed // below), fixed
        sign = "-" if number < 0 and (whole or above) else ""
        if not above or (below == 1 and not whole):
            return f"{sign}{whole or above}"
        return f"{sign}{whole} {above}/{below}" if whole else f"{sign}{above}/{below}"

    return render


def _group(number: float, tokens: Sequence[_Token]) -> str:
    """A number whose digits stand in groups, such as a telephone number. The first group has all digits that are left."""
    rest = f"{abs(number):.0f}"
    parts: list[str] = []
    for kind, text in reversed(tokens):
        if kind == "digits":
            rest, text = rest[: -len(text)], rest[-len(text) :].zfill(text.count("0"))
        parts.append(text)
    first = next(index for index, (kind, _) in enumerate(tokens) if kind == "digits")
    parts[-1 - first] = rest + parts[-1 - first]
    return ("-" if number < 0 else "") + "".join(reversed(parts)).strip()


def _text(tokens: Sequence[_Token]) -> str:
    return "".join(text for kind, text in tokens if kind == "text")


def _around(tokens: Sequence[_Token], *kinds: str) -> tuple[str, str]:
    at = next(index for index, (kind, _) in enumerate(tokens) if kind in kinds)
    return _text(tokens[:at]), _text(tokens[at + 1 :])


def _minutes(tokens: Sequence[_Token]) -> list[_Token]:
    """The tokens with the kind "minute" for each m that stands after hours or before seconds; every other m means the month."""
    marked = list(tokens)
    timed = [at for at, (kind, _) in enumerate(tokens) if kind in ("date", "elapsed", "digits", "fraction")]
    for index, at in enumerate(timed):
        kind, text = tokens[at]
        if kind != "date" or text[0].lower() != "m" or len(text) > 2:
            continue
        before = tokens[timed[index - 1]][1][0].lower() if index else ""
        after = tokens[timed[index + 1]][1][0].lower() if index + 1 < len(timed) else ""
        if before == "h" or after == "s":
            marked[at] = ("minute", text)
    return marked


def _date(number: float, tokens: Sequence[_Token], since_1904: bool) -> str:
    halves = any(kind == "half" for kind, _ in tokens)
    fraction = next((len(text) - 1 for kind, text in tokens if kind == "fraction"), 0)
    try:
        # Whole milliseconds, or whole seconds where the format shows no fraction, because days are binary fractions.
        unit = 10 ** min(fraction, 3)
        at = (_EPOCH_1904 if since_1904 else _EPOCH_1900) + timedelta(
            seconds=math.floor(number * 86_400 * unit + 0.5) / unit
        )
        if not since_1904 and 0 <= number < 60:
            # The calendar of these sheets has a 29 February 1900, so earlier dates are one day off.
            at += timedelta(days=1)
    except (OverflowError, ValueError):
        return general(number)
    parts: list[str] = []
    for kind, text in tokens:
        match kind:
            case "date":
                parts.append(_date_part(at, text.lower(), halves=halves))
            case "minute":
                parts.append(f"{at.minute:02}" if len(text) > 1 else str(at.minute))
            case "elapsed":
                seconds = round(number * 86_400)
                total = seconds // {"h": 3600, "m": 60, "s": 1}[text[0].lower()]
                parts.append(str(total).zfill(len(text)))
            case "half":
                parts.append("AM" if at.hour < 12 else "PM")
            case "fraction":
                parts.append(f".{at.microsecond:06}"[: len(text)])
            case "text":
                parts.append(text)
            case _:
                pass
    return "".join(parts).strip()


def _date_part(at: datetime, text: str, *, halves: bool) -> str:
    length = len(text)
    match text[0]:
        case "y" | "e":
            return f"{at.year:04}" if length > 2 or text[0] == "e" else f"{at.year % 100:02}"
        case "m":
            name = MONTHS[at.month - 1]
            short = {3: name[:3], 5: name[0]}.get(length, name)
            return short if length > 2 else str(at.month).zfill(length)
        case "d":
            name = DAYS[at.weekday()]
            return str(at.day).zfill(length) if length < 3 else name[:3] if length == 3 else name
        case "h":
            hour = (at.hour % 12 or 12) if halves else at.hour
            return str(hour).zfill(length)
        case _:
            return str(at.second).zfill(length)
