"""Tools whose systems misbehave, in whole turns: each call has a typed outcome, the turn ends with an answer, and nothing is half done."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.callers import Credential, Registry
from tests.cases.outside import ORDER, Outside, outside
from tests.cases.test_cases import cast_of
from tests.instance import Instance
from tests.transports import Ways, events_of

READS: Mapping[str, tuple[str, str]] = {
    "hasty-reads hangs": ("ERROR", "TIMEOUT"),
    "reads large": ("ERROR", "TOO_LARGE"),
    "reads html": ("OK", ""),
    "reads redirects": ("ERROR", "STATUS"),
    "reads orders": ("OK", ""),
    "reads garbled": ("ERROR", "MALFORMED"),
    "strict wrong": ("ERROR", "SCHEMA"),
    "reads fails": ("ERROR", "STATUS"),
    "reads half": ("ERROR", "LOST"),
    "hasty-acts hangs": ("UNKNOWN", "TIMEOUT"),
    "acts large": ("UNKNOWN", "TOO_LARGE"),
    "acts garbled": ("UNKNOWN", "MALFORMED"),
    "acts half": ("UNKNOWN", "LOST"),
}
"""For each call of an API, as the tool and what the API does: the outcome and the fault."""
SERVERS: Mapping[str, tuple[str, str]] = {
    "http-dies": ("UNKNOWN", "LOST"),
    "http-garbled": ("UNKNOWN", "LOST"),
    "http-floods": ("UNKNOWN", "LOST"),
    "http-lies": ("UNKNOWN", "MALFORMED"),
    "http-samples": ("OK", ""),
    "http-orders": ("OK", ""),
    "http-changed": ("ERROR", "REFUSED"),
    "program-dies": ("UNKNOWN", "LOST"),
    "program-floods": ("UNKNOWN", "TOO_LARGE"),
    "program-garbled": ("UNKNOWN", "MALFORMED"),
    "program-samples": ("OK", ""),
    "program-changed": ("ERROR", "REFUSED"),
}
"""For each MCP server: the outcome and the fault."""


@pytest.fixture(scope="module")
def place(instance: Instance) -> Iterator[tuple[Ways, Outside]]:
    with (
        Ways(instance.target) as found,
        outside(instance.home / "tools") as others,
        cast_of(instance, found),
    ):
        yield found, others


def ask_all(ways: Ways, registry: Registry, lines: list[str]) -> tuple[Mapping[str, Any], Any]:
    """Ask for these calls at once. Returns the results by the calls' lines, and the answer."""
    request = {"agent": "agents/exposed", "text": "\n".join(lines)}
    headers = registry.new_tenant().headers(Credential.ADMIN)
    events = events_of(ways.call("ChatService/Ask", request, headers).messages)
    calls = [event["toolCall"] for event in events if "toolCall" in event]
    results = {
        event["toolResult"]["callId"]: event["toolResult"] for event in events if "toolResult" in event
    }
    assert len(calls) == len(results) == len(lines)
    return {line: results[one["callId"]] for line, one in zip(lines, calls, strict=True)}, events[-1][
        "answer"
    ]


def outcome(result: Mapping[str, Any]) -> tuple[str, str]:
    fault = result.get("fault", "").removeprefix("TOOL_FAULT_")
    return result["outcome"].removeprefix("TOOL_OUTCOME_"), fault


def test_apis_that_misbehave(place: tuple[Ways, Outside], registry: Registry) -> None:
    ways, others = place
    lines = {f"call {read.split()[0]} {json.dumps({'how': read.split()[1]})}": read for read in READS}
    results, answer = ask_all(ways, registry, list(lines))
    assert {lines[line]: outcome(one) for line, one in results.items()} == READS
    assert others.trap == []
    by_name = {lines[line]: one["content"] for line, one in results.items()}
    assert by_name["reads html"] == "Open at 9."
    # The log has the order, and no model reads it.
    assert by_name["reads orders"] == ORDER
    assert "evil.example" not in answer["text"]


def test_mcp_servers_that_misbehave(place: tuple[Ways, Outside], registry: Registry) -> None:
    ways, _ = place
    names = {
        f"call {server}_{tool_of(server)} {json.dumps(arguments_of(server))}": server for server in SERVERS
    }
    results, answer = ask_all(ways, registry, list(names))
    assert {names[line]: outcome(one) for line, one in results.items()} == SERVERS
    assert "-32" in answer["text"]  # the error that each server got when it asked for a sample


def tool_of(server: str) -> str:
    how = server.partition("-")[2]
    return "echo" if how == "changed" else how


def arguments_of(server: str) -> Mapping[str, str]:
    return {"text": "x"} if tool_of(server) == "echo" else {}
