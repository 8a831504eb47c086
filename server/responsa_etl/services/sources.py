"""The parts of AdminService and KnowledgeService that are about sources and profiles."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from google.longrunning import operations_proto_pb2 as operations_pb2
from google.protobuf.empty_pb2 import Empty

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import delivery_pb2, source_pb2
from responsa.knowledge.v1 import knowledge_service_pb2, subject_profile_pb2
from responsa_etl.convert import sources
from responsa_etl.sources.service import SourceAdministration, SubjectProfiles
from responsa_server.calls.call import caller
from responsa_server.calls.convert.knowledge import sync_operation
from responsa_server.calls.convert.messages import message
from responsa_server.calls.convert.values import parse_read_mask, request_id, slug_of, unmask, uuid_of
from responsa_server.calls.listing import Listing
from responsa_server.domain import lists

_PREVIEWED_ROWS: Final = 5


class SourceService:
    """Sources."""

    def __init__(self, administration: SourceAdministration) -> None:
        self._administration = administration
        self._sources = administration.sources

    async def CreateSource(self, request: pb.CreateSourceRequest) -> source_pb2.Source:
        source = await self._administration.create(
            caller(), sources.new_source(request), validate_only=request.validate_only
        )
        return sources.source(source)

    async def GetSource(self, request: pb.GetSourceRequest) -> source_pb2.Source:
        return sources.source(await self._sources.get(caller(), slug_of("name", "sources", request.name)))

    async def ListSources(self, request: pb.ListSourcesRequest) -> pb.ListSourcesResponse:
        asked = Listing(lists.SOURCES, caller(), request)
        page = await self._sources.list(caller(), asked.query)
        return asked.answer(pb.ListSourcesResponse, page, sources.source)

    async def UpdateSource(self, request: pb.UpdateSourceRequest) -> source_pb2.Source:
        source = request.source
        change = sources.source_change(
            source, unmask(request.update_mask, ("display_name", "mapping", "folder"), source)
        )
        changed = await self._administration.update(
            caller(), slug_of("source.name", "sources", source.name), change, source.etag
        )
        return sources.source(changed)

    async def DeleteSource(self, request: pb.DeleteSourceRequest) -> Empty:
        named = slug_of("name", "sources", request.name)
        await self._administration.delete(caller(), named, request.etag, documents=request.delete_documents)
        return Empty()

    async def PreviewSource(self, request: pb.PreviewSourceRequest) -> pb.PreviewSourceResponse:
        rows = request.rows if request.HasField("rows") else _PREVIEWED_ROWS
        drafts = await self._administration.preview(caller(), request.mapping, rows, request.subject)
        previews = await asyncio.to_thread(lambda: [sources.preview_row(draft) for draft in drafts])
        return pb.PreviewSourceResponse(rows=previews)

    async def SyncSource(self, request: pb.SyncSourceRequest) -> operations_pb2.Operation:
        operation = await self._administration.runs.start(
            caller(),
            slug_of("name", "sources", request.name),
            request.subject,
            confirmed=request.allow_deletions,
        )
        return sync_operation(operation)

    async def RetryFailedRows(self, request: pb.RetryFailedRowsRequest) -> operations_pb2.Operation:
        operation = await self._administration.runs.start(
            caller(), slug_of("name", "sources", request.name), "", confirmed=False, retry=True
        )
        return sync_operation(operation)

    async def NotifySubjectChanged(
        self, request: pb.NotifySubjectChangedRequest
    ) -> pb.NotifySubjectChangedResponse:
        operations = await self._administration.notify(
            caller(),
            request.subject,
            [slug_of(f"sources[{at}]", "sources", name) for at, name in enumerate(request.sources)],
            request.cause,
            request_id(request.request_id),
        )
        return pb.NotifySubjectChangedResponse(operations=[sync_operation(run) for run in operations])

    async def ListDeliveries(self, request: pb.ListDeliveriesRequest) -> pb.ListDeliveriesResponse:
        asked = Listing(lists.DELIVERIES, caller(), request)
        page = await self._administration.deliveries.list(caller(), asked.query)
        return asked.answer(pb.ListDeliveriesResponse, page, sources.delivery)

    async def RedeliverDelivery(self, request: pb.RedeliverDeliveryRequest) -> delivery_pb2.Delivery:
        named = uuid_of("name", "deliveries", request.name)
        return sources.delivery(await self._administration.deliveries.again(caller(), named))

    async def ListFailedRows(self, request: pb.ListFailedRowsRequest) -> pb.ListFailedRowsResponse:
        listing = Listing(lists.FAILED_ROWS, caller(), request, request.parent)
        page = await self._administration.runs.list_failed_rows(
            caller(), slug_of("parent", "sources", request.parent), listing.query
        )
        return listing.answer(pb.ListFailedRowsResponse, page, partial(message, source_pb2.FailedRow))

    async def ListConnections(self, _: pb.ListConnectionsRequest) -> pb.ListConnectionsResponse:
        return pb.ListConnectionsResponse(
            connections=await self._administration.connections(caller()),
            folder_paths=self._administration.folder_paths(caller()),
        )


_OF_DOCUMENTS: Final = ("parts", "document_count")
_FIELDS: Final = ("subject", "user", *_OF_DOCUMENTS)


class ProfileService:
    """What is held about persons."""

    def __init__(self, profiles: SubjectProfiles) -> None:
        self._profiles = profiles

    async def GetSubjectProfile(
        self, request: knowledge_service_pb2.GetSubjectProfileRequest
    ) -> subject_profile_pb2.SubjectProfile:
        fields = parse_read_mask(request.read_mask, _FIELDS)
        documents = not fields.isdisjoint(_OF_DOCUMENTS)
        profile = sources.profile(await self._profiles.get(caller(), request.subject, documents=documents))
        for name in _FIELDS:
            if name not in fields:
                profile.ClearField(name)
        return profile
