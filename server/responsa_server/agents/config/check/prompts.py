"""Checks the files that nodes name: prompts and templates, the variables that they use, and examples. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Final

from pydantic import Field, ValidationError

from responsa_server.agents.config.check.graph import options_of
from responsa_server.agents.config.check.inputs import AgentFiles, Surroundings
from responsa_server.agents.config.problems import (
    Key,
    Problem,
    closest,
    from_validation,
    in_config,
    quote,
)
from responsa_server.agents.engine.config import AgentConfig, Table
from responsa_server.agents.engine.kinds import NodeKind
from responsa_server.agents.engine.node import FileKind, NodeOptions, Offered, option_files
from responsa_server.agents.engine.prompts import SCHEMAS, USER_LINE, PromptError, PromptSet, PromptSource
from responsa_server.domain.intents import OUT_OF_SCOPE

SAMPLES: Final[Mapping[str, object]] = {
    "most": 3,
    "sources": [{"name": "handbook", "description": "The handbook of the staff."}],
    "passages": 2,
    "questions": ("What is it?",),
    "categories": ("one", "two"),
    "examples": ({"text": "What is it?", "label": "one"},),
    "tool": "weather: Tells the weather.",
    "tools": ({"name": "weather", "description": "Tells the weather."},),
    "failed": "The web search did not answer in time.",
}
"""Sample values for the variables that are not texts."""
_TEXT: Final = "x"


def prompt_files(config: AgentConfig, files: AgentFiles, surroundings: Surroundings) -> Iterator[Problem]:
    """Problems of the files that nodes name. Each such file is checked once; files that no node names are not checked."""
    named = list(_list_files(config, surroundings))
    names = {name for _, _, _, role, name in named if role is not FileKind.EXAMPLES} & files.prompts.keys()
    prompts = PromptSet({name: files.prompts[name] for name in names}, files.partials)
    checked = set[str]()
    for key, kind, options, role, name in named:
        if role is FileKind.EXAMPLES:
            labels = kind.labels(options) if kind.labels is not None and options is not None else ()
            yield from _examples(name, key, files.examples, labels)
        elif not name and (role is FileKind.TEMPLATE or kind.needs_model):
            yield in_config(key, "is empty; name a file in the folder prompts, without “.md”")
        elif name and name not in names:
            message = f"there is no file prompts/{name}.md here or among the shared prompts"
            yield in_config(key, message, closest(name, files.prompts))
        elif name and name not in checked:
            checked.add(name)
            yield from _file(prompts, name, files.prompts[name])
            yield from _words(prompts, name, kind.offers, config.questions)
        if name in names:
            yield from _variables(prompts, name, kind.offers, str(key[1]), template=role is FileKind.TEMPLATE)
    for node, table in config.nodes.items():
        kind = surroundings.kinds[table.kind]
        complete = kind.needs_model and options_of(kind, table) is not None
        for field, info in kind.options.model_fields.items() if complete else ():
            if FileKind.PROMPT in info.metadata and field not in table.options:
                message = f"“{field}” is missing: without the file prompts/NAME.md the model gets only the question and no instructions"
                yield in_config(("nodes", node), message)


def _list_files(
    config: AgentConfig, surroundings: Surroundings
) -> Iterator[tuple[Key, NodeKind, NodeOptions | None, FileKind, str]]:
    """The files that nodes name or, by another kind of node, use: each with its key, kind of node, options and role."""
    for node, table in config.nodes.items():
        kind = surroundings.kinds[table.kind]
        options = options_of(kind, table)
        for path, role, name in option_files(kind.options, table.options):
            yield ("nodes", node, *path), kind, options, role, name
        for further, defaults in kind.list_uses(options):
            for _, role, name in option_files(type(defaults), defaults.model_dump()):
                if role is not FileKind.EXAMPLES:
                    yield ("nodes", node), further, defaults, role, name


def _file(prompts: PromptSet, name: str, source: PromptSource) -> Iterator[Problem]:
    """Problems of a prompt's file that do not depend on the node."""
    lines = source.body.split("\n")
    parted = [index for index, line in enumerate(lines) if line.rstrip() == USER_LINE]
    if not source.body.strip():
        yield Problem(source.file, "is empty; write the prompt's text", line=source.body_line)
    for index in parted[1:]:
        yield Problem(
            source.file,
            (
                f"there is a second line “{USER_LINE}”, but the one in line "
                f"{source.body_line + parted[0]} already ends the instructions; remove one of them"
            ),
            line=source.body_line + index,
        )
    if source.front.structured and source.front.structured not in SCHEMAS:
        yield Problem(
            source.file,
            f"there is no schema “{source.front.structured}”; use one of {quote(SCHEMAS)}",
            ("schema",),
            closest(source.front.structured, SCHEMAS),
        )
    for error in prompts.broken.get(name, ()):
        yield Problem(error.file, f"the template is not valid: {error.message}", line=error.line)


