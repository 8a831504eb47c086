"""Reads and checks the owner's declarations of connections, `CONNECTIONS_FOLDER/NAME.toml`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from responsa_etl.domain import DatabaseConnection, SourceConnection, WebConnection
from responsa_server.agents.config.declarations import Declared, SecretTable, read_declarations, read_raw
from responsa_server.agents.config.problems import Problem, from_validation
from responsa_server.agents.engine.config import Table, Texts
from responsa_server.domain.notifications import Webhook
from responsa_server.domain.rows import build
from responsa_server.domain.tools import SecretPlace
from responsa_server.outbound.addresses import OutboundError, origin_of, read_allowed

_HOST: Final = r"^([A-Za-z0-9]([A-Za-z0-9.:-]{0,252})|/[A-Za-z0-9_./-]{1,100})$"
_SERVER_KEYS: Final = ("host", "port", "database", "user", "password")
WEB: Final = "web"
_WEBSITE_KEYS: Final = ("sites", "allow_private", "delay", "pages", "page_bytes")
_Keys = TypeVar("_Keys", bound=Table)
_Granted = TypeVar("_Granted", SourceConnection, Webhook)


def _private_hosts(value: Texts) -> Texts:
    try:
        read_allowed(value)
    except OutboundError as error:
        raise ValueError(str(error)) from None
    return value


PrivateHosts = Annotated[Texts, AfterValidator(_private_hosts)]
"""Hosts and networks that may be reached although their addresses are not public."""


class ConnectionTable(Table):
    """The keys of a declaration."""

    kind: Literal["postgresql", "mysql", "sqlite", "web"] = Field(
        description="The database, where `mysql` is MariaDB too; or `web` for websites."
    )
    tenants: Texts = Field(
        min_length=1, description='The tenants that may use the connection; `["*"]` means all.'
    )
    host: str = Field(
        "",
        description="The server's name or address; for PostgreSQL also the folder of its socket.",
    )
    port: int = Field(
        0, ge=0, le=65535, description="The server's port; 0 means the usual one: 5432, or 3306 for `mysql`."
    )
    database: str = Field("", max_length=128, description="The name of the database.")
    user: str = Field(
        "", max_length=128, description="The user. It must not have the right to change anything."
    )
    password: SecretTable | None = Field(
        None,
        description=(
            'Where the password is: `{ env = "NAME" }` or `{ file = "NAME" }`; a relative path '
            "begins at the connections' folder. Unset: no password."
        ),
    )
    tls: Literal["verify", "require", "off"] = Field(
        "verify",
        description=(
            "`verify`: encrypted, and the server's certificate must be valid. `require`: encrypted "
            "only. `off`: no encryption and no certificate, for a server on this machine."
        ),
    )
    file: str = Field(
        "",
        max_length=128,
        description="For `sqlite`: the name of the file, which is in the connections' folder.",
    )
    seconds: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="The time limit of each query, including the transfer of its result; for `web`, of each request.",
    )
    rows: int = Field(100_000, ge=1, le=5_000_000, description="The maximum number of rows of each query.")
    columns: int = Field(100, ge=1, le=1000, description="The maximum number of columns of each query.")
    sites: Texts = Field(
        (),
        description=(
            "For `web`: the sites that may be read, such as `https://docs.example.org`, with a port "
            "if it is not the usual one. Redirects to other sites are not followed."
        ),
    )
    allow_private: PrivateHosts = Field(
        (),
        description="For `web`: hosts and networks of the organisation that may be reached although their addresses are not public.",
    )
    delay: float = Field(
        1.0,
        ge=0,
        le=60,
        description=(
            "For `web`: the seconds of pause between two requests to a host. A longer `Crawl-delay` "
            "in its robots.txt, up to a minute, takes its place."
        ),
    )
    pages: int = Field(
        10_000, ge=1, le=100_000, description="For `web`: the maximum number of pages of a source."
    )
    page_bytes: int = Field(
        8 << 20, ge=1, le=64 << 20, description="For `web`: the maximum number of bytes of a page."
    )

    @field_validator("sites")
    @classmethod
    def _origins(cls, value: Texts) -> Texts:
        for site in value:
            try:
                if str(origin_of(site)) != site.rstrip("/").lower():
                    raise OutboundError(
                        f"“{site}” must be a scheme and a host, such as https://docs.example.org"
                    )
            except OutboundError as error:
                raise ValueError(str(error)) from None
        return value

    @model_validator(mode="after")
    def _fits_its_kind(self) -> ConnectionTable:
        if self.kind == WEB:
            if not self.sites:
                raise ValueError("“sites” is missing: name the sites that may be read")
            if self.file or any(getattr(self, of_server) for of_server in _SERVER_KEYS):
                raise ValueError("websites have no file, host, port, database, user or password")
        elif others := sorted(self.model_fields_set.intersection(_WEBSITE_KEYS)):
            raise ValueError(f"“{others[0]}” is for the kind “{WEB}”")
        elif self.kind == "sqlite":
            if not self.file:
                raise ValueError("“file” is missing: name the database's file in this folder")
            if any(getattr(self, of_server) for of_server in _SERVER_KEYS):
                raise ValueError(
                    "an SQLite database has a file, and no host, port, database, user or password"
                )
        elif self.file:
            raise ValueError("“file” is for SQLite; name host, database and user")
        elif not re.match(_HOST, self.host):
            raise ValueError("“host” must be the name or address of a server, not a URL")
        elif self.kind == "mysql" and self.host.startswith("/"):
            raise ValueError("“host” must be the name or address of a server")
        elif not self.database or not self.user:
            raise ValueError("needs database and user")
        return self


def read_connections(folder: Path) -> Sequence[Declared[SourceConnection]]:
    """The declared connections in a folder, as `read_declarations` reads them."""
    return read_declarations(folder, _read)


def read_table(
    path: Path, model: type[_Keys], noun: str, find_problem: Callable[[_Keys], Problem | None]
) -> tuple[_Keys | None, Sequence[Problem]]:
    """The keys of a declaration, or None and its problems. noun: what the file declares, such as "connection".
    find_problem: finds a problem that `model` does not find. Blocks. Raises OSError."""
    problems = list[Problem]()
    raw, _ = read_raw(path, noun, problems)
    if raw is None or problems:
        return None, problems
    try:
        table = model.model_validate(raw)
    except ValidationError as error:
        # A kind that is not there is another product, however similar its name.
        return None, [
            replace(problem, suggestion="") if problem.key == ("kind",) else problem
            for problem in from_validation(error, model, file=path.name)
        ]
    problem = find_problem(table)
    return (table, []) if problem is None else (None, [problem])


async def list_granted(
    read: Callable[[Path], Sequence[Declared[_Granted]]], folder: Path, tenant_id: str
) -> Sequence[_Granted]:
    """What a folder declares without mistakes and grants to a tenant."""
    try:
        declarations = await asyncio.to_thread(read, folder)
    except OSError:
        return []
    items = (declaration.item for declaration in declarations)
    return [item for item in items if item is not None and item.granted(tenant_id)]


def _read(path: Path) -> Declared[SourceConnection]:
    def find_problem(table: ConnectionTable) -> Problem | None:
        problem = _find_file_problem(path.parent, table.file) if table.file else ""
        return Problem(path.name, problem, ("file",)) if problem else None

    name = path.stem
    table, problems = read_table(path, ConnectionTable, "connection", find_problem)
    if table is None:
        return Declared(name, None, problems)
    if table.kind == WEB:
        return Declared(name, build(WebConnection, dict(table), name=name))
    secret = None if table.password is None else SecretPlace(table.password.env, table.password.file)
    file = str((path.parent / table.file).resolve()) if table.file else ""
    return Declared(name, build(DatabaseConnection, dict(table), name=name, file=file, password=secret))


def _find_file_problem(folder: Path, file: str) -> str:
    """Why an SQLite file may not be read; "" if it may."""
    path = folder / file
    if file != Path(file).name or path.is_symlink():
        return "must be the name of a file in the connections' folder, without folders and links"
    return "" if path.is_file() else "there is no such file in the connections' folder"


class DeclaredConnections:
    """The declared connections. Declarations are read at each use, so a change applies at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def find(self, tenant_id: str, name: str) -> SourceConnection | None:
        """The connection with this name; None if it is not declared, its declaration has mistakes, or it is not granted to the tenant."""
        return next((usable for usable in await self._usable(tenant_id) if usable.name == name), None)

    async def list_granted(self, tenant_id: str) -> Sequence[str]:
        return [connection.name for connection in await self._usable(tenant_id)]

    async def _usable(self, tenant_id: str) -> Sequence[SourceConnection]:
        return await list_granted(read_connections, self._folder, tenant_id)
