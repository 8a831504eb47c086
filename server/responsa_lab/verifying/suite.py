"""The shapes of a provider's answers that the adapters rely on. Each is asked of the live provider and compared with the assumption.

A difference in what a model writes (it did not use a tool, say) is a note: models differ. A difference in how the
provider speaks is one that matters.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, cast

from pydantic import SecretStr

from responsa_lab.verifying.wiretap import ASSUMED, Heard, hear
from responsa_server.domain.errors import ResponsaError
from responsa_server.domain.models import (
    ModelError,
    ModelFault,
    ModelPrompt,
    PromptMessage,
    Role,
    Stop,
)
from responsa_server.domain.tools import ToolCard
from responsa_server.providers.embedding import HttpEmbedder
from responsa_server.providers.http_model import HttpModel, shown
from responsa_server.providers.settings import CompatibleSettings

_SECONDS: Final = 180.0
_ROOM: Final = 1024
"""The most tokens of an ordinary answer. Models that think need more than the few words they write."""
_TOO_MANY: Final = 50_000_000
# A provider that accepts _TOO_MANY tokens may let a model think; this bounds what it costs.
_SHORT_SECONDS: Final = 15.0
_THOUGHTS: Final = 4096
_WRONG: Final = "responsa-wrong-key-0000"
_NO_MODEL: Final = "responsa-no-such-model"
_WEATHER: Final = ToolCard(
    "get_weather",
    "Returns the weather of a city today. One call for each city.",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
)
_CAPITAL: Final = {
    "type": "object",
    "properties": {"capital": {"type": "string"}},
    "required": ["capital"],
    "additionalProperties": False,
}
_COUNT: Final = "Count from 1 to 60 in digits, separated by single spaces. Write nothing else."
_PREFIX: Final = "1 2 3 4 5 6 7 8 9"


class CheckVerdict(StrEnum):
    """What was found. DIFFERS: an assumption is wrong, and that matters. NOTE: something to know. SKIPPED: not asked."""

    HOLDS = "holds"
    DIFFERS = "differs"
    NOTE = "note"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    verdict: CheckVerdict
    shape: str
    text: str = ""

    def __str__(self) -> str:
        return f"{self.verdict:8}{self.shape}{f': {self.text}' if self.text else ''}"


Make = Callable[[CompatibleSettings, str], HttpModel]


@dataclass
class Provider:
    """The model under test. wire: the name of its protocol. make: makes its adapter."""

    wire: str
    server: CompatibleSettings
    model: str
    make: Make
    findings: list[Finding] = field(default_factory=list[Finding])

    async def ask(
        self,
        prompt: ModelPrompt,
        *,
        server: CompatibleSettings | None = None,
        model: str = "",
        pieces: int = 0,
        seconds: float = _SECONDS,
    ) -> Heard:
        """Ask once, without repetition. pieces: see `hear`. seconds: the most that the answer may take."""
        adapter = self.make(server or self.server, model or self.model)
        try:
            async with asyncio.timeout(seconds):
                return await hear(adapter, prompt, pieces=pieces)
        except TimeoutError:
            return Heard(error=ModelError(ModelFault.TIMEOUT, f"no end within {seconds:g} s"))
        finally:
            await adapter.close()

    def report(self, verdict: CheckVerdict, shape: str, text: str = "") -> None:
        """Add a line to the report, without keys."""
        clean = shown(" ".join(text.split()), self.server.api_key.get_secret_value())
        self.findings.append(Finding(verdict, shape, clean))

    def expected(self, shape: str, *, right: bool, assumed: str, got: str) -> None:
        """An assumption that matters."""
        if right:
            self.report(CheckVerdict.HOLDS, shape, assumed)
        else:
            self.report(CheckVerdict.DIFFERS, shape, f"assumed {assumed}, got {got}")

    def failed(self, shape: str, heard: Heard) -> bool:
        """Whether an answer failed that should not have; then it is reported."""
        if heard.error is not None:
            self.report(CheckVerdict.DIFFERS, shape, f"assumed an answer, got {heard.error}")
        return heard.error is not None


def prompt(text: str, system: str = "", tokens: int = _ROOM) -> ModelPrompt:
    """A request without anything special."""
    messages = [PromptMessage(Role.SYSTEM, system)] if system else []
    return ModelPrompt([*messages, PromptMessage(Role.USER, text)], "verify", max_tokens=tokens)


def _ending(heard: Heard) -> str:
    return (
        str(heard.error)
        if heard.error
        else f"the end {heard.end.stop.value if heard.end else 'without a reason'}"
    )


async def plain(to: Provider) -> None:
    """A streamed answer: its pieces, its end, its usage and the names in its events."""
    heard = await to.ask(prompt(_COUNT))
    if to.failed("answer", heard):
        return
    to.expected(
        "answer",
        right=heard.end is not None and heard.end.stop is Stop.END and bool(heard.text.strip()),
        assumed="a text, and the stop reason of a complete answer",
        got=f"{_ending(heard)}, text {heard.text[:60]!r}",
    )
    if "59" not in heard.text:
        to.report(CheckVerdict.NOTE, "words of the answer", f"not what was asked for: {heard.text[:60]!r}")
    pieces = len(heard.texts)
    to.expected("streaming", right=pieces > 1, assumed="text in several pieces", got=f"{pieces} piece")
    _usage(to, heard)
    _names(to, "answer", heard)


def _usage(to: Provider, heard: Heard) -> None:
    assumed, seen = ASSUMED[to.wire], ASSUMED[to.wire].read(heard.events)
    used = heard.spent.usage if heard.spent else None
    to.expected(
        "usage",
        right=used is not None and used.input_tokens > 0 and used.output_tokens > 0,
        assumed="tokens read and written, in the stream",
        got="no report" if used is None else f"{used.input_tokens} read, {used.output_tokens} written",
    )
    if used is not None:
        last = seen.usage_at[-1] if seen.usage_at else "nowhere"
        verdict = CheckVerdict.HOLDS if last == assumed.usage_at else CheckVerdict.NOTE
        text = f"assumed {assumed.usage_at}, got {last}" if verdict is CheckVerdict.NOTE else last
        to.report(verdict, "place of the usage", text)


def _names(to: Provider, shape: str, heard: Heard) -> None:
    """The stop reasons and the names in the events."""
    assumed, seen = ASSUMED[to.wire], ASSUMED[to.wire].read(heard.events)
    if strange := sorted(set(seen.stops) - assumed.stops):
        known = ", ".join(sorted(assumed.stops))
        to.report(
            CheckVerdict.DIFFERS,
            f"stop reason of {shape}",
            f"assumed one of {known}, got {', '.join(strange)}",
        )
    if seen.unknown:
        to.report(
            CheckVerdict.NOTE, f"events of {shape}", f"the adapter passes over {', '.join(seen.unknown)}"
        )


async def limit(to: Provider) -> None:
    """An answer that reaches its limit of tokens."""
    heard = await to.ask(prompt(_COUNT, tokens=16))
    if heard.error is not None and heard.error.fault is ModelFault.EMPTY:
        to.report(CheckVerdict.NOTE, "limit", "the model wrote no text within 16 tokens; it may think first")
    elif not to.failed("limit", heard):
        to.expected(
            "limit",
            right=heard.end is not None and heard.end.stop is Stop.LIMIT,
            assumed="the stop reason of an answer that reached its limit of tokens",
            got=_ending(heard),
        )
    _names(to, "limit", heard)


async def instructions(to: Provider) -> None:
    """A system prompt."""
    heard = await to.ask(prompt("Say hello.", "Whatever is asked, answer with the single word BANANA."))
    if not to.failed("system prompt", heard):
        right = "banana" in heard.text.lower()
        to.report(
            CheckVerdict.HOLDS if right else CheckVerdict.NOTE,
            "system prompt",
            "" if right else f"not obeyed: {heard.text[:80]!r}",
        )


async def temperature(to: Provider) -> None:
    """A temperature, which some models refuse."""
    to.failed("temperature", heard := await to.ask(replace(prompt("Say hello."), temperature=0.5)))
    if heard.error is None:
        to.report(CheckVerdict.HOLDS, "temperature", "accepted (or not sent)")


async def structured(to: Provider) -> None:
    """A JSON schema for the answer."""
    if not to.server.structured:
        to.report(CheckVerdict.SKIPPED, "schema", "the setting `structured` is false")
        return
    heard = await to.ask(replace(prompt("What is the capital of Norway? Answer with JSON."), schema=_CAPITAL))
    if to.failed("schema", heard):
        return
    try:
        value = json.loads(heard.text)
    except ValueError:
        value = None
    right = isinstance(value, dict) and set(cast("dict[str, object]", value)) == {"capital"}
    to.expected(
        "schema", right=right, assumed="exactly the JSON that the schema describes", got=repr(heard.text[:80])
    )


async def tools(to: Provider) -> None:
    """A call of a tool, its result sent back, and several calls at once."""
    if not to.server.tools:
        to.report(CheckVerdict.SKIPPED, "tool call", "the setting `tools` is false")
        return
    question = PromptMessage(Role.USER, "Use the tool: what is the weather in Oslo?")
    tool_prompt = ModelPrompt([question], "verify", [_WEATHER], max_tokens=_ROOM)
    heard = await to.ask(tool_prompt)
    if to.failed("tool call", heard):
        return
    _names(to, "tool call", heard)
    if not heard.requests:
        to.report(
            CheckVerdict.NOTE,
            "tool call",
            f"the model called no tool, so calls were not verified: {heard.text[:80]!r}",
        )
        return
    request, seen = heard.requests[0], ASSUMED[to.wire].read(heard.events)
    to.expected(
        "tool call",
        right=request.tool == _WEATHER.id
        and not request.problem
        and set(request.arguments) == {"city"}
        and bool(request.call_id),
        assumed="the tool's name, an id and arguments that fit its schema",
        got=f"{request.tool}, id {request.call_id!r}, {dict(request.arguments)}{f', {request.problem}' if request.problem else ''}",
    )
    to.report(
        CheckVerdict.NOTE, "arguments", f"in {seen.fragments} fragments, stop reason {', '.join(seen.stops)}"
    )
    results = [
        PromptMessage(Role.TOOL, "17 degrees, wind from the west", answers=each.call_id)
        for each in heard.requests
    ]
    spoken = PromptMessage(Role.ASSISTANT, heard.text, heard.requests)
    after = await to.ask(replace(tool_prompt, messages=[question, spoken, *results]))
    if not to.failed("tool result", after):
        right = "17" in after.text
        text = (
            "the answer uses the result"
            if right
            else f"the answer does not use the result: {after.text[:80]!r}"
        )
        to.report(CheckVerdict.HOLDS if right else CheckVerdict.NOTE, "tool result", text)
    await _several(to, tool_prompt)


async def _several(to: Provider, tool_prompt: ModelPrompt) -> None:
    both = PromptMessage(Role.USER, "Use the tool twice, at once: what is the weather in Oslo and in Lima?")
    heard = await to.ask(replace(tool_prompt, messages=[both]))
    if to.failed("several tool calls", heard):
        return
    ids = {request.call_id for request in heard.requests}
    if len(heard.requests) < 2:
        to.report(
            CheckVerdict.NOTE,
            "several tool calls",
            f"the reply requests only {len(heard.requests)} of the two calls",
        )
        return
    fit = all(set(request.arguments) == {"city"} for request in heard.requests)
    to.expected(
        "several tool calls",
        right=len(ids) == len(heard.requests) and fit,
        assumed="each call has its own id and complete arguments",
        got=str([(request.call_id, dict(request.arguments), request.problem) for request in heard.requests]),
    )


async def schema_and_tools(to: Provider) -> None:
    """A schema and tools in one request, which is not documented everywhere."""
    if not (to.server.structured and to.server.tools):
        return
    both = replace(
        prompt("What is the capital of Norway? Answer with JSON."), schema=_CAPITAL, tools=[_WEATHER]
    )
    heard = await to.ask(both)
    text = f"refused: {heard.error}" if heard.error else "accepted"
    to.report(CheckVerdict.NOTE, "schema with tools", text)


async def prefix(to: Provider) -> None:
    """An answer that the model continues."""
    adapter = to.make(to.server, to.model)
    takes = adapter.takes_prefix
    await adapter.close()
    if not takes:
        to.report(CheckVerdict.SKIPPED, "prefix", "the adapter uses no prefix for this model")
        return
    heard = await to.ask(replace(prompt(_COUNT), prefix=_PREFIX))
    if to.failed("prefix", heard):
        return
    said = heard.text.strip()
    to.expected(
        "prefix",
        right=not said.startswith(_PREFIX[:5]),
        assumed="the text after the prefix, and not the prefix again",
        got=repr(said[:60]),
    )
    if not said.startswith("10"):
        to.report(CheckVerdict.NOTE, "words after the prefix", f"not what was asked for: {said[:60]!r}")


async def errors(to: Provider) -> None:
    """A wrong key, an unknown model and a limit that no model has."""
    short = prompt("Say hello.", tokens=16)
    if to.server.api_key.get_secret_value():
        wrong = to.server.model_copy(update={"api_key": SecretStr(_WRONG)})
        _refused(to, "wrong key", await to.ask(short, server=wrong), ModelFault.CREDENTIAL)
    else:
        to.report(CheckVerdict.SKIPPED, "wrong key", "the server needs no key")
    heard = await to.ask(short, model=_NO_MODEL)
    if heard.error is None:
        to.report(
            CheckVerdict.NOTE,
            "unknown model",
            "the server answered although it has no such model, so it ignores the model's name",
        )
    else:
        _refused(to, "unknown model", heard, ModelFault.REFUSED)
    # A request that is refused costs nothing; one with a long prompt that is accepted would cost much.
    heard = await to.ask(replace(short, max_tokens=_TOO_MANY), pieces=1, seconds=_SHORT_SECONDS)
    if heard.error is None or heard.error.fault is ModelFault.TIMEOUT:
        to.report(
            CheckVerdict.NOTE, "limit too high", "accepted; a request that is too long was not provoked"
        )
    else:
        _refused(to, "limit too high", heard, ModelFault.REFUSED)
    to.report(
        CheckVerdict.SKIPPED, "rate limit", "not provoked; calls of the server log it as model_call_failed"
    )


def _refused(to: Provider, shape: str, heard: Heard, fault: ModelFault) -> None:
    error = heard.error
    to.expected(
        shape,
        right=error is not None and error.fault is fault and not error.passing,
        assumed=f"the fault {fault.value}, without a retry",
        got=f"an answer, {heard.text[:40]!r}" if error is None else f"{error}",
    )
    if error is not None:
        to.report(CheckVerdict.NOTE, f"words of {shape}", f"HTTP {error.status}, {error.kind or 'no code'}")


async def cut(to: Provider) -> None:
    """An answer that is broken off by us after its first pieces."""
    heard = await to.ask(prompt(_COUNT), pieces=2)
    if to.failed("cut", heard):
        return
    used = heard.spent.usage if heard.spent else None
    told = "no usage" if used is None else f"{used.input_tokens} tokens read and {used.output_tokens} written"
    to.report(
        CheckVerdict.NOTE,
        "cut",
        f"after {len(heard.texts)} pieces, {told} had been reported; the rest is estimated. The provider's account shows what is billed",
    )


SHAPES: Final[Sequence[tuple[Callable[[Provider], Awaitable[None]], int, int]]] = (
    (plain, 1, _ROOM),
    (limit, 1, 16),
    (instructions, 1, _ROOM),
    (temperature, 1, _ROOM),
    (structured, 1, _ROOM),
    (tools, 3, 3 * _ROOM),
    (schema_and_tools, 1, _ROOM),
    (prefix, 1, _ROOM),
    (errors, 3, 2 * 16 + _THOUGHTS),
    (cut, 1, _ROOM),
)
"""The shapes, each with the most requests and the most tokens that models may write."""
PROMPT_TOKENS: Final = 400
"""More than any of the prompts has."""


async def verify(to: Provider, tell: Callable[[Finding], None]) -> bool:
    """Ask for all shapes and report each finding at once. Returns whether nothing differs that matters."""
    for shape, _, _ in SHAPES:
        before = len(to.findings)
        await shape(to)
        for finding in to.findings[before:]:
            tell(finding)
        if shape is plain and to.findings[0].verdict is CheckVerdict.DIFFERS and len(to.findings) == 1:
            break  # the provider cannot be asked at all
    return all(finding.verdict is not CheckVerdict.DIFFERS for finding in to.findings)


async def verify_embeddings(embedder: HttpEmbedder, key: str, tell: Callable[[Finding], None]) -> bool:
    """Ask for vectors and report what differs. Returns whether nothing does."""
    texts = ["The cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates rose in March."]
    try:
        await embedder.prepare()
        vectors = await embedder.embed(texts)
        again = await embedder.embed(texts[::-1])
    except ResponsaError as error:
        tell(Finding(CheckVerdict.DIFFERS, "vectors", shown(f"assumed vectors, got {error.message}", key)))
        return False
    tell(
        Finding(
            CheckVerdict.HOLDS,
            "vectors",
            f"{len(texts)} of {embedder.dimensions} dimensions, finite and not zero",
        )
    )
    # The same text need not have exactly the same vector, but it must not be that of another text.
    order = all(float(vectors[place] @ again[2 - place]) > 0.99 for place in range(3))
    tell(
        Finding(
            CheckVerdict.HOLDS if order else CheckVerdict.DIFFERS,
            "order",
            "the vectors come in the order of the texts"
            if order
            else "assumed the order of the texts, got another order",
        )
    )
    near = float(vectors[0] @ vectors[1]) > float(vectors[0] @ vectors[2])
    tell(
        Finding(
            CheckVerdict.HOLDS if near else CheckVerdict.NOTE,
            "meaning",
            "the vectors of texts with the same meaning are nearer to each other than other vectors"
            if near
            else "the vectors of texts with the same meaning are not nearer to each other than other vectors",
        )
    )
    return order
