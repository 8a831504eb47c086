"""Calls tools for a turn: the ledger, the deadline, and the checks of arguments and results, once for all kinds of tools."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, TypeVar, cast

import jsonschema_rs
from pydantic import JsonValue

from responsa_server.agents.engine.config import CallLimits
from responsa_server.agents.engine.node import NodeModel, Run
from responsa_server.agents.engine.schemas import CheckedSchema
from responsa_server.agents.engine.tool_circuits import ToolCircuits
from responsa_server.domain.agents import Barrier
from responsa_server.domain.breakers import Breakers
from responsa_server.domain.events import (
    Status,
    Step,
    ToolCalled,
    ToolFault,
    ToolOutcome,
    ToolReturned,
    ToolSource,
)
from responsa_server.domain.faults import Fault
from responsa_server.domain.formatting import in_seconds
from responsa_server.domain.tools import (
    MAX_ARGUMENTS_BYTES,
    MAX_DATA_BYTES,
    MAX_RESULT_BYTES,
    MAX_SOURCES,
    MAX_SOURCES_BYTES,
    Effect,
    Tool,
    ToolCall,
    ToolCard,
    ToolResult,
)
from responsa_server.domain.turns import ToolRecord
from responsa_server.telemetry import instruments
from responsa_server.telemetry.parts import took
from responsa_server.telemetry.stages import stage
from responsa_server.text.instructing import without_instructions

UNKNOWN_CONTENT: Final = (
    "The worker was lost while it called this tool, so it is not known whether the call took "
    "effect. The tool is not called again."
)
# The faults of calls to which the other system has given no answer that shows what it has done.
_UNANSWERED: Final = frozenset(
    {
        ToolFault.UNREACHABLE,
        ToolFault.REFUSED,
        ToolFault.TIMEOUT,
        ToolFault.ARGUMENTS,
        ToolFault.MALFORMED,
        ToolFault.LOST,
    }
)
_SPENT: Final = "The limit on the cost of this answer is reached, so the tool was not called."
_PAUSED: Final = (
    "This instance was restored from a backup and is paused, so tools with effects are not called."
)
_CUT_NOTE: Final = "\n[The result was longer. The rest is left out.]"
_SCHEMA_TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")
_MOST_COMPLAINT: Final = 500
_MOST_DEPTH: Final = 32
_MOST_TITLE_BYTES: Final = 512
_MOST_URI_BYTES: Final = 2048
_MOST_DIRECT_BYTES: Final = 1500

Done = TypeVar("Done")


class CallModel(NodeModel):
    """A requested call of a tool. call_id: the model's own id for the call. signature: data that the provider requires
    together with the result. problem: why the model's arguments cannot be read, or "".
    """

    call_id: str
    tool: str
    arguments: dict[str, JsonValue]
    signature: str = ""
    problem: str = ""


class ResultModel(NodeModel):
    """The result of a call.

    id: the call's id in the log of the turn; "" if no call was made. An answer that is repeated from an earlier call
    has the id of that call. title: the name of the tool for people, or "". direct: whether the content answers by
    itself: a computation, or the short response of a system, but not the results of a search.
    """

    call: CallModel
    outcome: ToolOutcome
    content: str
    id: str = ""
    sources: tuple[ToolSource, ...] = ()
    fault: ToolFault | None = None
    title: str = ""
    direct: bool = False


@dataclass(frozen=True, slots=True)
class CallScope:
    """The documents that a question is about; see `ToolCall`."""

    collections: tuple[str, ...] = ()
    requested: bool = False
    document_filter: str = ""


@dataclass(slots=True)
class _CallPlan:
    """A requested call and what becomes of it: a result that is known before any call is made, an earlier result that
    it repeats, or a call.

    announced: whether an earlier attempt announced the call. doubtful: whether that attempt may have had an effect.
    """

    call: CallModel
    call_id: str
    tool: Tool | None = None
    result: ResultModel | None = None
    same_as: int | None = None
    announced: bool = False
    doubtful: bool = False
    title: str = ""


class ToolCaller:
    """Makes the calls that a model or a rule asks for.

    Before a call, its intent is committed to the turn's log (`ToolCalled`); afterwards, its result is (`ToolReturned`).
    A later attempt at the turn does not repeat a call that has a result. It also does not repeat a call of a tool whose
    effect is ONCE, or was ONCE when the call was made. Equal calls of a tool without effects are made only once in a
    turn.
    """

    def __init__(
        self, name: str, limits: CallLimits | None = None, circuits: ToolCircuits | None = None
    ) -> None:
        """name: the node's name, which begins the ids of its calls. circuits: None to call tools even if they have just failed."""
        self._name = name
        self._limits = limits or CallLimits()
        self._circuits = circuits or ToolCircuits(Breakers())

    async def make_calls(
        self,
        calls: Sequence[CallModel],
        before: Sequence[ResultModel],
        tools: Sequence[Tool],
        run: Run,
        scope: CallScope | None = None,
    ) -> Sequence[ResultModel]:
        """The results of the calls, in their order. A failed call is a result, never an error.

        before: the results of the turn's earlier calls. tools: the tools that may be called. scope: the documents that
        the question is about.
        """
        scope = scope or CallScope()
        plans = self._plan_calls(calls, before, {tool.card.id: tool for tool in tools}, run)
        todo = [plan for plan in plans if plan.result is None and plan.same_as is None]
        for pending in todo:
            run.emit(Status(Step.CALLING_TOOL, f"Calling {pending.title or 'a tool'}..."))
            if not pending.announced:
                effect = cast("Tool", pending.tool).effect
                run.emit(
                    ToolCalled(
                        pending.call_id, pending.call.tool, pending.call.arguments, pending.title, effect
                    )
                )
        if any(not plan.announced for plan in todo):
            committed = Barrier()
            run.emit(committed)
            await committed.passed.wait()
        deadline = asyncio.get_running_loop().time() + self._limits.seconds
        results = await _together([self._call(plan, run, deadline, scope) for plan in todo])
        for pending, result in zip(todo, results, strict=True):
            pending.result = result
        return [_result_of(plan, plans) for plan in plans]

    def _number(self, number: int, call: CallModel, run: Run) -> int:
        """The number of a call, at least this one. A run that begins again may make other calls than those of the ledger,
        which keep their numbers."""
        while (known := run.tools.get(f"{self._name}-{number}")) and known.tool and _key(known) != _key(call):
            number += 1
        return number

    def _plan_calls(
        self,
        calls: Sequence[CallModel],
        before: Sequence[ResultModel],
        tools: Mapping[str, Tool],
        run: Run,
    ) -> Sequence[_CallPlan]:
        plans = list[_CallPlan]()
        succeeded = (result for result in before if result.outcome is ToolOutcome.OK and result.id)
        answered = {_key(result.call): result for result in succeeded}
        places = dict[str, int]()
        spent = run.limits.forbids(run.spent())
        ends = (result.id.rpartition("-")[2] for result in before)
        number = max(len(before), 0, *(int(end) for end in ends if end.isdecimal()))
        for index, call in enumerate(calls):
            tool = tools.get(call.tool)
            number = self._number(number + 1, call, run)
            title = tool.card.title if tool is not None else ""
            plan = _CallPlan(call, f"{self._name}-{number}", tool, title=title)
            plans.append(plan)
            known = run.tools.get(plan.call_id)
            if known is not None and known.outcome is not None:
                plan.result = _to_model(plan, _result(known, known.outcome))
                continue
            if known is not None and (spent or not _repeatable(call, plan.tool, known)):
                result = ToolResult(ToolOutcome.UNKNOWN, UNKNOWN_CONTENT, error=ToolFault.LOST)
                run.emit(event_of_result(plan.call_id, result))
                plan.result = _to_model(plan, result)
                continue
            if plan.tool is None:
                plan.result = _not_made(plan, ToolFault.UNKNOWN_TOOL, _unknown(call.tool, tools))
                continue
            plan.announced = known is not None
            plan.doubtful = known is not None and bool(
                {plan.tool.effect, known.effect} & {Effect.IDEMPOTENT, Effect.ONCE}
            )
            if not plan.announced and (complaint := argument_problem(plan.tool.card, call)):
                plan.result = _not_made(plan, ToolFault.ARGUMENTS, complaint)
                continue
            key = _key(call)
            if plan.tool.effect is Effect.NONE and not plan.announced:
                if (earlier := answered.get(key)) is not None:
                    plan.result = earlier.model_copy(update={"call": call})
                    continue
                if key in places:
                    plan.same_as = places[key]
                    continue
            if spent:
                plan.result = _not_made(plan, ToolFault.REFUSED, _SPENT)
                continue
            if not plan.announced and len(before) + index >= self._limits.calls:
                message = f"This turn may call tools {self._limits.calls} times, and has done so. Answer with the results so far."
                plan.result = _not_made(plan, ToolFault.REFUSED, message)
                continue
            places[key] = index
        return plans

    async def _call(self, plan: _CallPlan, run: Run, deadline: float, scope: CallScope) -> ResultModel:
        tool = cast("Tool", plan.tool)
        began = False

        async def begin() -> None:
            nonlocal began
            began = True
            await run.faults.at(Fault.INSIDE_TOOL, run.turn_id)

        await run.faults.at(Fault.BEFORE_TOOL, run.turn_id)
        clock = asyncio.get_running_loop().time
        begun = clock()
        seconds = max(0.0, min(tool.timeout_seconds, deadline - begun))
        if tool.effect is not Effect.NONE and await run.pause.still():
            barred = ToolResult(ToolOutcome.ERROR, _PAUSED, error=ToolFault.PAUSED)
            run.emit(event_of_result(plan.call_id, barred))
            return _to_model(plan, barred)
        circuit = self._circuits.admit(tool.card.id)
        if isinstance(circuit, ToolResult):
            refused = _resolve_doubt(plan, circuit)
            run.emit(event_of_result(plan.call_id, refused))
            return _to_model(plan, refused)
        call = ToolCall(
            f"{run.turn_id}/{plan.call_id}",
            plan.call.arguments,
            run.caller,
            run.turn_id,
            begin,
            seconds,
            scope.collections,
            scope.requested,
            scope.document_filter,
        )
        limit = asyncio.timeout(seconds)
        recorded = stage(
            f"execute_tool {tool.card.id}",
            **{
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": tool.card.id,
                "gen_ai.tool.call.id": plan.call_id,
            },
        )
        try:
            with recorded:
                async with limit:
                    result = check_result(await tool.call(call), tool)
                recorded.add(outcome=result.outcome.value, bytes=len(result.content.encode()))
                if result.error is not None:
                    recorded.fail(result.error.value)
            circuit.record(result, clock() - begun)
        except TimeoutError:
            if not limit.expired():
                raise
            result = _late(tool, seconds, began=began)
            circuit.record(result, seconds)
        finally:
            circuit.end()
        run.spend(result.usage)
        result = _resolve_doubt(plan, result)
        waited = clock() - begun
        took(tool.card.id, waited)
        instruments.TOOL_SECONDS.add(waited, tool.card.id, result.outcome.value)
        await run.faults.at(Fault.AFTER_TOOL, run.turn_id)
        run.emit(event_of_result(plan.call_id, result))
        return _to_model(plan, result)


