"""Formats and parses resource names (AIP-122) such as `conversations/{uuid}`, and makes etags for resources whose ids
can be reused.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def etag(create_time: datetime, revision: int) -> str:
    """Return an etag, which changes with every update.

    The etag contains the creation time too, because a new resource can get the id of a deleted resource.
    """
    return f"{(create_time - _EPOCH) // timedelta(microseconds=1):x}-{revision}"


def session(identity: UUID) -> str:
    """`sessions/{uuid}`"""
    return f"sessions/{identity}"


def invitation(identity: UUID) -> str:
    """`invitations/{uuid}`"""
    return f"invitations/{identity}"


def limits(user_id: UUID) -> str:
    """`users/{uuid}/limits`"""
    return f"users/{user_id}/limits"


def quota(user_id: UUID) -> str:
    """`users/{uuid}/quota`"""
    return f"users/{user_id}/quota"


def external_identity(identity: UUID) -> str:
    """`identities/{uuid}`"""
    return f"identities/{identity}"


def oidc_provider(identity: str) -> str:
    """`oidcProviders/{id}`"""
    return f"oidcProviders/{identity}"


def conversation(identity: UUID) -> str:
    """`conversations/{uuid}`"""
    return f"conversations/{identity}"


def turn(identity: UUID) -> str:
    """`turns/{uuid}`"""
    return f"turns/{identity}"


def message(identity: UUID) -> str:
    """`messages/{uuid}`"""
    return f"messages/{identity}"


def feedback(message_id: UUID) -> str:
    """`messages/{uuid}/feedback`"""
    return f"messages/{message_id}/feedback"


def collection(identity: str) -> str:
    """`collections/{id}`"""
    return f"collections/{identity}"


def generation(collection_id: str, number: int) -> str:
    """`collections/{id}/generations/{n}`"""
    return f"collections/{collection_id}/generations/{number}"


def document(identity: UUID) -> str:
    """`documents/{uuid}`"""
    return f"documents/{identity}"


def document_version(identity: UUID, version: int) -> str:
    """`documents/{uuid}/versions/{n}`"""
    return f"documents/{identity}/versions/{version}"


def passage(identity: UUID) -> str:
    """`passages/{uuid}`"""
    return f"passages/{identity}"


def operation(identity: UUID) -> str:
    """`operations/{uuid}`"""
    return f"operations/{identity}"


def user(identity: UUID) -> str:
    """`users/{uuid}`"""
    return f"users/{identity}"


def tenant(identity: str) -> str:
    """`tenants/{id}`"""
    return f"tenants/{identity}"


def agent(identity: str) -> str:
    """`agents/{id}`"""
    return f"agents/{identity}"


def agent_version(identity: str, version: int) -> str:
    """`agents/{id}/versions/{n}`"""
    return f"agents/{identity}/versions/{version}"


def teacher(identity: UUID) -> str:
    """`teachers/{uuid}`"""
    return f"teachers/{identity}"


def source(identity: str) -> str:
    """`sources/{id}`"""
    return f"sources/{identity}"


def delivery(identity: UUID) -> str:
    """`deliveries/{uuid}`"""
    return f"deliveries/{identity}"


def tool(identity: str) -> str:
    """`tools/{id}`"""
    return f"tools/{identity}"


def api_key(identity: UUID) -> str:
    """`apiKeys/{uuid}`"""
    return f"apiKeys/{identity}"


def audit_event(identity: UUID) -> str:
    """`auditEvents/{uuid}`"""
    return f"auditEvents/{identity}"


def service_grant(identity: UUID) -> str:
    """`serviceGrants/{uuid}`"""
    return f"serviceGrants/{identity}"


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


def _versioned(name: str) -> tuple[str, int | None]:
    head, separator, tail = name.partition("/versions/")
    if not separator:
        return head, None
    if re.fullmatch(r"[1-9][0-9]{0,8}", tail) is None:
        raise ValueError(f"not a version number: {tail!r}")
    return head, int(tail)
