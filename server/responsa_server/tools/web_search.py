"""The kind `web_search`: a search of the web by Tavily, Serper or SearXNG. The results' snippets are what answers may
quote; no page is fetched.

The protocols, as their documentation described them in November 2026:
https://docs.tavily.com/documentation/api-reference/endpoint/search, https://serper.dev (the playground's requests and
responses), https://docs.searxng.org/dev/search_api.html.
"""

from __future__ import annotations

import asyncio
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, cast
from urllib.parse import urlencode

from pydantic import Field

from responsa_server.domain.tools import (
    MAX_RESULT_BYTES,
    Declaration,
    Effect,
    Tool,
    ToolCall,
    ToolCard,
    ToolOutcome,
    ToolResult,
    ToolSource,
    ToolUnfit,
)
from responsa_server.outbound.addresses import OutboundError, origin_of
from responsa_server.outbound.connector import Outgoing
from responsa_server.tools.endpoint import (
    AllowPrivate,
    Auth,
    Endpoint,
    Url,
    endpoint_of,
    unreadable_reply,
)
from responsa_server.tools.kinds import ToolContext, ToolKind, ToolOptions

_MAX_QUERY: Final = 400
_MAX_TITLE: Final = 200
_MAX_SNIPPET: Final = 1500
_MAX_DATE: Final = 40
_JOINERS: Final = "\u200c\u200d"
_UNSEEN: Final = ("Cc", "Cf", "Cs", "Co")
_NONE: Final = "The search found nothing."

Json = Mapping[str, Any]
Provider = Literal["tavily", "serper", "searxng"]


class WebSearchOptions(ToolOptions):
    """The keys of a declaration with `kind = "web_search"`."""

    provider: Provider = Field(description="The search service.")
    url: Url | Literal[""] = Field(
        default="",
        description=(
            "The address of the service. SearXNG needs an address, such as "
            "`https://search.example.org`; its setting `search.formats` must contain `json`. Empty: "
            "the provider's own address."
        ),
    )
    key: str = Field(
        default="",
        description="The name of the secret that contains the provider's key. Tavily and Serper need a key.",
    )
    results: int = Field(default=5, ge=1, le=10, description="The number of results.")
    language: str = Field(
        default="",
        pattern="^([a-z]{2})?$",
        description="The language to search in, such as `de`, for Serper and SearXNG.",
    )
    allow_private: AllowPrivate = ()


@dataclass(frozen=True, slots=True)
class WebHit:
    """A result of a search. date: as the provider writes it, or ""."""

    uri: str
    title: str
    snippet: str
    date: str


@dataclass(frozen=True, slots=True)
class _Wire:
    """How a provider speaks. url: its own address. auth: how its key is sent; None if it needs no key. ask: makes the
    request. items, keys: where its results stand, and the names of a result's uri, title, snippet and date."""

    url: str
    auth: Callable[[str], Auth] | None
    ask: Callable[[str, str, WebSearchOptions], Outgoing]
    items: str
    keys: tuple[str, str, str, str]


def _tavily(url: str, query: str, options: WebSearchOptions) -> Outgoing:
    body = {"query": query, "max_results": options.results, "search_depth": "basic"}
    return _post(f"{url}/search", body)


def _serper(url: str, query: str, options: WebSearchOptions) -> Outgoing:
    body: dict[str, object] = {"q": query, "num": options.results}
    if options.language:
        body["hl"] = options.language
    return _post(f"{url}/search", body)


def _searxng(url: str, query: str, options: WebSearchOptions) -> Outgoing:
    pairs = {"q": query, "format": "json"}
    if options.language:
        pairs["language"] = options.language
    return Outgoing("GET", f"{url}/search?{urlencode(pairs)}", {"accept": "application/json"})


def _post(url: str, body: Mapping[str, object]) -> Outgoing:
    headers = {"content-type": "application/json", "accept": "application/json"}
    return Outgoing("POST", url, headers, json.dumps(body, ensure_ascii=False).encode())


_WIRES: Final[Mapping[str, _Wire]] = {
    "tavily": _Wire(
        "https://api.tavily.com",
        lambda key: Auth(bearer=key),
        _tavily,
        "results",
        ("url", "title", "content", "published_date"),
    ),
    "serper": _Wire(
        "https://google.serper.dev",
        lambda key: Auth(header="X-API-KEY", secret=key),
        _serper,
        "organic",
        ("link", "title", "snippet", "date"),
    ),
    "searxng": _Wire("", None, _searxng, "results", ("url", "title", "content", "publishedDate")),
}

PARAMETERS: Final[Mapping[str, object]] = {
    "type": "object",
    "properties": {
        "query": {
            "type": "string",
            "minLength": 1,
            "maxLength": _MAX_QUERY,
            "description": "The words to search for, as for a search engine.",
        }
    },
    "required": ["query"],
    "additionalProperties": False,
}
RETURNS: Final[Mapping[str, object]] = {
    "type": "object",
    "properties": {
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in ("uri", "title", "snippet", "date")},
                "required": ["uri", "title", "snippet", "date"],
            },
        }
    },
    "required": ["results"],
}


