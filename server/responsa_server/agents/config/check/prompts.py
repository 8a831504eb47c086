"""Checks the files that nodes name: prompts and templates, the variables that they use, and examples. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Final, cast

from pydantic_core import from_json

from responsa_server.agents.config.check.flow import options_of
from responsa_server.agents.config.check.inputs import AgentFiles, Surroundings
from responsa_server.agents.config.problems import (
    Key,
    Problem,
    closest,
    in_config,
    quoted,
)
from responsa_server.agents.engine.config import AgentConfig
from responsa_server.agents.engine.kinds import NodeKind
from responsa_server.agents.engine.node import Names, Offered, named_files
from responsa_server.agents.engine.prompts import SCHEMAS, USER_LINE, PromptError, PromptSet, PromptSource
from responsa_server.domain.intents import OUT_OF_SCOPE

_EXAMPLE_KEYS: Final = ("text", "label")
_SHOWN: Final = 40

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
EMPTY: Final[Mapping[str, object]] = {
    **dict.fromkeys(("persona", "language", "formats", "without_retrieval", "teacher"), ""),
    **dict.fromkeys(("history", "summary", "parameters", "problem", "no_answer"), ""),
    "passages": 0,
    "failed": "",
}
"""The variables that may be empty, with their empty values."""
_TEXT: Final = "x"


def prompt_files(config: AgentConfig, files: AgentFiles, surroundings: Surroundings) -> Iterator[Problem]:
    """Problems of the files that nodes name. Each such file is checked once; files that no node names are not checked."""
    names = {
        name
        for table in config.nodes.values()
        for _, role, name in named_files(surroundings.kinds[table.kind].options, table.options)
        if role is not Names.EXAMPLES and name in files.prompts
    }
    names |= {name for _, name in _used(config, files, surroundings)}
    prompts = PromptSet({name: one for name, one in files.prompts.items() if name in names}, files.partials)
    checked = set[str]()
    for node, table in config.nodes.items():
        kind = surroundings.kinds[table.kind]
        options = options_of(kind, table)
        for place, role, name in named_files(kind.options, table.options):
            key: Key = ("nodes", node, *place)
            if role is Names.EXAMPLES:
                labels = kind.labels(options) if kind.labels is not None and options is not None else ()
                yield from _examples(name, key, files.examples, labels)
            elif not name and (role is Names.TEMPLATE or kind.needs_model):
                yield in_config(key, "is empty; name a file in the folder prompts, without “.md”")
            elif name and name not in files.prompts:
                yield in_config(
                    key,
                    f"there is no file prompts/{name}.md here or among the shared prompts",
                    closest(name, files.prompts),
                )
            elif name:
                template = role is Names.TEMPLATE
                if name not in checked:
                    checked.add(name)
                    yield from _file(prompts, name, files.prompts[name])
                    yield from _variables(prompts, name, kind.offers, config.questions, template=template)
                yield from _offered(prompts, name, kind.offers, node, template=template)
        for field, info in kind.options.model_fields.items() if kind.needs_model and options else ():
            if Names.PROMPT in info.metadata and field not in table.options:
                yield in_config(
                    ("nodes", node),
                    f"“{field}” is missing: without the file prompts/NAME.md the model gets only the question and no instructions",
                )
    for kind, name in _used(config, files, surroundings):
        if name not in checked:
            checked.add(name)
            yield from _file(prompts, name, files.prompts[name])
            yield from _variables(prompts, name, kind.offers, config.questions, template=False)


def _used(
    config: AgentConfig, files: AgentFiles, surroundings: Surroundings
) -> Sequence[tuple[NodeKind, str]]:
    """The prompts that nodes may use without naming them, each with the kind of node that uses it."""
    kinds = [(surroundings.kinds[table.kind], table) for table in config.nodes.values()]
    return [
        (further, name)
        for kind, table in kinds
        for further, options in kind.used(options_of(kind, table))
        for _, role, name in named_files(type(options), options.model_dump())
        if role is not Names.EXAMPLES and name in files.prompts
    ]


def _file(prompts: PromptSet, name: str, source: PromptSource) -> Iterator[Problem]:
    """Problems of a prompt's file that do not depend on the node."""
    lines = source.body.split("\n")
    parted = [place for place, line in enumerate(lines) if line.rstrip() == USER_LINE]
    if not source.body.strip():
        yield Problem(source.file, "is empty; write the prompt's text", line=source.body_line)
    for place in parted[1:]:
        yield Problem(
            source.file,
            (
                f"there is a second line “{USER_LINE}”, but the one in line "
                f"{source.body_line + parted[0]} already ends the instructions; remove one of them"
            ),
            line=source.body_line + place,
        )
    if source.front.structured and source.front.structured not in SCHEMAS:
        yield Problem(
            source.file,
            f"there is no schema “{source.front.structured}”; use one of {quoted(SCHEMAS)}",
            ("schema",),
            closest(source.front.structured, SCHEMAS),
        )
    for error in prompts.broken.get(name, ()):
        yield Problem(error.file, f"the template is not valid: {error.message}", line=error.line)


