"""Reads an agent's folder, and checks what was read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import rtoml
from pydantic import ValidationError

from responsa_server.agents.config.check import AgentFiles, Surroundings, check
from responsa_server.agents.config.positions import placed
from responsa_server.agents.config.problems import AGENT_FILE, Problem, from_validation
from responsa_server.agents.engine.config import AgentConfig
from responsa_server.agents.engine.prompts import FrontMatter, Partial, PromptSet, PromptSource
from responsa_server.instance import SHIPPED_AGENTS

MAX_FILE_BYTES: Final = 256 * 1024
SHIPPED: Final = SHIPPED_AGENTS
"""The folder of the shipped agents, and of `shared`, whose prompts all agents may use."""
SHARED: Final = "shared"
PROMPTS: Final = "prompts"
EXAMPLES: Final = "examples"

_PARTS: Final = "parts"
_FENCE: Final = "+++"
_AT: Final = re.compile(r"^(?P<message>.*) at line (?P<line>\d+) column (?P<column>\d+)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PromptFiles:
    """The prompts and partials of a folder, by name, and their problems. texts: the front matters by file, each with the number of its first line."""

    prompts: Mapping[str, PromptSource]
    partials: Mapping[str, Partial]
    problems: Sequence[Problem]
    texts: Mapping[str, tuple[str, int]]


@dataclass(frozen=True, slots=True)
class AgentFolder:
    """An agent's files as read.

    config: `agent.toml` as plain values, None if it cannot be parsed; problems: found while reading; texts: TOML by file, each with the number of its first
    line, to look up the lines of keys.
    """

    files: AgentFiles
    config: Mapping[str, object] | None
    problems: Sequence[Problem]
    texts: Mapping[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])


@dataclass(frozen=True, slots=True)
class Examined:
    """A folder that was read and checked. config: None with any problem."""

    config: AgentConfig | None
    prompts: PromptSet
    problems: Sequence[Problem]


def examine(folder: Path, surroundings: Surroundings, shared: Path | None = None) -> Examined:
    """Read and check an agent's folder. shared: a folder to take the shared prompts from, None for the shipped one. Raises OSError."""
    found = read(folder, shared)
    config, problems = checked(found, surroundings)
    return Examined(config, PromptSet(found.files.prompts, found.files.partials), problems)


def checked(folder: AgentFolder, surroundings: Surroundings) -> tuple[AgentConfig | None, Sequence[Problem]]:
    """The configuration, None with any problem, and the problems with their lines: those of `agent.toml` first, then by file and line."""
    config, found = None, list(folder.problems)
    if folder.config is not None:
        config, problems = check(folder.texts[AGENT_FILE][0], folder.files, surroundings)
        found += problems
    if not found:
        return config, found
    return None, sorted(placed(found, folder.texts), key=_order)


def read(folder: Path, shared: Path | PromptFiles | None = None, identity: str = "") -> AgentFolder:
    """Read an agent's folder. Files that cannot be decoded or parsed are problems; only OSError is raised.

    identity: the agent's id, "" for the folder's name. The name of a symbolic link is taken as it is, not that of its target.
    """
    if not isinstance(shared, PromptFiles):
        shared = read_shared(shared or SHIPPED / SHARED)
    own = _prompts(folder, "")
    problems, texts = [*shared.problems, *own.problems], {**shared.texts, **own.texts}
    examples: dict[str, bytes] = {}
    base = folder / EXAMPLES
    for path in sorted(base.rglob("*.jsonl")) if base.is_dir() else ():
        name = path.relative_to(folder).as_posix()
        data = _bytes(path, name, problems)
        if data is not None:
            examples[name] = data
    config = _config(folder, problems, texts)
    files = AgentFiles(
        identity or Path(os.path.abspath(folder)).name,  # noqa: PTH100 - Path.resolve would follow links
        {**shared.prompts, **own.prompts},
        {**shared.partials, **own.partials},
        examples,
    )
    return AgentFolder(files, config, problems, texts)


