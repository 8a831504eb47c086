"""A node of an agent's version that asks a model to decide about a message or to write queries for it, and versions
with another instruction or with other examples first.

The node itself runs here, over recorded answers, so what is measured is what the agent does.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from responsa_lab.evaluation.metrics import plain
from responsa_lab.optimising.record import Record
from responsa_server.agents.config.content import Content
from responsa_server.agents.engine.config import AgentConfig, traits
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.engine.node import NodeModel, NodeOptions, Run
from responsa_server.agents.engine.prompts import USER_LINE, PromptSet, meaning, neutral, nonce
from responsa_server.agents.nodes.deciding import DecidingOptions
from responsa_server.agents.nodes.searching import MOST_EXAMPLES, QueryExpanderOptions, QueryExpanderOutput
from responsa_server.agents.nodes.table import KINDS
from responsa_server.cli.output import EXIT_USAGE, CommandFailed
from responsa_server.domain.intents import Example
from responsa_server.domain.models import Ended, ModelPiece, ModelPrompt, TextPiece
from responsa_server.domain.people import Principal, Role

_KINDS: Final = ("intent_router", "question_categoriser", "query_expander")
_EXAMPLES: Final = '{% include "parts/examples.md" %}'
"""The line of a prompt that ends its instruction."""
_TAG: Final = re.compile(r"\{(?=[{%#])")
_NOBODY: Final = Principal("", UUID(int=0), Role.USER, "turn")
_MARK: Final = nonce("optimise", UUID(int=0))


class _Unanswered(Exception):
    """The record has no answer to a prompt."""

    def __init__(self, prompt: ModelPrompt) -> None:
        super().__init__("no answer is recorded")
        self.prompt = prompt


class _Recorded:
    """A `ChatModel` that knows recorded answers. Raises _Unanswered, so that a node's time limit covers no call and no waiting for one."""

    def __init__(self, name: str, known: Callable[[ModelPrompt], str | None]) -> None:
        self.name = name
        self._known = known

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        if (text := self._known(prompt)) is None:
            raise _Unanswered(replace(prompt, patience_seconds=None, takeover=None))
        yield TextPiece(text)
        yield Ended(complete=True)


@dataclass(frozen=True, slots=True)
class TunedNode:
    """A node as one version has it.

    name: the node's name. field: the field of the model's answer that has the label; "" if the node writes queries.
    labels: the labels that a model may choose. instruction: what the prompt says before its examples; "" if it cannot
    be replaced, because the prompt does not include `parts/examples.md` or has other rules. examples: the node's
    examples, in order. The label of a question with queries is JSON, as in `queries`.
    """

    content: Content
    name: str
    options: DecidingOptions | QueryExpanderOptions
    field: str
    labels: Sequence[str]
    instruction: str
    examples: Sequence[Example]

    @property
    def decides(self) -> bool:
        """Whether the node decides; otherwise it writes queries."""
        return bool(self.field)

    def label(self, output: NodeModel | None) -> str:
        """The label in the node's output; "" if there is none."""
        if isinstance(output, QueryExpanderOutput):
            return queries(output)
        return "" if output is None else str(getattr(output, self.field))

    def version(self, instruction: str, first: Sequence[Example]) -> Content:
        """The agent's version with this instruction as plain text, and with `first` before all other examples. With the
        same instruction, the prompt stays. The oldest examples of queries leave if there are too many."""
        texts = {plain(item.text) for item in first}
        rows = [*first, *(item for item in self.examples if plain(item.text) not in texts)]
        if isinstance(self.options, QueryExpanderOptions):
            config = json.loads(json.dumps(self.content.config))
            config["nodes"][self.name]["examples"] = [
                {"question": row.text, **json.loads(row.label)} for row in rows[:MOST_EXAMPLES]
            ]
            return self.content.model_copy(update={"config": config})
        lines = [json.dumps({"text": row.text, "label": row.label}, ensure_ascii=False) for row in rows]
        examples = {**self.content.examples, self.options.examples: "\n".join(lines) + "\n"}
        content = self.content.model_copy(update={"examples": examples})
        if instruction == self.instruction:
            return content
        _, _, after = content.prompts[self.options.prompt].body.partition(_EXAMPLES)
        return _change(content, self.options.prompt, body=f"{literal(instruction)}\n\n{_EXAMPLES}{after}")


