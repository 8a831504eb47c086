"""If a message could not be parsed, finds the text field that is not UTF-8. The search runs only after parsing has failed, so its code
favours clarity over speed.
"""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor, FieldDescriptor

_VARINT, _FIXED64, _LENGTH, _GROUP, _GROUP_END, _FIXED32 = range(6)
_MAX_DEPTH = 16
MAX_PARTS = 10_000
"""The maximum number of values that the search reads before it gives up. A request within the contract's limits has fewer values."""


def invalid_text(descriptor: Descriptor, data: bytes) -> str | None:
    """The path of the first text field whose bytes are not UTF-8, e.g. `options.scope.collections[1]`; None if all are UTF-8."""
    return _Search().within(descriptor, data, 0)


class _Search:
    def __init__(self) -> None:
        self._parts = 0

    def within(self, descriptor: Descriptor, data: bytes, depth: int) -> str | None:
        seen: dict[int, int] = {}
        position = 0
        while position < len(data) and depth < _MAX_DEPTH and self._parts < MAX_PARTS:
            self._parts += 1
            tag, position = _varint(data, position)
            number, kind = tag >> 3, tag & 7
            if kind == _LENGTH:
                length, position = _varint(data, position)
                value = data[position : position + length]
                position += length
                field = descriptor.fields_by_number.get(number)
                if field is None:
                    continue
                name = field.name
                if field.is_repeated:
                    name = f"{name}[{seen.get(number, 0)}]"
                    seen[number] = seen.get(number, 0) + 1
                if field.type == FieldDescriptor.TYPE_STRING and not _is_text(value):
                    return name
                if field.type == FieldDescriptor.TYPE_MESSAGE and field.message_type is not None:
                    inner = self.within(field.message_type, value, depth + 1)
                    if inner is not None:
                        return f"{name}.{inner}"
            elif kind == _VARINT:
                _, position = _varint(data, position)
            elif kind in (_FIXED32, _FIXED64):
                position += 4 if kind == _FIXED32 else 8
            else:
                return None
        return None


def _varint(data: bytes, position: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            return 0, len(data)
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
    return 0, len(data)


def _is_text(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
