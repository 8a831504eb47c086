"""The prompt of a node that decides about a message, as one version of an agent asks it, and versions with another instruction or with other examples first."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from responsa_lab.evaluation.metrics import plain
from responsa_server.agents.config.content import Content
from responsa_server.agents.engine.asking import Asker, Shape, StructuredInvalid
from responsa_server.agents.engine.config import AgentConfig, traits
from responsa_server.agents.engine.node import Run
from responsa_server.agents.engine.prompts import USER_LINE, PromptSet, Untrusted, meaning, neutral, nonce
from responsa_server.agents.nodes.deciding import (
    OUT_OF_SCOPE,
    CategoryOptions,
    CategoryShape,
    DecidingOptions,
    IntentOptions,
    RouteShape,
    choice,
    few,
)
from responsa_server.cli.output import EXIT_USAGE, CommandFailed
from responsa_server.domain.intents import OUT_OF_SCOPE as NO_INTENT
from responsa_server.domain.intents import Example
from responsa_server.domain.models import ChatModel, ModelPrompt
from responsa_server.domain.people import Principal, Role

_EXAMPLES: Final = '{% include "parts/examples.md" %}'
"""The line of a prompt that ends its instruction."""
_TAG: Final = re.compile(r"\{(?=[{%#])")
_NOBODY: Final = Principal("", UUID(int=0), Role.USER, "turn")


@dataclass(frozen=True, slots=True)
class Decision:
    """A node's decision.

    node: the node's name. labels: the labels that a model may choose. instruction: what the prompt says before the examples; "" if the prompt does not include
    `parts/examples.md`, so that its instruction cannot be replaced. examples: the node's examples, in order.
    """

    content: Content
    node: str
    prompt: str
    path: str
    labels: Sequence[str]
    categories: Sequence[str]
    field: str
    shape: Shape[Any]
    instruction: str
    examples: Sequence[Example]

    def version(self, instruction: str, first: Sequence[Example]) -> Content:
        """The agent's version with this instruction as plain text, and with `first` before all other examples. With the same instruction, the prompt stays."""
        texts = {plain(one.text) for one in first}
        rest = [one for one in self.examples if plain(one.text) not in texts]
        rows = [
            json.dumps({"text": one.text, "label": one.label}, ensure_ascii=False) for one in (*first, *rest)
        ]
        prompts = dict(self.content.prompts)
        if instruction != self.instruction:
            _, _, after = prompts[self.prompt].body.partition(_EXAMPLES)
            body = f"{literal(instruction)}\n\n{_EXAMPLES}{after}"
            prompts[self.prompt] = prompts[self.prompt].model_copy(update={"body": body})
        examples = {**self.content.examples, self.path: "\n".join(rows) + "\n"}
        return self.content.model_copy(update={"prompts": prompts, "examples": examples})

    def asking(self, message: str, asker: Asker) -> ModelPrompt:
        """What the node sends a model for a message without a history. asker: of the version, see `asker`."""
        trusted = {"categories": self.categories, "examples": few(self.examples), "formats": self.shape.text}
        run = Run(_NOBODY, lambda _: None, lambda _: None, nonce=_MARK)
        return asker.prompt(run, self.prompt, trusted, Untrusted(message), self.shape.schema)

    def label(self, text: str) -> str:
        """The label in a model's answer; "" if the answer does not have the right shape."""
        try:
            return str(getattr(self.shape.read(text, _MARK), self.field))
        except StructuredInvalid:
            return ""


_MARK: Final = nonce("optimise", UUID(int=0))


def asker(content: Content, model: ChatModel) -> Asker:
    """Asks the model with a version's prompts."""
    config = AgentConfig.model_validate(content.config)
    return Asker(model, PromptSet(content.sources(), content.parts()), traits(config, content.agent))


def decision(content: Content, node: str, model: ChatModel) -> Decision:
    """The decision of a node. node: its name, or "" for the agent's only node of this kind.

    Raises CommandFailed: the agent has no such node, or several.
    """
    config = AgentConfig.model_validate(content.config)
    kinds = {"intent_router": IntentOptions, "question_categoriser": CategoryOptions}
    options = {
        name: kinds[table.kind].model_validate(table.options)
        for name, table in config.nodes.items()
        if table.kind in kinds and table.options.get("prompt")
    }
    if node not in options and (node or len(options) != 1):
        known = f"name one of {', '.join(options)} with --node" if options else "choose another agent"
        what = (
            f"no node “{node}” that lets a model decide"
            if node
            else f"{len(options)} nodes that let a model decide"
        )
        raise CommandFailed(f"The agent “{content.agent}” has {what}; {known}.", "", EXIT_USAGE)
    name = node or next(iter(options))
    return _decision(content, name, options[name], model)


def _decision(content: Content, node: str, options: DecidingOptions, model: ChatModel) -> Decision:
    rows = [json.loads(line) for line in content.examples[options.examples].split("\n") if line.strip()]
    examples = [Example(row["text"], row["label"]) for row in rows]
    if isinstance(options, IntentOptions):
        categories, field = tuple(options.intents), "intent"
        labels = (*categories, OUT_OF_SCOPE)
        shape: Shape[Any] = choice(RouteShape, field, labels)
    else:
        categories, field = tuple(sorted({one.label for one in examples} - NO_INTENT)), "category"
        labels = categories
        shape = choice(CategoryShape, field, labels)
    found = Decision(
        content, node, options.prompt, options.examples, labels, categories, field, shape, "", examples
    )
    body, included, _ = content.prompts[options.prompt].body.partition(_EXAMPLES)
    if not included or USER_LINE in body.splitlines():
        return found
    prompts = dict(content.prompts)
    prompts[options.prompt] = prompts[options.prompt].model_copy(update={"body": body})
    head = asker(content.model_copy(update={"prompts": prompts}), model)
    said = found.asking("", head).messages[0].text
    return replace(found, instruction=said.removesuffix(meaning(_MARK)).strip())


def literal(text: str) -> str:
    """A model's text as a template that says the same: without tags, marks, and lines that would begin the user part."""
    lines = (
        line.replace("===", "==", 1) if line.rstrip() == USER_LINE else line
        for line in neutral(text).split("\n")
    )
    return _TAG.sub("{ ", "\n".join(lines)).strip()
