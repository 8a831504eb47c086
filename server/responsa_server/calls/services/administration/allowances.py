"""The part of AdminService that is about the limits and quotas of users."""

from __future__ import annotations

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import user_limits_pb2, user_quota_pb2
from responsa_server.calls.call import caller
from responsa_server.calls.convert import limits as converted
from responsa_server.calls.convert import people
from responsa_server.calls.convert.values import unmask
from responsa_server.identity.limits import LimitBook, QuotaAdministration


class AllowanceService:
    """The limits and quotas of users."""

    def __init__(self, limits: LimitBook, quotas: QuotaAdministration) -> None:
        self._limits = limits
        self._quotas = quotas

    async def GetUserLimits(self, request: pb.GetUserLimitsRequest) -> user_limits_pb2.UserLimits:
        return converted.user_limits(
            await self._limits.read(caller(), converted.user_id("name", request.name))
        )

    async def UpdateUserLimits(self, request: pb.UpdateUserLimitsRequest) -> user_limits_pb2.UserLimits:
        limits = request.user_limits
        changes = converted.changes(limits, unmask(request.update_mask, converted.PATHS, limits))
        user_id = converted.user_id("user_limits.name", limits.name)
        return converted.user_limits(await self._limits.change(caller(), user_id, changes))

    async def GetUserQuota(self, request: pb.GetUserQuotaRequest) -> user_quota_pb2.UserQuota:
        user_id = people.quota_user("name", request.name)
        return people.user_quota(await self._quotas.of_user(caller(), user_id))

    async def UpdateUserQuota(self, request: pb.UpdateUserQuotaRequest) -> user_quota_pb2.UserQuota:
        quota = request.user_quota
        change, dropped = people.quota_change(quota, unmask(request.update_mask, people.QUOTA_FIELDS, quota))
        user_id = people.quota_user("user_quota.name", quota.name)
        return people.user_quota(await self._quotas.update(caller(), user_id, change, dropped, quota.etag))
