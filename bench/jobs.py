"""What the calling process is told to do, and what it tells of it: one JSON object a line each way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import TypeAdapter


class Call(StrEnum):
    """What is called."""

    ASK = "ask"
    ANSWER = "answer"
    GET_ME = "get_me"
    SEARCH = "search"


class Transport(StrEnum):
    """How it is called."""

    GRPC = "grpc"
    GRPC_WEB = "grpc-web"
    REST = "rest"
    WEBSOCKET = "websocket"
    """ASK alone, and of all documents."""
    AGENT_SERVER = "agent-server"
    """ASK alone, of LangGraph Agent Server."""


@dataclass(frozen=True, slots=True)
class Job:
    """Calls, by so many streams side by side, each making one call after the other.

    target: a gRPC target, or HOST:PORT. seconds, calls: after which no new call is begun, whichever comes first (calls 0: any number). texts: the
    questions, asked in turn, from place `first` on. mode: of a search, the enum's name. streams_a_channel: of gRPC, each channel a connection of its own.
    hold: each stream makes one call of ASK; when all are open they are read for so many seconds more, and then left.
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


@dataclass(frozen=True, slots=True)
class Outcome:
    """seconds: from the first call's begin to the last one's end. totals, firsts: milliseconds a call, to its end and to its first message.

    messages: how many came in all. odd: turns that ended in something else than an answer. gaps: milliseconds between two messages of a stream, of streams
    that were held, while all were open; of these totals are firsts.
    """

    seconds: float
    totals: Sequence[float]
    firsts: Sequence[float]
    messages: int
    odd: int
    gaps: Sequence[float] = ()

    @property
    def rate(self) -> float:
        """Calls a second."""
        return len(self.totals) / self.seconds


JOBS = TypeAdapter(Job)
OUTCOMES = TypeAdapter(Outcome)
