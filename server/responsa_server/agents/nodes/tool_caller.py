"""Calls the tools that a model has requested, and never repeats a call that must not be repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from responsa_server.agents.engine.kinds import NodeKind
from responsa_server.agents.engine.node import Node, NodeModel, Policy, Run
from responsa_server.agents.nodes.prompt import CallModel, ResultModel
from responsa_server.domain.agents import Barrier
from responsa_server.domain.events import Status, Step, ToolCalled, ToolOutcome, ToolReturned
from responsa_server.domain.faults import Fault
from responsa_server.domain.tools import MAX_RESULT_BYTES, Effect, Tool, ToolResult

UNKNOWN_CONTENT: Final = "The worker was lost while it called this tool, so nobody knows whether it was done. It is not called again."
_LONGEST_SECONDS: Final = 3600.0


class CallToolInput(NodeModel):
    """The requested calls, and the results of earlier ones."""

    calls: tuple[CallModel, ...]
    results: tuple[ResultModel, ...] = ()


class CallToolOutput(NodeModel):
    """The results of all calls so far; no call is left."""

    calls: tuple[CallModel, ...]
    results: tuple[ResultModel, ...]


class CallTool(Node[CallToolInput, CallToolOutput]):
    """Makes the calls in their order. For each: send the event, wait for its commit, call the tool, send the result.

    The ledger (`Run.tools`) has the calls that earlier attempts at the turn have begun. A call with a result is not repeated; one with an unknown outcome only if
    its tool allows that. The key of a call is this node's name and the call's number in the turn. It is the same in every attempt, since a milestone keeps the
    requests before a call begins.
    """

    name = "tool"
    input_model = CallToolInput
    output_model = CallToolOutput
    effect = Effect.ONCE
    # Each tool has its own limit.
    policy = Policy(timeout_seconds=_LONGEST_SECONDS)

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools: Mapping[str, Tool] = {tool.card.id: tool for tool in tools}

    async def process(self, given: CallToolInput, run: Run) -> CallToolOutput:
        """Make the calls. A failed call is a result, never an error."""
        results = list(given.results)
        for call in given.calls:
            result = await self._result(f"{self.name}-{len(results) + 1}", call, run)
            results.append(ResultModel(call=call, outcome=result.outcome, content=result.content))
        return CallToolOutput(calls=(), results=tuple(results))

    async def _result(self, call_id: str, call: CallModel, run: Run) -> ToolResult:
        """The result of a call, made now or in an earlier attempt."""
        known = run.tools.get(call_id)
        if known is not None and known.outcome is not None:
            return ToolResult(known.outcome, known.content)
        tool = self._tools.get(call.tool)
        if tool is None:
            return ToolResult(ToolOutcome.ERROR, f"There is no tool {call.tool}.")
        if known is not None and tool.effect is Effect.ONCE:
            result = ToolResult(ToolOutcome.UNKNOWN, UNKNOWN_CONTENT)
        else:
            run.emit(Status(Step.CALLING_TOOL, "Calling a tool..."))
            if known is None:
                run.emit(ToolCalled(call_id, call.tool, call.arguments))
                committed = Barrier()
                run.emit(committed)
                await committed.passed.wait()
            result = await self._called(tool, call_id, call, run)
        run.emit(ToolReturned(call_id, result.outcome, result.content))
        return result

    async def _called(self, tool: Tool, call_id: str, call: CallModel, run: Run) -> ToolResult:
        async def sent() -> None:
            await run.faults.at(Fault.INSIDE_TOOL, run.turn_id)

        await run.faults.at(Fault.BEFORE_TOOL, run.turn_id)
        result = await tool.call(f"{run.turn_id}/{call_id}", call.arguments, sent)
        await run.faults.at(Fault.AFTER_TOOL, run.turn_id)
        # The ledger cannot store NUL. It is replaced before the cut, because the replacement is longer; the event holds the same text as the ledger.
        content = result.content.replace("\x00", "\ufffd").encode()
        return ToolResult(result.outcome, content[:MAX_RESULT_BYTES].decode(errors="ignore"))


KIND: Final = NodeKind(lambda parts, _, __: CallTool(parts.tools), CallToolInput, CallToolOutput)
