from __future__ import annotations

import codecs
import json
import plistlib
import random
from pathlib import Path

import pytest

from responsa_formats.parsers.sniff import CHARSETS, sniff
from responsa_formats.rejections import RENAME, Cause, Rejected
from responsa_formats.sandbox.protocol import pack_rejection
from tests.formats.originals import rejected, unpacked

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
ELF = b"\x7fELF\x02\x01\x01\x00" + bytes(300)
WINDOWS = b"MZ\x90\x00\x03\x00\x00\x00\x04\x00" + bytes(300)
PDF = b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n"
ZIP = b"PK\x03\x04\x14\x00\x00\x00" + bytes(300)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(300)
OLE = codecs.decode("d0cf11e0a1b11ae1", "hex") + bytes(300)


@pytest.mark.parametrize(
    ("name", "content_type", "data", "expected"),
    [
        ("a.md", "", b"x", "MARKDOWN"),
        ("docs/A.MARKDOWN", "", b"x", "MARKDOWN"),
        ("a.txt", "", b"x", "TEXT"),
        ("a.htm", "", b"x", "HTML"),
        ("a.md", "text/html", b"x", "MARKDOWN"),
        ("", "text/markdown; charset=utf-8", b"x", "MARKDOWN"),
        ("", "Text/HTML", b"x", "HTML"),
        ("About St. Louis", "text/plain", b"x", "TEXT"),
        ("notes.foo", "text/plain", b"x", "TEXT"),
        ("", "", b"plain words", "TEXT"),
        ("", "application/octet-stream", b"<!-- c --><!DOCTYPE html><p>x", "HTML"),
        ("README", "", b"<p>not a whole page", "TEXT"),
        ("a.tsv", "", b"x", "CSV"),
        ("", "text/csv; charset=utf-8", b"x", "CSV"),
        ("a.json", "text/plain", b"x", "JSON"),
        ("a.ndjson", "", b"x", "JSON_LINES"),
        ("", "", b"[1, 2]", "TEXT"),
        ("rates.xls", "application/vnd.ms-excel", b"<html><table>", "HTML"),
        (
            "wiki.doc",
            "application/msword",
            b"Date: x\nMIME-Version: 1.0\nContent-Type: multipart/related\n",
            "EML",
        ),
        ("note.doc", "", b"plain words", "TEXT"),
        ("", "", b"BEGIN:VCALENDAR\r\n", "ICS"),
    ],
)
def test_name_then_content_type_then_content_decide(
    name: str, content_type: str, data: bytes, expected: str
) -> None:
    assert sniff(data, name, content_type).format == expected


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (WINDOWS, "Windows program"),
        (ELF, "ELF"),
        (PDF, "PDF"),
        (ZIP, "ZIP"),
        (PNG, "image/png"),
        (OLE, "Office"),
        (b"{\\rtf1 hello}", "RTF"),
        (b"\x01\x02\x03\x04" * 50 + b"text", "binary"),
        (b"text\x00" * 9, "binary"),
        (b"caf\xe9\x00", "binary"),
    ],
)
@pytest.mark.parametrize("name", ["a.md", "a.txt", "a.html"])
def test_other_content_under_an_accepted_name_is_a_mismatch(data: bytes, words: str, name: str) -> None:
    with rejected(Cause.TYPE_MISMATCH) as caught:
        sniff(data, name)
    assert words in caught.value.message
    assert caught.value.message.endswith(RENAME)


@pytest.mark.parametrize(
    ("data", "name", "content_type"),
    [
        (b"%!PS hello", "a.ps", "application/postscript"),
        (b"a: b", "a.foo", ""),
        (b"x", "", "application/x-foo"),
    ],
)
def test_what_is_said_truly_but_not_taken_is_unsupported(data: bytes, name: str, content_type: str) -> None:
    with rejected(Cause.TYPE_UNSUPPORTED):
        sniff(data, name, content_type)


