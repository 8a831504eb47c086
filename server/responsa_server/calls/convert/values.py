"""Conversions that all services use: times, names, masks, request ids and enums."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Generic, Protocol, TypeVar, overload
from uuid import UUID

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from responsa_server.domain import names
from responsa_server.domain.errors import FieldViolation, InvalidRequest, Reason

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_SECONDS: Final = 86_400


@overload
def timestamp(time: datetime) -> Timestamp: ...
@overload
def timestamp(time: datetime | None) -> Timestamp | None: ...
def timestamp(time: datetime | None) -> Timestamp | None:
    """Convert a time with a zone, in whole microseconds."""
    if time is None:
        return None
    since = time - _EPOCH
    return Timestamp(seconds=since.days * _DAY_SECONDS + since.seconds, nanos=since.microseconds * 1000)


def to_datetime(field: str, time: Timestamp) -> datetime:
    """Convert to a time in UTC. Raises InvalidRequest for a time outside the years 1 to 9999."""
    try:
        return time.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest.of_field(
            field, "timestamp", "must be a time in the years 1 to 9999, e.g. 2027-01-31T00:00:00Z"
        ) from error


def request_id(text: str) -> UUID | None:
    """Return the request_id, or None if the request has no id. Validation has already checked the form of the id."""
    return UUID(text) if text else None


def uuids_of(field: str, listed: Sequence[str]) -> Sequence[UUID]:
    """The UUIDs of resource names whose prefix is the field's name. Raises InvalidRequest for any other form."""
    return [uuid_of(f"{field}[{index}]", field, name) for index, name in enumerate(listed)]


def uuid_of(field: str, prefix: str, name: str) -> UUID:
    """Return the UUID of a resource name. Raises InvalidRequest for any other form."""
    try:
        return names.parse_uuid(prefix, name)
    except ValueError as error:
        raise InvalidRequest.of_field(
            field,
            "name",
            f"must be a name of the form {prefix}/{{uuid}}, e.g. {prefix}/0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a10",
        ) from error


def slug_of(field: str, prefix: str, name: str) -> str:
    """Return the id of a resource name. Raises InvalidRequest for any other form."""
    try:
        return names.parse_slug(prefix, name)
    except ValueError as error:
        raise InvalidRequest.of_field(
            field, "name", f"must be a name of the form {prefix}/{{id}}, e.g. {prefix}/handbook"
        ) from error


def unmask(mask: FieldMask, updatable: Sequence[str], message: Message) -> frozenset[str]:
    """Return the fields to update; with the mask `*` all of them, and without a mask those that the given resource has
    (AIP-134). Raises InvalidRequest (UPDATE_MASK_INVALID) for a field that cannot be updated, or if there is none."""
    paths = updatable if mask.paths == ["*"] else mask.paths
    wanted = frozenset(paths or (path for path in updatable if _has(message, path)))
    if not wanted or not wanted.issubset(updatable):
        what = f"must name one or more of {', '.join(updatable)}, and nothing else; `*`, for all of them, stands alone"
        raise InvalidRequest(
            Reason.UPDATE_MASK_INVALID,
            f"update_mask: {what}",
            {"updatable": ",".join(updatable)},
            (FieldViolation("update_mask", "update_mask_invalid", what),),
        )
    return wanted


def _has(message: Message, path: str) -> bool:
    """Whether a message has a value in a field, such as `exceptions.streams`, that is not the default."""
    name, _, rest = path.partition(".")
    fields = {field.name: value for field, value in message.ListFields()}
    return name in fields and (not rest or _has(fields[name], rest))


def parse_read_mask(mask: FieldMask, readable: Sequence[str]) -> frozenset[str]:
    """Return the fields to return, which are all of them for an empty mask. Raises InvalidRequest for another field."""
    named = frozenset(mask.paths)
    if not named.issubset(readable):
        raise InvalidRequest.of_field("read_mask", "read_mask", f"must name only {', '.join(readable)}")
    return named or frozenset(readable)


_Domain = TypeVar("_Domain", bound=StrEnum)
_Number = TypeVar("_Number", bound=int)
_Number_co = TypeVar("_Number_co", bound=int, covariant=True)
_UNSPECIFIED: Final = "UNSPECIFIED"


class _ProtoEnum(Protocol[_Number_co]):
    def keys(self) -> Sequence[str]: ...
    def values(self) -> Sequence[_Number_co]: ...


class EnumMap(Generic[_Number, _Domain]):
    """Maps an enum of the contract to an enum of the domain and back. The contract's `PREFIX_NAME` is the domain's
    `NAME`; `PREFIX_UNSPECIFIED` is None.

    The constructor raises ValueError if the two enums do not have the same names.
    """

    def __init__(self, proto: _ProtoEnum[_Number], domain: type[_Domain]) -> None:
        numbers = dict(zip(proto.keys(), proto.values(), strict=True))
        (unset,) = (name for name in numbers if name.endswith(_UNSPECIFIED))
        prefix = unset.removesuffix(_UNSPECIFIED)
        self._unset = numbers.pop(unset)
        if numbers.keys() != {prefix + member.name for member in domain}:
            raise ValueError(
                f"the names in {domain.__name__} differ from the contract's names that begin with {prefix}"
            )
        self._numbers: dict[_Domain, _Number] = {member: numbers[prefix + member.name] for member in domain}
        self._values: dict[int, _Domain] = {number: member for member, number in self._numbers.items()}

    def number(self, value: _Domain | None) -> _Number:
        """The contract's number for a value of the domain; for None, the number of `PREFIX_UNSPECIFIED`."""
        return self._unset if value is None else self._numbers[value]

    def value(self, number: int) -> _Domain | None:
        """The domain's value for a number of the contract; None for `PREFIX_UNSPECIFIED`. Validation has already
        refused numbers that the contract does not know."""
        return self._values.get(number)
