"""Checks the files that nodes name: prompts and templates, the variables that they use, and examples. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final, cast

from pydantic_core import from_json

from responsa_server.agents.config.check.flow import options_of
from responsa_server.agents.config.check.inputs import AgentFiles, Surroundings
from responsa_server.agents.config.check.tables import HELD, secrets
from responsa_server.agents.config.problems import (
    SECRET,
    Key,
    Problem,
    closest,
    in_config,
    may_hold_secret,
    quoted,
)
from responsa_server.agents.engine.config import AgentConfig
from responsa_server.agents.engine.node import Names, Offered, named
from responsa_server.agents.engine.prompts import SCHEMAS, USER_LINE, PromptError, PromptSet, PromptSource
from responsa_server.domain.intents import OUT_OF_SCOPE

_EXAMPLE_KEYS: Final = ("text", "label")
_SHOWN: Final = 40

# For suggestions. Whether a filter or a test exists, the template engine says.
FILTERS: Final = (
    *("abs", "attr", "batch", "bool", "capitalize", "chain", "default", "dictsort", "escape", "first"),
    *("float", "format", "groupby", "indent", "int", "items", "join", "last", "length", "lines", "list"),
    *("lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse", "round", "safe"),
    *("select", "selectattr", "slice", "sort", "split", "string", "sum", "title", "tojson", "trim"),
    *("unique", "upper", "urlencode"),
)
TESTS: Final = (
    *("boolean", "defined", "divisibleby", "endingwith", "even", "false", "float", "integer", "iterable"),
    *("lower", "mapping", "none", "number", "odd", "sequence", "startingwith", "string", "true"),
    *("undefined", "upper"),
)

SAMPLES: Final[Mapping[str, object]] = {
    "most": 3,
    "passages": 2,
    "questions": ("What is it?",),
    "categories": ("one", "two"),
    "tags": ("#one",),
    "examples": ({"text": "What is it?", "label": "one"},),
    "quotes": ({"text": "It is here.", "number": 1},),
}
"""Values for the variables that are not texts."""
EMPTY: Final[Mapping[str, object]] = {
    **dict.fromkeys(("persona", "language", "formats", "without_retrieval", "teacher", "title"), ""),
    **dict.fromkeys(("history", "summary", "parameters"), ""),
    "passages": 0,
    "tags": (),
    "quotes": (),
}
"""The variables that may be empty, with their empty values."""
_TEXT: Final = "x"

_OPAQUE: Final = re.compile(r"\{%[-+]?\s*raw\b.*?\bendraw\s*[-+]?%\}|\{#.*?#\}", re.DOTALL)
_TAG: Final = re.compile(r"\{[{%](.*?)[%}]\}", re.DOTALL)
_QUOTED: Final = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'""", re.DOTALL)
_FILTER_OR_TEST: Final = re.compile(
    r"(?:\||\A[-+]?\s*filter\s)\s*(?P<filter>[A-Za-z_]\w*)|\bis\s+(?:not\s+)?(?P<test>[A-Za-z_]\w*)"
)


def prompt_files(config: AgentConfig, given: AgentFiles, surroundings: Surroundings) -> Iterator[Problem]:
    """Problems of the files that nodes name. A file that several nodes name is checked once; one that no node names is not checked."""
    names = {
        name
        for table in config.nodes.values()
        for _, role, name in named(surroundings.kinds[table.kind].options, table.options)
        if role is not Names.EXAMPLES and name in given.prompts
    }
    prompts = PromptSet({name: one for name, one in given.prompts.items() if name in names}, given.partials)
    checked = set[str]()
    for node, table in config.nodes.items():
        kind = surroundings.kinds[table.kind]
        options = options_of(kind, table)
        for place, role, name in named(kind.options, table.options):
            key: Key = ("nodes", node, *place)
            if role is Names.EXAMPLES:
                labels = kind.labels(options) if kind.labels is not None and options is not None else ()
                yield from _examples(name, key, given.examples, labels)
            elif not name and (role is Names.TEMPLATE or kind.needs_model):
                yield in_config(key, "is empty; name a file of the folder prompts, without its .md")
            elif name and name not in given.prompts:
                yield in_config(
                    key,
                    f"there is no prompts/{name}.md, neither here nor among the shared ones",
                    closest(name, given.prompts),
                )
            elif name:
                template = role is Names.TEMPLATE
                if name not in checked:
                    checked.add(name)
                    yield from _file(prompts, name, given.prompts[name])
                    yield from _variables(prompts, name, kind.offers, config.questions, template=template)
                yield from _offered(prompts, name, kind.offers, node, template=template)
        for field, info in kind.options.model_fields.items() if kind.needs_model and options else ():
            if Names.PROMPT in info.metadata and field not in table.options:
                yield in_config(
                    ("nodes", node),
                    f"“{field}” is missing: the file prompts/NAME.md with the model's instructions; it would get the bare question",
                )


