"""Search services that speak the wires of Tavily, Serper and SearXNG, as their documentation described them in November 2026:
https://docs.tavily.com/documentation/api-reference/endpoint/search, https://serper.dev, https://docs.searxng.org/dev/search_api.html.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from responsa_lab.testing.loopback import LoopbackExchange

Page = Mapping[str, str]
"""A page that the service finds: its uri, title, snippet and date."""


class SearchService:
    """A service with one of the wires. It refuses requests that do not fit its wire. key: the key that it accepts.
    asked: the queries. body: replaces the usual response."""

    def __init__(self, provider: str, key: str, pages: Sequence[Page]) -> None:
        self.asked: list[str] = []
        self.body: bytes | None = None
        self._provider = provider
        self.key = key
        self._pages = pages

    async def handle(self, exchange: LoopbackExchange) -> None:
        answer = getattr(self, f"_{self._provider}")(exchange)
        if answer is None:
            await exchange.reply(401 if self._provider != "searxng" else 403, b'{"error": "refused"}')
        else:
            await exchange.reply(200, self.body if self.body is not None else json.dumps(answer).encode())

    def _tavily(self, exchange: LoopbackExchange) -> Any:
        got = exchange.request
        if (got.method, got.path) != ("POST", "/search") or got.headers.get(
            "authorization"
        ) != f"Bearer {self.key}":
            return None
        body = json.loads(got.body)
        assert set(body) <= {"query", "max_results", "search_depth"}
        self.asked.append(body["query"])
        results = [
            {
                "url": page["uri"],
                "title": page["title"],
                "content": page["snippet"],
                "score": 0.9,
                "raw_content": None,
            }
            | ({"published_date": page["date"]} if page["date"] else {})
            for page in self._pages
        ]
        return {
            "query": body["query"],
            "answer": None,
            "images": [],
            "results": results,
            "response_time": 0.4,
        }

    def _serper(self, exchange: LoopbackExchange) -> Any:
        got = exchange.request
        if (got.method, got.path) != ("POST", "/search") or got.headers.get("x-api-key") != self.key:
            return None
        body = json.loads(got.body)
        assert set(body) <= {"q", "num", "hl"}
        self.asked.append(body["q"])
        organic = [
            {"title": one["title"], "link": one["uri"], "snippet": one["snippet"], "position": place}
            | ({"date": one["date"]} if one["date"] else {})
            for place, one in enumerate(self._pages, 1)
        ]
        return {"searchParameters": {"q": body["q"], "type": "search"}, "organic": organic, "credits": 1}

    def _searxng(self, exchange: LoopbackExchange) -> Any:
        parts = urlsplit(exchange.request.path)
        query = parse_qs(parts.query)
        if (exchange.request.method, parts.path) != ("GET", "/search") or query.get("format") != ["json"]:
            return None
        self.asked.append(query["q"][0])
        results = [
            {"url": page["uri"], "title": page["title"], "content": page["snippet"], "engine": "duckduckgo"}
            | {"publishedDate": page["date"] or None, "score": 1.0, "category": "general"}
            for page in self._pages
        ]
        return {
            "query": query["q"][0],
            "number_of_results": 0,
            "results": results,
            "unresponsive_engines": [],
        }
