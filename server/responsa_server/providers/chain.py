"""The layers around a model: the limits of its key, retries, and the chain that calls the next model if a model fails
before or within its answer.

Retries are our own code, because retry libraries swallow the exception that closes a generator, and do not accept a clock.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import inf
from typing import Final

import structlog
from aiolimiter import AsyncLimiter

from responsa_server.domain.breakers import Breakers, CircuitOpen, Probe
from responsa_server.domain.errors import Exhausted
from responsa_server.domain.models import (
    LOADING_SECONDS,
    MARK,
    MARK_BEGUN,
    Alive,
    ChatModel,
    Ended,
    Fit,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
    PriceTable,
    Seam,
    Spent,
    Stop,
    Switched,
    TextPiece,
    ToolRequest,
    Withdrawn,
)
from responsa_server.domain.sharing import Scheduler
from responsa_server.providers.learned import Learned
from responsa_server.telemetry import instruments
from responsa_server.telemetry.models import model_attributes
from responsa_server.telemetry.parts import took
from responsa_server.telemetry.stages import IDLE, AnyStage, SpanKind, stage

_LONG_SECONDS: Final = 5.0
_MOST_STRIKES: Final = 2
# Patterns for the beginning of an answer that has no word yet, only whitespace or citation marks. An answer may begin with at most
# _MOST_HELD such characters.
_BLANK: Final = re.compile(r"\s*")
_MARKS: Final = re.compile(rf"(?:\s++|{MARK})*+(?:{MARK_BEGUN})?")
_MOST_HELD: Final = 1024
_FINISH_REASONS: Final = {Stop.END: "stop", Stop.LIMIT: "length", Stop.UNSAFE: "content_filter"}
"""The words of OpenTelemetry's conventions."""
# Failures in mid-answer that are often over at once: a lost connection, and a server that restarts.
_MOMENTARY: Final = frozenset({ModelFault.CUT, ModelFault.OVERLOADED})
# How long the beginning of a text that takes an answer up is held back at most, from its first piece, while it is unknown whether it fits.
_SEAM_SECONDS: Final = 0.12


class KeyLimits:
    """The limits for the requests of one key, shared by all models that use the key. Calls beyond the limits wait here
    for their turns, because the provider would refuse them.
    """

    def __init__(self, concurrent: int, a_minute: int, wait_seconds: float) -> None:
        """concurrent: the maximum number of answers at a time. a_minute: the maximum number of requests per minute; 0
        means no limit. wait_seconds: the maximum time that a request waits.
        """
        self._places = Scheduler("model keys", concurrent)
        self._rate = AsyncLimiter(a_minute, 60) if a_minute else None
        self._wait_seconds = wait_seconds

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None, None]:
        """Waits for a place, and holds it. Raises ModelError (OVERLOADED, RATE_LIMITED) if no place becomes free in
        time. This error is not retried."""
        fault = ModelFault.OVERLOADED
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._wait_seconds):
                    await stack.enter_async_context(self._places.turn())
                    if self._rate is not None:
                        fault = ModelFault.RATE_LIMITED
                        await self._rate.acquire()
            except (TimeoutError, Exhausted):
                raise ModelError(
                    fault, f"the limits of this key allowed no call within {self._wait_seconds:g} s"
                ) from None
            yield


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """retries: the number of tries after the first try. The pause with the index n (from 0) is a random time of at most
    first_seconds × 2ⁿ and at most longest_seconds ("full jitter").

    If the provider asks for a pause of up to most_asked_seconds, that time is added to the pause. If the provider asks
    for a longer pause, or if the pause would outlast the prompt's patience, the error is raised at once, so that
    another model can be called.
    """

    retries: int
    first_seconds: float = 0.5
    longest_seconds: float = 8.0
    most_asked_seconds: float = 30.0

    def pause(self, error: ModelError, tried: int, share: float) -> float | None:
        """The number of seconds to wait after `tried` tries before the next try; None if there is no further try.
        share: a random number from 0 to 1."""
        least = error.retry_after or 0.0
        if not error.passing or tried > self.retries or least > self.most_asked_seconds:
            return None
        return least + share * min(self.longest_seconds, self.first_seconds * 2 ** (tried - 1))


