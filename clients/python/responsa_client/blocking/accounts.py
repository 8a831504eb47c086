# Generated from ../aio/accounts.py by `make generate`. Do not edit.
"""The caller, its keys, and the calls of administrators."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf import timestamp_pb2

from responsa.admin.v1 import admin_service_pb2, system_status_pb2, teacher_pb2
from responsa.auth.v1 import api_key_pb2, auth_service_pb2, user_pb2
from responsa_client import requests
from responsa_client.blocking.calls import Part
from responsa_client.requests import Parameters


class AccountCalls(Part):
    """The caller, keys, teachers and the server."""

    def me(self) -> user_pb2.User:
        """Who the caller is. Raises Unauthenticated."""
        return self._calls.unary(self._stubs.auth.GetMe, auth_service_pb2.GetMeRequest())

    def create_session_code(self) -> auth_service_pb2.CreateSessionCodeResponse:
        """A code, good once and for ten minutes, that a browser exchanges for a session of the caller."""
        request = auth_service_pb2.CreateSessionCodeRequest()
        return self._calls.unary(self._stubs.auth.CreateSessionCode, request, repeatable=False)

    def create_api_key(
        self,
        display_name: str,
        expire_time: timestamp_pb2.Timestamp | None = None,
        request_id: str | None = None,
    ) -> auth_service_pb2.CreateApiKeyResponse:
        """A new key of the caller; its secret is in this response and never again.

        It is not repeated by itself when the connection breaks: a repetition brings the key without its secret.

        Args:
            display_name: at most 200 bytes, for people.
            expire_time: when it ends; None: never.
            request_id: the same one again gives back the key that the first call made, with an empty secret (revoke it and
                make another). None makes one.

        Raises:
            AlreadyExists: the request_id was used before with another name or end.
        """
        api_key = api_key_pb2.ApiKey(display_name=display_name, expire_time=expire_time)
        made = request_id or requests.new_request_id()
        request = auth_service_pb2.CreateApiKeyRequest(api_key=api_key, request_id=made)
        return self._calls.unary(self._stubs.auth.CreateApiKey, request, repeatable=False)

    def api_keys(self, filter_by: str = "", order_by: str = "") -> Iterator[api_key_pb2.ApiKey]:
        """The caller's keys, by default newest first."""
        request = auth_service_pb2.ListApiKeysRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.auth.ListApiKeys, request, lambda page: page.api_keys)

    def revoke_api_key(self, name: str) -> api_key_pb2.ApiKey:
        """End a key at once; ending it again changes nothing. Raises NotFound."""
        return self._calls.unary(
            self._stubs.auth.RevokeApiKey, auth_service_pb2.RevokeApiKeyRequest(name=name)
        )

    def get_system_status(self) -> system_status_pb2.SystemStatus:
        """How each part of the server is. Needs the role ADMIN, else PermissionDenied."""
        request = admin_service_pb2.GetSystemStatusRequest()
        return self._calls.unary(self._stubs.admin.GetSystemStatus, request)

    # Administrators: without the role ADMIN all that follows raises PermissionDenied.

    def create_teacher(
        self,
        display_name: str,
        persona: str,
        parameters: Parameters | None = None,
        teacher_id: str = "",
        request_id: str | None = None,
    ) -> teacher_pb2.Teacher:
        """A new teacher: a persona that agents speak as.

        Args:
            display_name: what people call it, 1 to 200 bytes.
            persona: how it speaks and teaches, 1 byte to 8 KiB.
            parameters: anything else that prompts may use; at most 4 KiB encoded.
            teacher_id: the UUID that it shall have; "" leaves it to the server.
            request_id: the same one again gives back the teacher that the first call made. None makes one.

        Raises:
            AlreadyExists: there is a teacher of this id, or the request_id was used before for another.
            ValueError, TypeError: the parameters are no JSON.
        """
        made = request_id or requests.new_request_id()
        request = requests.create_teacher(display_name, persona, parameters, teacher_id, made)
        return self._calls.unary(self._stubs.admin.CreateTeacher, request)

    def teacher(self, teacher: str) -> teacher_pb2.Teacher:
        """One teacher, `teachers/{uuid}` or the UUID alone. Raises NotFound."""
        request = admin_service_pb2.GetTeacherRequest(name=requests.teacher_name(teacher))
        return self._calls.unary(self._stubs.admin.GetTeacher, request)

    def teachers(self, filter_by: str = "", order_by: str = "") -> Iterator[teacher_pb2.Teacher]:
        """All teachers, by default in the order they were made."""
        request = admin_service_pb2.ListTeachersRequest(
            page_size=requests.MESSAGES_PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.admin.ListTeachers, request, lambda page: page.teachers)

    def update_teacher(
        self,
        teacher: str,
        *,
        display_name: str | None = None,
        persona: str | None = None,
        parameters: Parameters | None = None,
        etag: str = "",
    ) -> teacher_pb2.Teacher:
        """Change what is given, all or nothing; parameters are replaced as a whole. Turns at work keep the persona they began with.

        Raises:
            NotFound: no such teacher.
            Conflict: the etag is no longer the teacher's.
            ValueError, TypeError: the parameters are no JSON.
        """
        request = requests.update_teacher(teacher, display_name, persona, parameters, etag)
        return self._calls.unary(self._stubs.admin.UpdateTeacher, request, repeatable=not etag)

    def delete_teacher(self, teacher: str, etag: str = "") -> None:
        """Delete a teacher; what was answered in its voice stays. Raises NotFound, Conflict (the etag)."""
        request = admin_service_pb2.DeleteTeacherRequest(name=requests.teacher_name(teacher), etag=etag)
        self._calls.unary(self._stubs.admin.DeleteTeacher, request, repeatable=False)

    def reload_agents(self) -> list[admin_service_pb2.AgentReload]:
        """Have the server read all agents' files again. A broken agent keeps serving its old version, and its problems are returned."""
        request = admin_service_pb2.ReloadAgentsRequest()
        return list((self._calls.unary(self._stubs.admin.ReloadAgents, request)).agents)
