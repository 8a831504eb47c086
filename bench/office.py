"""`python -m bench.office`: how much of the text of office documents the server reads, in order.

LibreOffice makes DOCX, ODT, PPTX and XLSX files from OpenDocument XML with known text; the sandbox parses them. The share is twice the number of
words that both texts have in order, divided by the number of words of both. Needs `soffice` (libreoffice-writer, -impress and -calc).
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from bench import corpus
from responsa_server.ingest.sandbox.pool import ParserPool
from responsa_server.ingest.settings import IngestionSettings

AIM: Final = 0.97
_SUFFIXES: Final = {"docx": "fodt", "odt": "fodt", "pptx": "fodp", "xlsx": "fods"}
"""The endings of the files that LibreOffice makes, and of their sources."""
_NAMES: Final = {
    "office": "office",
    "text": "text",
    "table": "table",
    "style": "style",
    "draw": "drawing",
    "svg": "svg-compatible",
    "fo": "xsl-fo-compatible",
    "number": "datastyle",
    "presentation": "presentation",
}
_ARABIC: Final = (
    "تقع المحطة على الساحل الشمالي وتعمل منذ عام 1924 دون انقطاع.",
    "يسجل الحارس مستوى الماء كل صباح ويكتب القراءة في دفتر قديم.",
    "أعيد بناء الجسر بعد الفيضان الكبير، وما زال قائما إلى اليوم.",
)
_STYLES: Final = """
<style:style style:name="Heading_20_1" style:display-name="Heading 1" style:family="paragraph" style:default-outline-level="1"/>
<style:style style:name="Heading_20_2" style:display-name="Heading 2" style:family="paragraph" style:default-outline-level="2"/>
"""
_AUTOMATIC: Final = """
<text:list-style style:name="Dots"><text:list-level-style-bullet text:level="1" text:bullet-char="•"/>
<text:list-level-style-bullet text:level="2" text:bullet-char="•"/></text:list-style>
<text:list-style style:name="Numbers"><text:list-level-style-number text:level="1" style:num-format="1" style:num-suffix="."/>
<text:list-level-style-number text:level="2" style:num-format="a" style:num-suffix=")"/></text:list-style>
<style:style style:name="Columns" style:family="section"><style:section-properties><style:columns fo:column-count="2"/></style:section-properties></style:style>
<number:date-style style:name="Day"><number:year number:style="long"/><number:text>-</number:text><number:month number:style="long"/>
<number:text>-</number:text><number:day number:style="long"/></number:date-style>
<number:percentage-style style:name="Share"><number:number number:decimal-places="1" number:min-integer-digits="1"/><number:text>%</number:text>
</number:percentage-style>
<style:style style:name="cDay" style:family="table-cell" style:data-style-name="Day"/>
<style:style style:name="cShare" style:family="table-cell" style:data-style-name="Share"/>
<style:style style:name="P" style:family="presentation"/>
<style:style style:name="shown" style:family="drawing-page"><style:drawing-page-properties presentation:visibility="visible"/></style:style>
<style:style style:name="hidden" style:family="drawing-page"><style:drawing-page-properties presentation:visibility="hidden"/></style:style>
"""
_PAGES: Final = """<office:automatic-styles><style:page-layout style:name="Page"/></office:automatic-styles><office:master-styles>
<style:master-page style:name="Standard" style:page-layout-name="Page"><style:header><text:p>The header of every page</text:p></style:header>
<style:footer><text:p>Page <text:page-number>1</text:page-number> of the report</text:p></style:footer></style:master-page></office:master-styles>"""


@dataclass(slots=True)
class Made:
    """A document under construction: its XML, and the text that a reader sees, in order."""

    xml: list[str] = field(default_factory=list[str])
    seen: list[str] = field(default_factory=list[str])

    def add(self, xml: str, *seen: str) -> None:
        """Append XML whose text is `seen`."""
        self.xml.append(xml)
        self.seen += seen

    def prose(self, *paragraphs: str) -> None:
        """Append paragraphs."""
        for one in paragraphs:
            self.add(f"<text:p>{escape(one)}</text:p>", one)

    def heading(self, title: str, level: int = 1) -> None:
        """Append a heading."""
        self.add(
            f'<text:h text:style-name="Heading_20_{level}" text:outline-level="{level}">{escape(title)}</text:h>',
            title,
        )

    def table(self, rows: Sequence[Sequence[str]], merged: bool = False) -> None:
        """Append a table; the first cell spans two columns if `merged`."""
        found: list[str] = []
        for number, row in enumerate(rows):
            cells = "".join(
                f"<table:table-cell><text:p>{escape(one)}</text:p></table:table-cell>" for one in row
            )
            if merged and number == 0:
                first = f'<table:table-cell table:number-columns-spanned="2"><text:p>{escape(row[0])}</text:p></table:table-cell>'
                cells = first + "<table:covered-table-cell/>" + cells.partition("</table:table-cell>")[2]
            found.append(f"<table:table-row>{cells}</table:table-row>")
        columns = len(rows[0]) + merged
        self.add(
            f'<table:table><table:table-column table:number-columns-repeated="{columns}"/>{"".join(found)}</table:table>',
            *(" ".join([row[0], *row] if merged and not number else row) for number, row in enumerate(rows)),
        )


def main() -> int:
    """Make the documents, measure them, and print a line for each. Returns 1 if the mean share of a format is below AIM."""
    parser = argparse.ArgumentParser(prog="python -m bench.office", description=__doc__)
    parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        texts = dict(_write(Path(folder)))
        for suffix, kind in _SUFFIXES.items():
            _convert(Path(folder), kind, suffix)
        made = {
            one.name: one.read_bytes()
            for suffix in _SUFFIXES
            for one in sorted(Path(folder).glob(f"*.{suffix}"))
        }
        shares = asyncio.run(_measure(made, texts))
    means: list[float] = []
    for suffix in _SUFFIXES:
        found = [share for name, share in shares.items() if name.endswith(suffix)]
        means.append(sum(found) / len(found))
        print(f"{suffix}: {len(found)} files, mean {means[-1]:.4f}, least {min(found):.4f}")
    return int(min(means) < AIM)


def _convert(folder: Path, kind: str, suffix: str) -> None:
    files = [str(one) for one in sorted(folder.glob(f"*.{kind}"))]
    home = f"-env:UserInstallation=file://{folder / 'home'}"
    command = ["soffice", home, "--headless", "--convert-to", suffix, "--outdir", str(folder), *files]
    subprocess.run(command, check=True, capture_output=True, timeout=600)


async def _measure(files: dict[str, bytes], texts: dict[str, str]) -> dict[str, float]:
    pool = ParserPool(concurrency=1, limits=IngestionSettings().parse_limits)
    shares: dict[str, float] = {}
    try:
        for name, data in files.items():
            parsed = await pool.parse(data, name)
            wanted, found = (_words(one) for one in (texts[name.rpartition(".")[0]], parsed.canonical_text))
            shares[name] = SequenceMatcher(None, wanted, found, autojunk=False).ratio()
            print(f"{name}: {shares[name]:.4f} of {len(wanted)} words")
    finally:
        await pool.close()
    return shares


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.replace("\u00ad", "").lower())


def _write(folder: Path) -> Iterator[tuple[str, str]]:
    """Write the sources. Yields each one's name without its ending, and its text."""
    for name, made in _documents():
        yield _save(folder, f"text-{name}.fodt", "text", made, _PAGES if name == "headers" else "")
    for name, made in _presentations():
        yield _save(folder, f"slides-{name}.fodp", "presentation", made)
    for name, made in _workbooks():
        yield _save(folder, f"sheets-{name}.fods", "spreadsheet", made)


