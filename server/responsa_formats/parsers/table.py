"""The supported formats, with one row per format. Sniffing, the sandbox, ListFormats, the page and the command line all read this table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Final, cast

from responsa_formats.parsers import office_samples

if TYPE_CHECKING:
    from responsa_formats.containers import Archive
    from responsa_formats.text.canonical import ParsedDocument
    from responsa_formats.text.drawn import DrawnPage

    Parser = Callable[
        [Any], ParsedDocument
    ]  # of an `Original` of responsa_formats/parsers/sniff.py, which imports this table
    Drawer = Callable[[bytes, int, int], DrawnPage]


# The member of a ZIP archive that names a media type is read up to this length.
_MEMBER_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class Member:
    """A member that only the ZIP archives of one format have.

    name: a pattern for its whole name, in lower case. content: a pattern for the beginning of its content; None if any content will do.
    """

    name: re.Pattern[str]
    content: re.Pattern[bytes] | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    name: the format's permanent name. It is stored with each version that was parsed as this format, so no other format may reuse it.
    display_name: the format's name within a sentence, such as "HTML" or "plain text".
    suffixes: the file name endings, in lower case and without the dot. The most common one is first.
    media_types: the media types (RFC 6838), in lower case. The server reports the first one for documents of the format.
    sample: a small document that makes the parser load everything that it loads lazily. The sandbox parses the sample before the first
        document, because a confined process cannot import anything.
    parser: the parser as "module:function". Only the sandbox loads it. The function takes an `Original` and returns a `ParsedDocument`. It
        raises Rejected; any other error counts as a malformed document.
    drawer: for a format whose pages the server draws, the function that draws a page, as "module:function"; '' for
    other formats. Only the sandbox loads it.
        The function takes the bytes of the document, the number of the page and the wanted width, and returns a
        `DrawnPage`. Its errors are those of the parser.
    version: the version of the parser's output. It rises with every change after which the parser makes another text of
    the same bytes, or passages of the same text
        begin elsewhere. Documents that an earlier version read are then read again (`ingest/rereading.py`).
    opening: a pattern for the beginning of a file. A bytes pattern marks a binary format, whose files are recognised by their bytes
        and never decoded. A text pattern recognises text that has neither a name nor a media type. With None, the
        format is a text format that applies only when the name or the media type declares it.
    member: for a format whose files are ZIP archives, the member that tells them from other archives. Such a format is binary and has
        no `opening`.
    """

    name: str
    display_name: str
    suffixes: Sequence[str]
    media_types: Sequence[str]
    sample: bytes
    parser: str
    version: int = 1
    opening: re.Pattern[bytes] | re.Pattern[str] | None = None
    member: Member | None = None
    drawer: str = ""

    @property
    def media_type(self) -> str:
        """The media type that is reported for documents of the format."""
        return self.media_types[0]

    @property
    def parsed_by(self) -> str:
        """What is stored with a document version as the parser of its text. Versions of the same bytes differ in it if
        they differ in their text or its structure."""
        return self.name if self.version == 1 else f"{self.name} {self.version}"

    @property
    def is_binary(self) -> bool:
        """Whether files of the format are not text."""
        if self.member is not None:
            return True
        return self.opening is not None and isinstance(self.opening.pattern, bytes)

    def matches(self, beginning: bytes | str) -> bool:
        """Whether the beginning of a file matches this format. `beginning`: bytes for a binary format, decoded text for a text format."""
        if self.opening is None or self.is_binary is not isinstance(beginning, bytes):
            return False
        return cast("re.Pattern[Any]", self.opening).match(beginning) is not None

    def matches_archive(self, archive: Archive) -> bool:
        sought = self.member
        if sought is None:
            return False
        return any(
            sought.content is None or sought.content.match(archive.beginning(name, _MEMBER_BYTES)) is not None
            for name in archive.members
            if sought.name.fullmatch(name)
        )

    def load(self) -> Parser:
        """The parser. Raises ImportError or AttributeError when the table names a parser that does not exist."""
        return cast("Parser", resolve_name(self.parser))

    def load_drawer(self) -> Drawer:
        """The function that draws pages; the format must have one. Raises ImportError or AttributeError when the table
        names a function that does not exist."""
        return cast("Drawer", resolve_name(self.drawer))


