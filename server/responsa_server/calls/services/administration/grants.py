"""The part of AdminService that is about service grants."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import service_grant_pb2
from responsa_server.calls.call import caller
from responsa_server.calls.convert import tenants
from responsa_server.calls.convert.values import uuid_of
from responsa_server.calls.listing import Listing
from responsa_server.domain import lists
from responsa_server.identity.credentials import CredentialCache
from responsa_server.stores.postgres.service_grants import PostgresServiceGrants


class GrantService:
    """Service grants."""

    def __init__(self, grants: PostgresServiceGrants, cache: CredentialCache) -> None:
        self._grants = grants
        self._cache = cache

    async def CreateServiceGrant(
        self, request: pb.CreateServiceGrantRequest
    ) -> service_grant_pb2.ServiceGrant:
        grant = request.service_grant
        service_id = uuid_of("service_grant.service", "users", grant.service)
        user_id = None if grant.all_users else uuid_of("service_grant.user", "users", grant.user)
        return tenants.service_grant(await self._grants.add(caller(), service_id, user_id))

    async def ListServiceGrants(self, request: pb.ListServiceGrantsRequest) -> pb.ListServiceGrantsResponse:
        asked = Listing(lists.SERVICE_GRANTS, caller(), request)
        page = await self._grants.list(caller(), asked.query)
        return asked.answer(pb.ListServiceGrantsResponse, page, tenants.service_grant)

    async def DeleteServiceGrant(self, request: pb.DeleteServiceGrantRequest) -> Empty:
        removed = await self._grants.remove(caller(), uuid_of("name", "serviceGrants", request.name))
        # This process refuses the service's calls at once, and others within a second.
        self._cache.forget_user(removed.service_id)
        return Empty()
