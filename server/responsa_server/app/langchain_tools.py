"""The declared tools as tools of LangChain, for agents in other programs. It needs `pip install "responsa[langchain]"`, and no server.

    async with declared_tools(Path("tools")) as tools:
        agent = create_agent(model, tools)

The rules for declarations, connections, arguments and results hold as in the server. Only the ledger is missing: nobody
knows of an earlier call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from langchain_core.tools import BaseTool, StructuredTool, ToolException
from uuid_utils.compat import uuid7

from responsa_server.agents.engine.calling import CallModel, argument_problem, check_result
from responsa_server.app.tools import read_secret, tools_of
from responsa_server.domain.events import ToolOutcome
from responsa_server.domain.formatting import in_seconds
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.tools import Tool, ToolCall, ToolResult
from responsa_server.outbound.connector import Connector
from responsa_server.tools.kinds import ToolContext

_DOCUMENTS: Final = "knowledge_search"


@asynccontextmanager
async def declared_tools(folder: Path, tenant: str = "default") -> AsyncGenerator[Sequence[BaseTool]]:
    """The tools of a folder of declarations. Only a server has documents, so tools that search them are left out.

    A tool's text is what a model reads; its artifact is the `ToolResult` with data and sources. A call that fails is a
    text too, in a message with the status "error"; the text says if the call may have had an effect.

    Args:
        folder: the folder with the files `NAME.toml`.
        tenant: the tenant of the calls. Their user is nobody.

    Raises:
        ValueError: a declaration has a mistake, or a tool lacks something.
    """
    connector = Connector()
    parts = ToolContext(secret=lambda source: read_secret(source, folder), connector=connector)
    tools = tools_of(folder, parts, report=lambda _: None)
    try:
        await asyncio.to_thread(tools.reload)
        entries = [entry for entry in tools.entries() if entry.kind != _DOCUMENTS]
        for entry in entries:
            for problem in entry.problems:
                raise ValueError(f"{problem.file}: {problem.message}")
        who = Principal(tenant, UUID(int=0), Role.ADMIN, "turn")
        names = [entry.card.id for entry in entries]
        yield [_export(tool, who) for tool in tools.list_granted(names, who, "") if tool.card.id in names]
    finally:
        await tools.close()
        await connector.close()


def _export(tool: Tool, caller: Principal) -> BaseTool:
    async def call(**arguments: Any) -> tuple[str, ToolResult]:
        key = str(uuid7())
        if complaint := argument_problem(
            tool.card, CallModel(call_id=key, tool=tool.card.id, arguments=arguments)
        ):
            raise ToolException(complaint)
        try:
            async with asyncio.timeout(tool.timeout_seconds):
                answer = await tool.call(ToolCall(key, arguments, caller, seconds=tool.timeout_seconds))
        except TimeoutError:
            raise ToolException(
                f"The tool did not answer within {in_seconds(tool.timeout_seconds)}. If the tool changes "
                "something, it is not known whether the call took effect."
            ) from None
        result = check_result(answer, tool)
        if result.outcome is not ToolOutcome.OK:
            raise ToolException(result.content)
        return result.content, result

    return StructuredTool(
        name=tool.card.id,
        description=tool.card.description,
        args_schema=dict(tool.card.parameters),
        coroutine=call,
        response_format="content_and_artifact",
        handle_tool_error=True,
    )
