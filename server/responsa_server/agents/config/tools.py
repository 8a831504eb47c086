"""The tools of this process. Their declarations may change at any time. Implements `Toolbox`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from responsa_server.agents.config.declarations import (
    NAME,
    Declared,
    KindOfTool,
    declare,
    read_tools,
)
from responsa_server.agents.config.problems import Problem, closest
from responsa_server.agents.engine.calling import schema_problem
from responsa_server.domain.people import Principal
from responsa_server.domain.problems import FileProblem
from responsa_server.domain.tools import (
    Allow,
    Candidate,
    Declaration,
    Effect,
    Tool,
    ToolCard,
    ToolEntry,
    ToolUnfit,
)

Make = Callable[[Declaration], Sequence[Tool]]
"""Makes the tools of a declaration. Raises ToolUnfit."""

_PROBLEM_FILE: Final = "{}.toml"
_MOST_FILES: Final = 1000


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A declaration, its tools, and the problems of its file. declaration: None if the file was never valid."""

    name: str
    declaration: Declaration | None
    tools: Sequence[Tool] = ()
    problems: Sequence[FileProblem] = ()


class LiveTools:
    """The declared tools. A declaration with a mistake stays in service as it was when it was last valid. Call
    `release` after `reload`, and `close` at the end.

    folder: the folder with the declarations, or None. shipped: the names of the kinds that have a tool without a
    declaration. report: gets each problem as one line, when it appears.
    """

    def __init__(
        self,
        folder: Path | None,
        kinds: Mapping[str, KindOfTool],
        make: Make,
        shipped: Sequence[str],
        report: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self._kinds = kinds
        self._make = make
        self._shipped = shipped
        self._made: Mapping[str, _Loaded] = {}
        self._retired = list[Tool]()
        self._closing = set[asyncio.Task[None]]()
        self._reported = frozenset[str]()
        self._others: Sequence[tuple[str, int, int]] = ()
        self._report = report

    def reload(self) -> bool:
        """Read the declarations again and make the tools of those that have changed. Blocks. Returns whether a tool or
        a problem has changed. Raises OSError."""
        declared_tools = {shipped_tool.name: shipped_tool for shipped_tool in self._list_shipped()}
        if self.folder is not None:
            declared_tools |= {tool.name: tool for tool in read_tools(self.folder, self._kinds)}
        # A declaration may name other files of the folder, such as a secret or a description of an API.
        others = _others(self.folder)
        same = others == self._others
        before, after = self._made, dict[str, _Loaded]()
        taken = dict[str, str]()
        for name, declaration in sorted(declared_tools.items()):
            new = self._remade(declaration, before.get(name), same=same)
            if clash := next((tool.card.id for tool in new.tools if tool.card.id in taken), ""):
                message = f"its tool “{clash}” has the same name as one of “{taken[clash]}”; rename one of the files"
                new = _Loaded(name, new.declaration, (), [Problem(_file(name), message).file_problem])
            taken |= {tool.card.id: name for tool in new.tools}
            after[name] = new
        live = {id(tool) for entry in after.values() for tool in entry.tools}
        self._retired += [tool for entry in before.values() for tool in entry.tools if id(tool) not in live]
        self._made, self._others = after, others
        # A tool that lacks something is reported once, and not with every question.
        lines = set(map(str, self.problems()))
        for text in sorted(lines - self._reported):
            self._report(text)
        self._reported = frozenset(lines)
        return after != before

    def release(self) -> None:
        """Begin to close the tools that reloads have replaced or removed. Their running calls may finish. Call this in the event loop."""
        retired, self._retired = self._retired, []
        for tool in retired:
            closing = asyncio.create_task(tool.close(), name="tool-close")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all tools, also those that were replaced."""
        self._retired += [tool for entry in self._made.values() for tool in entry.tools]
        self._made = {}
        self.release()
        await asyncio.gather(*self._closing)

    def list_granted(self, names: Sequence[str], caller: Principal, agent: str) -> Sequence[Tool]:
        return [candidate.tool for candidate in self.candidates(names, caller, agent)]

    def candidates(self, names: Sequence[str], caller: Principal, agent: str) -> Sequence[Candidate]:
        candidates = dict[str, Candidate]()
        for wanted in names:
            for name, entry in self._made.items():
                if entry.declaration is None or not entry.declaration.allow.allows(caller, agent):
                    continue
                for tool in entry.tools:
                    if entry.declaration.allow.chosen([wanted], {name, tool.card.id}, tool.effect, agent):
                        candidates.setdefault(tool.card.id, Candidate(tool, entry.declaration.kind))
        return list(candidates.values())

    def endpoint(self, tool: str) -> str:
        """See `Toolbox.endpoint`. The tools that need no declaration are parts of this server."""
        for name, entry in self._made.items():
            if any(tool == each.card.id for each in entry.tools):
                shipped = entry.declaration is not None and entry.declaration.kind in self._shipped
                return "" if shipped else name
        return ""

    def entries(self) -> Sequence[ToolEntry]:
        """Return all tools, ordered by id. A declaration that makes no tool, because of its problems, has an entry too."""
        entries = list[ToolEntry]()
        for name, entry in self._made.items():
            kind = entry.declaration.kind if entry.declaration else ""
            allow = entry.declaration.allow if entry.declaration else Allow()
            seconds = entry.declaration.timeout_seconds if entry.declaration else 0.0
            entries += [
                ToolEntry(
                    tool.card,
                    frozenset({name, tool.card.id}),
                    kind,
                    tool.effect,
                    tool.timeout_seconds,
                    allow,
                    entry.problems,
                )
                for tool in entry.tools
            ]
            if not entry.tools:
                title = entry.declaration.title if entry.declaration else name
                description = entry.declaration.description if entry.declaration else ""
                card = ToolCard(name, description, title=title)
                entries.append(
                    ToolEntry(
                        card,
                        frozenset({name}),
                        kind,
                        Effect.NONE,
                        seconds,
                        allow,
                        entry.problems,
                        usable=False,
                    )
                )
        return sorted(entries, key=lambda entry: entry.card.id)

    @property
    def names(self) -> Collection[str]:
        """The names with which agents may list the tools that can be used."""
        return {name for entry in self.entries() if entry.usable for name in entry.names}

    def problems(self) -> Sequence[FileProblem]:
        """Return all problems, ordered by file."""
        return [problem for entry in self._made.values() for problem in entry.problems]

    def _list_shipped(self) -> Sequence[Declared[Declaration]]:
        tools = list[Declared[Declaration]]()
        for name in self._shipped:
            declaration, problems = declare(name, {"kind": name}, self._kinds)
            tools.append(Declared(name, declaration, problems))
        return tools

    def _remade(self, tool: Declared[Declaration], before: _Loaded | None, *, same: bool) -> _Loaded:
        """The tools of a declaration. same: whether the other files of the folder are as they were."""
        problems = [problem.file_problem for problem in tool.problems]
        if tool.item is None:
            if before is None or before.declaration is None:
                return _Loaded(tool.name, None, (), problems)
            return _Loaded(tool.name, before.declaration, before.tools, problems)
        unchanged = before is not None and before.declaration == tool.item and not before.problems
        if before is not None and unchanged and before.tools and (same or not tool.item.folder):
            return before
        try:
            tools = self._make(tool.item)
            _check(tools, tool.item, self._kinds[tool.item.kind].parameters)
        except ToolUnfit as error:
            return _Loaded(tool.name, tool.item, (), [_unfit(tool, error).file_problem])
        except (
            Exception
        ) as error:  # a description of another system holds anything, and the other tools must stay
            message = f"its tools cannot be made ({type(error).__name__})"
            return _Loaded(tool.name, tool.item, (), [Problem(_file(tool.name), message).file_problem])
        return _Loaded(tool.name, tool.item, tools)


def _unfit(tool: Declared[Declaration], error: ToolUnfit) -> Problem:
    """The problem of a declaration whose tools cannot be made."""
    message = str(error).rstrip(".")
    return Problem(_file(tool.name), message, error.key, closest(error.unknown, error.known))


def _check(tools: Sequence[Tool], declaration: Declaration, parameters: Sequence[str]) -> None:
    """Raises ToolUnfit if a tool has a schema that cannot be used, or another effect than its declaration says.
    parameters: see `KindOfTool`."""
    ids = Counter(tool.card.id for tool in tools)
    for tool in tools:
        if not NAME.fullmatch(tool.card.id):
            raise ToolUnfit(
                f"its tool would be named “{tool.card.id[:100]}”; names have at most 63 of the characters "
                "a-z, 0-9, _ and -, so shorten the file's name or the tool's"
            )
        if ids[tool.card.id] > 1:
            raise ToolUnfit(f"two of its tools would be named “{tool.card.id}”; leave one of them out")
        if declaration.effect is not None and tool.effect is not declaration.effect:
            raise ToolUnfit(
                f"a tool of the kind {declaration.kind} has the effect “{tool.effect.value}”; remove the key effect",
                ("effect",),
            )
        own = tool.card.id.removeprefix(f"{declaration.name}_")
        for schema, key in (
            (tool.card.parameters, [own if parameter == "*" else parameter for parameter in parameters]),
            (tool.card.returns, ["returns"] if parameters else []),
        ):
            if schema is not None and (problem := schema_problem(schema)):
                path = list(problem.path)
                if key != ["returns"]:
                    path = path[1:]  # without “properties”, because the key lists the parameters
                if key:
                    raise ToolUnfit(
                        problem.message, (*key, *path), unknown=problem.unknown, known=problem.known
                    )
                at = f" at {'/'.join(map(str, problem.path))}" if problem.path else ""
                raise ToolUnfit(
                    f"the schema of the tool “{tool.card.id}” is not valid{at}: {problem.message}"
                )


def _others(folder: Path | None) -> Sequence[tuple[str, int, int]]:
    """A value that changes when a file of the folder changes that is not a declaration."""
    if folder is None or not folder.is_dir():
        return ()
    files = list[tuple[str, int, int]]()
    for path in islice(folder.rglob("*"), _MOST_FILES):
        if path.suffix != ".toml" and path.is_file():
            of = path.stat()
            files.append((str(path), of.st_mtime_ns, of.st_size))
    return sorted(files)


def _file(name: str) -> str:
    return _PROBLEM_FILE.format(name)
