"""What came back: operations and turns read into results or errors."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from google.longrunning import operations_pb2

from responsa.chat.v1 import turn_pb2
from responsa.knowledge.v1 import document_pb2
from responsa_client.errors import BrokenAnswer, Cancelled, ResponsaError, error_of_status
from responsa_client.frames import check_answer

_CANCELLED_BY: Mapping[int, str] = {
    turn_pb2.CANCEL_CAUSE_OWNER: " by its owner",
    turn_pb2.CANCEL_CAUSE_ADMINISTRATOR: " by an administrator",
    turn_pb2.CANCEL_CAUSE_INTERRUPT: ": a newer question took its place",
    turn_pb2.CANCEL_CAUSE_DISCONNECT: ": nobody followed it any more",
}


def ingest_result(operation: operations_pb2.Operation) -> document_pb2.IngestResult:
    """The result of an operation that has ended.

    Raises:
        ResponsaError: the operation's own error.
        BrokenAnswer: the operation holds no IngestResult.
    """
    if operation.HasField("error"):
        raise error_of_status(operation.error)
    result = document_pb2.IngestResult()
    if not operation.response.Unpack(result):
        raise BrokenAnswer(f"{operation.name} ended without a result that this client knows.")
    return result


def ingest_progress(operation: operations_pb2.Operation) -> document_pb2.IngestMetadata | None:
    """How far an operation that takes in a document has come; None when it does not say."""
    progress = document_pb2.IngestMetadata()
    return progress if operation.metadata.Unpack(progress) else None


def checked_turn(turn: turn_pb2.Turn) -> turn_pb2.Turn:
    """The turn itself, its answer (if it has one) held against its checksums.

    Raises:
        BrokenAnswer: a checksum does not fit.
    """
    if turn.terminal_event.WhichOneof("event") == "answer":
        check_answer(turn.terminal_event.answer)
    return turn


def turn_error(turn: turn_pb2.Turn | turn_pb2.TurnEvent) -> ResponsaError | None:
    """The error that a turn (or its terminal event) ended with: of a failed one its own, of a cancelled one Cancelled; None of all others."""
    event = turn.terminal_event if isinstance(turn, turn_pb2.Turn) else turn
    match event.WhichOneof("event"):
        case "failed":
            return error_of_status(event.failed.status)
        case "cancelled":
            by = _CANCELLED_BY.get(event.cancelled.by, "")
            return Cancelled(grpc.StatusCode.CANCELLED, f"The turn was cancelled{by}.")
        case _:
            return None
