"""Files that nodes name: prompts that are there, sound, and use what they are offered where they may; examples that can be learnt from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final, cast

from responsa_server.agents.config.check.files import AgentFiles, Surroundings
from responsa_server.agents.config.check.filling import filling
from responsa_server.agents.config.check.keys import options_of
from responsa_server.agents.config.check.memory import Memory
from responsa_server.agents.config.check.problems import AGENT_FILE, Key, Problem, listed, meant
from responsa_server.agents.engine.config import AgentConfig, NodeTable
from responsa_server.agents.engine.options import Names, Offered, named
from responsa_server.agents.engine.prompts import SCHEMAS, USER_LINE, PromptSet, PromptSource
from responsa_server.agents.engine.registry import Kind
from responsa_server.domain.ports.intents import OUT_OF_SCOPE

_KEYS: Final = ("text", "label")
_SHOWN: Final = 40
_SOUND: Final = Memory[tuple[bytes, tuple[str, ...]], bool](1024)
"""Files of examples without a problem: their SHA-256, and the labels that they may have."""


def files(config: AgentConfig, given: AgentFiles, surroundings: Surroundings) -> Iterator[Problem]:
    """Problems of the files that nodes name, each file's own told once."""
    # The shared ones that no node names are not looked at.
    prompts = PromptSet(
        {name: given.prompts[name] for name in _prompts(config, given, surroundings)}, given.partials
    )
    seen = set[str]()
    for name, table in config.nodes.items():
        kind = surroundings.kinds[table.kind]
        offered = Offered(kind.offers.trusted | surroundings.trusted, kind.offers.untrusted)
        for place, role, file in named(kind.options, table.options):
            key: Key = ("nodes", name, *place)
            if role is Names.EXAMPLES:
                options = options_of(kind.options, table)
                labels = kind.labels(options) if kind.labels is not None and options is not None else ()
                yield from _examples(file, key, given.examples, labels)
            elif not file and (role is Names.TEMPLATE or kind.needs_model):
                yield Problem(AGENT_FILE, "is empty; name a file of the folder prompts, without its .md", key)
            elif file and file not in given.prompts:
                yield Problem(
                    AGENT_FILE,
                    f"there is no prompts/{file}.md, neither here nor among the shared ones",
                    key,
                    meant(file, given.prompts),
                )
            elif file:
                yield from _prompt(
                    prompts,
                    given.prompts[file],
                    file,
                    offered,
                    name,
                    seen,
                    config.questions,
                    told=role is Names.TEMPLATE,
                )
        if kind.needs_model:
            yield from _unprompted(name, kind, table)


def _unprompted(name: str, kind: Kind, table: NodeTable) -> Iterator[Problem]:
    """A node that asks a model, and does not say with what."""
    # With options that are wrong it may be one of them, misspelt.
    sound = options_of(kind.options, table) is not None
    for field, info in kind.options.model_fields.items() if sound else ():
        if Names.PROMPT in info.metadata and field not in table.options:
            yield Problem(
                AGENT_FILE,
                f"“{field}” is missing: the file prompts/NAME.md with the model's instructions; it would get the bare question",
                ("nodes", name),
            )


def _prompts(config: AgentConfig, given: AgentFiles, surroundings: Surroundings) -> Sequence[str]:
    """The prompts that nodes name and that are there, each once."""
    each = (
        name
        for table in config.nodes.values()
        for _, role, name in named(surroundings.kinds[table.kind].options, table.options)
        if role is not Names.EXAMPLES
    )
    return [name for name in dict.fromkeys(each) if name in given.prompts]


def _prompt(
    prompts: PromptSet,
    source: PromptSource,
    name: str,
    offered: Offered,
    node: str,
    seen: set[str],
    questions: Sequence[str],
    *,
    told: bool,
) -> Iterator[Problem]:
    first = name not in seen
    seen.add(name)
    if first:
        yield from _file(source)
    if broken := prompts.broken.get(name):
        if first:
            for one in broken:
                yield Problem(one.file, f"the template is broken: {one.message}", line=one.line)
        return
    uses, declared = prompts.variables(name), source.front.variables
    if not source.sound:  # told where it was read
        return
    if first:
        used = uses.system | uses.user
        # What is not there cannot be filled in; that is told below.
        if used <= set(declared) & offered.all:
            yield from filling(prompts, name, used, questions, told=told)
        for variable in sorted((uses.system | uses.user) - set(declared)):
            file, line = prompts.where(name, variable, system=variable in uses.system)
            yield Problem(
                file,
                f"uses “{variable}”, which the front matter of {source.file} does not declare",
                (),
                meant(variable, declared),
                line,
            )
    for variable in sorted(set(declared) - offered.all):
        yield Problem(
            source.file,
            f"declares “{variable}”, which the node “{node}” does not offer; it offers {listed(sorted(offered.all)) or 'none'}",
            ("variables", variable),
            meant(variable, offered.all),
        )
    if told:  # for people: no part of it gives orders to a model
        return
    for variable in sorted(uses.system & offered.untrusted):
        file, line = prompts.where(name, variable, system=True)
        yield Problem(
            file,
            f"uses “{variable}”, which others have written, among the instructions; it may stand below the line “=== user” alone",
            line=line,
        )


