"""Writes refused administrative acts to the audit log. The stores write the acts that succeed."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import reduce
from typing import Final

from responsa_server.calls.call import Call, Interceptor
from responsa_server.domain.audit import AuditTrail
from responsa_server.domain.errors import (
    AlreadyExists,
    Conflict,
    NotFound,
    NotPermitted,
    Precondition,
    Unavailable,
)
from responsa_server.domain.people import AuditEvent

_ADMIN: Final = "/responsa.admin.v1.AdminService/"
_AUTH: Final = "/responsa.auth.v1.AuthService/"
ACTIONS: Final[Mapping[str, tuple[str, str]]] = {
    _ADMIN + "ReloadAgents": ("agents.reload", "agents/-"),
    _ADMIN + "CreateTeacher": ("teacher.create", ""),
    _ADMIN + "UpdateTeacher": ("teacher.update", "teacher.name"),
    _ADMIN + "DeleteTeacher": ("teacher.delete", "name"),
    _ADMIN + "CreateSource": ("source.create", ""),
    _ADMIN + "UpdateSource": ("source.update", "source.name"),
    _ADMIN + "DeleteSource": ("source.delete", "name"),
    _ADMIN + "SyncSource": ("source.sync", "name"),
    _ADMIN + "RetryFailedRows": ("source.retry", "name"),
    _ADMIN + "RedeliverDelivery": ("delivery.redeliver", "name"),
    _ADMIN + "NotifySubjectChanged": ("source.notify", ""),
    _ADMIN + "CreateUser": ("user.create", ""),
    _ADMIN + "UpdateUser": ("user.update", "user.name"),
    _ADMIN + "UpdateUserLimits": ("user.update_limits", "user_limits.name"),
    _ADMIN + "DisableUser": ("user.disable", "name"),
    _ADMIN + "EnableUser": ("user.enable", "name"),
    _ADMIN + "GrantOwnership": ("user.grant_ownership", "name"),
    _ADMIN + "RevokeOwnership": ("user.revoke_ownership", "name"),
    _ADMIN + "CreateServiceGrant": ("service_grant.create", ""),
    _ADMIN + "DeleteServiceGrant": ("service_grant.delete", "name"),
    _ADMIN + "CreateTenant": ("tenant.create", ""),
    _ADMIN + "InviteTenantAdministrator": ("invitation.create", "name"),
    _ADMIN + "SuspendTenant": ("tenant.suspend", "name"),
    _ADMIN + "ResumeTenant": ("tenant.resume", "name"),
    _ADMIN + "EraseTenant": ("tenant.erase", "name"),
    _ADMIN + "UpdateUserQuota": ("user.update_quota", "user_quota.name"),
    _ADMIN + "DeleteUser": ("user.delete", "name"),
    _ADMIN + "CreateServiceApiKey": ("api_key.create", "user"),
    _ADMIN + "RevokeTenantApiKey": ("api_key.revoke", "name"),
    _ADMIN + "RevokeTenantSessions": ("session.revoke", "user"),
    _AUTH + "CreateInvitation": ("invitation.create", ""),
    _AUTH + "RevokeInvitation": ("invitation.revoke", "name"),
    _AUTH + "CreateResetCode": ("user.create_reset_code", "user"),
}
"""For each method that changes something as an administrator: the action in the audit log, and the path of the request's field that names the resource, or the name itself, which has a slash."""
# NotPermitted: only owners of the installation may do this, or do it to an owner. A caller who is not an administrator never gets here.
_REFUSALS: Final = (AlreadyExists, Conflict, NotFound, NotPermitted, Precondition)


class Audited(Interceptor[None]):
    """Records a refused act of an administrator. Invalid requests and failures of the server are not acts; they are in the server's log alone."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail

    async def on_start(self, call: Call) -> None:
        """Do nothing: there is no message yet."""

    def on_request(self, call: Call, message: object) -> object:
        """Note the name of the resource."""
        known = ACTIONS.get(call.method)
        if known is not None and known[1]:
            path = known[1]
            call.resource = path if "/" in path else str(reduce(getattr, path.split("."), message))
        return message

    async def on_end(self, call: Call, token: None, error: BaseException | None) -> BaseException | None:
        """Write the event of a refusal."""
        known = ACTIONS.get(call.method)
        if known is None or call.principal is None or not isinstance(error, _REFUSALS):
            return error
        event = AuditEvent.of(call.principal, known[0], call.resource, outcome=error.reason.value)
        # The caller gets the refusal also if the database has become unavailable.
        with contextlib.suppress(Unavailable):
            await self._trail.record(event)
        return error
