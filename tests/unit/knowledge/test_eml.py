from __future__ import annotations

from email.message import EmailMessage

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
