"""The kind `http_api`: an endpoint of an organisation's own API. The declaration is its only address; arguments fill
places of the path, the query and the body."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, cast
from urllib.parse import quote, urlencode

from pydantic import Field

from responsa_server.domain.tools import (
    MAX_RESULT_BYTES,
    Declaration,
    Effect,
    Tool,
    ToolCall,
    ToolCard,
    ToolFault,
    ToolOutcome,
    ToolResult,
    ToolSource,
    ToolUnfit,
)
from responsa_server.outbound.connector import Outgoing, Reply
from responsa_server.tools.endpoint import (
    HTML_TYPES,
    AllowPrivate,
    Auth,
    Endpoint,
    Method,
    Url,
    endpoint_of,
    unreadable_reply,
)
from responsa_server.tools.kinds import ToolContext, ToolKind, ToolOptions, now

_PLACE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]{0,63})\}")
# What an API returns that has nothing to say.
_EMPTY: Final[Sequence[object]] = ("", [], {})
# The effect of a method if the declaration names none (RFC 9110, section 9.2).
_EFFECTS: Final[Mapping[str, Effect]] = {
    "GET": Effect.NONE,
    "HEAD": Effect.NONE,
    "PUT": Effect.IDEMPOTENT,
    "DELETE": Effect.IDEMPOTENT,
    "POST": Effect.ONCE,
    "PATCH": Effect.ONCE,
}


class HttpApiOptions(ToolOptions):
    """The keys of a declaration with `kind = "http_api"`."""

    url: Url = Field(
        description=(
            "The endpoint. Its path may contain places in braces, such as `{city}`, which are "
            "replaced by the arguments with these names; an argument cannot contain a slash."
        )
    )
    method: Method = Field(default="GET", description="The HTTP method.")
    parameters: dict[str, dict[str, Any]] = Field(
        default={},
        description=(
            "The tool's parameters: for each name, its JSON Schema with a description. `optional = "
            "true` makes a parameter optional."
        ),
    )
    query: dict[str, str] = Field(
        default={},
        description="The query of the URL. A value may contain places; an entry is left out if its places have no arguments.",
    )
    headers: dict[str, str] = Field(default={}, description="Headers with fixed values.")
    body: dict[str, Any] | None = Field(
        default=None,
        description=(
            "The JSON body. Its texts may contain places; a text that consists of one place is "
            "replaced by the argument, with the argument's type. If `body` is missing, POST, PUT and "
            "PATCH send all arguments that are used nowhere else."
        ),
    )
    auth: Auth | None = Field(default=None, description="How a call authenticates itself.")
    result: Literal["auto", "json", "text", "html"] = Field(
        default="auto", description="How the response is read. `auto` decides by its content type."
    )
    pick: str = Field(
        default="",
        description=(
            "The path to the part of a JSON response that is the result, such as `items.*.name`. "
            "Dots separate names and indexes, and `*` stands for all items of a list."
        ),
    )
    returns: dict[str, Any] | None = Field(
        default=None, description="The JSON Schema against which the result's data is checked."
    )
    allow_private: AllowPrivate = ()


def card_of(name: str, title: str, description: str, options: HttpApiOptions) -> ToolCard:
    """Return the description of a declared endpoint."""
    properties: dict[str, object] = {}
    required: list[str] = []
    for key, parameter in options.parameters.items():
        properties[key] = {word: value for word, value in parameter.items() if word != "optional"}
        if not parameter.get("optional", False):
            required.append(key)
    schema: dict[str, object] = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = required
    return ToolCard(name, description, schema, title, options.returns)


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """How arguments become a request. path_url: the URL without its query. body: see HttpApiOptions."""

    method: str
    path_url: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Mapping[str, Any] | None

    def fill(self, arguments: Mapping[str, object]) -> Outgoing:
        """Return the request for these arguments. Raises ValueError, whose message is for a model."""
        used = set(_places(self.path_url))
        url = _PLACE.sub(lambda match: _segment(match[1], arguments.get(match[1])), self.path_url)
        pairs: list[tuple[str, str]] = []
        for key, template in self.query.items():
            names = _places(template)
            used |= set(names)
            if names and all(arguments.get(name) is None for name in names):
                continue
            alone = arguments.get(_alone(template))
            if isinstance(alone, list):
                pairs += [(key, plain(item)) for item in cast("list[object]", alone)]
            else:
                pairs.append((key, _PLACE.sub(lambda match: plain(arguments.get(match[1])), template)))
        if pairs:
            url = f"{url}{'&' if '?' in url else '?'}{urlencode(pairs)}"
        headers = dict(self.headers)
        if self.body is not None:
            value = _fill(self.body, arguments)
        elif self.method in ("POST", "PUT", "PATCH"):
            value = {name: argument for name, argument in arguments.items() if name not in used}
        else:
            return Outgoing(self.method, url, headers)
        headers["content-type"] = "application/json"
        return Outgoing(self.method, url, headers, json.dumps(value, ensure_ascii=False).encode())


class HttpApiTool:
    """Implements `Tool`. Responses with a status of 2xx are results; redirects are not followed."""

    def __init__(
        self,
        card: ToolCard,
        endpoint: Endpoint,
        request: RequestTemplate,
        *,
        effect: Effect,
        timeout_seconds: float,
        result: str = "auto",
        pick: str = "",
        clock: Callable[[], datetime] = now,
        read_html: Callable[[bytes], Awaitable[str]] | None = None,
    ) -> None:
        self.card = card
        self._endpoint = endpoint
        self._request = request
        self.effect = effect
        self.timeout_seconds = timeout_seconds
        self._result = result
        self._pick = pick.split(".") if pick else []
        self._clock = clock
        self._read_html = read_html

    async def close(self) -> None:
        """See `Tool.close`. The connector belongs to the process."""

    async def call(self, call: ToolCall) -> ToolResult:
        try:
            outgoing = self._request.fill(call.arguments)
        except (ValueError, UnicodeError) as error:
            return ToolResult(ToolOutcome.ERROR, str(error), error=ToolFault.ARGUMENTS)
        reply = await self._endpoint.call(outgoing, call)
        return reply if isinstance(reply, ToolResult) else await self._read(outgoing.url, reply)

    async def _read(self, url: str, reply: Reply) -> ToolResult:
        # A page for signing in, for example, has no part that could be picked, so it is not an answer.
        kind = "json" if self._pick else self._result
        if kind == "auto":
            kind = _kind(reply.media_type)
        data: object = None
        empty = False
        try:
            if kind == "json":
                data = extract(await asyncio.to_thread(self._endpoint.json_of, reply), self._pick)
                empty = data is None or (self.effect is Effect.NONE and data in _EMPTY)
                text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
            elif kind == "html" and self._read_html is not None:
                text = self._endpoint.hide(await self._read_html(reply.body))
            elif kind in ("text", "html"):
                text = self._endpoint.text_of(reply)
            else:
                raise ValueError(f"the response has the type {reply.media_type[:80]!r}, which is not text")
        except ValueError as error:
            return unreadable_reply(f"The tool's response cannot be read: {str(error)[:200]}", self.effect)
        if self.card.returns is None and len(text.encode()) > MAX_RESULT_BYTES:
            data = None  # the text is cut, so the data would be too large, too
        if empty:
            where = f" at “{'.'.join(self._pick)}”" if self._pick else ""
            text = f"The response has no value{where}."
            # Without data, the text would count as an answer.
            data = "" if data is None and self.card.returns is None else data
        # The result of an act is not a source: nobody can read it again.
        sources = (
            [ToolSource(url, self.card.title or self.card.id, self._clock(), text)]
            if self.effect is Effect.NONE and text.strip() and not empty
            else []
        )
        return ToolResult(ToolOutcome.OK, text, data, sources)


def request_of(options: HttpApiOptions) -> RequestTemplate:
    """Check a declaration's places. Raises ToolUnfit."""
    head, _, query = options.url.partition("?")
    origin_end = head.find("/", head.find("//") + 2)
    if "{" in (head if origin_end < 0 else head[:origin_end]) or "{" in query or "#" in options.url:
        raise ToolUnfit(
            "places such as {city} may stand in the path of url, not in its host, query or fragment; use [query] for the query",
            ("url",),
        )
    templates: list[tuple[Sequence[str], str]] = [
        (("url",), head),
        *((("query", name), template) for name, template in options.query.items()),
        (("body",), json.dumps(options.body or {})),
    ]
    for key, template in templates:
        for parameter in _places(template):
            if parameter not in options.parameters:
                message = f"{{{parameter}}} is not a parameter; declare it as [parameters.{parameter}]"
                raise ToolUnfit(message, key, unknown=parameter, known=list(options.parameters))
    for name in _places(head):
        if options.parameters[name].get("optional", False):
            message = "stands in the path of url, so the parameter cannot be optional; remove this key"
            raise ToolUnfit(message, ("parameters", name, "optional"))
    for name, value in options.headers.items():
        if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", name) or not value.isprintable() or not value.isascii():
            message = (
                "has characters that a header cannot hold; names have letters, digits and “-”, and "
                "values have visible ASCII characters"
            )
            raise ToolUnfit(message, ("headers", name))
        if name.lower() in (
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
            "accept-encoding",
            "idempotency-key",
        ):
            raise ToolUnfit("is set by the server; remove it", ("headers", name))
        if name.lower() in ("authorization", "proxy-authorization", "cookie"):
            raise ToolUnfit(
                "holds a secret; declare the secret in [secrets] and use [auth]", ("headers", name)
            )
    return RequestTemplate(options.method, options.url, options.query, options.headers, options.body)


