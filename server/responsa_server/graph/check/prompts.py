"""Files that nodes name: prompts that are there, sound, and use what they are offered where they may; examples that can be learnt from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast

from responsa_server.domain.ports.intents import OUT_OF_SCOPE
from responsa_server.graph.check.files import AgentFiles, Surroundings
from responsa_server.graph.check.keys import options_of
from responsa_server.graph.check.memory import Memory
from responsa_server.graph.check.problems import AGENT_FILE, Key, Problem, listed, meant
from responsa_server.graph.config import AgentConfig
from responsa_server.graph.options import Names, Offered, named
from responsa_server.graph.prompts import PromptSet, PromptSource

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
                labels = getattr(options_of(kind.options, table), "intents", ())
                yield from _examples(file, key, given.examples, labels)
            elif file and file not in given.prompts:
                yield Problem(
                    AGENT_FILE,
                    f"there is no prompts/{file}.md, neither here nor among the shared ones",
                    key,
                    meant(file, given.prompts),
                )
            elif file:
                yield from _prompt(
                    prompts, given.prompts[file], file, offered, name, seen, told=role is Names.TEMPLATE
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
    *,
    told: bool,
) -> Iterator[Problem]:
    first = name not in seen
    seen.add(name)
    if broken := prompts.broken.get(name):
        if first:
            for one in broken:
                yield Problem(one.file, f"the template is broken: {one.message}", line=one.line)
        return
    uses, declared = prompts.variables(name), source.front.variables
    if not source.sound:  # told where it was read
        return
    if first:
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


def _examples(path: str, key: Key, examples: Mapping[str, bytes], labels: Sequence[str]) -> Iterator[Problem]:
    data = examples.get(path)
    if data is None:
        yield Problem(AGENT_FILE, f"there is no file {path}", key, meant(path, examples))
        return
    mark = hashlib.sha256(data).digest(), tuple(labels)
    if _SOUND.get(mark) is None:
        found = list(_lines(path, data, labels))
        if not found:
            _SOUND.put(mark, True)
        yield from found


def _lines(path: str, data: bytes, labels: Sequence[str]) -> Iterator[Problem]:
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        yield Problem(path, "is no UTF-8 text", line=data.count(b"\n", 0, error.start) + 1)
        return
    found = 0
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
    if not found:
        yield Problem(path, "has no examples")
