"""What the transports over HTTP have in common: how they make a call of a request, and read a body of JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, Mapping
from typing import Any, cast

from responsa_server.calls.call import Call, peer_of
from responsa_server.calls.interceptors.access import metadata_of_headers
from responsa_server.calls.violations import malformed


def call_of(scope: Mapping[str, Any], method: str, transport: str = "http") -> Call:
    """The call that a request makes. scope: ASGI's."""
    pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    return Call(method, metadata_of_headers(pairs), f"{transport} {peer_of(scope.get('client'))}")


async def json_body(
    headers: Mapping[str, str],
    pieces: AsyncIterable[bytes],
    most: int,
    remedy: str = "",
    *,
    optional: bool = False,
) -> bytes:
    """A body of the content type application/json with at most `most` bytes. remedy: what to do about a larger one. optional: whether there may be no body, which is then `{}`. Raises InvalidRequest (MALFORMED_MESSAGE)."""
    found = bytearray()
    async for piece in pieces:
        found += piece
        if len(found) > most:
            raise malformed(f"its body has more than {most >> 10} KiB{remedy}")
    if optional and not found:
        return b"{}"
    # A form on another site can send text, but cannot set this content type.
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise malformed("the content-type must be application/json")
    if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise malformed("send the body without a content-encoding")
    return bytes(found)


def json_object(body: bytes) -> Mapping[str, Any]:
    """The JSON object that a body is. Raises InvalidRequest (MALFORMED_MESSAGE)."""
    try:
        content = cast("object", json.loads(body))
    except (ValueError, RecursionError):
        raise malformed("its body is not JSON in UTF-8") from None
    if not isinstance(content, dict):
        raise malformed("its body must be a JSON object")
    return cast("Mapping[str, Any]", content)
