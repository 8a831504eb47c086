"""What tools returned, by the original path of a query, on a real instance."""

from __future__ import annotations

import httpx2

from tests.instance import Instance


def test_a_query_returns_what_each_tool_returned(second: Instance) -> None:
    query = {"query": "tokens=5 tool=once", "agent": "testing"}
    with httpx2.Client(
        base_url=second.url, headers={"authorization": f"Bearer {second.key}"}, timeout=60
    ) as http:
        reply = http.post("/agent/query", json=query).json()
    assert reply["outcome"] == "answered", reply
    (result,) = reply["tool_results"]
    assert (result["tool"], result["outcome"]) == ("record-once", "ok")
    assert result["content"]
