"""The table of errors is complete. An error's details have all its parts, but are limited in size."""

from __future__ import annotations

from typing import TypeVar

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from responsa_server.calls import status
from responsa_server.domain.errors import (
    Exhausted,
    FieldViolation,
    InvalidRequest,
    NotFound,
    Precondition,
    Reason,
    ResponsaError,
)

Detail = TypeVar("Detail", bound=Message)


def detail(encoded: status_pb2.Status, kind: type[Detail]) -> list[Detail]:
    result: list[Detail] = []
    for one in encoded.details:
        message = kind()
        if one.Unpack(message):
            result.append(message)
    return result


@pytest.mark.parametrize("reason", list(Reason))
def test_all_of_an_error_is_told(reason: Reason) -> None:
    metadata = {"resource_type": "turn", "resource_name": "turns/x"}
    violation = FieldViolation("text", "string.max_bytes", "too long")
    error = ResponsaError(reason, "Something is the matter.", metadata, (violation,), 2.5)
    encoded = status.of(error)
    assert (encoded.code, encoded.message) == (status.TABLE[reason].value, "Something is the matter.")
    (info,) = detail(encoded, error_details_pb2.ErrorInfo)
    assert (info.domain, info.reason, dict(info.metadata)) == ("responsa", reason.value, metadata)
    (bad,) = detail(encoded, error_details_pb2.BadRequest)
    assert [
        FieldViolation(field_violation.field, field_violation.reason, field_violation.description)
        for field_violation in bad.field_violations
    ] == [violation]
    (retry,) = detail(encoded, error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToTimedelta().total_seconds() == 2.5
    assert vars(status.read(encoded)) == vars(error)


def test_a_quota_that_is_used_up_is_named_with_its_value() -> None:
    metadata = {"user": "users/1", "quota": "tokens_per_day", "limit": "500", "used": "490", "reserved": "0"}
    encoded = status.of(Exhausted(Reason.QUOTA_EXHAUSTED, "Used up.", metadata, retry_after=60.0))
    assert encoded.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    (failure,) = detail(encoded, error_details_pb2.QuotaFailure)
    (found,) = failure.violations
    assert (found.subject, found.description, found.quota_id) == ("users/1", "Used up.", "tokens_per_day")
    assert (found.quota_metric, found.quota_value) == ("responsa/tokens_per_day", 500)
    assert not detail(status.of(Exhausted(Reason.OVERLOADED, "Busy.")), error_details_pb2.QuotaFailure)


def test_details_never_outgrow_what_the_transport_carries() -> None:
    many = tuple(FieldViolation("é" * 5000, "rule", "ü" * 5000) for _ in range(100))
    metadata = {"source_key": "x" * 5000, "accepted": "y" * 5000}
    encoded = status.of(InvalidRequest(Reason.INVALID_FIELD, "z" * 50_000, metadata, many, 1.0))
    assert encoded.ByteSize() <= status.MAX_DETAILS_BYTES
    (bad,) = detail(encoded, error_details_pb2.BadRequest)
    assert len(bad.field_violations) >= 1


@pytest.mark.parametrize("letter", ["x", "é", "語", "🌊"])
@pytest.mark.parametrize(
    ("kind", "reason"),
    [(NotFound, Reason.RESOURCE_NOT_FOUND), (Precondition, Reason.COLLECTION_NOT_EMPTY)],
)
def test_neither_do_those_of_an_error_without_fields(
    kind: type[ResponsaError], reason: Reason, letter: str
) -> None:
    metadata = {"resource_type": "document", "resource_name": letter * 5000, "collection": letter * 5000}
    encoded = status.of(kind(reason, letter * 50_000, metadata, retry_after=1.0))
    assert encoded.ByteSize() <= status.MAX_DETAILS_BYTES
    (info,) = detail(encoded, error_details_pb2.ErrorInfo)
    assert info.reason == reason.value
    assert encoded.message.strip(letter) == "…"


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_every_code_has_an_http_status(code: grpc.StatusCode) -> None:
    assert 200 <= status.http_status(status_pb2.Status(code=code.value[0])) < 600
