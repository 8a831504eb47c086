"""The jobs of the calling process and their outcomes: one JSON object per line in each direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import TypeAdapter


class Call(StrEnum):
    """The called method."""

    ASK = "ask"
    ANSWER = "answer"
    GET_ME = "get_me"
    SEARCH = "search"


class Transport(StrEnum):
    """The transport of the call."""

    GRPC = "grpc"
    GRPC_WEB = "grpc-web"
    REST = "rest"
    WEBSOCKET = "websocket"
    """Only ASK, over all documents."""
    AGENT_SERVER = "agent-server"
    """Only ASK, of LangGraph Agent Server."""


@dataclass(frozen=True, slots=True)
class Job:
    """Calls on a number of concurrent streams, each with one call after the other.

    target: a gRPC target, or HOST:PORT. seconds, calls: the first limit reached ends the start of new calls (calls 0: no limit). texts: the
    questions, in order, from place `first` on. mode: of a search, the enum's name. streams_a_channel: of gRPC; each channel has its own connection.
    hold: each stream makes one call of ASK; when all are open, they are read for that many seconds and then closed.
    past_started: of ASK over gRPC-Web; the first message is the first one with an event other than `started`, which a WebSocket does not send.
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


@dataclass(frozen=True, slots=True)
class Outcome:
    """seconds: from the beginning of the first call to the end of the last. totals, firsts: milliseconds of each call, to its end and to its first message.

    messages: their total number. odd: turns that ended without an answer. gaps: only for streams with `hold`: milliseconds
    between two messages of a stream while all streams were open. For such streams, `totals` has the same values as `firsts`.
    """

    seconds: float
    totals: Sequence[float]
    firsts: Sequence[float]
    messages: int
    odd: int
    gaps: Sequence[float] = ()

    @property
    def rate(self) -> float:
        """Calls per second."""
        return len(self.totals) / self.seconds


JOBS = TypeAdapter(Job)
OUTCOMES = TypeAdapter(Outcome)
