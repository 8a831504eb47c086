"""The part of KnowledgeService that is about profiles."""

from __future__ import annotations

from typing import Final

from responsa.knowledge.v1 import knowledge_service_pb2 as pb
from responsa.knowledge.v1 import subject_profile_pb2
from responsa_etl.convert import profiles
from responsa_etl.sources.service import SubjectProfiles
from responsa_server.calls.call import caller
from responsa_server.calls.convert.values import parse_read_mask

_OF_DOCUMENTS: Final = ("parts", "document_count")
_FIELDS: Final = ("subject", "user", *_OF_DOCUMENTS)


class ProfileService:
    """What is held about persons."""

    def __init__(self, profiles: SubjectProfiles) -> None:
        self._profiles = profiles

    async def GetSubjectProfile(
        self, request: pb.GetSubjectProfileRequest
    ) -> subject_profile_pb2.SubjectProfile:
        fields = parse_read_mask(request.read_mask, _FIELDS)
        documents = not fields.isdisjoint(_OF_DOCUMENTS)
        profile = profiles.profile(await self._profiles.get(caller(), request.subject, documents=documents))
        for name in _FIELDS:
            if name not in fields:
                profile.ClearField(name)
        return profile
