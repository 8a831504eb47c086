"""A version of an agent as bytes: all data that shapes its answers, and no other data. The same files give
the same bytes on every machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from responsa_server.agents.config.check import AgentFiles
from responsa_server.agents.engine.config import DEFAULT_MODEL, PASSAGES, AgentConfig
from responsa_server.agents.engine.kinds import NodeKind
from responsa_server.agents.engine.node import FileKind, option_files
from responsa_server.agents.engine.prompts import FrontMatter, Partial, PromptSource, list_includes
from responsa_server.agents.nodes.table import KINDS
from responsa_server.domain.agents import NewVersion

ENGINE: Final = 1
"""The number of the code that runs versions. Increase it when the code begins to run the same files differently."""
MOST_BYTES: Final = 4 * 1024 * 1024


class ContentBroken(ValueError):
    """This code cannot read a version's bytes, or the version is too large. The message gives the reason."""


class _Prompt(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    front: FrontMatter
    body: str
    line: int


class Content(BaseModel):
    """The parts of a version.

    config: `agent.toml` as plain values, with the server's defaults filled in. chain: the models as `provider:model`, in order.
    prompts, partials, examples: the files that the nodes use, by name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    agent: str
    config: dict[str, Any]
    chain: tuple[str, ...]
    prompts: Annotated[dict[str, _Prompt], Field(default_factory=dict)]
    partials: Annotated[dict[str, tuple[str, str]], Field(default_factory=dict)]
    examples: Annotated[dict[str, str], Field(default_factory=dict)]

    def sources(self) -> Mapping[str, PromptSource]:
        return {
            name: PromptSource(one.file, one.front, one.body, one.line) for name, one in self.prompts.items()
        }

    def parts(self) -> Mapping[str, Partial]:
        return {name: Partial(file, text) for name, (file, text) in self.partials.items()}


def content_of(
    raw: Mapping[str, object],
    config: AgentConfig,
    files: AgentFiles,
    models: Sequence[str],
    kinds: Mapping[str, NodeKind] = KINDS,
) -> Content:
    """The version of an agent whose files have no problems. raw: `agent.toml` as plain values. config: `agent.toml` as its model. models:
    those that replace “default” in a chain."""
    prompts: dict[str, PromptSource] = {}
    examples: dict[str, str] = {}
    for table in config.nodes.values():
        kind = kinds[table.kind]
        options = kind.options.model_validate(table.options)
        both = [options, *(further for _, further in kind.list_uses(options))]
        for _, role, name in (file for part in both for file in option_files(type(part), part.model_dump())):
            if role is FileKind.EXAMPLES and name in files.examples:
                examples[name] = files.examples[name].decode()
            elif role is not FileKind.EXAMPLES and name in files.prompts:
                prompts[name] = files.prompts[name]
    return Content(
        agent=files.identity,
        config=dict(raw),
        chain=resolve(config.model.chain, models),
        prompts={
            name: _Prompt(file=prompt.file, front=prompt.front, body=prompt.body, line=prompt.body_line)
            for name, prompt in prompts.items()
        },
        partials={
            name: (part.file, part.text) for name, part in _reach(prompts.values(), files.partials).items()
        },
        examples=examples,
    )


def resolve(chain: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
    """The models of a chain in the order in which they are asked, without repetitions. Empty if the chain holds only “passages”."""
    flat = [model for name in chain for model in (default if name == DEFAULT_MODEL else (name,))]
    return tuple(dict.fromkeys(model for model in flat if model != PASSAGES))


def pack(content: Content) -> bytes:
    """The content as canonical JSON: sorted keys, no spaces, UTF-8."""
    plain = content.model_dump(mode="json", by_alias=True)
    return json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def unpack(data: bytes) -> Content:
    """The content from the bytes of `pack`. Raises ContentBroken."""
    try:
        return Content.model_validate_json(data)
    except ValidationError as error:
        raise ContentBroken(str(error).splitlines()[0]) from error


def new_version(content: Content) -> NewVersion:
    """The version to register. Raises ContentBroken if it is larger than MOST_BYTES."""
    data = pack(content)
    if len(data) > MOST_BYTES:
        raise ContentBroken(
            f"its files have {len(data):,} bytes together; an agent may have at most {MOST_BYTES:,}"
        )
    # The hash includes the engine's number, so that the same files are a new version for a new engine.
    digest = hashlib.sha256(b"engine %d\n" % ENGINE + data).digest()
    return NewVersion(content.agent, ENGINE, digest, data)


def _reach(prompts: Iterable[PromptSource], partials: Mapping[str, Partial]) -> Mapping[str, Partial]:
    reached: dict[str, Partial] = {}
    left = [name for prompt in prompts for name in list_includes(prompt.body)]
    while left:
        name = left.pop()
        if name not in reached and name in partials:
            reached[name] = partials[name]
            left += list_includes(partials[name].text)
    return reached