class Answering:
    """Runs a node of a version with recorded answers. record: None if there are none."""

    def __init__(self, content: Content, node: str, record: Record | None = None) -> None:
        config = AgentConfig.model_validate(content.config)
        table = config.nodes[node]
        self._kind = KINDS[table.kind]
        self.options: NodeOptions = self._kind.options.model_validate(table.options)
        self.examples = _examples(content, self.options)
        self._record = record
        model = _Recorded("recorded", (lambda _: None) if record is None else record.find)
        parts = NodeParts(
            model=model,
            larger=model,
            prompts=PromptSet(content.sources(), content.parts()),
            examples={self.options.examples: self.examples}
            if isinstance(self.options, DecidingOptions)
            else {},
            traits=traits(config, content.agent),
        )
        self._node = self._kind.make(parts, self.options, node)

    async def first_prompt(self, message: str) -> ModelPrompt:
        """What the node asks a model about a message first."""
        try:
            await self._node.process(self._inputs(message), _run())
        except _Unanswered as unanswered:
            return unanswered.prompt
        raise AssertionError("the node asks no model")

    async def output(self, message: str) -> NodeModel | None:
        """What the node makes of a message without a history; None if the model's answers have not the right shape. Raises Stopped."""
        while True:
            run = _run()
            try:
                output = await self._node.process(self._inputs(message), run)
            except _Unanswered as unanswered:
                if self._record is None:
                    raise
                await self._record.ask(unanswered.prompt)
            else:
                return None if run.fallen else output

    def _inputs(self, message: str) -> NodeModel:
        return self._kind.input_model.model_validate({"question": message})


def queries(output: QueryExpanderOutput) -> str:
    """What a model answers to get this output, as JSON."""
    shown = {"queries": output.expansions, "sources": output.sources}
    return json.dumps({name: texts for name, texts in shown.items() if texts}, ensure_ascii=False)


async def find_tunable(content: Content, node: str) -> TunedNode:
    """A node that can be improved. node: its name, or "" for the agent's only one.

    Raises CommandFailed: the agent has no such node, or several, or the node's prompt does not show examples.
    """
    tables = AgentConfig.model_validate(content.config).nodes
    known = [
        name
        for name, table in tables.items()
        if table.kind in _KINDS
        and getattr(KINDS[table.kind].options.model_validate(table.options), "prompt", "")
    ]
    if node not in known and (node or len(known) != 1):
        remedy = f"name one of {', '.join(known)} with --node" if known else "choose another agent"
        what = f"no node “{node}” that lets" if node else f"{len(known)} nodes that let"
        raise CommandFailed(
            f"The agent “{content.agent}” has {what} a model decide or write queries; {remedy}.",
            "",
            EXIT_USAGE,
        )
    name = node or known[0]
    answering = Answering(content, name)
    options, examples = answering.options, answering.examples
    if isinstance(options, QueryExpanderOptions):
        prompts = PromptSet(content.sources(), content.parts())
        if "examples" not in prompts.variables(options.prompt).system:
            raise CommandFailed(
                f"The prompt “{options.prompt}” does not show the variable “examples”.",
                "Add it, as the shared prompt query_expansion does.",
                EXIT_USAGE,
            )
        return TunedNode(content, name, options, "", (), "", examples)
    assert isinstance(options, DecidingOptions)
    schema: Any = (await answering.first_prompt("")).schema
    field, labels = next((field, sub["enum"]) for field, sub in schema["properties"].items() if "enum" in sub)
    instruction = ""
    body, included, _ = content.prompts[options.prompt].body.partition(_EXAMPLES)
    if included and USER_LINE not in body.splitlines():
        head = await Answering(_change(content, options.prompt, body=body), name).first_prompt("")
        instruction = head.messages[0].text.removesuffix(meaning(_MARK)).strip()
    return TunedNode(content, name, options, field, labels, instruction, examples)


def _examples(content: Content, options: NodeOptions) -> Sequence[Example]:
    if isinstance(options, QueryExpanderOptions):
        return [
            Example(row.question, queries(QueryExpanderOutput(expansions=row.queries, sources=row.sources)))
            for row in options.examples
        ]
    assert isinstance(options, DecidingOptions)
    rows = [json.loads(line) for line in content.examples[options.examples].split("\n") if line.strip()]
    return [Example(row["text"], row["label"]) for row in rows]


def _run() -> Run:
    return Run(_NOBODY, lambda _: None, lambda _: None, nonce=_MARK)


def rename_prompt(content: Content, prompt: str) -> Content:
    """The same content with another name for the file of a prompt, so that it is another version."""
    return _change(content, prompt, file=f"{content.prompts[prompt].file} (trial)")


def _change(content: Content, prompt: str, **update: str) -> Content:
    changed = content.prompts[prompt].model_copy(update=update)
    return content.model_copy(update={"prompts": {**content.prompts, prompt: changed}})


def literal(text: str) -> str:
    """A model's text as a template that says the same: without tags, marks, and lines that would begin the user part."""
    lines = (
        line.replace("===", "==", 1) if line.rstrip() == USER_LINE else line
        for line in neutral(text).split("\n")
    )
    return _TAG.sub("{ ", "\n".join(lines)).strip()