def service_of(options: WebSearchOptions) -> tuple[str, Auth | None]:
    """Return the address of the declared service and how its key is sent. Raises ToolUnfit if the declaration lacks one of them."""
    wire = _WIRES[options.provider]
    if not options.url and not wire.url:
        raise ToolUnfit(
            'is missing; write the address of your SearXNG, such as url = "https://search.example.org"',
            ("url",),
        )
    if wire.auth is None:
        return options.url, Auth(bearer=options.key) if options.key else None
    if not options.key:
        raise ToolUnfit(f"is missing; name the secret with the key of {options.provider}", ("key",))
    return options.url or wire.url, wire.auth(options.key)


class WebSearchTool:
    """Implements `Tool`."""

    effect = Effect.NONE

    def __init__(
        self,
        card: ToolCard,
        endpoint: Endpoint,
        url: str,
        options: WebSearchOptions,
        timeout_seconds: float,
        clock: Callable[[], datetime],
    ) -> None:
        """url: the address of the service, without a slash at its end."""
        self.card = card
        self._endpoint = endpoint
        self._options = options
        self._wire = _WIRES[options.provider]
        self._url = url
        self.timeout_seconds = timeout_seconds
        self._clock = clock

    async def close(self) -> None:
        """See `Tool.close`. The connector belongs to the process."""

    async def call(self, call: ToolCall) -> ToolResult:
        query = _clean(str(call.arguments["query"]), _MAX_QUERY)
        reply = await self._endpoint.call(self._wire.ask(self._url, query, self._options), call)
        if isinstance(reply, ToolResult):
            return reply
        fetched = self._clock()
        try:
            results = self._read_results(await asyncio.to_thread(self._endpoint.json_of, reply))
        except ValueError as error:
            return unreadable_reply(f"The search's response cannot be read: {str(error)[:200]}", Effect.NONE)
        entries = [
            f"{hit.title}\n{hit.uri}{f' ({hit.date})' if hit.date else ''}\n{hit.snippet}" for hit in results
        ]
        content = "\n\n".join(entries) if entries else _NONE
        data = {
            "results": [
                {"uri": hit.uri, "title": hit.title, "snippet": hit.snippet, "date": hit.date}
                for hit in results
            ]
        }
        sources = [ToolSource(hit.uri, hit.title, fetched, hit.snippet) for hit in results if hit.snippet]
        return ToolResult(ToolOutcome.OK, content, data, sources)

    def _read_results(self, value: object) -> Sequence[WebHit]:
        items = cast("Json", value).get(self._wire.items, []) if isinstance(value, dict) else None
        if not isinstance(items, list):
            raise ValueError("it has no list of results")
        hits: dict[str, WebHit] = {}
        size = 0
        for item in cast("list[object]", items):
            result = self._one(item)
            if result is None or result.uri in hits:
                continue
            size += (
                sum(len(part.encode()) for part in (result.uri, result.title, result.snippet, result.date))
                + 64
            )
            if len(hits) == self._options.results or size > MAX_RESULT_BYTES * 3 // 4:
                break
            hits[result.uri] = result
        return list(hits.values())

    def _one(self, item: object) -> WebHit | None:
        """A result; None if it has no address of a page."""
        if not isinstance(item, dict):
            raise ValueError("a result is not an object")
        uri, title, snippet, date = (cast("Json", item).get(key) or "" for key in self._wire.keys)
        if not all(isinstance(part, str) for part in (uri, title, snippet, date)):
            raise ValueError("a part of a result is not text")
        try:
            origin_of(uri)  # nothing is fetched, but people click on it
        except OutboundError:
            return None
        title = _clean(title, _MAX_TITLE) or origin_of(uri).host
        return WebHit(uri, title, _clean(snippet, _MAX_SNIPPET), _clean(date, _MAX_DATE))


def _clean(text: str, limit: int) -> str:
    """A text in one line, without control characters and characters that change its direction or that nobody sees;
    joiners are part of the spelling of some languages."""
    visible = "".join(
        " " if char.isspace() else char
        for char in text
        if char.isspace() or char in _JOINERS or unicodedata.category(char) not in _UNSEEN
    )
    words = " ".join(visible.split())
    return words if len(words) <= limit else words[: limit - 1].rstrip() + "…"


def _make(declaration: Declaration, options: WebSearchOptions, parts: ToolContext) -> Sequence[Tool]:
    url, auth = service_of(options)
    if options.key:
        parts.secret_of(declaration, options.key, ("key",))
    endpoint = endpoint_of(declaration, parts, url, auth, options.allow_private, Effect.NONE)
    card = ToolCard(declaration.name, declaration.description, PARAMETERS, declaration.title, RETURNS)
    seconds = declaration.timeout_seconds
    return [WebSearchTool(card, endpoint, url.rstrip("/"), options, seconds, parts.clock)]


KIND: Final = ToolKind(
    WebSearchOptions,
    _make,
    title="the web search",
    description=(
        "Searches the web and returns the titles, addresses and snippets of pages. Use it for "
        "what the documents do not hold, and for recent events."
    ),
)
