"""The jobs of the calling process and their outcomes: one JSON object per line in each direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import TypeAdapter


class Call(StrEnum):
    """The method to call."""

    ASK = "ask"
    ANSWER = "answer"
    GET_ME = "get_me"
    SEARCH = "search"


class Transport(StrEnum):
    """The transport of the call."""

    GRPC = "grpc"
    GRPC_WEB = "grpc-web"
    REST = "rest"
    """A stream is lines of JSON."""
    SSE = "sse"
    """This transport makes only the call ASK."""
    OPENAI = "openai"
    """This transport makes only the call ASK, as a chat completion with a stream."""
    MCP = "mcp"
    """This transport makes only the call ASK, as the tool `ask`."""
    WEBSOCKET = "websocket"
    """This transport makes only the call ASK, which then searches all documents."""
    AGENT_SERVER = "agent-server"
    """This transport makes only the call ASK, to LangGraph Agent Server."""


@dataclass(frozen=True, slots=True)
class Job:
    """Calls on a number of concurrent streams. Each stream makes one call after the other.

    target: a gRPC target, or HOST:PORT. seconds, calls: once one of these limits is reached, no new calls begin; if
    `calls` is 0, only `seconds` counts. texts: the questions, in order, from the index `first` on. mode: the search
    mode's name in the enum. streams_a_channel: the number of streams per gRPC channel; each channel has its own
    connection. hold: if set, each stream makes one call of ASK; when all streams are open, they are read for this
    number of seconds and then closed. past_started: only for ASK over gRPC-Web. If true, a message with only the event
    `started` does not count as the first message, because a WebSocket has no `started`.
    refusals: only for ASK over gRPC: whether a refusal is as good as an answer. Questions of random words find no passage now and then.
    """

    call: Call
    transport: Transport
    target: str
    key: str
    streams: int = 1
    seconds: float = 3600.0
    calls: int = 0
    texts: Sequence[str] = ()
    first: int = 0
    collection: str = ""
    mode: str = "SEARCH_MODE_HYBRID"
    streams_a_channel: int = 16
    hold: float = 0.0
    past_started: bool = False
    refusals: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The measurements of a job.

    seconds: the time from the beginning of the first call to the end of the last. totals, firsts: for each call, the
    milliseconds to its end and to its first message.
    messages: the total number of messages. odd: the number of turns that ended without an answer. gaps: only for
    streams with `hold`, the milliseconds between two messages of a stream while all streams were open. For such
    streams, `totals` has the same values as `firsts`.
    """

    seconds: float
    totals: Sequence[float]
    firsts: Sequence[float]
    messages: int
    odd: int
    gaps: Sequence[float] = ()

    @property
    def rate(self) -> float:
        """The number of calls per second."""
        return len(self.totals) / self.seconds


JOBS = TypeAdapter(Job)
OUTCOMES = TypeAdapter(Outcome)
