"""google.longrunning.Operations for ingestion, for generations of collections and for runs of sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from google.longrunning import operations_proto_pb2 as pb
from google.protobuf.empty_pb2 import Empty

from responsa_server.calls.call import caller, current
from responsa_server.calls.convert import knowledge
from responsa_server.calls.convert.values import uuid_of
from responsa_server.calls.listing import Listing
from responsa_server.domain import lists
from responsa_server.domain.errors import FieldViolation, InvalidRequest, Reason
from responsa_server.domain.generations import Generation
from responsa_server.domain.knowledge import Document, Operation, OperationKind
from responsa_server.domain.people import Principal
from responsa_server.library.library import Library

MAX_WAIT_SECONDS = 3600.0
# The response must be sent before the caller's deadline.
_HEAD_START_SECONDS = 0.1


async def encode_operation(library: Library, caller: Principal, operation: Operation) -> pb.Operation:
    """An operation with its document or its generation, which may have been deleted in the meantime."""
    return (await _encode(library, caller, [operation]))[0]


async def _encode(
    library: Library, caller: Principal, operations: Sequence[Operation]
) -> Sequence[pb.Operation]:
    """Operations with their documents and generations. One query reads all documents, and one query all generations."""
    successful = [operation for operation in operations if operation.done and operation.error is None]
    wanted = [operation.document_id for operation in successful if operation.kind is OperationKind.INGEST]
    documents: Mapping[UUID, Document] = await library.documents.find(caller, wanted) if wanted else {}
    reindexed = {op.collection_id for op in successful if op.kind is OperationKind.REINDEX}
    generations: Mapping[tuple[str, int], Generation] = (
        await library.generations.find(caller, sorted(reindexed)) if reindexed else {}
    )
    converted = list[pb.Operation]()
    for operation in operations:
        match operation.kind:
            case OperationKind.INGEST:
                converted.append(knowledge.ingest_operation(operation, documents.get(operation.document_id)))
            case OperationKind.REINDEX:
                generation = generations.get((operation.collection_id, operation.version))
                converted.append(knowledge.reindex_operation(operation, generation))
            case OperationKind.SYNC:
                converted.append(knowledge.sync_operation(operation))
    return converted


class OperationsService:
    """Operations that ingest documents, build or activate generations, or run sources. The messages are Google's and
    have no validation rules of ours, so their content is checked here.

    Members of a tenant may get any of the tenant's operations and wait for them. A list holds the caller's
    operations; for an administrator, it holds the tenant's operations. An operation may be cancelled and
    deleted by the user who started it, by the user who uploaded its document, by the owner of the collection,
    and by administrators; other users get ROLE_REQUIRED. For another tenant's operations, callers get
    RESOURCE_NOT_FOUND.
    """

    def __init__(self, library: Library) -> None:
        self._library = library

    async def ListOperations(self, request: pb.ListOperationsRequest) -> pb.ListOperationsResponse:
        """List the caller's operations, newest first. An administrator gets all operations of the tenant."""
        if request.name not in ("", "operations"):
            raise _invalid("name", "must be `operations` or empty")
        if request.page_size < 0:
            raise _invalid("page_size", "must be 0 or more")
        asked = Listing(lists.OPERATIONS, caller(), request)
        page = await self._library.list_operations(caller(), asked.query)
        return pb.ListOperationsResponse(
            operations=await _encode(self._library, caller(), page.items),
            next_page_token=asked.token(page),
        )

    async def GetOperation(self, request: pb.GetOperationRequest) -> pb.Operation:
        who = caller()
        return await encode_operation(
            self._library,
            who,
            await self._library.operations.get(who, uuid_of("name", "operations", request.name)),
        )

    async def DeleteOperation(self, request: pb.DeleteOperationRequest) -> Empty:
        """Delete an operation that has ended; its document stays."""
        await self._library.delete_operation(caller(), uuid_of("name", "operations", request.name))
        return Empty()

    async def CancelOperation(self, request: pb.CancelOperationRequest) -> Empty:
        """Cancel an operation. This has no effect if the operation has ended."""
        await self._library.cancel_operation(caller(), uuid_of("name", "operations", request.name))
        return Empty()

    async def WaitOperation(self, request: pb.WaitOperationRequest) -> pb.Operation:
        """Wait until an operation has ended or time is up, whichever comes first, and return its state at that moment.

        The time limit is the request's timeout; its default and its maximum are one hour. The wait also ends shortly
        before the caller's deadline.
        """
        seconds = MAX_WAIT_SECONDS
        if request.HasField("timeout"):
            seconds = request.timeout.seconds + request.timeout.nanos / 1e9
            if seconds < 0:
                raise _invalid("timeout", "must not be negative; 0 returns at once")
        remaining = current().time_remaining
        if remaining is not None:
            seconds = min(seconds, max(remaining - _HEAD_START_SECONDS, 0.0))
        who = caller()
        operation = await self._library.watching.wait(
            who, uuid_of("name", "operations", request.name), min(seconds, MAX_WAIT_SECONDS)
        )
        return await encode_operation(self._library, who, operation)


def _invalid(field: str, what: str) -> InvalidRequest:
    return InvalidRequest(
        Reason.INVALID_FIELD,
        f"{field}: {what}",
        {"violations": "1"},
        (FieldViolation(field, "standard", what),),
    )
