"""winmail.dat (TNEF, [MS-OXTNEF]): what Outlook sends to other programs of a message's text and its attachments."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from responsa_formats.parsers.eml import MAIL_HEADERS, MailPart, ParsedMail
from responsa_formats.parsers.sniff import Original
from responsa_formats.rejections import Rejected
from responsa_formats.text.canonical import ParsedDocument, one_line

SIGNATURE: Final = b"\x78\x9f\x3e\x22"
_HEAD: Final = struct.Struct("<BII")
_SUBJECT, _BODY, _MESSAGE = 0x18004, 0x2800C, 0x69003
_BEGINNING, _DATA, _TITLE, _ATTACHMENT = 0x69002, 0x6800F, 0x18010, 0x69005
_PLAIN, _HTML, _PACKED, _PR_SUBJECT, _PR_DATA, _PR_NAME, _PR_TYPE = (
    *(0x1000, 0x1013, 0x1009, 0x0037),
    *(0x3701, 0x3707, 0x370E),
)
_VARIABLE: Final = frozenset({0x001E, 0x001F, 0x0102, 0x000D})
_SIZES: Final = {0x0005: 8, 0x0006: 8, 0x0007: 8, 0x0014: 8, 0x0040: 8, 0x0048: 16}
"""The bytes of values of fixed length by type; all others have 4."""
_WIDE: Final = 0x001F
_OBJECT: Final = 0x000D
_MANY: Final = 0x1000
_MAX_PROPERTIES: Final = 10_000
_DICTIONARY: Final = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS Sans SerifSymbolArial"
    b"Times New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)
"""With what the text of compressed RTF begins ([MS-OXRTFCP])."""


def parse(original: Original) -> ParsedDocument:
    """Extract the text. Raises Rejected if the file is damaged or has more blocks than the server stores."""
    try:
        return _mail(original.data).document(original)
    except (struct.error, IndexError):
        raise Rejected.as_malformed("The file winmail.dat is damaged and cannot be read.") from None


def _mail(data: bytes) -> ParsedMail:
    attributes: dict[int, bytes] = {}
    message: Mapping[int, tuple[int, bytes]] = {}
    attachments: list[dict[int, bytes]] = []
    offset = len(SIGNATURE) + 2
    while offset + _HEAD.size <= len(data):
        _, number, size = _HEAD.unpack_from(data, offset)
        value = data[offset + _HEAD.size : offset + _HEAD.size + size]
        offset += _HEAD.size + size + 2
        if number == _MESSAGE:
            message = _properties(value)
        elif number == _BEGINNING:
            attachments.append({})
        elif number in (_DATA, _TITLE, _ATTACHMENT) and attachments:
            attachments[-1][number] = value
        else:
            attributes[number] = value
    subject = _text(message.get(_PR_SUBJECT)) or _letters(attributes.get(_SUBJECT, b""))
    return ParsedMail(
        one_line(subject),
        dict.fromkeys(MAIL_HEADERS, ""),
        "",
        _body(message, attributes),
        [_attachment(attachment) for attachment in attachments],
    )


def _body(message: Mapping[int, tuple[int, bytes]], attributes: Mapping[int, bytes]) -> MailPart | None:
    plain = _text(message.get(_PLAIN)) or _letters(attributes.get(_BODY, b""))
    if plain.strip():
        return MailPart("", plain.encode(), "text/plain; charset=utf-8")
    kind, html = message.get(_HTML, (0, b""))
    if html.strip():
        text = html.decode("utf-16-le", "replace").encode() if kind == _WIDE else html
        return MailPart("", text, "text/html")
    if _PACKED in message:
        return MailPart("", _unpack(message[_PACKED][1]), "application/rtf")
    return None


def _attachment(parts: Mapping[int, bytes]) -> MailPart:
    properties = _properties(parts.get(_ATTACHMENT, b""))
    name = _text(properties.get(_PR_NAME)) or _letters(parts.get(_TITLE, b""))
    kind, inner = properties.get(_PR_DATA, (0, b""))
    # A message that is attached stands after the id of its interface.
    data = parts.get(_DATA) or (inner[16:] if kind == _OBJECT else inner)
    return MailPart(one_line(name), data, one_line(_text(properties.get(_PR_TYPE))))


def _properties(data: bytes) -> Mapping[int, tuple[int, bytes]]:
    """The types and first values of properties by their ids. Raises struct.error if they are cut off."""
    if not data:
        return {}
    values: dict[int, tuple[int, bytes]] = {}
    (count,) = struct.unpack_from("<I", data)
    offset = 4

    def whole() -> int:
        nonlocal offset
        (number,) = struct.unpack_from("<I", data, offset)
        offset += 4
        return number

    for _ in range(min(count, _MAX_PROPERTIES)):
        kind, number = struct.unpack_from("<HH", data, offset)
        offset += 4
        if number >= 0x8000:
            offset += 16
            named = whole()
            length = whole()
            offset += (length + 3) // 4 * 4 if named else 0
        simple = kind & ~_MANY
        several = whole() if kind & _MANY or simple in _VARIABLE else 1
        for n in range(min(several, _MAX_PROPERTIES)):
            size = whole() if simple in _VARIABLE else _SIZES.get(simple, 4)
            if not n and number < 0x8000:
                values[number] = simple, data[offset : offset + size]
            offset += (size + 3) // 4 * 4
    return values


def _text(value: tuple[int, bytes] | None) -> str:
    if value is None:
        return ""
    kind, data = value
    return (data.decode("utf-16-le", "replace") if kind == _WIDE else _letters(data)).rstrip("\x00")


def _letters(data: bytes) -> str:
    text = data.rstrip(b"\x00")
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("cp1252", "replace")


def _unpack(data: bytes) -> bytes:
    """The RTF of compressed RTF. Raises struct.error or IndexError if it is cut off."""
    _, size, kind, _ = struct.unpack_from("<II4sI", data)
    if kind == b"MELA":
        return data[16 : 16 + size]
    text = bytearray(_DICTIONARY)
    begun = len(text)
    offset = 16
    while offset < len(data) and len(text) < begun + size:
        flags = data[offset]
        offset += 1
        for bit in range(8):
            if offset >= len(data):
                break
            if not flags >> bit & 1:
                text.append(data[offset])
                offset += 1
                continue
            pair = data[offset] << 8 | data[offset + 1]
            offset += 2
            # The place in a ring of 4,096 bytes, in which the text begins after the dictionary.
            back = (len(text) - (pair >> 4)) % 4096
            if not back:
                return bytes(text[begun : begun + size])
            for _ in range((pair & 15) + 2):
                text.append(text[-back])
    return bytes(text[begun : begun + size])