def _words(prompts: PromptSet, name: str, offers: Offered, questions: Sequence[str]) -> Iterator[Problem]:
    """Unknown filters and tests, and variables that the front matter does not declare. If there are none, the problem with
    filling in the prompt.
    """
    source = prompts.source(name)
    if name in prompts.broken or not source.sound:  # this problem was already reported
        return
    unknown, declared = prompts.unknown_words(name), set(source.front.variables)
    for word in unknown:
        suggestion = word.synonym or closest(word.word, word.known)
        yield Problem(word.file, word.message, suggestion=suggestion, line=word.line)
    variables = prompts.variables(name).all
    for variable in sorted(variables - declared):
        message = f"uses “{variable}”, which its front matter does not declare"
        yield Problem(source.file, message, suggestion=closest(variable, declared))
    if not unknown and variables <= declared & offers.all:
        yield from check_filling(prompts, name, questions)


def _variables(
    prompts: PromptSet, name: str, offers: Offered, node: str, *, template: bool
) -> Iterator[Problem]:
    """Variables that the node does not offer, and untrusted variables in a prompt's instructions. Templates have no
    instructions, because no model reads them.
    """
    source = prompts.source(name)
    if name in prompts.broken or not source.sound:
        return
    for variable in sorted(set(source.front.variables) - offers.all):
        message = f"declares “{variable}”, which the node “{node}” does not offer; it offers {quote(sorted(offers.all)) or 'no variables'}"
        yield Problem(source.file, message, ("variables", variable), closest(variable, offers.all))
    for variable in sorted(prompts.variables(name).system & offers.untrusted) if not template else ():
        message = (
            f"uses “{variable}”, an untrusted text, in the instructions; move it below the line “{USER_LINE}”"
        )
        yield Problem(source.file, message)


def check_filling(prompts: PromptSet, name: str, questions: Sequence[str]) -> Iterator[Problem]:
    """The problem with filling in a prompt with sample values. questions: the agent's example questions."""
    values = {
        variable: questions if variable == "questions" else SAMPLES.get(variable, _TEXT)
        for variable in prompts.variables(name).all
    }
    try:
        prompts.fill(name, values)
    except PromptError as error:
        why = error.message.replace("`", "“", 1).replace("`", "”", 1)
        yield Problem(error.file, f"the template cannot be filled in: {why}", line=error.line)


def _examples(path: str, key: Key, examples: Mapping[str, bytes], labels: Sequence[str]) -> Iterator[Problem]:
    """Problems of a file of examples. labels: the allowed labels, each of which needs at least one line; empty
    if every label is allowed.
    """
    data = examples.get(path)
    if data is None:
        stems = {PurePosixPath(example).stem: example for example in examples}
        suggestion = closest(path, examples) or stems.get(closest(PurePosixPath(path).stem, stems), "")
        suggestion = suggestion or stems.get(PurePosixPath(path).stem, "")
        yield in_config(key, f"there is no file {path}", suggestion)
        return
    problems, unused = _lines(path, data, tuple(labels))
    yield from problems
    for label in unused:
        yield in_config(
            key,
            f"no line of {path} has the label “{label}”, so no message gets it; write some lines, or remove the label",
        )


class _Example(Table):
    text: str = Field(pattern=r"\S")
    label: str = Field(min_length=1)


# Results are cached, because a file may have thousands of lines and most reloads do not change examples.
@lru_cache(maxsize=256)
def _lines(path: str, data: bytes, labels: Sequence[str]) -> tuple[Sequence[Problem], Sequence[str]]:
    """The problems of a file of examples, and the labels without a line. With problems, the labels are not checked."""
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        return [Problem(path, "is not valid UTF-8", line=data.count(b"\n", 0, error.start) + 1)], ()
    problems, used, first = list[Problem](), set[str](), dict[str, tuple[str, int]]()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            example = _Example.model_validate_json(line)
        except ValidationError as error:
            problems += [
                replace(problem, line=number) for problem in from_validation(error, _Example, file=path)
            ]
            continue
        intent = "" if example.label in OUT_OF_SCOPE else example.label
        if intent and labels and intent not in labels:
            message = f"the label “{intent}” is not one of {quote(labels)}"
            problems.append(Problem(path, message, suggestion=closest(intent, labels), line=number))
        used.add(intent)
        other, where = first.setdefault(" ".join(example.text.split()).casefold(), (intent, number))
        if other != intent:
            message = f"the text has the label “{example.label}” here, but another one in line {where}; correct one of them"
            problems.append(Problem(path, message, line=number))
    if not used and not problems:
        problems.append(Problem(path, "has no examples"))
    return problems, () if problems else [label for label in labels if label not in used | OUT_OF_SCOPE]
