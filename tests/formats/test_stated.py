"""What files state of themselves: authors and dates, in every format that can state them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responsa_formats.rejections import Rejected
from responsa_formats.sandbox.protocol import pack_result
from responsa_formats.text.canonical import MAX_AUTHOR_BYTES, parse_date
from tests.formats.office_files import DC, docx, odt, parse, pptx, shape, slide, xlsx
from tests.formats.originals import unpacked

DAY = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
ODF_META = 'xmlns:meta="urn:oasis:names:tc:opendocument:xmlns:meta:1.0"'
CORE = (
    f"<cp:coreProperties xmlns:cp='c' {DC} xmlns:dcterms='http://purl.org/dc/terms/'><dc:creator>Ann  Ash</dc:creator>"
    "<dcterms:modified>2024-05-06T07:08:09Z</dcterms:modified><dcterms:created>2023-01-01T00:00:00Z</dcterms:created></cp:coreProperties>"
)
META = (
    "<dc:creator>Bob</dc:creator><dc:date>2024-05-06T07:08:09.000000000</dc:date>"
    f"<meta:initial-creator {ODF_META}>Ann Ash</meta:initial-creator>"
    f"<meta:creation-date {ODF_META}>2023-01-01T00:00:00</meta:creation-date>"
)
PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]/Resources<</Font<</F 5 0 R>>>>/Contents 4 0 R>>endobj
4 0 obj<</Length 44>>stream
BT /F 12 Tf 20 50 Td (The eels return.) Tj ET
endstream endobj
5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj
6 0 obj<</Author(Ann Ash)/CreationDate(D:20230101000000Z)/ModDate(D:20240506090809+02'00')>>endobj
trailer<</Root 1 0 R/Info 6 0 R>>
%%EOF
"""
HTML = (
    "<!doctype html><html><head><meta name=Author content='Ann Ash'><meta name=dcterms.modified content=2025>"
    "<meta property='article:published_time' content='2024-05-06T09:08:09+02:00'></head><body><p>Eels.</body></html>"
)
FILES = {
    "a.md": b"---\ntitle: Eels\nauthor: 'Ann Ash'\ndate: 2024-05-06 07:08:09\n---\n\nEels.",
    "a.html": HTML.encode(),
    "a.pdf": PDF,
    "a.docx": docx("<w:p><w:r><w:t>Eels.</w:t></w:r></w:p>", properties=CORE),
    "a.pptx": pptx({"one": {"slide": slide(shape("Eels."))}}, properties=CORE),
    "a.odt": odt("<text:p>Eels.</text:p>", meta=META),
}


@pytest.mark.parametrize("name", FILES)
def test_author_and_date_are_read(name: str) -> None:
    found = parse(FILES[name], name)
    assert (found.author, found.date) == ("Ann Ash", DAY)
    assert unpacked(pack_result(found)) == found


def test_a_file_that_states_nothing_has_no_author_and_no_date() -> None:
    for name, data in (
        ("a.md", b"Eels."),
        ("a.html", b"<p>Eels."),
        ("a.txt", b"Eels."),
        ("a.docx", docx("<w:p><w:r><w:t>Eels.</w:t></w:r></w:p>")),
        ("a.xlsx", xlsx({"one": '<row><c t="str"><v>Eels</v></c></row>'})),
    ):
        found = parse(data, name)
        assert (found.author, found.date) == ("", None), name


@pytest.mark.parametrize(
    ("lines", "year"), [("updated: 2025-02-01", 2025), ("last_modified: 2024\ndate: 2023", 2023)]
)
def test_front_matter_may_state_the_date_of_a_change_instead(lines: str, year: int) -> None:
    found = parse(f"---\n{lines}\n---\n\nEels.".encode(), "a.md")
    assert found.date is not None
    assert found.date.year == year


@pytest.mark.parametrize(
    "lines",
    [
        "tags: [eels, 'the sea']\naliases: Anguilla",
        "tags:\n  - eels\n  - the sea # both\naliases: [Anguilla]",
        "keywords: eels, the sea\ncategories:\n- Anguilla\n- EELS",
    ],
)
def test_front_matter_states_keywords(lines: str) -> None:
    found = parse(f"---\n{lines}\n---\nEels.".encode(), "a.md")
    assert found.keywords == ("eels", "the sea", "Anguilla")
    assert unpacked(pack_result(found)) == found


def test_the_day_on_which_a_program_wrote_a_pdf_is_not_the_documents() -> None:
    written = PDF.replace(b"/CreationDate(D:20230101000000Z)", b"/CreationDate(D:20240506090809+02'00')")
    assert parse(written, "a.pdf").date is None
    assert parse(PDF.replace(b"/ModDate(D:20240506090809+02'00')", b""), "a.pdf").date is None


def test_the_date_of_a_librarys_template_is_not_the_documents() -> None:
    properties = CORE.replace("2024-05-06T07:08:09Z", "2013-12-23T23:15:00Z")
    assert parse(docx("<w:p><w:r><w:t>Eels.</w:t></w:r></w:p>", properties=properties), "a.docx").date is None


def test_a_long_author_is_cut_to_whole_characters() -> None:
    found = parse(f"---\nauthor: {'ü' * 300}\ndate: soon\n---\n\nEels.".encode(), "a.md")
    assert (found.author, found.date) == ("ü" * (MAX_AUTHOR_BYTES // 2), None)


@pytest.mark.parametrize("section", [7, 8])
def test_a_forged_author_or_date_is_refused(section: int) -> None:
    found = parse(FILES["a.md"], "a.md")
    frame = pack_result(found)
    forged = {7: (b"Ann Ash", b"Ann\nAsh"), 8: (b"2024-05-06T07:08:09+00:00", b"2024-05-06T07:08:09+01:00")}
    with pytest.raises(Rejected):
        unpacked(frame.replace(*forged[section]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2024-05", datetime(2024, 5, 1, tzinfo=UTC)),
        ("2024/05/06", datetime(2024, 5, 6, tzinfo=UTC)),
        ("20240506", datetime(2024, 5, 6, tzinfo=UTC)),
        (" 2024-05-06T07:08:09.5Z ", DAY),
        ("2024-05-06 07:08", DAY.replace(second=0)),
        ("D:20240506070809Z00'00'", DAY),
        ("D:20240506020809-05'00'", DAY),
        ("2024-05-06T12:38:09+05:30", DAY),
        ("0001-01-01T00:00:00+14:00", None),
        ("2024-13-01", None),
        ("2024-02-30", None),
        ("0000", None),
        ("May 6, 2024", None),
        ("", None),
    ],
)
def test_dates(text: str, expected: datetime | None) -> None:
    assert parse_date(text) == expected


@given(st.text(alphabet="0123456789-/.:TZ+D' ", max_size=40))
def test_whatever_looks_like_a_date_is_a_date_in_utc_or_none(text: str) -> None:
    found = parse_date(text)
    assert found is None or found.utcoffset() == UTC.utcoffset(None)
