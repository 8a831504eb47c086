"""Responsa's public Python client.

    from responsa_client import Responsa

    with Responsa("http://127.0.0.1:8080", api_key="rsp_…") as client:
        turn = client.answer("How does a client continue after a lost connection?")
        print(turn.terminal_event.answer.text)

`ask` yields a turn's events as they arrive. It continues after lost connections and server restarts. `resume` and
`cancel` take a turn's name and work from any client. `AsyncResponsa` is the same client for asyncio. Requests and
responses are the contract's own messages, from `responsa.chat.v1` and the other packages. This package also exports the
types of all arguments and results.
"""

from __future__ import annotations

from google.longrunning.operations_pb2 import Operation

from responsa.knowledge.v1.knowledge_service_pb2 import SearchRequest
from responsa_client import contract
from responsa_client.aio import AsyncResponsa
from responsa_client.aio.stream import AsyncTurnStream
from responsa_client.aio.tokens import AsyncTokenSource
from responsa_client.blocking import Responsa
from responsa_client.blocking.stream import TurnStream
from responsa_client.blocking.tokens import TokenSource
from responsa_client.contract import *  # noqa: F403
from responsa_client.errors import (
    AlreadyExists,
    BrokenAnswer,
    Cancelled,
    CannotConnect,
    Conflict,
    DeadlineExceeded,
    DocumentRejected,
    FailedPrecondition,
    FieldViolation,
    InvalidRequest,
    NotFound,
    NotTrusted,
    PermissionDenied,
    ResourceExhausted,
    ResponsaError,
    ServerFault,
    StreamCut,
    Unauthenticated,
    Unavailable,
    error_of_status,
)
from responsa_client.frames import TERMINAL, check_answer
from responsa_client.notices import Notice, Reconnecting, Waiting
from responsa_client.requests import new_request_id
from responsa_client.requests import search as search_request
from responsa_client.results import (
    Outcome,
    generation_progress,
    ingest_progress,
    outcome,
    sync_progress,
    turn_error,
)
from responsa_client.retries import Backoff

__all__ = [
    "TERMINAL",
    "AlreadyExists",
    "AsyncResponsa",
    "AsyncTokenSource",
    "AsyncTurnStream",
    "Backoff",
    "BrokenAnswer",
    "Cancelled",
    "CannotConnect",
    "Conflict",
    "DeadlineExceeded",
    "DocumentRejected",
    "FailedPrecondition",
    "FieldViolation",
    "InvalidRequest",
    "NotFound",
    "NotTrusted",
    "Notice",
    "Operation",
    "Outcome",
    "PermissionDenied",
    "Reconnecting",
    "ResourceExhausted",
    "Responsa",
    "ResponsaError",
    "SearchRequest",
    "ServerFault",
    "StreamCut",
    "TokenSource",
    "TurnStream",
    "Unauthenticated",
    "Unavailable",
    "Waiting",
    "check_answer",
    "error_of_status",
    "generation_progress",
    "ingest_progress",
    "new_request_id",
    "outcome",
    "search_request",
    "sync_progress",
    "turn_error",
]
__all__.extend(contract.__all__)
