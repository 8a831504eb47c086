"""AdminService."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from google.protobuf.empty_pb2 import Empty

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import (
    service_grant_pb2,
    system_status_pb2,
    teacher_pb2,
    tenant_pb2,
    user_limits_pb2,
    user_quota_pb2,
)
from responsa.auth.v1 import api_key_pb2, deletion_receipt_pb2, user_pb2
from responsa_server.calls import violations
from responsa_server.calls.call import caller
from responsa_server.calls.convert import agents, people, tenants
from responsa_server.calls.convert import limits as converted
from responsa_server.calls.convert.values import named_slug, named_uuid, request_id, timestamp, updated
from responsa_server.calls.listing import Listing
from responsa_server.domain import lists
from responsa_server.domain.agents import Catalogue
from responsa_server.domain.audit import AuditTrail
from responsa_server.domain.background import Background
from responsa_server.domain.counters import Counters
from responsa_server.domain.errors import FieldViolation, ResponsaError
from responsa_server.domain.parts import Health, Installation, Migrations, MigrationState, Part, PartReport
from responsa_server.domain.people import AuditEvent, Role
from responsa_server.domain.teachers import Teachers
from responsa_server.identity.erasing import Erasing
from responsa_server.identity.limits import LimitBook
from responsa_server.identity.quotas import QuotaAdministration
from responsa_server.identity.service import Identity
from responsa_server.identity.tenants import GrantAdministration, TenantAdministration
from responsa_server.identity.users import UserAdministration

Result = TypeVar("Result")

CHECK_SECONDS = 2.0


class AdminService:
    """Status and settings for operators and administrators."""

    def __init__(
        self,
        installation: Installation,
        migrations: Migrations,
        parts: Sequence[Part],
        counters: Counters,
        teachers: Teachers,
        catalogue: Catalogue,
        users: UserAdministration,
        tenants: TenantAdministration,
        grants: GrantAdministration,
        quotas: QuotaAdministration,
        erasing: Erasing,
        identity: Identity,
        audit: AuditTrail,
        limits: LimitBook,
        work: Background,
    ) -> None:
        self._limits = limits
        self._audit = audit
        self._identity = identity
        self._users = users
        self._tenants = tenants
        self._grants = grants
        self._quotas = quotas
        self._erasing = erasing
        self._teachers = teachers
        self._catalogue = catalogue
        self._work = work
        self._installation = installation
        self._migrations = migrations
        self._parts = tuple(parts)
        self._counters = counters

    async def GetSystemStatus(self, request: pb.GetSystemStatusRequest) -> system_status_pb2.SystemStatus:
        """Ask all parts for their health at the same time."""
        migration, reports = await asyncio.gather(
            self._migration(), asyncio.gather(*(self._report(part) for part in self._parts))
        )
        named = [(part.name, report) for part, report in zip(self._parts, reports, strict=True)]
        # The counters are sums over all tenants.
        counts = self._counters.read() if caller().owner else ()
        return people.system_status(self._installation, migration, named, counts)

    async def CreateTeacher(self, request: pb.CreateTeacherRequest) -> teacher_pb2.Teacher:
        """Create a teacher."""
        made = await self._teachers.create(
            caller(), agents.new_teacher(request), request_id(request.request_id)
        )
        return agents.teacher(made)

    async def GetTeacher(self, request: pb.GetTeacherRequest) -> teacher_pb2.Teacher:
        """Return one teacher."""
        return agents.teacher(
            await self._teachers.get(caller(), named_uuid("name", "teachers", request.name))
        )

    async def ListTeachers(self, request: pb.ListTeachersRequest) -> pb.ListTeachersResponse:
        """List the tenant's teachers."""
        asked = Listing(lists.TEACHERS, caller(), request)
        page = await self._teachers.list(caller(), asked.query)
        return pb.ListTeachersResponse(
            teachers=[agents.teacher(one) for one in page.items], next_page_token=asked.token(page)
        )

    async def UpdateTeacher(self, request: pb.UpdateTeacherRequest) -> teacher_pb2.Teacher:
        """Change the fields that the mask names."""
        given = request.teacher
        wanted = updated(request.update_mask, ("display_name", "persona", "parameters"))
        change = agents.teacher_change(given, wanted)
        _check("teacher", display_name=change.display_name, persona=change.persona)
        changed = await self._teachers.update(
            caller(), named_uuid("teacher.name", "teachers", given.name), change, given.etag
        )
        return agents.teacher(changed)

    async def DeleteTeacher(self, request: pb.DeleteTeacherRequest) -> Empty:
        """Delete a teacher."""
        await self._teachers.delete(caller(), named_uuid("name", "teachers", request.name), request.etag)
        return Empty()

    async def ReloadAgents(self, request: pb.ReloadAgentsRequest) -> pb.ReloadAgentsResponse:
        """Read the files of all agents again. The event is written first, so that no reload is missing in the audit log."""
        await self._audit.record(AuditEvent.of(caller(), "agents.reload", "agents/-"))
        return agents.reloads(await self._catalogue.reload())

    async def CreateUser(self, request: pb.CreateUserRequest) -> user_pb2.User:
        """Create a user."""
        given = request.user
        role = people.role(given) or Role.USER
        made = await self._users.create(
            caller(), given.display_name, given.email, role, request_id(request.request_id)
        )
        return people.user(made)

    async def GetUser(self, request: pb.GetUserRequest) -> user_pb2.User:
        """Return one user."""
        return people.user(await self._users.get(caller(), named_uuid("name", "users", request.name)))

    async def LookupUser(self, request: pb.LookupUserRequest) -> user_pb2.User:
        """Return the user with an e-mail address."""
        return people.user(await self._users.with_email(caller(), request.email))

    async def ListUsers(self, request: pb.ListUsersRequest) -> pb.ListUsersResponse:
        """List the tenant's users."""
        asked = Listing(lists.USERS, caller(), request)
        page = await self._users.list(caller(), asked.query)
        return pb.ListUsersResponse(
            users=[people.user(one) for one in page.items], next_page_token=asked.token(page)
        )

    async def UpdateUser(self, request: pb.UpdateUserRequest) -> user_pb2.User:
        """Change the fields that the mask names."""
        given = request.user
        change = people.user_change(given, updated(request.update_mask, ("display_name", "email", "role")))
        _check("user", display_name=change.display_name)
        changed = await self._users.update(
            caller(), named_uuid("user.name", "users", given.name), change, given.etag
        )
        return people.user(changed)

    async def GetUserLimits(self, request: pb.GetUserLimitsRequest) -> user_limits_pb2.UserLimits:
        """Return the limits of a user."""
        return converted.user_limits(
            await self._limits.read(caller(), converted.user_id("name", request.name))
        )

    async def UpdateUserLimits(self, request: pb.UpdateUserLimitsRequest) -> user_limits_pb2.UserLimits:
        """Set or remove the exceptions that the mask names."""
        given = request.user_limits
        changes = converted.changes(given, updated(request.update_mask, converted.PATHS))
        user_id = converted.user_id("user_limits.name", given.name)
        return converted.user_limits(await self._limits.change(caller(), user_id, changes))

    async def DisableUser(self, request: pb.DisableUserRequest) -> user_pb2.User:
        """Disable a user."""
        user_id = named_uuid("name", "users", request.name)
        return people.user(await self._users.disable(caller(), user_id, request.etag))

    async def EnableUser(self, request: pb.EnableUserRequest) -> user_pb2.User:
        """Enable a disabled user."""
        user_id = named_uuid("name", "users", request.name)
        return people.user(await self._users.enable(caller(), user_id, request.etag))

    async def GrantOwnership(self, request: pb.GrantOwnershipRequest) -> user_pb2.User:
        """Make an administrator an owner."""
        user_id = named_uuid("name", "users", request.name)
        return people.user(await self._users.set_owner(caller(), user_id, owner=True))

    async def RevokeOwnership(self, request: pb.RevokeOwnershipRequest) -> user_pb2.User:
        """End the ownership of a user."""
        user_id = named_uuid("name", "users", request.name)
        return people.user(await self._users.set_owner(caller(), user_id, owner=False))

    async def CreateServiceGrant(
        self, request: pb.CreateServiceGrantRequest
    ) -> service_grant_pb2.ServiceGrant:
        """Let a service act on behalf of users."""
        given = request.service_grant
        service_id = named_uuid("service_grant.service", "users", given.service)
        user_id = None if given.all_users else named_uuid("service_grant.user", "users", given.user)
        return tenants.service_grant(await self._grants.create(caller(), service_id, user_id))

    async def ListServiceGrants(self, request: pb.ListServiceGrantsRequest) -> pb.ListServiceGrantsResponse:
        """List the tenant's grants."""
        asked = Listing(lists.SERVICE_GRANTS, caller(), request)
        page = await self._grants.list(caller(), asked.query)
        return pb.ListServiceGrantsResponse(
            service_grants=[tenants.service_grant(one) for one in page.items],
            next_page_token=asked.token(page),
        )

    async def DeleteServiceGrant(self, request: pb.DeleteServiceGrantRequest) -> Empty:
        """Take a grant back."""
        await self._grants.delete(caller(), named_uuid("name", "serviceGrants", request.name))
        return Empty()

    async def CreateTenant(self, request: pb.CreateTenantRequest) -> pb.CreateTenantResponse:
        """Create a tenant."""
        made = await self._tenants.create(
            caller(),
            request.tenant_id,
            request.display_name,
            request.invitation_email,
            request.administrator_name,
        )
        return tenants.new_tenant(made)

    async def InviteTenantAdministrator(
        self, request: pb.InviteTenantAdministratorRequest
    ) -> pb.InviteTenantAdministratorResponse:
        """Create the code of an invitation for an administrator of a tenant."""
        tenant_id = named_slug("name", "tenants", request.name)
        code, expire_time = await self._tenants.invite(caller(), tenant_id, request.invitation_email)
        return pb.InviteTenantAdministratorResponse(
            invitation_code=code, invitation_expire_time=timestamp(expire_time)
        )

    async def GetTenant(self, request: pb.GetTenantRequest) -> tenant_pb2.Tenant:
        """Return one tenant."""
        return tenants.tenant(await self._tenants.get(named_slug("name", "tenants", request.name)))

    async def ListTenants(self, request: pb.ListTenantsRequest) -> pb.ListTenantsResponse:
        """List all tenants."""
        asked = Listing(lists.TENANTS, caller(), request)
        page = await self._tenants.list(asked.query)
        return pb.ListTenantsResponse(
            tenants=[tenants.tenant(one) for one in page.items], next_page_token=asked.token(page)
        )

    async def SuspendTenant(self, request: pb.SuspendTenantRequest) -> tenant_pb2.Tenant:
        """Suspend a tenant."""
        tenant_id = named_slug("name", "tenants", request.name)
        return tenants.tenant(await self._tenants.suspend(caller(), tenant_id))

    async def ResumeTenant(self, request: pb.ResumeTenantRequest) -> tenant_pb2.Tenant:
        """Resume a tenant."""
        tenant_id = named_slug("name", "tenants", request.name)
        return tenants.tenant(await self._tenants.resume(caller(), tenant_id))

    async def EraseTenant(self, request: pb.EraseTenantRequest) -> tenant_pb2.Tenant:
        """Begin to erase a tenant."""
        tenant_id = named_slug("name", "tenants", request.name)
        return tenants.tenant(await self._tenants.erase(caller(), tenant_id, request.confirm_tenant_id))

    async def GetUserQuota(self, request: pb.GetUserQuotaRequest) -> user_quota_pb2.UserQuota:
        """Return the limits and the usage of a user."""
        user_id = people.quota_user("name", request.name)
        return people.user_quota(await self._quotas.of_user(caller(), user_id))

    async def UpdateUserQuota(self, request: pb.UpdateUserQuotaRequest) -> user_quota_pb2.UserQuota:
        """Change the limits that the mask names."""
        given = request.user_quota
        change, dropped = people.quota_change(given, updated(request.update_mask, people.QUOTA_FIELDS))
        user_id = people.quota_user("user_quota.name", given.name)
        return people.user_quota(await self._quotas.update(caller(), user_id, change, dropped, given.etag))

    async def DeleteUser(self, request: pb.DeleteUserRequest) -> deletion_receipt_pb2.DeletionReceipt:
        """Delete a user."""
        user_id = named_uuid("name", "users", request.name)
        heir = named_uuid("hand_over_to", "users", request.hand_over_to) if request.hand_over_to else None
        return people.deletion_receipt(
            await self._work.run(self._erasing.erase(caller(), user_id, heir, request.etag))
        )

    async def ListTenantApiKeys(self, request: pb.ListTenantApiKeysRequest) -> pb.ListTenantApiKeysResponse:
        """List the keys of all users."""
        asked = Listing(lists.TENANT_API_KEYS, caller(), request)
        page = await self._identity.list_tenant_api_keys(caller(), asked.query)
        return pb.ListTenantApiKeysResponse(
            api_keys=[people.api_key(one) for one in page.items], next_page_token=asked.token(page)
        )

    async def RevokeTenantApiKey(self, request: pb.RevokeTenantApiKeyRequest) -> api_key_pb2.ApiKey:
        """Revoke a key of any user."""
        key_id = named_uuid("name", "apiKeys", request.name)
        return people.api_key(await self._identity.revoke_api_key(caller(), key_id, of_any_user=True))

    async def ListAuditEvents(self, request: pb.ListAuditEventsRequest) -> pb.ListAuditEventsResponse:
        """List the audit log."""
        asked = Listing(lists.AUDIT_EVENTS, caller(), request)
        page = await self._audit.list(caller().tenant_id, asked.query)
        return pb.ListAuditEventsResponse(
            audit_events=[people.audit_event(one) for one in page.items], next_page_token=asked.token(page)
        )

    async def _migration(self) -> MigrationState:
        try:
            return await self._bounded(self._migrations.state())
        except (ResponsaError, TimeoutError):
            # The database's own entry in the status reports that the database is down.
            return MigrationState("", pending=False)

    async def _report(self, part: Part) -> PartReport:
        """Ask one part for its health. If the part raises an error, the error becomes its report: the status is most needed when something is broken."""
        try:
            return await self._bounded(part.check())
        except TimeoutError:
            return PartReport(Health.DOWN, detail=f"did not answer within {CHECK_SECONDS:g} seconds")
        except ResponsaError as error:
            return PartReport(Health.DOWN, detail=error.message)
        except Exception as error:
            # A broken part must not hide the others. The error's text may hold addresses, so report only its type.
            return PartReport(Health.DOWN, detail=f"failed with {type(error).__name__}")

    async def _bounded(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait at most two seconds. Late work continues, so no database call is interrupted, but the result of late work is dropped."""
        task = asyncio.ensure_future(work)
        done, _ = await asyncio.wait((task,), timeout=CHECK_SECONDS)
        if not done:
            self._work.hold(task)
            raise TimeoutError
        return task.result()


def _check(resource: str, **texts: str | None) -> None:
    """Refuse a change that empties a text. The contract's rules cannot check this, because they do not see which fields the mask names. texts: the new texts by field; None if the field does not change. Raises InvalidRequest."""
    found = [
        FieldViolation(
            f"{resource}.{name}",
            f"{resource}.{name}",
            "must have at least one character that is not white space; leave it out of update_mask to keep it",
        )
        for name, value in texts.items()
        if value is not None and not value.strip()
    ]
    if found:
        raise violations.invalid(found)