def read_shared(folder: Path) -> PromptFiles:
    """Read the prompts that all agents share. folder: the one that holds `prompts`."""
    return _prompts(folder, f"{SHARED}/")


def _prompts(folder: Path, prefix: str) -> PromptFiles:
    problems: list[Problem] = []
    texts: dict[str, tuple[str, int]] = {}
    prompts: dict[str, PromptSource] = {}
    partials: dict[str, Partial] = {}
    base = folder / PROMPTS
    for path in sorted(base.rglob("*.md")) if base.is_dir() else ():
        name, file = path.relative_to(base).as_posix(), prefix + path.relative_to(folder).as_posix()
        text = _text(path, file, problems)
        if text is None:
            continue
        if name.startswith(f"{_PARTS}/"):
            partials[name] = Partial(file, text)
        else:
            prompts[name.removesuffix(".md")] = _prompt(file, text, problems, texts)
    return PromptFiles(prompts, partials, problems, texts)


def _config(
    folder: Path, problems: list[Problem], texts: dict[str, tuple[str, int]]
) -> Mapping[str, object] | None:
    path = folder / AGENT_FILE
    if not path.is_file():
        problems.append(Problem(AGENT_FILE, "is missing from the folder"))
        return None
    text = _text(path, AGENT_FILE, problems)
    if text is None:
        return None
    texts[AGENT_FILE] = (text, 1)
    try:
        return rtoml.loads(text)
    except rtoml.TomlParsingError as error:
        problems.append(_syntax(AGENT_FILE, error, 1))
        return None


def _prompt(file: str, text: str, problems: list[Problem], texts: dict[str, tuple[str, int]]) -> PromptSource:
    lines = text.split("\n")
    nothing = FrontMatter.model_validate({})
    if lines[0].rstrip() != _FENCE:
        return PromptSource(file, nothing, text)
    end = next((place for place, line in enumerate(lines) if place and line.rstrip() == _FENCE), None)
    if end is None:
        problems.append(Problem(file, f"the front matter does not end with a line “{_FENCE}”", line=1))
        return PromptSource(file, nothing, text, sound=False)
    front = "\n".join(lines[1:end])
    texts[file] = (front, 2)
    source = PromptSource(file, nothing, "\n".join(lines[end + 1 :]), end + 2, sound=False)
    try:
        found = FrontMatter.model_validate(rtoml.loads(front))
    except rtoml.TomlParsingError as error:
        problems.append(_syntax(file, error, 2))
    except ValidationError as error:
        problems.extend(from_validation(error, FrontMatter, file=file))
    else:
        return PromptSource(file, found, source.body, source.body_line)
    return source


def _syntax(file: str, error: rtoml.TomlParsingError, first_line: int) -> Problem:
    if (found := _AT.match(str(error))) is None:
        return Problem(file, f"is not valid TOML: {error}")
    return Problem(
        file,
        f"is not valid TOML: {found['message']}",
        line=int(found["line"]) + first_line - 1,
        column=int(found["column"]),
    )


def _text(path: Path, file: str, problems: list[Problem]) -> str | None:
    data = _bytes(path, file, problems)
    if data is None:
        return None
    try:
        return data.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        problems.append(Problem(file, "is not valid UTF-8", line=data.count(b"\n", 0, error.start) + 1))
        return None


def _bytes(path: Path, file: str, problems: list[Problem]) -> bytes | None:
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        problems.append(
            Problem(file, f"has {size:,} bytes; an agent's file may have at most {MAX_FILE_BYTES:,}")
        )
        return None
    return path.read_bytes()


def _order(problem: Problem) -> tuple[bool, str, int, int]:
    return problem.file != AGENT_FILE, problem.file, problem.line or 0, problem.column or 0


def agents_in(folder: Path) -> Iterator[Path]:
    """The folders of agents in a folder, by name."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and path.name != SHARED and not path.name.startswith((".", "_")):
            yield path
