"""The parts of AdminService that are about people: users and owners, their limits and credentials, service grants, groups,
tenants, and registered programs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from google.protobuf.empty_pb2 import Empty

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import (
    group_pb2,
    program_pb2,
    service_grant_pb2,
    tenant_pb2,
    user_limits_pb2,
    user_quota_pb2,
)
from responsa.auth.v1 import api_key_pb2, deletion_receipt_pb2, user_pb2
from responsa_server.calls.call import caller
from responsa_server.calls.convert import people
from responsa_server.calls.convert.messages import message
from responsa_server.calls.convert.values import request_id, slug_of, timestamp, unmask, uuid_of, uuids_of
from responsa_server.calls.listing import Listing
from responsa_server.calls.services.administration.resource import ResourceCalls
from responsa_server.calls.services.parts import Services
from responsa_server.calls.violations import check_texts
from responsa_server.domain import lists
from responsa_server.domain.background import Background
from responsa_server.domain.errors import InvalidRequest
from responsa_server.domain.formatting import plain_name
from responsa_server.domain.people import Role, UserChange
from responsa_server.domain.rows import Row
from responsa_server.identity.programs import (
    MAX_NAME_BYTES,
    ODD_MARKS,
    REDIRECTS,
    id_of_document,
    is_document,
    is_redirect,
)
from responsa_server.identity.service import key_of_service, require_email
from responsa_server.stores.postgres.groups import MEMBERS, PostgresGroups
from responsa_server.stores.postgres.resources import ResourceTable
from responsa_server.stores.postgres.service_grants import PostgresServiceGrants


class PeopleService:
    """Users and owners, their limits, quotas and credentials, service grants, and tenants."""

    def __init__(self, parts: Services, work: Background) -> None:
        """work: holds the tasks that continue when the caller has left."""
        self._parts = parts
        self._users = parts.users
        self._tenants = parts.tenants
        self._grants = PostgresServiceGrants(parts.database, parts.new_id)
        self._work = work

    async def CreateUser(self, request: pb.CreateUserRequest) -> user_pb2.User:
        user = request.user
        role = people.role(user) or Role.USER
        if role is Role.ADMIN:
            await self._parts.accounts.require_recent_session(caller())
        created = await self._users.create(
            caller(), user.display_name, user.email, role, request_id(request.request_id)
        )
        return people.user(created)

    async def GetUser(self, request: pb.GetUserRequest) -> user_pb2.User:
        user_id = uuid_of("name", "users", request.name)
        return people.user(await self._users.store.get(caller().tenant_id, user_id))

    async def LookupUser(self, request: pb.LookupUserRequest) -> user_pb2.User:
        email = require_email(request.email)
        return people.user(await self._users.store.with_email(caller().tenant_id, email))

    async def ListUsers(self, request: pb.ListUsersRequest) -> pb.ListUsersResponse:
        asked = Listing(lists.USERS, caller(), request)
        page = await self._users.store.list(caller().tenant_id, asked.query)
        return asked.answer(pb.ListUsersResponse, page, people.user)

    async def UpdateUser(self, request: pb.UpdateUserRequest) -> user_pb2.User:
        user = request.user
        change = people.user_change(
            user, unmask(request.update_mask, ("display_name", "email", "role", "subject"), user)
        )
        check_texts("user", display_name=change.display_name)
        # A new address and the role of an administrator are ways in: a mail with a reset code goes to the address.
        if change.email is not None or change.role is Role.ADMIN:
            await self._parts.accounts.require_recent_session(caller())
        changed = await self._users.update(
            caller(), uuid_of("user.name", "users", user.name), change, user.etag
        )
        return people.user(changed)

    async def DisableUser(self, request: pb.DisableUserRequest) -> user_pb2.User:
        user_id = uuid_of("name", "users", request.name)
        return people.user(
            await self._users.update(caller(), user_id, UserChange(disabled=True), request.etag)
        )

    async def EnableUser(self, request: pb.EnableUserRequest) -> user_pb2.User:
        user_id = uuid_of("name", "users", request.name)
        return people.user(
            await self._users.update(caller(), user_id, UserChange(disabled=False), request.etag)
        )

    async def RevokeCredentials(self, request: pb.RevokeCredentialsRequest) -> pb.RevokeCredentialsResponse:
        revoked = await self._users.revoke_credentials(caller(), uuid_of("name", "users", request.name))
        return pb.RevokeCredentialsResponse(
            session_count=len(revoked.sessions), api_key_count=len(revoked.keys)
        )

    async def GrantOwnership(self, request: pb.GrantOwnershipRequest) -> user_pb2.User:
        user_id = uuid_of("name", "users", request.name)
        return people.user(await self._users.update(caller(), user_id, UserChange(owner=True), ""))

    async def RevokeOwnership(self, request: pb.RevokeOwnershipRequest) -> user_pb2.User:
        user_id = uuid_of("name", "users", request.name)
        return people.user(await self._users.update(caller(), user_id, UserChange(owner=False), ""))

    async def DeleteUser(self, request: pb.DeleteUserRequest) -> deletion_receipt_pb2.DeletionReceipt:
        user_id = uuid_of("name", "users", request.name)
        heir = people.heir(request.hand_over_to)
        return people.deletion_receipt(
            await self._work.run(self._parts.erasing.erase(caller(), user_id, heir, request.etag))
        )

    async def GetUserLimits(self, request: pb.GetUserLimitsRequest) -> user_limits_pb2.UserLimits:
        return people.user_limits(
            await self._parts.limits.read(caller(), people.limits_user("name", request.name))
        )

    async def UpdateUserLimits(self, request: pb.UpdateUserLimitsRequest) -> user_limits_pb2.UserLimits:
        limits = request.user_limits
        changes = people.limit_changes(limits, unmask(request.update_mask, people.LIMIT_PATHS, limits))
        user_id = people.limits_user("user_limits.name", limits.name)
        return people.user_limits(await self._parts.limits.change(caller(), user_id, changes))

    async def GetUserQuota(self, request: pb.GetUserQuotaRequest) -> user_quota_pb2.UserQuota:
        user_id = people.quota_user("name", request.name)
        return people.user_quota(await self._parts.quotas.of_user(caller(), user_id))

    async def UpdateUserQuota(self, request: pb.UpdateUserQuotaRequest) -> user_quota_pb2.UserQuota:
        quota = request.user_quota
        change, dropped = people.quota_change(quota, unmask(request.update_mask, people.QUOTA_FIELDS, quota))
        user_id = people.quota_user("user_quota.name", quota.name)
        return people.user_quota(
            await self._parts.quotas.update(caller(), user_id, change, dropped, quota.etag)
        )

    async def CreateServiceApiKey(
        self, request: pb.CreateServiceApiKeyRequest
    ) -> pb.CreateServiceApiKeyResponse:
        service_id = uuid_of("user", "users", request.user)
        if request.api_key.role != user_pb2.USER_ROLE_UNSPECIFIED:
            raise key_of_service()
        who = caller()
        allowed = await self._parts.limits.read(who, service_id)
        key, secret = await self._parts.identity.create_api_key(
            who,
            people.new_key(request.api_key, self._parts.catalogue),
            request_id(request.request_id),
            allowed.limits.api_keys,
            service_id=service_id,
        )
        return pb.CreateServiceApiKeyResponse(api_key=people.api_key(key), secret=secret)

    async def ListTenantApiKeys(self, request: pb.ListTenantApiKeysRequest) -> pb.ListTenantApiKeysResponse:
        asked = Listing(lists.TENANT_API_KEYS, caller(), request)
        page = await self._parts.identity.store.list_tenant_keys(caller().tenant_id, asked.query)
        return asked.answer(pb.ListTenantApiKeysResponse, page, people.api_key)

    async def RevokeTenantApiKey(self, request: pb.RevokeTenantApiKeyRequest) -> api_key_pb2.ApiKey:
        key_id = uuid_of("name", "apiKeys", request.name)
        return people.api_key(await self._parts.identity.revoke_api_key(caller(), key_id, of_any_user=True))

    async def ListTenantSessions(
        self, request: pb.ListTenantSessionsRequest
    ) -> pb.ListTenantSessionsResponse:
        asked = Listing(lists.TENANT_SESSIONS, caller(), request)
        page = await self._parts.accounts.store.tenant_sessions(caller(), asked.query)
        return asked.answer(
            pb.ListTenantSessionsResponse, page, lambda item: people.session(item, caller().session_id)
        )

    async def RevokeTenantSessions(
        self, request: pb.RevokeTenantSessionsRequest
    ) -> pb.RevokeTenantSessionsResponse:
        wanted = [uuid_of(f"names[{index}]", "sessions", name) for index, name in enumerate(request.names)]
        user_id = uuid_of("user", "users", request.user) if request.user else None
        count = await self._parts.accounts.revoke_tenant_sessions(caller(), wanted, user_id)
        return pb.RevokeTenantSessionsResponse(revoked_count=count)

    async def CreateServiceGrant(
        self, request: pb.CreateServiceGrantRequest
    ) -> service_grant_pb2.ServiceGrant:
        grant = request.service_grant
        service_id = uuid_of("service_grant.service", "users", grant.service)
        user_id = None if grant.all_users else uuid_of("service_grant.user", "users", grant.user)
        return people.service_grant(await self._grants.add(caller(), service_id, user_id))

    async def ListServiceGrants(self, request: pb.ListServiceGrantsRequest) -> pb.ListServiceGrantsResponse:
        asked = Listing(lists.SERVICE_GRANTS, caller(), request)
        page = await self._grants.list(caller(), asked.query)
        return asked.answer(pb.ListServiceGrantsResponse, page, people.service_grant)

    async def DeleteServiceGrant(self, request: pb.DeleteServiceGrantRequest) -> Empty:
        removed = await self._grants.remove(caller(), uuid_of("name", "serviceGrants", request.name))
        # This process refuses the service's calls at once, and others within a second.
        self._parts.cache.forget_user(removed.service_id)
        return Empty()

    async def CreateTenant(self, request: pb.CreateTenantRequest) -> pb.CreateTenantResponse:
        tenant = await self._tenants.create(
            caller(),
            request.tenant_id,
            request.display_name,
            request.invitation_email,
            request.administrator_name,
        )
        return people.new_tenant(tenant)

    async def InviteTenantAdministrator(
        self, request: pb.InviteTenantAdministratorRequest
    ) -> pb.InviteTenantAdministratorResponse:
        tenant_id = slug_of("name", "tenants", request.name)
        code, expire_time = await self._tenants.invite(caller(), tenant_id, request.invitation_email)
        return pb.InviteTenantAdministratorResponse(
            invitation_code=code, invitation_expire_time=timestamp(expire_time)
        )

    async def GetTenant(self, request: pb.GetTenantRequest) -> tenant_pb2.Tenant:
        return people.tenant(await self._tenants.store.get(slug_of("name", "tenants", request.name)))

    async def ListTenants(self, request: pb.ListTenantsRequest) -> pb.ListTenantsResponse:
        asked = Listing(lists.TENANTS, caller(), request)
        page = await self._tenants.store.list(asked.query)
        return asked.answer(pb.ListTenantsResponse, page, people.tenant)

    async def SuspendTenant(self, request: pb.SuspendTenantRequest) -> tenant_pb2.Tenant:
        tenant_id = slug_of("name", "tenants", request.name)
        return people.tenant(await self._tenants.suspend(caller(), tenant_id))

    async def ResumeTenant(self, request: pb.ResumeTenantRequest) -> tenant_pb2.Tenant:
        tenant_id = slug_of("name", "tenants", request.name)
        return people.tenant(await self._tenants.resume(caller(), tenant_id))

    async def EraseTenant(self, request: pb.EraseTenantRequest) -> tenant_pb2.Tenant:
        tenant_id = slug_of("name", "tenants", request.name)
        return people.tenant(await self._tenants.erase(caller(), tenant_id, request.confirm_tenant_id))


class GroupService(ResourceCalls[group_pb2.Group]):
    """Groups and their members."""

    def __init__(self, groups: PostgresGroups) -> None:
        super().__init__(group_pb2.Group, pb.ListGroupsResponse, groups)
        self._groups = groups

    async def AddGroupMembers(self, request: pb.AddGroupMembersRequest) -> group_pb2.Group:
        group_id = uuid_of("name", "groups", request.name)
        return self._message(await self._groups.add(caller(), group_id, *_read_members(request)))

    async def RemoveGroupMembers(self, request: pb.RemoveGroupMembersRequest) -> group_pb2.Group:
        group_id = uuid_of("name", "groups", request.name)
        return self._message(await self._groups.remove(caller(), group_id, *_read_members(request)))

    async def ListGroupMembers(self, request: pb.ListGroupMembersRequest) -> pb.ListGroupMembersResponse:
        listing = Listing(MEMBERS, caller(), request)
        group_id = uuid_of("parent", "groups", request.parent)
        page = await self._groups.members(caller(), group_id, listing.query)
        return listing.answer(pb.ListGroupMembersResponse, page, partial(message, group_pb2.GroupMember))

    def _message(self, value: Row) -> group_pb2.Group:
        """A group as the caller sees it: only administrators see which groups of providers it stands for."""
        group = super()._message(value)
        if caller().role is not Role.ADMIN:
            group.ClearField("provider_groups")
        return group


def _read_members(
    request: pb.AddGroupMembersRequest | pb.RemoveGroupMembersRequest,
) -> tuple[Sequence[UUID], Sequence[UUID]]:
    return uuids_of("users", request.users), uuids_of("invitations", request.invitations)


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