def _save(folder: Path, name: str, kind: str, made: Made, pages: str = "") -> tuple[str, str]:
    names = " ".join(
        f'xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{long}:1.0"' for short, long in _NAMES.items()
    )
    xml = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document {names} office:version="1.3" office:mimetype="application/vnd.oasis.opendocument.{kind}">'
        f"<office:styles>{_STYLES}</office:styles>{pages.replace('</office:automatic-styles>', _AUTOMATIC + '</office:automatic-styles>')}"
        f"{'' if pages else f'<office:automatic-styles>{_AUTOMATIC}</office:automatic-styles>'}"
        f"<office:body><office:{kind}>{''.join(made.xml)}</office:{kind}></office:body></office:document>"
    )
    path = folder / name
    path.write_text(xml, encoding="utf-8")
    return path.stem, "\n".join(made.seen)


def _paragraphs(number: int, place: int) -> list[str]:
    text = corpus.documents(1, number, first=place, seed=11)[0].text
    return [one for one in text.split("\n\n") if not one.startswith("#")]


def _documents() -> Iterator[tuple[str, Made]]:
    plain, headed, listed, tabled, noted = Made(), Made(), Made(), Made(), Made()
    columns, headers, hyphens, boxes, arabic, mixed = Made(), Made(), Made(), Made(), Made(), Made()
    plain.prose(*_paragraphs(30, 0))
    for number, one in enumerate(_paragraphs(20, 1)):
        headed.heading(f"Section {number} of the report", 1 + number % 2)
        headed.prose(one)
    for style in ("Dots", "Numbers"):
        _list(listed, style, _paragraphs(12, 2))
        listed.prose("Between the lists.")
    words = [one.split() for one in _paragraphs(24, 3)]
    tabled.table([[" ".join(row[:3]), " ".join(row[3:8]), row[9], row[-1]] for row in words])
    tabled.prose(*_paragraphs(4, 3))
    tabled.table([[" ".join(row[:4]), row[5]] + ([] if number == 0 else [row[7]]) for number, row in enumerate(words)], merged=True)  # fmt: skip
    for number, (one, note) in enumerate(zip(_paragraphs(16, 4), _paragraphs(16, 5), strict=True)):
        body = f"<text:note-citation>1</text:note-citation><text:note-body><text:p>{escape(note)}</text:p></text:note-body>"
        head, tail = one[: len(one) // 2], one[len(one) // 2 :]
        noted.add(
            f'<text:p>{escape(head)}<text:note text:note-class="footnote" text:id="n{number}">{body}</text:note>{escape(tail)}</text:p>',
            one,
            note,
        )
    columns.xml.append('<text:section text:name="s" text:style-name="Columns">')
    columns.prose(*_paragraphs(24, 6))
    columns.xml.append("</text:section>")
    headers.prose(*_paragraphs(30, 7))
    for one in _paragraphs(20, 8):
        hyphens.prose(re.sub(r"(\w{4})(\w{3})", "\\1\u00ad\\2", one))
    for number, one in enumerate(_paragraphs(12, 9)):
        inside = f"Box number {number} stands in the margin."
        box = f'<draw:frame text:anchor-type="paragraph" svg:width="4cm" svg:height="2cm"><draw:text-box><text:p>{inside}</text:p></draw:text-box></draw:frame>'
        boxes.add(f"<text:p>{box}{escape(one)}</text:p>", one, inside)
    for _ in range(8):
        arabic.prose(*_ARABIC)
    mixed.heading("Everything together")
    mixed.prose(*_paragraphs(3, 10))
    _list(mixed, "Numbers", _paragraphs(4, 11))
    mixed.table([["العربية", "Latin"], *([one, str(place)] for place, one in enumerate(_ARABIC))])
    yield from (
        ("prose", plain), ("headings", headed), ("lists", listed), ("tables", tabled), ("footnotes", noted), ("columns", columns),
        ("headers", headers), ("hyphens", hyphens), ("boxes", boxes), ("arabic", arabic), ("mixed", mixed),
    )  # fmt: skip


def _list(made: Made, style: str, texts: Sequence[str]) -> None:
    """A list whose every third item has an item of the second level."""
    items: list[str] = []
    numbered = style == "Numbers"
    for number, one in enumerate(texts, 1):
        inner = ""
        made.seen.append(f"{number} {one}" if numbered else one)
        if number % 3 == 0:
            deeper = f"A note to item {number}"
            made.seen.append(f"a {deeper}" if numbered else deeper)
            inner = f"<text:list><text:list-item><text:p>{deeper}</text:p></text:list-item></text:list>"
        items.append(f"<text:list-item><text:p>{escape(one)}</text:p>{inner}</text:list-item>")
    made.xml.append(f'<text:list text:style-name="{style}">{"".join(items)}</text:list>')


def _presentations() -> Iterator[tuple[str, Made]]:
    for place, name in enumerate(("bullets", "boxes", "notes")):
        made = Made()
        for number, one in enumerate(_paragraphs(12, 20 + place)):
            title = f"Slide of station {number}"
            hidden = number == 5
            body = one.replace(". ", ".\n").split("\n")
            items = "".join(
                f"<text:list-item><text:p>{escape(line)}</text:p></text:list-item>" for line in body
            )
            kind = 'presentation:style-name="P" presentation:class="outline"' if name == "bullets" else ""
            inside = f"<text:list>{items}</text:list>" if name == "bullets" else "".join(f"<text:p>{escape(line)}</text:p>" for line in body)  # fmt: skip
            note = f"Say this about station {number}." if name == "notes" else ""
            notes = f'<presentation:notes><draw:frame presentation:style-name="P" presentation:class="notes" svg:width="9cm" svg:height="9cm"><draw:text-box><text:p>{note}</text:p></draw:text-box></draw:frame></presentation:notes>'  # fmt: skip
            made.add(
                f'<draw:page draw:name="p{number}" draw:style-name="{"hidden" if hidden else "shown"}"><draw:frame presentation:style-name="P" presentation:class="title" svg:width="20cm" '
                f'svg:height="3cm"><draw:text-box><text:p>{title}</text:p></draw:text-box></draw:frame><draw:frame {kind} svg:width="20cm" svg:height="9cm" '
                f"svg:y='4cm'><draw:text-box>{inside}</draw:text-box></draw:frame>{notes if note else ''}</draw:page>",
                *(() if hidden else (title, one, note)),
            )
        yield name, made


def _workbooks() -> Iterator[tuple[str, Made]]:
    for place, name in enumerate(("words", "numbers", "dates")):
        made = Made()
        for sheet in ("Stations", "More of them"):
            rows = ["<table:table-row>" + _cell("Name") + _cell("Value") + "</table:table-row>"]
            made.seen.append(f"{sheet} Name Value")
            for number, one in enumerate(_paragraphs(20, 30 + place)):
                match name:
                    case "words":
                        cell, shown = _cell(one), one
                    case "numbers":
                        cell = f'<table:table-cell table:style-name="cShare" office:value-type="percentage" office:value="{number / 80}"/>'
                        shown = f"{number * 1.25:.1f}%"
                    case _:
                        cell = f'<table:table-cell table:style-name="cDay" office:value-type="date" office:date-value="2024-02-{number + 1:02}"/>'
                        shown = f"2024-02-{number + 1:02}"
                rows.append(f"<table:table-row>{_cell(f'Row {number}')}{cell}</table:table-row>")
                made.seen.append(f"Row {number} {shown}")
            made.xml.append(f'<table:table table:name="{sheet}">{"".join(rows)}</table:table>')
        yield name, made


def _cell(text: str) -> str:
    return f'<table:table-cell office:value-type="string"><text:p>{escape(text)}</text:p></table:table-cell>'


if __name__ == "__main__":
    sys.exit(main())
