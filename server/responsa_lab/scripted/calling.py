"""A model that requests the tools that its question names."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from typing import Any, Final, cast

from responsa_lab.scripted.strong import tokens_read
from responsa_server.domain.events import Usage
from responsa_server.domain.models import (
    Ended,
    ModelPiece,
    ModelPrompt,
    Role,
    Spent,
    TextPiece,
    ToolRequest,
)

_CALL: Final = re.compile(r"^call (?P<tool>\S+) (?P<arguments>\{.*\})$", re.MULTILINE)
_FOR_EVER: Final = re.compile(r"^for ever$", re.MULTILINE)
_NUMBER: Final = re.compile(r"^\[(\d{1,2})\] ", re.MULTILINE)
_MARK: Final = re.compile(r"⟦[^⟦⟧\n]*⟧\n?")


class Calling:
    """A `ChatModel` with the name `calling`. It requests one tool for each line `call TOOL {…}` of the question, all of them at once. Then it writes the tools' results, one on each
    line. If a result has numbered sources, the last number ends the line, as a citation. With a line `for ever`, it requests the tools again as long as any are offered.
    """

    name = "calling"

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        await asyncio.sleep(0)
        read = tokens_read(prompt)
        question = "\n".join(message.text for message in prompt.messages if message.role is Role.USER)
        results = [message.text for message in prompt.messages if message.role is Role.TOOL]
        written = 0
        if prompt.tools and (not results or _FOR_EVER.search(question)):
            for place, found in enumerate(_CALL.finditer(question), len(results) + 1):
                arguments = cast("dict[str, Any]", json.loads(found["arguments"]))
                written += 1
                yield ToolRequest(f"request-{place}", found["tool"], arguments)
        if not written:
            for text in [_cited(_MARK.sub("", result).strip()) for result in results] or [
                "No tool was called."
            ]:
                yield TextPiece(f"\n{text}" if written else text)
                written += 1
        yield Spent(Usage(input_tokens=read, output_tokens=written))
        yield Ended(complete=True)


def _cited(result: str) -> str:
    """The result without the numbers of its sources, followed by the last of them."""
    numbers = _NUMBER.findall(result)
    return _NUMBER.sub("", result) + (f" [{numbers[-1]}]" if numbers else "")
