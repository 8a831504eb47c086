"""Profiles of persons."""

from __future__ import annotations

from responsa.knowledge.v1 import subject_profile_pb2
from responsa_etl.domain import Profile
from responsa_server.calls.convert import knowledge, messages
from responsa_server.domain.rows import Row


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