def file_secrets(files: AgentFiles) -> Iterator[Problem]:
    """Keys and tokens in prompts, their front matter, partials and examples."""
    texts = [(one.file, one.body, one.body_line) for one in files.prompts.values()]
    texts += [(one.file, one.text, 1) for one in files.partials.values()]
    texts += [(file, data.decode(errors="replace"), 1) for file, data in files.examples.items()]
    for file, text, first_line in texts:
        for found in SECRET.finditer(text) if may_hold_secret(text) else ():
            yield Problem(file, HELD, line=first_line + text.count("\n", 0, found.start()))
    for one in files.prompts.values():
        # A variable may have any name.
        for held in secrets(one.front.model_dump(exclude_unset=True), by_name=False):
            yield replace(held, file=one.file)


def _file(prompts: PromptSet, name: str, source: PromptSource) -> Iterator[Problem]:
    """Problems of a prompt's file that do not depend on the node."""
    lines = source.body.split("\n")
    parted = [place for place, line in enumerate(lines) if line.rstrip() == USER_LINE]
    if not source.body.strip():
        yield Problem(source.file, "is empty; write what is to be said", line=source.body_line)
    for place in parted[1:]:
        yield Problem(
            source.file,
            f"a second line “{USER_LINE}”; the first one, in line {source.body_line + parted[0]}, ends the instructions, so take one of them out",
            line=source.body_line + place,
        )
    if source.front.structured and source.front.structured not in SCHEMAS:
        yield Problem(
            source.file,
            f"there is no schema “{source.front.structured}”; there are {quoted(SCHEMAS)}",
            ("schema",),
            closest(source.front.structured, SCHEMAS),
        )
    for error in prompts.broken.get(name, ()):
        yield Problem(error.file, f"the template is broken: {error.message}", line=error.line)


def _variables(
    prompts: PromptSet, name: str, offers: Offered, questions: Sequence[str], *, template: bool
) -> Iterator[Problem]:
    """Variables that the front matter does not declare; else whether the prompt can be filled in."""
    source = prompts.source(name)
    if name in prompts.broken or not source.sound:  # reported already
        return
    uses, declared = prompts.variables(name), source.front.variables
    if uses.all <= set(declared) & offers.all:
        yield from filling(prompts, name, questions, template=template)
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
    """Variables that the node does not offer, and untrusted ones among the instructions. A template gives a model no instructions."""
    source = prompts.source(name)
    if name in prompts.broken or not source.sound:
        return
    for variable in sorted(set(source.front.variables) - offers.all):
        yield Problem(
            source.file,
            f"declares “{variable}”, which the node “{node}” does not offer; it offers {quoted(sorted(offers.all)) or 'none'}",
            ("variables", variable),
            closest(variable, offers.all),
        )
    for variable in sorted(prompts.variables(name).system & offers.untrusted) if not template else ():
        file, line = prompts.where(name, variable, system=True)
        yield Problem(
            file,
            f"uses “{variable}”, which others have written, among the instructions; it may stand below the line “=== user” alone",
            line=line,
        )


def filling(prompts: PromptSet, name: str, questions: Sequence[str], *, template: bool) -> Iterator[Problem]:
    """Whether a prompt can be filled in for every turn. questions: of the agent; template: whether people read the text, which then must not be empty."""
    found = [*_words(prompts, name), *_members(prompts, name)]
    yield from found or _filled(prompts, name, questions, template=template)


