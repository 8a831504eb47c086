"""The twin of account_calls.py for asyncio, call for call."""

from __future__ import annotations

from collections.abc import AsyncIterator

from google.protobuf import timestamp_pb2

from responsa.admin.v1 import admin_service_pb2, system_status_pb2, teacher_pb2
from responsa.auth.v1 import api_key_pb2, auth_service_pb2, user_pb2
from responsa_client import requests
from responsa_client.nonblocking import AsyncPart
from responsa_client.requests import Parameters


class AsyncAccountCalls(AsyncPart):
    """As `AccountCalls`."""

    async def me(self) -> user_pb2.User:
        """As `Responsa.me`."""
        return await self._calls.unary(self._stubs.auth.GetMe, auth_service_pb2.GetMeRequest())

    async def create_session_code(self) -> auth_service_pb2.CreateSessionCodeResponse:
        """As `Responsa.create_session_code`."""
        request = auth_service_pb2.CreateSessionCodeRequest()
        return await self._calls.unary(self._stubs.auth.CreateSessionCode, request, repeatable=False)

    async def create_api_key(
        self,
        display_name: str,
        expire_time: timestamp_pb2.Timestamp | None = None,
        request_id: str | None = None,
    ) -> auth_service_pb2.CreateApiKeyResponse:
        """As `Responsa.create_api_key`."""
        api_key = api_key_pb2.ApiKey(display_name=display_name, expire_time=expire_time)
        made = request_id or requests.new_request_id()
        request = auth_service_pb2.CreateApiKeyRequest(api_key=api_key, request_id=made)
        return await self._calls.unary(self._stubs.auth.CreateApiKey, request, repeatable=False)

    def api_keys(self, filter_by: str = "", order_by: str = "") -> AsyncIterator[api_key_pb2.ApiKey]:
        """As `Responsa.api_keys`."""
        request = auth_service_pb2.ListApiKeysRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.auth.ListApiKeys, request, lambda page: page.api_keys)

    async def revoke_api_key(self, name: str) -> api_key_pb2.ApiKey:
        """As `Responsa.revoke_api_key`."""
        return await self._calls.unary(
            self._stubs.auth.RevokeApiKey, auth_service_pb2.RevokeApiKeyRequest(name=name)
        )

    async def get_system_status(self) -> system_status_pb2.SystemStatus:
        """As `Responsa.get_system_status`."""
        request = admin_service_pb2.GetSystemStatusRequest()
        return await self._calls.unary(self._stubs.admin.GetSystemStatus, request)

    async def create_teacher(
        self,
        display_name: str,
        persona: str,
        parameters: Parameters | None = None,
        teacher_id: str = "",
        request_id: str | None = None,
    ) -> teacher_pb2.Teacher:
        """As `Responsa.create_teacher`."""
        made = request_id or requests.new_request_id()
        request = requests.create_teacher(display_name, persona, parameters, teacher_id, made)
        return await self._calls.unary(self._stubs.admin.CreateTeacher, request)

    async def teacher(self, teacher: str) -> teacher_pb2.Teacher:
        """As `Responsa.teacher`."""
        request = admin_service_pb2.GetTeacherRequest(name=requests.teacher_name(teacher))
        return await self._calls.unary(self._stubs.admin.GetTeacher, request)

    def teachers(self, filter_by: str = "", order_by: str = "") -> AsyncIterator[teacher_pb2.Teacher]:
        """As `Responsa.teachers`."""
        request = admin_service_pb2.ListTeachersRequest(
            page_size=requests.MESSAGES_PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.admin.ListTeachers, request, lambda page: page.teachers)

    async def update_teacher(
        self,
        teacher: str,
        *,
        display_name: str | None = None,
        persona: str | None = None,
        parameters: Parameters | None = None,
        etag: str = "",
    ) -> teacher_pb2.Teacher:
        """As `Responsa.update_teacher`."""
        request = requests.update_teacher(teacher, display_name, persona, parameters, etag)
        return await self._calls.unary(self._stubs.admin.UpdateTeacher, request, repeatable=not etag)

    async def delete_teacher(self, teacher: str, etag: str = "") -> None:
        """As `Responsa.delete_teacher`."""
        request = admin_service_pb2.DeleteTeacherRequest(name=requests.teacher_name(teacher), etag=etag)
        await self._calls.unary(self._stubs.admin.DeleteTeacher, request, repeatable=False)

    async def reload_agents(self) -> list[admin_service_pb2.AgentReload]:
        """As `Responsa.reload_agents`."""
        request = admin_service_pb2.ReloadAgentsRequest()
        return list((await self._calls.unary(self._stubs.admin.ReloadAgents, request)).agents)
