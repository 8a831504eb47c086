"""Formats and parses resource names (AIP-122) such as `conversations/{uuid}`, and makes etags for resources whose ids
can be reused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def etag(create_time: datetime, revision: int) -> str:
    """Return an etag, which changes with every update.

    The etag contains the creation time too, because a new resource can get the id of a deleted resource.
    """
    return f"{(create_time - _EPOCH) // timedelta(microseconds=1):x}-{revision}"


def of_uuid(form: str) -> Callable[[UUID], str]:
    """The function that makes the names of resources from their UUIDs. form: e.g. `teachers/{}`."""
    return form.format


def of_id(form: str) -> Callable[[str], str]:
    """The same for ids that callers choose."""
    return form.format


session: Final = of_uuid("sessions/{}")
invitation: Final = of_uuid("invitations/{}")
limits: Final = of_uuid("users/{}/limits")
quota: Final = of_uuid("users/{}/quota")
external_identity: Final = of_uuid("identities/{}")
oidc_provider: Final = of_id("oidcProviders/{}")
conversation: Final = of_uuid("conversations/{}")
turn: Final = of_uuid("turns/{}")
message: Final = of_uuid("messages/{}")
feedback: Final = of_uuid("messages/{}/feedback")
collection: Final = of_id("collections/{}")
document: Final = of_uuid("documents/{}")
passage: Final = of_uuid("passages/{}")
operation: Final = of_uuid("operations/{}")
user: Final = of_uuid("users/{}")
tenant: Final = of_id("tenants/{}")
agent: Final = of_id("agents/{}")
teacher: Final = of_uuid("teachers/{}")
experiment: Final = of_uuid("experiments/{}")
source: Final = of_id("sources/{}")
delivery: Final = of_uuid("deliveries/{}")
tool: Final = of_id("tools/{}")
share: Final = of_uuid("shares/{}")
api_key: Final = of_uuid("apiKeys/{}")
audit_event: Final = of_uuid("auditEvents/{}")
service_grant: Final = of_uuid("serviceGrants/{}")


def generation(collection_id: str, number: int) -> str:
    """`collections/{id}/generations/{n}`"""
    return f"collections/{collection_id}/generations/{number}"


def document_version(identity: UUID, version: int) -> str:
    """`documents/{uuid}/versions/{n}`"""
    return f"documents/{identity}/versions/{version}"


def agent_version(identity: str, version: int) -> str:
    """`agents/{id}/versions/{n}`"""
    return f"agents/{identity}/versions/{version}"


def parse_uuid(prefix: str, name: str) -> UUID:
    """Return the UUID of `{prefix}/{uuid}`. Raises ValueError for any other form.

    Upper-case hexadecimal digits are refused too, because names are compared as text.
    """
    head, _, tail = name.partition("/")
    if head != prefix or _UUID.fullmatch(tail) is None:
        raise ValueError(f"not a name of the form {prefix}/{{uuid}}: {name!r}")
    return UUID(tail)


def user_in(name: str) -> UUID | None:
    """The user of `users/{uuid}`, or of a name below it, such as `users/{uuid}/quota`; None for any other name."""
    head, _, rest = name.partition("/")
    tail = rest.partition("/")[0]
    return UUID(tail) if head == "users" and _UUID.fullmatch(tail) else None


def parse_slug(prefix: str, name: str) -> str:
    """Return the id of `{prefix}/{id}`. Raises ValueError for any other form."""
    head, _, tail = name.partition("/")
    if head != prefix or _SLUG.fullmatch(tail) is None:
        raise ValueError(f"not a name of the form {prefix}/{{id}}: {name!r}")
    return tail


def parse_generation(name: str) -> tuple[str, int]:
    """Return the collection's id and the number of `collections/{id}/generations/{n}`. Raises ValueError for any other form."""
    collection_name, _, number = name.partition("/generations/")
    if not number.isascii() or not number.isdecimal() or number.startswith("0") or len(number) > 9:
        raise ValueError(f"not a name of the form collections/{{id}}/generations/{{n}}: {name!r}")
    return parse_slug("collections", collection_name), int(number)


def parse_document_version(name: str) -> tuple[UUID, int | None]:
    """Parse `documents/{uuid}/versions/{n}`, or `documents/{uuid}` with the version None. Raises ValueError for any
    other form.
    """
    head, version = _versioned(name)
    return parse_uuid("documents", head), version


def parse_agent_version(name: str) -> tuple[str, int | None]:
    """Parse `agents/{id}/versions/{n}` or `agents/{id}`; for the latter, the returned version is None. Raises ValueError for any other form."""
    head, version = _versioned(name)
    return parse_slug("agents", head), version


def parse_version(name: str) -> tuple[str, int]:
    """Parse `agents/{id}/versions/{n}`. Raises ValueError for any other form."""
    agent, version = parse_agent_version(name)
    if version is None:
        raise ValueError(f"{name!r} names no version")
    return agent, version


def _versioned(name: str) -> tuple[str, int | None]:
    head, separator, tail = name.partition("/versions/")
    if not separator:
        return head, None
    if re.fullmatch(r"[1-9][0-9]{0,8}", tail) is None:
        raise ValueError(f"not a version number: {tail!r}")
    return head, int(tail)
