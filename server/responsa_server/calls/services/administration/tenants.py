"""The part of AdminService that is about tenants."""

from __future__ import annotations

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import tenant_pb2
from responsa_server.calls.call import caller
from responsa_server.calls.convert import tenants
from responsa_server.calls.convert.values import slug_of, timestamp
from responsa_server.calls.listing import Listing
from responsa_server.domain import lists
from responsa_server.identity.tenants import TenantAdministration


class TenantService:
    """Tenants."""

    def __init__(self, tenants: TenantAdministration) -> None:
        self._tenants = tenants

    async def CreateTenant(self, request: pb.CreateTenantRequest) -> pb.CreateTenantResponse:
        tenant = await self._tenants.create(
            caller(),
            request.tenant_id,
            request.display_name,
            request.invitation_email,
            request.administrator_name,
        )
        return tenants.new_tenant(tenant)

    async def InviteTenantAdministrator(
        self, request: pb.InviteTenantAdministratorRequest
    ) -> pb.InviteTenantAdministratorResponse:
        tenant_id = slug_of("name", "tenants", request.name)
        code, expire_time = await self._tenants.invite(caller(), tenant_id, request.invitation_email)
        return pb.InviteTenantAdministratorResponse(
            invitation_code=code, invitation_expire_time=timestamp(expire_time)
        )

    async def GetTenant(self, request: pb.GetTenantRequest) -> tenant_pb2.Tenant:
        return tenants.tenant(await self._tenants.store.get(slug_of("name", "tenants", request.name)))

    async def ListTenants(self, request: pb.ListTenantsRequest) -> pb.ListTenantsResponse:
        asked = Listing(lists.TENANTS, caller(), request)
        page = await self._tenants.store.list(asked.query)
        return asked.answer(pb.ListTenantsResponse, page, tenants.tenant)

    async def SuspendTenant(self, request: pb.SuspendTenantRequest) -> tenant_pb2.Tenant:
        tenant_id = slug_of("name", "tenants", request.name)
        return tenants.tenant(await self._tenants.suspend(caller(), tenant_id))

    async def ResumeTenant(self, request: pb.ResumeTenantRequest) -> tenant_pb2.Tenant:
        tenant_id = slug_of("name", "tenants", request.name)
        return tenants.tenant(await self._tenants.resume(caller(), tenant_id))

    async def EraseTenant(self, request: pb.EraseTenantRequest) -> tenant_pb2.Tenant:
        tenant_id = slug_of("name", "tenants", request.name)
        return tenants.tenant(await self._tenants.erase(caller(), tenant_id, request.confirm_tenant_id))
