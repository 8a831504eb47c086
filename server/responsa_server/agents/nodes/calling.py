"""Calls the tools that a model requests."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from responsa_server.agents.engine.calling import CallModel, CallScope, ResultModel, ToolCaller
from responsa_server.agents.engine.citations import found_sources
from responsa_server.agents.engine.failed_tools import failed_calls
from responsa_server.agents.engine.kinds import NodeKind, NodeParts
from responsa_server.agents.engine.node import Node, NodeModel, Policy, Run
from responsa_server.agents.engine.tool_circuits import ToolCircuits
from responsa_server.domain.tools import Effect

# The calls have their own deadline.
_LONGEST_SECONDS: Final = 3600.0


class CallToolInput(NodeModel):
    """The requested calls, the results of earlier calls, and the documents that the question is about."""

    calls: tuple[CallModel, ...]
    results: tuple[ResultModel, ...] = ()
    collections: tuple[str, ...] = ()
    document_filter: str = ""


class CallToolOutput(NodeModel):
    """The results of all calls so far; no call is left.

    direct: how many results answer by themselves. found: how many sources the others have. failed: how many calls failed.
    """

    calls: tuple[CallModel, ...]
    results: tuple[ResultModel, ...]
    direct: int = Field(ge=0)
    found: int = Field(ge=0)
    failed: int = Field(ge=0)


class CallTool(Node[CallToolInput, CallToolOutput]):
    """Makes the requested calls side by side, and adds their results in the order of the requests.

    The key of a call consists of this node's name and the call's number in the turn. The key is the same in every attempt, because a milestone stores
    the requested calls before the first call begins.
    """

    name = "tool"
    input_model = CallToolInput
    output_model = CallToolOutput
    effect = Effect.ONCE
    policy = Policy(timeout_seconds=_LONGEST_SECONDS)

    def __init__(self, parts: NodeParts, name: str = "tool") -> None:
        self.name = name
        self._parts = parts

    async def process(self, given: CallToolInput, run: Run) -> CallToolOutput:
        """Make the calls. A failed call is a result, never an error."""
        circuits = ToolCircuits(
            self._parts.breakers, run.who.tenant_id, str(run.who.user_id), self._parts.tools.endpoint
        )
        caller = ToolCaller(self.name, self._parts.traits.calls, circuits)
        scope = CallScope(
            given.collections or self._parts.traits.retrieval.collections,
            bool(given.collections),
            given.document_filter,
        )
        made = await caller.made(given.calls, given.results, self._parts.granted(run.who), run, scope)
        results = (*given.results, *made)
        return CallToolOutput(
            calls=(),
            results=results,
            direct=sum(result.direct for result in results),
            found=len(found_sources([result for result in results if not result.direct])),
            failed=len(failed_calls(results)),
        )


TOOL_CALLER: Final = NodeKind(lambda parts, _, name: CallTool(parts, name), CallToolInput, CallToolOutput)
