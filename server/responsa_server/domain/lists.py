"""For each list of the contract, the fields that a caller can filter and sort by."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from responsa_server.domain.conversations import ConversationOrigin, Rating, Speaker
from responsa_server.domain.insight import FeedbackState, QuestionPatternState
from responsa_server.domain.knowledge import DocumentState, OperationKind
from responsa_server.domain.listing import Field, FieldKind, ListRules, Order
from responsa_server.domain.notifications import DeliveryState
from responsa_server.domain.people import Role, UserState
from responsa_server.domain.tenants import TenantState
from responsa_server.domain.turns import TurnState


def _enum(name: str, values: type[StrEnum], prefix: str) -> Field:
    """An enum field. A filter may write the field's values with or without the contract's prefix."""
    return Field(
        name,
        FieldKind.ENUM,
        values={
            written: value.value for value in values for written in (value.name, f"{prefix}_{value.name}")
        },
    )


def _bool(name: str) -> Field:
    """A boolean field, whose stored values are the texts "true" and "false"."""
    return Field(name, FieldKind.ENUM, values={"true": "true", "false": "false"})


def _both(fields: Sequence[str]) -> tuple[Order, ...]:
    return tuple(Order(field, descending=way) for field in fields for way in (False, True))


CREATED: Final = Field("create_time", FieldKind.TIME)
UPDATED: Final = Field("update_time", FieldKind.TIME)
OLDEST: Final = Order("create_time")
NEWEST: Final = Order("create_time", descending=True)
_TURN_NUMBERS: Final = ("first_words_ms", "latency_ms", "cost_usd_micros")

TURNS: Final = ListRules(
    "turns",
    (
        Field("conversation", FieldKind.NAME, prefix="conversations"),
        _enum("state", TurnState, "TURN_STATE"),
        CREATED,
    ),
    (NEWEST, OLDEST),
)
CONVERSATIONS: Final = ListRules(
    "conversations",
    (
        Field("title"),
        _bool("pinned"),
        _bool("archived"),
        _enum("origin", ConversationOrigin, "CONVERSATION_ORIGIN"),
        CREATED,
        UPDATED,
        Field("labels", FieldKind.LABELS),
    ),
    (Order("update_time", descending=True), Order("update_time"), OLDEST, NEWEST),
)
SHARES: Final = ListRules(
    "shares", (Field("turn", FieldKind.NAME, prefix="turns"), CREATED), (NEWEST, OLDEST)
)
MESSAGES: Final = ListRules("messages", (_enum("role", Speaker, "ROLE"), CREATED), (OLDEST, NEWEST))
COLLECTIONS: Final = ListRules(
    "collections",
    (Field("name", filterable=False), Field("display_name"), CREATED, UPDATED),
    (Order("name"), Order("name", descending=True), OLDEST, NEWEST),
    slug_ids=True,
)
_OF_DOCUMENTS: Final = (
    Field("source_key"),
    Field("uri"),
    Field("title"),
    Field("media_type"),
    Field("language"),
    Field("author"),
    Field("owner", FieldKind.NAME, prefix="users"),
    Field("collection", FieldKind.COLLECTION, prefix="collections"),
    Field("labels", FieldKind.LABELS),
    Field("metadata", FieldKind.JSON),
    Field("date", FieldKind.TIME),
    CREATED,
    UPDATED,
)
DOCUMENTS: Final = ListRules(
    "documents",
    (
        *_OF_DOCUMENTS,
        _enum("state", DocumentState, "DOCUMENT_STATE"),
        Field("size_bytes", FieldKind.NUMBER),
    ),
    _both(("source_key", "create_time", "update_time", "title", "size_bytes")),
)
SEARCHED: Final = ListRules("searched documents", _OF_DOCUMENTS, ())
"""The fields of the documents that a search or a question may be limited to."""
API_KEYS: Final = ListRules("api_keys", (Field("display_name"), CREATED), (NEWEST, OLDEST))
TENANT_API_KEYS: Final = ListRules(
    "tenant_api_keys",
    (Field("display_name"), Field("owner", FieldKind.NAME, prefix="users"), CREATED),
    (NEWEST, OLDEST),
)
USERS: Final = ListRules(
    "users",
    (
        Field("name", FieldKind.NAME, prefix="users"),
        Field("display_name"),
        Field("email"),
        _enum("role", Role, "USER_ROLE"),
        Field("state", FieldKind.ENUM, values={state.name: state for state in UserState}),
        CREATED,
        Field("last_sign_in_time", FieldKind.TIME),
    ),
    _both(("create_time", "display_name", "email")),
)
TENANT_TURNS: Final = ListRules(
    "tenant_turns",
    (
        _enum("state", TurnState, "TURN_STATE"),
        Field("agent", FieldKind.SLUG, prefix="agents"),
        *(Field(name, FieldKind.NUMBER) for name in _TURN_NUMBERS),
        Field("create_time", FieldKind.TIME, filterable=False),
    ),
    (NEWEST, OLDEST, *(Order(name, descending=True) for name in _TURN_NUMBERS)),
)
QUESTION_PATTERNS: Final = ListRules(
    "question_patterns",
    (
        Field("count", FieldKind.NUMBER, filterable=False),
        _enum("state", QuestionPatternState, "QUESTION_PATTERN_STATE"),
        Field("assignee", FieldKind.NAME, prefix="users"),
    ),
    (Order("count", descending=True),),
)
FEEDBACK: Final = ListRules(
    "feedback",
    (
        _enum("rating", Rating, "RATING"),
        Field("score", FieldKind.NUMBER),
        _enum("state", FeedbackState, "FEEDBACK_STATE"),
        Field("agent", FieldKind.SLUG, prefix="agents"),
        Field("user", FieldKind.NAME, prefix="users"),
        Field("comment"),
        CREATED,
        UPDATED,
    ),
    (Order("update_time", descending=True), Order("update_time")),
)
AUDIT_EVENTS: Final = ListRules(
    "audit_events",
    (
        Field("actor"),
        Field("action"),
        Field("resource"),
        Field("outcome"),
        Field("on_behalf_of"),
        Field("affected_user", FieldKind.NAME, prefix="users"),
        CREATED,
    ),
    (NEWEST, OLDEST),
)
AGENT_VERSIONS: Final = ListRules(
    "agent_versions",
    (Field("version", FieldKind.NUMBER, filterable=False),),
    (Order("version", descending=True),),
    slug_ids=True,
)
EXPERIMENTS: Final = ListRules("experiments", (CREATED,), (NEWEST, OLDEST))
SERVICE_GRANTS: Final = ListRules(
    "service_grants",
    (
        Field("service", FieldKind.NAME, prefix="users"),
        Field("user", FieldKind.NAME, prefix="users"),
        CREATED,
    ),
    (OLDEST, NEWEST),
)
TENANTS: Final = ListRules(
    "tenants",
    (
        Field("name", FieldKind.SLUG, prefix="tenants"),
        Field("display_name"),
        _enum("state", TenantState, "TENANT_STATE"),
        CREATED,
    ),
    (OLDEST, NEWEST, Order("name"), Order("name", descending=True)),
    slug_ids=True,
)
SESSIONS: Final = ListRules("sessions", (CREATED,), (NEWEST, OLDEST))
TENANT_SESSIONS: Final = ListRules(
    "tenant_sessions", (Field("user", FieldKind.NAME, prefix="users"), CREATED), (NEWEST, OLDEST)
)
INVITATIONS: Final = ListRules(
    "invitations", (Field("email"), _enum("role", Role, "USER_ROLE"), CREATED), (NEWEST, OLDEST)
)
AGENTS: Final = ListRules(
    "agents",
    (Field("name", filterable=False), Field("display_name")),
    (Order("name"), Order("name", descending=True)),
    slug_ids=True,
)
TOOLS: Final = ListRules(
    "tools",
    (Field("name", filterable=False), Field("title")),
    (Order("name"), Order("name", descending=True)),
    slug_ids=True,
)
SOURCES: Final = ListRules(
    "sources",
    (Field("name", filterable=False), Field("display_name"), Field("connection"), CREATED, UPDATED),
    (Order("name"), Order("name", descending=True), OLDEST, NEWEST),
    slug_ids=True,
)
FAILED_ROWS: Final = ListRules(
    "failed_rows", (Field("create_time", FieldKind.TIME, filterable=False),), (OLDEST,)
)
DELIVERIES: Final = ListRules(
    "deliveries",
    (
        Field("webhook"),
        Field("event"),
        _enum("state", DeliveryState, "DELIVERY_STATE"),
        CREATED,
    ),
    (NEWEST, OLDEST),
)
OPERATIONS: Final = ListRules(
    "operations",
    (
        _bool("done"),
        Field(
            "state",
            FieldKind.ENUM,
            values={state.upper(): state for state in ("running", "succeeded", "failed", "cancelled")},
        ),
        Field("kind", FieldKind.ENUM, values={kind.name: kind.value for kind in OperationKind}),
        Field("collection", FieldKind.COLLECTION, prefix="collections"),
        CREATED,
    ),
    (NEWEST,),
)
DOCUMENT_VERSIONS: Final = ListRules(
    "document_versions",
    (Field("version", FieldKind.NUMBER, filterable=False),),
    (Order("version", descending=True),),
    slug_ids=True,
)
