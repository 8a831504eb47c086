from __future__ import annotations

from email.message import EmailMessage

import pytest

from responsa_server.domain.knowledge import LeftOutKind
from responsa_server.ingest.formats import eml
from responsa_server.ingest.formats.office_samples import DOCX
from responsa_server.ingest.sniff import sniff


def message(text: str = "The reserve pump stands in cellar four.") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"] = "Agnès Müller <a@example.org>", "b@example.org"
    made["Subject"], made["Date"] = "The pümp", "Mon, 02 Mar 2026 10:00:00 +0100"
    made.set_content(text)
    return made


def test_headers_text_and_attachments() -> None:
    made = message()
    made.add_alternative("<p>The HTML.</p>", subtype="html")
    made.add_attachment(DOCX, maintype="application", subtype="octet-stream", filename="größe.docx")
    made.add_attachment(b"\x89PNG\r\n\x1a\n" + bytes(9), maintype="image", subtype="png", filename="a.png")
    made.add_attachment(message("Inner."))
    original = sniff(made.as_bytes(), "a.eml")
    document = eml.parse(original)
    head = "From: Agnès Müller <a@example.org>\n\nTo: b@example.org\n\nDate: Mon, 02 Mar 2026 10:00:00 +0100"
    assert document.canonical_text == (
        f"The pümp\n\n{head}\n\nThe reserve pump stands in cellar four.\n\n"
        "Attachment: größe.docx\n\nText\n\nAttachment: a.png\n\n"
        f"Attachment: without a name\n\nThe pümp\n\n{head}\n\nInner."
    )
    assert (document.title, document.author) == ("The pümp", "Agnès Müller <a@example.org>")
    assert document.date is not None
    assert document.date.isoformat() == "2026-03-02T09:00:00+00:00"
    assert original.left_out[LeftOutKind.EMBEDDED_FILE] == 1


def test_html_alone_and_character_sets_of_parts() -> None:
    made = (
        b"Subject: S\nContent-Type: text/html; charset=windows-1250\n\n<p>"
        + "Łódź".encode("cp1250")
        + b"</p>"
    )
    original = sniff(made, "a.eml")
    assert eml.parse(original).canonical_text == "S\n\nŁódź"
    assert original.guessed_charset == ""


def test_messages_inside_messages_end() -> None:
    made = message("Deepest.")
    for number in range(6):
        outer = message(f"Level {number}.")
        outer.add_attachment(made)
        made = outer
    original = sniff(made.as_bytes(), "a.eml")
    text = eml.parse(original).canonical_text
    assert "Level 5." in text
    assert "Deepest." not in text
    assert sum(original.left_out.values()) >= 1


CSV = "Content-Type: text/csv\n\na,b\n1,2\n"
PLAIN = "Content-Type: text/plain\n\nThe plain text.\n"
HTML = "Content-Type: text/html\n\n<p>The HTML.</p>\n"


def multipart(kind: str, *parts: str) -> str:
    inner = "".join(f"--{kind}\n{part}\n" for part in parts)
    return f'Content-Type: multipart/{kind}; boundary="{kind}"\n\n{inner}--{kind}--\n'


@pytest.mark.parametrize(
    ("source", "text", "left_out"),
    [
        ("Content-Type: application/pdf\n\nNo PDF.", "Attachment: without a name", 1),
        (
            "Content-Type: text/plain\nContent-Disposition: attachment; filename=a.csv\n\na,b\n1,2\n",
            "Attachment: a.csv\n\na: 1 | b: 2",
            0,
        ),
        ("Content-Type: message/rfc822\n\nSubject: S\n\nT", "Attachment: without a name\n\nS\n\nT", 0),
        ("Content-Type: multipart/mixed\n\nThe plain text.", "The plain text.", 0),
        (
            multipart("alternative", PLAIN, CSV),
            "The plain text.\n\nAttachment: without a name\n\na: 1 | b: 2",
            0,
        ),
        (
            multipart("alternative", PLAIN, multipart("mixed", HTML, CSV)),
            "The plain text.\n\nAttachment: without a name\n\na: 1 | b: 2",
            0,
        ),
        (
            multipart("alternative", PLAIN, multipart("related", HTML, "Content-Type: image/png\n\nx\n")),
            "The plain text.\n\nAttachment: without a name",
            1,
        ),
        (
            multipart("alternative", "Content-Type: text/plain; charset=utf-8\n\n \u00a0\n", HTML),
            "The HTML.",
            0,
        ),
        (multipart("mixed", PLAIN, HTML), "The plain text.\n\nAttachment: without a name\n\nThe HTML.", 0),
    ],
)
def test_no_part_is_lost_without_a_count(source: str, text: str, left_out: int) -> None:
    original = sniff(source.encode(), "a.eml")
    assert eml.parse(original).canonical_text == text
    assert original.left_out[LeftOutKind.EMBEDDED_FILE] == left_out


@pytest.mark.parametrize("parameter", ["a=" + "(" * 2000, "a*" + "9" * 5000 + "=x"])
def test_a_damaged_header_does_not_refuse_the_message(parameter: str) -> None:
    damaged = f"Content-Type: text/plain; {parameter}\n\nThe second text.\n"
    original = sniff(f"From: a{'(' * 1200}\n{multipart('mixed', PLAIN, damaged)}".encode(), "a.eml")
    text = eml.parse(original).canonical_text
    assert text.startswith("From: a((((")
    assert text.endswith("\n\nThe plain text.\n\nAttachment: without a name\n\nThe second text.")


def test_long_headers_are_cut() -> None:
    header = f"From: a{' ' * 5000}b"
    inner = f"Content-Type: message/rfc822\n\n{header}\n\nInner."
    source = f"{header}\n{multipart('mixed', PLAIN, inner)}"
    text = eml.parse(sniff(source.encode(), "a.eml")).canonical_text
    assert text == "From: a\n\nThe plain text.\n\nAttachment: without a name\n\nFrom: a\n\nInner."
