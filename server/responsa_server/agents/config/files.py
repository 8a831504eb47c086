"""Reads and checks the files of agents, detects changes, and watches the agents' folders."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import rtoml
import structlog
import watchfiles
from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger

from responsa_server.agents.config.check import AgentFiles, Surroundings, check
from responsa_server.agents.config.content import Content, ContentBroken, content_of, new_version
from responsa_server.agents.config.problems import (
    AGENT_FILE,
    Problem,
    from_validation,
    syntax_problem,
)
from responsa_server.agents.config.standard import own_graph, with_graph
from responsa_server.agents.engine.config import AgentConfig
from responsa_server.agents.engine.prompts import FrontMatter, Partial, PromptSet, PromptSource
from responsa_server.domain.agents import NewVersion
from responsa_server.system.instance import SHIPPED_AGENTS

MAX_FILE_BYTES: Final = 256 * 1024
SHIPPED: Final = SHIPPED_AGENTS
"""The folder with the shipped agents and with `shared`. All agents may use the prompts and examples in `shared`."""
SHARED: Final = "shared"
PROMPTS: Final = "prompts"
EXAMPLES: Final = "examples"

_PARTS: Final = "parts"
_FENCE: Final = "+++"


@dataclass(frozen=True, slots=True)
class PromptFiles:
    """The prompts and partials of a folder, by name, and their problems. examples: the bytes of the files of examples, by
    their paths in the folder.
    """

    prompts: Mapping[str, PromptSource]
    partials: Mapping[str, Partial]
    problems: Sequence[Problem]
    examples: Mapping[str, bytes] = field(default_factory=dict[str, bytes])


@dataclass(frozen=True, slots=True)
class AgentFolder:
    """An agent's files as they were read.

    config: `agent.toml` as plain values, None if it cannot be parsed. problems: the problems found while reading.
    text: the text of `agent.toml`; "" if there is none.
    """

    files: AgentFiles
    config: Mapping[str, object] | None
    problems: Sequence[Problem]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Examination:
    """A folder that was read and checked. config: None if `problems` is not empty."""

    config: AgentConfig | None
    prompts: PromptSet
    problems: Sequence[Problem]


def examine(folder: Path, surroundings: Surroundings, shared: Path | None = None) -> Examination:
    """Read and check an agent's folder. shared: the folder of the shared prompts; None for the
    shipped folder. Raises OSError.
    """
    contents = read(folder, shared)
    config, problems = verify(contents, surroundings)
    return Examination(config, PromptSet(contents.files.prompts, contents.files.partials), problems)


def verify(folder: AgentFolder, surroundings: Surroundings) -> tuple[AgentConfig | None, Sequence[Problem]]:
    """The configuration (None if there is a problem) and the problems.

    The problems of `agent.toml` come first; the others follow by file and line.
    """
    config, all_problems = None, list(folder.problems)
    if folder.config is not None:
        config, problems = check(folder.text, folder.files, surroundings)
        all_problems += problems
    if not all_problems:
        return config, all_problems
    return None, sorted(
        all_problems, key=lambda problem: (problem.file != AGENT_FILE, problem.file, problem.line or 0)
    )


def read(folder: Path, shared: Path | PromptFiles | None = None, identity: str = "") -> AgentFolder:
    """Read an agent's folder. Files that cannot be decoded or parsed are problems; only OSError is raised.

    identity: the agent's id; "" to take the folder's name. For a symbolic link, this is the name of the link and not the
    name of its target.
    """
    if not isinstance(shared, PromptFiles):
        shared = read_shared(shared or SHIPPED / SHARED)
    own = read_prompts(folder, "")
    problems = [*shared.problems, *own.problems]
    examples = {**shared.examples, **_examples(folder, "", problems)}
    config, text = _config(folder, problems)
    files = AgentFiles(
        identity or Path(os.path.abspath(folder)).name,  # noqa: PTH100 - Path.resolve would follow links
        {**shared.prompts, **own.prompts},
        {**shared.partials, **own.partials},
        examples,
    )
    return AgentFolder(files, config, problems, text)


def read_shared(folder: Path) -> PromptFiles:
    """Read the prompts and examples that all agents share. folder: the folder that contains `prompts` and `examples`."""
    prompts = read_prompts(folder, f"{SHARED}/")
    problems = list(prompts.problems)
    examples = _examples(folder, f"{SHARED}/", problems)
    return replace(prompts, problems=problems, examples=examples)


def _examples(folder: Path, prefix: str, problems: list[Problem]) -> Mapping[str, bytes]:
    examples: dict[str, bytes] = {}
    base = folder / EXAMPLES
    for path in sorted(base.rglob("*.jsonl")) if base.is_dir() else ():
        name = path.relative_to(folder).as_posix()
        data = _bytes(path, prefix + name, problems)
        if data is not None:
            examples[name] = data
    return examples


def read_prompts(folder: Path, prefix: str) -> PromptFiles:
    """Read the prompts below `prompts` in this folder. prefix: what stands before the names of files in problems. Raises OSError."""
    problems: list[Problem] = []
    prompts: dict[str, PromptSource] = {}
    partials: dict[str, Partial] = {}
    base = folder / PROMPTS
    for path in sorted(base.rglob("*.md")) if base.is_dir() else ():
        name, file = path.relative_to(base).as_posix(), prefix + path.relative_to(folder).as_posix()
        text = file_text(path, file, problems)
        if text is None:
            continue
        if name.startswith(f"{_PARTS}/"):
            partials[name] = Partial(file, text)
        else:
            prompts[name.removesuffix(".md")] = _prompt(file, text, problems)
    return PromptFiles(prompts, partials, problems)


def _config(folder: Path, problems: list[Problem]) -> tuple[Mapping[str, object] | None, str]:
    path = folder / AGENT_FILE
    if not path.is_file():
        problems.append(Problem(AGENT_FILE, "is missing from the folder"))
        return None, ""
    text = file_text(path, AGENT_FILE, problems)
    if text is None:
        return None, ""
    try:
        config = rtoml.loads(text)
    except rtoml.TomlParsingError as error:
        problems.append(syntax_problem(AGENT_FILE, error, 1))
        return None, text
    filled = with_graph(config)
    problems += own_graph(config, filled)
    return filled, text if filled is config else rtoml.dumps(filled, none_value=None)


def _prompt(file: str, text: str, problems: list[Problem]) -> PromptSource:
    lines = text.split("\n")
    nothing = FrontMatter.model_validate({})
    if lines[0].rstrip() != _FENCE:
        return PromptSource(file, nothing, text)
    end = next((index for index, line in enumerate(lines) if index and line.rstrip() == _FENCE), None)
    if end is None:
        problems.append(Problem(file, f"the front matter does not end with a line “{_FENCE}”", line=1))
        return PromptSource(file, nothing, text, sound=False)
    front = "\n".join(lines[1:end])
    source = PromptSource(file, nothing, "\n".join(lines[end + 1 :]), end + 2, sound=False)
    try:
        front_matter = FrontMatter.model_validate(rtoml.loads(front))
    except rtoml.TomlParsingError as error:
        problems.append(syntax_problem(file, error, 2))
    except ValidationError as error:
        problems.extend(from_validation(error, FrontMatter, file=file))
    else:
        return PromptSource(file, front_matter, source.body, source.body_line)
    return source


def file_text(path: Path, file: str, problems: list[Problem]) -> str | None:
    """A file's text with LF line ends; None, and a problem, if it is too large or not UTF-8. Raises OSError."""
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