def _file(source: PromptSource) -> Iterator[Problem]:
    """What is wrong with a prompt's file whoever uses it."""
    if not source.body.strip():
        yield Problem(source.file, "is empty; write what is to be said", line=source.body_line)
        return
    lines = source.body.split("\n")
    parted = [place for place, line in enumerate(lines) if line.rstrip() == USER_LINE]
    for place in parted[1:]:
        yield Problem(
            source.file,
            f"a second line “{USER_LINE}”; the first one, in line {source.body_line + parted[0]}, ends the instructions, so take one of them out",
            line=source.body_line + place,
        )
    if source.front.structured and source.front.structured not in SCHEMAS:
        yield Problem(
            source.file,
            f"there is no schema “{source.front.structured}”; there are {listed(SCHEMAS)}",
            ("schema",),
            meant(source.front.structured, SCHEMAS),
        )


def _examples(path: str, key: Key, examples: Mapping[str, bytes], labels: Sequence[str]) -> Iterator[Problem]:
    data = examples.get(path)
    if data is None:
        yield Problem(AGENT_FILE, f"there is no file {path}", key, _file_meant(path, examples))
        return
    mark = hashlib.sha256(data).digest(), tuple(labels)
    if _SOUND.get(mark) is None:
        found = list(_lines(path, data, labels))
        yield from found
        if not found:
            unseen = list(_unseen(path, data, labels, key))
            yield from unseen
            if not unseen:
                _SOUND.put(mark, True)


def _file_meant(path: str, examples: Mapping[str, bytes]) -> str:
    """The file of examples that was probably meant: by its whole path, or by its name alone."""
    if close := meant(path, examples):
        return close
    stems = {PurePosixPath(one).stem: one for one in examples}
    close = meant(PurePosixPath(path).stem, stems)
    return stems[close] if close else ""


def _unseen(path: str, data: bytes, labels: Sequence[str], key: Key) -> Iterator[Problem]:
    """Labels without an example. The lines are sound."""
    found = {json.loads(line)["label"] for line in data.decode().split("\n") if line.strip()}
    for label in labels:
        if label not in found and label not in OUT_OF_SCOPE:
            yield Problem(
                AGENT_FILE,
                f"no line of {path} has the label “{label}”, so nothing would be taken for it; write some, or take it out",
                key,
            )


def _lines(path: str, data: bytes, labels: Sequence[str]) -> Iterator[Problem]:
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        yield Problem(path, "is no UTF-8 text", line=data.count(b"\n", 0, error.start) + 1)
        return
    found, first = 0, dict[str, tuple[str, int]]()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found += 1
        try:
            one: object = json.loads(line)
        except ValueError:
            one = None
        row = cast("dict[str, object]", one) if isinstance(one, dict) else {}
        text, label = row.get("text"), row.get("label")
        if not (isinstance(text, str) and text.strip() and isinstance(label, str) and label):
            yield Problem(path, 'is no line of the form {"text": "…", "label": "…"}', line=number)
        elif labels and label not in labels and label not in OUT_OF_SCOPE:
            yield Problem(
                path, f"the label “{label}” is none of {listed(labels)}", (), meant(label, labels), number
            )
        else:
            for name in row:
                if name not in _KEYS:
                    yield Problem(
                        path,
                        f"there is no key “{name}” here; a line has {listed(_KEYS)}",
                        (),
                        meant(name, _KEYS),
                        number,
                    )
            same, kind = " ".join(text.split()).casefold(), "" if label in OUT_OF_SCOPE else label
            other, where = first.setdefault(same, (kind, number))
            if other != kind:
                yield Problem(
                    path,
                    f"the text “{_cut(text)}” has the label “{label}” here and another one in line {where}; one of them is wrong",
                    line=number,
                )
    if not found:
        yield Problem(path, "has no examples")


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
