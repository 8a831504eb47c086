"""Profiles of persons."""

from __future__ import annotations

from responsa.knowledge.v1 import subject_profile_pb2
from responsa_server.calls.convert import knowledge
from responsa_server.calls.convert.values import timestamp
from responsa_server.domain import names
from responsa_server.domain.sources import Profile, ProfilePart


def profile(value: Profile) -> subject_profile_pb2.SubjectProfile:
    person = value.person
    return subject_profile_pb2.SubjectProfile(
        subject=person.subjects[0],
        user="" if person.user_id is None else names.user(person.user_id),
        parts=[_part(part) for part in value.parts],
        document_count=value.document_count,
    )


def _part(value: ProfilePart) -> subject_profile_pb2.ProfilePart:
    return subject_profile_pb2.ProfilePart(
        source=names.source(value.source_id) if value.source_id else "",
        source_display_name=value.display_name,
        documents=[
            subject_profile_pb2.ProfileDocument(
                kind=document.kind, document=knowledge.document(document.document)
            )
            for document in value.documents
        ],
        failed_rows=value.failed_rows,
        newest_run="" if value.newest_run is None else names.operation(value.newest_run),
        sync_time=timestamp(value.sync_time),
    )
