"""The kind `langchain`: a tool of LangChain, by the import path in its declaration. It runs in the server's process, so
it is as trusted as the server.

The tool's interface is all that is used, so the server does not import LangChain itself.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pkgutil import resolve_name
from typing import Any, Final, Protocol, cast, runtime_checkable

from pydantic import BaseModel, Field

from responsa_server.domain.tools import (
    Declaration,
    Effect,
    Tool,
    ToolCall,
    ToolCard,
    ToolFault,
    ToolOutcome,
    ToolResult,
    ToolSource,
    ToolUnfit,
)
from responsa_server.tools.kinds import ToolContext, ToolKind, ToolOptions, describe

_MOST_MESSAGE: Final = 500
_LOGGER: Final = logging.getLogger(__name__)


class LangChainOptions(ToolOptions):
    """The keys of a declaration with `kind = "langchain"`."""

    tool: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description=(
            "The import path of an object that is a LangChain tool, such as "
            "`acme.tools:find_invoice`. Its package must be installed where the server runs."
        ),
    )


@runtime_checkable
class LangChainTool(Protocol):
    """What is used of LangChain's `BaseTool`."""

    description: str

    @property
    def tool_call_schema(self) -> Any:
        """The model, or the JSON Schema, of the arguments."""
        ...

    async def ainvoke(self, input: dict[str, Any]) -> Any:  # noqa: A002 # LangChain's name
        ...


class ImportedTool:
    """Implements `Tool` by a tool of LangChain."""

    def __init__(self, declaration: Declaration, imported: LangChainTool, parts: ToolContext) -> None:
        schema: object = imported.tool_call_schema
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            schema = schema.model_json_schema()
        if not isinstance(schema, Mapping):
            raise ToolUnfit("its arguments have no JSON Schema; give the tool an args_schema", ("tool",))
        description = describe(KIND, declaration, imported.description)
        parameters = cast("Mapping[str, object]", schema)
        self.card = ToolCard(declaration.name, description, parameters, declaration.title)
        self.effect = declaration.effect or Effect.ONCE
        self.timeout_seconds = declaration.timeout_seconds
        self._imported = imported
        self._clock = parts.clock

    async def close(self) -> None:
        pass

    async def call(self, call: ToolCall) -> ToolResult:
        """See `Tool.call`. A blocking tool runs in a thread, which goes on when the call's time is over."""
        await call.sent()
        try:
            result = await self._imported.ainvoke(dict(call.arguments))
            text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)
        except Exception as error:  # a foreign tool raises anything; a call never does
            kind = type(error).__name__
            _LOGGER.warning("LangChain tool %s: %s", self.card.id, kind)
            # A ToolException is meant for the model; other errors may hold anything, and may come after the act.
            if any(base.__name__ == "ToolException" for base in type(error).__mro__):
                return ToolResult(ToolOutcome.ERROR, str(error)[:_MOST_MESSAGE], error=ToolFault.STATUS)
            message = f"The tool failed ({kind})."
            if self.effect is not Effect.NONE:
                message += " It is not known whether the call took effect."
                return ToolResult(ToolOutcome.UNKNOWN, message, error=ToolFault.STATUS)
            return ToolResult(ToolOutcome.ERROR, message, error=ToolFault.STATUS)
        source = ToolSource("", self.card.title or self.card.id, self._clock(), text)
        sources = [source] if self.effect is Effect.NONE and text.strip() else []
        return ToolResult(ToolOutcome.OK, text, None, sources)


def _make(declaration: Declaration, options: LangChainOptions, parts: ToolContext) -> Sequence[Tool]:
    if declaration.effect is Effect.IDEMPOTENT:
        raise ToolUnfit(
            (
                'effect = "idempotent" needs the key of the call, which LangChain tools do not get; use '
                '"once", or "none" if the tool only reads'
            ),
            ("effect",),
        )
    try:
        imported: object = resolve_name(options.tool)
    except Exception as error:
        raise ToolUnfit(
            f"{options.tool} cannot be imported ({type(error).__name__}); correct the path, or install its package where the server runs",
            ("tool",),
        ) from error
    if not isinstance(imported, LangChainTool):
        raise ToolUnfit(f"{options.tool} is not a LangChain tool; name the object that is one", ("tool",))
    return [ImportedTool(declaration, imported, parts)]


KIND: Final = ToolKind(
    LangChainOptions, _make, effect=Effect.ONCE, description="A tool of LangChain, by its import path."
)