async def _together(work: Sequence[Awaitable[Done]]) -> Sequence[Done]:
    """The results of several calls that run side by side. If one raises an exception, the others are cancelled."""
    if len(work) == 1:
        return [await work[0]]
    tasks = [asyncio.ensure_future(coroutine) for coroutine in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _result_of(plan: _CallPlan, plans: Sequence[_CallPlan]) -> ResultModel:
    if plan.result is not None:
        return plan.result
    first = plans[cast("int", plan.same_as)].result
    return cast("ResultModel", first).model_copy(update={"call": plan.call})


def _repeatable(call: CallModel, tool: Tool | None, known: ToolRecord) -> bool:
    """Whether a call that an earlier attempt announced may be made again. The tool's declaration may have changed
    since, so both effects count: that of then, since the call may have been made, and that of now, since the repetition
    uses today's declaration.
    """
    if tool is None or Effect.ONCE in (tool.effect, known.effect):
        return False
    return not argument_problem(tool.card, call)


def _resolve_doubt(plan: _CallPlan, result: ToolResult) -> ToolResult:
    """The result of a call. If it repeats a call that may have had an effect, and has no answer either, the outcome is unknown."""
    if plan.doubtful and result.outcome is ToolOutcome.ERROR and result.error in _UNANSWERED:
        return ToolResult(ToolOutcome.UNKNOWN, UNKNOWN_CONTENT, error=ToolFault.LOST)
    return result


def _key(call: CallModel | ToolRecord) -> str:
    """A text that is equal for equal calls: the tool, and the arguments as canonical JSON."""
    return json.dumps([call.tool, call.arguments], sort_keys=True, separators=(",", ":"))


def _to_model(plan: _CallPlan, result: ToolResult) -> ResultModel:
    return ResultModel(
        call=plan.call,
        outcome=result.outcome,
        content=result.content,
        id=plan.call_id,
        sources=tuple(result.sources),
        fault=result.error,
        title=plan.title,
        direct=result.outcome is ToolOutcome.OK and is_direct(result),
    )


def _not_made(plan: _CallPlan, fault: ToolFault, content: str) -> ResultModel:
    return ResultModel(
        call=plan.call, outcome=ToolOutcome.ERROR, content=content, fault=fault, title=plan.title
    )


def _result(known: ToolRecord, outcome: ToolOutcome) -> ToolResult:
    return ToolResult(outcome, known.content, known.data, known.sources, known.fault)


def is_direct(result: ToolResult) -> bool:
    """See `ResultModel.direct`. A search returns several sources, or one that is only a part of its content. What gives
    instructions to an assistant answers nothing."""
    text = result.content
    if not result.sources:
        has_text = _says_something(result.data) if result.data is not None else bool(text.strip())
    else:
        [first, *others] = result.sources
        has_text = not others and first.passage is None and text.startswith(first.text)
    return has_text and len(text.encode()) <= _MOST_DIRECT_BYTES and without_instructions(text) == text


def _says_something(data: object) -> bool:
    """Whether data is more than empty lists and objects, which a search that found nothing returns."""
    if isinstance(data, Mapping):
        return any(map(_says_something, cast("Mapping[object, object]", data).values()))
    if isinstance(data, list | tuple):
        return bool(cast("Sequence[object]", data))
    return data is not None and data != ""


def event_of_result(call_id: str, result: ToolResult) -> ToolReturned:
    """The event of a result."""
    return ToolReturned(
        call_id, result.outcome, result.content, result.data, tuple(result.sources), result.error
    )


def _unknown(name: str, tools: Mapping[str, Tool]) -> str:
    known = ", ".join(sorted(tools))
    return f"There is no tool {_readable(name)[:64]}." + (f" The tools are: {known}." if known else "")


def _late(tool: Tool, seconds: float, *, began: bool) -> ToolResult:
    if began and tool.effect is not Effect.NONE:
        content = f"The tool did not answer within {in_seconds(seconds)}, so it is not known whether the call took effect."
        return ToolResult(ToolOutcome.UNKNOWN, content, error=ToolFault.TIMEOUT)
    content = f"The tool did not answer within {in_seconds(seconds)}."
    return ToolResult(ToolOutcome.ERROR, content, error=ToolFault.TIMEOUT)


# The checks of arguments and results.


def argument_problem(card: ToolCard, call: CallModel) -> str:
    """What is wrong with a call's arguments, as a sentence for a model; "" if they fit the card."""
    if call.problem:
        return f"The arguments cannot be read: {call.problem}."
    try:
        size = wire_bytes(call.arguments)
    except ValueError as error:
        return f"The arguments cannot be used: {error}."
    if size > MAX_ARGUMENTS_BYTES:
        return f"The arguments have {size:,} bytes; they may have {MAX_ARGUMENTS_BYTES:,}."
    if complaint := _complaint(card.parameters, call.arguments):
        return f"The arguments do not fit: {complaint}."
    return ""


def fits(schema: Mapping[str, object], value: object) -> bool:
    """Whether a value fits a JSON Schema. Nothing fits a schema that cannot be used."""
    return not _complaint(schema, value)


@dataclass(frozen=True, slots=True)
class SchemaProblem:
    """Why a JSON Schema cannot be used.

    message: a part of a sentence. path: the place in the schema. unknown, known: a name that does not exist, and those that exist.
    """

    message: str
    path: Sequence[str | int] = ()
    unknown: str = ""
    known: Sequence[str] = ()


def schema_problem(schema: Mapping[str, object]) -> SchemaProblem | None:
    """Why this is not a usable JSON Schema; None if it is."""
    try:
        _schema(json.dumps(schema, sort_keys=True))
    except jsonschema_rs.ValidationError as error:
        message, path = error.message.splitlines()[0], error.instance_path
        value = cast("object", error.instance)
        types = cast("list[object]", value) if isinstance(value, list) else [value]
        wrong = next((kind for kind in types if isinstance(kind, str) and kind not in _SCHEMA_TYPES), None)
        if path and path[-1] == "type" and wrong is not None:
            names = ", ".join(f"“{schema_kind}”" for schema_kind in _SCHEMA_TYPES)
            return SchemaProblem(f"there is no type “{wrong}”; there are {names}", path, wrong, _SCHEMA_TYPES)
        if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Format):
            why = f"“{value}” is not a regular expression that can be used; look-arounds, references to groups and large repetitions cannot"
            return SchemaProblem(why, path)
        return SchemaProblem(message, path)
    except ValueError as error:
        return SchemaProblem(f"the schema {error}".splitlines()[0])
    return None