class Formats:
    """A table of formats, in the order in which the server lists them."""

    def __init__(self, rows: Sequence[Format]) -> None:
        """Raises ValueError when two rows share a name, an ending or a media type."""
        self._rows = tuple(rows)
        self._names = _index((row.name, row) for row in rows)
        self._suffixes = _index((suffix, row) for row in rows for suffix in row.suffixes)
        self._media_types = _index((media_type, row) for row in rows for media_type in row.media_types)

    def __iter__(self) -> Iterator[Format]:
        return iter(self._rows)

    def with_name(self, name: str) -> Format | None:
        """The format with this name; None if no format has it."""
        return self._names.get(name)

    def with_suffix(self, suffix: str) -> Format | None:
        """The format with this file suffix, in lower case and without the dot; None if no format has it."""
        return self._suffixes.get(suffix)

    def with_media_type(self, media_type: str) -> Format | None:
        """The format with this media type, in lower case and without parameters; None if no format has it."""
        return self._media_types.get(media_type)

    @property
    def accepted_types(self) -> Sequence[str]:
        return [row.media_type for row in self._rows]


def _index(pairs: Iterator[tuple[str, Format]]) -> dict[str, Format]:
    rows: dict[str, Format] = {}
    for key, row in pairs:
        if key in rows:
            raise ValueError(
                f"{key!r} occurs both in the row of {rows[key].name} and in the row of {row.name}"
            )
        rows[key] = row
    return rows


