"""Enums of the contract and of the domain: each pair has the same names, and converts by them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, Generic, Protocol, TypeVar

from responsa.admin.v1 import system_status_pb2
from responsa.auth.v1 import user_pb2
from responsa.chat.v1 import chat_service_pb2, citation_pb2, message_pb2, turn_pb2
from responsa.knowledge.v1 import document_pb2, knowledge_service_pb2
from responsa_server.domain.conversations import Speaker
from responsa_server.domain.events import (
    AnswerOutcome,
    CancelCause,
    FallbackKind,
    RefusalReason,
    Step,
    ToolOutcome,
)
from responsa_server.domain.knowledge import DocumentState, IngestStage, SearchMode
from responsa_server.domain.parts import Health
from responsa_server.domain.people import Role
from responsa_server.domain.turns import OnBusy, TurnState, Verdict

_Domain = TypeVar("_Domain", bound=StrEnum)
_Number = TypeVar("_Number", bound=int)
_Number_co = TypeVar("_Number_co", bound=int, covariant=True)
_UNSPECIFIED: Final = "UNSPECIFIED"


class _ProtoEnum(Protocol[_Number_co]):
    def keys(self) -> Sequence[str]: ...
    def values(self) -> Sequence[_Number_co]: ...


class EnumMap(Generic[_Number, _Domain]):
    """The two sides of one enum. `PREFIX_NAME` of the contract is `NAME` of the domain; the contract's `PREFIX_UNSPECIFIED` is None.

    Raises ValueError when made for enums that do not have the same names.
    """

    def __init__(self, proto: _ProtoEnum[_Number], domain: type[_Domain]) -> None:
        numbers = dict(zip(proto.keys(), proto.values(), strict=True))
        (unset,) = (name for name in numbers if name.endswith(_UNSPECIFIED))
        prefix = unset.removesuffix(_UNSPECIFIED)
        self._unset = numbers.pop(unset)
        if numbers.keys() != {prefix + one.name for one in domain}:
            raise ValueError(f"{domain.__name__} and the contract's {prefix}* do not have the same names")
        self._numbers: dict[_Domain, _Number] = {one: numbers[prefix + one.name] for one in domain}
        self._values: dict[int, _Domain] = {number: one for one, number in self._numbers.items()}

    def number(self, value: _Domain | None) -> _Number:
        """The contract's value; None gives the unset one."""
        return self._unset if value is None else self._numbers[value]

    def value(self, number: int) -> _Domain | None:
        """The domain's value. None when unset; validation has refused numbers that the contract does not know."""
        return self._values.get(number)


STEP: Final = EnumMap(turn_pb2.Step, Step)
TURN_STATE: Final = EnumMap(turn_pb2.TurnState, TurnState)
REFUSAL_REASON: Final = EnumMap(turn_pb2.RefusalReason, RefusalReason)
ANSWER_OUTCOME: Final = EnumMap(turn_pb2.AnswerOutcome, AnswerOutcome)
TOOL_OUTCOME: Final = EnumMap(turn_pb2.ToolOutcome, ToolOutcome)
CANCEL_CAUSE: Final = EnumMap(turn_pb2.CancelCause, CancelCause)
FALLBACK_KIND: Final = EnumMap(turn_pb2.FallbackKind, FallbackKind)
VERDICT: Final = EnumMap(citation_pb2.CitationVerdict, Verdict)
SPEAKER: Final = EnumMap(message_pb2.Role, Speaker)
ON_BUSY: Final = EnumMap(chat_service_pb2.OnBusy, OnBusy)
DOCUMENT_STATE: Final = EnumMap(document_pb2.DocumentState, DocumentState)
INGEST_STAGE: Final = EnumMap(document_pb2.IngestStage, IngestStage)
SEARCH_MODE: Final = EnumMap(knowledge_service_pb2.SearchMode, SearchMode)
ROLE: Final = EnumMap(user_pb2.UserRole, Role)
HEALTH: Final = EnumMap(system_status_pb2.Health, Health)
