from __future__ import annotations

from email.message import EmailMessage

import pytest

from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers import eml
from responsa_formats.parsers.office_samples import DOCX
from responsa_formats.parsers.sniff import sniff


def message(text: str = "The reserve pump stands in cellar four.") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"] = "Agnès Müller <a@example.org>", "b@example.org"
    made["Subject"], made["Date"] = "The pümp", "Mon, 02 Mar 2026 10:00:00 +0100"
    made.set_content(text)
    return made


def test_headers_text_and_attachments() -> None:
    made = message()
    made.add_alternative("<p>The <b>reserve pump</b> stands in cellar four.</p>", subtype="html")
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
SAME = "Content-Type: text/html\n\n<p>The <b>plain</b> text.</p>\n"
PICTURE = "Content-Type: image/png\n\nx\n"
STYLE = "Content-Type: text/css\n\np {}\n"
INVITATION = """BEGIN:VCALENDAR
METHOD:REQUEST
BEGIN:VEVENT
SUMMARY:Inspection\\, bridge
LOCATION:Pier 9
DTSTART;TZID=Europe/Berlin:20261117T101500
DTEND;TZID=Europe/Berlin:20261117T114500
END:VEVENT
END:VCALENDAR
"""
INVITED = (
    "Inspection, bridge\n\nTime: Tuesday, 17 November 2026, 10:15 to 11:45 (Europe/Berlin)\n\nPlace: Pier 9"
)


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
            multipart("alternative", PLAIN, multipart("mixed", SAME, CSV)),
            "The plain text.\n\nAttachment: without a name\n\na: 1 | b: 2",
            0,
        ),
        (
            multipart("alternative", PLAIN, f"Content-Type: text/calendar\n\n{INVITATION}"),
            f"The plain text.\n\nAttachment: without a name\n\n{INVITED}",
            0,
        ),
        (
            multipart(
                "mixed",
                multipart("alternative", PLAIN, f"Content-Type: text/calendar\n\n{INVITATION}"),
                f"Content-Type: application/ics; name=invite.ics\n\n{INVITATION}",
            ),
            f"The plain text.\n\nAttachment: invite.ics\n\n{INVITED}",
            0,
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


LONG = " ".join(f"word{number}" for number in range(40))
TABLE = "<table><tr><th>Load</th><th>Kilos</th></tr><tr><td>Boiler</td><td>2400</td></tr></table>"


@pytest.mark.parametrize(
    ("plain", "html", "text"),
    [
        ("Please look at the HTML.", f"<p>{LONG}</p>", LONG),
        (
            f"{LONG} https://example.org/a",
            f"<p>{LONG} <a href='https://example.org/a'>here</a></p>",
            f"{LONG} https://example.org/a",
        ),
        ("Load Kilos\nBoiler 2400", TABLE, "Load | Kilos\n---|---\nBoiler | 2400"),
        (
            LONG,
            "<p>No program shows this.</p>",
            f"{LONG}\n\nAttachment: without a name\n\nNo program shows this.",
        ),
        (f"{LONG} Load Kilos Boiler 2400", TABLE, f"{LONG} Load Kilos Boiler 2400"),
    ],
)
def test_of_alternative_texts_the_one_that_says_more_counts(plain: str, html: str, text: str) -> None:
    source = multipart(
        "alternative", f"Content-Type: text/plain\n\n{plain}\n", f"Content-Type: text/html\n\n{html}\n"
    )
    assert eml.parse(sniff(source.encode(), "a.eml")).canonical_text == text


def test_the_files_of_a_web_page_belong_to_its_text() -> None:
    original = sniff(f"Subject: S\n{multipart('related', HTML, PICTURE, STYLE)}".encode(), "a.mht")
    assert eml.parse(original).canonical_text == "S\n\nThe HTML."
    assert original.left_out == {LeftOutKind.PICTURE: 1}


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
