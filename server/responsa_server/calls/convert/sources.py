"""Sources, and what their rows make."""

from __future__ import annotations

from typing import Final

from google.longrunning import operations_proto_pb2 as operations_pb2

from responsa.admin.v1 import admin_service_pb2, delivery_pb2, source_pb2
from responsa_server.calls.convert import messages, structs
from responsa_server.calls.convert.knowledge import operation
from responsa_server.calls.convert.values import timestamp
from responsa_server.domain import names
from responsa_server.domain.knowledge import IngestStage, Operation
from responsa_server.domain.notifications import Delivery
from responsa_server.domain.sources import MadeRow, NewSource, Source, SourceChange

_EXACT: Final = 2**53
_STAGES: Final = {
    IngestStage.QUEUED: source_pb2.SYNC_STAGE_QUEUED,
    IngestStage.PARSING: source_pb2.SYNC_STAGE_READING,
    IngestStage.EMBEDDING: source_pb2.SYNC_STAGE_INDEXING,
    IngestStage.DONE: source_pb2.SYNC_STAGE_DONE,
}


def source(value: Source) -> source_pb2.Source:
    return messages.message(
        source_pb2.Source,
        value,
        name=names.source(value.id),
        collection=names.collection(value.collection),
        newest_run="" if value.newest_run is None else names.operation(value.newest_run),
    )


def new_source(request: admin_service_pb2.CreateSourceRequest) -> NewSource:
    return NewSource(request.source_id, request.source.display_name, request.source.mapping)


def source_change(source: source_pb2.Source, wanted: frozenset[str]) -> SourceChange:
    """Convert an update. wanted: the names of the fields to change."""
    return SourceChange(
        display_name=source.display_name if "display_name" in wanted else None,
        mapping=source.mapping if "mapping" in wanted else None,
    )


def made_row(value: MadeRow) -> source_pb2.PreviewedRow:
    """Convert a row of a preview and its document."""
    row = {name: _exact(one) for name, one in value.row.items()}
    made = source_pb2.PreviewedRow(kind=value.kind, row=structs.of(row), problem=value.problem)
    document = value.document
    if document is not None:
        made.key, made.title, made.subject, made.uri = (
            document.key,
            document.title,
            document.subject,
            document.uri,
        )
        made.text = document.text
        made.metadata.CopyFrom(structs.of(document.metadata))
    return made


def delivery(value: Delivery) -> delivery_pb2.Delivery:
    return messages.message(
        delivery_pb2.Delivery,
        value,
        event=value.event.value,
        response_status=value.attempt.status,
        problem=value.attempt.problem,
    )


def sync_operation(value: Operation) -> operations_pb2.Operation:
    progress = source_pb2.SyncMetadata(
        source=names.source(value.source_id),
        subject=value.subject,
        cause=value.cause,
        stage=_STAGES[value.stage],
        documents_done=value.passages_done,
        documents_total=value.passages_total,
        create_time=timestamp(value.create_time),
        update_time=timestamp(value.update_time),
        paused=value.paused and not value.done,
    )
    return operation(value, progress, lambda: source_pb2.SyncResult(**value.counts))


def _exact(value: object) -> object:
    """A value for a Struct, which cannot hold all integers exactly."""
    return str(value) if isinstance(value, int) and abs(value) > _EXACT else value
