"""Reads and checks the owner's declarations of tools, `TOOLS_FOLDER/NAME.toml`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Generic, Literal, Protocol, TypeVar

import rtoml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from responsa_server.agents.config.files import file_text
from responsa_server.agents.config.problems import (
    SECRET,
    Problem,
    closest,
    from_validation,
    quote,
    syntax_problem,
)
from responsa_server.agents.engine.config import Table, Texts
from responsa_server.domain.people import Role
from responsa_server.domain.tools import TOOL_SECONDS, Allow, Declaration, Effect, SecretPlace

NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_SUFFIX: Final = ".toml"
Item = TypeVar("Item")


class AllowTable(Table):
    """`allow`: who may use the tool."""

    tenants: Texts = Field((), description="The tenants that may use the tool; empty: all.")
    roles: Annotated[tuple[Literal["user", "admin", "service"], ...], Field(strict=False)] = Field(
        (), description="The roles of users that may use the tool; empty: all."
    )
    agents: Texts = Field((), description="The agents that may use the tool; empty: all.")


class SecretTable(Table):
    """A secret: where it stands."""

    env: str = Field(
        "", description="The name of the server's environment variable whose value is the secret."
    )
    file: str = Field(
        "", description="The file that holds the secret; a relative path begins at the tools' folder."
    )

    @model_validator(mode="after")
    def _one_place(self) -> SecretTable:
        if bool(self.env) == bool(self.file):
            raise ValueError("needs either env or file")
        return self


class DeclarationTable(BaseModel):
    """The keys that every declaration may have. All others are keys of its kind."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    kind: str = Field(description="One of the kinds that are listed below.")
    title: str = Field(
        "",
        max_length=100,
        description="The name that people see, for example in “Calling the weather…”; empty: the kind's own title, or the file's name.",
    )
    description: str = Field(
        "",
        max_length=4000,
        description="What the tool does and when to use it, for a model; empty: the kind's own description.",
    )
    effect: Literal["none", "idempotent", "once"] | None = Field(
        None,
        description=(
            "What a call changes. “none”: nothing. “idempotent”: a repeated call with the same key "
            "has no further effect. “once”: every call has an effect, so a call with an unknown "
            "outcome is never repeated. Unset: the kind's own."
        ),
    )
    timeout: float = Field(
        TOOL_SECONDS, gt=0, le=600, description="The maximum number of seconds for one call."
    )
    max_bytes: int = Field(
        1 << 20,
        ge=1024,
        le=16 << 20,
        description="The maximum number of bytes that the tool reads of a response.",
    )
    allow: AllowTable = Field(
        AllowTable.model_validate({}), description="Who may use the tool; unset: everybody."
    )
    secrets: Mapping[str, SecretTable] = Field(
        default_factory=dict[str, SecretTable],
        description="The secrets of this tool, by the names that its other keys use. The file itself contains no secret.",
    )

    @property
    def options(self) -> Mapping[str, Any]:
        return self.__pydantic_extra__ or {}


class KindOfTool(Protocol):
    """What the check needs of a kind of tools. options: the model of the kind's own keys."""

    @property
    def options(self) -> type[BaseModel]: ...

    @property
    def effect(self) -> Effect | None:
        """The effect of a declaration without one; None if each declaration must name it."""
        ...

    @property
    def title(self) -> str:
        """The title of a declaration without one; "" for the file's name."""
        ...

    @property
    def description(self) -> str:
        """The description of a declaration without one."""
        ...

    @property
    def parameters(self) -> Sequence[str]:
        """The path of the key under which a declaration describes the parameters of a tool; `*` stands for the tool's
        name after the declaration's. Empty if no key does."""
        ...


@dataclass(frozen=True, slots=True)
class Declared(Generic[Item]):
    """A file of a folder of declarations: what it declares, or its problems."""

    name: str
    item: Item | None
    problems: Sequence[Problem] = ()


def read_declarations(folder: Path, read: Callable[[Path], Declared[Item]]) -> Sequence[Declared[Item]]:
    """The declarations in a folder, by name. Empty if the folder is missing. read: reads a file. Blocks. Raises OSError."""
    return [read(path) for path in sorted(folder.glob(f"*{_SUFFIX}")) if path.is_file()]


