"""Responsa's public Python client.

    from responsa_client import Responsa

    with Responsa("http://127.0.0.1:8080", api_key="rsp_…") as client:
        turn = client.answer("How does a client continue after a lost connection?")
        print(turn.terminal_event.answer.text)

`ask` yields a turn's events as they arrive. It continues after lost connections and server restarts. `resume` and `cancel` take a turn's name and work from any client.
`AsyncResponsa` is the same client for asyncio. Requests and responses are the contract's own messages, from `responsa.chat.v1` and the other packages. This package also exports
the types of all arguments and the most common results.
"""

from __future__ import annotations

from google.longrunning.operations_pb2 import Operation

from responsa.admin.v1.admin_service_pb2 import AgentProblem, AgentReload
from responsa.admin.v1.system_status_pb2 import SystemStatus
from responsa.admin.v1.teacher_pb2 import Teacher
from responsa.auth.v1.user_pb2 import User, UserRole
from responsa.chat.v1.agent_pb2 import Agent
from responsa.chat.v1.chat_service_pb2 import OnBusy
from responsa.chat.v1.citation_pb2 import Citation, CitationVerdict
from responsa.chat.v1.conversation_pb2 import Conversation
from responsa.chat.v1.excerpt_pb2 import Excerpt, ExcerptGrade
from responsa.chat.v1.feedback_pb2 import Rating
from responsa.chat.v1.message_pb2 import Message
from responsa.chat.v1.tool_pb2 import Tool, ToolEffect, ToolFault, ToolProblem, ToolSource
from responsa.chat.v1.turn_pb2 import (
    CancelCause,
    Fallback,
    FallbackKind,
    RefusalReason,
    Step,
    ToolOutcome,
    Turn,
    TurnAnswer,
    TurnCancelled,
    TurnEvent,
    TurnFailed,
    TurnRefused,
    TurnState,
)
from responsa.knowledge.v1.collection_pb2 import Chunking, Collection
from responsa.knowledge.v1.document_pb2 import Document, DocumentState, IngestMetadata, IngestResult, Passage
from responsa.knowledge.v1.generation_pb2 import Generation, GenerationState, ReindexMetadata
from responsa.knowledge.v1.knowledge_service_pb2 import SearchHit, SearchMode, SearchRequest
from responsa.knowledge.v1.reader_pb2 import Reader
from responsa_client.aio import AsyncResponsa
from responsa_client.aio.stream import AsyncTurnStream
from responsa_client.blocking import Responsa
from responsa_client.blocking.stream import TurnStream
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
    PermissionDenied,
    ResourceExhausted,
    ResponsaError,
    ServerFault,
    StreamCut,
    Unauthenticated,
    Unavailable,
    error_of_status,
)
from responsa_client.following import Notice, Reconnecting, Waiting
from responsa_client.frames import TERMINAL, check_answer
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
    "Agent",
    "AgentProblem",
    "AgentReload",
    "AlreadyExists",
    "AsyncResponsa",
    "AsyncTurnStream",
    "Backoff",
    "BrokenAnswer",
    "CancelCause",
    "Cancelled",
    "CannotConnect",
    "Chunking",
    "Citation",
    "CitationVerdict",
    "Collection",
    "Conflict",
    "Conversation",
    "DeadlineExceeded",
    "Document",
    "DocumentRejected",
    "DocumentState",
    "Excerpt",
    "ExcerptGrade",
    "FailedPrecondition",
    "Fallback",
    "FallbackKind",
    "FieldViolation",
    "Generation",
    "GenerationState",
    "IngestMetadata",
    "IngestResult",
    "InvalidRequest",
    "Message",
    "NotFound",
    "Notice",
    "OnBusy",
    "Operation",
    "Outcome",
    "Passage",
    "PermissionDenied",
    "Rating",
    "Reader",
    "Reconnecting",
    "RefusalReason",
    "ReindexMetadata",
    "ResourceExhausted",
    "Responsa",
    "ResponsaError",
    "SearchHit",
    "SearchMode",
    "SearchRequest",
    "ServerFault",
    "Step",
    "StreamCut",
    "SystemStatus",
    "Teacher",
    "Tool",
    "ToolEffect",
    "ToolFault",
    "ToolOutcome",
    "ToolProblem",
    "ToolSource",
    "Turn",
    "TurnAnswer",
    "TurnCancelled",
    "TurnEvent",
    "TurnFailed",
    "TurnRefused",
    "TurnState",
    "TurnStream",
    "Unauthenticated",
    "Unavailable",
    "User",
    "UserRole",
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
