"""A version of an agent as bytes: all that shapes its answers and nothing else, the same bytes from the same files on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from responsa_server.agents.config.check import AgentFiles
from responsa_server.agents.engine.config import DEFAULT_MODEL, EXTRACTIVE, AgentConfig
from responsa_server.agents.engine.options import Names, named
from responsa_server.agents.engine.prompts import FrontMatter, Partial, PromptSource, included
from responsa_server.agents.engine.registry import KINDS, Kind
from responsa_server.domain.ports.agent_versions import NewVersion

ENGINE: Final = 1
"""Raised when `graph/` makes something else of the same files: turns that were begun by the old code are finished by the old code."""
MOST_BYTES: Final = 4 * 1024 * 1024


class ContentBroken(ValueError):
    """Bytes are no version that this code can run; the message says why."""


class _Prompt(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    front: FrontMatter
    body: str
    line: int


class Content(BaseModel):
    """What a version is made of. config: `agent.toml` as plain values, what was left out of it and is the server's own filled in; chain: models, resolved.

    prompts, partials: those that its nodes use; examples: likewise, as text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    agent: str
    config: dict[str, Any]
    chain: tuple[str, ...]
    prompts: Annotated[dict[str, _Prompt], Field(default_factory=dict)]
    partials: Annotated[dict[str, tuple[str, str]], Field(default_factory=dict)]
    examples: Annotated[dict[str, str], Field(default_factory=dict)]

    def sources(self) -> Mapping[str, PromptSource]:
        """The prompts as they were read."""
        return {
            name: PromptSource(one.file, one.front, one.body, one.line) for name, one in self.prompts.items()
        }

    def parts(self) -> Mapping[str, Partial]:
        """The partials as they were read."""
        return {name: Partial(file, text) for name, (file, text) in self.partials.items()}


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the server says where an agent does not. models: what “default” in a chain stands for; history_messages, seconds: of `[history]`, `[limits]`."""

    models: Sequence[str] = ()
    history_messages: int = 10
    seconds: float = 60.0


def content_of(
    raw: Mapping[str, object],
    config: AgentConfig,
    files: AgentFiles,
    defaults: Defaults,
    kinds: Mapping[str, Kind] = KINDS,
) -> Content:
    """The version that sound files make. raw: `agent.toml` as plain values; config: as its model."""
    prompts: dict[str, PromptSource] = {}
    examples: dict[str, str] = {}
    for table in config.nodes.values():
        kind = kinds[table.kind]
        given = kind.options.model_validate(table.options).model_dump()
        for _, role, name in named(kind.options, given):
            if role is Names.EXAMPLES and name in files.examples:
                examples[name] = files.examples[name].decode()
            elif role is not Names.EXAMPLES and name in files.prompts:
                prompts[name] = files.prompts[name]
    return Content(
        agent=files.identity,
        config=_filled(raw, defaults),
        chain=resolved(config.model.chain, defaults.models),
        prompts={
            name: _Prompt(file=one.file, front=one.front, body=one.body, line=one.body_line)
            for name, one in prompts.items()
        },
        partials={
            name: (one.file, one.text) for name, one in _reached(prompts.values(), files.partials).items()
        },
        examples=examples,
    )


def resolved(chain: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
    """The models of a chain in the order they are asked, each once; none where extractive is all there is."""
    flat = [one for name in chain for one in (default if name == DEFAULT_MODEL else (name,))]
    return tuple(dict.fromkeys(one for one in flat if one != EXTRACTIVE))


def packed(content: Content) -> bytes:
    """Canonical: keys in order, no spaces, UTF-8."""
    plain = content.model_dump(mode="json", by_alias=True)
    return json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def unpacked(data: bytes) -> Content:
    """What was packed. Raises ContentBroken."""
    try:
        return Content.model_validate_json(data)
    except ValidationError as error:
        raise ContentBroken(str(error).splitlines()[0]) from error


def new_version(content: Content) -> NewVersion:
    """To be kept, under a number. Raises ContentBroken when it is too large."""
    data = packed(content)
    if len(data) > MOST_BYTES:
        raise ContentBroken(
            f"its files have {len(data):,} bytes together; an agent has at most {MOST_BYTES:,}"
        )
    # With the engine: what another one makes of the same files is another version, with a number of its own.
    digest = hashlib.sha256(b"engine %d\n" % ENGINE + data).digest()
    return NewVersion(content.agent, ENGINE, digest, data)


def _filled(raw: Mapping[str, object], defaults: Defaults) -> dict[str, Any]:
    """The time limit stays as it is: it is the server's business, not the answer's."""
    given = raw.get("history")
    history: dict[str, object] = dict(given) if isinstance(given, Mapping) else {}  # pyright: ignore[reportUnknownArgumentType] - of texts
    return {**raw, "history": {"messages": defaults.history_messages, **history}}


def _reached(prompts: Iterable[PromptSource], partials: Mapping[str, Partial]) -> Mapping[str, Partial]:
    found: dict[str, Partial] = {}
    left = [name for one in prompts for name in included(one.body)]
    while left:
        name = left.pop()
        if name not in found and name in partials:
            found[name] = partials[name]
            left += included(partials[name].text)
    return found
