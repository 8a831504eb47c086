"""Conversions that all services use: times, names, masks, request ids."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from responsa_server.domain import names
from responsa_server.domain.errors import FieldViolation, InvalidRequest, Reason

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_SECONDS: Final = 86_400


def timestamp(time: datetime) -> Timestamp:
    """Convert a time with a zone, in whole microseconds."""
    since = time - _EPOCH
    return Timestamp(seconds=since.days * _DAY_SECONDS + since.seconds, nanos=since.microseconds * 1000)


def to_datetime(field: str, time: Timestamp) -> datetime:
    """Convert to a time in UTC. Raises InvalidRequest for a time outside the years 1 to 9999."""
    try:
        return time.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest.of_field(
            field, "timestamp", "must be a time of the years 1 to 9999, e.g. 2027-01-31T00:00:00Z"
        ) from error


def request_id(text: str) -> UUID | None:
    """Return the request_id, or None when the request has none. Validation has checked its form."""
    return UUID(text) if text else None


def named_uuid(field: str, prefix: str, name: str) -> UUID:
    """Return the UUID of a resource name. Raises InvalidRequest for any other form."""
    try:
        return names.parse_uuid(prefix, name)
    except ValueError as error:
        raise InvalidRequest.of_field(
            field,
            "name",
            f"must be a name of the form {prefix}/{{uuid}}, e.g. {prefix}/0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a10",
        ) from error


def named_slug(field: str, prefix: str, name: str) -> str:
    """Return the id of a resource name. Raises InvalidRequest for any other form."""
    try:
        return names.parse_slug(prefix, name)
    except ValueError as error:
        raise InvalidRequest.of_field(
            field, "name", f"must be a name of the form {prefix}/{{id}}, e.g. {prefix}/handbook"
        ) from error


def updated(mask: FieldMask, updatable: Sequence[str]) -> frozenset[str]:
    """Return the fields to update. Raises InvalidRequest (UPDATE_MASK_INVALID) for an empty mask or a field that cannot be updated."""
    wanted = frozenset(mask.paths)
    if not wanted or not wanted.issubset(updatable):
        what = f"must name one or more of {', '.join(updatable)}, and nothing else"
        raise InvalidRequest(
            Reason.UPDATE_MASK_INVALID,
            f"update_mask: {what}",
            {"updatable": ",".join(updatable)},
            (FieldViolation("update_mask", "update_mask_invalid", what),),
        )
    return wanted