def check_result(result: ToolResult, tool: Tool) -> ToolResult:
    """The result as the log can store it: valid text without NUL, within the limits. Data that is not valid JSON, is
    too large or does not fit the tool's schema is an error; if the tool may have had an effect, the outcome is then
    unknown.
    """
    content = _truncate(_readable(result.content), MAX_RESULT_BYTES, _CUT_NOTE)
    result = replace(result, content=content, sources=_limit_sources(result.sources))
    if result.outcome is not ToolOutcome.OK:
        return result
    try:
        size = wire_bytes(result.data)
    except ValueError as error:
        return _unusable(tool, ToolFault.MALFORMED, f"The tool's result cannot be used: {error}.")
    if size > MAX_DATA_BYTES:
        text = f"The tool's data has {size:,} bytes; it may have {MAX_DATA_BYTES:,}."
        return _unusable(tool, ToolFault.TOO_LARGE, text)
    schema = tool.card.returns
    if schema is not None and (complaint := _complaint(schema, result.data)):
        return _unusable(tool, ToolFault.SCHEMA, f"The tool's result does not fit its schema: {complaint}.")
    return result


def _unusable(tool: Tool, fault: ToolFault, content: str) -> ToolResult:
    if tool.effect is Effect.NONE:
        return ToolResult(ToolOutcome.ERROR, content, error=fault)
    return ToolResult(ToolOutcome.UNKNOWN, f"{content} The call was made.", error=fault)


