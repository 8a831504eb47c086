"""The common base of all vendors of language models: settings, the description of a server, and the assembly of an answer.

A vendor is one module with its section of the settings and an `HttpModel` that sends its requests and reads its events (CONTRIBUTING.md).
"""

from __future__ import annotations

import abc
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, JsonValue, SecretStr, TypeAdapter, ValidationError

from responsa_server.domain.models import (
    Ended,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
    Stop,
    ToolRequest,
)

if TYPE_CHECKING:
    import httpx2

_MOST_CALLS: Final = 64
_MOST_ARGUMENTS_BYTES: Final = 16 * 1024
_DEEPEST_ARGUMENTS: Final = 16
_ARGUMENTS: Final = TypeAdapter(dict[str, JsonValue])

Events: TypeAlias = "AsyncIterator[httpx2.ServerSentEvent]"


def _web(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is no http or https address")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(
            "may hold neither a user, a password, a query nor a fragment: a key has a setting of its own"
        )
    return url.rstrip("/")


Web = Annotated[str, AfterValidator(_web)]


class WireModel(BaseModel, defer_build=True):
    """The content of an event in a vendor's stream. Pydantic builds it when the first event is read, so that reading settings stays fast."""


class ModelServerSettings(BaseModel, extra="forbid"):
    """A server of language models, and how it is treated."""

    url: Web = Field(
        description="Where it is, up to and with the version, as in `http://127.0.0.1:11434/v1`."
    )
    api_key: SecretStr = Field(
        default=SecretStr(""),
        description="The key that it wants, from the environment or a secret file; empty for none.",
    )
    connect_seconds: float = Field(default=5.0, ge=0.1, le=60, description="How long connecting may take.")
    idle_seconds: float = Field(
        default=60.0,
        ge=1,
        le=600,
        description="The longest silence within an answer, its first word included.",
    )
    concurrent: int = Field(
        default=64, ge=1, le=10_000, description="Answers that one worker asks of it at a time; more wait."
    )
    requests_a_minute: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="Requests that one worker sends it in a minute; 0 for any number.",
    )
    wait_seconds: float = Field(
        default=10.0,
        ge=0,
        le=300,
        description="The longest that a request waits for its place before the next model is asked.",
    )


@dataclass(frozen=True, slots=True)
class ModelServer:
    """Where a model is served and how long to wait for it.

    url: including the version (`/v1`, `/v1beta`). api_key: "" for none. connect_seconds: the longest time to connect; idle_seconds: the longest silence within
    an answer. uds: the Unix socket to connect to, "" for TCP. keep_alive: whether connections are used again.
    continuous_usage: request the token counts with every chunk (vLLM's `continuous_usage_stats`; other servers refuse this field), so that a call that is cut
    short is counted exactly. completion_limit: send the limit as `max_completion_tokens`, OpenAI's name, instead of `max_tokens`. structured: whether the server
    accepts a JSON schema for its answer. The last three apply only to OpenAI's wire.
    """

    url: str
    model: str
    api_key: str = field(default="", repr=False)
    connect_seconds: float = 5.0
    idle_seconds: float = 60.0
    uds: str = ""
    keep_alive: bool = True
    continuous_usage: bool = False
    completion_limit: bool = False
    structured: bool = True


@dataclass(frozen=True, slots=True)
class Complaint:
    """The content of an error's body. kind: the vendor's own name for the error; retry_after: seconds."""

    kind: str = ""
    message: str = ""
    retry_after: float | None = None


ReadComplaint = Callable[[Mapping[str, Any]], Complaint]
"""Reads the JSON object of an error's body, whatever it holds."""


