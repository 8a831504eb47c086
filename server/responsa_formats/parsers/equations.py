"""Writes equations on one line: "1/2", "√(144)", "(a+b)/c", "x²", "∑_(i=1)ⁿ i". Reads Office Math (ISO/IEC 29500-1, part 22) and MathML 3.

Brackets keep together what the layout keeps together. The names of elements have the prefixes "m:" and "math:".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final
from xml.etree.ElementTree import Element

from responsa_formats.parsers.office import first
from responsa_formats.text.inline import APART, power, subscript

_MAX_DEPTH: Final = 60
"""What is nested more deeply is written without its structure."""
# A number, a letter with its indexes and powers, or a word. Two letters are a product.
# A sign such as a separator is repeated between the parts of a formula.
_MOST_SIGN: Final = 16
_ATOM: Final = re.compile(r"\d+(?:[.,]\d+)*|(?:[^\W\d_][\u0300-\u036f\u20d7]?|[^\W\d_]{3,})(?:_[^\W_]+)?[⁰¹²³⁴-⁹ⁿⁱ₀-₉]*|[∞∅]|")  # fmt: skip
_PRODUCT: Final = re.compile(r"[\w.,·⋅×∞]*")
_ROOTS: Final = {"": "√", "2": "√", "3": "∛", "4": "∜"}
_ACCENTS: Final = dict(
    zip("¯‾^ˆ~˜→˙¨", "\u0304\u0304\u0302\u0302\u0303\u0303\u20d7\u0307\u0308", strict=True)
)
_SIGNS: Final = frozenset("′″‴*†‡°")
_INVISIBLE: Final = str.maketrans({"\u2061": " ", "\u2062": None, "\u2063": None, "\u2064": None, "∘": "°"})
_UNREAD: Final = frozenset(
    ("math:mphantom", "math:none", "math:annotation", "math:annotation-xml", "w:del", "m:ctrlPr", "m:argPr")
)


def linear(node: Element) -> str:
    """The text of an equation, for `settle_marks`."""
    return " ".join(_read(node).split())


def _read(node: Element | None, depth: int = 0) -> str:
    if node is None or node.tag in _UNREAD:
        return ""
    if depth > _MAX_DEPTH:
        return "".join(node.itertext())
    if (whole := _WHOLE.get(node.tag)) is not None:
        return whole(node, [_read(child, depth + 1) for child in node])
    if (wanted := _READERS.get(node.tag)) is not None:
        write, *arguments = wanted
        return write(*(_argument(node, argument, depth + 1) for argument in arguments))
    return _join(node, [_read(child, depth + 1) for child in node])


def _join(node: Element, parts: Sequence[str]) -> str:
    """What stands side by side. Two numbers are kept apart, unless they are runs of the same number."""
    result: list[str] = []
    for part, child, before in zip(parts, node, ("", *parts), strict=False):
        if child.tag != "m:r" and before[-1:].isdecimal() and part[:1].isdecimal():
            result.append(APART)
        result.append(part)
    return "".join(result)


def _argument(node: Element, wanted: str | int, depth: int) -> str:
    """An argument of a writer: the child with a number or a name, or "@" and the name of an attribute or the path of a
    property, with a default."""
    if isinstance(wanted, int):
        return _read(node[wanted], depth) if wanted < len(node) else ""
    if not wanted.startswith("@"):
        return _read(node.find(wanted), depth) if wanted else ""
    name, _, default = wanted[1:].partition("=")
    child = first(node, *name.split("/")) if ":" in name else None
    value = node.get(name, default) if child is None else child.get("m:val", "")
    return value[:_MOST_SIGN]


def _bracket(text: str, unless: re.Pattern[str]) -> str:
    text = text.strip(APART)
    return text if unless.fullmatch(text) or _is_bracketed(text) else f"({text})"


def _is_bracketed(text: str) -> bool:
    opened = 0
    for index, letter in enumerate(text):
        opened += (letter == "(") - (letter == ")")
        if not opened:
            return letter == ")" and index == len(text) - 1
    return False


def _fraction(above: str, below: str, bar: str) -> str:
    if bar == "noBar" or bar.startswith("0"):
        return f"{APART}{above.strip(APART)} over {below.strip(APART)}{APART}"
    return f"{APART}{_bracket(above, _PRODUCT)}/{_bracket(below, _ATOM)}{APART}"


def _root(text: str, degree: str = "") -> str:
    text, degree = text.strip(APART), degree.strip(APART)
    return f"{_ROOTS.get(degree) or power(degree) + '√'}{text if _is_bracketed(text) else f'({text})'}"


def _scripts(base: str, below: str = "", above: str = "") -> str:
    base, below, above = base.strip(APART), below.strip(APART), above.strip(APART)
    scripts = subscript(below) + (above if set(above) <= _SIGNS else power(above))
    if base.startswith("lim") or (base and not any(map(str.isalnum, base))):
        return f"{base}{scripts}{' ' if base.startswith('lim') or base >= '∏' else ''}"
    return _bracket(base, _ATOM) + scripts


def _accent(base: str, accent: str) -> str:
    mark = _ACCENTS.get(accent, accent)
    if any(map(str.isalnum, accent)):
        return _scripts(base, "", accent)
    return base + mark if len(base) == 1 and "\u0300" <= mark <= "\u20ff" else base


def _n_ary(sign: str, below: str, above: str, of: str) -> str:
    return f"{_scripts(sign, below, above)}{of}"


def _precede(below: str, above: str, base: str) -> str:
    return _scripts("", below, above) + base


def _call(name: str, of: str) -> str:
    return f"{name.strip(APART)}{'' if of.startswith('(') else ' '}{of}"


def _each(node: Element, parts: Iterable[str], tag: str) -> Iterator[str]:
    return (part.strip(APART) for part, child in zip(parts, node, strict=True) if child.tag == tag)


def _delimit(node: Element, parts: Iterable[str]) -> str:
    names = ("@m:dPr/m:begChr=(", "@m:dPr/m:endChr=)", "@m:dPr/m:sepChr=|")
    begin, end, between = (_argument(node, name, 0) for name in names)
    return begin + between.join(_each(node, parts, "m:e")) + end


def _token(node: Element, _: Iterable[str]) -> str:
    text = "".join(node.itertext()).translate(_INVISIBLE)
    word = text.strip()
    return (
        text
        if node.tag == "math:mtext"
        else f"{APART}{word}{APART}"
        if len(word) > 1 and node.tag == "math:mi"
        else word
    )


def _multiscripts(node: Element, parts: list[str]) -> str:
    before = next((index for index, child in enumerate(node) if child.tag == "math:mprescripts"), len(parts))
    after, leading = parts[1:before], parts[before + 1 :]
    lead = _scripts("", "".join(leading[0::2]), "".join(leading[1::2]))
    return lead + _scripts("".join(parts[:1]), "".join(after[0::2]), "".join(after[1::2]))


def _fence(node: Element, parts: Iterable[str]) -> str:
    return (
        node.get("open", "(") + node.get("separators", ",").strip()[:1].join(parts) + node.get("close", ")")
    )


_WHOLE: Final[Mapping[str, Callable[[Element, list[str]], str]]] = {
    **dict.fromkeys(("math:mi", "math:mn", "math:mo", "math:ms", "math:mtext"), _token),
    "m:t": lambda node, _: node.text or "",
    "m:d": _delimit,
    "m:mr": lambda node, parts: ", ".join(_each(node, parts, "m:e")),
    "m:m": lambda node, parts: "; ".join(_each(node, parts, "m:mr")),
    "m:eqArr": lambda node, parts: "; ".join(_each(node, parts, "m:e")),
    "math:mspace": lambda node, parts: " ",
    "math:msqrt": lambda node, parts: _root(_join(node, parts)),
    "math:mmultiscripts": _multiscripts,
    "math:mfenced": _fence,
    "math:mtable": lambda _, parts: "; ".join(parts),
    "math:mtr": lambda _, parts: ", ".join(parts),
}
"""Writers that take the element itself and the texts of all its children."""
_READERS: Final[Mapping[str, tuple[Callable[..., str], *tuple[str | int, ...]]]] = {
    "m:f": (_fraction, "m:num", "m:den", "@m:fPr/m:type="),
    "m:rad": (_root, "m:e", "m:deg"),
    "m:sSup": (_scripts, "m:e", "", "m:sup"),
    "m:sSub": (_scripts, "m:e", "m:sub"),
    "m:sSubSup": (_scripts, "m:e", "m:sub", "m:sup"),
    "m:sPre": (_precede, "m:sub", "m:sup", "m:e"),
    "m:limLow": (_scripts, "m:e", "m:lim"),
    "m:limUpp": (_scripts, "m:e", "", "m:lim"),
    "m:nary": (_n_ary, "@m:naryPr/m:chr=∫", "m:sub", "m:sup", "m:e"),
    "m:func": (_call, "m:fName", "m:e"),
    "m:acc": (_accent, "m:e", "@m:accPr/m:chr=\u0302"),
    "m:bar": (_accent, "m:e", "@m:barPr/m:chr=\u0304"),
    "math:semantics": (str, 0),
    "math:maction": (str, 0),
    "math:mfrac": (_fraction, 0, 1, "@linethickness="),
    "math:mroot": (_root, 0, 1),
    "math:msup": (_scripts, 0, "", 1),
    "math:msub": (_scripts, 0, 1),
    "math:msubsup": (_scripts, 0, 1, 2),
    "math:munder": (_scripts, 0, 1),
    "math:munderover": (_scripts, 0, 1, 2),
    "math:mover": (_accent, 0, 1),
}
"""Writers, and the arguments that they take."""
