"""Asks models. Limits each call, counts its cost, and reads small structured answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from math import inf
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from pydantic import BaseModel, ValidationError

from responsa_server.agents.engine.config import BYTES_A_TOKEN, Traits
from responsa_server.agents.engine.continuing import SeamComparison, continuing, to_keep
from responsa_server.agents.engine.node import (
    Offered,
    OverBudget,
    Run,
    most_output,
)
from responsa_server.agents.engine.prompts import (
    PromptSet,
    Untrusted,
    fence,
    neutral,
    unfence,
    unfence_within,
)
from responsa_server.domain import names
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import (
    Fallback,
    FallbackKind,
    ModelUsed,
    ProviderSwitched,
    Status,
    Step,
    Usage,
)
from responsa_server.domain.models import (
    FREE,
    LOADING_SECONDS,
    Alive,
    ChatModel,
    Ended,
    ModelError,
    ModelFault,
    ModelPrompt,
    Price,
    PromptMessage,
    Role,
    Spent,
    Stop,
    Switched,
    TextPiece,
    ToolRequest,
    Withdrawn,
)
from responsa_server.domain.tools import ToolCard
from responsa_server.telemetry import instruments

# The share of the turn's remaining time that one call may take. The rest is for a later call or for a fallback.
_SHARE: Final = 0.5
_LOADING: Final = "The model is loading..."


class Pricing(Protocol):
    """The current prices of models."""

    def __call__(self, model: str = "") -> Price | None:
        """The price of `provider:model`. For "", the highest price in the agent's chain. None if no price is known."""
        ...


def no_price(model: str = "") -> Price | None:
    """A `Pricing` without known prices."""
    return None


