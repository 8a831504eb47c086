"""The scripted model without a server: the same words at the same pace, told in the process that asks. For measuring what a turn costs without its model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from time import monotonic

from responsa_lab.testing.script import (
    TOOL_CALL_TOKENS,
    TOOLS,
    answer_tokens,
    opening_tokens,
    parse,
    read_tokens,
    tool_arguments,
)
from responsa_server.domain.events import Usage
from responsa_server.domain.ports.models import (
    Ended,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
    Role,
    Spent,
    TextPiece,
    ToolRequest,
)
from responsa_server.domain.ports.tools import Effect


class ScriptedModel:
    """A `ChatModel` that says what `ModelServer` says, chunk by chunk, over no socket."""

    name = "scripted"

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        """See `ChatModel.stream`."""
        script = parse([one.text for one in prompt.messages if one.role is Role.USER][-1])
        decides = bool(prompt.tools)
        read, written = read_tokens(prompt.messages), 0
        yield Spent(Usage(input_tokens=read))
        due = monotonic() + script.first_ms / 1000
        for place, text in enumerate(opening_tokens(script) if decides else answer_tokens(script)):
            if not decides and place == script.fail_after:
                raise ModelError(ModelFault.CUT, "as the script says")
            if not decides and place == script.stall_after:
                await asyncio.Event().wait()
            # Also without a pause others get their turn, as they do while a socket is read.
            await asyncio.sleep(max(0.0, due - monotonic()))
            due += script.pace_ms / 1000
            written += 1
            yield TextPiece(text)
        if decides and script.tool is not Effect.NONE:
            written += TOOL_CALL_TOKENS
            yield ToolRequest("call-1", TOOLS[script.tool], tool_arguments(script))
        yield Spent(Usage(input_tokens=read, output_tokens=written))
        yield Ended(complete=True)