def _variables(
    prompts: PromptSet, name: str, offers: Offered, questions: Sequence[str], *, template: bool
) -> Iterator[Problem]:
    """Unknown filters and tests, and variables that the front matter does not declare. If there are none, the problems with
    filling in the prompt.
    """
    source = prompts.source(name)
    if name in prompts.broken or not source.sound:  # this problem was already reported
        return
    uses, declared = prompts.variables(name), source.front.variables
    unknown = prompts.unknown_words(name)
    for one in unknown:
        yield Problem(
            one.file, one.message, suggestion=one.synonym or closest(one.word, one.known), line=one.line
        )
    if not unknown and uses.all <= set(declared) & offers.all:
        yield from filled(prompts, name, questions, template=template)
    for variable in sorted(uses.all - set(declared)):
        file, line = prompts.where(name, variable, system=variable in uses.system)
        yield Problem(
            file,
            f"uses “{variable}”, which the front matter of {source.file} does not declare",
            suggestion=closest(variable, declared),
            line=line,
        )


def _offered(
    prompts: PromptSet, name: str, offers: Offered, node: str, *, template: bool
) -> Iterator[Problem]:
    """Variables that the node does not offer, and untrusted variables in a prompt's instructions. Templates have no
    instructions, because no model reads them.
    """
    source = prompts.source(name)
    if name in prompts.broken or not source.sound:
        return
    for variable in sorted(set(source.front.variables) - offers.all):
        yield Problem(
            source.file,
            f"declares “{variable}”, which the node “{node}” does not offer; it offers {quoted(sorted(offers.all)) or 'no variables'}",
            ("variables", variable),
            closest(variable, offers.all),
        )
    for variable in sorted(prompts.variables(name).system & offers.untrusted) if not template else ():
        file, line = prompts.where(name, variable, system=True)
        yield Problem(
            file,
            f"uses “{variable}”, an untrusted text, in the instructions; move it below the line “=== user”",
            line=line,
        )


def filled(prompts: PromptSet, name: str, questions: Sequence[str], *, template: bool) -> Iterator[Problem]:
    """Fill in a prompt with sample values and yield the first problem.

    The prompt is filled in with all values set, then with all optional values empty, then with one optional value empty at
    a time.

    questions: the agent's example questions. template: whether the prompt is a template. A template's text must not be
    empty, because people read it.
    """
    variables = prompts.variables(name).all
    full = {
        variable: questions if variable == "questions" else SAMPLES.get(variable, _TEXT)
        for variable in variables
    }
    optional = sorted(variables & set(EMPTY))
    for empty in ([], optional, *([one] for one in optional)):
        words = " and ".join(f"“{one}”" for one in empty)
        where = f" when {words} {'is' if len(empty) == 1 else 'are'} empty" if empty else ""
        try:
            text = prompts.fill(name, {**full, **{one: EMPTY[one] for one in empty}})
        except PromptError as error:
            why = error.message.replace("`", "“", 1).replace("`", "”", 1)
            message = f"the template cannot be filled in{where}: {why}"
            yield Problem(error.file, message, line=error.line)
            return
        if template and not text.strip():
            yield Problem(prompts.source(name).file, f"the template produces no text{where}; write some")
            return


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
    found, unused = _lines(path, data, tuple(labels))
    yield from found
    for label in unused:
        yield in_config(
            key,
            f"no line of {path} has the label “{label}”, so no message gets it; write some lines, or remove the label",
        )


# Results are cached, because a file may have thousands of lines and most reloads do not change examples.
@lru_cache(maxsize=256)
def _lines(path: str, data: bytes, labels: Sequence[str]) -> tuple[Sequence[Problem], Sequence[str]]:
    """The problems of a file of examples, and the labels without a line. With problems, the labels are not checked."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return [Problem(path, "is not valid UTF-8", line=line)], ()
    rows = {number: _row(line) for number, line in enumerate(text.split("\n"), 1) if line.strip()}
    if not rows:
        return [Problem(path, "has no examples")], ()
    if found := list(_rows(path, rows, labels)):
        return found, ()
    used = {row["label"] for row in rows.values()}
    return (), [label for label in labels if label not in used and label not in OUT_OF_SCOPE]


def _row(line: str) -> Mapping[str, str]:
    """A line's object with all its keys; empty if the line lacks a valid text or label."""
    try:
        row = cast("object", from_json(line))
    except ValueError:
        return {}
    if not isinstance(row, dict):
        return {}
    found = cast("dict[str, object]", row)
    text, label = found.get("text"), found.get("label")
    whole = isinstance(text, str) and text.strip() and isinstance(label, str) and label
    return cast("dict[str, str]", found) if whole else {}


def _rows(path: str, rows: Mapping[int, Mapping[str, str]], labels: Sequence[str]) -> Iterator[Problem]:
    first = dict[str, tuple[str, int]]()
    for number, row in rows.items():
        if not row:
            yield Problem(path, 'is not a line of the form {"text": "…", "label": "…"}', line=number)
            continue
        text, label = row["text"], row["label"]
        if labels and label not in labels and label not in OUT_OF_SCOPE:
            message = f"the label “{label}” is not one of {quoted(labels)}"
            yield Problem(path, message, suggestion=closest(label, labels), line=number)
            continue
        for name in row:
            if name not in _EXAMPLE_KEYS:
                message = f"there is no key “{name}” here; a line has only {quoted(_EXAMPLE_KEYS)}"
                yield Problem(path, message, suggestion=closest(name, _EXAMPLE_KEYS), line=number)
        intent = "" if label in OUT_OF_SCOPE else label
        other, where = first.setdefault(" ".join(text.split()).casefold(), (intent, number))
        if other != intent:
            cut = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
            yield Problem(
                path,
                f"the text “{cut}” has the label “{label}” here, but another one in line {where}; correct one of them",
                line=number,
            )
