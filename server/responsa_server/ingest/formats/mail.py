"""The text of an e-mail message of any format: the subject as a heading, the main headers, the body, and each attachment under a heading with its name.

Attachments are read in their formats; what cannot be read is counted as left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from responsa_server.ingest.formats.blocks import BlockWriter
from responsa_server.ingest.formats.nested import write_nested
from responsa_server.ingest.sniff import Original
from responsa_server.text.canonical import BlockKind, ParsedDocument

MAIL_HEADERS: Final = ("From", "To", "Cc", "Date")


@dataclass(frozen=True, slots=True)
class MailPart:
    """The body of a message, or an attachment.

    name: the name of its file, or ''. content_type: as in `sniff`. parse: reads a part that has no bytes, such as a message within the file of a message.
    """

    name: str
    data: bytes
    content_type: str
    parse: Callable[[Original], ParsedDocument] | None = None


@dataclass(frozen=True, slots=True)
class Mail:
    """A message. headers: the values of MAIL_HEADERS; '' for one that is missing. date: in ISO 8601, or ''. body: None if there is no text."""

    subject: str
    headers: Mapping[str, str]
    date: str
    body: MailPart | None
    attachments: Sequence[MailPart]

    def document(self, original: Original) -> ParsedDocument:
        """The text of the message. Raises DocumentRejected if it has more blocks than the server stores."""
        original.guessed_charset = ""  # each part has its own character set
        blocks = BlockWriter()
        if self.subject:
            blocks.write(self.subject, BlockKind.HEADING, 1)
        for name in MAIL_HEADERS:
            if value := self.headers[name]:
                blocks.write(f"{name}: {value}", BlockKind.PARAGRAPH)
        if self.body is not None:
            write_nested(original, self.body.data, "", self.body.content_type, blocks, "")
        for part in self.attachments:
            blocks.write(f"Attachment: {part.name or 'without a name'}", BlockKind.HEADING, 2)
            path = f"attachment {part.name}" if part.name else ""
            write_nested(original, part.data, part.name, part.content_type, blocks, path, part.parse)
        return blocks.collector.document(
            blocks.text,
            format_name=original.format,
            file_name=original.name,
            title=self.subject,
            author=self.headers["From"],
            date=self.date,
        )
