"""Conversions that all services use: times, names, masks, request ids and enums."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Generic, Protocol, TypeVar, overload
from uuid import UUID

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from responsa.admin.v1 import delivery_pb2, insight_pb2, model_settings_pb2, system_status_pb2, tenant_pb2
from responsa.auth.v1 import sign_in_pb2, usage_report_pb2, user_pb2
from responsa.chat.v1 import (
    chat_service_pb2,
    citation_pb2,
    excerpt_pb2,
    feedback_pb2,
    message_pb2,
    tool_pb2,
    turn_pb2,
)
from responsa.knowledge.v1 import (
    document_pb2,
    document_version_pb2,
    generation_pb2,
    knowledge_service_pb2,
)
from responsa.type.v1 import collection_kind_pb2
from responsa_server.domain import names
from responsa_server.domain.conversations import Rating, Speaker
from responsa_server.domain.errors import FieldViolation, InvalidRequest, Reason
from responsa_server.domain.events import (
    AnswerOutcome,
    CancelCause,
    CitationState,
    FallbackKind,
    Grade,
    RefusalReason,
    Step,
    ToolFault,
    ToolOutcome,
)
from responsa_server.domain.generations import GenerationState
from responsa_server.domain.insight import Dimension, FeedbackState, Granularity, QuestionOutcome
from responsa_server.domain.kinds import CollectionKind
from responsa_server.domain.knowledge import DocumentState, IngestStage, LeftOutKind, SearchMode
from responsa_server.domain.model_settings import ModelTestOutcome
from responsa_server.domain.notifications import DeliveryState
from responsa_server.domain.parts import Health
from responsa_server.domain.people import Role
from responsa_server.domain.tenants import TenantState
from responsa_server.domain.tools import Effect
from responsa_server.domain.turns import OnBusy, TurnState, Verdict
from responsa_server.identity.settings import Registration
from responsa_server.text.compare import HunkKind

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


def updated(mask: FieldMask, updatable: Sequence[str], given: Message) -> frozenset[str]:
    """Return the fields to update; without a mask, those of them that the given resource has (AIP-134). Raises InvalidRequest (UPDATE_MASK_INVALID) for a field that cannot be updated, or if there is none."""
    wanted = frozenset(mask.paths or (path for path in updatable if _has(given, path)))
    if not wanted or not wanted.issubset(updatable):
        what = f"must name one or more of {', '.join(updatable)}, and nothing else"
        raise InvalidRequest(
            Reason.UPDATE_MASK_INVALID,
            f"update_mask: {what}",
            {"updatable": ",".join(updatable)},
            (FieldViolation("update_mask", "update_mask_invalid", what),),
        )
    return wanted


def _has(given: Message, path: str) -> bool:
    """Whether a message has a value in a field, such as `exceptions.streams`, that is not the default."""
    name, _, rest = path.partition(".")
    found = {field.name: value for field, value in given.ListFields()}
    return name in found and (not rest or _has(found[name], rest))


def wanted(mask: FieldMask, readable: Sequence[str]) -> frozenset[str]:
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
    """Maps an enum of the contract to an enum of the domain and back. The contract's `PREFIX_NAME` is the domain's `NAME`; `PREFIX_UNSPECIFIED` is None.

    The constructor raises ValueError if the two enums do not have the same names.
    """

    def __init__(self, proto: _ProtoEnum[_Number], domain: type[_Domain]) -> None:
        numbers = dict(zip(proto.keys(), proto.values(), strict=True))
        (unset,) = (name for name in numbers if name.endswith(_UNSPECIFIED))
        prefix = unset.removesuffix(_UNSPECIFIED)
        self._unset = numbers.pop(unset)
        if numbers.keys() != {prefix + one.name for one in domain}:
            raise ValueError(
                f"the names in {domain.__name__} differ from the contract's names that begin with {prefix}"
            )
        self._numbers: dict[_Domain, _Number] = {one: numbers[prefix + one.name] for one in domain}
        self._values: dict[int, _Domain] = {number: one for one, number in self._numbers.items()}

    def number(self, value: _Domain | None) -> _Number:
        """The contract's number for a value of the domain; for None, the number of `PREFIX_UNSPECIFIED`."""
        return self._unset if value is None else self._numbers[value]

    def value(self, number: int) -> _Domain | None:
        """The domain's value for a number of the contract; None for `PREFIX_UNSPECIFIED`. Validation has already refused numbers that the contract does not know."""
        return self._values.get(number)


