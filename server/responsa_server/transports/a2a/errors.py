"""Errors under the names of A2A."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from a2a.utils.errors import A2A_REASON_TO_ERROR, JSON_RPC_ERROR_CODE_MAP

from responsa_server.calls import status
from responsa_server.calls.json_rpc import SERVER_ERROR
from responsa_server.calls.status import Code
from responsa_server.calls.violations import rename_fields, within
from responsa_server.domain.errors import InvalidRequest, NotFound, Reason, ResponsaError

_DOMAIN: Final = "a2a-protocol.org"
_INVALID: Final = "INVALID_PARAMS"
_REASONS: Final[Mapping[Code, str]] = {
    Code.INVALID_ARGUMENT: _INVALID,
    Code.NOT_FOUND: _INVALID,
    Code.ALREADY_EXISTS: _INVALID,
    Code.FAILED_PRECONDITION: _INVALID,
    Code.ABORTED: _INVALID,
    Code.OUT_OF_RANGE: _INVALID,
    Code.INTERNAL: "INTERNAL_ERROR",
}
_CODES: Final[Mapping[str, str]] = {
    "TASK_NOT_CANCELABLE": "FAILED_PRECONDITION",
    "PUSH_NOTIFICATION_NOT_SUPPORTED": "UNIMPLEMENTED",
    "UNSUPPORTED_OPERATION": "UNIMPLEMENTED",
    "VERSION_NOT_SUPPORTED": "UNIMPLEMENTED",
}
"""The codes over gRPC (A2A, 5.4) that are not those of an invalid request."""
_FIELDS: Final = {
    "text": "message.parts",
    "conversation": "message.context_id",
    "request_id": "message.message_id",
    "options": "metadata.responsa",
    "filter": "context_id",
    "agent": "tenant",
    "name": "tenant",
}


def refuse(field: str, remedy: str, reason: str = _INVALID) -> ResponsaError:
    """The error for a field. reason: A2A's."""
    error = InvalidRequest.of_field(field, "a2a", remedy)
    error.alias, error.alias_code = (_DOMAIN, reason), _CODES.get(reason, "")
    return error


def check_version(version: str) -> None:
    """Raises InvalidRequest (VERSION_NOT_SUPPORTED). version: A2A's that the client speaks."""
    if ".".join(version.split(".")[:2]) != "1.0":
        raise refuse("A2A-Version", "must be 1.0", "VERSION_NOT_SUPPORTED")


def task_not_found(task_id: str) -> ResponsaError:
    """The error for a task that does not exist, or belongs to somebody else."""
    error = NotFound.of("turn", f"turns/{task_id}", "task")
    error.alias = _DOMAIN, "TASK_NOT_FOUND"
    return error


def to_a2a_error(error: ResponsaError) -> ResponsaError:
    """The same error with A2A's reason, if there is one, and in the names of A2A's fields."""
    if error.alias is not None:
        return error
    if error.reason is Reason.ROUTE_NOT_FOUND:
        error.alias = _DOMAIN, "METHOD_NOT_FOUND"
    elif (reason := _REASONS.get(status.code(error))) is not None:
        error.alias = _DOMAIN, reason
    return rename_fields(error, within(_FIELDS))


def rpc_code(error: ResponsaError) -> int:
    """The code of a translated error in JSON-RPC."""
    if error.alias is None:
        return SERVER_ERROR
    return JSON_RPC_ERROR_CODE_MAP[A2A_REASON_TO_ERROR[error.alias[1]]]
