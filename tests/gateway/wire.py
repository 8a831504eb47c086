"""Encodes and decodes gRPC-Web frames by hand, and reads errors in the form of each transport."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import unquote

import grpc
import httpx2
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status


@dataclass(frozen=True)
class Problem:
    """An error as a caller sees it."""

    code: int
    reason: str
    metadata: dict[str, str]
    message: str


OWN: Final = {"sec-fetch-site": "same-origin"}
"""What a browser sends with the requests of the server's own page."""


def of_status(status: Status) -> Problem:
    info = ErrorInfo()
    for detail in status.details:
        if detail.type_url.endswith("/google.rpc.ErrorInfo"):
            detail.Unpack(info)
            assert info.domain == "responsa"
    return Problem(status.code, info.reason, dict(info.metadata), status.message)


def of_rest(response: httpx2.Response) -> Problem:
    assert response.headers["content-type"] == "application/json"
    body = cast("dict[str, object]", response.json())
    assert set(body) <= {"code", "message", "details"}
    reason, metadata = "", dict[str, str]()
    for detail in cast("list[dict[str, object]]", body.get("details", [])):
        if detail["@type"] == "type.googleapis.com/google.rpc.ErrorInfo":
            assert detail["domain"] == "responsa"
            reason = str(detail["reason"])
            metadata = cast("dict[str, str]", detail.get("metadata", {}))
    return Problem(cast("int", body["code"]), reason, metadata, str(body["message"]))


def of_grpc(error: grpc.aio.AioRpcError) -> Problem:
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    status = Status.FromString(details)
    assert (status.code, status.message) == (error.code().value[0], error.details())
    return of_status(status)


@dataclass(frozen=True)
class WebAnswer:
    """The result of a gRPC-Web call: its messages, and its trailers, which may come in the body or in the headers."""

    messages: list[bytes]
    trailers: dict[str, str]

    @property
    def problem(self) -> Problem:
        text = self.trailers["grpc-status-details-bin"]
        status = Status.FromString(base64.b64decode(text + "=" * (-len(text) % 4)))
        assert str(status.code) == self.trailers["grpc-status"]
        assert status.message == unquote(self.trailers["grpc-message"])
        return of_status(status)


def frame(message: Message) -> bytes:
    content = message.SerializeToString()
    return struct.pack(">BI", 0, len(content)) + content


def grpc_web(
    client: httpx2.Client,
    path: str,
    message: Message,
    *,
    text: bool = False,
    headers: Mapping[str, str] | None = None,
) -> WebAnswer:
    body = frame(message)
    kind = "application/grpc-web-text" if text else "application/grpc-web+proto"
    response = client.post(
        path,
        content=base64.b64encode(body) if text else body,
        headers={"content-type": kind, "accept": kind, "x-grpc-web": "1", **(headers or {})},
    )
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("application/grpc-web"), response.headers
    content = response.content
    if text:
        # Each flush has its own padding.
        content = b"".join(
            base64.b64decode(part + b"=" * (-len(part) % 4)) for part in _padded_parts(content)
        )
    messages: list[bytes] = []
    trailers = {key: value for key, value in response.headers.items() if key.startswith("grpc-")}
    while content:
        flag, size = struct.unpack(">BI", content[:5])
        piece, content = content[5 : 5 + size], content[5 + size :]
        if flag & 0x80:
            for line in piece.decode().splitlines():
                key, _, value = line.partition(":")
                trailers[key.strip().lower()] = value.strip()
        else:
            messages.append(piece)
    return WebAnswer(messages, trailers)


def _padded_parts(text: bytes) -> list[bytes]:
    parts: list[bytes] = []
    start = 0
    for place in range(4, len(text) + 1, 4):
        if text[place - 1 : place] == b"=":
            parts.append(text[start:place])
            start = place
    parts.append(text[start:])
    return [part for part in parts if part]


def metadata_seen(display_name: str) -> dict[str, list[str]]:
    """The metadata that the stand-in received, from the display name that its GetMe returns."""
    found: dict[str, list[str]] = {}
    for key, value in cast("list[list[str]]", json.loads(display_name)):
        found.setdefault(key, []).append(value)
    return found


def at(content: Any, place: str) -> Any:
    """The value at a place of JSON, such as `details.0.reason`."""
    for key in place.split("."):
        content = content[int(key) if key.isdecimal() else key]
    return content