def wire_bytes(value: object, depth: int = 0) -> int:
    """The size of a plain JSON value on the wire, in bytes; at least as large as the real one. Raises ValueError if the
    value is not JSON, is nested too deeply, or has text that is not valid Unicode.
    """
    if depth > _MOST_DEPTH:
        raise ValueError(f"it is nested more than {_MOST_DEPTH} levels deep")
    match value:
        case None | bool():
            return 6
        case int():
            if abs(value) >= 1 << 1023:
                raise ValueError("it has a number that is too large")
            return 12
        case float():
            if value != value or value in (float("inf"), float("-inf")):
                raise ValueError("it has a number that is not finite")
            return 12
        case str():
            try:
                return 12 + len(value.encode())
            except UnicodeEncodeError:
                raise ValueError("it has text that is not valid Unicode") from None
        case list() | tuple():
            items = cast("Sequence[object]", value)
            return 12 + sum(wire_bytes(item, depth + 1) for item in items)
        case Mapping():
            pairs = cast("Mapping[object, object]", value)
            if not all(isinstance(key, str) for key in pairs):
                raise ValueError("it has a key that is not a text")
            return 12 + sum(
                12 + wire_bytes(key, depth + 1) + wire_bytes(child, depth + 1) for key, child in pairs.items()
            )
        case _:
            raise ValueError(f"it has a value of the type {type(value).__name__}")


