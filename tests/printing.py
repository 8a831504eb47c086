"""Documents of known text for Chromium to print, and how well a reading of a PDF agrees with the text.

The documents are made of words at random from a seed: the same seed always makes the same document.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from html import escape
from typing import Final
from unicodedata import normalize

SHY: Final = "\u00ad"

_ENGLISH: Final = re.findall(
    r"\S+",
    """
    the a of under near old quiet small garden bridge river stone wall boats children birds water morning
    winter harvest lantern feather coloured wooden slowly counted carried mea\xadsure\xadment
    in\xadde\xadpen\xaddent un\xadder\xadstand\xading neigh\xadbour\xadhood com\xadmu\xadni\xadca\xadtion
    tem\xadper\xada\xadture ag\xadri\xadcul\xadture de\xadvel\xadop\xadment or\xadga\xadni\xadsa\xadtion
    well-known long-term north-east
""",
)
_ARABIC: Final = re.findall(
    r"\S+",
    """
    المعرفة نور والكتاب خير صديق للإنسان في كل زمان ومكان يقرأ الطالب الدرس ثم يكتب الجواب بعد الظهر
    مدرسة جديدة قرب النهر القديم حيث كانت السفن تأتي من بعيد إلى السوق لا يعرف أحد متى بدأت الحكاية أو
    كيف انتهت لكن الأطفال يحفظون الأسماء
""",
)
_HEBREW: Final = re.findall(
    r"\S+",
    """
    הספר הוא חבר טוב לכל אדם בכל מקום וזמן התלמיד קורא את השיעור ואחר כך כותב תשובה במחברת ליד הנהר הישן
    הילדים זוכרים שמות רבים
