"""Calls about the caller and the caller's API keys, and calls for administrators."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence

from google.longrunning import operations_pb2
from google.protobuf import timestamp_pb2

from responsa.admin.v1 import (
    admin_service_pb2,
    audit_event_pb2,
    delivery_pb2,
    source_pb2,
    system_status_pb2,
    teacher_pb2,
    user_limits_pb2,
    user_quota_pb2,
)
from responsa.auth.v1 import (
    api_key_pb2,
    auth_service_pb2,
    deletion_receipt_pb2,
    session_pb2,
    user_pb2,
    user_usage_pb2,
)
from responsa_client import requests
from responsa_client.aio.calls import AsyncPart
from responsa_client.requests import Parameters


class AsyncAccountCalls(AsyncPart):
    """The calls of AuthService and AdminService."""

    async def me(self) -> user_pb2.User:
        """The user who makes this call. Raises Unauthenticated."""
        return await self._calls.unary(self._stubs.auth.GetMe, auth_service_pb2.GetMeRequest())

    async def usage(self) -> user_usage_pb2.UserUsage:
        """What the caller's questions have used and reserved in the current day and month, with the limits of the caller's quota."""
        request = auth_service_pb2.GetMyUsageRequest()
        return await self._calls.unary(self._stubs.auth.GetMyUsage, request)

    async def create_session_code(self) -> auth_service_pb2.CreateSessionCodeResponse:
        """Create a code that a browser can exchange for a session of the caller, once and within ten minutes."""
        request = auth_service_pb2.CreateSessionCodeRequest()
        return await self._calls.unary(self._stubs.auth.CreateSessionCode, request, repeatable=False)

    async def create_api_key(
        self,
        display_name: str,
        expire_time: timestamp_pb2.Timestamp | None = None,
        request_id: str | None = None,
        *,
        as_user: bool = False,
    ) -> auth_service_pb2.CreateApiKeyResponse:
        """Create an API key for the caller. Only this response contains the key's secret.

        The client does not retry this call after a lost connection, because the second response would not contain the secret.

        Args:
            display_name: a name to show to people, at most 200 bytes.
            expire_time: when the key expires; None for a key that never expires.
            request_id: a UUID. With the id of an earlier call, the server returns the key of that call with an empty
                secret; the caller should revoke that key and create another one. None generates a new id.
            as_user: whether the key has only the rights of the role USER, also if the caller is an administrator.

        Raises:
            AlreadyExists: the request_id was used before for a key with a different name, expiry or role.
        """
        role = user_pb2.USER_ROLE_USER if as_user else user_pb2.USER_ROLE_UNSPECIFIED
        api_key = api_key_pb2.ApiKey(display_name=display_name, expire_time=expire_time, role=role)
        made = request_id or requests.new_request_id()
        request = auth_service_pb2.CreateApiKeyRequest(api_key=api_key, request_id=made)
        return await self._calls.unary(self._stubs.auth.CreateApiKey, request, repeatable=False)

    def api_keys(self, filter_by: str = "", order_by: str = "") -> AsyncIterator[api_key_pb2.ApiKey]:
        """The caller's API keys, by default newest first."""
        request = auth_service_pb2.ListApiKeysRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.auth.ListApiKeys, request, lambda page: page.api_keys)

    async def revoke_api_key(self, name: str) -> api_key_pb2.ApiKey:
        """Revoke an API key immediately. A second call has no effect. Raises NotFound."""
        return await self._calls.unary(
            self._stubs.auth.RevokeApiKey, auth_service_pb2.RevokeApiKeyRequest(name=name)
        )

    async def get_system_status(self) -> system_status_pb2.SystemStatus:
        """The state of each part of the server. Raises PermissionDenied without the role ADMIN."""
        request = admin_service_pb2.GetSystemStatusRequest()
        return await self._calls.unary(self._stubs.admin.GetSystemStatus, request)

    # For administrators: without the role ADMIN, all methods below raise PermissionDenied.

    async def create_teacher(
        self,
        display_name: str,
        persona: str,
        parameters: Parameters | None = None,
        teacher_id: str = "",
        request_id: str | None = None,
    ) -> teacher_pb2.Teacher:
        """Create a teacher, which is a persona for agents.

        Args:
            display_name: a name to show to people, 1 to 200 bytes.
            persona: a description of how the teacher speaks and teaches, 1 byte to 8 KiB.
            parameters: further values that prompts may use, at most 4 KiB when encoded.
            teacher_id: the teacher's UUID; with "", the server chooses one.
            request_id: a UUID. With the id of an earlier call, the server returns the teacher of that call.
                None generates a new id.

        Raises:
            AlreadyExists: a teacher with this id exists, or the request_id was used before for another teacher.
            ValueError, TypeError: the parameters cannot be written as JSON.
        """
        made = request_id or requests.new_request_id()
        request = requests.create_teacher(display_name, persona, parameters, teacher_id, made)
        return await self._calls.unary(self._stubs.admin.CreateTeacher, request)

    async def teacher(self, teacher: str) -> teacher_pb2.Teacher:
        """The teacher with this name (`teachers/{uuid}`) or UUID. Raises NotFound."""
        request = admin_service_pb2.GetTeacherRequest(name=requests.teacher_name(teacher))
        return await self._calls.unary(self._stubs.admin.GetTeacher, request)

    def teachers(self, filter_by: str = "", order_by: str = "") -> AsyncIterator[teacher_pb2.Teacher]:
        """All teachers, by default in the order of their creation."""
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
        """Change the given fields, all of them or none. `parameters` replaces all earlier parameters. Running turns keep the persona that they began with.

        Raises:
            NotFound: the teacher does not exist.
            Conflict: the teacher's etag differs from the given etag.
            ValueError, TypeError: the parameters cannot be written as JSON.
        """
        request = requests.update_teacher(teacher, display_name, persona, parameters, etag)
        return await self._calls.unary(self._stubs.admin.UpdateTeacher, request, repeatable=not etag)

    async def delete_teacher(self, teacher: str, etag: str = "") -> None:
        """Delete a teacher. Earlier answers with the teacher's persona are kept. Raises NotFound; Conflict if the teacher has another etag."""
        request = admin_service_pb2.DeleteTeacherRequest(name=requests.teacher_name(teacher), etag=etag)
        await self._calls.unary(self._stubs.admin.DeleteTeacher, request, repeatable=False)

    async def create_source(self, source_id: str, mapping: str, display_name: str = "") -> source_pb2.Source:
        """Create a source, which turns the rows of a database into documents.

        Args:
            source_id: the id: 1 to 63 characters of a-z, 0-9 and hyphen, not beginning with a hyphen.
            mapping: the mapping, in TOML, at most 128 KiB.
            display_name: a name to show to people, at most 200 bytes.

        Raises:
            InvalidRequest: the mapping has mistakes; the error names the lines.
            AlreadyExists: a source with this id exists.
        """
        request = admin_service_pb2.CreateSourceRequest(
            source_id=source_id, source=source_pb2.Source(mapping=mapping, display_name=display_name)
        )
        return await self._calls.unary(self._stubs.admin.CreateSource, request, repeatable=False)

    async def source(self, source: str) -> source_pb2.Source:
        """The source with this name (`sources/{id}`) or id. Raises NotFound."""
        request = admin_service_pb2.GetSourceRequest(name=requests.source_name(source))
        return await self._calls.unary(self._stubs.admin.GetSource, request)

    def sources(self, filter_by: str = "", order_by: str = "") -> AsyncIterator[source_pb2.Source]:
        """All sources, by default in the order of their ids."""
        request = admin_service_pb2.ListSourcesRequest(
            page_size=requests.MESSAGES_PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.admin.ListSources, request, lambda page: page.sources)

    async def update_source(
        self, source: str, mapping: str | None = None, display_name: str | None = None, etag: str = ""
    ) -> source_pb2.Source:
        """Update a source; None leaves a field as it is.

        Raises:
            InvalidRequest: the mapping has mistakes; the error names the lines.
            NotFound: the source does not exist.
            Conflict: the source's etag differs from the given etag.
        """
        request = requests.update_source(source, mapping, display_name, etag)
        return await self._calls.unary(self._stubs.admin.UpdateSource, request, repeatable=not etag)

    async def delete_source(self, source: str, etag: str = "") -> None:
        """Delete a source. Its documents stay. Raises NotFound; Conflict if the source has another etag."""
        request = admin_service_pb2.DeleteSourceRequest(name=requests.source_name(source), etag=etag)
        await self._calls.unary(self._stubs.admin.DeleteSource, request, repeatable=False)

    async def sync_source(
        self, source: str, subject: str = "", *, allow_deletions: bool = False
    ) -> operations_pb2.Operation:
        """Begin a run of a source. The operation's result is a SyncResult.

        Args:
            source: the name (`sources/{id}`) or id.
            subject: the subject whose rows are read; "" for all.
            allow_deletions: whether the run may delete more documents than the mapping's deletions_percent allows.

        Raises:
            NotFound: the source does not exist.
            FailedPrecondition: another run of the source for all subjects has not ended.
        """
        request = admin_service_pb2.SyncSourceRequest(
            name=requests.source_name(source), subject=subject, allow_deletions=allow_deletions
        )
        return await self._calls.unary(self._stubs.admin.SyncSource, request, repeatable=False)

    async def retry_failed_rows(self, source: str) -> operations_pb2.Operation:
        """Begin a run for the rows that failed in earlier runs. The operation's result is a SyncResult. Raises NotFound; FailedPrecondition if a run of the source for all subjects has not ended."""
        request = admin_service_pb2.RetryFailedRowsRequest(name=requests.source_name(source))
        return await self._calls.unary(self._stubs.admin.RetryFailedRows, request, repeatable=False)

    async def notify_subject_changed(
        self, subject: str, sources: Sequence[str] = (), *, cause: str = "", request_id: str | None = None
    ) -> list[operations_pb2.Operation]:
        """Report that the rows about a subject have changed: each source gets a run for this subject. Services may make this call too.

        Args:
            subject: the subject, as the mappings of the sources make it.
            sources: names (`sources/{id}`) or ids; without any, all sources with a query for one subject.
            cause: why, at most 200 bytes; the operations' metadata shows it.
            request_id: a UUID that makes a repeated call return the same operations; None for a new one.

        Raises:
            NotFound: a source does not exist.
            ResourceExhausted: too many runs of a source wait.
        """
        request = admin_service_pb2.NotifySubjectChangedRequest(
            subject=subject,
            sources=[requests.source_name(one) for one in sources],
            cause=cause,
            request_id=request_id or requests.new_request_id(),
        )
        return list((await self._calls.unary(self._stubs.admin.NotifySubjectChanged, request)).operations)

    def failed_rows(self, source: str) -> AsyncIterator[source_pb2.FailedRow]:
        """The rows that made no document in the newest run that read them, oldest first. Raises NotFound."""
        request = admin_service_pb2.ListFailedRowsRequest(
            parent=requests.source_name(source), page_size=requests.PAGE_SIZE
        )
        return self._calls.paged(self._stubs.admin.ListFailedRows, request, lambda page: page.failed_rows)

    async def connections(self) -> list[str]:
        """The connections to databases that the tenant's sources may use, in the order of their names."""
        request = admin_service_pb2.ListConnectionsRequest()
        return list((await self._calls.unary(self._stubs.admin.ListConnections, request)).connections)

    def deliveries(self, filter_by: str = "", order_by: str = "") -> AsyncIterator[delivery_pb2.Delivery]:
        """The notifications to webhooks about runs of sources and failed ingestions, by default the newest first."""
        request = admin_service_pb2.ListDeliveriesRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.admin.ListDeliveries, request, lambda page: page.deliveries)

    async def redeliver(self, delivery: str) -> delivery_pb2.Delivery:
        """Send a notification again. delivery: the name (`deliveries/{uuid}`) or the UUID. Raises NotFound."""
        name = delivery if "/" in delivery else f"deliveries/{delivery}"
        request = admin_service_pb2.RedeliverDeliveryRequest(name=name)
        return await self._calls.unary(self._stubs.admin.RedeliverDelivery, request)

    async def preview_source(
        self, mapping: str, rows: int | None = None, subject: str = ""
    ) -> list[source_pb2.PreviewedRow]:
        """The first rows of each query of a mapping, and the documents that they make. Nothing is stored.

        Args:
            mapping: the mapping, in TOML.
            rows: the maximum number of rows of each query, 1 to 50; None for 5.
            subject: the subject whose rows are read; "" for all.

        Raises:
            InvalidRequest: the mapping has mistakes; the error names the lines.
            FailedPrecondition: the database cannot be read.
        """
        request = admin_service_pb2.PreviewSourceRequest(mapping=mapping, rows=rows, subject=subject)
        return list((await self._calls.unary(self._stubs.admin.PreviewSource, request)).rows)

    async def reload_agents(self) -> list[admin_service_pb2.AgentReload]:
        """Like `reload`, but returns only the outcomes for the agents."""
        return list((await self.reload()).agents)

    async def reload(self) -> admin_service_pb2.ReloadAgentsResponse:
        """Ask the server to read the files of all tools and agents again. If an agent's files are not valid, its previous version stays in service, and the result lists the problems."""
        request = admin_service_pb2.ReloadAgentsRequest()
        return await self._calls.unary(self._stubs.admin.ReloadAgents, request)

    async def create_user(
        self,
        display_name: str,
        email: str = "",
        role: user_pb2.UserRole.ValueType = user_pb2.USER_ROLE_USER,
        request_id: str | None = None,
    ) -> user_pb2.User:
        """Create a user of the caller's tenant. The user has no credential yet.

        Args:
            display_name: a name to show to people, 1 to 200 bytes.
            email: the e-mail address; "" if the user has no address.
            role: the user's rights.
            request_id: a UUID. With the id of an earlier call, the server returns the user of that call.
                None generates a new id.

        Raises:
            AlreadyExists: another user of the tenant has the e-mail address, or the request_id was used before for another user.
        """
        request = admin_service_pb2.CreateUserRequest(
            user=user_pb2.User(display_name=display_name, email=email, role=role),
            request_id=request_id or requests.new_request_id(),
        )
        return await self._calls.unary(self._stubs.admin.CreateUser, request)

    async def user(self, user: str) -> user_pb2.User:
        """The user with this name (`users/{uuid}`) or UUID. Raises NotFound."""
        request = admin_service_pb2.GetUserRequest(name=requests.user_name(user))
        return await self._calls.unary(self._stubs.admin.GetUser, request)

    async def lookup_user(self, email: str) -> user_pb2.User:
        """The user with this e-mail address. Raises NotFound."""
        request = admin_service_pb2.LookupUserRequest(email=email)
        return await self._calls.unary(self._stubs.admin.LookupUser, request)

    def users(self, filter_by: str = "", order_by: str = "") -> AsyncIterator[user_pb2.User]:
        """All users of the tenant, disabled ones included, by default in the order of their creation."""
        request = admin_service_pb2.ListUsersRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.admin.ListUsers, request, lambda page: page.users)

    async def update_user(
        self,
        user: str,
        *,
        display_name: str | None = None,
        email: str | None = None,
        role: user_pb2.UserRole.ValueType | None = None,
        subject: str | None = None,
        etag: str = "",
    ) -> user_pb2.User:
        """Change the given fields, all of them or none. With "" as `email`, the user has no address any more. subject: the name of the person in documents (at most 200
        bytes); "" removes it.

        Raises:
            NotFound: the user does not exist.
            Conflict: the user's etag differs from the given etag.
            AlreadyExists: another user of the tenant has the e-mail address.
            FailedPrecondition: the tenant would have no administrator.
        """
        request = requests.update_user(user, display_name, email, role, subject, etag)
        return await self._calls.unary(self._stubs.admin.UpdateUser, request, repeatable=not etag)

    async def user_limits(self, user: str) -> user_limits_pb2.UserLimits:
        """The limits of a user, given by the name (`users/{uuid}`) or the UUID. Raises NotFound."""
        request = admin_service_pb2.GetUserLimitsRequest(name=requests.limits_name(user))
        return await self._calls.unary(self._stubs.admin.GetUserLimits, request)

    async def update_user_limits(
        self, user: str, changes: Mapping[str, int | None]
    ) -> user_limits_pb2.UserLimits:
        """Set or remove exceptions of a user, all of them or none.

        Args:
            user: the user's name (`users/{uuid}`) or UUID.
            changes: new values by the name of the limit, e.g. `{"messages_per_minute": 60}`; 0 for no limit, None for
                the default of the user's role.

        Raises:
            NotFound: the user does not exist.
            InvalidRequest: the value is not valid.
            ValueError: there is no limit with such a name.
        """
        request = requests.update_user_limits(user, changes)
        return await self._calls.unary(self._stubs.admin.UpdateUserLimits, request)

    async def delete_user(
        self, user: str, hand_over_to: str = "", etag: str = ""
    ) -> deletion_receipt_pb2.DeletionReceipt:
        """Delete a user with all that belongs to the user. A repeated call returns the receipt of the first call.

        Args:
            user: the user's name (`users/{uuid}`) or UUID.
            hand_over_to: the name, the UUID or the e-mail address of the user who receives the collections that others can read or that hold documents of others; with "", all
                collections of the user are deleted.
            etag: the expected etag; "" for any.

        Raises:
            NotFound: the user does not exist.
            Conflict: the user's etag differs from the given etag.
            FailedPrecondition: the user is the tenant's last administrator; or hand_over_to is "", and a collection of the user holds documents of others.
            InvalidRequest: hand_over_to is not another active user of the tenant.
        """
        request = admin_service_pb2.DeleteUserRequest(
            name=requests.user_name(user),
            hand_over_to=requests.person_name(hand_over_to) if hand_over_to else "",
            etag=etag,
        )
        return await self._calls.unary(self._stubs.admin.DeleteUser, request, repeatable=not etag)

    async def disable_user(self, user: str, etag: str = "") -> user_pb2.User:
        """Refuse all calls of a user. A second call has no effect. Raises NotFound; Conflict if the user has another etag; FailedPrecondition for the tenant's last administrator."""
        request = admin_service_pb2.DisableUserRequest(name=requests.user_name(user), etag=etag)
        return await self._calls.unary(self._stubs.admin.DisableUser, request, repeatable=not etag)

    async def enable_user(self, user: str, etag: str = "") -> user_pb2.User:
        """Let a disabled user make calls again. A second call has no effect. Raises NotFound; Conflict if the user has another etag."""
        request = admin_service_pb2.EnableUserRequest(name=requests.user_name(user), etag=etag)
        return await self._calls.unary(self._stubs.admin.EnableUser, request, repeatable=not etag)

    async def revoke_credentials(self, user: str) -> admin_service_pb2.RevokeCredentialsResponse:
        """End all sessions and revoke all API keys of a user, at once. Returns their numbers. Raises NotFound."""
        request = admin_service_pb2.RevokeCredentialsRequest(name=requests.user_name(user))
        return await self._calls.unary(self._stubs.admin.RevokeCredentials, request, repeatable=True)

    async def user_quota(self, user: str) -> user_quota_pb2.UserQuota:
        """The limits that were set for a user (`users/{uuid}` or the UUID), and the user's usage. Raises NotFound."""
        request = admin_service_pb2.GetUserQuotaRequest(name=requests.quota_name(user))
        return await self._calls.unary(self._stubs.admin.GetUserQuota, request)

    async def update_user_quota(
        self,
        user: str,
        limits: Mapping[str, int | None],
        *,
        dropped: Collection[str] = (),
        etag: str = "",
    ) -> user_quota_pb2.UserQuota:
        """Change the limits of a user, all of them or none.

        Args:
            user: the user's name (`users/{uuid}`) or UUID.
            limits: the new limits by name; None lifts a limit. The names are `tokens_per_day`, `tokens_per_month`,
                `cost_usd_micros_per_day` and `cost_usd_micros_per_month`.
            dropped: the names of limits that were set for the user and that the limits of the user's role replace again.
            etag: the etag that the quota must have; "" accepts any.

        Raises:
            NotFound: the user does not exist.
            Conflict: the quota's etag differs from the given etag.
            InvalidRequest: a limit is negative, or no limit is named.
            ValueError: there is no limit with such a name.
        """
        request = requests.update_user_quota(user, limits, dropped, etag)
        return await self._calls.unary(self._stubs.admin.UpdateUserQuota, request, repeatable=not etag)

    async def create_service_api_key(
        self,
        service: str,
        display_name: str,
        expire_time: timestamp_pb2.Timestamp | None = None,
        request_id: str | None = None,
    ) -> admin_service_pb2.CreateServiceApiKeyResponse:
        """Create an API key for a user with the role SERVICE. Only this response contains the key's secret, so the client does not retry this call after a lost connection.

        Args:
            service: the service's name (`users/{uuid}`) or UUID.
            display_name: a name to show to people, at most 200 bytes.
            expire_time: when the key expires; None for a key that never expires.
            request_id: a UUID. With the id of an earlier call, the server returns the key of that call with an empty secret. None generates a new id.

        Raises:
            NotFound: the service does not exist.
            InvalidRequest: the user is not a service.
            AlreadyExists: the request_id was used before for another key.
        """
        request = admin_service_pb2.CreateServiceApiKeyRequest(
            user=requests.user_name(service),
            api_key=api_key_pb2.ApiKey(display_name=display_name, expire_time=expire_time),
            request_id=request_id or requests.new_request_id(),
        )
        return await self._calls.unary(self._stubs.admin.CreateServiceApiKey, request, repeatable=False)

    def tenant_api_keys(self, filter_by: str = "", order_by: str = "") -> AsyncIterator[api_key_pb2.ApiKey]:
        """The API keys of all users of the tenant, by default newest first."""
        request = admin_service_pb2.ListTenantApiKeysRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.admin.ListTenantApiKeys, request, lambda page: page.api_keys)

    async def revoke_tenant_api_key(self, name: str) -> api_key_pb2.ApiKey:
        """Revoke an API key of any user of the tenant, and the keys that were created with it. A second call has no effect. Raises NotFound."""
        request = admin_service_pb2.RevokeTenantApiKeyRequest(name=name)
        return await self._calls.unary(self._stubs.admin.RevokeTenantApiKey, request)

    def tenant_sessions(self, filter_by: str = "", order_by: str = "") -> AsyncIterator[session_pb2.Session]:
        """The sessions of all users of the tenant that have not ended, by default newest first."""
        request = admin_service_pb2.ListTenantSessionsRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.admin.ListTenantSessions, request, lambda page: page.sessions)

    async def revoke_tenant_sessions(self, *names: str, user: str = "") -> int:
        """End sessions of users of the tenant: those with these names, and all of one user (the name `users/{uuid}` or the UUID). Returns their number."""
        request = admin_service_pb2.RevokeTenantSessionsRequest(
            names=names, user=requests.user_name(user) if user else ""
        )
        return (await self._calls.unary(self._stubs.admin.RevokeTenantSessions, request)).revoked_count

    def audit_events(
        self, filter_by: str = "", order_by: str = ""
    ) -> AsyncIterator[audit_event_pb2.AuditEvent]:
        """The tenant's audit log, by default newest first."""
        request = admin_service_pb2.ListAuditEventsRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.admin.ListAuditEvents, request, lambda page: page.audit_events)