def agents_in(folder: Path) -> Iterator[Path]:
    """The agents' folders inside a folder, sorted by name."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and path.name != SHARED and not path.name.startswith((".", "_")):
            yield path


# A second write soon after the first may leave the file's time stamp unchanged. A file that changed less than this time
# ago therefore has no reliable fingerprint.
_STILL_NS: Final = 100_000_000

Fingerprint = Sequence[tuple[str, int, int, int, int]]
"""For each relevant file: its path in the folder, mtime and ctime in nanoseconds, size in bytes, and inode."""


@dataclass(frozen=True, slots=True)
class AgentLocation:
    """An agent's folder. shipped: whether it comes with the server."""

    identity: str
    folder: Path
    shipped: bool


@dataclass(frozen=True, slots=True)
class AgentFolders:
    """The folders that hold agents: the shipped folder and the user's folder. A user's agent entirely replaces a shipped agent
    with the same id.
    """

    users: Path | None = None
    shipped: Path = SHIPPED

    @property
    def shared(self) -> Path:
        """The folder of the prompts that all agents share."""
        return self.shipped / SHARED

    @property
    def roots(self) -> Sequence[Path]:
        return [path for path in (self.shipped, self.users) if path is not None and path.is_dir()]

    def locations(self) -> Mapping[str, AgentLocation]:
        """All agents by id. Raises OSError."""
        locations = {path.name: AgentLocation(path.name, path, True) for path in agents_in(self.shipped)}
        if self.users is not None:
            locations |= {path.name: AgentLocation(path.name, path, False) for path in agents_in(self.users)}
        return dict(sorted(locations.items()))


@dataclass(frozen=True, slots=True)
class ScannedAgent:
    """What a scan found in an agent's files: either `content` and `version`, or `problems`."""

    identity: str
    shipped: bool
    content: Content | None = None
    version: NewVersion | None = None
    problems: Sequence[Problem] = ()


@dataclass(frozen=True, slots=True)
class _Scan:
    location: AgentLocation
    fingerprint: Fingerprint | None
    agent: ScannedAgent