def _limit_sources(sources: Sequence[ToolSource]) -> Sequence[ToolSource]:
    left, selected = MAX_SOURCES_BYTES, list[ToolSource]()
    for source in sources[:MAX_SOURCES]:
        uri = _readable(source.uri)
        uri = uri if len(uri.encode()) <= _MOST_URI_BYTES else ""
        title = _truncate(_readable(source.title), _MOST_TITLE_BYTES)
        left -= len((uri + title).encode())
        if left <= 0:
            break
        text, passage = _truncate(_readable(source.text), left), source.passage
        size = len(text.encode())
        if passage is not None and (text != source.text):
            start = passage.range.start
            passage = replace(passage, range=replace(passage.range, end=start + size))
        left -= size
        selected.append(replace(source, uri=uri, title=title, text=text, passage=passage))
        if size < len(source.text.encode("utf-8", "replace")):
            break
    return tuple(selected)


def _readable(text: str) -> str:
    """The text without what the log cannot store: NUL and halves of surrogate pairs become U+FFFD."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _truncate(text: str, limit: int, note: str = "") -> str:
    """The text, cut at a character to at most this many bytes, with the note at its end if it was cut."""
    data = text.encode()
    if len(data) <= limit:
        return text
    return data[: limit - len(note.encode())].decode(errors="ignore") + note


def _complaint(schema: Mapping[str, object], value: object) -> str:
    """What does not fit a schema, with the path of the value; "" if all fits. A schema that cannot be used admits nothing."""
    try:
        checked_schema = _schema(json.dumps(schema, sort_keys=True))
    except (jsonschema_rs.ValidationError, ValueError):
        return "the tool's schema is not valid"
    try:
        mismatch = checked_schema.error(value)
    except ValueError as error:
        return f"the tool's schema {error}"
    if mismatch is None:
        return ""
    path = "/".join(map(str, mismatch.instance_path))
    message = _readable(mismatch.message.splitlines()[0])[:_MOST_COMPLAINT]
    return f"{path}: {message}" if path else message


@lru_cache(maxsize=128)
def _schema(schema: str) -> CheckedSchema:
    return CheckedSchema(json.loads(schema))
