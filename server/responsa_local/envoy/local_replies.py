"""Envoy's own responses (no such route, server unavailable, too large…), in the form of the server's errors.

REST callers get the google.rpc.Status as JSON with the HTTP status that belongs to its code; gRPC and gRPC-Web callers
get the code, the message and the same Status in `grpc-status-details-bin`. The paths of other protocols get the error
in the shape of their protocol, with the same reason in it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from google.rpc.code_pb2 import Code
from google.rpc.status_pb2 import Status

from responsa_local.envoy.templates import Tree
from responsa_server.calls import json_rpc, status
from responsa_server.domain.errors import (
    DeadlinePassed,
    Exhausted,
    InvalidRequest,
    Reason,
    ResponsaError,
)
from responsa_server.transports.mcp.backend import describe_error
from responsa_server.transports.openai.exchange import dump, error_of
from responsa_server.transports.rest.requests import bad_request, body_too_large


@dataclass(frozen=True, slots=True)
class LocalReply:
    """One kind of response that Envoy gives without asking the server.

    first, last: the first and the last of Envoy's HTTP statuses that this reply covers. error: the error sent to
    callers. flags: Envoy's response flags; if any are given, the response must have one of them. grpc_code: the code
    for gRPC, if it differs from the error's code.
    http: the HTTP status, if it differs from that of the error's code. headers: further ones, for all but gRPC.
    cause: if given, a part of the details that Envoy records about the response, which say why Envoy refused the request.
    """

    first: int
    last: int
    error: ResponsaError
    flags: Sequence[str] = ()
    grpc_code: int | None = None
    cause: str = ""
    http: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


SMALL_BYTES: Final = 16 * 1024
"""The limit of sign-ins and health checks. Envoy passes these on when they are complete."""

LOCAL_REPLIES: tuple[LocalReply, ...] = (
    LocalReply(
        400,
        599,
        Exhausted(
            Reason.OVERLOADED,
            "The gateway accepts no more calls at the moment; try again in a second.",
            retry_after=1,
        ),
        flags=("UO", "OM"),
    ),
    # An upgrade on a path without WebSockets, whatever its origin is.
    LocalReply(403, 403, status.no_route(), grpc_code=Code.UNIMPLEMENTED, cause="upgrade_failed"),
    LocalReply(
        403,
        403,
        status.ORIGIN_NOT_ALLOWED,
    ),
    LocalReply(404, 405, status.no_route(), grpc_code=Code.UNIMPLEMENTED),
    LocalReply(431, 431, bad_request("The request's headers exceed 16 KiB or 64 fields.")),
    LocalReply(408, 408, DeadlinePassed(Reason.DEADLINE_EXCEEDED, "The request did not arrive in time.")),
    LocalReply(
        504,
        504,
        DeadlinePassed(Reason.DEADLINE_EXCEEDED, "The deadline of the call passed before it was answered."),
    ),
    # Envoy's status of such a request is 501.
    LocalReply(
        501,
        501,
        bad_request(
            "This server does not know the transfer-encoding; send chunked, once and alone, or a content-length."
        ),
        cause="invalid_transfer_encoding",
    ),
    LocalReply(
        505,
        505,
        bad_request(
            "gRPC needs HTTP/2, and this call came over HTTP/1.1; let the client use HTTP/2, or the protocol Connect or gRPC-Web."
        ),
    ),
    LocalReply(500, 599, status.SERVER_GONE),
    LocalReply(
        400,
        400,
        bad_request(
            "The body is not base64, as the content type application/grpc-web-text requires; encode it, or send "
            "application/grpc-web."
        ),
        cause="grpc_base_64_decode_failed",
    ),
    LocalReply(
        400,
        400,
        bad_request(
            "The header grpc-timeout is not a timeout; send at most 8 digits and one of the units H, M, S, m, u and n, such as 30S."
        ),
        cause="direct_response",
    ),
    LocalReply(413, 413, body_too_large(SMALL_BYTES)),
    LocalReply(
        415,
        415,
        bad_request(
            "This server does not support the content type or the grpc-encoding; send application/grpc, application/grpc-web+proto or "
            "application/grpc-web-text+proto, with the encoding identity, gzip or deflate."
        ),
    ),
    LocalReply(
        422,
        422,
        bad_request(
            "This server does not accept a compressed body over REST; send the body without content-encoding."
        ),
        http=415,
        headers={"accept-encoding": "identity"},
    ),
    LocalReply(
        426,
        426,
        bad_request(
            "This server does not serve HTTP/1.0; send HTTP/1.1 or HTTP/2. In nginx, set proxy_http_version 1.1."
        ),
    ),
    LocalReply(
        400,
        499,
        bad_request(
            "The request is not valid HTTP, or its HTTP method is unknown; send GET, POST, PUT, PATCH, DELETE or OPTIONS."
        ),
    ),
)
"""All replies. The first one that fits counts."""


def _json_rpc(error: ResponsaError, data: object) -> str:
    # The id of the request is in its body, which Envoy does not read.
    code = json_rpc.INVALID_REQUEST if isinstance(error, InvalidRequest) else json_rpc.SERVER_ERROR
    return json_rpc.error_body(error, code, data).decode()


def _status(error: ResponsaError) -> str:
    return status.as_json(status.of(error)).decode()


_BODIES: Final[Mapping[str, Callable[[ResponsaError], str]]] = {
    r"(/v1(/agents/[^/]+)?)?/chat/completions|/v1/(responses|models)(/.*)?|/v1/embeddings": lambda error: (
        dump({"error": error_of(error)})
    ),
    "/mcp/?": lambda error: _json_rpc(error, describe_error(error, {})),
    "/a2a(/[^/]*)*": lambda error: _json_rpc(error, json.loads(_status(error))["details"]),
    "/(auth|users|chat|agent|kb|jobs|analytics)(/.*)?|/feedback(/stats)?/?": lambda error: dump(
        {"detail": error.message, "code": error.reason.value}
    ),
    r"/(responsa|google\.longrunning)\..*": lambda error: status.as_connect(status.of(error)).decode(),
    ".*": _status,
}
"""The body of an error, by the paths that have its shape, as in envoy/routes.yaml. The first one that fits counts."""


def local_reply_config(replies: Sequence[LocalReply]) -> Tree:
    """Envoy's `local_reply_config` for a table of replies. The first matching reply is used."""
    mappers: list[Tree] = []
    for reply in replies:
        mappers.append(_grpc_mapper(reply, "application/grpc-web", "application/grpc-web+proto"))
        mappers.append(_grpc_mapper(reply, "application/grpc", "application/grpc"))
        mappers += [_json_mapper(reply, paths, body(reply.error)) for paths, body in _BODIES.items()]
    return {"mappers": mappers}


