"""What models ask of tools: put together from parts, and bounded, since all of it is written down before anything is called."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from pydantic import JsonValue, TypeAdapter, ValidationError

from responsa_server.domain.ports.models import ModelError, ModelFault, ToolRequest

_MOST_CALLS: Final = 64
_MOST_ARGUMENTS_BYTES: Final = 16 * 1024
_DEEPEST_ARGUMENTS: Final = 16
_ARGUMENTS: Final = TypeAdapter(dict[str, JsonValue])


@dataclass(slots=True)
class _Wanted:
    call_id: str = ""
    tool: str = ""
    arguments: str = ""
    signature: str = ""


class Gathering:
    """The requests of one answer as they come together, by their index."""

    def __init__(self) -> None:
        self._wanted: dict[int, _Wanted] = {}

    def __bool__(self) -> bool:
        return bool(self._wanted)

    def __len__(self) -> int:
        return len(self._wanted)

    def add(
        self, index: int, call_id: str = "", tool: str = "", arguments: str = "", signature: str = ""
    ) -> None:
        """The next parts of a request. Raises ModelError (MALFORMED) when it is too much."""
        into = self._wanted.setdefault(index, _Wanted())
        into.call_id += call_id
        into.tool += tool
        into.arguments += arguments
        into.signature += signature
        if len(self._wanted) > _MOST_CALLS:
            raise ModelError(ModelFault.MALFORMED, f"more than {_MOST_CALLS} calls of tools")
        parts = (into.call_id, into.tool, into.arguments.encode(), into.signature)
        if max(map(len, parts)) > _MOST_ARGUMENTS_BYTES:
            raise ModelError(
                ModelFault.MALFORMED, f"a tool's call of more than {_MOST_ARGUMENTS_BYTES} bytes"
            )

    def requests(self) -> Sequence[ToolRequest]:
        """All of them, by index. Raises ModelError (MALFORMED) for arguments that are no JSON object, or that no event could tell."""
        return [self._request(self._wanted[index]) for index in sorted(self._wanted)]

    def _request(self, one: _Wanted) -> ToolRequest:
        try:
            arguments = _ARGUMENTS.validate_json(one.arguments or "{}")
        except ValidationError:
            raise ModelError(
                ModelFault.MALFORMED, f"arguments of {one.tool[:64]!r} that are no JSON object"
            ) from None
        if not _sendable(dict(arguments), _DEEPEST_ARGUMENTS):
            raise ModelError(
                ModelFault.MALFORMED, "arguments of a tool that are too deep, or hold a number that is none"
            )
        return ToolRequest(one.call_id, one.tool, cast("Mapping[str, object]", arguments), one.signature)


def _sendable(value: object, depth: int) -> bool:
    """Whether a JSON value can be told in an event: numbers are finite doubles there, and readers go down only so far."""
    if isinstance(value, (int, float)):
        return abs(value) <= sys.float_info.max
    if isinstance(value, (dict, list)):
        inner = cast("dict[str, object] | list[object]", value)
        return depth > 0 and all(
            _sendable(one, depth - 1) for one in (inner.values() if isinstance(inner, dict) else inner)
        )
    return True
