"""ZIP archives and OLE files: which format they hold, and the errors of files that are mislabelled, protected, damaged or too large."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from responsa_formats import containers
from responsa_formats.containers import OLE_MAGIC, ZIP_MAGIC, Archive
from responsa_formats.parsers import office_samples
from responsa_formats.parsers.office import MAX_DEPTH
from responsa_formats.parsers.office_samples import zip_members
from responsa_formats.parsers.sniff import decide_format, sniff
from responsa_formats.parsers.table import DOCX, EPUB, FORMATS, ODS, ODT, PPTX, XLSB, XLSX, Format
from responsa_formats.rejections import Cause, Rejected
from tests.formats.office_files import W, changed, docx, parse
from tests.formats.originals import rejected

OFFICE = [DOCX, PPTX, XLSX, XLSB, ODT, ODS, EPUB]
ENCRYPTED = OLE_MAGIC + bytes(10_000) + "EncryptedPackage".encode("utf-16-le") + bytes(1000)
BODY = "<w:p><w:r><w:t>Rye.</w:t></w:r></w:p>"


@pytest.mark.parametrize("row", OFFICE, ids=lambda row: row.name)
def test_the_members_of_an_archive_decide_its_format(row: Format) -> None:
    assert sniff(row.sample).format == row.name
    for suffix in row.suffixes:
        assert sniff(row.sample, f"a.{suffix}").format == row.name
    for media_type in row.media_types:
        assert sniff(row.sample, "", media_type).format == row.name
    # The directory of an archive is at its end, so the whole archive decides, however large it is.
    picture = changed(row.sample, {"picture": bytes(range(256)) * 1000})
    assert decide_format(BytesIO(picture), f"a.{row.suffixes[0]}", "", FORMATS) == row.media_type


@pytest.mark.parametrize(
    ("data", "name", "reason", "words"),
    [
        (office_samples.XLSX, "a.docx", Cause.TYPE_MISMATCH, 'ends in ".docx" (Word), but the content is an Excel workbook'),
        (office_samples.DOCX, "a.md", Cause.TYPE_MISMATCH, "but the content is a Word document"),
        (zip_members({"a.txt": "x"}), "a.docx", Cause.TYPE_MISMATCH, "but the content is a ZIP archive"),
        (zip_members({"folder/word/document.xml": "x"}), "a.docx", Cause.TYPE_MISMATCH, "a ZIP archive"),
        (zip_members({"a.txt": "x"}), "", Cause.TYPE_UNSUPPORTED, "a ZIP archive, which is not a supported"),
        (
            zip_members({"mimetype": "application/vnd.oasis.opendocument.presentation", "content.xml": "x"}),
            "a.odt",
            Cause.TYPE_MISMATCH,
            "an OpenDocument presentation",
        ),
        (b"words", "a.xlsx", Cause.TYPE_MISMATCH, "but the content is text"),
        (b"<html><p>x</p></html>", "a.docx", Cause.TYPE_MISMATCH, "but the content is text"),
        (office_samples.DOCX[:200], "a.docx", Cause.MALFORMED, "may be cut off"),
        (office_samples.DOCX[:200], "", Cause.MALFORMED, "may be cut off"),
        (office_samples.DOCX[:200], "a.md", Cause.TYPE_MISMATCH, "but the content is a ZIP archive"),
        (ENCRYPTED, "a.docx", Cause.ENCRYPTED, "protected by a password"),
        (ENCRYPTED, "", Cause.ENCRYPTED, "protected by a password"),
        (ENCRYPTED, "a.txt", Cause.TYPE_MISMATCH, "Office document"),
        (OLE_MAGIC + bytes(600), "a.doc", Cause.TYPE_UNSUPPORTED, "an old Office document"),
        (OLE_MAGIC + bytes(600), "a.docx", Cause.TYPE_MISMATCH, "an old Office document"),
    ],
)  # fmt: skip
def test_a_container_that_is_not_what_it_says_gets_a_clear_error(
    data: bytes, name: str, reason: Cause, words: str
) -> None:
    for deciding in (lambda: sniff(data, name), lambda: decide_format(BytesIO(data), name, "", FORMATS)):
        with rejected(reason) as caught:
            deciding()
        assert words in caught.value.message


@pytest.mark.parametrize("magic", [ZIP_MAGIC, OLE_MAGIC])
@pytest.mark.parametrize("name", ["a.txt", "a.docx", "a.msg", "a"])
def test_of_a_large_container_only_the_beginning_is_read_before_the_sandbox(magic: bytes, name: str) -> None:
    file = BytesIO(magic + bytes(1_000_000))
    assert decide_format(file, name, "", FORMATS) == ""
    assert file.tell() < 70_000


@pytest.mark.parametrize(
    ("place", "form", "value", "reason", "says"),
    [(8, "<H", 1, Cause.ENCRYPTED, "protected"), (24, "<I", 10, Cause.MALFORMED, "damaged")],
    ids=["encrypted", "another size"],
)
def test_what_the_directory_says_of_a_member_holds(
    place: int, form: str, value: int, reason: Cause, says: str
) -> None:
    data = bytearray(docx(BODY))
    at = data.rfind(b"PK\x01\x02", 0, data.find(b"word/document.xml", data.find(b"PK\x01\x02")))
    struct.pack_into(form, data, at + place, value)
    with rejected(reason, match=says):
        parse(bytes(data), "a.docx")


def test_a_member_that_is_packed_by_another_method_is_malformed() -> None:
    made = BytesIO()
    with zipfile.ZipFile(BytesIO(docx(BODY))) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_BZIP2) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with rejected(Cause.MALFORMED, match="packed in a way"):
        parse(made.getvalue(), "a.docx")


def test_names_of_members_are_found_whatever_their_slashes_and_case() -> None:
    archive = Archive.open(zip_members({"Word\\Document.xml": "x", "/b": "y", "folder/": ""}))
    assert sorted(archive.members) == ["b", "word/document.xml"]
    assert archive.read("word/DOCUMENT.xml") == b"x"


@pytest.mark.parametrize(
    "prologue",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>',
        '<!DOCTYPE x SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE x [<!ENTITY % e SYSTEM "http://127.0.0.1/">%e;]>',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_with_a_document_type_is_refused(prologue: str, encoding: str) -> None:
    xml = f"{prologue}<w:document {W}><w:body>{BODY}</w:body></w:document>".encode(encoding)
    with rejected(Cause.MALFORMED, match="document type declaration"):
        parse(changed(docx(BODY), {"word/document.xml": xml}), "a.docx")


@pytest.mark.parametrize(
    "xml",
    [b"", b"<w>", b"\xff\xfe<", b"<?xml version='1.0' encoding='rot13'?><a/>", b"<a>&b;</a>", b"<a>\x00</a>"],
)
def test_damaged_xml_is_malformed(xml: bytes) -> None:
    with rejected(Cause.MALFORMED, match='"word/document.xml" of the document is damaged'):
        parse(changed(docx(BODY), {"word/document.xml": xml}), "a.docx")


def test_deep_nesting_is_a_limit() -> None:
    def nested(depth: int) -> str:
        return "<w:ins>" * depth + BODY + "</w:ins>" * depth

    # The elements around the nest, and the paragraph in it, are the other six.
    assert parse(docx(nested(MAX_DEPTH - 6)), "a.docx").canonical_text == "Rye."
    with rejected(Cause.PARSER_LIMIT, match="nested more than 200 deep"):
        parse(docx(nested(MAX_DEPTH)), "a.docx")


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = zip_members({"[Content_Types].xml": "", "word/document.xml": " " * (32 * 1024 * 1024)})
    assert len(bomb) < 64 * 1024
    with rejected(Cause.PARSER_LIMIT, match="expands too far"):
        decide_format(BytesIO(bomb), "a.docx", "", FORMATS)


def test_a_member_that_is_too_large_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "MAX_MEMBER_BYTES", 10)
    with rejected(Cause.PARSER_LIMIT, match="expands too far"):
        parse(docx(BODY), "a.docx")


def test_too_many_members_are_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "MAX_MEMBERS", 2)
    with rejected(Cause.PARSER_LIMIT, match="more than 2 members"):
        Archive.open(zip_members({"a": "", "b": "", "c": ""}))


@settings(deadline=None)
@given(
    st.sampled_from(OFFICE),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4),
    st.integers(0, 60),
)
@example(XLSB, [(701, 0)], 0)  # a part that cannot be unpacked
@example(PPTX, [(950, 0)], 0)  # a part without a name
def test_a_damaged_document_is_parsed_or_refused(row: Format, edits: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(row.sample)
    for place, value in edits:
        data[place % len(data)] = value
    with suppress(Rejected):
        assert parse(bytes(data[: len(data) - cut]), f"a.{row.suffixes[0]}").title


XML = st.recursive(
    st.sampled_from(["", "text", "<w:t>a</w:t>", "<w:br/>", '<w:fldChar w:fldCharType="begin"/>', '<w:fldChar w:fldCharType="end"/>']),
    lambda inner: st.tuples(
        st.sampled_from(
            ["w:p", "w:r", "w:tbl", "w:tr", "w:tc", "w:sdt", "w:del", "w:ins", "w:pPr", "w:txbxContent", "mc:AlternateContent"]
        ),
        st.lists(inner, max_size=4),
    ).map(lambda made: f"<{made[0]}>{''.join(made[1])}</{made[0]}>"),
    max_leaves=20,
)  # fmt: skip


@settings(deadline=None)
@given(XML)
def test_elements_in_any_order_give_a_sound_document(xml: str) -> None:
    # A field that ends in another paragraph may hold the last one.
    document = parse(
        docx(xml + BODY + '<w:p><w:r><w:fldChar w:fldCharType="end"/></w:r></w:p>' * 9 + BODY), "a.docx"
    )
    assert document.canonical_text.endswith("Rye.")
    data = document.canonical_text.encode()
    end = 0
    for block in document.blocks:
        assert end <= block.byte_start < block.byte_end <= len(data)
        end = block.byte_end


def test_the_table_names_no_member_twice() -> None:
    assert [row.name for row in FORMATS if row.member is not None] == [row.name for row in OFFICE]
    samples: Mapping[str, bytes] = {row.name: row.sample for row in OFFICE}
    for name, sample in samples.items():
        assert [row.name for row in OFFICE if row.matches_archive(Archive.open(sample))] == [name]
