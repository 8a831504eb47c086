"""Reads operations and turns into results or errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

import grpc
from google.longrunning import operations_pb2
from google.protobuf.message import Message

from responsa.admin.v1 import source_pb2
from responsa.chat.v1 import excerpt_pb2, turn_pb2
from responsa.knowledge.v1 import document_pb2, generation_pb2
from responsa_client.errors import BrokenAnswer, Cancelled, ResponsaError, error_of_status
from responsa_client.frames import check_answer

Kind = TypeVar("Kind", bound=Message)

_CANCELLED_BY: Mapping[int, str] = {
    turn_pb2.CANCEL_CAUSE_OWNER: " by its owner",
    turn_pb2.CANCEL_CAUSE_ADMINISTRATOR: " by an administrator",
    turn_pb2.CANCEL_CAUSE_INTERRUPT: ": a newer question replaced it",
    turn_pb2.CANCEL_CAUSE_DISCONNECT: ": nobody followed it",
}


def ingest_result(operation: operations_pb2.Operation) -> document_pb2.IngestResult:
    """The result of an operation that has ended.

    Raises:
        ResponsaError: the operation's own error.
        BrokenAnswer: the operation does not contain an IngestResult.
    """
    return _result(operation, document_pb2.IngestResult)


def ingest_progress(operation: operations_pb2.Operation) -> document_pb2.IngestMetadata | None:
    """The progress of an ingestion; None if the operation is not an ingestion."""
    progress = document_pb2.IngestMetadata()
    return progress if operation.metadata.Unpack(progress) else None


def generation_result(operation: operations_pb2.Operation) -> generation_pb2.Generation:
    """The generation that an operation has built or activated. Raises the errors of `ingest_result`."""
    return _result(operation, generation_pb2.ReindexResult).generation


def generation_progress(operation: operations_pb2.Operation) -> generation_pb2.ReindexMetadata | None:
    """The progress of an operation that builds or activates a generation; None if the operation does something else."""
    progress = generation_pb2.ReindexMetadata()
    return progress if operation.metadata.Unpack(progress) else None


def sync_result(operation: operations_pb2.Operation) -> source_pb2.SyncResult:
    """What a run of a source has done. Raises the operation's error, or BrokenAnswer if the operation does not contain a SyncResult."""
    return _result(operation, source_pb2.SyncResult)


def sync_progress(operation: operations_pb2.Operation) -> source_pb2.SyncMetadata | None:
    """The progress of a run of a source; None for any other operation."""
    progress = source_pb2.SyncMetadata()
    return progress if operation.metadata.Unpack(progress) else None


def _result(operation: operations_pb2.Operation, kind: type[Kind]) -> Kind:
    if operation.HasField("error"):
        raise error_of_status(operation.error)
    result = kind()
    if not operation.response.Unpack(result):
        raise BrokenAnswer(f"{operation.name} ended without a result that this client knows.")
    return result


def checked_turn(turn: turn_pb2.Turn) -> turn_pb2.Turn:
    """Check the turn's answer, if it has one, against the checksums, and return the turn.

    Raises:
        BrokenAnswer: a checksum does not match.
    """
    if turn.terminal_event.WhichOneof("event") == "answer":
        check_answer(turn.terminal_event.answer)
    return turn


def turn_error(turn: turn_pb2.Turn | turn_pb2.TurnEvent) -> ResponsaError | None:
    """The error of a turn or of its terminal event. A failed turn has its own error, a cancelled turn has Cancelled,
    and all other turns have None."""
    event = turn.terminal_event if isinstance(turn, turn_pb2.Turn) else turn
    match event.WhichOneof("event"):
        case "failed":
            return error_of_status(event.failed.status)
        case "cancelled":
            by = _CANCELLED_BY.get(event.cancelled.by, "")
            return Cancelled(grpc.StatusCode.CANCELLED, f"The turn was cancelled{by}.")
        case _:
            return None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a turn, and its cost. A text that the server did not send is ""; a number that it did not send is 0.

    kind: "answer", "refused", "failed", "cancelled", or "" for a turn that has not ended.
    text: the answer, or the reason why there is no answer.
    intent: the intent of the message, as the agent's file names it.
    category: the kind of question, as the agent's file names it.
    model: the model or method that wrote the text: `provider:model`, "passages" or "template".
    fallbacks: the turn's fallbacks, in order.
    input_tokens: the tokens that all models read.
    output_tokens: the tokens that all models wrote, including withdrawn text.
    unpriced_tokens: the tokens of models without a known price.
    cost_usd_micros: the known cost in millionths of a US dollar.
    excerpts: the passages that an answer shows if its model is "passages", or those that come closest to an answer if
    the turn was refused; best first, at most 3.
    more_excerpts: further passages of an answer, best first, at most 5. `get_passage` with the turn returns the
    excerpt of one without `markdown`.
    """

    kind: str
    text: str
    intent: str
    category: str
    model: str
    fallbacks: Sequence[turn_pb2.Fallback]
    input_tokens: int
    output_tokens: int
    unpriced_tokens: int
    cost_usd_micros: int
    excerpts: Sequence[excerpt_pb2.Excerpt] = ()
    more_excerpts: Sequence[excerpt_pb2.Excerpt] = ()

    @property
    def cost(self) -> Decimal:
        """The cost in US dollars. Models without a known price are not included."""
        return Decimal(self.cost_usd_micros) / 1_000_000


def outcome(turn: turn_pb2.Turn | turn_pb2.TurnEvent) -> Outcome:
    """The outcome of a turn or of its terminal event. The cost of a cancelled turn is in the turn itself, but not in its terminal event."""
    event = turn.terminal_event if isinstance(turn, turn_pb2.Turn) else turn
    kind = event.WhichOneof("event") or ""
    usage = turn.usage if isinstance(turn, turn_pb2.Turn) else turn_pb2.Usage()
    text, intent, category, model = "", "", "", ""
    fallbacks: Sequence[turn_pb2.Fallback] = ()
    excerpts: Sequence[excerpt_pb2.Excerpt] = ()
    more: Sequence[excerpt_pb2.Excerpt] = ()
    match kind:
        case "answer":
            ended = event.answer
            text, intent, category, model = ended.text, ended.intent, ended.category, ended.model
            usage, fallbacks = ended.usage, ended.fallbacks
            excerpts, more = ended.excerpts, ended.more_excerpts
        case "refused":
            text, intent = event.refused.message, event.refused.intent
            usage, fallbacks = event.refused.usage, event.refused.fallbacks
            excerpts = event.refused.excerpts
        case "failed":
            text, usage, fallbacks = event.failed.status.message, event.failed.usage, event.failed.fallbacks
        case "cancelled":
            pass
        case _:
            kind = ""
    return Outcome(
        kind,
        text,
        intent,
        category,
        model,
        tuple(fallbacks),
        usage.input_tokens,
        usage.output_tokens,
        usage.unpriced_tokens,
        usage.cost_usd_micros,
        tuple(excerpts),
        tuple(more),
    )
