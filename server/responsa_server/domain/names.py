"""Formats and parses resource names (AIP-122) by the patterns of the contract, such as `conversations/{conversation}`,
and makes etags for resources whose ids can be reused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final
from uuid import UUID

from responsa_contract import PATTERNS

_UUID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_SLUG: Final = "[a-z0-9][a-z0-9-]{0,62}"
_NUMBER: Final = "[1-9][0-9]{0,8}"
_IDS: Final = {
    **dict.fromkeys(("agent", "collection", "oidc_provider", "source", "tenant", "tool"), _SLUG),
    **dict.fromkeys(("generation", "version"), _NUMBER),
}
"""The form of the ids that are no UUIDs, by their names in the patterns of the contract. Upper-case hexadecimal digits
of UUIDs are refused, because names are compared as text."""
_WHOLE: Final = {
    pattern.partition("/")[0]: kind for kind, pattern in PATTERNS.items() if pattern.count("/") == 1
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def etag(create_time: datetime, revision: int) -> str:
    """Return an etag, which changes with every update.

    The etag contains the creation time too, because a new resource can get the id of a deleted resource.
    """
    return f"{(create_time - _EPOCH) // timedelta(microseconds=1):x}-{revision}"


def _form(kind: str) -> str:
    """What `str.format` makes the names of a type of resource from, such as `users/{}/quota`."""
    return re.sub(r"\{\w+\}", "{}", PATTERNS[kind])


@cache
def _expression(kind: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", lambda match: f"({_IDS.get(match[1], _UUID)})", PATTERNS[kind]))


def _ids(kind: str, name: str) -> Sequence[str]:
    """The ids in the name of a resource of this type. Raises ValueError for any other form."""
    match = _expression(kind).fullmatch(name)
    if match is None:
        raise ValueError(f"not a name of the form {PATTERNS[kind]}: {name!r}")
    return match.groups()


def of_uuid(kind: str) -> Callable[[UUID], str]:
    """The function that makes the names of resources from their UUIDs. kind: the type of the resources in the contract, e.g. `Teacher`."""
    return _form(kind).format


def of_id(kind: str) -> Callable[[str], str]:
    """The same for ids that callers choose."""
    return _form(kind).format


session: Final = of_uuid("Session")
invitation: Final = of_uuid("Invitation")
limits: Final = of_uuid("UserLimits")
quota: Final = of_uuid("UserQuota")
external_identity: Final = of_uuid("Identity")
oidc_provider: Final = of_id("OidcProvider")
conversation: Final = of_uuid("Conversation")
turn: Final = of_uuid("Turn")
message: Final = of_uuid("Message")
feedback: Final = of_uuid("Feedback")
collection: Final = of_id("Collection")
document: Final = of_uuid("Document")
passage: Final = of_uuid("Passage")
operation: Final = of_uuid("Operation")
user: Final = of_uuid("User")
tenant: Final = of_id("Tenant")
agent: Final = of_id("Agent")
teacher: Final = of_uuid("Teacher")
program: Final = of_uuid("Program")
asked_program: Final = of_uuid("AskedProgram")
group: Final = of_uuid("Group")
experiment: Final = of_uuid("Experiment")
question_pattern: Final = of_uuid("QuestionPattern")
source: Final = of_id("Source")
delivery: Final = of_uuid("Delivery")
tool: Final = of_id("Tool")
share: Final = of_uuid("Share")
api_key: Final = of_uuid("ApiKey")
audit_event: Final = of_uuid("AuditEvent")
service_grant: Final = of_uuid("ServiceGrant")
generation: Final[Callable[[str, int], str]] = _form("Generation").format
document_version: Final[Callable[[UUID, int], str]] = _form("DocumentVersion").format
agent_version: Final[Callable[[str, int], str]] = _form("AgentVersion").format


def parse_uuid(collection: str, name: str) -> UUID:
    """Return the UUID of `{collection}/{uuid}`. Raises ValueError for any other form."""
    return UUID(_ids(_WHOLE[collection], name)[0])


def user_in(name: str) -> UUID | None:
    """The user of `users/{uuid}`, or of a name below it, such as `users/{uuid}/quota`; None for any other name."""
    match = re.match(f"users/({_UUID})(?:/|\\Z)", name)
    return UUID(match[1]) if match else None


def parse_slug(collection: str, name: str) -> str:
    """Return the id of `{collection}/{id}`. Raises ValueError for any other form."""
    return _ids(_WHOLE[collection], name)[0]


def parse_generation(name: str) -> tuple[str, int]:
    """Return the collection's id and the number of `collections/{id}/generations/{n}`. Raises ValueError for any other form."""
    collection_id, number = _ids("Generation", name)
    return collection_id, int(number)


def parse_document_version(name: str) -> tuple[UUID, int | None]:
    """Parse `documents/{uuid}/versions/{n}`, or `documents/{uuid}` with the version None. Raises ValueError for any other form."""
    if "/versions/" not in name:
        return parse_uuid("documents", name), None
    identity, number = _ids("DocumentVersion", name)
    return UUID(identity), int(number)


def parse_agent_version(name: str) -> tuple[str, int | None]:
    """Parse `agents/{id}/versions/{n}` or `agents/{id}`; for the latter, the returned version is None. Raises
    ValueError for any other form."""
    return parse_version(name) if "/versions/" in name else (parse_slug("agents", name), None)


def parse_version(name: str) -> tuple[str, int]:
    """Parse `agents/{id}/versions/{n}`. Raises ValueError for any other form."""
    agent_id, number = _ids("AgentVersion", name)
    return agent_id, int(number)
