"""Errors in the shape of OpenAI's API: `{"error": {"message", "type", "param", "code"}}`. The `code` is the reason of the contract's error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from responsa_server.calls import status
from responsa_server.domain.errors import Reason

_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}


Told = Mapping[str, str | None]


def error_of(found: Status) -> Told:
    """The value of `error`. `param` is the first field that breaks a rule, or null."""
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in found.details:
        if not detail.Unpack(info):
            detail.Unpack(bad)
    code = status.http_status(found)
    kind = _TYPES.get(code, "server_error" if code >= 500 else "invalid_request_error")
    if info.reason == Reason.QUOTA_EXHAUSTED.value:
        kind = "insufficient_quota"
    param = bad.field_violations[0].field if bad.field_violations else None
    return {"message": found.message, "type": kind, "param": param, "code": info.reason}


def headers_of(found: Status) -> Mapping[str, str]:
    """The headers that tell OpenAI's clients whether and when to try again: they would repeat each 409 and 429."""
    retry = error_details_pb2.RetryInfo()
    if any(detail.Unpack(retry) for detail in found.details):
        return {"retry-after": str(max(1, retry.retry_delay.seconds + (retry.retry_delay.nanos > 0)))}
    return {"x-should-retry": "false"} if status.http_status(found) in (409, 429) else {}
