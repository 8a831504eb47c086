"""GET /v1/documents/{id}/original, which browsers and curl download. The bytes come from the gRPC method GetDocumentOriginal.

An original may be an HTML page with scripts. It must never run on this server's origin, where it could use the session
of the user: browsers save it (`attachment`), do not guess another type (`nosniff`), and if one shows it all the same,
its origin is opaque and it may load nothing (`sandbox`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast
from urllib.parse import quote

from google.protobuf.message import Message
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from responsa.knowledge.v1.knowledge_service_pb2 import (
    GetDocumentOriginalRequest,
    GetDocumentOriginalResponse,
)
from responsa_server.calls.call import CALL_ID, Call, Complete, wait_disconnect
from responsa_server.calls.chain import Calls
from responsa_server.calls.http import call_of
from responsa_server.domain.errors import InvalidRequest, ResponsaError

METHOD: Final = "/responsa.knowledge.v1.KnowledgeService/GetDocumentOriginal"
PATHS: Final = ("/v1/documents/{document}/original", "/v1/documents/{document}/versions/{version}/original")
CONTENT_SECURITY_POLICY: Final = "sandbox; default-src 'none'"
_UNKNOWN_TYPE: Final = "application/octet-stream"


class Originals:
    """`/v1/documents/{id}/original` and `/v1/documents/{id}/versions/{n}/original`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the bytes, no faster than the client takes them. A client that disconnects cancels the call.

        An error after the first piece closes the connection before the announced length, so that the client notices
        that the file is not complete.

        Raises:
            InvalidRequest: the request has a parameter.
            ResponsaError: the method failed, and nothing was sent yet.
        """
        request = Request(scope, receive)
        if request.query_params:
            raise InvalidRequest.of_field(
                next(iter(request.query_params))[:64],
                "unknown_parameter",
                "there is no such parameter; this path takes none",
            )
        call = call_of(request.scope, METHOD)
        download = _Download(call, send)
        asked = Complete(GetDocumentOriginalRequest(name=_name(request)))
        try:
            complete = await self._calls.serve_until(wait_disconnect(receive), call, asked, download.piece)
        except ResponsaError:
            if not download.begun:
                raise
            return
        if complete:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Download:
    """Writes one response, which begins with the first piece."""

    def __init__(self, call: Call, send: Send) -> None:
        self._call = call
        self._send = send
        self.begun = False

    async def piece(self, message: Message | bytes) -> None:
        """Write one piece."""
        data = message if isinstance(message, bytes) else message.SerializeToString()
        piece = GetDocumentOriginalResponse.FromString(data)
        if not self.begun:
            self.begun = True
            headers = {
                "content-type": piece.version.media_type or _UNKNOWN_TYPE,
                "content-length": str(piece.version.size_bytes),
                "content-disposition": attachment(piece.file_name),
                "content-security-policy": CONTENT_SECURITY_POLICY,
                "cache-control": "no-store",
                CALL_ID: self._call.id,
            }
            pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
            await self._send({"type": "http.response.start", "status": 200, "headers": pairs})
        await self._send({"type": "http.response.body", "body": piece.data, "more_body": True})


def attachment(file_name: str) -> str:
    """The value of Content-Disposition (RFC 6266) for a file: its name in ASCII for old programs, and in UTF-8 (RFC 8187)."""
    plain = "".join(
        char if char.isascii() and char.isprintable() and char not in '"\\%' else "_" for char in file_name
    )
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}"


def _name(request: Request) -> str:
    parts = cast("Mapping[str, str]", request.path_params)
    name = f"documents/{parts['document']}"
    return f"{name}/versions/{parts['version']}" if "version" in parts else name
