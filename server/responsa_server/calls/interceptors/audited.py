"""Writes refused acts to the audit log: all calls of administrative methods by callers without the right, the other refused acts of administrators, and those of all callers on their own accounts. The stores write the acts that succeed."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, Final, TypeGuard

from responsa_server.calls.call import Call, Interceptor
from responsa_server.domain import names
from responsa_server.domain.errors import (
    AlreadyExists,
    Conflict,
    Exhausted,
    NotFound,
    NotPermitted,
    Precondition,
    Reason,
    ResponsaError,
    Unauthenticated,
    Unavailable,
)
from responsa_server.domain.people import AuditEvent, Role
from responsa_server.stores.postgres.audit import PostgresAuditTrail

_ADMIN: Final = "/responsa.admin.v1.AdminService/"
_AUTH: Final = "/responsa.auth.v1.AuthService/"
_CHAT: Final = "/responsa.chat.v1.ChatService/"
_KNOWLEDGE: Final = "/responsa.knowledge.v1.KnowledgeService/"
_OPERATIONS: Final = "/google.longrunning.Operations/"
_UPDATE_COLLECTION: Final = _KNOWLEDGE + "UpdateCollection"
_UPDATE_ME: Final = _AUTH + "UpdateMe"
_ME: Final = "users/me"
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
    _ADMIN + "RevokeCredentials": ("user.revoke_credentials", "name"),
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
    _ADMIN + "RevokeTenantSessions": ("session.revoke", "names user"),
    _AUTH + "CreateInvitation": ("invitation.create", ""),
    _AUTH + "RevokeInvitation": ("invitation.revoke", "name"),
    _AUTH + "CreateResetCode": ("user.create_reset_code", "user"),
}
"""For each method that changes something as an administrator: the action in the audit log, and the paths of the request's fields that name the resources, or the name itself, which has a slash."""
READS: Final[Mapping[str, tuple[str, str]]] = {
    _ADMIN + "GetSystemStatus": ("status.read", ""),
    _ADMIN + "GetTeacher": ("teacher.read", "name"),
    _ADMIN + "ListTeachers": ("teacher.read", ""),
    _ADMIN + "GetSource": ("source.read", "name"),
    _ADMIN + "ListSources": ("source.read", ""),
    _ADMIN + "PreviewSource": ("source.read", ""),
    _ADMIN + "ListFailedRows": ("source.read", "parent"),
    _ADMIN + "ListConnections": ("source.read", ""),
    _ADMIN + "ListDeliveries": ("delivery.read", ""),
    _ADMIN + "GetUser": ("user.read", "name"),
    _ADMIN + "LookupUser": ("user.read", ""),
    _ADMIN + "ListUsers": ("user.read", ""),
    _ADMIN + "GetUserLimits": ("user.read", "name"),
    _ADMIN + "GetUserQuota": ("user.read", "name"),
    _ADMIN + "ListServiceGrants": ("service_grant.read", ""),
    _ADMIN + "GetTenant": ("tenant.read", "name"),
    _ADMIN + "ListTenants": ("tenant.read", ""),
    _ADMIN + "ListTenantApiKeys": ("api_key.read", ""),
    _ADMIN + "ListTenantSessions": ("session.read", ""),
    _ADMIN + "ListAuditEvents": ("audit_event.read", ""),
    _AUTH + "ListInvitations": ("invitation.read", ""),
}
"""The same for each administrative method that changes nothing. Only calls by callers without the right are in the audit log."""
OF_ACCOUNT: Final[Mapping[str, tuple[str, str]]] = {
    _UPDATE_ME: ("user.update", _ME),
    _AUTH + "ChangePassword": ("user.change_password", _ME),
    _AUTH + "RevokeSessions": ("session.revoke", "names"),
    _AUTH + "DeleteMe": ("user.delete", _ME),
    _AUTH + "UnlinkIdentity": ("user.unlink", _ME),
    _AUTH + "CreateApiKey": ("api_key.create", ""),
    _AUTH + "RevokeApiKey": ("api_key.revoke", "name"),
}
"""The same for each method with which users change their own account. `_ME` stands for the caller's name."""
OF_OTHERS: Final[Mapping[str, tuple[str, str]]] = {
    _CHAT + "CancelTurn": ("turn.cancel", "name"),
    _UPDATE_COLLECTION: ("collection.update", "collection.name"),
    _KNOWLEDGE + "DeleteCollection": ("collection.delete", "name"),
    _KNOWLEDGE + "DeleteGeneration": ("generation.delete", "name"),
    _KNOWLEDGE + "UpdateDocument": ("document.update", "document.name"),
    _KNOWLEDGE + "DeleteDocument": ("document.delete", "name"),
    _OPERATIONS + "CancelOperation": ("operation.cancel", "name"),
    _OPERATIONS + "DeleteOperation": ("operation.delete", "name"),
}
"""The same for each method with which users change what is their own, and administrators also what belongs to others. Only the latter is in the audit log."""
_NOTED: Final = {**ACTIONS, **READS, **OF_ACCOUNT, **OF_OTHERS}
# NotPermitted: the caller lacks the role or the grant, only owners of the installation may do this, or do it to an owner, or the caller has not signed in recently. Unauthenticated: the
# present password is wrong.
_REFUSALS: Final = (AlreadyExists, Conflict, NotFound, NotPermitted, Precondition, Unauthenticated)
# The other errors of the class Exhausted say that the server or the caller is too busy.
_EXHAUSTED: Final = (Reason.LIMIT_REACHED, Reason.TOO_MANY_ATTEMPTS)