def _json_mapper(reply: LocalReply, paths: str, body: str) -> Tree:
    # Envoy's path includes the query.
    of_paths = _header_filter(":path", {"string_match": {"safe_regex": {"regex": rf"({paths})(\?.*)?"}}})
    wait = status.retry_after(reply.error)
    headers = {**reply.headers, **({"retry-after": wait} if wait else {})}
    return {
        "filter": {"and_filter": {"filters": [*_filters(reply), *([of_paths] if paths != ".*" else [])]}},
        "status_code": reply.http or status.http_status(status.of(reply.error)),
        **({"headers_to_add": [_header(name, text) for name, text in headers.items()]} if headers else {}),
        "body_format_override": _body(body, "application/json"),
    }


def _grpc_mapper(reply: LocalReply, requested: str, answered: str) -> Tree:
    """Moves the fields of gRPC's trailers into the headers of an empty response."""
    rpc_status = Status()
    rpc_status.CopyFrom(status.of(reply.error))
    if reply.grpc_code is not None:
        rpc_status.code = reply.grpc_code
    details = base64.b64encode(rpc_status.SerializeToString()).decode().rstrip("=")
    return {
        "filter": {
            "and_filter": {
                "filters": [
                    *_filters(reply),
                    _header_filter("content-type", {"string_match": {"prefix": requested}}),
                ]
            }
        },
        "status_code": 200,
        "headers_to_add": [
            _header("content-type", answered),
            _header("grpc-status", str(rpc_status.code)),
            _header("grpc-message", quote(rpc_status.message, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")),
            _header("grpc-status-details-bin", details),
        ],
        "body_format_override": _body("", answered),
    }


def _body(text: str, content_type: str) -> Tree:
    return {"text_format_source": {"inline_string": _escape(text)}, "content_type": content_type}


def _header(key: str, value: str) -> Tree:
    return {"header": {"key": key, "value": _escape(value)}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _filters(reply: LocalReply) -> list[Tree]:
    filters: list[Tree] = [_status_filter("GE", reply.first), _status_filter("LE", reply.last)]
    if reply.flags:
        filters.append({"response_flag_filter": {"flags": list(reply.flags)}})
    if reply.cause:
        filters.append(
            {
                "extension_filter": {
                    "name": "cause",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                        "expression": f"response.code_details.contains({json.dumps(reply.cause)})",
                    },
                }
            }
        )
    return filters


def _header_filter(name: str, match: dict[str, Tree]) -> Tree:
    return {"header_filter": {"header": {"name": name, **match}}}


def _status_filter(comparison: str, value: int) -> Tree:
    # Envoy requires a runtime key with each number. Nothing sets this key, so the default value applies.
    number: Tree = {"default_value": value, "runtime_key": "responsa.none"}
    return {"status_code_filter": {"comparison": {"op": comparison, "value": number}}}


def _escape(text: str) -> str:
    """Escapes %, which begins a placeholder in Envoy's formats."""
    return text.replace("%", "%%")
