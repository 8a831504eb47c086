"""E-mail messages (RFC 5322 and MIME): the subject as a heading, the main headers, the text, and each attachment under a heading with its name.

The text is the plain one if there is one, or else the HTML. Attachments are read in their formats; what cannot be read is counted as left out.
"""

from __future__ import annotations

from email.message import EmailMessage, Message
from email.parser import BytesParser
from email.policy import default
from typing import Any, Final, cast

from responsa_server.ingest.formats.blocks import BlockWriter
from responsa_server.ingest.formats.nested import write_nested
from responsa_server.ingest.sniff import CHARSETS, Original
from responsa_server.text.canonical import BlockKind, ParsedDocument, one_line

_HEADERS: Final = ("From", "To", "Cc", "Date")


def parse(original: Original) -> ParsedDocument:
    """Extract the text. Raises DocumentRejected if the message has more blocks than the server stores."""
    original.guessed_charset = ""  # each part has its own character set
    message = BytesParser(policy=default).parsebytes(original.data)
    blocks = BlockWriter()
    subject = _header(message, "Subject")
    if subject:
        blocks.write(subject, BlockKind.HEADING, 1)
    for name in _HEADERS:
        if value := _header(message, name):
            blocks.write(f"{name}: {value}", BlockKind.PARAGRAPH)
    body = message.get_body(("plain", "html"))
    if body is not None:
        _write(original, body, "", blocks)
    for part in message.iter_attachments() if message.is_multipart() else ():
        name = _clean(part.get_filename() or "")
        blocks.write(f"Attachment: {name or 'without a name'}", BlockKind.HEADING, 2)
        _write(original, part, name, blocks)
    return blocks.collector.document(
        blocks.text,
        format_name=original.format,
        file_name=original.name,
        title=subject,
        author=_header(message, "From"),
        date=_date(message),
    )


def _write(original: Original, part: Message[Any, Any], name: str, blocks: BlockWriter) -> None:
    """Append the blocks of a part."""
    if part.is_multipart():
        data = b"".join(cast("Message[Any, Any]", one).as_bytes() for one in part.get_payload())
    else:
        data = cast("bytes", part.get_payload(decode=True))
    kind = part.get_content_type()
    charset = str(part.get_content_charset() or "")
    declared = f"{kind}; charset={charset}" if charset in CHARSETS else kind
    write_nested(original, data, name, declared, blocks, f"attachment {name}" if name else "")


def _header(message: EmailMessage, name: str) -> str:
    try:
        return _clean(str(message.get(name, "")))
    except (ValueError, LookupError, AttributeError, TypeError):  # how the library fails on damaged headers
        return ""


def _clean(text: str) -> str:
    return one_line(text.encode(errors="replace").decode().replace("\x00", ""))


def _date(message: EmailMessage) -> str:
    try:
        return message["Date"].datetime.isoformat()
    except (ValueError, LookupError, AttributeError, TypeError):
        return ""
