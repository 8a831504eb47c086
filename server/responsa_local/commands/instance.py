"""The commands `responsa doctor`, which checks this machine and its instance, and `responsa purge`, which removes the
instance.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict
from typing import Annotated

import psycopg
import typer

from responsa_formats.sandbox.confinement import capabilities
from responsa_local.commands.failures import FAILED, reporting
from responsa_local.commands.running import health_findings
from responsa_local.embedded import LocalLayout, check_port, purge
from responsa_local.embedded.doctor import Finding, diagnose, runs, sandbox_finding
from responsa_local.embedded.purge import places
from responsa_server.app.models import model_table, open_reranker, warn_of_spending
from responsa_server.app.processes import processes_of
from responsa_server.app.resources import database_urls, pools_of, reason_of, refusal
from responsa_server.app.settings import Settings, SettingsError, load
from responsa_server.cli.output import echo
from responsa_server.domain.errors import ResponsaError
from responsa_server.domain.parts import Health
from responsa_server.identity.programs import reaches_public_hosts
from responsa_server.outbound.connector import Connector
from responsa_server.stores.postgres.pause import PauseState, PostgresPause
from responsa_server.stores.redis import RedisPart
from responsa_server.system.fixable import Fixable
from responsa_server.system.instance import OLDEST_POSTGRES, model_folder
from responsa_server.system.machine import visible


def register(app: typer.Typer, name: str) -> None:
    """Add the command `name`: doctor or purge."""
    app.command(name)({"doctor": doctor, "purge": remove}[name])


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """Check this machine and the instance in RESPONSA_HOME without changing anything. A running instance is asked for
    the health of its parts.

    Exit codes: 0 all checks passed, 1 at least one check failed.
    """
    with reporting():
        findings = examine(load())
    for finding in findings:
        if as_json:
            echo(json.dumps(asdict(finding)))
        else:
            remedy = f" — {finding.remedy}" if finding.remedy else ""
            verdict = ("warn " if finding.remedy else "ok   ") if finding.ok else "WRONG"
            echo(f"{verdict} {finding.name}: {finding.detail}{remedy}")
    raise typer.Exit(0 if all(finding.ok for finding in findings) else FAILED)


def remove(
    yes: Annotated[bool, typer.Option("--yes", help="Remove the instance without asking.")] = False,
) -> None:
    """Remove the data folder and the instance's other folders, with the database, documents, keys and logs. This cannot
    be undone.
    """
    with reporting():
        layout = LocalLayout.of(load().home, repair=True)
        paths = places(layout)
        if paths and not yes:
            echo("This permanently removes:\n" + "\n".join(f"  {path}" for path in paths))
            typer.confirm("Continue?", abort=True)
        gone = purge(layout)
        echo(
            "\n".join(f"removed {path}" for path in gone)
            or f"Nothing to remove: {layout.home} does not exist."
        )


def examine(settings: Settings) -> Sequence[Finding]:
    """Return all findings about the folders and programs, the installation's own database and Redis, the port, the
    parts of the running instance, the sandbox for documents, and the page.
    """
    layout = LocalLayout.of(settings.home)
    own = {
        "DATABASE_URL": settings.database_url,
        "DATABASE_APP_URL": settings.database_app_url,
        "DATABASE_LOG_URL": settings.database_log_url,
    }
    findings = diagnose(layout, postgres=settings.database_url is None, redis=settings.redis_url is None)
    if settings.database_url is not None:
        findings.extend(_database(name, url.get_secret_value()) for name, url in own.items() if url)
    if settings.redis_url is not None:
        findings.append(_redis(settings.redis_url.get_secret_value()))
    findings.extend(_pause(settings, layout))
    machine = visible()
    findings.append(
        Finding(
            "processes",
            True,
            f"`responsa up` starts {processes_of(settings)} for {machine.cpus} processors and {machine.memory_bytes >> 20} MB of memory",
        )
    )
    findings.extend(_port(settings, layout))
    findings.extend(_egress(settings))
    findings.append(sandbox_finding(capabilities(), allow_unconfined=settings.allows_unconfined_parsing))
    weights = model_folder()
    findings.append(
        Finding(
            "embedding model",
            weights is not None,
            str(weights or "its weights are not installed"),
            "" if weights else "run `responsa setup`, which installs them",
        )
    )
    built = (settings.page / "index.html").is_file()
    findings.append(
        Finding(
            "page",
            built,
            str(settings.page) if built else "it has not been built",
            "" if built else "run `make up`, which builds it",
        )
    )
    if settings.retrieval.reranker:
        findings.append(reranker_finding(settings))
    if (spending := warn_of_spending(settings)) is not None:
        findings.append(Finding("quotas", True, *spending))
    return findings


def reranker_finding(settings: Settings) -> Finding:
    """Return the finding that states whether the reranking model of the settings can be used. Asks no server."""

    async def connect() -> None:
        async with AsyncExitStack() as stack:
            models = model_table(settings.models)
            stack.push_async_callback(models.close)
            await open_reranker(settings.retrieval.reranker, settings.models, models, 1, stack)

    try:
        asyncio.run(connect())
    except SettingsError as error:
        remedy = (
            "correct retrieval.reranker (RESPONSA_RETRIEVAL__RERANKER); docs/retrieval.md shows the names"
        )
        return Finding("reranker", False, str(error), remedy)
    return Finding("reranker", True, settings.retrieval.reranker)


def _database(name: str, url: str) -> Finding:
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            version = connection.info.server_version // 10000
            row = connection.execute(
                "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
            ).fetchone()
    except psycopg.OperationalError as error:
        return Finding(
            name,
            False,
            f"the database cannot be reached: {reason_of(error)}",
            f"check {name}, and that PostgreSQL runs",
        )
    if version < OLDEST_POSTGRES:
        remedy = f"name a database in PostgreSQL {OLDEST_POSTGRES} or newer"
        return Finding(name, False, f"the database is in a PostgreSQL {version}", remedy)
    if row is None:
        remedy = "ask a superuser to run CREATE EXTENSION vector in it once (pgvector 0.8 or newer)"
        return Finding(name, False, "the database has no extension vector", remedy)
    return Finding(name, True, f"PostgreSQL {version} with pgvector {row[0]}")


def _pause(settings: Settings, layout: LocalLayout) -> Sequence[Finding]:
    """The pause after a restore, if the database can be reached and has one."""

    async def state() -> PauseState | None:
        async with pools_of(settings, layout) as pools:
            return await PostgresPause(pools).state()

    # Other findings name what is wrong with the database.
    with suppress(Fixable, ResponsaError, psycopg.Error):
        urls = database_urls(settings, layout)
        # A pool would wait for half a minute.
        reached = not any(map(refusal, (urls.app, urls.log)))
        if reached and (pause := asyncio.run(state())) is not None:
            waits = f"this instance was restored from a backup and is paused: {pause.waiting} wait"
            return [
                Finding(
                    "restore", True, waits, "run `responsa activate` if the original instance no longer runs"
                )
            ]
    return []


def _redis(url: str) -> Finding:
    report = asyncio.run(RedisPart(url).check())
    if report.health is Health.OK:
        return Finding("REDIS_URL", True, f"Redis {report.version}")
    return Finding("REDIS_URL", False, report.detail)  # the detail names the remedy


def _egress(settings: Settings) -> Generator[Finding]:
    """Whether documents of programs that people connect can be fetched."""
    if settings.programs.documents and not settings.programs.allow_private:
        reached = asyncio.run(reaches_public_hosts(Connector()))
        detail = (
            "public hosts answer" if reached else "no public host answers, so programs register themselves"
        )
        yield Finding("documents of programs", True, detail)


def _port(settings: Settings, layout: LocalLayout) -> Sequence[Finding]:
    """Whether the port is free; of a running instance, which port it uses, and the health of its parts."""
    if runs(layout):
        text = layout.port.read_text(encoding="ascii").strip() if layout.port.is_file() else ""
        used = int(text) if text.isdigit() else settings.port
        port = Finding("port", True, f"this instance is running and uses {used}")
        return [port, *health_findings(settings, layout, used)]
    try:
        check_port(settings.listen, settings.port)
    except Fixable as error:
        return [Finding("port", False, error.message, error.remedy)]
    return [Finding("port", True, f"{settings.port} is free")]
