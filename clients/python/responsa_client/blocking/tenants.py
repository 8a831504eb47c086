# Generated from ../aio/tenants.py by `make generate`. Do not edit.
"""Calls about service grants, and calls about ownership and tenants, which only owners of the installation can make."""

from __future__ import annotations

from collections.abc import Iterator

from responsa.admin.v1 import admin_service_pb2, service_grant_pb2, tenant_pb2
from responsa.auth.v1 import user_pb2
from responsa_client import requests
from responsa_client.blocking.calls import Part


class TenantCalls(Part):
    """The calls of AdminService about grants, ownership and tenants. Without the role ADMIN, and for ownership and tenants without the ownership of the installation, all methods raise PermissionDenied."""

    def create_service_grant(self, service: str, user: str | None = None) -> service_grant_pb2.ServiceGrant:
        """Let a service act on behalf of a user. A second call returns the same grant.

        Args:
            service: the service, a user with the role SERVICE: `users/{uuid}` or the UUID.
            user: the user, with the role USER; None for all users of the tenant with this role.

        Raises:
            NotFound: the service or the user does not exist.
            InvalidRequest: one of them has another role or is disabled.
        """
        grant = service_grant_pb2.ServiceGrant(service=requests.user_name(service))
        if user is None:
            grant.all_users = True
        else:
            grant.user = requests.user_name(user)
        request = admin_service_pb2.CreateServiceGrantRequest(service_grant=grant)
        return self._calls.unary(self._stubs.admin.CreateServiceGrant, request)

    def service_grants(
        self, filter_by: str = "", order_by: str = ""
    ) -> Iterator[service_grant_pb2.ServiceGrant]:
        """All grants of the tenant, by default in the order of their creation."""
        request = admin_service_pb2.ListServiceGrantsRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(
            self._stubs.admin.ListServiceGrants, request, lambda page: page.service_grants
        )

    def delete_service_grant(self, grant: str) -> None:
        """Take a grant back, named by `serviceGrants/{uuid}` or the UUID. Raises NotFound."""
        request = admin_service_pb2.DeleteServiceGrantRequest(name=requests.service_grant_name(grant))
        self._calls.unary(self._stubs.admin.DeleteServiceGrant, request, repeatable=False)

    def grant_ownership(self, user: str) -> user_pb2.User:
        """Make an administrator of the installation's own tenant an owner of the installation. Raises NotFound, InvalidRequest."""
        request = admin_service_pb2.GrantOwnershipRequest(name=requests.user_name(user))
        return self._calls.unary(self._stubs.admin.GrantOwnership, request)

    def revoke_ownership(self, user: str) -> user_pb2.User:
        """End the ownership of a user, who stays an administrator. Raises NotFound; FailedPrecondition for the last owner."""
        request = admin_service_pb2.RevokeOwnershipRequest(name=requests.user_name(user))
        return self._calls.unary(self._stubs.admin.RevokeOwnership, request)

    def create_tenant(
        self,
        tenant_id: str,
        display_name: str = "",
        invitation_email: str = "",
        administrator_name: str = "",
    ) -> admin_service_pb2.CreateTenantResponse:
        """Create a tenant. Only this response contains the code, or the key, that lets its first administrator in.

        The client does not retry this call after a lost connection. If the connection is lost, look for the tenant, and call `invite_tenant_administrator`.

        Args:
            tenant_id: 1 to 63 characters of a-z, 0-9 and hyphen; nobody can change it later.
            display_name: a name to show to people, at most 200 bytes; "" for the id.
            invitation_email: the only address that may register with the code; "" for any.
            administrator_name: the name of an administrator who gets an API key; "" for an invitation.

        Raises:
            AlreadyExists: the id is or was in use.
        """
        request = admin_service_pb2.CreateTenantRequest(
            tenant_id=tenant_id,
            display_name=display_name,
            invitation_email=invitation_email,
            administrator_name=administrator_name,
        )
        return self._calls.unary(self._stubs.admin.CreateTenant, request, repeatable=False)

    def invite_tenant_administrator(
        self, tenant: str, invitation_email: str = ""
    ) -> admin_service_pb2.InviteTenantAdministratorResponse:
        """Make a code with which an administrator of the tenant registers. Raises NotFound; FailedPrecondition if the tenant is suspended or erased."""
        request = admin_service_pb2.InviteTenantAdministratorRequest(
            name=requests.tenant_name(tenant), invitation_email=invitation_email
        )
        return self._calls.unary(self._stubs.admin.InviteTenantAdministrator, request, repeatable=False)

    def tenant(self, tenant: str) -> tenant_pb2.Tenant:
        """The tenant with this name (`tenants/{id}`) or id. Raises NotFound."""
        request = admin_service_pb2.GetTenantRequest(name=requests.tenant_name(tenant))
        return self._calls.unary(self._stubs.admin.GetTenant, request)

    def tenants(self, filter_by: str = "", order_by: str = "") -> Iterator[tenant_pb2.Tenant]:
        """All tenants, erased ones included, by default in the order of their creation."""
        request = admin_service_pb2.ListTenantsRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(self._stubs.admin.ListTenants, request, lambda page: page.tenants)

    def suspend_tenant(self, tenant: str) -> tenant_pb2.Tenant:
        """Refuse all calls of a tenant's users, and stop its work. A second call has no effect. Raises NotFound; FailedPrecondition for the installation's own tenant."""
        request = admin_service_pb2.SuspendTenantRequest(name=requests.tenant_name(tenant))
        return self._calls.unary(self._stubs.admin.SuspendTenant, request)

    def resume_tenant(self, tenant: str) -> tenant_pb2.Tenant:
        """Let the users of a suspended tenant make calls again. A second call has no effect. Raises NotFound; FailedPrecondition for a tenant that is erased."""
        request = admin_service_pb2.ResumeTenantRequest(name=requests.tenant_name(tenant))
        return self._calls.unary(self._stubs.admin.ResumeTenant, request)

    def erase_tenant(self, tenant: str, confirm_tenant_id: str) -> tenant_pb2.Tenant:
        """Begin to erase all that belongs to a tenant. This cannot be stopped; `tenant` returns the state and the receipt.

        Args:
            tenant: the tenant, `tenants/{id}` or the id.
            confirm_tenant_id: the id, once more.

        Raises:
            NotFound: the tenant does not exist.
            InvalidRequest: confirm_tenant_id is not the id.
            FailedPrecondition: the tenant is the installation's own.
        """
        request = admin_service_pb2.EraseTenantRequest(
            name=requests.tenant_name(tenant), confirm_tenant_id=confirm_tenant_id
        )
        return self._calls.unary(self._stubs.admin.EraseTenant, request)