class Audited(Interceptor[None]):
    """Records a refused act. Invalid requests and failures of the server are not acts; they are in the server's log alone.

    It comes before the interceptors that check the caller, so that it sees their refusals. A caller without a valid credential is nobody, and has no event. It comes after validation,
    which parses the request. A call that is refused before its request is read names no resource.
    """

    def __init__(self, trail: PostgresAuditTrail) -> None:
        self._trail = trail

    async def on_start(self, call: Call) -> None:
        """Do nothing: there is no message yet."""

    def on_request(self, call: Call, message: Any) -> object:
        """Note the act and the names of the resources."""
        known = _NOTED.get(call.method)
        if known is not None:
            call.act, paths = known
            call.resources = [] if "/" in paths else _named(message, paths)
        if call.method == _UPDATE_COLLECTION and "readers" in message.update_mask.paths:
            call.act = "collection.share"
        if call.method == _UPDATE_ME and "email" in message.update_mask.paths:
            call.act = "user.request_email"
        return message

    async def on_end(self, call: Call, token: None, error: BaseException | None) -> BaseException | None:
        """Write the events of a refusal."""
        who, known = call.principal, _NOTED.get(call.method)
        if who is None or known is None or not _refused(error):
            return error
        if call.method in READS and not isinstance(error, NotPermitted):
            return error
        if call.method in OF_OTHERS and who.role is not Role.ADMIN:
            return error
        act, fixed = known
        if fixed == _ME:
            # A service without a grant has named the account on which it meant to act.
            fixed = (
                error.metadata["user"] if error.reason is Reason.GRANT_REQUIRED else names.user(who.user_id)
            )
        resources = call.resources or [fixed if "/" in fixed else ""]
        events = [
            AuditEvent.of(who, call.act or act, resource, outcome=error.reason.value)
            for resource in resources
        ]
        # A call that names something outside the caller's own account is an act only if this belongs to another user.
        of_others = call.method in OF_OTHERS or (call.method in OF_ACCOUNT and isinstance(error, NotFound))
        # The caller gets the refusal also if the database has become unavailable.
        with contextlib.suppress(Unavailable):
            await self._trail.record_refused(who, events, only_of_others=of_others)
        return error


def _refused(error: BaseException | None) -> TypeGuard[ResponsaError]:
    return isinstance(error, _REFUSALS) or (isinstance(error, Exhausted) and error.reason in _EXHAUSTED)


def _named(message: object, paths: str) -> Sequence[str]:
    """The names in these fields of a request. A field may have several."""
    found: list[str] = []
    for path in paths.split():
        value: Any = reduce(getattr, path.split("."), message)
        found.extend([value] if isinstance(value, str) else value)
    return [one for one in found if one]
