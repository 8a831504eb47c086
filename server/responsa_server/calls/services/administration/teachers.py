"""The part of AdminService that is about teachers."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import teacher_pb2
from responsa_server.calls.services.administration.resource import ResourceCalls
from responsa_server.stores.postgres.resources import ResourceTable


class TeacherService:
    """Teachers."""

    def __init__(self, teachers: ResourceTable) -> None:
        self._calls = ResourceCalls(teacher_pb2.Teacher, teachers)

    async def CreateTeacher(self, request: pb.CreateTeacherRequest) -> teacher_pb2.Teacher:
        return await self._calls.create(request)

    async def GetTeacher(self, request: pb.GetTeacherRequest) -> teacher_pb2.Teacher:
        return await self._calls.get(request)

    async def ListTeachers(self, request: pb.ListTeachersRequest) -> pb.ListTeachersResponse:
        return await self._calls.list(request, pb.ListTeachersResponse)

    async def UpdateTeacher(self, request: pb.UpdateTeacherRequest) -> teacher_pb2.Teacher:
        return await self._calls.update(request)

    async def DeleteTeacher(self, request: pb.DeleteTeacherRequest) -> Empty:
        return await self._calls.delete(request)