@pytest.mark.parametrize("data", [b"The sluice\x00 opens.", b"\xef\xbb\xbfThe sluice\x00 opens."])
def test_one_nul_damages_only_its_word(data: bytes) -> None:
    assert sniff(data, "a.txt").text == "The sluice\ufffd opens."


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \t\r\n\x0c",
        codecs.BOM_UTF8,
        codecs.BOM_UTF8 + b"\n",
        "\u200b\u00a0\ufeff".encode(),
        codecs.BOM_UTF16_LE,
    ],
)
def test_nothing_visible_is_empty(data: bytes) -> None:
    with rejected(Cause.EMPTY):
        sniff(data, "a.md")


GERMAN = "Über allen Gipfeln ist Ruh, in allen Wipfeln spürest du kaum einen Hauch. Die Vögel schweigen. " * 4
MARKED = "Grüße 漢字 😀\r\nx\ry"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        # Sentences that begin like magic numbers.
        ("BMW builds cars.", "utf-8"),
        ("MZ was a maker of motorcycles.", "utf-8"),
        ("GIF is a format.", "utf-8"),
        ("ID3 tags", "utf-8"),
        # Byte order marks decide, and are no text.
        (MARKED, "utf-8-sig"),
        (MARKED, "utf-16"),
        (MARKED, "utf-32"),
        # A legacy encoding that is not declared, early or late in the text.
        (GERMAN, "cp1252"),
        (5000 * "The mill by the river grinds rye and wheat for the whole valley.\n" + GERMAN, "cp1252"),
        # A few letters of such an encoding are western.
        ("Müller ging.", "cp1252"),
        ("Les œufs à la coque", "cp1252"),
        ("São Paulo", "cp1252"),
        ("Die Größe: 5 m²", "cp1252"),
        ("It costs 5 £ or 6 €.", "cp1252"),
        ("Het is één dag", "cp1252"),
    ],
    ids=lambda value: value[:16],
)
def test_the_encoding_of_text_is_found(text: str, encoding: str) -> None:
    assert sniff(text.encode(encoding), "a.txt").text == text


@pytest.mark.parametrize(
    ("data", "name", "content_type", "says"),
    [
        ("Plain words.".encode("utf-16-le"), "a.txt", "", "UTF-16"),
        (codecs.BOM_UTF16_LE + b"x\x00\x00\xd8y\x00", "a.txt", "", ""),
        (b"caf\xed\xa0\x80", "a.txt", "text/plain; charset=utf-8", ""),  # a lone surrogate
        (b"caf\xe9", "a.txt", "text/plain; charset=UTF-8", "Byte 3 "),
        (b"<meta charset=utf-8>caf\xe9", "a.html", "", ""),
        # Damaged UTF-8 is not read as another encoding.
        ("Grüße aus München, ".encode() + b"\xff" + " schöne Größe".encode(), "a.txt", "", "Byte 22 "),
    ],
)
def test_text_that_breaks_its_encoding_is_malformed(
    data: bytes, name: str, content_type: str, says: str
) -> None:
    with rejected(Cause.MALFORMED, match=says or None):
        sniff(data, name, content_type)


CODE_PAGES = {
    **dict.fromkeys(("fr", "pt", "sv", "da", "es", "de"), ("windows-1252",)),
    **dict.fromkeys(("pl", "cs"), ("windows-1250", "iso-8859-2")),
    "ru": ("windows-1251", "koi8-r"),
    "tr": ("windows-1254",),
}


def test_short_texts_in_the_code_pages_of_ten_languages_are_never_wrong_in_silence() -> None:
    sentences = json.loads((FIXTURES / "sentences.json").read_text(encoding="utf-8"))
    chosen = random.Random(38)
    right = doubtful = count = 0
    for language, charsets in CODE_PAGES.items():
        for number in range(30):
            text = " ".join(chosen.sample(sentences[language], chosen.randint(1, 6)))
            data = text.encode(CHARSETS[charsets[number % len(charsets)]])
            original = sniff(data, "a.txt")
            count += 1
            right += original.text == text
            doubtful += bool(original.guessed_charset)
            assert original.text == text or original.guessed_charset, (language, text, original.text)
    assert right >= 0.98 * count
    assert doubtful <= 0.1 * count


