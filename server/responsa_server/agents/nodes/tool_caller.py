"""Calls the tools that a model has asked for, and none of them twice that must not be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from responsa_server.agents.engine.kinds import Kind
from responsa_server.agents.engine.node import Node, NodeModel, Policy, Run
from responsa_server.agents.nodes.prompt import CallModel, ResultModel
from responsa_server.domain.events import Status, Step, ToolCalled, ToolOutcome, ToolReturned
from responsa_server.domain.ports.agents import Barrier
from responsa_server.domain.ports.faults import Fault
from responsa_server.domain.ports.tools import MAX_RESULT_BYTES, Effect, Tool, ToolResult

UNKNOWN_CONTENT: Final = "The worker was lost while it called this tool, so nobody knows whether it was done. It is not called again."
_LONGEST_SECONDS: Final = 3600.0


class CallToolInput(NodeModel):
    """What is to be called, and what was called before."""

    calls: tuple[CallModel, ...]
    results: tuple[ResultModel, ...] = ()


class CallToolOutput(NodeModel):
    """All that was called so far; nothing is left to call."""

    calls: tuple[CallModel, ...]
    results: tuple[ResultModel, ...]


class CallTool(Node[CallToolInput, CallToolOutput]):
    """Each call in the order of asking: told, committed, done, told again.

    The ledger (`Run.tools`) says what earlier attempts at the turn have begun. A call that ended is not made again, and one whose outcome is unknown only where
    its tool allows it. A call is known there by this node's name and its number in the turn, the same in every attempt, since a milestone has kept what was
    asked for before it is begun.
    """

    name = "tool"
    input_model = CallToolInput
    output_model = CallToolOutput
    effect = Effect.ONCE
    # Each tool has a limit of its own.
    policy = Policy(timeout_seconds=_LONGEST_SECONDS)

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools: Mapping[str, Tool] = {tool.card.id: tool for tool in tools}

    async def process(self, given: CallToolInput, run: Run) -> CallToolOutput:
        """Make the calls. What becomes of one is a result, never an error."""
        results = list(given.results)
        for call in given.calls:
            result = await self._settled(f"{self.name}-{len(results) + 1}", call, run)
            results.append(ResultModel(call=call, outcome=result.outcome, content=result.content))
        return CallToolOutput(calls=(), results=tuple(results))

    async def _settled(self, call_id: str, call: CallModel, run: Run) -> ToolResult:
        """What became of a call, be it now or in an earlier attempt."""
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
        # The ledger keeps no NUL. Replaced before it is cut, as what stands for it is longer; the event tells what the ledger holds.
        content = result.content.replace("\x00", "\ufffd").encode()
        return ToolResult(result.outcome, content[:MAX_RESULT_BYTES].decode(errors="ignore"))


KIND: Final = Kind(lambda parts, _, __: CallTool(parts.tools), CallToolInput, CallToolOutput)
