"""E-mail messages (RFC 5322 and MIME), and web archives (MHTML, RFC 2557), which have the same form.

Of alternative texts, the plain one counts if it says what the HTML says, and otherwise the one that says more. The
first text is the body. The pictures and style sheets of an HTML text (multipart/related) belong to it; all other parts
are attachments.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from email.errors import MessageError
from email.message import EmailMessage, Message
from email.parser import BytesParser
from email.policy import EmailPolicy
from typing import Any, Final, cast

from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers.blocks import BlockWriter
from responsa_formats.parsers.nested import write_nested
from responsa_formats.parsers.quoted import is_reply, write_reply
from responsa_formats.parsers.sniff import CHARSETS, Original
from responsa_formats.text.canonical import BlockKind, ParsedDocument, one_line

_LACKING: Final = 0.1
"""A text lacks something if it does not have this share of the words of its alternative."""

MAIL_HEADERS: Final = ("From", "To", "Cc", "Date")


@dataclass(frozen=True, slots=True)
class MailPart:
    """The body of a message, or an attachment.

    name: the name of its file, or ''. content_type: as in `sniff`. parse: reads a part that has no bytes, such as a
    message within the file of a message.
    """

    name: str
    data: bytes
    content_type: str
    parse: Callable[[Original], ParsedDocument] | None = None


@dataclass(frozen=True, slots=True)
class ParsedMail:
    """A message. headers: the values of MAIL_HEADERS; '' for one that is missing. date: in ISO 8601, or ''. body: None
    if there is no text. reply: whether it may quote the message that it answers."""

    subject: str
    headers: Mapping[str, str]
    date: str
    body: MailPart | None
    attachments: Sequence[MailPart]
    reply: bool = False

    def document(self, original: Original) -> ParsedDocument:
        """The text of the message. Raises Rejected if it has more blocks than the server stores."""
        original.guessed_charset = ""  # each part has its own character set
        blocks = BlockWriter()
        if self.subject:
            blocks.write(self.subject, BlockKind.HEADING, 1)
        for name in MAIL_HEADERS:
            if value := self.headers[name]:
                blocks.write(f"{name}: {value}", BlockKind.PARAGRAPH)
        if self.body is not None:
            body = BlockWriter() if self.reply else blocks
            write_nested(original, self.body.data, "", self.body.content_type, body, "")
            if self.reply:
                write_reply(body.document(original), blocks)
        for part in self.attachments:
            blocks.write(f"Attachment: {part.name or 'without a name'}", BlockKind.HEADING, 2)
            path = f"attachment {part.name}" if part.name else ""
            write_nested(original, part.data, part.name, part.content_type, blocks, path, part.parse)
        return blocks.document(
            original,
            title=self.subject,
            author=self.headers["From"],
            date=self.date,
        )


_EDGES: Final = re.compile(r"\A\W++|\W++\Z")
_HEADER_CHARACTERS: Final = 4096
# How the library fails on damaged headers.
_DAMAGED: Final = (ValueError, LookupError, AttributeError, TypeError, MessageError, RecursionError)


class _Policy(EmailPolicy):
    """Cuts long headers, and keeps the raw text of a header that the library cannot parse.

    The library's time grows with the square of a header's length, and it parses the headers of parts (Content-…) many times.
    """

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[:_HEADER_CHARACTERS]

    def header_fetch_parse(self, name: str, value: str) -> Any:
        try:
            return super().header_fetch_parse(name, value)
        except _DAMAGED:
            return value


_POLICY: Final = _Policy(refold_source="none")  # folding the headers of inner messages would parse them


def parse(original: Original) -> ParsedDocument:
    """Extract the text. Raises Rejected if the message has more blocks than the server stores."""
    message = parse_message(original.data)
    parts = _parts(original, message)
    body = next((part for part in parts if _text_type(part)), None)
    return ParsedMail(
        header(message, "Subject"),
        {name: header(message, name) for name in MAIL_HEADERS},
        _date(message),
        None if body is None else _mail_part(body),
        _attachments([_mail_part(part) for part in parts if part is not body]),
        is_reply(header(message, "Subject"), message),
    ).document(original)


def choose(original: Original, plain: Sequence[MailPart], html: Sequence[MailPart]) -> tuple[bool, bool]:
    """Whether the plain text and the HTML of a message are read; at least one of them is. original: the file that the message is in.

    Where the plain text has the words of the HTML, it is enough, unless the HTML has tables. A plain text that only
    says that the message is in HTML says less than the HTML. If each says what the other one does not, both are read.
    """
    words, _ = _words_of(original, plain)
    shown, tables = _words_of(original, html)
    only_said, only_shown = words - shown, shown - words
    lacks = len(only_shown) > _LACKING * len(shown)
    if not (lacks or (shown and tables)):
        return True, False
    more = len(only_said) > _LACKING * len(words) and len(only_said) > len(only_shown)
    return more, lacks or not more


def _words_of(original: Original, parts: Sequence[MailPart]) -> tuple[set[str], bool]:
    """The words of parts, without addresses of pages, and whether there are tables."""
    blocks = BlockWriter()
    scratch = replace(original, left_out=Counter())
    for part in parts:
        write_nested(scratch, part.data, "", part.content_type, blocks, "")
    words = (_EDGES.sub("", word) for word in blocks.text.casefold().split() if "://" not in word)
    return {word for word in words if word}, blocks.collector.has(BlockKind.TABLE)


def _attachments(parts: Sequence[MailPart]) -> Sequence[MailPart]:
    """The parts without those that have no name and the same bytes as one with a name, such as an invitation that is also a file."""
    named = {part.data for part in parts if part.name}
    return [part for part in parts if part.name or part.data not in named]


def parse_message(data: bytes) -> EmailMessage:
    """The message. Whatever the bytes are, they are one."""
    return cast("EmailMessage", BytesParser(policy=_POLICY).parsebytes(data))


def header(message: EmailMessage, name: str) -> str:
    """A header on one line; '' if it is missing."""
    return _clean(str(message.get(name, "")))


def _parts(original: Original, part: Message[Any, Any]) -> list[Message[Any, Any]]:
    """The parts without their containers, without blank texts, and with one of alternative texts."""
    if not part.is_multipart() and part.get_content_maintype() == "multipart":
        del part["Content-Type"]  # without a boundary, it is plain text
    if part.get_content_maintype() != "multipart":
        data = b"" if part.is_multipart() else cast("bytes", part.get_payload(decode=True))
        return [] if _text_type(part) and not data.decode(errors="replace").strip() else [part]
    branches: list[list[Message[Any, Any]]] = []
    for inner in part.get_payload():  # a comprehension would recurse deeper than the parser
        branches.append(_parts(original, cast("Message[Any, Any]", inner)))
    selected = branches
    if part.get_content_subtype() == "related":
        branches = [[leaf for leaf in branch if not _belongs(original, leaf)] for branch in branches]
        selected = branches
    if part.get_content_subtype() == "alternative":
        types = [{_text_type(leaf) for leaf in branch} for branch in branches]
        kinds = ("text/plain", "text/html")
        plain, html = (next((i for i, media in enumerate(types) if kind in media), -1) for kind in kinds)
        taken = {plain if plain >= 0 else html}
        if plain != html and plain >= 0 and html >= 0:
            texts = ([_mail_part(leaf) for leaf in branches[i] if _text_type(leaf)] for i in (plain, html))
            taken = {i for i, read in zip((plain, html), choose(original, *texts), strict=True) if read}
        selected = [branch for i, branch in enumerate(branches) if i in taken]
    return [leaf for branch in branches for leaf in branch if branch in selected or not _text_type(leaf)]


def _belongs(original: Original, part: Message[Any, Any]) -> bool:
    """Whether a part of multipart/related is only shown within the text. Counts pictures as left out."""
    kind = part.get_content_maintype()
    if part.get_content_disposition() == "attachment" or (
        kind != "image" and part.get_content_type() != "text/css"
    ):
        return False
    original.left_out[LeftOutKind.PICTURE] += kind == "image"
    return True


def _text_type(part: Message[Any, Any]) -> str:
    """The media type of a text of the message itself; '' for an attachment."""
    kind = part.get_content_type()
    shown = kind in ("text/plain", "text/html") and part.get_content_disposition() != "attachment"
    return kind if shown else ""


def _mail_part(part: Message[Any, Any]) -> MailPart:
    if part.is_multipart():
        data = b"".join(cast("Message[Any, Any]", inner).as_bytes() for inner in part.get_payload())
    else:
        data = cast("bytes", part.get_payload(decode=True))
    kind = part.get_content_type()
    if kind == "text/plain" and str(part.get_param("format", "")).lower() == "flowed":
        data = _unflow(data, delete=str(part.get_param("delsp", "")).lower() == "yes")
    charset = str(part.get_content_charset() or "")
    declared = f"{kind}; charset={charset}" if charset in CHARSETS else kind
    return MailPart(_clean(part.get_filename() or ""), data, declared)


def _unflow(data: bytes, *, delete: bool) -> bytes:
    """The paragraphs of flowed text (RFC 3676), each on one line. delete: whether the space at the end of a line is only
    its mark."""
    lines: list[bytes] = []
    depth = -1
    for line in data.replace(b"\r\n", b"\n").split(b"\n"):
        left = line.lstrip(b">")
        quoted = len(line) - len(left)
        left = left.removeprefix(b" ")
        if depth == quoted and left != b"-- ":
            lines[-1] += left
        else:
            lines.append(line[:quoted] + b" " * bool(quoted) + left)
        depth = quoted if left.endswith(b" ") and left != b"-- " else -1
        if depth >= 0 and delete:
            lines[-1] = lines[-1][:-1]
    return b"\n".join(lines)


def _clean(text: str) -> str:
    return one_line(text.encode(errors="replace").decode().replace("\x00", ""))


def _date(message: EmailMessage) -> str:
    try:
        return message["Date"].datetime.isoformat()
    except _DAMAGED:
        return ""
