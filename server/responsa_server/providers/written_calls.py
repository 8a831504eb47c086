"""Calls of tools that a model writes as its whole text, because its server does not read them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from responsa_server.domain.models import ModelPrompt, Role, ToolRequest

_BEGINS: Final = ("<tool_call>", "<|python_tag|>", "[TOOL_CALLS]", "```", "{", "[")
_CALL: Final = re.compile(
    r"\s*(?:<tool_call>|<\|python_tag\|>|\[TOOL_CALLS\]|```(?:json)?)?\s*([\[{].*[\]}])\s*(?:</tool_call>|```)?\s*",
    re.S,
)


@dataclass(frozen=True, slots=True)
class ReadText:
    """The end of a text: the calls that it is, or what is left of it."""

    text: str
    requests: Sequence[ToolRequest] = ()


class WrittenCalls:
    """Holds a text back while it may be a call. It is one only of a tool whose card permits it, and only if the text stands
    in no other message of the prompt, such as a passage."""

    def __init__(self, prompt: ModelPrompt) -> None:
        self._names = {card.id for card in prompt.tools if card.written}
        self._others = [message.text for message in prompt.messages if message.role is not Role.SYSTEM]
        self._held = ""
        self._holds = bool(self._names)

    def feed(self, text: str) -> str:
        """The text that is none, as far as is known."""
        if not self._holds:
            return text
        self._held += text
        begun = self._held.lstrip()
        if any(begun.startswith(mark) or mark.startswith(begun) for mark in _BEGINS):
            return ""
        self._holds, held, self._held = False, self._held, ""
        return held

    def end(self) -> ReadText:
        held, self._held = self._held, ""
        match = _CALL.fullmatch(held)
        if match is None or any(match[1].strip("[] \n") in other for other in self._others):
            return ReadText(held)
        try:
            whole = json.loads(match[1])
        except (ValueError, RecursionError):
            return ReadText(held)
        calls = cast("list[object]", whole) if isinstance(whole, list) else [whole]
        requests = [self._request(call, number) for number, call in enumerate(calls, 1)]
        found = [request for request in requests if request is not None]
        return ReadText("", found) if found and len(found) == len(calls) else ReadText(held)

    def _request(self, call: object, number: int) -> ToolRequest | None:
        fields = cast("dict[str, Any]", call) if isinstance(call, dict) else {}
        fields = fields["function"] if isinstance(fields.get("function"), dict) else fields
        arguments = fields.get("arguments", fields.get("parameters"))
        if fields.get("name") not in self._names or not isinstance(arguments, Mapping):
            return None
        return ToolRequest(f"written-{number}", fields["name"], cast("Mapping[str, object]", arguments))