""",
)
_WORD: Final = re.compile(r"[^\W\d_]+|\d+")


@dataclass(frozen=True, slots=True)
class Item:
    """A part of a document. kind: h1, h2, p, li, row (its cells are separated by tabs) or note."""

    kind: str
    text: str


@dataclass(slots=True)
class Document:
    """A document. head, foot: repeat on each page and are not part of its text."""

    kind: str
    items: list[Item] = field(default_factory=list[Item])
    columns: int = 1
    head: str = ""
    foot: str = ""
    rtl: bool = False
    justified: bool = False
    ruled: bool = False
    font: str = "DejaVu Serif"
    points: float = 11

    @property
    def text(self) -> str:
        """The words in the order in which a reader reads them."""
        notes = [item.text for item in self.items if item.kind == "note"]
        return " ".join([item.text for item in self.items if item.kind != "note"] + notes).replace(SHY, "")


def agreement(known: str, read: str) -> float:
    """The share, 0 to 1, of the words of both texts that are in both, in the same order. The mark of a note, such as ¹,
    counts as its figure."""
    one, other = (_WORD.findall(normalize("NFKC", text.replace(SHY, ""))) for text in (known, read))
    matches = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    return 2 * sum(match.size for match in matches) / max(1, len(one) + len(other))


class _Maker:
    def __init__(self, seed: int, words: Sequence[str] = _ENGLISH) -> None:
        self._random = random.Random(seed)
        self._words = words

    def sentence(self, least: int = 5, most: int = 16) -> str:
        chosen = self._random.choices(self._words, k=self._random.randint(least, most))
        if self._random.random() < 0.3:
            chosen.insert(1, str(self._random.randint(2, 2000)))
        text = " ".join(chosen)
        return text[0].upper() + text[1:] + "."

    def paragraph(self, sentences: int = 6) -> str:
        return " ".join(self.sentence() for _ in range(sentences))

    def number(self) -> str:
        return f"{self._random.randint(1, 99_999):,}.{self._random.randint(0, 99):02}"

    def prose(self, sections: int, paragraphs: int = 3, sentences: int = 6) -> list[Item]:
        items = [Item("h1", self.sentence(3, 5).rstrip("."))]
        for _ in range(sections):
            items.append(Item("h2", self.sentence(2, 4).rstrip(".")))
            items += [Item("p", self.paragraph(sentences)) for _ in range(paragraphs)]
        return items


def _plain(seed: int) -> Document:
    return Document("prose", _Maker(seed).prose(4))


def _columns(seed: int) -> Document:
    return Document("columns", _Maker(seed).prose(5), columns=2 + seed % 2, points=9, justified=seed % 2 == 1)


def _heads(seed: int) -> Document:
    return Document(
        "headers",
        _Maker(seed).prose(8, 4),
        head="Annual report of the harbour office",
        foot="Confidential, do not copy",
    )


def _hyphens(seed: int) -> Document:
    return Document(
        "hyphens", _Maker(seed, _ENGLISH[-12:] + _ENGLISH[:12]).prose(4), columns=2, justified=True
    )


def _tables(seed: int) -> Document:
    maker = _Maker(seed)
    items = maker.prose(1)
    for rows in (8, 16):
        items.append(Item("row", "\t".join(["Name", "Amount", "Remark", "Total"])))
        items += [
            Item(
                "row",
                "\t".join([maker.sentence(1, 3), maker.number(), maker.sentence(1, 14), maker.number()]),
            )
            for _ in range(rows)
        ]
        items.append(Item("p", maker.paragraph()))
    return Document("tables", items, ruled=seed % 2 == 1)


def _notes(seed: int) -> Document:
    maker = _Maker(seed)
    items = maker.prose(2, 2)
    places = [place for place, item in enumerate(items) if item.kind == "p"]
    for number, place in enumerate(places[:3], 1):
        items[place] = Item("p", f"{items[place].text}\x01{number}")
        items.append(Item("note", f"{number} {maker.sentence(6, 20)}"))
    return Document("footnotes", items)


def _lists(seed: int) -> Document:
    maker = _Maker(seed)
    items = maker.prose(1, 1)
    for _ in range(3):
        items.append(Item("p", maker.paragraph(2)))
        items += [Item("li", maker.sentence(3, 30)) for _ in range(6)]
    return Document("lists", items)


def _arabic(seed: int) -> Document:
    words = _ARABIC if seed % 3 else [*_ARABIC, *["PDF", "HTML", "Linux"]]
    return Document(
        "arabic", _Maker(seed, words).prose(3), rtl=True, font="DejaVu Sans", columns=1 + seed % 2
    )


def _hebrew(seed: int) -> Document:
    return Document("hebrew", _Maker(seed, _HEBREW).prose(3), rtl=True, font="DejaVu Sans")


KINDS: Final[Sequence[Callable[[int], Document]]] = (
    _plain,
    _columns,
    _heads,
    _hyphens,
    _tables,
    _notes,
    _lists,
    _arabic,
    _hebrew,
)


def documents() -> list[Document]:
    """A document of each kind."""
    return [kind(1) for kind in KINDS]


def as_html(document: Document) -> str:
    """The document for Chromium, which prints heads and feet from the style sheet."""
    edges = "".join(
        f'@{place} {{ content: "{text}" counter(page); font-size: 8pt }}'
        for place, text in (("top-center", document.head), ("bottom-center", document.foot))
        if text
    )
    border = "border: 1px solid black;" if document.ruled else ""
    style = (
        f"@page {{ size: A4; margin: 2cm; {edges} }} body {{ font: {document.points}pt '{document.font}'; columns: {document.columns}; "
        f"text-align: {'justify' if document.justified else 'start'} }} td {{ {border} padding: "
        f"2pt 4pt }} table {{ border-collapse: collapse }}"
        "h1 { column-span: all } .notes { font-size: 75% } sup { font-size: 60% }"
    )
    body = "".join(_html_parts(document))
    direction = "rtl" if document.rtl else "ltr"
    return (
        f"<!doctype html><html dir={direction}><meta "
        f"charset=utf-8><title>{document.kind}</title><style>{style}</style><body>{body}</body></html>"
    )


def _html_parts(document: Document) -> list[str]:
    parts: list[str] = []
    before = ""
    opened = {"li": "<ul>", "row": "<table>", "note": "<hr><div class=notes>"}
    closed = {"li": "</ul>", "row": "</table>", "note": "</div>"}
    items = sorted(document.items, key=lambda item: item.kind == "note")
    for item in [*items, Item("", "")]:
        if item.kind != before:
            parts += [closed.get(before, ""), opened.get(item.kind, "")]
        before = item.kind
        if item.kind == "row":
            parts.append(
                "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in item.text.split("\t")) + "</tr>"
            )
        elif item.kind:
            tag = {"note": "div"}.get(item.kind, item.kind)
            text = re.sub("\x01([0-9]+)", r"<sup>\1</sup>", escape(item.text))
            parts.append(f"<{tag}>{text}</{tag}>")
    return parts
