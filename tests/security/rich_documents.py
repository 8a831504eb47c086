"""A document of each format with much of what its parser can read, and bytes for what sources compute in the sandbox."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Final

import responsa_etl
from tests.formats import binary_sheets, office_files, outlook_files, printed_pages

ROWS: Final = (
    ("Country", "Since", "Daily rate", "Share"),
    ("Germany", "2026-01-01", "28.00", "12 %"),
    ("France", "2025-07-15", "53.50", "8 %"),
    ("Japan", "2024-11-29", "1,066.00", "0.5 %"),
)
_MAPPINGS: Final = [
    path.read_text(encoding="utf-8")
    for path in sorted(Path(responsa_etl.__file__).parent.glob("samples/*/sources/*.toml"))
]

_MAPPING: Final = """connection = "a"
collection = "a"
[queries.a]
sql = "SELECT a"
columns = { a = "text" }
[documents.a]
query = "a"
key = "{{ a }}"
text = "{{ a.b }}"
"""


def _lines(*values: object) -> bytes:
    return b"\n".join(json.dumps(value).encode() for value in values)


def _cells(cell: str, row: str) -> str:
    """The rows in markup. cell, row: the markup, with {} for the content."""
    return "".join(row.format("".join(cell.format(text) for text in texts)) for texts in ROWS)


_CSV = "\n".join(";".join(texts) for texts in ROWS) + "\n"
_MARKDOWN = (
    "---\ntitle: Rates\ndate: 2026-03-02\ntags: [a, b]\n---\n\n# Rates\n\n- [x] done\n- [ ] open\n\n"
    + "\n".join(
        f"| {' | '.join(texts)} |" + ("\n|---|---|--:|--:|" if not number else "")
        for number, texts in enumerate(ROWS)
    )
    + "\n\n> quoted[^1]\n\n```python\nx = 1\n```\n\n<details><summary>More</summary>\n\nText</details>\n\n[^1]: note\n"
)
_HTML = (
    "<!doctype html><html lang=en><head><title>Rates</title><meta name=keywords content='a, b'>"
    "<meta name=date content='2026-03-02T10:00:00+01:00'></head><body><nav>x</nav><main><h1>Rates</h1><table>"
    + _cells("<td>{}</td>", "<tr>{}</tr>")
    + "</table><ul><li>a<ul><li>b</ul></ul><dl><dt>a<dd>b</dl><pre><code>x = 1</code></pre>"
    "<math><msup><mi>x</mi><mn>2</mn></msup></math><details><summary>s</summary>t</details><p dir=rtl>שלום</p>"
    "<ruby>漢<rt>kan</rt></ruby><del>a</del><ins>b</ins><sup>2</sup></main></body></html>"
)
_DOCX = office_files.docx(
    "<w:p><w:pPr><w:pStyle w:val='H'/><w:numPr><w:ilvl w:val='0'/><w:numId w:val='1'/></w:numPr></w:pPr>"
    "<w:r><w:t>Rates</w:t></w:r></w:p><w:tbl>"
    + _cells("<w:tc><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc>", "<w:tr>{}</w:tr>")
    + "</w:tbl><w:p><w:ins><w:r><w:t>in</w:t></w:r></w:ins><w:del><w:r><w:delText>out</w:delText></w:r></w:del></w:p>"
    "<w:p><m:oMath><m:f><m:num><m:r><m:t>1</m:t></m:r></m:num><m:den><m:r><m:t>2</m:t></m:r></m:den></m:f></m:oMath></w:p>",
    {
        "styles": "<w:style w:type='paragraph' w:styleId='H'><w:name w:val='heading 1'/></w:style>",
        "numbering": "<w:abstractNum w:abstractNumId='0'><w:lvl w:ilvl='0'><w:start w:val='1'/><w:numFmt w:val='upperRoman'/>"
        "<w:lvlText w:val='%1.'/>"
        "</w:lvl></w:abstractNum><w:num w:numId='1'><w:abstractNumId w:val='0'/></w:num>",
    },
    office_files.core("Rates", "en"),
)
_PPTX = office_files.pptx(
    {
        "a": {
            "slide": office_files.slide(
                office_files.shape("Rates", "title")
                + "<p:graphicFrame><a:graphic><a:graphicData><a:tbl>"
                + _cells(
                    "<a:tc><a:txBody><a:p><a:r><a:t>{}</a:t></a:r></a:p></a:txBody></a:tc>", "<a:tr>{}</a:tr>"
                )
                + "</a:tbl></a:graphicData></a:graphic></p:graphicFrame>"
            ),
            "notesSlide": office_files.slide(office_files.shape("A note", "body"), root="notes"),
        }
    }
)
_XLSX = office_files.xlsx(
    {
        "Rates": "".join(
            f"<row r='{number}'>"
            + "".join(
                f"<c r='{column}{number}' t='inlineStr'><is><t>{text}</t></is></c>"
                if number == 1 or column == "A"
                else f"<c r='{column}{number}' s='{'ABCD'.index(column)}'><v>{46000.5 + number}</v></c>"
                for column, text in zip("ABCD", texts, strict=True)
            )
            + "</row>"
            for number, texts in enumerate(ROWS, 1)
        )
        + "<row r='5'><c r='A5' t='b'><v>1</v></c><c r='B5' t='e'><v>#N/A</v></c><c r='C5'><f>SUM(C2:C4)</f><v>3</v></c></row>"
    },
    styles="<numFmts><numFmt numFmtId='164' formatCode='[Red]#,##0.00\\ \"€\";-0'/></numFmts><cellXfs><xf numFmtId='0'/><xf numFmtId='22'/>"
    "<xf numFmtId='164'/><xf numFmtId='10'/></cellXfs>",
)
_ODT = office_files.odt(
    "<text:h text:outline-level='1'>Rates</text:h><table:table>"
    + _cells(
        "<table:table-cell><text:p>{}</text:p></table:table-cell>", "<table:table-row>{}</table:table-row>"
    )
    + "</table:table><text:list><text:list-item><text:p>a</text:p></text:list-item></text:list>"
)
_PDF = printed_pages.pdf(
    [
        printed_pages.Text(60, 760, "Rates", 18),
        *(
            printed_pages.Text(60 + 110 * column, 700 - 14 * number, text)
            for number, texts in enumerate(ROWS)
            for column, text in enumerate(texts)
        ),
        printed_pages.Text(60, 600, "{|} abc"),
    ],
    [printed_pages.Text(60, 760, "Second page", 10, turned=True)],
)


def _mail() -> bytes:
    message = EmailMessage()
    message["From"], message["Subject"] = "Ä <a@example.org>", "Rates für März"
    message["Date"] = "Mon, 02 Mar 2026 10:00:00 +0100"
    message.set_content("Plain", charset="iso-8859-15")
    message.add_alternative(_HTML, subtype="html")
    for name, data in (("rates.docx", _DOCX), ("rates.xlsx", _XLSX), ("rates.csv", _CSV.encode())):
        message.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    return message.as_bytes()


DOCUMENTS: Final[Mapping[str, bytes]] = {
    "rates.md": _MARKDOWN.encode(),
    "rates.rst": b"Rates\n=====\n\n.. csv-table:: T\n   :header: a, b\n\n   1, 2\n\n.. contents::\n\n"
    b".. figure:: a.png\n\n   c\n\n|d|\n\n.. |d| date:: %Y\n\n"
    b".. code-block:: python\n\n   x\n\n.. warning:: w\n\n.. role:: own\n\n:own:`x` :pep:`8`\n\n"
    b"====  ====\nyear  rate\n====  ====\n2024  28\n2025  53\n====  ====\n",
    "rates.txt": "Größe und Übermaß: 28 € je Tag, seit März gültig.\n".encode("cp1252") * 20,
    "rates.html": _HTML.encode(),
    "rates.pdf": _PDF,
    "rates.docx": _DOCX,
    "rates.pptx": _PPTX,
    "rates.xlsx": _XLSX,
    "rates.odt": _ODT,
    "rates.ods": office_files.ods(
        "<table:table table:name='Rates'>"
        + _cells(
            "<table:table-cell><text:p>{}</text:p></table:table-cell>",
            "<table:table-row>{}</table:table-row>",
        )
        + "</table:table>"
    ),
    "rates.xls": binary_sheets.xls({"Rates": [*ROWS, [binary_sheets.Day(46000.5), 1.5, True]]}),
    "rates.xlsb": binary_sheets.xlsb({"Rates": [*ROWS, [binary_sheets.Day(46000.5), 1.5, True]]}),
    "rates.rtf": rb"{\rtf1\ansi\ansicpg932{\fonttbl{\f0\fcharset204 A;}{\f1\fcharset2 Symbol;}}{\stylesheet{\s1 heading 1;}}{\header H\par}"
    rb"\pard\s1 Rates\par\pard\plain\f0\'cf{\f1 m}\f0 \u8364?{\footnote n}\par\trowd\cellx1\cellx2\intbl a\cell b\cell\row}",
    "rates.epub": office_files.epub({"a.xhtml": _HTML}),
    "rates.tnef": outlook_files.tnef("Rates", "Text", {"rates.docx": _DOCX}),
    "rates.srt": b"1\n00:00:01,000 --> 00:00:02,000\n<i>Text</i> &amp; more\n",
    "rates.yaml": b"rates:\n  daily: 28\n",
    "rates.py": b"def rate():\n    return 28\n",
    "rates.adoc": b"= Rates\n\n== Daily\n\n28\n",
    "rates.tex": b"\\title{Rates}\n\\begin{document}\n\\section{Daily}\n28\n\\end{document}\n",
    "rates.ipynb": json.dumps(
        {
            "cells": [
                {"cell_type": "markdown", "source": [_MARKDOWN]},
                {
                    "cell_type": "code",
                    "source": "28",
                    "outputs": [{"data": {"image/png": "", "text/plain": "28"}}],
                },
            ]
        }
    ).encode(),
    "rates.csv": _CSV.encode("utf-16"),
    "rates.json": json.dumps([dict(zip(ROWS[0], texts, strict=True)) for texts in ROWS[1:]]).encode(),
    "rates.jsonl": b"\n".join(json.dumps({"a": 1e400, "b": [texts]}).encode() for texts in ROWS),
    "rates.eml": _mail(),
    "rates.ics": b"BEGIN:VCALENDAR\nBEGIN:VTIMEZONE\nTZID:X\nBEGIN:STANDARD\n"
    b"TZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nDTSTART:19701025T030000\n"
    b"END:STANDARD\nEND:VTIMEZONE\nBEGIN:VEVENT\nSUMMARY:Rates\nDTSTART;TZID=X:20260302T100000\nDTEND:20260302T110000Z\nRRULE:FREQ=MONTHLY;BYDAY=1MO;"
    b"UNTIL=20271231T000000Z\nEXDATE:20260406T100000\nATTENDEE;CN=A:mailto:a@example.org\nEND:VEVENT\nBEGIN:VTODO\nSUMMARY:T\nDUE;VALUE=DATE:20260302\n"
    b"END:VTODO\nEND:VCALENDAR\n",
    "rates.msg": outlook_files.ole(
        outlook_files.message(
            {0x37: "Rates", 0x1000: "Text", 0x1013: _HTML.encode()},
            outlook_files.attachment({0x3707: "rates.docx", 0x3701: _DOCX}),
            outlook_files.attachment(
                {0x3001: "Inner"}, outlook_files.message({0x37: "Inner", 0x1000: "Text"}, inner=True)
            ),
        )
    ),
}
"""By file name, the documents, at least one of each format."""
SCAN: Final = printed_pages.scan(_PDF)
COMPUTED: Final[Mapping[str, bytes]] = {
    "listings:LISTING": gzip.compress(
        b"<?xml version='1.0' encoding='iso-8859-15'?><d:multistatus xmlns:d='DAV:'><d:response><d:href>/\xe4.md</d:href>"
        b"<d:propstat><d:prop><d:getetag>1</d:getetag><d:getcontentlength>2</d:getcontentlength></d:prop></d:propstat></d:response></d:multistatus>"
    ),
    "in_sandbox:READ": _lines(*_MAPPINGS, "[queries.a]\nsql = 1", _MAPPING.replace("{{ a.b }}", "{{ a")),
    "in_sandbox:FILL": _lines(_MAPPING, ["a", {"a": "b"}, True], ["a", {"a": None}, True]),
}
