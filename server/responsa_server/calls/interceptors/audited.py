"""Writes refused acts to the audit log: all calls of administrative methods by callers without the right, the other
refused acts of administrators, and those of all callers on their own accounts. The stores write the acts that
succeed."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, Final, TypeGuard

from google.protobuf.descriptor import Descriptor

from responsa.type.v1 import method_pb2
from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.calls.call import Call, Interceptor
from responsa_server.calls.methods import METHODS
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

_OPERATIONS: Final = "/google.longrunning.Operations/"
_UPDATE_COLLECTION: Final = "/responsa.knowledge.v1.KnowledgeService/UpdateCollection"
_UPDATE_ME: Final = "/responsa.auth.v1.AuthService/UpdateMe"
_ME: Final = "users/me"


def _of_contract() -> Mapping[str, tuple[str, Sequence[str]]]:
    """The actions of the methods that have the option `audit_action`."""
    options = {name: method.GetOptions().Extensions for name, method in METHODS.items()}
    return {
        name: (
            of_method[method_pb2.audit_action],
            tuple(of_method[method_pb2.audit_resources]) or _names_in(METHODS[name].input_type),
        )
        for name, of_method in options.items()
        if of_method[method_pb2.audit_action]
    }


def _names_in(request: Descriptor) -> Sequence[str]:
    """The path of the field that names the resource of a request; nothing if no resource exists yet."""
    if "name" in request.fields_by_name:
        return ("name",)
    if "update_mask" not in request.fields_by_name:
        return ()
    return tuple(
        f"{field.name}.name"
        for field in request.fields
        if field.message_type is not None and "name" in field.message_type.fields_by_name
    )


ACTS: Final[Mapping[str, tuple[str, Sequence[str]]]] = {
    **_of_contract(),
    _OPERATIONS + "CancelOperation": ("operation.cancel", ("name",)),
    _OPERATIONS + "DeleteOperation": ("operation.delete", ("name",)),
}
"""For each method whose refusals are in the audit log: the action, and the paths of the request's fields that name the
resources, or the name itself, which has a slash. `_ME` stands for the caller's name."""


def reads(method: str) -> bool:
    """Whether an administrative method changes nothing. Only calls by callers without the right are in the audit log."""
    return method in ACTS and ACTS[method][0].endswith(".read")


# NotPermitted: the caller lacks the role or the grant, only owners of the installation may do this, or do it to an
# owner, or the caller has not signed in recently. Unauthenticated: the
# present password is wrong.
_REFUSALS: Final = (AlreadyExists, Conflict, NotFound, NotPermitted, Precondition, Unauthenticated)
# The other errors of the class Exhausted say that the server or the caller is too busy.
_EXHAUSTED: Final = (Reason.LIMIT_REACHED, Reason.TOO_MANY_ATTEMPTS)


class Audited(Interceptor[None]):
    """Records a refused act. Invalid requests and failures of the server are not acts; they are in the server's log alone.

    It comes before the interceptors that check the caller, so that it sees their refusals. A caller without a valid
    credential is nobody, and has no event. It comes after validation, which parses the request. A call that is refused
    before its request is read names no resource.
    """

    def __init__(self, trail: PostgresAuditTrail) -> None:
        self._trail = trail

    async def on_start(self, call: Call) -> None:
        """Note the act."""
        call.act = ACTS[call.method][0] if call.method in ACTS else ""

    def on_request(self, call: Call, message: Any) -> object:
        """Note the names of the resources, and acts that go beyond the method's."""
        paths = ACTS.get(call.method, ("", ()))[1]
        call.resources = [] if _literal_of(paths) else _texts_at(message, paths)
        if call.method == _UPDATE_COLLECTION and not {"readers", "*"}.isdisjoint(message.update_mask.paths):
            call.act = "collection.share"
        if call.method == _UPDATE_ME and not {"email", "*"}.isdisjoint(message.update_mask.paths):
            call.act = "user.request_email"
        return message

    async def on_end(self, call: Call, token: None, error: BaseException | None) -> BaseException | None:
        """Write the events of a refusal."""
        caller = call.principal
        if caller is None or call.method not in ACTS or not _is_refusal(error):
            return error
        if reads(call.method) and not isinstance(error, NotPermitted):
            return error
        # Users change what is their own with these methods, and administrators also what belongs to others. Only the
        # latter is in the audit log.
        rule = RULES[call.method]
        if rule is Rule.MEMBER and caller.role is not Role.ADMIN:
            return error
        fixed = _literal_of(ACTS[call.method][1])
        if fixed == _ME:
            # A service without a grant has named the account on which it meant to act.
            fixed = (
                error.metadata["user"]
                if error.reason is Reason.GRANT_REQUIRED
                else names.user(caller.user_id)
            )
        resources = call.resources or [fixed]
        events = [
            AuditEvent.of(caller, call.act, resource, outcome=error.reason.value) for resource in resources
        ]
        # A call that names something outside the caller's own account is an act only if this belongs to another user.
        of_others = rule is Rule.MEMBER or (rule is Rule.OWN and isinstance(error, NotFound))
        # The caller gets the refusal also if the database has become unavailable.
        with contextlib.suppress(Unavailable):
            await self._trail.record_refused(caller, events, only_of_others=of_others)
        return error


def _is_refusal(error: BaseException | None) -> TypeGuard[ResponsaError]:
    return isinstance(error, _REFUSALS) or (isinstance(error, Exhausted) and error.reason in _EXHAUSTED)


def _literal_of(paths: Sequence[str]) -> str:
    """The name that stands in place of paths; "" for paths."""
    return next((path for path in paths if "/" in path), "")


def _texts_at(message: object, paths: Sequence[str]) -> Sequence[str]:
    """The names in these fields of a request. A field may have several."""
    names: list[str] = []
    for path in paths:
        value: Any = reduce(getattr, path.split("."), message)
        names.extend([value] if isinstance(value, str) else value)
    return [name for name in names if name]
