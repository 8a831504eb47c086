"""AdminService: teachers, and reading the agents' files anew."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import teacher_pb2
from responsa.admin.v1.admin_service_pb2_grpc import AdminServiceServicer
from responsa_server.calls import listing, violations
from responsa_server.calls.call import Context, caller
from responsa_server.calls.convert import agents
from responsa_server.calls.convert.basics import named_uuid, request_id, updated
from responsa_server.calls.listing import Listing
from responsa_server.calls.work import Work
from responsa_server.domain.errors import FieldViolation
from responsa_server.domain.ports.catalogue import Catalogue
from responsa_server.domain.ports.teachers import Teachers
from responsa_server.domain.teachers import TeacherChange


class TeacherCalls(AdminServiceServicer):
    """The calls of AdminService that are about agents and those they speak as."""

    def __init__(self, teachers: Teachers, catalogue: Catalogue, work: Work) -> None:
        self._teachers = teachers
        self._catalogue = catalogue
        self._work = work

    async def CreateTeacher(self, request: pb.CreateTeacherRequest, context: Context) -> teacher_pb2.Teacher:
        """Make a teacher."""
        made = await self._teachers.create(
            caller(), agents.new_teacher(request), request_id(request.request_id)
        )
        return agents.teacher(made)

    async def GetTeacher(self, request: pb.GetTeacherRequest, context: Context) -> teacher_pb2.Teacher:
        """Return one teacher."""
        return agents.teacher(
            await self._teachers.get(caller(), named_uuid("name", "teachers", request.name))
        )

    async def ListTeachers(
        self, request: pb.ListTeachersRequest, context: Context
    ) -> pb.ListTeachersResponse:
        """List the tenant's teachers."""
        asked = Listing(listing.TEACHERS, caller(), request)
        page = await self._teachers.list(caller(), asked.query)
        return pb.ListTeachersResponse(
            teachers=[agents.teacher(one) for one in page.items], next_page_token=asked.token(page)
        )

    async def UpdateTeacher(self, request: pb.UpdateTeacherRequest, context: Context) -> teacher_pb2.Teacher:
        """Change what the mask names."""
        given = request.teacher
        wanted = updated(request.update_mask, ("display_name", "persona", "parameters"))
        change = agents.teacher_change(given, wanted)
        _check(change)
        changed = await self._teachers.update(
            caller(), named_uuid("teacher.name", "teachers", given.name), change, given.etag
        )
        return agents.teacher(changed)

    async def DeleteTeacher(self, request: pb.DeleteTeacherRequest, context: Context) -> Empty:
        """Delete a teacher."""
        await self._teachers.delete(caller(), named_uuid("name", "teachers", request.name), request.etag)
        return Empty()

    async def ReloadAgents(
        self, request: pb.ReloadAgentsRequest, context: Context
    ) -> pb.ReloadAgentsResponse:
        """Read all agents' files anew."""
        # What is read is swapped in as a whole, also when who asked for it does not wait.
        return agents.reloads(await self._work.uncut(self._catalogue.reload()))


def _check(change: TeacherChange) -> None:
    """Texts that a change names must say something: the contract's own rules cannot see which are named. Raises InvalidRequest."""
    texts = {"display_name": change.display_name, "persona": change.persona}
    found = [
        FieldViolation(
            f"teacher.{name}",
            f"teacher.{name}",
            "must have at least one character that is not white space; leave it out of update_mask to keep it",
        )
        for name, value in texts.items()
        if value is not None and not value.strip()
    ]
    if found:
        raise violations.invalid(found)