STEP: Final = EnumMap(turn_pb2.Step, Step)
TURN_STATE: Final = EnumMap(turn_pb2.TurnState, TurnState)
REFUSAL_REASON: Final = EnumMap(turn_pb2.RefusalReason, RefusalReason)
ANSWER_OUTCOME: Final = EnumMap(turn_pb2.AnswerOutcome, AnswerOutcome)
TOOL_OUTCOME: Final = EnumMap(turn_pb2.ToolOutcome, ToolOutcome)
TOOL_FAULT: Final = EnumMap(tool_pb2.ToolFault, ToolFault)
TOOL_EFFECT: Final = EnumMap(tool_pb2.ToolEffect, Effect)
CANCEL_CAUSE: Final = EnumMap(turn_pb2.CancelCause, CancelCause)
FALLBACK_KIND: Final = EnumMap(turn_pb2.FallbackKind, FallbackKind)
GRADE: Final = EnumMap(excerpt_pb2.ExcerptGrade, Grade)
CITATION_STATE: Final = EnumMap(citation_pb2.CitationState, CitationState)
VERDICT: Final = EnumMap(citation_pb2.CitationVerdict, Verdict)
COLLECTION_KIND: Final = EnumMap(collection_kind_pb2.CollectionKind, CollectionKind)
RATING: Final = EnumMap(feedback_pb2.Rating, Rating)
SPEAKER: Final = EnumMap(message_pb2.Role, Speaker)
TENANT_STATE: Final = EnumMap(tenant_pb2.TenantState, TenantState)
ON_BUSY: Final = EnumMap(chat_service_pb2.OnBusy, OnBusy)
HUNK_KIND: Final = EnumMap(document_version_pb2.HunkKind, HunkKind)
GENERATION_STATE: Final = EnumMap(generation_pb2.GenerationState, GenerationState)
DOCUMENT_STATE: Final = EnumMap(document_pb2.DocumentState, DocumentState)
INGEST_STAGE: Final = EnumMap(document_pb2.IngestStage, IngestStage)
LEFT_OUT_KIND: Final = EnumMap(document_pb2.LeftOutKind, LeftOutKind)
SEARCH_MODE: Final = EnumMap(knowledge_service_pb2.SearchMode, SearchMode)
ROLE: Final = EnumMap(user_pb2.UserRole, Role)
REGISTRATION: Final = EnumMap(sign_in_pb2.Registration, Registration)
DELIVERY_STATE: Final = EnumMap(delivery_pb2.DeliveryState, DeliveryState)
FEEDBACK_STATE: Final = EnumMap(insight_pb2.FeedbackState, FeedbackState)
QUESTION_OUTCOME: Final = EnumMap(insight_pb2.QuestionOutcome, QuestionOutcome)
MODEL_TEST_OUTCOME: Final = EnumMap(model_settings_pb2.ModelTestOutcome, ModelTestOutcome)
USAGE_GRANULARITY: Final = EnumMap(usage_report_pb2.UsageGranularity, Granularity)
USAGE_DIMENSION: Final = EnumMap(usage_report_pb2.UsageDimension, Dimension)
HEALTH: Final = EnumMap(system_status_pb2.Health, Health)


_SKIPPED: Final = re.compile(r"[\x00-\x20]+")
_ACTIVE: Final = re.compile(r"(?:about|blob|data|filesystem|javascript|vbscript|view-source):", re.IGNORECASE)


def shown_uri(uri: str) -> str:
    """The URI of a source as callers get it: "" if a browser would run it or show its content as a page."""
    # Browsers skip control characters and white space in front of a scheme and within it.
    return "" if _ACTIVE.match(_SKIPPED.sub("", uri)) else uri