def test_a_guess_that_another_could_replace_is_named() -> None:
    original = sniff("½ cup".encode("cp1252"), "a.txt")
    assert (original.text, original.guessed_charset) == ("½ cup", "windows-1252")
    assert sniff("½ cup".encode("cp1252"), "a.txt", "text/plain; charset=windows-1252").guessed_charset == ""
    assert sniff("½ cup".encode(), "a.txt").guessed_charset == ""


def test_declared_encodings_are_followed_unless_the_bytes_are_utf8() -> None:
    assert sniff("żółw".encode("iso8859_2"), "a.txt", "text/plain; charset=ISO-8859-2").text == "żółw"
    assert sniff(
        b'<meta http-equiv=x content="text/html; charset=windows-1251">' + "мир".encode("cp1251"), "a.html"
    ).text.endswith("мир")
    assert sniff("日本".encode("iso2022_jp"), "a.txt", "text/plain; charset=iso-2022-jp").text == "日本"
    assert sniff("naïve".encode(), "a.txt", "text/plain; charset=iso-8859-1").text == "naïve"


@pytest.mark.parametrize("charset", ["utf-7", "unicode_escape", "rot13", "hex", "nonsense"])
def test_only_known_character_sets_are_followed(charset: str) -> None:
    with rejected(Cause.MALFORMED, match="not known"):
        sniff(b"+ADw-script+AD4-", "a.txt", f"text/plain; charset={charset}")


@pytest.mark.parametrize("reason", Cause)
def test_every_reason_of_a_rejection_leaves_the_sandbox(reason: Cause) -> None:
    with rejected(reason) as caught:
        unpacked(pack_rejection(Rejected(reason, "What. Remedy.")))
    assert caught.value.message == "What. Remedy."


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.pdf", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "git lfs pull"),
        (
            "a.md",
            b"version https://git-lfs.github.com/spec/v1\next-0-x sha256:1\noid sha256:4d7a\nsize 1\n",
            "git lfs",
        ),
        ("a.txt", b"/annex/objects/SHA256E-s100--abc.pdf\n", "git annex get"),
        ("a.md", b"../../.git/annex/objects/ab/cd/x", "git annex get"),
        ("a.url", b"[InternetShortcut]\r\nURL=https://example.org/\r\n", "is a shortcut"),
        ("a.txt", b"\xef\xbb\xbf[{0}]\r\nProp3=19,11\r\n[InternetShortcut]\r\nURL=x\r\n", "is a shortcut"),
        ("a.lnk", b"L\0\0\0\x01\x14\x02\0" + bytes(60), "is a shortcut"),
        ("a.webloc", plistlib.dumps({"URL": "https://example.org"}), "is a shortcut"),
        (
            "a.webloc",
            plistlib.dumps({"URL": "https://example.org"}, fmt=plistlib.FMT_BINARY),
            "is a shortcut",
        ),
        ("a.desktop", b"[Desktop Entry]\nType=Link\nURL=https://example.org\n", "is a shortcut"),
    ],
)
def test_a_file_that_only_stands_for_another_is_refused(name: str, data: bytes, says: str) -> None:
    with rejected(Cause.TYPE_UNSUPPORTED, match=says):
        sniff(data, name)


def test_text_about_pointers_and_shortcuts_is_text() -> None:
    for text in (
        b"A pointer begins with:\n\nversion https://git-lfs.github.com/spec/v1\n",
        b"[A] is a shortcut.\n",
    ):
        assert sniff(text, "a.md").format == "MARKDOWN"


def test_the_content_of_ts_decides() -> None:
    assert sniff(b"export const limit = 415;\n", "a.ts").format == "CODE"
    packets = b"".join(b"G" + bytes(range(1, 188)) for _ in range(8))
    with rejected(Cause.TYPE_MISMATCH, match="the content is a video"):
        sniff(packets, "a.ts", "video/mp2t")
