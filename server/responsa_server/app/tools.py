"""The tools of this server: the kinds that it has, and the parts that they are made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import structlog

from responsa_formats.parsers.table import HTML
from responsa_formats.rejections import ParserUnavailable, Rejected
from responsa_formats.sandbox.pool import ParserPool
from responsa_server.agents.config.tools import LiveTools
from responsa_server.app.settings import Settings, environment
from responsa_server.domain.answers import EvidenceSource
from responsa_server.domain.tools import Declaration, SecretPlace, Tool, ToolUnfit
from responsa_server.outbound.connector import Connector
from responsa_server.tools.kinds import ToolContext
from responsa_server.tools.table import KINDS

_MOST_SECRET_BYTES = 16 * 1024


def live_tools(
    settings: Settings,
    evidence: EvidenceSource,
    connector: Connector,
    parser: ParserPool,
) -> LiveTools:
    """Return the tools, which `reload` reads. evidence: the search in the documents. parser: reads HTML pages in a sandbox."""

    async def read_html(data: bytes) -> str:
        try:
            return (await parser.parse(data, known_format=HTML.name)).canonical_text
        except (Rejected, ParserUnavailable) as error:
            raise ValueError(str(error)) from error

    folder = make_folder(settings.tools_folder, "tools")
    parts = ToolContext(
        evidence,
        secret=lambda source: read_secret(source, folder),
        connector=connector,
        read_html=read_html,
    )
    return tools_of(folder, parts)


def _log_problem(problem: str) -> None:
    structlog.get_logger("tools").warning("tool_problem", problem=problem)


def tools_of(
    folder: Path | None, parts: ToolContext, report: Callable[[str], None] = _log_problem
) -> LiveTools:
    """Return the tools of a folder, which `reload` reads. report: gets each problem when it appears."""

    def make(declaration: Declaration) -> list[Tool]:
        return list(KINDS[declaration.kind].make(declaration, declaration.options, parts))

    shipped = [name for name, kind in KINDS.items() if kind.shipped]
    return LiveTools(folder, KINDS, make, shipped, report)


def check_tools(folder: Path) -> LiveTools:
    """Return the tools of a folder with their problems, without a server."""
    unasked = cast("EvidenceSource", object())  # a check makes tools and calls none
    parts = ToolContext(unasked, secret=lambda source: read_secret(source, folder))
    tools = tools_of(folder, parts, report=lambda _: None)  # the caller asks for the problems
    tools.reload()
    return tools


def make_folder(folder: Path, what: str) -> Path:
    """Return a folder of declarations. A missing folder is created, so that it can be watched. what: the declarations' name."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        structlog.get_logger(what).warning(f"{what}_folder_missing", folder=str(folder), error=str(error))
    return folder


def read_secret(source: SecretPlace, folder: Path) -> str:
    """Return a secret, without white space around it. folder: where relative paths begin. Raises ToolUnfit if it is missing."""
    if source.env:
        if value := environment().get(source.env, "").strip():
            return value
        raise ToolUnfit(
            f"The environment variable {source.env} is not set; set it, and start the server again."
        )
    path = folder / source.file
    try:
        with path.open("rb") as file:
            value = file.read(_MOST_SECRET_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ToolUnfit(f"The file {source.file} cannot be read ({type(error).__name__}).") from None
    if not value:
        raise ToolUnfit(f"The file {source.file} is empty; write the secret into it.")
    return value
