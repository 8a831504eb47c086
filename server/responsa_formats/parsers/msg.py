"""E-mail messages of Outlook (.msg): OLE files with a stream for each property ([MS-OXMSG], [MS-OXPROPS]).

Of the plain body and the HTML, the ones that `eml.choose` chooses count.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from io import BytesIO
from typing import Any, Final, cast

import olefile

from responsa_formats.parsers.eml import MailPart, ParsedMail, choose, header, parse_message
from responsa_formats.parsers.quoted import is_reply
from responsa_formats.parsers.sniff import CHARSETS, Original, charset_of_page
from responsa_formats.rejections import Rejected
from responsa_formats.text.canonical import ParsedDocument, one_line

PROPERTIES: Final = "__properties_version1.0"
_ATTACHMENT: Final = "__attach_version1.0_#"
_ROW: Final = struct.Struct("<HHIQ")
"""The type, the id, the flags and the value of a property of fixed length."""
_ROWS_AT: Final = {PROPERTIES: 32, _ATTACHMENT: 8}
"""Where these rows begin in the properties of a message and of an attachment."""
_INNER_ROWS_AT: Final = 24
_BYTES, _TEXT, _LETTERS, _FOLDER = "0102", "001F", "001E", "000D"
_SUBJECT, _TO, _CC, _HEADERS = 0x0037, 0x0E04, 0x0E03, 0x007D
_SENDER_NAME, _SENDER_ADDRESS, _SENDER_SMTP = 0x0C1A, 0x0C1F, 0x5D01
_SENT, _RECEIVED = 0x0039, 0x0E06
_BODY, _HTML = 0x1000, 0x1013
_PAGE, _HTML_PAGE = 0x3FFD, 0x3FDE
_DATA, _NAME, _SHORT_NAME, _SHOWN_NAME, _MEDIA_TYPE = 0x3701, 0x3707, 0x3704, 0x3001, 0x370E
_EPOCH: Final = datetime(1601, 1, 1, tzinfo=UTC)


def parse(original: Original) -> ParsedDocument:
    """Extract the text. Raises Rejected if the file is damaged or has more blocks than the server stores."""
    try:
        with cast("Any", olefile).OleFileIO(BytesIO(original.data)) as file:
            return _document(file, (), original)
    except (OSError, struct.error):
        raise Rejected.as_malformed("The message is damaged and cannot be read.") from None


def _document(file: Any, path: Sequence[str], original: Original) -> ParsedDocument:
    """The document of a message. path: the folder of the file in which it is."""
    message = _Folder(file, path, _INNER_ROWS_AT if path else _ROWS_AT[PROPERTIES])
    sent = parse_message(message.text(_HEADERS).encode())
    date = message.time(_SENT) or message.time(_RECEIVED)
    name, address = message.text(_SENDER_NAME), message.text(_SENDER_SMTP) or message.text(_SENDER_ADDRESS)
    headers = {
        "From": header(sent, "From") or (f"{name} <{address}>".strip() if "@" in address else name),
        "To": header(sent, "To") or message.text(_TO),
        "Cc": header(sent, "Cc") or message.text(_CC),
        "Date": header(sent, "Date") or ("" if date is None else format_datetime(date)),
    }
    plain, html = _plain(message), _html(message)
    read = choose(original, [plain], [html]) if plain and html else (True, True)
    body, *others = [part for part, use in zip((plain, html), read, strict=True) if part and use] or [None]
    return ParsedMail(
        one_line(message.text(_SUBJECT)),
        {name: one_line(value) for name, value in headers.items()},
        "" if date is None else date.isoformat(),
        body,
        [*filter(None, others), *(_attachment(file, folder) for folder in message.folders(_ATTACHMENT))],
        is_reply(one_line(message.text(_SUBJECT)), sent),
    ).document(original)


def _plain(message: _Folder) -> MailPart | None:
    plain = message.text(_BODY)
    return MailPart("", plain.encode(), "text/plain; charset=utf-8") if plain.strip() else None


def _html(message: _Folder) -> MailPart | None:
    if data := message.data(_HTML, _BYTES):
        charset = message.charset(_HTML_PAGE)
        return MailPart("", data, f"text/html; charset={charset}" if charset else "text/html")
    if text := message.text(_HTML).strip():
        return MailPart("", text.encode(), "text/html; charset=utf-8")
    return None


def _attachment(file: Any, path: Sequence[str]) -> MailPart:
    folder = _Folder(file, path, _ROWS_AT[_ATTACHMENT])
    name = one_line(folder.text(_NAME) or folder.text(_SHORT_NAME) or folder.text(_SHOWN_NAME))
    inner = (*path, f"__substg1.0_{_DATA:04X}{_FOLDER}")
    if file.exists([*inner, PROPERTIES]):
        return MailPart(name, b"", "", partial(_document, file, inner))
    return MailPart(name, folder.data(_DATA, _BYTES), folder.text(_MEDIA_TYPE))


class _Folder:
    def __init__(self, file: Any, path: Sequence[str], rows_at: int) -> None:
        """Raises OSError or struct.error if the folder has no properties, or damaged ones."""
        self._file = file
        self._place = path
        rows = file.openstream([*path, PROPERTIES]).read()[rows_at:]
        rows = rows[: len(rows) // _ROW.size * _ROW.size]
        self._values = {number: value for _, number, _, value in _ROW.iter_unpack(rows)}
        self._codec = CHARSETS[self.charset(_PAGE) or "windows-1252"]

    def charset(self, number: int) -> str:
        """The character set whose code page is the value of a property; '' if it is not known."""
        return charset_of_page(self._values.get(number, 0) & 0xFFFFFFFF)

    def time(self, number: int) -> datetime | None:
        value = self._values.get(number, 0)
        try:
            return _EPOCH + timedelta(microseconds=value // 10) if value else None
        except OverflowError:
            return None

    def data(self, number: int, kind: str) -> bytes:
        """The bytes of a property; b'' if it is missing."""
        stream = [*self._place, f"__substg1.0_{number:04X}{kind}"]
        return self._file.openstream(stream).read() if self._file.exists(stream) else b""

    def text(self, number: int) -> str:
        """The text of a property; '' if it is missing."""
        wide = self.data(number, _TEXT).decode("utf-16-le", "replace")
        text = wide or self.data(number, _LETTERS).decode(self._codec, "replace")
        return text.replace("\x00", "").encode(errors="replace").decode()

    def folders(self, prefix: str) -> Sequence[Sequence[str]]:
        depth = len(self._place)
        return sorted(
            path
            for path in self._file.listdir(streams=False, storages=True)
            if len(path) == depth + 1
            and tuple(path[:depth]) == tuple(self._place)
            and path[depth].startswith(prefix)
        )
