"""Tenants and service grants."""

from __future__ import annotations

from responsa.admin.v1 import admin_service_pb2, service_grant_pb2, tenant_pb2
from responsa_server.calls.convert import messages, people, values
from responsa_server.domain import names
from responsa_server.domain.rows import Row
from responsa_server.domain.tenants import Tenant
from responsa_server.identity.tenants import NewTenant


def tenant(value: Tenant) -> tenant_pb2.Tenant:
    return messages.message(
        tenant_pb2.Tenant,
        value,
        name=names.tenant(value.id),
        erase_end_time=values.timestamp(value.end_time),
        erased_counts=value.erased,
    )


def new_tenant(value: NewTenant) -> admin_service_pb2.CreateTenantResponse:
    return admin_service_pb2.CreateTenantResponse(
        tenant=tenant(value.tenant),
        invitation_code=value.code,
        invitation_expire_time=values.timestamp(value.expire_time),
        administrator=None if value.administrator is None else people.user(value.administrator),
        api_key_secret=value.secret,
    )


def service_grant(value: Row) -> service_grant_pb2.ServiceGrant:
    return messages.message(service_grant_pb2.ServiceGrant, value, all_users=value.user_id is None or None)
