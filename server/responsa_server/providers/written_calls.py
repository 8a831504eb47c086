"""Calls of tools that a model writes as its whole text, because its server does not read them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final, cast

from responsa_server.domain.models import ModelPrompt, Role, ToolRequest

_BEGINS: Final = ("<tool_call>", "<|python_tag|>", "[TOOL_CALLS]", "```", "{", "[")
_CALL: Final = re.compile(
    r"\s*+(?:<tool_call>|<\|python_tag\|>|\[TOOL_CALLS\]|```(?:json)?)?\s*+([\[{].*[\]}])\s*+(?:</tool_call>|```)?\s*+",
    re.S,
)


class WrittenCalls:
    """Holds a text back while it may be a call. It is one only of a tool whose card permits it, and only if the text stands
    in no other message of the prompt, such as a passage."""

    def __init__(self, prompt: ModelPrompt) -> None:
        self._names = {card.id for card in prompt.tools if card.written}
        self._others = [message.text for message in prompt.messages if message.role is not Role.SYSTEM]
        self._held, self._holds = "", bool(self._names)

    def feed(self, text: str) -> str:
        """The text that is none, as far as is known."""
        self._held += text
        begun = self._held.lstrip()
        self._holds &= any(begun.startswith(mark) or mark.startswith(begun) for mark in _BEGINS)
        if self._holds:
            return ""
        held, self._held = self._held, ""
        return held

    def end(self) -> tuple[str, Sequence[ToolRequest]]:
        """What is left of the text, and the calls that it was."""
        match = _CALL.fullmatch(self._held)
        if match is None or any(match[1].strip("[] \n") in other for other in self._others):
            return self._held, []
        try:
            whole = json.loads(match[1])
            calls = cast("list[dict[str, Any]]", whole if isinstance(whole, list) else [whole])
            calls = [call.get("function", call) for call in calls]
            pairs = [(call["name"], call.get("arguments", call.get("parameters"))) for call in calls]
        except (ValueError, RecursionError, LookupError, AttributeError):
            return self._held, []
        if any(name not in self._names or not isinstance(arguments, dict) for name, arguments in pairs):
            return self._held, []
        return "", [ToolRequest(f"written-{at}", *call) for at, call in enumerate(pairs, 1)]
