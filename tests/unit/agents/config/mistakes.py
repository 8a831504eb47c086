"""The table of mistakes. Each row has changes to the files of `configured`, and all expected reports."""

from __future__ import annotations

from typing import Final

from tests.unit.agents.config.mistakes_in_files import IN_FILES
from tests.unit.agents.config.mistakes_in_flow import IN_FLOW
from tests.unit.agents.config.mistakes_in_tables import IN_TABLES
from tests.unit.agents.configured import Change

MISTAKES: Final[dict[str, tuple[list[Change], list[str]]]] = {
    **IN_TABLES,
    **IN_FLOW,
    **IN_FILES,
    "01 TOML syntax": (
        [("agent.toml", 'start = "route"', "start = route")],
        ["agent.toml:3:9: is not valid TOML: string values must be quoted, expected literal string."],
    ),
    "01 TOML syntax, a key twice": (
        [("agent.toml", 'start = "route"', 'start = "route"\nstart = "grade"')],
        ["agent.toml:4:1: is not valid TOML: duplicate key."],
    ),
    "02 unknown key": (
        [("agent.toml", "description =", "descripton =")],
        ["agent.toml:2:1: descripton: there is no key “descripton” here. Did you mean “description”?"],
    ),
    "03 unknown key in a table": (
        [("agent.toml", "seconds = 30", "secnds = 30")],
        ["agent.toml:5:12: limits.secnds: there is no key “secnds” here. Did you mean “seconds”?"],
    ),
    "04 wrong type": (
        [("agent.toml", "steps = 20", 'steps = "20"')],
        ["agent.toml:5:26: limits.steps: must be a whole number, not the text “20”."],
    ),
    "04 wrong type of a node's own": (
        [("agent.toml", "timeout = 20", "timeout = true")],
        ["agent.toml:13:34: nodes.retrieve.timeout: must be a number, not true."],
    ),
    "05 out of range": (
        [("agent.toml", "seconds = 30", "seconds = -1")],
        ["agent.toml:5:12: limits.seconds: must be more than 0, not the number -1."],
    ),
    "05 a tool twice, and one with an impossible name": (
        [("agent.toml", "limits =", 'tools = { use = ["time", "time", "Uhr"] }\nlimits =')],
        [
            "agent.toml:5:26: tools.use[1]: “time” is listed twice; remove one.",
            "agent.toml:5:34: tools.use[2]: “Uhr” is not a valid name of a tool: use lower-case letters, digits, “-” and “_”, with a letter first.",
        ],
    ),
    "05 tools where only the caller's record may be read": (
        [
            (
                "agent.toml",
                "limits =",
                'tools = { use = ["time"] }\nretrieval = { subject = "caller" }\nlimits =',
            )
        ],
        [
            "agent.toml:5:11: tools.use: must be empty with retrieval.subject = “caller”, which does not limit what tools return."
        ],
    ),
    "06 unknown kind": (
        [("agent.toml", 'kind = "ranker"', 'kind = "rankr"')],
        ["agent.toml:14:11: nodes.grade.kind: there is no kind of node “rankr”. Did you mean “ranker”?"],
    ),
    "07 unknown option of a kind": (
        [("agent.toml", 'prompt = "write"', 'promt = "write"')],
        [
            "agent.toml:15:28: nodes.write.promt: the kind prompt has no option “promt”. Did you mean “prompt”?"
        ],
    ),
    "07 field that is not read": (
        [("agent.toml", 'kind = "ranker"', 'kind = "ranker", reads = { evidnce = "found" }')],
        [
            "agent.toml:14:38: nodes.grade.reads.evidnce: the node reads no field “evidnce”. Did you mean “evidence”?"
        ],
    ),
    "08 edge to an unknown node": (
        [("agent.toml", 'to = "refuse"', 'to = "refusal"')],
        [
            "agent.toml:28:21: graph.edges[6].to: the edge leads to “refusal”, but there is no such node. Did you mean “refuse”?"
        ],
    ),
    "09 edge from an unknown node": (
        [("agent.toml", 'from = "grade", to = "refuse"', 'from = "grades", to = "refuse"')],
        [
            "agent.toml:28:5: graph.edges[6].from: the edge comes from “grades”, but there is no such node. Did you mean “grade”?"
        ],
    ),
    "10 unreachable node": (
        [("agent.toml", "refuse = { kind", 'other = { kind = "refuse" }\nrefuse = { kind')],
        ["agent.toml:18:1: nodes.other: no path leads to the node “other”."],
    ),
    "11 no start": (
        [("agent.toml", 'start = "route"\n', "")],
        ["agent.toml: start: “start” is missing."],
    ),
    "11 start that is not there": (
        [("agent.toml", 'start = "route"', 'start = "rout"')],
        ["agent.toml:3:1: start: there is no node “rout”. Did you mean “route”?"],
    ),
    "12 cycle without a limit": (
        [
            (
                "agent.toml",
                '  { from = "write", to = "quote", on = "unavailable" },\n]',
                '  { from = "write", to = "quote", on = "unavailable" },\n  { from = "hello", to = "route" },\n]',
            )
        ],
        [
            "agent.toml:30:3: graph.edges[8]: the cycle route → hello → route has no limit; set limit = n on one of its edges.",
        ],
    ),
    "13 no way on": (
        [
            (
                "agent.toml",
                '  { from = "grade", to = "refuse" },\n',
                '  { from = "grade", to = "refuse", when = { field = "intent", is = "qa" } },\n',
            )
        ],
        [
            "agent.toml:28:36: graph.edges[6].when: the last edge from “grade” has a condition, so a turn may not be able to continue; add a last edge without one."
        ],
    ),
    "13 an edge that is never taken": (
        [("agent.toml", 'to = "hello", when = { field = "intent", is = "chat" } }', 'to = "hello" }')],
        [
            "agent.toml:22:3: graph.edges[0]: this edge from “route” is always taken, so the edges after it are never taken."
        ],
    ),
    "14 condition on an unknown field": (
        [("agent.toml", 'field = "intent"', 'field = "intnt"')],
        [
            "agent.toml:22:44: graph.edges[0].when.field: no node writes a field “intnt”. Did you mean “intent”?"
        ],
    ),
    "14 condition within a field": (
        [
            (
                "agent.toml",
                '"quote", when = { field = "ranking.near"',
                '"quote", when = { field = "ranking.nea"',
            )
        ],
        ["agent.toml:27:44: graph.edges[5].when.field: “ranking” has no field “nea”. Did you mean “near”?"],
    ),
    "14 condition on an unknown parameter": (
        [("agent.toml", 'field = "intent", is = "chat"', 'field = "parameters.leval", is = "low"')],
        [
            "agent.toml:22:44: graph.edges[0].when.field: the agent has no parameter “leval”. Did you mean “level”?"
        ],
    ),
    "15 two tests": (
        [("agent.toml", 'field = "intent", is = "chat"', 'field = "intent", is = "chat", above = 3')],
        [
            "agent.toml:22:35: graph.edges[0].when: needs exactly one of the keys “is”, “in”, “above”, “below” and “empty” for its field."
        ],
    ),
    "15 no test": (
        [("agent.toml", 'when = { field = "intent", is = "chat" }', 'when = { is = "chat" }')],
        [
            "agent.toml:22:35: graph.edges[0].when: needs exactly one of the keys “field”, “model”, “all” and “any”."
        ],
    ),
    "16 input that no way provides": (
        [("agent.toml", 'to = "retrieve" }', 'to = "grade" }')],
        [
            "agent.toml:13:1: nodes.retrieve: no path leads to the node “retrieve”.",
            "agent.toml:14:1: nodes.grade: needs “evidence”, which the path begin → route → grade does not provide.",
        ],
    ),
    "19 prompt that is not there": (
        [("agent.toml", 'prompt = "write"', 'prompt = "wrote"')],
        [
            "agent.toml:15:28: nodes.write.prompt: there is no file prompts/wrote.md here or among the shared prompts. Did you mean “write”?"
        ],
    ),
    "19 partial that is not there": (
        [("prompts/write.md", "parts/tone.md", "parts/tune.md")],
        ["prompts/write.md:5: the template is not valid: there is no partial parts/tune.md."],
    ),
    "20 variable that is not declared": (
        [("prompts/write.md", "{{ question }}", "{{ question }} {{ quesion }}")],
        [
            "prompts/write.md:7: uses “quesion”, which the front matter of prompts/write.md does not declare. Did you mean “question”?"
        ],
    ),
    "19 prompts that the wrong thing chooses": (
        [
            (
                "agent.toml",
                'kind = "prompt", prompt = "write"',
                'kind = "prompt", prompt = { by = "intend", default = "write" }',
            )
        ],
        ["agent.toml:15:39: nodes.write.prompt.by: no node writes a field “intend”. Did you mean “intent”?"],
    ),
    "19 prompts without a default": (
        [
            (
                "agent.toml",
                'kind = "prompt", prompt = "write"',
                'kind = "prompt", prompt = { by = "intent", qa = "write" }',
            )
        ],
        ["agent.toml:15:28: nodes.write.prompt: “default” is missing: the prompt for all other values."],
    ),
    "20 variable that is not offered": (
        [
            (
                "prompts/write.md",
                'question = "what is asked"',
                'question = "what is asked", passage = "found"',
            )
        ],
        [
            "prompts/write.md:2:43: variables.passage: declares “passage”, which the node “write” does not offer; it offers “agent”, “formats”, “history”, “language”, “no_answer”, “parameters”, “passages”, “persona”, “problem”, “question”, “questions”, “summary”, “without_retrieval”. Did you mean “passages”?"
        ],
    ),
    "21 what others wrote among the instructions": (
        [("prompts/write.md", "one sentence.", "one sentence. {{ question }}")],
        [
            "prompts/write.md:4: uses “question”, an untrusted text, in the instructions; move it below the line “=== user”."
        ],
    ),
    "21 what others wrote, by a partial": (
        [("prompts/parts/tone.md", "", "Be kind to {{ question }}.\n")],
        [
            "prompts/parts/tone.md:1: uses “question”, an untrusted text, in the instructions; move it below the line “=== user”."
        ],
    ),
    "22 broken template": (
        [("prompts/write.md", "{{ question }}", "{{ question }")],
        ["prompts/write.md:7: the template is not valid: unexpected `}`, expected end of variable block."],
    ),
    "22 import": (
        [("prompts/write.md", '{% include "parts/tone.md" %}', '{% import "parts/tone.md" as tone %}')],
        [
            "prompts/write.md:5: the template is not valid: “import” is not allowed in prompts; include a partial instead."
        ],
    ),
    "22 broken front matter": (
        [("prompts/write.md", "variables = { question", 'variables = { question "')],
        [
            "prompts/write.md:2:24: is not valid TOML: missing assignment between key-value pairs, expected `=`."
        ],
    ),
    "22 unknown key of a front matter": (
        [("prompts/write.md", "variables = {", "hint = 1\nvariables = {")],
        ["prompts/write.md:2:1: hint: there is no key “hint” here. Did you mean “hints”?"],
    ),
    "23 unknown provider": (
        [("agent.toml", '"openai:gpt"', '"opnai:gpt"')],
        [
            "agent.toml:4:31: model.chain[1]: the model “opnai:gpt” is not available: there is no provider “opnai” here. Did you mean “openai:gpt”?"
        ],
    ),
    "23 extractive in the middle": (
        [("agent.toml", '["default", "openai:gpt"]', '["passages", "openai:gpt"]')],
        [
            "agent.toml:4:20: model.chain[0]: “passages” is never unavailable, so the models after it are never asked; move it to the end."
        ],
    ),
    "24 parameter of no type": (
        [("agent.toml", '{ enum = ["low", "high"] }', '{ type = "strin" }')],
        [
            "agent.toml:9:22: parameters.properties.level.type: must be one of “string”, “integer”, “number”, “boolean”. Did you mean “string”?"
        ],
    ),
    "24 reference to another schema": (
        [("agent.toml", '{ enum = ["low", "high"] }', '{ "$ref" = "https://example.com/schema" }')],
        [
            "agent.toml:9:22: parameters.properties.level.$ref: the schema of a parameter has no keyword “$ref”."
        ],
    ),
    "24 required and not there": (
        [("agent.toml", 'required = ["level"]', 'required = ["levels"]')],
        [
            "agent.toml:8:13: parameters.required[0]: the required parameter “levels” is not among the properties. Did you mean “level”?"
        ],
    ),
    "25 examples that are not there": (
        [("agent.toml", "examples/intents.jsonl", "examples/intent.jsonl")],
        [
            "agent.toml:12:28: nodes.route.examples: there is no file examples/intent.jsonl. Did you mean “examples/intents.jsonl”?"
        ],
    ),
    "25 invalid example": (
        [("examples/intents.jsonl", '"label": "chat"', '"lable": "chat"')],
        ['examples/intents.jsonl:2: is not a line of the form {"text": "…", "label": "…"}.'],
    ),
    "25 label that is not an intent": (
        [("examples/intents.jsonl", '"label": "chat"', '"label": "chatt"')],
        ["examples/intents.jsonl:2: the label “chatt” is not one of “qa”, “chat”. Did you mean “chat”?"],
    ),
    "unknown node on an edge that is never unavailable": (
        [
            (
                "agent.toml",
                '  { from = "write", to = "quote", on = "unavailable" },\n]',
                '  { from = "write", to = "quote", on = "unavailable" },\n  { from = "grade", to = "hello", on = "unavailable" },\n]',
            )
        ],
        ["agent.toml:30:35: graph.edges[8].on: “grade” is never unavailable, so this edge is never taken."],
    ),
    "name that is kept for the graph": (
        [("agent.toml", "refuse = { kind", 'finish = { kind = "refuse" }\nrefuse = { kind')],
        ["agent.toml:18:1: nodes.finish: “finish” is the graph's own end; give the node another name."],
    ),
    "several at once": (
        [
            ("agent.toml", "description =", "descripton ="),
            ("agent.toml", 'kind = "ranker"', 'kind = "rankr"'),
            ("agent.toml", 'to = "refuse"', 'to = "refusal"'),
        ],
        [
            "agent.toml:2:1: descripton: there is no key “descripton” here. Did you mean “description”?",
            "agent.toml:14:11: nodes.grade.kind: there is no kind of node “rankr”. Did you mean “ranker”?",
            "agent.toml:28:21: graph.edges[6].to: the edge leads to “refusal”, but there is no such node. Did you mean “refuse”?",
        ],
    ),
}
