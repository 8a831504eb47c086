"""The valid files of an agent, into which tests put mistakes, and kinds of nodes that only tests have."""

from __future__ import annotations

from pathlib import Path

from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.engine.kinds import NodeKind
from responsa_server.agents.engine.node import ExamplesName, Node, NodeModel, NodeOptions, Run
from responsa_server.agents.nodes.table import KINDS

DEFAULTS: tuple[str, ...] = ()
"""The models that “default” stands for."""
Change = tuple[str, str, str]
"""A file, an old text in it and the new text. If the old text is "", the new text is the whole file."""

AGENT = """\
name = "Test"
description = "For tests."
start = "route"
model = { chain = ["default", "openai:gpt"] }
limits = { seconds = 30, steps = 20 }

[parameters]
required = ["level"]
properties.level = { enum = ["low", "high"] }

[nodes]
route = { kind = "router", examples = "examples/intents.jsonl", intents = ["qa", "chat"] }
retrieve = { kind = "retriever", timeout = 20 }
grade = { kind = "ranker" }
write = { kind = "prompt", prompt = "write" }
quote = { kind = "passages" }
hello = { kind = "template", template = "hello" }
refuse = { kind = "refuse" }

[graph]
edges = [
  { from = "route", to = "hello", when = { field = "intent", is = "chat" } },
  { from = "route", to = "retrieve" },
  { from = "retrieve", to = "grade" },
  { from = "retrieve", to = "hello", on = "unavailable" },
  { from = "grade", to = "write", when = { all = [{ model = true }, { field = "ranking.near", is = true }] } },
  { from = "grade", to = "quote", when = { field = "ranking.near", is = true } },
  { from = "grade", to = "refuse" },
  { from = "write", to = "quote", on = "unavailable" },
]
"""

FILES = {
    "agent.toml": AGENT,
    "prompts/write.md": """\
+++
variables = { question = "what is asked" }
+++
You answer in one sentence.
{% include "parts/tone.md" %}
=== user
{{ question }}
""",
    "prompts/hello.md": """\
+++
variables = { question = "what is asked" }
+++
Hello. You asked: {{ question }}
""",
    "prompts/parts/tone.md": "Be kind.\n",
    "examples/intents.jsonl": """\
{"text": "How long is the Nile?", "label": "qa"}
{"text": "Hello!", "label": "chat"}
""",
}


class RouterOptions(NodeOptions):
    examples: ExamplesName
    intents: tuple[str, ...] | list[str]


class RouterInput(NodeModel):
    question: str


class RouterOutput(NodeModel):
    intent: str
    confidence: float = 0.0


class Router(Node[RouterInput, RouterOutput]):
    """Classifies a text that begins with “Hello” as small talk, and every other text as a question."""

    name = "router"
    input_model = RouterInput
    output_model = RouterOutput

    async def process(self, inputs: RouterInput, run: Run) -> RouterOutput:
        return RouterOutput(intent="chat" if inputs.question.startswith("Hello") else "qa", confidence=1.0)


TEST_KINDS = {
    **KINDS,
    "router": NodeKind(
        lambda _, __, ___: Router(),
        RouterInput,
        RouterOutput,
        RouterOptions,
        labels=lambda options: options.intents,
    ),
}


class OneModel:
    """Knows a single model."""

    def problem(self, name: str) -> str | None:
        provider, _, model = name.partition(":")
        if provider != "openai":
            return f"There is no provider “{provider}” here."
        return None if model == "gpt" else "It is not offered by openai."


SURROUNDINGS = Surroundings(
    kinds=TEST_KINDS,
    models=OneModel(),
    suggested_models=("default", "passages", "openai:gpt"),
    providers=("openai",),
)


def write(folder: Path, *changes: Change) -> Path:
    """Write the files into a folder `test`, with these changes."""
    files = dict(FILES)
    for file, old, new in changes:
        assert not old or files[file].count(old) == 1, (file, old)
        files[file] = files[file].replace(old, new) if old else new
    for file, text in files.items():
        path = folder / "test" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "test"