class HttpModel(abc.ABC):
    """A `ChatModel` over HTTP. One object serves all turns; `close` it at the end. A subclass sends a vendor's requests and reads its events."""

    def __init__(
        self,
        server: ModelServer,
        headers: Mapping[str, str],
        complaint: ReadComplaint,
        faults: Mapping[str, ModelFault],
    ) -> None:
        """headers: those that hold the key. faults: by the vendor's own name for an error, if that says more than the status."""
        # Imported here because a vendor's module also holds its settings, and reading settings needs no HTTP client.
        from responsa_server.providers.server import Client

        self._server = server
        self._client = Client(server, headers, complaint, faults)

    @property
    def name(self) -> str:
        """See `ChatModel.name`."""
        return self._server.model

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        """See `ChatModel.stream`."""
        async with self._ask(prompt) as events, aclosing(self._pieces(prompt, events)) as pieces:
            async for piece in pieces:
                yield piece

    @abc.abstractmethod
    def _ask(self, prompt: ModelPrompt) -> AbstractAsyncContextManager[Events]:
        """The call of the client's `events`."""

    @abc.abstractmethod
    def _pieces(self, prompt: ModelPrompt, events: Events) -> AsyncGenerator[ModelPiece, None]:
        """The pieces in the events, up to an `Ended`. Raises ModelError."""


def ending(prompt: ModelPrompt, stop: Stop, *, said: bool) -> Ended:
    """How an answer ended. said: whether it held text or a request. Raises ModelError (EMPTY) if it held neither without a reason."""
    if not said and stop is not Stop.UNSAFE and not prompt.tools:
        raise ModelError(ModelFault.EMPTY, f"an answer without text ({stop})")
    return Ended(complete=stop is Stop.END, stop=stop)


@dataclass(slots=True)
class _Wanted:
    call_id: str = ""
    tool: str = ""
    arguments: str = ""
    signature: str = ""


class Gathering:
    """The tool requests of one answer, collected part by part under their index."""

    def __init__(self) -> None:
        self._wanted: dict[int, _Wanted] = {}

    def __bool__(self) -> bool:
        return bool(self._wanted)

    def __len__(self) -> int:
        return len(self._wanted)

    def add(
        self, index: int, call_id: str = "", tool: str = "", arguments: str = "", signature: str = ""
    ) -> None:
        """Add the next parts of a request. Raises ModelError (MALFORMED) if a limit is exceeded."""
        into = self._wanted.setdefault(index, _Wanted())
        into.call_id += call_id
        into.tool += tool
        into.arguments += arguments
        into.signature += signature
        if len(self._wanted) > _MOST_CALLS:
            raise ModelError(ModelFault.MALFORMED, f"more than {_MOST_CALLS} calls of tools")
        parts = (into.call_id, into.tool, into.arguments.encode(), into.signature)
        if max(map(len, parts)) > _MOST_ARGUMENTS_BYTES:
            raise ModelError(
                ModelFault.MALFORMED, f"a tool's call of more than {_MOST_ARGUMENTS_BYTES} bytes"
            )

    def requests(self) -> Sequence[ToolRequest]:
        """All requests, ordered by index. Raises ModelError (MALFORMED) for arguments that are not a JSON object, or that no event can carry."""
        return [self._request(self._wanted[index]) for index in sorted(self._wanted)]

    def _request(self, one: _Wanted) -> ToolRequest:
        try:
            arguments = _ARGUMENTS.validate_json(one.arguments or "{}")
        except ValidationError:
            raise ModelError(
                ModelFault.MALFORMED, f"arguments of {one.tool[:64]!r} that are no JSON object"
            ) from None
        if not _sendable(dict(arguments), _DEEPEST_ARGUMENTS):
            raise ModelError(
                ModelFault.MALFORMED, "arguments of a tool that are too deep, or hold a number that is none"
            )
        return ToolRequest(one.call_id, one.tool, cast("Mapping[str, object]", arguments), one.signature)


def _sendable(value: object, depth: int) -> bool:
    """Whether an event can carry a JSON value: its numbers must be finite doubles, and its depth is limited because readers limit theirs."""
    if isinstance(value, (int, float)):
        return abs(value) <= sys.float_info.max
    if isinstance(value, (dict, list)):
        inner = cast("dict[str, object] | list[object]", value)
        return depth > 0 and all(
            _sendable(one, depth - 1) for one in (inner.values() if isinstance(inner, dict) else inner)
        )
    return True
