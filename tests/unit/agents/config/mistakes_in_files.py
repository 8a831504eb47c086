"""Mistakes in prompts and examples. This is a part of the table of mistakes."""

from __future__ import annotations

from typing import Final

from tests.unit.agents.configured import Change

IN_FILES: Final[dict[str, tuple[list[Change], list[str]]]] = {
    "19 partials in a circle": (
        [
            ("prompts/parts/tone.md", "Be kind.", 'Be kind.\n{% include "parts/more.md" %}'),
            ("prompts/parts/more.md", "", '{% include "parts/tone.md" %}\n'),
        ],
        [
            "prompts/parts/more.md:1: the template is not valid: parts/more.md includes itself through parts/tone.md; remove one of the includes.",
            "prompts/parts/tone.md:2: the template is not valid: parts/tone.md includes itself through parts/more.md; remove one of the includes.",
        ],
    ),
    "19 no prompt": (
        [("agent.toml", 'kind = "prompt", prompt = "write"', 'kind = "prompt"')],
        [
            "agent.toml:15:1: nodes.write: “prompt” is missing: without the file prompts/NAME.md the model gets only the question and no instructions."
        ],
    ),
    "19 an empty name": (
        [("agent.toml", 'template = "hello"', 'template = ""')],
        [
            "agent.toml:17:30: nodes.hello.template: is empty; name a file in the folder prompts, without “.md”."
        ],
    ),
    "19 an empty prompt": (
        [("prompts/write.md", "", "\n")],
        ["prompts/write.md:1: is empty; write the prompt's text."],
    ),
    "19 prompts by a misspelt field": (
        [
            (
                "agent.toml",
                'kind = "prompt", prompt = "write"',
                'kind = "prompt", prompt = { by = "categry", default = "write" }',
            )
        ],
        [
            "agent.toml:15:39: nodes.write.prompt.by: no node writes a field “categry”; a node of the kind “question_categoriser” writes “category”. Did you mean “category”?"
        ],
    ),
    "20 what a variable does not have": (
        [("prompts/write.md", "{{ question }}", "{{ question.__class__ }}")],
        ["prompts/write.md:7: the template cannot be filled in: “question.__class__” is undefined."],
    ),
    "20 what cannot be done without something": (
        [
            ("prompts/write.md", "variables = { question", 'variables = { passages = "how many", question'),
            ("prompts/write.md", "{{ question }}", "{{ question }} {{ 6 / passages }}"),
        ],
        [
            "prompts/write.md:7: the template cannot be filled in when “passages” is empty: unable to calculate 6 / 0."
        ],
    ),
    "20 nothing to say": (
        [
            (
                "prompts/hello.md",
                "Hello. You asked: {{ question }}",
                '{% if question == "" %}Hello.{% endif %}',
            )
        ],
        ["prompts/hello.md: the template produces no text; write some."],
    ),
    "22 unknown filter": (
        [("prompts/write.md", "{{ question }}", "{{ question | uper }}")],
        ["prompts/write.md:7: templates have no filter “uper”. Did you mean “upper”?"],
    ),
    "22 unknown schema": (
        [("prompts/write.md", "variables = { question", 'schema = "intnt"\nvariables = { question')],
        [
            "prompts/write.md:2:1: schema: there is no schema “intnt”; use one of “intent”, “category”, “need”, “query”, “queries”, “questions”, “verdict”, “metadata”, “begins”, “tools”, “arguments”. Did you mean “intent”?"
        ],
    ),
    "22 two user parts": (
        [("prompts/write.md", "{{ question }}", "{{ question }}\n=== user\nAgain.")],
        [
            "prompts/write.md:8: there is a second line “=== user”, but the one in line 6 already ends the instructions; remove one of them."
        ],
    ),
    "25 intent without an example": (
        [("agent.toml", '["qa", "chat"]', '["qa", "chat", "post"]')],
        [
            "agent.toml:12:28: nodes.route.examples: no line of examples/intents.jsonl has the label “post”, so no message gets it; write some lines, or remove the label."
        ],
    ),
    "25 a text under two labels": (
        [
            (
                "examples/intents.jsonl",
                '"label": "chat"}',
                '"label": "chat"}\n{"text": "hello!", "label": "qa"}',
            )
        ],
        [
            "examples/intents.jsonl:3: the text “hello!” has the label “qa” here, but another one in line 2; correct one of them."
        ],
    ),
    "25 unknown key of an example": (
        [("examples/intents.jsonl", '"label": "chat"}', '"label": "chat", "txt": "Hi!"}')],
        [
            "examples/intents.jsonl:2: there is no key “txt” here; a line has only “text”, “label”. Did you mean “text”?"
        ],
    ),
}
