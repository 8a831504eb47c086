"""Documents of known text, printed to PDF by Chromium and by LibreOffice, and how well a reading of a PDF agrees with the text.

The documents are made of words at random from a seed: the same seed always makes the same document.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from html import escape
from pathlib import Path
from typing import Final
from unicodedata import normalize

SOFFICE: Final = shutil.which("soffice")
SHY: Final = "\u00ad"

_ENGLISH: Final = [
    "the",
    "a",
    "of",
    "under",
    "near",
    "old",
    "quiet",
    "small",
    "garden",
    "bridge",
    "river",
    "stone",
    "wall",
    "boats",
    "children",
    "birds",
    "water",
    "morning",
    "winter",
    "harvest",
    "lantern",
    "feather",
    "coloured",
    "wooden",
    "slowly",
    "counted",
    "carried",
    "mea\xadsure\xadment",
    "in\xadde\xadpen\xaddent",
    "un\xadder\xadstand\xading",
    "neigh\xadbour\xadhood",
    "com\xadmu\xadni\xadca\xadtion",
    "tem\xadper\xada\xadture",
    "ag\xadri\xadcul\xadture",
    "de\xadvel\xadop\xadment",
    "or\xadga\xadni\xadsa\xadtion",
    "well-known",
    "long-term",
    "north-east",
]
_ARABIC: Final = [
    "المعرفة",
    "نور",
    "والكتاب",
    "خير",
    "صديق",
    "للإنسان",
    "في",
    "كل",
    "زمان",
    "ومكان",
    "يقرأ",
    "الطالب",
    "الدرس",
    "ثم",
    "يكتب",
    "الجواب",
    "بعد",
    "الظهر",
    "مدرسة",
    "جديدة",
    "قرب",
    "النهر",
    "القديم",
    "حيث",
    "كانت",
    "السفن",
    "تأتي",
    "من",
    "بعيد",
    "إلى",
    "السوق",
    "لا",
    "يعرف",
    "أحد",
    "متى",
    "بدأت",
    "الحكاية",
    "أو",
    "كيف",
    "انتهت",
    "لكن",
    "الأطفال",
    "يحفظون",
    "الأسماء",
]
_HEBREW: Final = [
    "הספר",
    "הוא",
    "חבר",
    "טוב",
    "לכל",
    "אדם",
    "בכל",
    "מקום",
    "וזמן",
    "התלמיד",
    "קורא",
    "את",
    "השיעור",
    "ואחר",
    "כך",
    "כותב",
    "תשובה",
    "במחברת",
    "ליד",
    "הנהר",
    "הישן",
    "הילדים",
    "זוכרים",
    "שמות",
    "רבים",
]
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
    name: str
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
    """The share, 0 to 1, of the words of both texts that are in both, in the same order. The mark of a note, such as ¹, counts as its figure."""
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
    return Document("prose", "", _Maker(seed).prose(4))


def _columns(seed: int) -> Document:
    return Document(
        "columns", "", _Maker(seed).prose(5), columns=2 + seed % 2, points=9, justified=seed % 2 == 1
    )


def _heads(seed: int) -> Document:
    return Document(
        "headers",
        "",
        _Maker(seed).prose(8, 4),
        head="Annual report of the harbour office",
        foot="Confidential, do not copy",
    )


def _hyphens(seed: int) -> Document:
    return Document(
        "hyphens", "", _Maker(seed, _ENGLISH[-12:] + _ENGLISH[:12]).prose(4), columns=2, justified=True
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
    return Document("tables", "", items, ruled=seed % 2 == 1)


def _notes(seed: int) -> Document:
    maker = _Maker(seed)
    items = maker.prose(2, 2)
    places = [place for place, item in enumerate(items) if item.kind == "p"]
    for number, place in enumerate(places[:3], 1):
        items[place] = Item("p", f"{items[place].text}\x01{number}")
        items.append(Item("note", f"{number} {maker.sentence(6, 20)}"))
    return Document("footnotes", "", items)


def _lists(seed: int) -> Document:
    maker = _Maker(seed)
    items = maker.prose(1, 1)
    for _ in range(3):
        items.append(Item("p", maker.paragraph(2)))
        items += [Item("li", maker.sentence(3, 30)) for _ in range(6)]
    return Document("lists", "", items)


def _arabic(seed: int) -> Document:
    words = _ARABIC if seed % 3 else [*_ARABIC, *["PDF", "HTML", "Linux"]]
    return Document(
        "arabic", "", _Maker(seed, words).prose(3), rtl=True, font="DejaVu Sans", columns=1 + seed % 2
    )


def _hebrew(seed: int) -> Document:
    return Document("hebrew", "", _Maker(seed, _HEBREW).prose(3), rtl=True, font="DejaVu Sans")


KINDS: Final[Mapping[str, Callable[[int], Document]]] = {
    "prose": _plain,
    "columns": _columns,
    "headers": _heads,
    "hyphens": _hyphens,
    "tables": _tables,
    "footnotes": _notes,
    "lists": _lists,
    "arabic": _arabic,
    "hebrew": _hebrew,
}


def documents(each: int, kinds: Sequence[str] = tuple(KINDS)) -> list[Document]:
    """This many documents of each kind."""
    made: list[Document] = []
    for kind in kinds:
        for seed in range(1, each + 1):
            document = KINDS[kind](seed)
            document.name = f"{kind}-{seed}"
            made.append(document)
    return made


# -- Chromium ----------------------------------------------------------------------------------------------------------


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
        f"text-align: {'justify' if document.justified else 'start'} }} td {{ {border} padding: 2pt 4pt }} table {{ border-collapse: collapse }}"
        "h1 { column-span: all } .notes { font-size: 75% } sup { font-size: 60% }"
    )
    body = "".join(_html_parts(document))
    direction = "rtl" if document.rtl else "ltr"
    return f"<!doctype html><html dir={direction}><meta charset=utf-8><title>{document.name}</title><style>{style}</style><body>{body}</body></html>"


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


# -- LibreOffice -------------------------------------------------------------------------------------------------------

_NAMESPACES: Final = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{path}:1.0"'
    for name, path in {
        "office": "office",
        "style": "style",
        "text": "text",
        "table": "table",
        "fo": "xsl-fo-compatible",
    }.items()
)


def as_flat_odt(document: Document) -> str:
    """The document for LibreOffice, as a flat OpenDocument text."""
    points = document.points
    align = "justify" if document.justified else "start"
    mode = "rl-tb" if document.rtl else "lr-tb"
    font = f'fo:font-family="{document.font}" style:font-family-complex="{document.font}"'

    def paragraph(name: str, size: float, more: str = "") -> str:
        return (
            f'<style:style style:name="{name}" style:family="paragraph"><style:paragraph-properties fo:text-align="{align}" '
            f'fo:margin-top="{size * 0.6}pt" style:writing-mode="{mode}" {more}/><style:text-properties {font} fo:font-size="{size}pt" '
            f'style:font-size-complex="{size}pt"/></style:style>'
        )

    def edge(kind: str, text: str) -> str:
        return f"<style:{kind}><text:p>{text} <text:page-number/></text:p></style:{kind}>" if text else ""

    border = 'fo:border="0.5pt solid #000000"' if document.ruled else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document {_NAMESPACES} office:version="1.2" office:mimetype="application/vnd.oasis.opendocument.text">'
        f"<office:styles/><office:automatic-styles>{paragraph('P', points)}{paragraph('H1', points * 1.8)}{paragraph('H2', points * 1.35)}"
        f'{paragraph("N", points * 0.75)}<style:style style:name="C" style:family="table-cell"><style:table-cell-properties fo:padding="2pt" {border}/></style:style>'
        '<style:style style:name="S" style:family="section"><style:section-properties>'
        f'<style:columns fo:column-count="{document.columns}" fo:column-gap="0.6cm"/></style:section-properties></style:style>'
        '<style:page-layout style:name="L"><style:page-layout-properties fo:page-width="21cm" fo:page-height="29.7cm" fo:margin="2cm"/>'
        "<style:header-style/><style:footer-style/></style:page-layout></office:automatic-styles>"
        '<office:master-styles><style:master-page style:name="Standard" style:page-layout-name="L">'
        f"{edge('header', document.head)}{edge('footer', document.foot)}</style:master-page></office:master-styles>"
        f"<office:body><office:text>{''.join(_odt_parts(document))}</office:text></office:body></office:document>"
    )


def _odt_parts(document: Document) -> list[str]:
    notes = {
        item.text.split(" ", 1)[0]: item.text.split(" ", 1)[1]
        for item in document.items
        if item.kind == "note"
    }
    parts = ['<text:section text:style-name="S" text:name="S">'] if document.columns > 1 else []
    before = ""
    opened = {
        "li": "<text:list>",
        "row": '<table:table><table:table-column table:number-columns-repeated="4"/>',
    }
    closed = {"li": "</text:list>", "row": "</table:table>"}

    def noted(found: re.Match[str]) -> str:
        number = found.group(1)
        return (
            f'<text:note text:id="n{number}" text:note-class="footnote"><text:note-citation>{number}</text:note-citation><text:note-body>'
            f'<text:p text:style-name="N">{escape(notes[number])}</text:p></text:note-body></text:note>'
        )

    for item in [*(one for one in document.items if one.kind != "note"), Item("", "")]:
        if item.kind != before:
            parts += [closed.get(before, ""), opened.get(item.kind, "")]
        before = item.kind
        text = re.sub("\x01([0-9]+)", noted, escape(item.text))
        match item.kind:
            case "row":
                cells = "".join(
                    f'<table:table-cell table:style-name="C"><text:p text:style-name="P">{escape(cell)}</text:p></table:table-cell>'
                    for cell in item.text.split("\t")
                )
                parts.append(f"<table:table-row>{cells}</table:table-row>")
            case "li":
                parts.append(f'<text:list-item><text:p text:style-name="P">{text}</text:p></text:list-item>')
            case "h1" | "h2":
                parts.append(
                    f'<text:h text:style-name="{item.kind.upper()}" text:outline-level="{item.kind[1]}">{text}</text:h>'
                )
            case "p":
                parts.append(f'<text:p text:style-name="P">{text}</text:p>')
            case _:
                pass
    return [*parts, "</text:section>"] if document.columns > 1 else parts


def print_with_libreoffice(made: Sequence[Document], folder: Path) -> dict[str, bytes]:
    """The PDFs by the names of the documents. `SOFFICE` must exist."""
    assert SOFFICE is not None
    names: list[str] = []
    for document in made:
        path = folder / f"{document.name}.fodt"
        path.write_text(as_flat_odt(document), "utf-8")
        names.append(str(path))
    subprocess.run(
        [
            SOFFICE,
            f"-env:UserInstallation=file://{folder}/profile",
            "--headless",
            "--convert-to",
            "pdf",
            "--outdir",
            str(folder),
            *names,
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=300,
    )
    return {document.name: (folder / f"{document.name}.pdf").read_bytes() for document in made}
