"""The labels of list items, one model for all formats: a number and a form make a numeral, and the numbers of a list's levels make a label.

Each parser translates the names of its format into the forms of `numeral`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from responsa_formats.text.symbols import in_unicode

BULLET: Final = "-"
"""The form, and the label, of items that have a sign instead of a number."""
NO_LABEL: Final = ""
"""The form, and the label, of items without a sign or a number."""

# Signs that say something of each item. Other signs of bulleted lists are all the same to a reader.
_BOXES: Final = frozenset("☐☑☒✓✔✗✘❏❐❑❒□")
_ALPHABETS: Final = {
    "a": "abcdefghijklmnopqrstuvwxyz",
    "α": "αβγδεζηθικλμνξοπρστυφχψω",
    "а": "абвгдежзиклмнопрстуфхцчшщыэюя",
}
_CIRCLED: Final = "①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳"
_IDEOGRAPHS: Final = "一二三四五六七八九"
_MOST_REPEATED: Final = 30
_MOST_ROMAN: Final = 3_999
_ROMAN: Final = (
    (1000, "m"),
    (900, "cm"),
    (500, "d"),
    (400, "cd"),
    (100, "c"),
    (90, "xc"),
    (50, "l"),
    (40, "xl"),
    (10, "x"),
    (9, "ix"),
    (5, "v"),
    (4, "iv"),
    (1, "i"),
)


def numeral(number: int, form: str) -> str:
    """A number as a list shows it. form: the number 1 in this form, one of these; other forms, and numbers that a form
    cannot say, are in figures.

    "1", "01" and longer ones (padded with zeros), "1st", "i", "I", "①", "一", "a", "A", "α" and "а" (aa and ab follow
    z), "aa", "AA" and so on (aa and bb follow z).
    """
    lower = form.lower()
    if number < 1:
        return str(number)
    if lower in ("1st", "①", "一"):
        return _to_form(number, lower)
    if lower == "i" and number <= _MOST_ROMAN:
        label = "".join(_romans(number))
    elif (letters := _ALPHABETS.get(lower)) is not None:
        label = _to_letters(number, letters)
    elif (letters := _ALPHABETS.get(lower[:1])) and number <= _MOST_REPEATED * len(letters):
        label = letters[(number - 1) % len(letters)] * ((number - 1) // len(letters) + 1)
    else:
        return str(number).zfill(len(form)) if form.strip("0") == "1" else str(number)
    return label if form == lower else label.upper()


def _to_form(number: int, form: str) -> str:
    if form == "1st":
        ending = "th" if number // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
        return f"{number}{ending}"
    if form == "①":
        return _CIRCLED[number - 1] if number <= len(_CIRCLED) else str(number)
    if number > 99:
        return str(number)
    tens, ones = divmod(number, 10)
    return f"{_IDEOGRAPHS[tens - 1] if tens > 1 else ''}{'十' if tens else ''}{_IDEOGRAPHS[ones - 1] if ones else ''}"


def _to_letters(number: int, letters: str) -> str:
    text = ""
    while number:
        number, index = divmod(number - 1, len(letters))
        text = letters[index] + text
    return text


def _romans(number: int) -> Iterator[str]:
    for value, letters in _ROMAN:
        while number >= value:
            yield letters
            number -= value


@dataclass(frozen=True, slots=True)
class Level:
    """One level of a list.

    form: of its numbers, as `numeral` takes it; BULLET or NO_LABEL for a level without numbers. text: the parts of its
    label: texts, and levels of which the number stands there.
    start: its first number. step: from one number to the next. sign: the label of a level with bullets. legal: whether
    the numbers of the levels above are shown in figures. restarts: the level starts again after an item of a level
    below this one, counted from 0; None: after an item of any level above it.
    """

    form: str
    text: tuple[str | int, ...] = ()
    start: int = 1
    step: int = 1
    sign: str = BULLET
    legal: bool = False
    restarts: int | None = None


@dataclass(slots=True)
class Counter:
    """The numbers of a list's last items, by level from 0."""

    numbers: dict[int, int] = field(default_factory=dict[int, int])

    def count(self, levels: Mapping[int, Level], level: int, number: int | None = None) -> str:
        """Count an item, and return its label. number: the item's own number, if it states one."""
        own = levels[level]
        for deeper in [depth for depth in self.numbers if depth > level]:
            restarts = levels[deeper].restarts if deeper in levels else None
            if restarts is None or level < restarts:
                del self.numbers[deeper]
        if number is None:
            number = self.numbers[level] + own.step if level in self.numbers else own.start
        self.numbers[level] = number
        return self.label(levels, level)

    def label(self, levels: Mapping[int, Level], level: int) -> str:
        """The label of the last item of a level."""
        own = levels[level]
        if own.form == BULLET:
            return own.sign
        return "".join(
            part if isinstance(part, str) else self._numeral(levels, own, part) for part in own.text
        )

    def _numeral(self, levels: Mapping[int, Level], own: Level, level: int) -> str:
        other = levels.get(level, own)
        if other.form in (BULLET, NO_LABEL):
            return ""
        padded = other.form.strip("0") == "1"
        return numeral(self.numbers.get(level, other.start), "1" if own.legal and not padded else other.form)


def sign_of(bullet: str, font: str) -> str:
    """The label of an item with a bullet, which is BULLET unless the bullet is a box or a tick."""
    sign = in_unicode(bullet, font).strip()
    return sign if sign in _BOXES else BULLET