def read_tokens(messages: Sequence[PromptMessage]) -> int:
    """An estimate of a prompt's tokens: one token for every four bytes. The estimate is used until the provider reports
    its count.
    """
    return -(-prompt_bytes(messages) // BYTES_A_TOKEN)


def prompt_bytes(messages: Sequence[PromptMessage]) -> int:
    """The length of a prompt in bytes of UTF-8."""
    return sum(len(message.text.encode()) for message in messages)


def may_write(run: Run, configured: int, messages: Sequence[PromptMessage], price: Price | None) -> int:
    """The maximum number of tokens that a call may write now.

    price: the model's price, or the highest price of several models; None if no price is known. Raises OverBudget if the
    turn's budget does not allow the call.
    """
    limits, spent, cost = run.limits, run.spent(), price or FREE
    tokens_left, micros_left = limits.tokens_left(spent), limits.micros_left(spent)
    if tokens_left is None and micros_left is None:
        return configured
    # What the provider counts may differ from the estimate. At the end of a quota, the highest possible count is taken:
    # no token is shorter than a byte.
    read = prompt_bytes(messages) if limits.quota else read_tokens(messages)
    limit = most_output(
        configured,
        prompt_tokens=read,
        tokens_left=tokens_left,
        micros_left=micros_left,
        input_price=cost.input,
        output_price=cost.output,
    )
    if limit <= 0:
        raise OverBudget("tokens" if tokens_left is not None and tokens_left <= read else "cost_micros")
    return limit


def patience(run: Run, limit: float = inf) -> float | None:
    """How many seconds a model may take for its first word, or be silent within its answer: half of the turn's remaining
    time, at most `limit`; None for no limit.
    """
    left = min(
        limit, _SHARE * max(0.0, run.until + run.meter.extra_seconds - asyncio.get_running_loop().time())
    )
    return None if left == inf else left


class ModelCall:
    """A call of a model. Implements `Takeover` for the answer.

    model: the model that is currently writing, as `provider:model`. reports: whether the cost is also sent as an event
    (it is always counted). shows: whether the text so far was sent to the reader. If not, a model that takes the answer
    up writes it again, because nobody misses what it replaces. waits: whether a model that is loading is waited for, beyond the
    turn's deadline.
    """

    def __init__(
        self,
        model: ChatModel,
        prompt: ModelPrompt,
        run: Run,
        price: Pricing = no_price,
        *,
        reports: bool = True,
        shows: Callable[[], bool] = lambda: False,
        waits: bool = False,
    ) -> None:
        self._model = model
        self._prompt = replace(
            prompt, silence_seconds=partial(patience, run), loading=self._load if waits else None
        )
        self._run = run
        self._price = price
        self._spending = _Spending(run, prompt.messages, price(model.name))
        self._reports = reports
        self._shows = shows
        self.model = model.name

    def _load(self) -> None:
        self._run.meter.extra_seconds = LOADING_SECONDS
        self._run.emit(Status(Step.LOADING, _LOADING))

    def keeps(self, text: str, *, prefix: bool) -> int:
        return to_keep(text, prefix=prefix) if self._shows() else 0

    def prompt(self, stands: str, *, prefix: bool) -> ModelPrompt | None:
        prompt = self._prompt
        longer = continuing(prompt.messages, neutral(stands)) if stands else prompt.messages
        messages = prompt.messages if prefix else longer
        # What stands counts against the answer's limit.
        limit = max(1, prompt.max_tokens - len(stands.encode()) // BYTES_A_TOKEN)
        try:
            limit = may_write(self._run, limit, longer, self._price())
        except OverBudget:
            return None
        self._spending.reads(longer)
        return replace(
            prompt,
            messages=messages,
            max_tokens=limit,
            patience_seconds=patience(self._run, prompt.patience_seconds or inf),
            prefix=neutral(stands) if prefix else "",
            takeover=self,
        )

    def seam(self, stands: str) -> SeamComparison:
        return SeamComparison(stands)

    async def pieces(self) -> AsyncGenerator[TextPiece | ToolRequest | Withdrawn | Ended, None]:
        """The pieces of the answer. The cost is counted while they arrive, and reported at the end, even after a failure.

        Raises ModelError.
        """
        try:
            async with aclosing(self._model.stream(replace(self._prompt, takeover=self))) as stream:
                async for piece in stream:
                    match piece:
                        case TextPiece(pieces=pieces):
                            self._spending.piece(pieces)
                            yield piece
                        case Withdrawn():
                            if piece.again:
                                self._spending.switch(self._price(self.model))
                            yield piece
                        case Spent():
                            self.model = piece.model or self.model
                            self._spending.exactly(piece.usage)
                        case Switched():
                            self.model = piece.target
                            self._spending.switch(self._price(piece.target))
                            shown = piece.begun and self._shows()
                            self._run.emit(
                                ProviderSwitched(piece.source, piece.target, piece.fault.value, shown)
                            )
                            self._run.fell_back(
                                Fallback(FallbackKind.PROVIDER, piece.source, piece.target, piece.fault.value)
                            )
                        case Alive():
                            pass
                        case _:
                            yield piece
        except ModelError as error:
            error.model = error.model or self.model
            raise
        finally:
            # A call that failed or was cancelled costs money too.
            if self._spending.any:
                usage = self._spending.counted
                instruments.MODEL_TOKENS.add(usage.input_tokens, self.model, "input")
                instruments.MODEL_TOKENS.add(usage.output_tokens, self.model, "output")
                instruments.MODEL_COST.add(usage.cost_micros, self.model)
                if self._reports:
                    self._run.emit(ModelUsed(self.model, usage))

    async def read_whole(self, seconds: float, most_bytes: int) -> tuple[str, bool]:
        """The whole text, within so many seconds, and whether it is complete. It breaks off with the piece that makes it longer
        than `most_bytes`. Raises ModelError, also if there is no text."""
        text, complete = "", True
        try:
            async with asyncio.timeout(seconds), aclosing(self.pieces()) as pieces:
                async for piece in pieces:
                    match piece:
                        case TextPiece():
                            text += piece.text
                            if len(text.encode()) > most_bytes:
                                complete = False
                                break
                        case Withdrawn():
                            text = text[: piece.keep]
                        case Ended():
                            complete = piece.complete
                            if piece.stop is Stop.UNSAFE:
                                raise ModelError(ModelFault.REFUSED, "the model refuses", model=self.model)
                        case _:
                            pass
        except TimeoutError:
            raise ModelError(ModelFault.TIMEOUT, f"no end within {seconds:g} s", model=self.model) from None
        text = text.replace("\x00", "\ufffd").strip()
        if not text:
            raise ModelError(ModelFault.EMPTY, "no text", model=self.model)
        return text, complete


class _Spending:
    """Counts the cost of a call while the call runs, so that the cost of a cancelled call is known, too. Uses the price of the
    model that writes.

    Until the provider reports its usage, each piece of text counts as one token, and so do every four bytes of the prompt.
    The provider's report replaces this estimate.
    """

    __slots__ = (
        "_begun",
        "_covered",
        "_known",
        "_lost",
        "_messages",
        "_pieces",
        "_price",
        "_read",
        "_reported",
        "_reported_output",
        "_run",
    )

    def __init__(self, run: Run, messages: Sequence[PromptMessage], price: Price | None) -> None:
        """price: the price of the first model; None if this price is not known."""
        self._run = run
        self._messages = messages
        self._price = price
        self._reported = False
        # `_known` has the counts up to the last report or change of model. `_read` and `_pieces` estimate the tokens since then. `_lost`
        # is the part of `_known` that no report contains, because the calls broke off before their reports.
        self._known: Usage = Usage()
        self._lost: Usage = Usage()
        self._read = self._pieces = 0
        # `_begun`: whether the prompt is counted for this model. `_covered`: whether the provider's report already
        # includes the next piece. `_reported_output`: the output tokens in the provider's last report.
        self._begun = False
        self._covered = False
        self._reported_output = 0

    @property
    def any(self) -> bool:
        return self._reported or self.counted != Usage()

    @property
    def counted(self) -> Usage:
        return self._known + self._guess() if self._read or self._pieces else self._known

    def reads(self, messages: Sequence[PromptMessage]) -> None:
        self._messages = messages

    def piece(self, pieces: int) -> None:
        pieces -= self._covered
        self._covered = False
        if not pieces:
            return
        price = self._price
        # A fast path: without a price for the output, there is no cost to compute.
        if self._begun and (price is None or not price.output):
            self._pieces += pieces
            self._run.spend(Usage(output_tokens=pieces, unpriced_tokens=pieces if price is None else 0))
            return
        before = self._guess()
        if not self._begun:
            self._begun = True
            self._read = read_tokens(self._messages)
        self._pieces += pieces
        self._run.spend(self._guess() - before)

    def exactly(self, usage: Usage) -> None:
        usage = usage + self._lost
        self._run.spend(usage - self.counted)
        self._begun = self._reported = True
        # Some providers report a piece's tokens before they send the piece; others send a report before any text is written.
        self._covered = usage.output_tokens > self._reported_output
        self._reported_output = usage.output_tokens
        self._known, self._read, self._pieces = usage, 0, 0

    def switch(self, price: Price | None) -> None:
        """Another model continues. price: the price of that model."""
        counted = self.counted
        self._lost = self._lost + (counted - self._known)
        self._known, self._read, self._pieces = counted, 0, 0
        self._begun = self._covered = False
        self._reported_output = self._known.output_tokens
        self._price = price

    def _guess(self) -> Usage:
        read, pieces, price = self._read, self._pieces, self._price
        if price is None:
            return Usage(input_tokens=read, output_tokens=pieces, unpriced_tokens=read + pieces)
        cost = (read * price.input + pieces * price.output).to_integral_value("ROUND_CEILING")
        return Usage(input_tokens=read, output_tokens=pieces, cost_micros=int(cost))


FAULTS: Final[Mapping[ModelFault, str]] = {
    ModelFault.UNREACHABLE: "could not be reached",
    ModelFault.TIMEOUT: "fell silent",
    ModelFault.REFUSED: "rejected the request",
    ModelFault.MALFORMED: "sent an answer that cannot be read",
    ModelFault.CUT: "broke off its answer",
    ModelFault.CREDENTIAL: "rejected the key",
    ModelFault.RATE_LIMITED: "is overloaded",
    ModelFault.OVERLOADED: "is overloaded",
    ModelFault.EMPTY: "sent an answer without text",
}
"""What its server did if a model failed."""


def model_unavailable(error: ModelError, model: str) -> Unavailable:
    """What a caller is told of a failed call. model: the chain's name, if the error names no model."""
    model = error.model or model
    message = f"The server of the model {model} {FAULTS[error.fault]}; ask again."
    metadata = {"model": model, "cause": error.fault.value}
    return Unavailable(Reason.MODEL_UNAVAILABLE, message, metadata, retry_after=error.retry_after or 1.0)


Answer = TypeVar("Answer", bound=BaseModel)

PATIENCE_SECONDS: Final = 10.0
"""The maximum number of seconds for one call. After this time, the node uses its own rule."""
_FIRST_WORD: Final = 0.9
COMMON: Final = frozenset({"agent", "language", "questions", "formats", "today", "instructions"})
"""The trusted variables that every node offers to its prompts."""
_MAX_BYTES: Final = 16 * 1024
_MAX_COMPLAINT: Final = 300


def offer(*trusted: str, untrusted: Sequence[str] = ("question", "history")) -> Offered:
    """The variables that a kind offers to prompts: the given variables and the variables that all kinds offer."""
    return Offered(COMMON | frozenset(trusted), frozenset(untrusted))


class StructuredInvalid(Exception):
    """A model's answer does not have the required shape, even after a second request. The message gives the reason, for the
    log.
    """


FAILURES: Final = (ModelError, StructuredInvalid, OverBudget)
"""The errors of `ask_typed` after which a node uses its own rule. The rule also works when the turn's budget is spent."""


def cause(error: Exception) -> str:
    """The cause that a fallback reports for one of FAILURES."""
    match error:
        case ModelError():
            return f"model_unavailable:{error.fault.value}"
        case OverBudget():
            return error.cause
        case _:
            return "structured_invalid"


class AnswerShape(Generic[Answer]):
    """The required form of an answer: a Pydantic model without unknown fields. text: its JSON Schema, for a prompt."""

    def __init__(self, output: type[Answer]) -> None:
        self.output = output
        self.schema, self.text = _describe(output)

    def read(self, text: str, mark: str = "") -> Answer:
        """The answer as an instance of `output`, without marks of data in its texts.

        mark: the turn's number in the marks. Raises StructuredInvalid.
        """
        value = _object(text)
        try:
            return self.output.model_validate_json(json.dumps(unfence_within(value, mark)), strict=True)
        except RecursionError as error:
            raise StructuredInvalid("the object has too many levels") from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            path = "/".join(map(str, first["loc"]))
            raise StructuredInvalid(f"{path or 'the object'}: {first['msg']}") from error


# Schemas are cached, because making a schema takes longer than the rest of a node's construction. Most kinds have a
# single output model, whose schema serves all nodes of the kind.
@lru_cache(maxsize=256)
def _describe(output: type[BaseModel]) -> tuple[Mapping[str, object], str]:
    schema = cast("dict[str, object]", _drop_titles(output.model_json_schema()))
    return schema, json.dumps(schema, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Asker:
    """An agent's model and prompts, with the settings for both. price: the function that returns the chain's price at
    the time of a call.
    """

    model: ChatModel
    prompts: PromptSet
    traits: Traits
    price: Pricing = no_price

    def prompt(
        self,
        run: Run,
        name: str,
        trusted: Mapping[str, object],
        untrusted: Untrusted,
        schema: Mapping[str, object] | None = None,
        *,
        after: Sequence[PromptMessage] = (),
        tools: Sequence[ToolCard] = (),
    ) -> ModelPrompt:
        """A prompt, filled in. The prompt's hints take precedence over the agent's settings but cannot raise the token limit.

        after: messages to append. Raises OverBudget, PromptError.
        """
        common = {
            "agent": self.traits.name,
            "language": "",
            "questions": tuple(self.traits.questions),
            "formats": "",
            "today": f"{datetime.now(UTC):%a %Y-%m-%d}",
            "instructions": self.traits.instructions,
        }
        messages = [*self.prompts.render(name, {**common, **trusted}, untrusted, run.nonce), *after]
        hints, table = self.prompts.front(name).hints, self.traits.model
        configured = min(hints.max_output_tokens or table.max_output_tokens, table.max_output_tokens)
        return ModelPrompt(
            messages,
            label_of(run),
            tools,
            schema=schema,
            max_tokens=may_write(run, configured, messages, self.price()),
            temperature=hints.temperature if hints.temperature is not None else table.temperature,
            purpose=name,
        )

    async def text(self, prompt: ModelPrompt, run: Run) -> str:
        """The whole answer without marks of data, at most 16 KiB. Raises ModelError."""
        text = unfence(await self.raw(prompt, run), run.nonce).strip()
        if not text:
            raise ModelError(ModelFault.EMPTY, "no text", model=self.model.name)
        return text

    async def raw(self, prompt: ModelPrompt, run: Run, most_seconds: float = PATIENCE_SECONDS) -> str:
        """The whole answer as the model wrote it, within `most_seconds` and half of the turn's remaining time. Raises ModelError."""
        seconds = patience(run, most_seconds) or 0.0
        # A silent model is abandoned a little before the call's time limit, so that some time is left for the next
        # model of the chain.
        prompt = replace(prompt, patience_seconds=_FIRST_WORD * seconds)
        call = ModelCall(self.model, prompt, run, self.price)
        text, _ = await call.read_whole(seconds, _MAX_BYTES)
        if len(text.encode()) > _MAX_BYTES:
            raise ModelError(ModelFault.MALFORMED, "more than the prompt requested", model=call.model)
        return text


async def ask_typed(
    asker: Asker,
    run: Run,
    name: str,
    shape: AnswerShape[Answer],
    trusted: Mapping[str, object],
    untrusted: Untrusted,
) -> Answer:
    """Ask the model for an answer of a given shape, with the prompt `name`. If the answer has another shape, report
    the mistake to the model and ask once more.

    Raises StructuredInvalid, ModelError or OverBudget; the node then uses its own rule. Also raises PromptError.
    """
    prompt = asker.prompt(run, name, {**trusted, "formats": shape.text}, untrusted, shape.schema)
    text = await asker.raw(prompt, run)
    try:
        return shape.read(text, run.nonce)
    except StructuredInvalid as error:
        complaint = fence("complaint", str(error)[:_MAX_COMPLAINT], run.nonce)
    # The next prompt contains the answer in the model's role. It contains the complaint as data, because the complaint
    # quotes the answer.
    messages = [
        *prompt.messages,
        PromptMessage(Role.ASSISTANT, neutral(text)),
        PromptMessage(
            Role.USER,
            f"That is not what was asked for:\n{complaint}\nAnswer again with one JSON object that fits the schema, and nothing else.",
        ),
    ]
    limit = may_write(run, prompt.max_tokens, messages, asker.price())
    return shape.read(await asker.raw(replace(prompt, messages=messages, max_tokens=limit), run), run.nonce)


def label_of(run: Run) -> str:
    """The label that identifies a request in the provider's logs."""
    return names.turn(run.turn_id) if run.turn_id is not None else ""


def json_object_of(text: str) -> str:
    """The JSON object in a text, without surroundings such as a code fence. Raises StructuredInvalid."""
    candidate = text[text.find("{") : text.rfind("}") + 1]
    _object(candidate)
    return candidate


def _object(text: str) -> Any:
    """The value of the JSON object in a text. Raises StructuredInvalid."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        raise StructuredInvalid("there is no JSON object")
    try:
        return json.loads(text[start : end + 1])
    except (ValueError, RecursionError) as error:
        raise StructuredInvalid(f"it is not valid JSON: {error}") from error


def _drop_titles(value: object) -> object:
    if isinstance(value, dict):
        pairs = cast("dict[str, object]", value).items()
        return {key: _drop_titles(item) for key, item in pairs if key != "title" or not isinstance(item, str)}
    if isinstance(value, list):
        return [_drop_titles(child) for child in cast("list[object]", value)]
    return value
