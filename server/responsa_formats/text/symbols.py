"""Translates the codes of symbol fonts to Unicode.

A symbol font has its own picture for each code. Office programs write such a code from 0x20 to 0xFF, or in the private
use area from U+F020 to U+F0FF. The tables follow Adobe's Symbol encoding and, for Wingdings, the characters that
Unicode 7.0 added for its pictures; boxes to tick are ☐, ☑ and ☒.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

TICKED: Final = "☑"
UNTICKED: Final = "☐"
CROSSED: Final = "☒"

_PRIVATE: Final = 0xF000
_NAME: Final = re.compile(r"\A[A-Z]{6}\+|(?:MT|-?Regular)\Z|[^A-Za-z0-9]")

# The pictures of the codes from the key on. A space stands for a picture without a character of Unicode.
_SYMBOL: Final = {
    0x21: "!∀#∃%&∋()∗+,−./0123456789:;<=>?≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼",
    0xA0: "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…⏐⎯↵ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓◊⟨®©™∑⎛⎜⎝⎡⎢⎣⎧⎨⎩⎪ ⟩∫⌠⎮⌡⎞⎟⎠⎤⎥⎦⎫⎬⎭",
}
_WINGDINGS: Final = {
    0x21: "✏✂✁👓🔔📖🕯☎✆✉🖃📪📫📬📭📁📂📄🗏🗐🗄⌛⌨🖰🖲💻🖴💾🖬✇✍🖎✌👌👍👎☜☞☝☟✋☺😐☹💣☠⚐🚩✈☼💧❄✝✞🕈✠✡☪☯ॐ☸♈♉♊♋♌♍♎♏♐♑♒♓&&●❍■☐☐❑❒⬧⧫◆❖⬥☒⍓⌘❀✿❝❞",
    0x80: "⓪①②③④⑤⑥⑦⑧⑨⑩⓿❶❷❸❹❺❻❼❽❾❿        ·•▪○⭘⭕◉◎ ▪☐ ✦★✶✴✹✵ ⌖⟡⌑ ✪✰🕐🕑🕒🕓🕔🕕🕖🕗🕘🕙🕚🕛",
    0xD5: "⌫⌦ ➢   ➲  ←→↑↓↖↗↙↘←➔↑↓↖↗↙↘⇦⇨⇧⇩⬄⇳⬁⬀⬃⬂▭▫✗✓☒☑",
}
_TICKS: Final = {"wingdings2": {0x4F: "✗✓☒☑☒☒", 0xA2: "■☐"}, "webdings": {0x61: "✓", 0x63: "☐", 0x72: "✗"}}


def _table(*parts: Mapping[int, str]) -> dict[int, str]:
    return {
        area + first + code: picture
        for part in parts
        for first, pictures in part.items()
        for code, picture in enumerate(pictures)
        if picture != " "
        for area in (0, _PRIVATE)
    }


_TABLES: Final = {
    "symbol": _table(_SYMBOL),
    "wingdings": _table(_WINGDINGS),
    **{font: _table(ticks) for font, ticks in _TICKS.items()},
}


def in_unicode(text: str, font: str) -> str:
    """A text that is set in a font. Text in other fonts than these, and codes that have no character of Unicode, stay as they are."""
    table = _table_of(font) if font else None
    return text.translate(table) if table is not None else text


@lru_cache(maxsize=256)
def _table_of(font: str) -> Mapping[int, str] | None:
    return _TABLES.get(_NAME.sub("", font).lower())


def symbol(code: str, font: str) -> str:
    """The symbol with a hexadecimal code, such as "F06D"; '' for anything else."""
    if not re.fullmatch(r"[0-9A-Fa-f]{2,4}", code):
        return ""
    sign = chr(int(code, 16))
    return in_unicode(sign, font) if sign.isprintable() or sign >= chr(_PRIVATE) else ""
