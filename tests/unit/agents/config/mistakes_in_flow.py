"""Mistakes in the fields that nodes read and write, in the text that nodes emit, and in the ends of turns.

This is a part of the table of mistakes.
"""

from __future__ import annotations

from typing import Final

from tests.unit.agents.configured import Change

IN_FLOW: Final[dict[str, tuple[list[Change], list[str]]]] = {
    "07 a field that nobody writes": (
        [
            (
                "agent.toml",
                'kind = "prompt", prompt = "write"',
                'kind = "prompt", prompt = "write", reads = { persona = "intnt" }',
            )
        ],
        [
            "agent.toml:15:56: nodes.write.reads.persona: no node writes a field “intnt”. Did you mean “intent”?"
        ],
    ),
    "07 a name that is the engine's": (
        [
            (
                "agent.toml",
                'kind = "prompt", prompt = "write"',
                'kind = "prompt", prompt = "write", writes = { marks = "steps" }',
            )
        ],
        [
            "agent.toml:15:57: nodes.write.writes.marks: only the engine writes “steps”; write “marks” under another name."
        ],
    ),
    "07 invalid name": (
        [
            (
                "agent.toml",
                'kind = "prompt", prompt = "write"',
                'kind = "prompt", prompt = "write", writes = { marks = "my marks" }',
            )
        ],
        [
            "agent.toml:15:57: nodes.write.writes.marks: “my marks” is not a valid name for a field: use letters, digits and “_”, and no digit first."
        ],
    ),
    "07 two fields under one name": (
        [
            (
                "agent.toml",
                'kind = "prompt", prompt = "write"',
                'kind = "prompt", prompt = "write", writes = { shown = "marks" }',
            )
        ],
        [
            "agent.toml:15:57: nodes.write.writes.shown: writes both “marks” and “shown” as “marks”; give one of them another name."
        ],
    ),
    "10 a start that is never reached": (
        [("agent.toml", "edges = [", 'edges = [\n  { from = "begin", to = "refuse" },')],
        [
            "agent.toml:22:3: graph.edges[0]: this edge from “begin” is always taken, so “start” (“route”) is never reached; give the edge a condition (when), or write start = “refuse” instead."
        ],
    ),
}