MARKDOWN: Final = Format(
    name="MARKDOWN",
    display_name="Markdown",
    suffixes=("md", "markdown", "mdown", "mkd", "mdx"),
    media_types=("text/markdown", "text/x-markdown"),
    sample=b"# Title\n\nText with *emphasis*.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
    parser="responsa_formats.parsers.markdown:parse",
    version=3,
)
RST: Final = Format(
    name="RST",
    display_name="reStructuredText",
    suffixes=("rst", "rest"),
    media_types=("text/x-rst", "text/prs.fallenstein.rst"),
    # Each module of directives is loaded with the first directive of it.
    sample=b"""Title
=====

:Author: A

.. note:: Text with *emphasis*, :ref:`x <y>`, :math:`a` and [1]_.

.. code-block:: python

   x

.. list-table::

   * - a

.. math:: a

.. image:: a.png

.. unicode:: U+3B1

.. meta::
   :a: b

.. unknown:: x

.. parsed-literal::

   a

.. target-notes::

=  =
a  b
=  =

1. a

a
  b

.. [1] b

:sup:`a`
""",
    parser="responsa_formats.parsers.rst:parse",
)
PLAIN_TEXT: Final = Format(
    name="TEXT",
    display_name="plain text",
    suffixes=("txt", "text"),
    media_types=("text/plain",),
    # Not UTF-8, so that the sample also loads the detection of legacy encodings.
    sample="Übung macht den Meister, sagte die alte Frau.\n".encode("cp1252") * 8,
    parser="responsa_formats.parsers.plain_text:parse",
)
HTML: Final = Format(
    name="HTML",
    display_name="HTML",
    suffixes=("html", "htm", "xhtml"),
    media_types=("text/html", "application/xhtml+xml"),
    sample=b"<html lang='en'><title>Title</title><h1>Title</h1><p>Text &amp; <b>more</b>.</p></html>",
    parser="responsa_formats.parsers.html:parse",
    version=7,
    opening=re.compile(
        r"\s{0,512}(?:<!--.{0,2048}?-->\s{0,64}|<\?xml[^>]{0,256}>\s{0,64}){0,4}+<(?:!doctype\s+html|html|head|body)\b",
        re.IGNORECASE | re.DOTALL,
    ),
)
PDF: Final = Format(
    name="PDF",
    display_name="PDF",
    suffixes=("pdf",),
    media_types=("application/pdf", "application/x-pdf"),
    # A page with a Latin and a Hebrew word, and a form with a field.
    sample=b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[6 0 R]/DR<</Font<</F 5 0 R>>>>/DA(/F 9 Tf)>>>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Resources<</Font<</F 5 0 R>>>>/Contents 4 0 R/Annots[6 0 R]>>endobj
4 0 obj<</Length 66>>stream
BT /F 12 Tf 20 150 Td (Title: ) Tj ET BT /F 9 Tf 20 100 Td (abc) Tj ET
endstream endobj
5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding<</Differences[98/afii57664/afii57665]>>>>endobj
6 0 obj<</Type/Annot/Subtype/Widget/FT/Tx/T(name)/V(value)/Rect[60 145 120 160]/DA(/F 9 Tf)>>endobj
trailer<</Root 1 0 R>>
%%EOF
""",
    parser="responsa_formats.parsers.pdf:parse",
    version=8,
    drawer="responsa_formats.parsers.pdf_pages:draw",
    opening=re.compile(rb"(?:\xef\xbb\xbf)?\s{0,1024}%PDF-"),
)

DOCX: Final = Format(
    name="DOCX",
    display_name="Word",
    suffixes=("docx", "docm", "dotx", "dotm"),
    media_types=(
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.ms-word.document.macroenabled.12",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.template",
        "application/vnd.ms-word.template.macroenabled.12",
    ),
    sample=office_samples.DOCX,
    parser="responsa_formats.parsers.docx:parse",
    version=6,
    member=Member(re.compile(r"word/document\d*\.xml")),
)
PPTX: Final = Format(
    name="PPTX",
    display_name="PowerPoint",
    suffixes=("pptx", "pptm", "ppsx", "ppsm", "potx"),
    media_types=(
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/vnd.ms-powerpoint.presentation.macroenabled.12",
        "application/vnd.openxmlformats-officedocument.presentationml.slideshow",
        "application/vnd.ms-powerpoint.slideshow.macroenabled.12",
        "application/vnd.openxmlformats-officedocument.presentationml.template",
    ),
    sample=office_samples.PPTX,
    parser="responsa_formats.parsers.pptx:parse",
    version=5,
    member=Member(re.compile(r"ppt/presentation\d*\.xml")),
)
XLSX: Final = Format(
    name="XLSX",
    display_name="Excel",
    suffixes=("xlsx", "xlsm", "xltx"),
    media_types=(
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.ms-excel.sheet.macroenabled.12",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.template",
    ),
    sample=office_samples.XLSX,
    parser="responsa_formats.parsers.xlsx:parse",
    version=6,
    member=Member(re.compile(r"xl/workbook\d*\.xml")),
)
_ODF: Final = "application/vnd.oasis.opendocument."


def _open_document(name: str, kind: str, suffixes: Sequence[str], sample: bytes, version: int) -> Format:
    """The row of a format of OpenDocument. kind: "text" or "spreadsheet"."""
    return Format(
        name=name,
        display_name=f"OpenDocument {kind}",
        suffixes=suffixes,
        media_types=(f"{_ODF}{kind}", f"{_ODF}{kind}-template"),
        sample=sample,
        parser=f"responsa_formats.parsers.{name.lower()}:parse",
        version=version,
        member=Member(
            re.compile("mimetype"),
            re.compile(re.escape(f"{_ODF}{kind}").encode() + rb"(?:-template)?\s*\Z"),
        ),
    )


ODT: Final = _open_document("ODT", "text", ("odt", "ott"), office_samples.ODT, 5)
ODS: Final = _open_document("ODS", "spreadsheet", ("ods", "ots"), office_samples.ODS, 1)
XLSB: Final = Format(
    name="XLSB",
    display_name="binary Excel",
    suffixes=("xlsb",),
    media_types=("application/vnd.ms-excel.sheet.binary.macroenabled.12",),
    sample=office_samples.XLSB,
    parser="responsa_formats.parsers.binary_sheets:parse",
    member=Member(re.compile(r"xl/workbook\d*\.bin")),
)
XLS: Final = Format(
    name="XLS",
    display_name="old Excel",
    suffixes=("xls", "xlt"),
    media_types=("application/vnd.ms-excel",),
    sample=office_samples.XLS,
    parser="responsa_formats.parsers.binary_sheets:parse",
    # An OLE file with a stream of this name, and without the main streams of Word, PowerPoint and Outlook.
    opening=re.compile(
        rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
        + b"".join(
            rb"(?!(?s:.*)" + re.escape(name.encode("utf-16-le")) + rb")"
            for name in ("WordDocument", "PowerPoint Document", "__properties_version1.0")
        )
        + rb"(?:(?s:.*)W\x00o\x00r\x00k\x00b\x00o|(?s:.*)B\x00o)\x00o\x00k\x00\x00\x00"
    ),
)
EPUB: Final = Format(
    name="EPUB",
    display_name="EPUB",
    suffixes=("epub",),
    media_types=("application/epub+zip",),
    sample=office_samples.EPUB,
    parser="responsa_formats.parsers.epub:parse",
    member=Member(re.compile("mimetype"), re.compile(rb"application/epub\+zip\s*\Z")),
)
SUBTITLES: Final = Format(
    name="SUBTITLES",
    display_name="subtitles",
    suffixes=("vtt", "srt"),
    media_types=("text/vtt", "application/x-subrip"),
    sample=b"WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ann>Text &amp; more\n",
    parser="responsa_formats.parsers.subtitles:parse",
    opening=re.compile(r"WEBVTT(?:\s|\Z)"),
)
LINES: Final = Format(
    name="LINES",
    display_name="text of lines",
    suffixes=("yaml", "yml", "toml", "log"),
    media_types=("application/yaml", "application/toml", "text/yaml", "text/x-log"),
    sample=b"a: 1\n",
    parser="responsa_formats.parsers.plain_text:parse_lines",
)
_TEXTS: Final = "responsa_formats.parsers.plain_text:"
_CODE: Final = "py ts tsx js mjs jsx java kt go rs sql sh bash ps1 c h cc cpp hpp cs rb php pl swift scala lua r jl proto"
CODE: Final = Format(
    *("CODE", "source code", tuple(_CODE.split()), ("text/x-source", "text/javascript", "application/sql")),
    *(b"def a():\n    b()\n", f"{_TEXTS}parse_code"),
)
ADOC: Final = Format(
    "ADOC", "AsciiDoc", ("adoc", "asciidoc"), ("text/asciidoc",), b"= A\n\nB\n", f"{_TEXTS}parse_headed"
)
TEX: Final = Format(
    *("TEX", "LaTeX", ("tex", "latex"), ("application/x-tex", "text/x-tex")),
    *(b"\\title{A}\n\\begin{document}\n\\section{B}\n\nText\n", f"{_TEXTS}parse_headed"),
)
NOTEBOOK: Final = Format(
    *("NOTEBOOK", "Jupyter notebook", ("ipynb",), ("application/x-ipynb+json",)),
    b'{"cells": [{"cell_type": "markdown", "source": "# A"}, {"cell_type": "code", "source": "b"}]}',
    "responsa_formats.parsers.notebook:parse",
)
RTF: Final = Format(
    name="RTF",
    display_name="RTF",
    suffixes=("rtf",),
    media_types=("application/rtf", "text/rtf"),
    sample=rb"{\rtf1\ansi{\fonttbl{\f0\fcharset204 Arial;}}\f0 Text \'e4\u8364?\par\trowd\cellx900\intbl a\cell\row}",
    parser="responsa_formats.parsers.rtf:parse",
    opening=re.compile(rb"\s{0,64}\{\\rtf"),
)
CSV: Final = Format(
    name="CSV",
    display_name="CSV",
    suffixes=("csv", "tsv", "tab"),
    media_types=("text/csv", "text/tab-separated-values"),
    sample=b'city;price\nBonn;"4"\n',
    parser="responsa_formats.parsers.csv_rows:parse",
    version=4,
)
JSON: Final = Format(
    name="JSON",
    display_name="JSON",
    suffixes=("json",),
    media_types=("application/json", "text/json"),
    sample=b'{"city": "Bonn", "prices": [{"adult": 4.5, "child": null}]}',
    parser="responsa_formats.parsers.json_rows:parse",
)
JSON_LINES: Final = Format(
    name="JSON_LINES",
    display_name="JSON Lines",
    suffixes=("jsonl", "ndjson"),
    media_types=("application/x-ndjson", "application/jsonl", "application/x-jsonlines"),
    sample=b'{"city": "Bonn"}\n{"city": "Ulm"}\n',
    parser="responsa_formats.parsers.json_rows:parse_lines",
)
EML: Final = Format(
    name="EML",
    display_name="e-mail",
    # A web archive is a message whose parts are the files of a page.
    suffixes=("eml", "mht", "mhtml"),
    media_types=("message/rfc822", "application/x-mimearchive"),
    sample=b"""From: =?utf-8?B?w4Q=?= <a@example.org>
Subject: Title
Date: Mon, 02 Mar 2026 10:00:00 +0100
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Gr=FC=DFe
--b
Content-Type: text/html
Content-Disposition: attachment; filename*=utf-8''a.html
Content-Transfer-Encoding: base64

PHA+VGV4dDwvcD4=
--b
Content-Type: message/rfc822

Subject: Inner

Text
--b--
""",
    parser="responsa_formats.parsers.eml:parse",
    version=4,
    opening=re.compile(
        r"(?:[A-Za-z][A-Za-z\-]{0,40}:[^\n]{0,998}\n(?:[ \t][^\n]{0,998}\n){0,20}+){0,40}?Content-Type:\s{0,9}multipart/",
        re.IGNORECASE,
    ),
)
ICS: Final = Format(
    name="ICS",
    display_name="iCalendar",
    suffixes=("ics",),
    media_types=("text/calendar",),
    sample=(
        b"BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:Title\nDTSTART;TZID=Europe/Berlin:20260302T100000\nDURATION:PT1H\n"
        b"RRULE:FREQ=DAILY\nEND:VEVENT\nEND:VCALENDAR\n"
    ),
    parser="responsa_formats.parsers.ics:parse",
    opening=re.compile(r"BEGIN:VCALENDAR\s", re.IGNORECASE),
)
MSG: Final = Format(
    name="MSG",
    display_name="Outlook e-mail",
    suffixes=("msg",),
    media_types=("application/vnd.ms-outlook",),
    sample=office_samples.MSG,
    parser="responsa_formats.parsers.msg:parse",
    version=4,
    # An OLE file with a stream of this name; names are in UTF-16.
    opening=re.compile(
        rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1(?s:.*)" + re.escape("__properties_version1.0".encode("utf-16-le"))
    ),
)
TNEF: Final = Format(
    name="TNEF",
    display_name="winmail.dat",
    suffixes=("tnef",),
    media_types=("application/ms-tnef", "application/vnd.ms-tnef"),
    # The text of a message as it is sent, and compressed RTF in its properties.
    sample=office_samples.TNEF,
    parser="responsa_formats.parsers.tnef:parse",
    opening=re.compile(rb"\x78\x9f\x3e\x22"),
)

FORMATS: Final = Formats(
    (
        *(
            MARKDOWN,
            RST,
            ADOC,
            TEX,
            PLAIN_TEXT,
            LINES,
            CODE,
            NOTEBOOK,
            HTML,
            PDF,
            DOCX,
            PPTX,
            XLSX,
            XLSB,
            XLS,
            ODT,
            ODS,
            RTF,
            EPUB,
        ),
        *(CSV, JSON, JSON_LINES, EML, MSG, TNEF, ICS, SUBTITLES),
    )
)
"""The formats of this package. Each has one row in `table.py` and one file."""