def extract(value: object, path: Sequence[str]) -> object:
    """Return a part of a JSON value. Raises ValueError if it has no such part."""
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(value, list):
        items = cast("list[object]", value)
        if head == "*":
            return [extract(item, rest) for item in items]
        if head.isdecimal() and int(head) < len(items):
            return extract(items[int(head)], rest)
    elif isinstance(value, dict) and head in value:
        return extract(cast("dict[str, object]", value)[head], rest)
    raise ValueError(f"it has no part {head!r}")


def plain(value: object) -> str:
    """Return an argument as text: JSON for what is not a text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _kind(media_type: str) -> str:
    if media_type == "application/json" or media_type.endswith("+json"):
        return "json"
    if media_type in HTML_TYPES:
        return "html"
    if media_type.startswith("text/") or media_type in ("application/xml", "application/yaml", ""):
        return "text"
    return ""


def _places(template: str) -> Sequence[str]:
    return _PLACE.findall(template)


def _segment(name: str, value: object) -> str:
    text = plain(value)
    if text in ("", ".", "..") or any(mark in text for mark in "/\\") or not text.isprintable():
        raise ValueError(
            f"{name} stands in the path of an address: it must not be empty, '.', '..', or contain slashes or control characters"
        )
    return quote(text, safe="")


def _fill(template: object, arguments: Mapping[str, object]) -> object:
    if isinstance(template, dict):
        return {
            key: _fill(part, arguments)
            for key, part in cast("dict[str, object]", template).items()
            if not (_alone(part) and arguments.get(_alone(part)) is None)
        }
    if isinstance(template, list):
        return [_fill(part, arguments) for part in cast("list[object]", template)]
    if isinstance(template, str):
        name = _alone(template)
        if name:
            return arguments.get(name)
        return _PLACE.sub(lambda match: plain(arguments.get(match[1])), template)
    return template


def _alone(template: object) -> str:
    """The name of the place that is all of a text, or ""."""
    match = _PLACE.fullmatch(template) if isinstance(template, str) else None
    return match[1] if match else ""


def _make(declaration: Declaration, options: HttpApiOptions, parts: ToolContext) -> Sequence[Tool]:
    request = request_of(options)
    effect = declaration.effect or _EFFECTS[options.method]
    card = card_of(declaration.name, declaration.title, declaration.description, options)
    url = options.url.partition("?")[0]
    endpoint = endpoint_of(declaration, parts, url, options.auth, options.allow_private, effect)
    tool = HttpApiTool(
        card,
        endpoint,
        request,
        effect=effect,
        timeout_seconds=declaration.timeout_seconds,
        result=options.result,
        pick=options.pick,
        clock=parts.clock,
        read_html=parts.read_html,
    )
    return [tool]


KIND: Final = ToolKind(
    HttpApiOptions,
    _make,
    description="Calls an API of the organisation.",
    parameters=("parameters",),
)
