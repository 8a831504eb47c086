"""The part of AdminService that is about the credentials of all users."""

from __future__ import annotations

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.auth.v1 import api_key_pb2
from responsa_server.calls.call import caller
from responsa_server.calls.convert import people
from responsa_server.calls.convert.values import request_id, uuid_of
from responsa_server.calls.listing import Listing
from responsa_server.calls.services.parts import Services
from responsa_server.domain import lists


class CredentialService:
    """The credentials of all users of a tenant."""

    def __init__(self, parts: Services) -> None:
        self._parts = parts
        self._identity = parts.identity

    async def CreateServiceApiKey(
        self, request: pb.CreateServiceApiKeyRequest
    ) -> pb.CreateServiceApiKeyResponse:
        who = caller()
        service_id = uuid_of("user", "users", request.user)
        people.no_key_role(request.api_key)
        allowed = await self._parts.limits.read(who, service_id)
        key, secret = await self._identity.create_api_key(
            who,
            people.new_key(request.api_key, self._parts.catalogue),
            request_id(request.request_id),
            allowed.limits.api_keys,
            service_id=service_id,
        )
        return pb.CreateServiceApiKeyResponse(api_key=people.api_key(key), secret=secret)

    async def ListTenantApiKeys(self, request: pb.ListTenantApiKeysRequest) -> pb.ListTenantApiKeysResponse:
        asked = Listing(lists.TENANT_API_KEYS, caller(), request)
        page = await self._identity.store.list_tenant_keys(caller().tenant_id, asked.query)
        return asked.answer(pb.ListTenantApiKeysResponse, page, people.api_key)

    async def RevokeTenantApiKey(self, request: pb.RevokeTenantApiKeyRequest) -> api_key_pb2.ApiKey:
        key_id = uuid_of("name", "apiKeys", request.name)
        return people.api_key(await self._identity.revoke_api_key(caller(), key_id, of_any_user=True))

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
