"""The part of AdminService that is about registered programs."""

from __future__ import annotations

from uuid import UUID

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import program_pb2
from responsa_server.calls.call import caller
from responsa_server.calls.services.administration.resource import ResourceCalls
from responsa_server.domain.errors import InvalidRequest
from responsa_server.domain.formatting import plain_name
from responsa_server.identity.programs import (
    MAX_NAME_BYTES,
    ODD_MARKS,
    REDIRECTS,
    id_of_document,
    is_document,
    is_redirect,
)
from responsa_server.stores.postgres.resources import ResourceTable


class ProgramService(ResourceCalls[program_pb2.Program]):
    """Registered programs."""

    def __init__(self, programs: ResourceTable) -> None:
        super().__init__(program_pb2.Program, pb.ListProgramsResponse, programs)

    async def create(
        self, request: pb.CreateProgramRequest, identity: UUID | None = None
    ) -> program_pb2.Program:
        """Register a program, whose id follows from the address of its document, if it has one."""
        for index, uri in enumerate(request.program.redirect_uris):
            if not is_redirect(uri):
                raise InvalidRequest.of_field(
                    f"program.redirect_uris[{index}]",
                    "redirect_uri",
                    f"must be {REDIRECTS}",
                )
        name = plain_name(request.program.display_name)
        if not name or len(name.encode()) > MAX_NAME_BYTES:
            remedy = (
                ODD_MARKS if name is None else f"must have 1 to {MAX_NAME_BYTES} bytes of what people can see"
            )
            raise InvalidRequest.of_field("program.display_name", "display_name", remedy)
        request.program.display_name = name
        document = request.program.document_uri
        if document:
            if not is_document(document):
                raise InvalidRequest.of_field(
                    "program.document_uri", "document_uri", "must be an https address with a path"
                )
            identity = id_of_document(caller().tenant_id, document)
        return await super().create(request, identity)
