"""Small messages of Outlook: OLE files ([MS-CFB]) with a stream for each property ([MS-OXMSG])."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, Union

Folder: TypeAlias = Mapping[str, Union[bytes, "Folder"]]

SECTOR, SMALL, CUT = 512, 64, 4096
END, FAT, NOTHING = 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFF
STORAGE, STREAM, ROOT = 1, 2, 5


def message(
    texts: Mapping[int, str | bytes], *attached: Folder, inner: bool = False, **numbers: int
) -> Folder:
    """A message. texts: its properties by number; bytes are binary. numbers: such as x0039=…, those of fixed length."""
    head = 24 if inner else 32
    return {
        "__properties_version1.0": bytes(head) + rows(numbers),
        **streams(texts),
        **{f"__attach_version1.0_#{number:08X}": one for number, one in enumerate(attached)},
    }


def attachment(texts: Mapping[int, str | bytes], inner: Folder | None = None) -> Folder:
    """A file, or a message within the message."""
    return {
        "__properties_version1.0": bytes(8),
        **streams(texts),
        **({"__substg1.0_3701000D": inner} if inner else {}),
    }


def rows(numbers: Mapping[str, int]) -> bytes:
    return b"".join(struct.pack("<HHIQ", 0, int(name[1:], 16), 0, value) for name, value in numbers.items())


def streams(texts: Mapping[int, str | bytes]) -> Folder:
    return {
        f"__substg1.0_{number:04X}{'0102' if isinstance(text, bytes) else '001F'}": (
            text if isinstance(text, bytes) else text.encode("utf-16-le")
        )
        for number, text in texts.items()
    }


@dataclass(slots=True)
class _Written:
    entries: list[bytes] = field(default_factory=list[bytes])
    small: bytearray = field(default_factory=bytearray)
    small_fat: list[int] = field(default_factory=list[int])
    large: bytearray = field(default_factory=bytearray)
    fat: list[int] = field(default_factory=list[int])


def ole(root: Folder) -> bytes:
    """The file. It has one sector of FAT, so it holds at most 60 KiB."""
    written = _Written(fat=[FAT])
    written.entries.append(b"")
    below = _folder(root, written)
    start = _stored(bytes(written.small), SECTOR, written.large, written.fat)
    written.entries[0] = _entry("Root Entry", ROOT, NOTHING, below, start, len(written.small))
    small_fat = _stored(_numbers(written.small_fat), SECTOR, written.large, written.fat)
    directory = _stored(b"".join(written.entries), SECTOR, written.large, written.fat)
    assert len(written.fat) <= SECTOR // 4
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6)
    header += bytes(6) + struct.pack("<IIIIIIIII", 0, 1, directory, 0, CUT, small_fat, 1, END, 0)
    header += _numbers([0, *[NOTHING] * 108])
    fat = _numbers([*written.fat, *[NOTHING] * (SECTOR // 4 - len(written.fat))])
    return header + fat + bytes(written.large)


def _folder(folder: Folder, written: _Written) -> int:
    """Write what is in a folder. The number of its first entry; the others follow on the right."""
    before = NOTHING
    for name, content in reversed(list(folder.items())):
        number = len(written.entries)
        written.entries.append(b"")
        if isinstance(content, bytes):
            if len(content) < CUT:
                start = _stored(content, SMALL, written.small, written.small_fat)
            else:
                start = _stored(content, SECTOR, written.large, written.fat)
            written.entries[number] = _entry(name, STREAM, before, NOTHING, start, len(content))
        else:
            below = _folder(content, written)
            written.entries[number] = _entry(name, STORAGE, before, below, 0, 0)
        before = number
    return before


def _entry(name: str, kind: int, right: int, below: int, start: int, size: int) -> bytes:
    wide = name.encode("utf-16-le")
    head = struct.pack("<64sHBBIII", wide, len(wide) + 2, kind, 1, NOTHING, right, below)
    return head + bytes(36) + struct.pack("<IQ", start, size)


def _stored(content: bytes, size: int, into: bytearray, fat: list[int]) -> int:
    """Append a stream in sectors. The number of its first sector."""
    if not content:
        return END
    first, count = len(fat), -(-len(content) // size)
    into += content.ljust(count * size, b"\0")
    fat += [*range(first + 1, first + count), END]
    return first


def _numbers(values: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def tnef(subject: str, body: str, files: Mapping[str, bytes], packed: bytes = b"") -> bytes:
    """The file winmail.dat ([MS-OXTNEF]). packed: compressed RTF, in place of a plain body."""
    parts = [_attribute(0x18004, subject.encode() + b"\0")]
    if body:
        parts.append(_attribute(0x2800C, body.encode() + b"\0"))
    if packed:
        value = struct.pack("<II", 1, len(packed)) + packed.ljust(-(-len(packed) // 4) * 4, b"\0")
        parts.append(_attribute(0x69003, struct.pack("<IHH", 1, 0x102, 0x1009) + value))
    for name, data in files.items():
        wide = name.encode("utf-16-le")
        named = struct.pack("<IHHII", 1, 0x1F, 0x3707, 1, len(wide)) + wide.ljust(
            -(-len(wide) // 4) * 4, b"\0"
        )
        parts += [_attribute(0x69002, bytes(14)), _attribute(0x6800F, data), _attribute(0x69005, named)]
    return b"\x78\x9f\x3e\x22\x01\x00" + b"".join(parts)


def _attribute(number: int, data: bytes) -> bytes:
    return struct.pack("<BII", 1 if number != 0x6800F else 2, number, len(data)) + data + bytes(2)
