"""The part of AdminService that is about sources."""

from __future__ import annotations

import asyncio
from typing import Final

from google.longrunning import operations_proto_pb2 as operations_pb2
from google.protobuf.empty_pb2 import Empty

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import delivery_pb2, source_pb2
from responsa_server.calls.call import caller
from responsa_server.calls.convert import sources
from responsa_server.calls.convert.messages import message
from responsa_server.calls.convert.values import named_slug, named_uuid, request_id, updated
from responsa_server.calls.listing import Listing, Unfiltered
from responsa_server.domain import lists
from responsa_server.sources.service import SourceAdministration

_PREVIEWED_ROWS: Final = 5


class SourceService:
    """Sources."""

    def __init__(self, administration: SourceAdministration) -> None:
        self._administration = administration
        self._sources = administration.sources

    async def CreateSource(self, request: pb.CreateSourceRequest) -> source_pb2.Source:
        made = await self._administration.create(
            caller(), sources.new_source(request), validate_only=request.validate_only
        )
        return sources.source(made)

    async def GetSource(self, request: pb.GetSourceRequest) -> source_pb2.Source:
        return sources.source(await self._sources.get(caller(), named_slug("name", "sources", request.name)))

    async def ListSources(self, request: pb.ListSourcesRequest) -> pb.ListSourcesResponse:
        asked = Listing(lists.SOURCES, caller(), request)
        page = await self._sources.list(caller(), asked.query)
        return pb.ListSourcesResponse(
            sources=[sources.source(item) for item in page.items], next_page_token=asked.token(page)
        )

    async def UpdateSource(self, request: pb.UpdateSourceRequest) -> source_pb2.Source:
        given = request.source
        change = sources.source_change(
            given, updated(request.update_mask, ("display_name", "mapping", "folder"), given)
        )
        changed = await self._administration.update(
            caller(), named_slug("source.name", "sources", given.name), change, given.etag
        )
        return sources.source(changed)

    async def DeleteSource(self, request: pb.DeleteSourceRequest) -> Empty:
        named = named_slug("name", "sources", request.name)
        await self._administration.delete(caller(), named, request.etag, documents=request.delete_documents)
        return Empty()

    async def PreviewSource(self, request: pb.PreviewSourceRequest) -> pb.PreviewSourceResponse:
        rows = request.rows if request.HasField("rows") else _PREVIEWED_ROWS
        made = await self._administration.preview(caller(), request.mapping, rows, request.subject)
        rows_shown = await asyncio.to_thread(lambda: [sources.made_row(one) for one in made])
        return pb.PreviewSourceResponse(rows=rows_shown)

    async def SyncSource(self, request: pb.SyncSourceRequest) -> operations_pb2.Operation:
        operation = await self._administration.runs.start(
            caller(),
            named_slug("name", "sources", request.name),
            request.subject,
            confirmed=request.allow_deletions,
        )
        return sources.sync_operation(operation)

    async def RetryFailedRows(self, request: pb.RetryFailedRowsRequest) -> operations_pb2.Operation:
        operation = await self._administration.runs.start(
            caller(), named_slug("name", "sources", request.name), "", confirmed=False, retry=True
        )
        return sources.sync_operation(operation)

    async def NotifySubjectChanged(
        self, request: pb.NotifySubjectChangedRequest
    ) -> pb.NotifySubjectChangedResponse:
        operations = await self._administration.notify(
            caller(),
            request.subject,
            [named_slug(f"sources[{at}]", "sources", one) for at, one in enumerate(request.sources)],
            request.cause,
            request_id(request.request_id),
        )
        return pb.NotifySubjectChangedResponse(operations=[sources.sync_operation(one) for one in operations])

    async def ListDeliveries(self, request: pb.ListDeliveriesRequest) -> pb.ListDeliveriesResponse:
        asked = Listing(lists.DELIVERIES, caller(), request)
        page = await self._administration.deliveries.list(caller(), asked.query)
        return pb.ListDeliveriesResponse(
            deliveries=[sources.delivery(item) for item in page.items], next_page_token=asked.token(page)
        )

    async def RedeliverDelivery(self, request: pb.RedeliverDeliveryRequest) -> delivery_pb2.Delivery:
        named = named_uuid("name", "deliveries", request.name)
        return sources.delivery(await self._administration.deliveries.again(caller(), named))

    async def ListFailedRows(self, request: pb.ListFailedRowsRequest) -> pb.ListFailedRowsResponse:
        listing = Listing(lists.FAILED_ROWS, caller(), Unfiltered(request), request.parent)
        page = await self._administration.runs.failed_rows(
            caller(), named_slug("parent", "sources", request.parent), listing.query
        )
        return pb.ListFailedRowsResponse(
            failed_rows=[message(source_pb2.FailedRow, item) for item in page.items],
            next_page_token=listing.token(page),
        )

    async def ListConnections(self, _: pb.ListConnectionsRequest) -> pb.ListConnectionsResponse:
        return pb.ListConnectionsResponse(
            connections=await self._administration.connections(caller()),
            folder_paths=self._administration.folder_paths(caller()),
        )