def read_raw(path: Path, noun: str, problems: list[Problem]) -> tuple[Mapping[str, Any] | None, str]:
    """A declaration as plain values, and the text of its file. None if it cannot be read; `problems` has all that was
    found. noun: what the file declares, such as "tool". Blocks. Raises OSError."""
    if not NAME.fullmatch(path.stem):
        message = (
            f"the name “{path.stem}” is not a valid name of a {noun}: use at most 63 lower-case letters, "
            "digits, “-” and “_”, with a letter first"
        )
        problems.append(Problem(path.name, message))
    text = file_text(path, path.name, problems)
    if text is None:
        return None, ""
    try:
        return rtoml.loads(text), text
    except rtoml.TomlParsingError as error:
        problems.append(syntax_problem(path.name, error, 1))
        return None, text


def read_tools(folder: Path, kinds: Mapping[str, KindOfTool]) -> Sequence[Declared[Declaration]]:
    """The declared tools in a folder, as `read_declarations` reads them."""
    return read_declarations(folder, lambda path: _read(path, kinds))


def _read(path: Path, kinds: Mapping[str, KindOfTool]) -> Declared[Declaration]:
    name, problems = path.stem, list[Problem]()
    raw, text = read_raw(path, "tool", problems)
    if raw is None:
        return Declared(name, None, problems)
    declaration, wrong = declare(name, raw, kinds, path.parent)
    problems += wrong
    for line, content in enumerate(text.split("\n"), 1):
        if SECRET.search(content):
            message = "has a secret; name the place of the secret in [secrets], and remove it here"
            problems.append(Problem(path.name, message, line=line))
    return Declared(name, None, problems) if problems else Declared(name, declaration)


def declare(
    name: str, raw: Mapping[str, Any], kinds: Mapping[str, KindOfTool], folder: Path | None = None
) -> tuple[Declaration | None, Sequence[Problem]]:
    """The declaration with this name, or its problems. raw: the file as plain values. folder: the folder of the file;
    None if there is no file."""
    file = f"{name}{_SUFFIX}"
    try:
        table = DeclarationTable.model_validate(raw)
    except ValidationError as error:
        problems = from_validation(error, DeclarationTable, file=file)
        return None, [
            _without_kind(raw, kinds, file) if "kind" not in raw and problem.key == ("kind",) else problem
            for problem in problems
        ]
    kind = kinds.get(table.kind)
    if kind is None:
        message = f"there is no kind of tool “{table.kind}”; there are {quote(sorted(kinds))}"
        return None, [Problem(file, message, ("kind",), closest(table.kind, kinds))]
    if kind.effect is None and table.effect is None:
        message = f"is missing: for a tool of the kind {table.kind}, say what a call changes"
        return None, [Problem(file, message, ("effect",))]
    known = [*DeclarationTable.model_fields, *_keys(kind.options)]
    try:
        options = kind.options.model_validate(dict(table.options))
    except ValidationError as error:
        unknown = f"the kind {table.kind} has no key “{{}}”"
        return None, list(from_validation(error, kind.options, known=known, unknown=unknown, file=file))
    return (
        Declaration(
            name,
            table.kind,
            table.title or kind.title or name,
            table.description or kind.description,
            options,
            Effect(table.effect) if table.effect else None,
            table.timeout,
            table.max_bytes,
            Allow(table.allow.tenants, tuple(Role(role) for role in table.allow.roles), table.allow.agents),
            {key: SecretPlace(secret.env, secret.file) for key, secret in table.secrets.items()},
            str(folder) if folder else "",
        ),
        [],
    )


def _without_kind(raw: Mapping[str, Any], kinds: Mapping[str, KindOfTool], file: str) -> Problem:
    """The problem of a declaration that has no key `kind`, or has it under a wrong name."""
    own = {*DeclarationTable.model_fields, *(key for kind in kinds.values() for key in _keys(kind.options))}
    if wrong := closest("kind", [key for key in raw if key not in own]):
        return Problem(file, "“kind” is missing, and no declaration has this key", (wrong,), "kind")
    return Problem(file, f"“kind” is missing; set it to one of {quote(sorted(kinds))}", ("kind",))


def _keys(model: type[BaseModel]) -> Sequence[str]:
    return [info.alias or name for name, info in model.model_fields.items()]
