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
    "17 invalid text": (
        [
            (
                "agent.toml",
                "quote = {",
                'check = { kind = "citation_checker", reads = { text = "evidence" } }\nquote = {',
            ),
            (
                "agent.toml",
                '  { from = "write", to = "quote", on = "unavailable" },\n]',
                '  { from = "write", to = "check" },\n  { from = "write", to = "quote", on = "unavailable" },\n]',
            ),
        ],
        [
            "agent.toml:16:48: nodes.check.reads.text: reads “evidence” as text, but “retrieve” writes it as Evidence.",
            "agent.toml:16:48: nodes.check.reads.text: reads “evidence” as text, but “grade” writes it as Evidence.",
        ],
    ),
    "17 a field of the turn as another type": (
        [
            (
                "agent.toml",
                'kind = "prompt", prompt = "write"',
                'kind = "prompt", prompt = "write", reads = { text = "parameters" }',
            )
        ],
        [
            "agent.toml:15:56: nodes.write.reads.text: reads “parameters” as text, but at the start of a turn it has the type list or table."
        ],
    ),
    "17 the end of a turn as another type": (
        [
            (
                "agent.toml",
                'kind = "prompt", prompt = "write"',
                'kind = "prompt", prompt = "write", writes = { model = "answer" }',
            )
        ],
        [
            "agent.toml:15:46: nodes.write.writes: writes “answer” as text, but the end of a turn needs it as AnswerModel; write it under another name."
        ],
    ),
    "18 a way without an answer": (
        [
            ("agent.toml", "quote = {", 'pass = { kind = "condition" }\nquote = {'),
            ("agent.toml", 'to = "hello", when', 'to = "pass", when'),
            (
                "agent.toml",
                '  { from = "write", to = "quote", on = "unavailable" },\n]',
                '  { from = "write", to = "pass" },\n  { from = "write", to = "quote", on = "unavailable" },\n]',
            ),
        ],
        [
            "agent.toml:16:1: nodes.pass: the turn can end here, but no node on the path begin → route → pass has written an answer or a refusal."
        ],
    ),
    "18 an end before the beginning": (
        [
            (
                "agent.toml",
                "edges = [",
                'edges = [\n  { from = "route", to = "hello", when = { field = "intent", is = "qa" } },\n  { from = "begin", to = "finish", when = { field = "history", empty = true } },',
            )
        ],
        [
            "agent.toml:23:3: graph.edges[1]: the turn would end here before any node has written an answer or a refusal."
        ],
    ),
}
