"""Searches of the web, against local services with the three wires."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from responsa_server.agents.engine.calling import check_result
from responsa_server.domain.events import ToolFault, ToolOutcome
from responsa_server.domain.tools import ToolUnfit
from tests.unit.tools.declaring import SECRET, made, request, served
from tests.wire.searching import SearchService

PAGES = [
    {
        "uri": "https://a.example/x",
        "title": "A\u202e title\0",
        "snippet": "Open  at\n9.",
        "date": "2026-11-01",
    },
    {"uri": "https://a.example/x", "title": "again", "snippet": "twice", "date": ""},
    {"uri": "javascript:alert(1)", "title": "bad", "snippet": "bad", "date": ""},
    {"uri": "https://b.example/", "title": "", "snippet": "y" * 5000, "date": ""},
    {"uri": "https://c.example/", "title": "C", "snippet": "", "date": ""},
    {"uri": "https://d.example/", "title": "D", "snippet": "beyond the limit", "date": ""},
]
PROVIDERS = pytest.mark.parametrize("provider", ["tavily", "serper", "searxng"])


def declaration(provider: str, url: str, **keys: Any) -> Mapping[str, Any]:
    keyed = {} if provider == "searxng" else {"key": "key", "secrets": {"key": {"env": "KEY"}}}
    allowed = {"allow_private": ["127.0.0.1"]}
    return {"kind": "web_search", "provider": provider, "url": url, "results": 3, **allowed, **keyed, **keys}


@PROVIDERS
async def test_results_are_typed_cleaned_and_named_sources(provider: str) -> None:
    service = SearchService(provider, SECRET, PAGES)
    async with served(service.handle) as url:
        (tool,) = made(declaration(provider, url))
        result = check_result(await tool.call(request({"query": "when open? & more"})), tool)
    assert service.asked == ["when open? & more"]
    assert (result.outcome, result.error) == (ToolOutcome.OK, None)
    data: Any = result.data
    assert data["results"][0] == {
        "uri": "https://a.example/x",
        "title": "A title",
        "snippet": "Open at 9.",
        "date": "2026-11-01",
    }
    assert [one["uri"][8] for one in data["results"]] == ["a", "b", "c"]
    assert data["results"][1]["title"] == "b.example"
    assert [(source.uri, source.title) for source in result.sources] == [
        ("https://a.example/x", "A title"),
        ("https://b.example/", "b.example"),
    ]
    assert result.sources[0].text in result.content
    assert len(result.sources[1].text) == 1500


@PROVIDERS
async def test_responses_that_are_not_the_wires_are_typed(provider: str) -> None:
    service = SearchService(provider, SECRET, PAGES)
    name = "organic" if provider == "serper" else "results"
    async with served(service.handle) as url:
        (tool,) = made(declaration(provider, url))
        for body in ("[]", "{", json.dumps({name: 3}), json.dumps({name: ["x"]}), "<html>"):
            service.body = body.encode()
            assert (await tool.call(request({"query": "x"}))).error is ToolFault.MALFORMED, body
        for body in ("{}", json.dumps({name: []})):
            service.body = body.encode()
            nothing = await tool.call(request({"query": "x"}))
            assert (nothing.outcome, nothing.content) == (ToolOutcome.OK, "The search found nothing.")
            assert nothing.sources == []
        if provider != "searxng":
            service.key = "another"
            refused = await tool.call(request({"query": "x"}))
            assert (refused.error, SECRET in refused.content) == (ToolFault.STATUS, False)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"provider": "tavily"}, "name the secret with the key of tavily"),
        ({"provider": "serper", "key": "key"}, "does not declare"),
        ({"provider": "searxng"}, "address of your SearXNG"),
    ],
)
def test_a_declaration_that_lacks_something_says_what(keys: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ToolUnfit, match=said):
        made({"kind": "web_search", **keys})
