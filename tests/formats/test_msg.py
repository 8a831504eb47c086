from __future__ import annotations

import pytest

from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers import msg
from responsa_formats.parsers.office_samples import DOCX
from responsa_formats.parsers.sniff import sniff
from responsa_formats.rejections import Cause
from tests.formats.originals import rejected
from tests.formats.outlook_files import attachment, message, ole

SUBJECT, BODY, HTML, SENDER, ADDRESS, TO, HEADERS = 0x37, 0x1000, 0x1013, 0x0C1A, 0x5D01, 0x0E04, 0x7D
DATA, NAME, MEDIA_TYPE = 0x3701, 0x3707, 0x370E
SENT = 134169156000000000
"""2026-03-02 09:00 UTC, in ticks of 100 ns since 1601."""
PUMP = {
    SUBJECT: "The pümp",
    SENDER: "Agnès Müller",
    ADDRESS: "a@example.org",
    TO: "Ben; Cleo",
    BODY: "The reserve pump stands in cellar four.\r\n",
}


def test_headers_text_and_attachments() -> None:
    inner = message({SUBJECT: "Inner", BODY: "Read the manual."}, inner=True)
    made = message(
        PUMP | {HTML: b"<p>The reserve <b>pump</b> stands in cellar four.</p>"},
        attachment({NAME: "größe.docx", DATA: DOCX}),
        attachment({NAME: "a.png", DATA: b"\x89PNG\r\n\x1a\n" + bytes(9), MEDIA_TYPE: "image/png"}),
        attachment({NAME: "Inner"}, inner),
        x0039=SENT,
    )
    original = sniff(ole(made), "a.msg")
    document = msg.parse(original)
    assert document.canonical_text == (
        "The pümp\n\nFrom: Agnès Müller <a@example.org>\n\nTo: Ben; Cleo\n\nDate: Mon, 02 Mar 2026 09:00:00 +0000\n\n"
        "The reserve pump stands in cellar four.\n\n"
        "Attachment: größe.docx\n\nText\n\nAttachment: a.png\n\n"
        "Attachment: Inner\n\nInner\n\nRead the manual."
    )
    assert (document.title, document.author) == ("The pümp", "Agnès Müller <a@example.org>")
    assert document.date is not None
    assert document.date.isoformat() == "2026-03-02T09:00:00+00:00"
    assert original.left_out[LeftOutKind.EMBEDDED_FILE] == 1


def test_the_html_counts_if_the_plain_text_is_a_stub() -> None:
    made = message({BODY: "See the HTML.", HTML: b"<p>The crane truck comes on 19 November.</p>"})
    assert msg.parse(sniff(ole(made), "a.msg")).canonical_text == "The crane truck comes on 19 November."


def test_html_alone_in_its_code_page_and_the_headers_as_they_were_sent() -> None:
    made = message(
        {
            BODY: " \r\n",
            HTML: "<p>Łódź</p>".encode("cp1250"),
            SENDER: "Nobody",
            HEADERS: "From: Ann <a@example.org>\r\nDate: Mon, 02 Mar 2026 10:00:00 +0100\r\n",
        },
        x3FDE=1250,
    )
    original = sniff(ole(made))
    assert msg.parse(original).canonical_text == (
        "From: Ann <a@example.org>\n\nDate: Mon, 02 Mar 2026 10:00:00 +0100\n\nŁódź"
    )
    assert original.guessed_charset == ""


@pytest.mark.parametrize("length", [600, 1100, 2000])
def test_a_message_that_is_cut_off_is_damaged(length: int) -> None:
    original = sniff(ole(message(PUMP)), "a.msg")
    original.data = original.data[:length]
    with rejected(Cause.MALFORMED, match="The message is damaged"):
        msg.parse(original)
