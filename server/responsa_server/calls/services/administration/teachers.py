"""The part of AdminService that is about teachers."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import teacher_pb2
from responsa_server.calls.call import caller
from responsa_server.calls.convert import agents
from responsa_server.calls.convert.values import named_uuid, request_id, updated
from responsa_server.calls.listing import Listing
from responsa_server.calls.services.administration.texts import check_texts
from responsa_server.domain import lists
from responsa_server.domain.teachers import Teachers


class TeacherService:
    """Teachers."""

    def __init__(self, teachers: Teachers) -> None:
        self._teachers = teachers

    async def CreateTeacher(self, request: pb.CreateTeacherRequest) -> teacher_pb2.Teacher:
        made = await self._teachers.create(
            caller(), agents.new_teacher(request), request_id(request.request_id)
        )
        return agents.teacher(made)

    async def GetTeacher(self, request: pb.GetTeacherRequest) -> teacher_pb2.Teacher:
        return agents.teacher(
            await self._teachers.get(caller(), named_uuid("name", "teachers", request.name))
        )

    async def ListTeachers(self, request: pb.ListTeachersRequest) -> pb.ListTeachersResponse:
        asked = Listing(lists.TEACHERS, caller(), request)
        page = await self._teachers.list(caller(), asked.query)
        return pb.ListTeachersResponse(
            teachers=[agents.teacher(item) for item in page.items], next_page_token=asked.token(page)
        )

    async def UpdateTeacher(self, request: pb.UpdateTeacherRequest) -> teacher_pb2.Teacher:
        given = request.teacher
        wanted = updated(request.update_mask, ("display_name", "persona", "parameters"))
        change = agents.teacher_change(given, wanted)
        check_texts("teacher", display_name=change.display_name, persona=change.persona)
        changed = await self._teachers.update(
            caller(), named_uuid("teacher.name", "teachers", given.name), change, given.etag
        )
        return agents.teacher(changed)

    async def DeleteTeacher(self, request: pb.DeleteTeacherRequest) -> Empty:
        await self._teachers.delete(caller(), named_uuid("name", "teachers", request.name), request.etag)
        return Empty()
