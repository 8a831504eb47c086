"""The declaration of an MCP server: its keys, and the descriptions of its tools to which the owner agreed, in `NAME.pinned.json`."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from pydantic import Field

from responsa_server.domain.tools import Declaration, ToolUnfit
from responsa_server.outbound.connector import ReachableHosts
from responsa_server.tools.endpoint import AllowPrivate, Auth, ToolCredential, Url, credential_of, reach_of
from responsa_server.tools.kinds import ToolContext, ToolOptions

PINNED_SUFFIX: Final = ".pinned.json"
MOST_TOOLS: Final = 200
MOST_OBJECTS: Final = 10_000
"""The maximum number of objects in a response: the library makes a model of each on the event loop."""


class McpOptions(ToolOptions):
    """The keys of a declaration with `kind = "mcp"`."""

    url: Url | None = Field(
        default=None, description="The server's address for Streamable HTTP. Set either `url` or `command`."
    )
    command: list[str] = Field(
        default=[],
        max_length=100,
        description=(
            "The program of a server that speaks over its standard input and output, and its "
            "arguments. Give the program as an absolute path."
        ),
    )
    environment: dict[str, str] = Field(
        default={},
        description="The program's environment variables. The program gets no variables of Responsa's own environment.",
    )
    secret_environment: dict[str, str] = Field(
        default={},
        description="Further environment variables of the program, whose values are secrets: for each variable, the name of its secret.",
    )
    memory_mb: int = Field(
        default=1024, ge=64, le=65_536, description="The maximum size of the program's address space, in MiB."
    )
    tools: list[str] = Field(
        default=[], max_length=MOST_TOOLS, description="The server's tools to offer, by name; empty: all."
    )
    auth: Auth | None = Field(default=None, description="How a call over HTTP authenticates itself.")
    allow_private: AllowPrivate = ()


@dataclass(frozen=True, slots=True)
class Pinned:
    """What the owner agreed to: a tool as its server described it."""

    name: str
    title: str
    description: str
    parameters: Mapping[str, object]
    returns: Mapping[str, object] | None

    @property
    def digest(self) -> str:
        """A hash of everything that a model may see, and of the forms of arguments and results."""
        parts = [self.name, self.title, self.description, self.parameters, self.returns]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def path_of_pins(declaration: Declaration) -> Path:
    """The file with the descriptions that the owner agreed to."""
    return Path(declaration.folder) / f"{declaration.name}{PINNED_SUFFIX}"


def read_pinned(declaration: Declaration) -> Sequence[Pinned]:
    """Read the descriptions that the owner agreed to. Raises ToolUnfit."""
    path = path_of_pins(declaration)
    remedy = f"run “responsa tools trust {declaration.name}”"
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
        entries = cast("list[dict[str, Any]]", cast("dict[str, Any]", content)["tools"])
        pins = [
            Pinned(
                str(entry["name"]),
                str(entry["title"]),
                str(entry["description"]),
                entry["parameters"],
                entry["returns"],
            )
            for entry in entries
        ]
        good = all(pin.digest == entry["sha256"] for pin, entry in zip(pins, entries, strict=True))
    except FileNotFoundError:
        raise ToolUnfit(f"nobody has agreed to the descriptions of its tools; {remedy}") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ToolUnfit(f"{path.name} cannot be read; {remedy}") from error
    if not good:
        raise ToolUnfit(f"{path.name} was changed by hand; {remedy}")
    return pins


def write_pinned(declaration: Declaration, tools: Sequence[Pinned]) -> Path:
    """Write the descriptions to which the owner agrees, and return the file's path. Raises OSError."""
    entries = [
        {
            "name": tool.name,
            "title": tool.title,
            "description": tool.description,
            "parameters": tool.parameters,
            "returns": tool.returns,
            "sha256": tool.digest,
        }
        for tool in tools
    ]
    path = path_of_pins(declaration)
    path.write_text(json.dumps({"tools": entries}, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return path


@dataclass(frozen=True, slots=True)
class McpTarget:
    """A declaration's server and what is needed to reach it. reach: what a connection may reach; None for a program.
    environment: all variables of the program."""

    declaration: Declaration
    options: McpOptions
    credential: ToolCredential
    reach: ReachableHosts | None
    environment: Mapping[str, str]
    parts: ToolContext

    def __repr__(self) -> str:
        return f"McpTarget({self.declaration.name!r})"


def target_of(declaration: Declaration, options: McpOptions, parts: ToolContext) -> McpTarget:
    """Check a declaration. Raises ToolUnfit."""
    if bool(options.url) == bool(options.command):
        wrong = (
            "has both url and command; remove one of them" if options.url else "needs either url or command"
        )
        raise ToolUnfit(wrong, ("command",) if options.url else ())
    credential = credential_of(options.auth, declaration, parts)
    if options.url:
        reach = reach_of(options.url, options.allow_private, credential)
        return McpTarget(declaration, options, credential, reach, {}, parts)
    _check_program(options.command[0])
    secrets = {
        variable: parts.secret_of(declaration, name, ("secret_environment", variable))
        for variable, name in options.secret_environment.items()
    }
    return McpTarget(declaration, options, credential, None, {**options.environment, **secrets}, parts)


def _check_program(program: str) -> None:
    """Raises ToolUnfit if this is not the path of a program."""
    path = Path(program)
    if not path.is_absolute():
        where = shutil.which(program)
        wrong = "is not an absolute path; write " + (f"“{where}”" if where else "where the program is")
    elif not path.exists():
        wrong = "does not exist on this machine; install the program, or correct the path"
    elif not shutil.which(program):
        wrong = "is not a program that this user may run; name a program, or make the file executable"
    else:
        return
    raise ToolUnfit(f"“{program}” {wrong}", ("command", 0))
