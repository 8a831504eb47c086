"""Sources, what their rows make, and profiles of persons."""

from __future__ import annotations

from typing import Final

from responsa.admin.v1 import admin_service_pb2, delivery_pb2, source_pb2
from responsa.knowledge.v1 import subject_profile_pb2
from responsa_etl.domain import (
    DELETIONS_PERCENT,
    ConnectedFolder,
    MadeRow,
    NewSource,
    Profile,
    Source,
    SourceChange,
)
from responsa_server.calls.convert import enums, knowledge, messages, structs
from responsa_server.calls.convert.values import slug_of
from responsa_server.domain import names
from responsa_server.domain.notifications import Delivery
from responsa_server.domain.rows import Row

_EXACT: Final = 2**53


def source(value: Source) -> source_pb2.Source:
    return messages.message(
        source_pb2.Source,
        value,
        name=names.source(value.id),
        collection=names.collection(value.collection),
        folder=None if value.folder is None else _folder(value.folder),
    )


def _folder(value: ConnectedFolder) -> source_pb2.ConnectedFolder:
    return messages.message(source_pb2.ConnectedFolder, value, password="")


def _read_folder(folder: source_pb2.ConnectedFolder) -> ConnectedFolder:
    kind = enums.FOLDER_KIND.value(folder.kind)
    assert kind is not None, "the contract's rules demand a kind"
    return ConnectedFolder(
        kind,
        folder.address,
        slug_of("source.folder.collection", "collections", folder.collection),
        folder.schedule,
        folder.time_zone or "UTC",
        folder.deletions_percent if folder.HasField("deletions_percent") else DELETIONS_PERCENT,
        folder.branch,
        folder.user,
        folder.password,
        region=folder.region,
        source_code=folder.source_code,
    )


def new_source(request: admin_service_pb2.CreateSourceRequest) -> NewSource:
    source = request.source
    folder = _read_folder(source.folder) if source.HasField("folder") else None
    return NewSource(request.source_id, source.display_name, source.mapping, folder)


def source_change(source: source_pb2.Source, wanted: frozenset[str]) -> SourceChange:
    """Convert an update. wanted: the names of the fields to change; of mapping and folder, the one that is set."""
    has_folder = source.HasField("folder")
    return SourceChange(
        display_name=source.display_name if "display_name" in wanted else None,
        mapping=source.mapping if "mapping" in wanted and (source.mapping or not has_folder) else None,
        folder=_read_folder(source.folder) if "folder" in wanted and has_folder else None,
    )


def preview_row(value: MadeRow) -> source_pb2.PreviewedRow:
    """Convert a row of a preview and its document."""
    row = {
        # A Struct cannot hold all integers exactly.
        name: str(cell) if isinstance(cell, int) and abs(cell) > _EXACT else cell
        for name, cell in value.row.items()
    }
    preview = source_pb2.PreviewedRow(kind=value.kind, row=structs.of(row), problem=value.problem)
    document = value.document
    if document is not None:
        preview.key, preview.title, preview.subject, preview.uri = (
            document.key,
            document.title,
            document.subject,
            document.uri,
        )
        preview.text = document.text
        preview.metadata.CopyFrom(structs.of(document.metadata))
    return preview


def delivery(value: Delivery) -> delivery_pb2.Delivery:
    return messages.message(
        delivery_pb2.Delivery,
        value,
        event=value.event.value,
        response_status=value.attempt.status,
        problem=value.attempt.problem,
    )


def profile(value: Profile) -> subject_profile_pb2.SubjectProfile:
    person = value.person
    return messages.message(
        subject_profile_pb2.SubjectProfile,
        person,
        subject=person.subjects[0],
        parts=[_part(part) for part in value.parts],
        document_count=value.document_count,
    )


def _part(value: Row) -> subject_profile_pb2.ProfilePart:
    documents = [
        subject_profile_pb2.ProfileDocument(kind=kind, document=knowledge.document(document))
        for kind, document in value.documents
    ]
    return messages.message(subject_profile_pb2.ProfilePart, value, documents=documents)
