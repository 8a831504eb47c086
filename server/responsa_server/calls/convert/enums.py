"""Converts enums of the contract to those of the domain and back. Fields that are only written need no row here:
`messages.message` converts the values of all enums."""

from __future__ import annotations

from typing import Final

from responsa.admin.v1 import (
    insight_pb2,
    source_pb2,
)
from responsa.auth.v1 import sign_in_pb2, usage_report_pb2, user_pb2
from responsa.chat.v1 import (
    chat_service_pb2,
    feedback_pb2,
    message_pb2,
    tool_pb2,
    turn_pb2,
)
from responsa.knowledge.v1 import document_pb2, knowledge_service_pb2
from responsa_contract import (
    AnswerOutcome,
    Dimension,
    Effect,
    FeedbackState,
    FolderKind,
    LeftOutKind,
    OnBusy,
    QuestionOutcome,
    QuestionPatternState,
    RefusalReason,
    Registration,
    Role,
    SearchMode,
    Speaker,
    ToolFault,
    ToolOutcome,
)
from responsa_server.calls.convert.values import EnumMap
from responsa_server.domain.conversations import Rating
from responsa_server.domain.insight import Granularity

FEEDBACK_STATE: Final = EnumMap(insight_pb2.FeedbackState, FeedbackState)
FOLDER_KIND: Final = EnumMap(source_pb2.FolderKind, FolderKind)
QUESTION_OUTCOME: Final = EnumMap(insight_pb2.QuestionOutcome, QuestionOutcome)
QUESTION_PATTERN_STATE: Final = EnumMap(insight_pb2.QuestionPatternState, QuestionPatternState)
REGISTRATION: Final = EnumMap(sign_in_pb2.Registration, Registration)
GRANULARITY: Final = EnumMap(usage_report_pb2.UsageGranularity, Granularity)
DIMENSION: Final = EnumMap(usage_report_pb2.UsageDimension, Dimension)
ROLE: Final = EnumMap(user_pb2.UserRole, Role)
ON_BUSY: Final = EnumMap(chat_service_pb2.OnBusy, OnBusy)
RATING: Final = EnumMap(feedback_pb2.Rating, Rating)
SPEAKER: Final = EnumMap(message_pb2.Role, Speaker)
EFFECT: Final = EnumMap(tool_pb2.ToolEffect, Effect)
TOOL_FAULT: Final = EnumMap(tool_pb2.ToolFault, ToolFault)
REFUSAL_REASON: Final = EnumMap(turn_pb2.RefusalReason, RefusalReason)
ANSWER_OUTCOME: Final = EnumMap(turn_pb2.AnswerOutcome, AnswerOutcome)
TOOL_OUTCOME: Final = EnumMap(turn_pb2.ToolOutcome, ToolOutcome)
LEFT_OUT_KIND: Final = EnumMap(document_pb2.LeftOutKind, LeftOutKind)
SEARCH_MODE: Final = EnumMap(knowledge_service_pb2.SearchMode, SearchMode)