class AgentScanner:
    """Reads the agents whose files have changed. Its methods block. Each process has one scanner, which only one thread
    may use at a time.
    """

    def __init__(self, folders: AgentFolders, surroundings: Surroundings, default: Sequence[str]) -> None:
        self._folders = folders
        self._surroundings = surroundings
        self._default = tuple(default)
        self._scans: Mapping[str, _Scan] = {}
        self._shared: tuple[Fingerprint | None, PromptFiles] | None = None

    @property
    def default(self) -> Sequence[str]:
        """The models that replace “default” in a chain."""
        return self._default

    def use_models(self, models: Sequence[str]) -> bool:
        """Let `default` stand for these models from the next scan on. Returns whether that is a change."""
        if tuple(models) == self._default:
            return False
        self._default = tuple(models)
        self._scans = {}
        return True

    def scan(self) -> Sequence[ScannedAgent]:
        """All agents, by id. Reads only the agents whose own files or shared files have changed.

        Raises OSError if a folder of agents cannot be listed.
        """
        shared, changed = self._read_shared()
        scans: dict[str, _Scan] = {}
        for identity, location in self._folders.locations().items():
            scan = self._scans.get(identity)
            try:
                # The fingerprint is taken before the files are read, so that the next scan finds a change made in between.
                now = fingerprint(location.folder)
                unchanged = scan is not None and (scan.location, scan.fingerprint) == (location, now)
                if scan is None or changed or now is None or not unchanged:
                    scan = _Scan(location, now, self._read(location, shared))
            except OSError as error:
                problem = Problem(AGENT_FILE, f"cannot be read: {error.strerror or error}")
                scan = _Scan(location, None, ScannedAgent(identity, location.shipped, problems=[problem]))
            scans[identity] = scan
        self._scans = scans
        return [scan.agent for scan in scans.values()]

    def _read_shared(self) -> tuple[PromptFiles, bool]:
        folder = self._folders.shared
        now = fingerprint(folder) if folder.is_dir() else ()
        if self._shared is not None and now is not None and self._shared[0] == now:
            return self._shared[1], False
        self._shared = (now, read_shared(folder))
        return self._shared[1], True

    def _read(self, location: AgentLocation, shared: PromptFiles) -> ScannedAgent:
        folder = read(location.folder, shared, location.identity)
        config, problems = verify(folder, self._surroundings)
        if config is None or folder.config is None:
            return ScannedAgent(location.identity, location.shipped, problems=problems)
        content = content_of(folder.config, config, folder.files, self._default, self._surroundings.kinds)
        try:
            version = new_version(content)
        except ContentBroken as error:
            problem = Problem(AGENT_FILE, str(error))
            return ScannedAgent(location.identity, location.shipped, problems=[problem])
        return ScannedAgent(location.identity, location.shipped, content, version)


def fingerprint(folder: Path) -> Fingerprint | None:
    """A value that changes whenever a file in the folder changes.

    None if a file was changed less than 100 ms ago. The caller must then read the folder immediately, and read it once
    more at the next scan. Raises OSError.
    """
    recent = time.time_ns() - _STILL_NS
    stamps: list[tuple[str, int, int, int, int]] = []
    for name, entry in _files(folder):
        try:
            of = entry.stat()
        except FileNotFoundError:  # a temporary file of an editor
            continue
        if max(of.st_mtime_ns, of.st_ctime_ns) > recent:
            return None
        stamps.append((name, of.st_mtime_ns, of.st_ctime_ns, of.st_size, of.st_ino))
    return sorted(stamps)


def _files(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name == AGENT_FILE:
                yield entry.name, entry
            elif entry.name in (PROMPTS, EXAMPLES) and entry.is_dir():
                yield from _below(entry.path, entry.name)


def _below(path: str, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(path) as entries:
        for entry in entries:
            name = f"{prefix}/{entry.name}"
            if entry.is_dir():
                yield from _below(entry.path, name)
            elif entry.name.endswith((".md", ".jsonl")):
                yield name, entry


_DEBOUNCE_MS: Final = 50


class Watch:
    """Calls `changed` shortly after something changes in the folders. Call `start` before use and `close` at the end."""

    def __init__(self, folders: Sequence[Path], changed: Callable[[], None]) -> None:
        self._folders = folders
        self._changed = changed
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._log: FilteringBoundLogger = structlog.get_logger("agents")

    def start(self) -> None:
        """Begin to watch the folders. Returns at once."""
        self._task = asyncio.create_task(self._watch(), name="agents-watch")

    async def close(self) -> None:
        self._stop.set()
        if self._task is not None:
            await self._task
            self._task = None

    async def _watch(self) -> None:
        try:
            changes = watchfiles.awatch(  # pyright: ignore[reportUnknownMemberType]  # its type hints name trio, which is not installed
                *self._folders,
                # Every event starts a scan, whichever file the event names. Scans are cheap, and for a file in a linked
                # folder the event names another path.
                watch_filter=None,
                debounce=_DEBOUNCE_MS,
                stop_event=self._stop,
                recursive=True,
            )
            # This call covers the changes made before the watch began.
            self._changed()
            async for _ in changes:
                self._changed()
        except (OSError, RuntimeError) as error:
            # The system may have no free inotify watches, for example. Agents are still reloaded on request.
            self._log.warning(
                "agents_not_watched",
                error=str(error),
                remedy=(
                    "reload agents with `responsa agents reload`; check that the folders can be read and "
                    "that fs.inotify.max_user_watches is high enough"
                ),
            )