class Retrying:
    """A `ChatModel` that calls another `ChatModel` up to 1 + retries times. Once it has sent text or a tool request, it raises
    the next error instead of trying again. It logs each error that leads to a retry.
    """

    def __init__(
        self,
        model: ChatModel,
        policy: RetryPolicy,
        *,
        called: str = "",
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """called: the name `provider:model` for the log."""
        self._model = model
        self._called = called or model.name
        self._policy = policy
        self._sleep = sleep
        self._chance = chance

    @property
    def name(self) -> str:
        return self._model.name

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        """See `ChatModel.stream`. The usage of the last try includes the usage of the failed tries."""
        before: Spent | None = None
        tried = 0
        clock = asyncio.get_running_loop().time
        until = inf if prompt.patience_seconds is None else clock() + prompt.patience_seconds
        while True:
            wrote, latest = False, before
            tried += 1
            try:
                async with aclosing(self._model.stream(prompt)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, Spent):
                            latest = piece = together(before, piece)
                        else:
                            wrote |= not isinstance(piece, Alive)
                        yield piece
                return
            except ModelError as error:
                error.tried = tried
                pause = self._policy.pause(error, tried, self._chance())
                if wrote or pause is None or clock() + pause >= until:
                    raise
                log_failed(self._called, error)
            before = latest
            await self._sleep(pause)


def log_failed(model: str, error: ModelError, event: str = "model_call_failed") -> None:
    """Logs a failed try with its cause and what came instead of an answer, without keys. model: the name `provider:model`.
    event: the name of the failure in the log."""
    structlog.get_logger("models").warning(
        event,
        model=model,
        cause=error.fault.value,
        http_status=error.status or None,
        received=error.received or None,
        provider_error=error.kind or None,
        attempt=error.tried,
    )


def together(before: Spent | None, now: Spent) -> Spent:
    """The sum of the usage in `before` and `now`, with the model of `now`."""
    if before is None:
        return now
    return Spent(
        before.usage + now.usage,
        now.model,
        before.cached_input_tokens + now.cached_input_tokens,
        before.cache_write_tokens + now.cache_write_tokens,
    )


@dataclass(frozen=True, slots=True)
class ChainModel:
    """A model in a chain.

    name: the name `provider:model`. key: the name of the provider; models with the same key can be barred together.
    takes_prefix: whether the model continues a prompt's `prefix`. small: whether the model is small; see
    `Models.small`.
    """

    name: str
    key: str
    model: ChatModel
    takes_prefix: bool = False
    small: bool = False


class ModelCircuits:
    """Which failures of models open the circuits of `Breakers`. All chains share this object.

    If the provider rejects a key, all models with this key are barred at once. If the key is valid but may not use the
    model, only the model is barred. A model is also barred after two failures in a row that were timeouts, or failures
    to reach the server after a long wait. A server that refuses connections at once is not barred, because such a call
    costs no time and the server may be back the next moment.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, learned: Learned | None = None) -> None:
        """learned: counts the failures in a row."""
        self.breakers = Breakers(clock)
        self.learned: Final = learned or Learned()

    def admit(self, member: ChainModel) -> ModelFault | Sequence[str]:
        """The circuits that the call probes; or, if the model is barred, the fault that caused it."""
        probed: list[str] = []
        for name in _circuits(member):
            outcome = self.breakers.admit(name)
            if isinstance(outcome, CircuitOpen):
                self.release(probed)
                return ModelFault(outcome.cause)
            if outcome is Probe.PROBE:
                probed.append(name)
        return probed

    def release(self, probed: Sequence[str]) -> None:
        """A call has ended. Probes whose outcome is not known may be repeated."""
        for name in probed:
            self.breakers.end_probe(name)

    def note_failure(self, member: ChainModel, error: ModelError, waited_seconds: float) -> None:
        """Records a failed call. waited_seconds: the time from the call to its failure."""
        key, model = _circuits(member)
        if error.fault is ModelFault.CREDENTIAL:
            self.breakers.open(model if error.own else key, error.fault)
        elif error.fault is ModelFault.TIMEOUT or (
            error.fault is ModelFault.UNREACHABLE and waited_seconds >= _LONG_SECONDS
        ):
            self.breakers.record_failure(model, error.fault, _MOST_STRIKES)

    def note_answer(self, member: ChainModel) -> None:
        """Records that the answer to a call has begun."""
        self.learned.note_call(member.name, None)
        for name in _circuits(member):
            self.breakers.record_success(name)


def _circuits(member: ChainModel) -> tuple[str, str]:
    """The circuits of a model: that of its key, and its own."""
    return f"key:{member.key}", f"model:{member.name}"


class _Misfit(Exception):
    pass


@dataclass(slots=True)
class _ModelCall:
    """A call of one model. members: the number of models that are left, among which patience is divided. keep: how many
    characters of the answer stay when the model's first text is sent. prefix: whether the model continues the text itself.
    seam: compares the text with what stands; None for a text from the answer's beginning. wrote: whether the model has sent
    a word or a tool request. placed: whether its first text was sent on.
    """

    prompt: ModelPrompt
    patience_seconds: float
    members: int
    keep: int = 0
    prefix: bool = False
    seam: Seam | None = None
    wrote: bool = False
    placed: bool = False

    def silence_seconds(self) -> float | None:
        """For how long the model may be silent within its answer."""
        seconds = self.prompt.silence_seconds()
        return None if seconds is None else seconds / self.members


class _ChainAnswer:
    """The answer of a chain, which several models may write.

    open: whether another model may take the answer up. begun: whether some of its text stands.
    """

    def __init__(self, prompt: ModelPrompt) -> None:
        self._prompt = prompt
        self._clock = asyncio.get_running_loop().time
        self._until = self._deadline(prompt)
        self._text = ""
        # Whether text has been sent, so that prompts come from the takeover; and whether the next call must not have a prefix.
        self._taken_up = self._no_prefix = False
        self.open = True

    @property
    def begun(self) -> bool:
        return bool(self._text)

    def call(
        self, member: ChainModel, most_seconds: float, members: int, *, whole: bool = False
    ) -> _ModelCall | None:
        """The next call; None if the budget allows no further call. members: the number of models that are left, among
        which the patience is divided. whole: whether the model must write the whole answer.
        """
        prompt, takeover = self._prompt, self._prompt.takeover
        keep, prefix, seam = 0, False, None
        if takeover is not None and self._taken_up:
            if self._text and not (whole or member.small):
                prefix = member.takes_prefix and not self._no_prefix
                keep = takeover.keeps(self._text, prefix=prefix)
                prefix = prefix and keep > 0
            resumed = takeover.prompt(self._text[:keep], prefix=prefix)
            if resumed is None:
                return None
            prompt, seam = resumed, takeover.seam(self._text[:keep]) if keep else None
            self._until = self._deadline(prompt)
        patience = most_seconds
        if self._until is not None:
            # The remaining models share the remaining time equally. The last model gets all of the time that is left.
            patience = min(patience, max(0.0, self._until - self._clock()) / members)
        return _ModelCall(prompt, patience, members, keep, prefix, seam)

    def withdraw(self, keep: int, *, again: bool) -> Withdrawn:
        """Keep only the first `keep` characters of the text. again: whether the model is called once more."""
        self._text = self._text[:keep]
        return Withdrawn(keep, again)

    def again(self) -> Withdrawn:
        """The model that wrote last is called once more; all of the text stays for now."""
        return Withdrawn(len(self._text), again=True)

    def note_failure(self, call: _ModelCall, error: ModelError) -> bool:
        """Take note of a call that has failed. Returns whether the same model must be called once more, without a prefix."""
        if call.wrote and self._prompt.takeover is None:
            self.open = False
        self._taken_up |= self.begun
        # The server may not accept a prefix, or the model may have nothing to add to the last sentence.
        self._no_prefix = (
            call.prefix and not call.wrote and error.fault in (ModelFault.REFUSED, ModelFault.EMPTY)
        )
        return self._no_prefix

    async def fit(
        self, call: _ModelCall, pieces: AsyncGenerator[ModelPiece, None]
    ) -> AsyncGenerator[ModelPiece, None]:
        """The pieces, after what is withdrawn for them. Raises _Misfit."""
        if call.seam is not None:
            async with aclosing(self._compare(call, call.seam, pieces)) as compared:
                async for part in compared:
                    yield part
            return
        async for piece in pieces:
            for part in self._send(call, piece):
                yield part

    async def _compare(
        self, call: _ModelCall, seam: Seam, pieces: AsyncGenerator[ModelPiece, None]
    ) -> AsyncGenerator[ModelPiece, None]:
        comes, sent, anew, fit = "", False, False, Fit.OPEN
        async with aclosing(_pace(pieces)) as paced:
            async for piece in paced:
                if isinstance(piece, Withdrawn):  # what was compared was reasoning
                    raise _Misfit
                text = piece.text if isinstance(piece, TextPiece) else ""
                comes += text
                if text and not anew:
                    fit = seam.add(text)
                elif isinstance(piece, Ended) and comes and not anew and piece.stop is not Stop.UNSAFE:
                    fit = seam.end()
                if fit is Fit.RESTARTS and not (anew or sent):
                    anew, call.keep = True, 0
                if fit is Fit.REPEATS or (fit is Fit.RESTARTS and not anew):
                    raise _Misfit
                if comes and not sent and (fit is not Fit.OPEN or piece is None):
                    sent, text = True, comes
                if text and sent:
                    for part in self._send(call, TextPiece(text)):
                        yield part
                if piece is not None and not isinstance(piece, TextPiece):
                    for part in self._send(call, piece):
                        yield part

    def _send(self, call: _ModelCall, piece: ModelPiece) -> Iterator[ModelPiece]:
        """A piece, after the withdrawal of what does not stay before the first text of a call."""
        if isinstance(piece, Withdrawn):
            call.placed = False
            yield self.withdraw(call.keep, again=False)
            return
        text = isinstance(piece, TextPiece)
        asks = isinstance(piece, ToolRequest)
        first = not call.placed and (
            text or asks or (isinstance(piece, Ended) and piece.stop is not Stop.UNSAFE)
        )
        if first:
            call.placed = True
            if call.keep < len(self._text):
                self._text = self._text[: call.keep]
                yield Withdrawn(call.keep)
        if isinstance(piece, TextPiece):
            if first:
                piece = replace(piece, text=_join(self._text, piece.text, prefix=call.prefix))
            self._text += piece.text
        self.open = self.open and not asks
        yield piece

    def _deadline(self, prompt: ModelPrompt) -> float | None:
        return None if prompt.patience_seconds is None else self._clock() + prompt.patience_seconds


def _join(stands: str, text: str, *, prefix: bool) -> str:
    """The first text after what stands, with exactly the white space that belongs between the two."""
    if not stands:
        return text
    if space := stands[len(stands.rstrip()) :]:
        # A prefix is sent without the white space at its end, so the model writes this space again, and perhaps more of it.
        return text.removeprefix(space) if prefix and text.startswith(space) else text.lstrip()
    return text if prefix or text[0].isspace() else f" {text}"


async def _pace(pieces: AsyncGenerator[ModelPiece, None]) -> AsyncGenerator[ModelPiece | None, None]:
    """The pieces, and None once, if the model pauses when _SEAM_SECONDS have passed since its first text."""
    clock = asyncio.get_running_loop().time
    limit, begun, reading = inf, False, asyncio.ensure_future(anext(pieces, None))
    try:
        while True:
            await asyncio.wait({reading}, timeout=None if limit == inf else max(0.0, limit - clock()))
            if not reading.done():
                limit = inf
                yield None
            elif (piece := reading.result()) is None:
                return
            else:
                if isinstance(piece, TextPiece) and not begun:
                    begun, limit = True, clock() + _SEAM_SECONDS
                yield piece
                reading = asyncio.ensure_future(anext(pieces, None))
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


class ModelChain:
    """A `ChatModel` that calls several models in order until one finishes the answer.

    The chain sends `Switched` before it calls each next model. If a model fails after its first word and the prompt has
    a `Takeover`, the next model takes the answer up: it continues the text itself if it `takes_prefix`, otherwise the
    unfinished sentence is withdrawn and the model writes on in a new message. A text that repeats what stands is not
    sent on: the answer is withdrawn, and the same model is called once more, for the whole answer; if the budget does
    not allow this, the answer ends with what stood before. Small models always write the whole answer. Without a
    `Takeover`, or after a tool request, the chain raises the error.

    If no further model is left and the last one has broken off its answer in a way that is often over at once (CUT,
    OVERLOADED), that model is asked once more to take its own answer up.

    If all models fail, it raises the error of the last one; what stands of an answer then stays. It logs each failure.
    patience_seconds: the time that each model has to send its first word, including its retries. It begins again while
    a model sends its reasoning. While the last model's connection lives, a prompt with `loading` waits for it for
    LOADING_SECONDS more. A prompt's own patience is divided among the members, and so is the time for which a server
    may send nothing within an answer.
    """

    def __init__(
        self,
        members: Sequence[ChainModel],
        prices: PriceTable,
        circuits: ModelCircuits,
        *,
        patience_seconds: float,
    ) -> None:
        """members: the models, at least one."""
        self._members = members
        self._prices = prices
        self._circuits = circuits
        self._patience = patience_seconds

    @property
    def name(self) -> str:
        return self._members[0].name

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        """See `ChatModel.stream`. `Spent` names its model, is priced, and includes the usage of the models that were
        called before. The chain holds whitespace back until a word follows, and also citation marks if the prompt
        cites. An answer that consists only of these fails (EMPTY).
        """
        answer = _ChainAnswer(prompt)
        spent: Spent | None = None
        member, others = self._members[0], list(self._members[1:])
        call = answer.call(member, self._patience, 1 + len(others))
        once_more = True
        while call is not None:
            before = spent
            try:
                async with aclosing(self._hear(member, call)) as pieces:
                    async for piece in answer.fit(call, pieces):
                        if isinstance(piece, Spent):
                            spent = piece = together(before, self._price(piece, member))
                        yield piece
                return
            except _Misfit:
                again = answer.call(member, self._patience, 1 + len(others), whole=True)
                # Without a budget for the whole answer, only the text that does not fit is withdrawn.
                yield answer.withdraw(0 if again else call.keep, again=again is not None)
                call = again
                continue
            except ModelError as caught:
                error = caught
            if not answer.note_failure(call, error):
                if not answer.open:
                    raise error
                if others:
                    yield Switched(member.name, others[0].name, error.fault, answer.begun)
                    member = others.pop(0)
                elif once_more and call.wrote and error.fault in _MOMENTARY:
                    once_more = False
                    yield answer.again()
                else:
                    raise error
            call = answer.call(member, self._patience, 1 + len(others))
        # The budget allows no further call.
        yield Ended(complete=False)

    async def _hear(self, member: ChainModel, call: _ModelCall) -> AsyncGenerator[ModelPiece, None]:
        """The pieces of one model. Raises ModelError, with the model's name."""
        clock = asyncio.get_running_loop().time
        prompt, own, held = call.prompt, call.patience_seconds, ""
        begun, patience = clock(), asyncio.timeout(None)
        probed = self._circuits.admit(member)
        if isinstance(probed, ModelFault):
            error = ModelError(probed, "an earlier call failed in this way, so the model was not called")
            error.model = member.name
            self._circuits.learned.note_call(member.name, probed)
            raise error
        loading, late = prompt.loading if call.members == 1 else None, None
        if loading is not None:
            late = asyncio.get_running_loop().call_at(begun + own, loading)
            own += LOADING_SECONDS
        # The reader of the pieces does other things between them, so the stage is current only while the request is sent.
        recorded = stage(
            f"chat {member.name.partition(':')[2]}",
            SpanKind.CLIENT,
            **{
                "gen_ai.operation.name": "chat",
                **model_attributes(member.name),
                "gen_ai.request.stream": True,
                "gen_ai.request.max_tokens": prompt.max_tokens,
                "purpose": prompt.purpose,
            },
        ).begin()
        recorded.text("gen_ai.input.messages", lambda: _messages(prompt))
        error: ModelError | None = None
        texts = list[str]()
        try:
            async with aclosing(
                member.model.stream(
                    replace(
                        prompt, patience_seconds=own, silence_seconds=call.silence_seconds, loading=loading
                    )
                )
            ) as pieces:
                while not call.wrote:
                    async with asyncio.timeout_at(begun + own) as patience:
                        with recorded.current():
                            piece = await anext(pieces, None)
                    if piece is None:
                        return
                    self._note(recorded, piece, member, texts)
                    match piece:
                        case Spent():
                            yield piece
                            continue
                        case TextPiece():
                            held += piece.text
                            if _is_nothing(held, prompt):
                                continue
                            piece = replace(piece, text=held)
                        case Withdrawn():
                            held = ""
                            continue
                        case Alive():
                            limit = call.patience_seconds + LOADING_SECONDS
                            own = max(own, min(clock() - begun + call.patience_seconds, limit))
                            continue
                        case Ended() if held and not (piece.stop is Stop.UNSAFE or prompt.tools):
                            raise ModelError(
                                ModelFault.EMPTY, "the answer held only blanks and citation marks"
                            )
                        case _:
                            pass
                    call.wrote = True
                    if late is not None:
                        late.cancel()
                    first = clock() - begun
                    recorded.add(**{"gen_ai.response.time_to_first_chunk": first})
                    with recorded.current():
                        instruments.MODEL_FIRST_SECONDS.add(first, member.name)
                    self._circuits.note_answer(member)
                    probed = ()
                    yield piece
                async for piece in pieces:
                    self._note(recorded, piece, member, texts)
                    if not isinstance(piece, Alive):
                        yield piece
            instruments.MODEL_CALLS.add(1, member.name, "ok")
            return
        except TimeoutError:
            if not patience.expired():
                raise
            error = ModelError(ModelFault.TIMEOUT, f"the model sent no word within {own:g} s")
            self._fail(member, call, error, clock() - begun)
        except ModelError as caught:
            error = caught
            self._fail(member, call, error, clock() - begun)
        finally:
            if late is not None:
                late.cancel()
            seconds = clock() - begun
            took(member.name, seconds)
            with recorded.current():
                instruments.MODEL_SECONDS.add(seconds, member.name)
            self._circuits.release(probed)
            if error is not None:
                recorded.fail(error.fault.value)
            recorded.text("gen_ai.output.messages", lambda: _message("assistant", "".join(texts)))
            recorded.end()
        assert error is not None, "the loop above returns unless there is an error"
        raise error

    def _note(self, recorded: AnyStage, piece: ModelPiece, member: ChainModel, texts: list[str]) -> None:
        """Record the usage and the end of a call, and its text if the settings allow texts."""
        if recorded is IDLE:
            return
        match piece:
            case Spent():
                usage = self._price(piece, member).usage
                recorded.add(
                    **{
                        "gen_ai.usage.input_tokens": usage.input_tokens,
                        "gen_ai.usage.output_tokens": usage.output_tokens,
                        "cost_usd_micros": usage.cost_micros,
                    }
                )
            case Ended():
                recorded.add(
                    **{
                        "gen_ai.response.finish_reasons": (_FINISH_REASONS[piece.stop],),
                        **({"gen_ai.response.model": piece.model} if piece.model else {}),
                    }
                )
            case TextPiece() if recorded.takes_texts:
                texts.append(piece.text)
            case _:
                pass

    def _fail(self, member: ChainModel, call: _ModelCall, error: ModelError, waited_seconds: float) -> None:
        error.model = member.name
        instruments.MODEL_CALLS.add(1, member.name, error.fault.value)
        log_failed(member.name, error)
        self._circuits.learned.note_call(member.name, error.fault)
        # A small call waits briefly: that its model is late, perhaps loading, does not mean that it is broken.
        brief = call.prompt.loading is None and call.patience_seconds < self._patience
        late = error.fault is ModelFault.TIMEOUT and brief
        if (not call.wrote and not late) or error.fault is ModelFault.CREDENTIAL:
            self._circuits.note_failure(member, error, waited_seconds)

    def _price(self, piece: Spent, member: ChainModel) -> Spent:
        named = replace(piece, model=member.name)
        usage, cost = piece.usage, self._prices.cost_micros(named, datetime.now(UTC).date())
        if cost is None:
            return replace(
                named, usage=replace(usage, unpriced_tokens=usage.input_tokens + usage.output_tokens)
            )
        return replace(named, usage=replace(usage, cost_micros=cost))


def _messages(prompt: ModelPrompt) -> str:
    """A prompt in the JSON of OpenTelemetry's conventions."""
    return f"[{', '.join(_message(message.role.value, message.text)[1:-1] for message in prompt.messages)}]"


def _message(role: str, text: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}], ensure_ascii=False)


def _is_nothing(text: str, prompt: ModelPrompt) -> bool:
    """Whether the text so far has no word yet, so that it must be held back. Raises ModelError (EMPTY) if the text is
    longer than _MOST_HELD characters."""
    if (_MARKS if prompt.cites else _BLANK).fullmatch(text) is None:
        return False
    if len(text) > _MOST_HELD:
        raise ModelError(
            ModelFault.EMPTY, "the answer began with more than 1 KiB of blanks and citation marks"
        )
    return True
