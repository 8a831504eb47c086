"""Mistakes in what nodes read and write, tell and end with. A part of the table of mistakes."""

from __future__ import annotations

from typing import Final

from tests.unit.graph.configured import Change

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
            "agent.toml:15:57: nodes.write.writes.marks: “steps” is written by the engine alone; put “marks” under another name."
        ],
    ),
    "07 a name that is none": (
        [
            (
                "agent.toml",
                'kind = "prompt", prompt = "write"',
                'kind = "prompt", prompt = "write", writes = { marks = "my marks" }',
            )
        ],
        [
            "agent.toml:15:57: nodes.write.writes.marks: “my marks” is no name for a field: letters, digits and _, the first one no digit."
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
            "agent.toml:15:57: nodes.write.writes.shown: puts “marks” and “shown” under the same name, “marks”; give one of them another."
        ],
    ),
    "10 a start that is never reached": (
        [("agent.toml", "edges = [", 'edges = [\n  { from = "begin", to = "refuse" },')],
        [
            "agent.toml:22:3: graph.edges[0]: this edge from “begin” always fits, so “start” (“route”) is never reached; give it a condition (when), or say start = “refuse” instead."
        ],
    ),
    "10 a node behind what no agent is": (
        [
            ("agent.toml", "refuse = { kind", 'other = { kind = "refuse" }\nrefuse = { kind'),
            (
                "agent.toml",
                "edges = [",
                'edges = [\n  { from = "grade", to = "other", when = { all = [{ model = true }, { model = false }] } },',
            ),
        ],
        ["agent.toml:18:1: nodes.other: no way leads to the node “other”."],
    ),
    "17 types that do not fit, under another name": (
        [
            (
                "agent.toml",
                'kind = "extractive_answer"',
                'kind = "extractive_answer", reads = { extraction = "evidence" }',
            )
        ],
        [
            "agent.toml:16:49: nodes.quote.reads.extraction: reads “evidence” as Extraction, and “retrieve” writes it as Evidence."
        ],
    ),
    "17 a text that is none": (
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
            "agent.toml:16:48: nodes.check.reads.text: reads “evidence” as text, and “retrieve” writes it as Evidence."
        ],
    ),
    "17 a text that may be empty": (
        [
            (
                "agent.toml",
                "quote = {",
                'check = { kind = "citation_checker", reads = { text = "model" } }\nquote = {',
            ),
            (
                "agent.toml",
                '  { from = "write", to = "quote", on = "unavailable" },\n]',
                '  { from = "write", to = "check" },\n  { from = "write", to = "quote", on = "unavailable" },\n]',
            ),
        ],
        [
            "agent.toml:16:48: nodes.check.reads.text: reads “model” as text that is never empty, and “write” may leave it so; read what a model has written."
        ],
    ),
    "17 what the turn has, as something else": (
        [
            (
                "agent.toml",
                'kind = "prompt", prompt = "write"',
                'kind = "prompt", prompt = "write", reads = { text = "parameters" }',
            )
        ],
        [
            "agent.toml:15:56: nodes.write.reads.text: reads “parameters” as text, and every turn has it as table."
        ],
    ),
    "17 prompts that no text chooses": (
        [
            (
                "agent.toml",
                'kind = "prompt", prompt = "write"',
                'kind = "prompt", prompt = { by = "confidence", default = "write" }',
            )
        ],
        [
            "agent.toml:15:39: nodes.write.prompt.by: reads “confidence” as text, and “route” writes it as number."
        ],
    ),
    "17 a turn's end of another type": (
        [
            (
                "agent.toml",
                'kind = "prompt", prompt = "write"',
                'kind = "prompt", prompt = "write", writes = { model = "answer" }',
            )
        ],
        [
            "agent.toml:15:46: nodes.write.writes: writes “answer” as text, and a turn's end is made of it as AnswerModel; put it under another name."
        ],
    ),
    "18 text that is told, and then refused": (
        [
            (
                "agent.toml",
                '  { from = "write", to = "quote", on = "unavailable" },\n]',
                '  { from = "write", to = "refuse" },\n  { from = "write", to = "quote", on = "unavailable" },\n]',
            )
        ],
        [
            "agent.toml:18:1: nodes.refuse: refuses a turn whose answer “write” has told by then, on the way write → refuse; refuse before it, or let it not tell (stream = false) and a node of the kind “output” do it where there is an answer."
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
            "agent.toml:16:1: nodes.pass: the turn can end here, and on the way begin → route → pass no node has written an answer or a refusal."
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
    "18 an answer out of what may be nothing": (
        [
            (
                "agent.toml",
                '"quote", when = { field = "extraction.supported", is = true } },\n  { from = "grade", to = "refuse" },',
                '"quote" },',
            ),
            (
                "agent.toml",
                'to = "write", when = { all = [{ model = true }, { field = "extraction.supported", is = true }] }',
                'to = "write", when = { model = true }',
            ),
            ("agent.toml", 'refuse = { kind = "refuse" }\n', ""),
        ],
        [
            'agent.toml:16:1: nodes.quote: answers with what “grade” has found, and on the way grade → quote no edge asks whether there is any; give one when = { field = "extraction.supported", is = true }.'
        ],
    ),
}