def _words(prompts: PromptSet, name: str) -> Iterator[Problem]:
    """Filters and tests that do not exist. The engine reports one only where the values lead to it."""
    for file, first_line, text in prompts.texts(name):
        visible = _OPAQUE.sub(_blank, text)
        for tag in _TAG.finditer(visible):
            for found in _FILTER_OR_TEST.finditer(_QUOTED.sub(_blank, tag[1])):
                word, test = found["filter"] or found["test"], found["test"] is not None
                if not prompts.knows(word, test=test):
                    yield Problem(
                        file,
                        f"the template is broken: there is no {'test' if test else 'filter'} “{word}”",
                        suggestion=closest(word, TESTS if test else FILTERS),
                        line=first_line + visible.count("\n", 0, tag.start(1) + found.start()),
                    )


def _blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", found[0])


def _members(prompts: PromptSet, name: str) -> Iterator[Problem]:
    uses = prompts.variables(name)
    for member in prompts.members(name):
        variable, _, part = member.partition(".")
        if variable in uses.all:
            file, line = prompts.where(name, member, system=variable in uses.system)
            value = SAMPLES.get(variable, _TEXT)
            kind = "a text" if isinstance(value, str) else "a number" if isinstance(value, int) else "a list"
            yield Problem(
                file,
                f"the template is broken: “{variable}” is {kind} and has no “{part}”; write {{{{ {variable} }}}} alone",
                line=line,
            )


def _filled(prompts: PromptSet, name: str, questions: Sequence[str], *, template: bool) -> Iterator[Problem]:
    """What fails with values like those of a turn: with all, without those that may be empty, and without each of these alone."""
    variables = prompts.variables(name).all
    full = {one: questions if one == "questions" else SAMPLES.get(one, _TEXT) for one in variables}
    optional = sorted(variables & set(EMPTY))
    for empty in ([], optional, *([one] for one in optional)):
        words = " and ".join(f"“{one}”" for one in empty)
        where = f" where {words} {'is' if len(empty) == 1 else 'are'} empty" if empty else ""
        try:
            text = prompts.fill(name, {**full, **{one: EMPTY[one] for one in empty}})
        except PromptError as error:
            why = error.message.replace("`", "“", 1).replace("`", "”", 1)
            message = f"the template is broken: it cannot be filled in{where}: {why}"
            yield Problem(error.file, message, line=error.line)
            return
        if template and not text.strip():
            file = prompts.source(name).file
            yield Problem(file, f"the template says nothing{where}; there must be some text")
            return


def _examples(path: str, key: Key, examples: Mapping[str, bytes], labels: Sequence[str]) -> Iterator[Problem]:
    """Problems of a file of examples. labels: those that its lines may have, and each of which needs a line; none: any."""
    data = examples.get(path)
    if data is None:
        stems = {PurePosixPath(one).stem: one for one in examples}
        suggestion = closest(path, examples) or stems.get(closest(PurePosixPath(path).stem, stems), "")
        yield in_config(key, f"there is no file {path}", suggestion)
        return
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        yield Problem(path, "is no UTF-8 text", line=data.count(b"\n", 0, error.start) + 1)
        return
    rows = {number: _row(line) for number, line in enumerate(text.split("\n"), 1) if line.strip()}
    found = list(_rows(path, rows, labels))
    if not rows:
        found.append(Problem(path, "has no examples"))
    yield from found
    used = {row["label"] for row in rows.values() if row} if not found else labels
    for label in labels:
        if label not in used and label not in OUT_OF_SCOPE:
            yield in_config(
                key,
                f"no line of {path} has the label “{label}”, so nothing would be taken for it; write some, or take it out",
            )


def _row(line: str) -> Mapping[str, str]:
    """A line's text and label with all of its keys; empty for a line of another form."""
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
            yield Problem(path, 'is no line of the form {"text": "…", "label": "…"}', line=number)
            continue
        text, label = row["text"], row["label"]
        if labels and label not in labels and label not in OUT_OF_SCOPE:
            message = f"the label “{label}” is none of {quoted(labels)}"
            yield Problem(path, message, suggestion=closest(label, labels), line=number)
            continue
        for name in row:
            if name not in _EXAMPLE_KEYS:
                message = f"there is no key “{name}” here; a line has {quoted(_EXAMPLE_KEYS)}"
                yield Problem(path, message, suggestion=closest(name, _EXAMPLE_KEYS), line=number)
        intent = "" if label in OUT_OF_SCOPE else label
        other, where = first.setdefault(" ".join(text.split()).casefold(), (intent, number))
        if other != intent:
            cut = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
            yield Problem(
                path,
                f"the text “{cut}” has the label “{label}” here and another one in line {where}; one of them is wrong",
                line=number,
            )
