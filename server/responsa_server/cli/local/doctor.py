"""`responsa doctor`: look for what would keep Responsa from running well, and say what helps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import typer

from responsa_server.app.settings import Settings, load
from responsa_server.cli.local.failures import FAILED, reporting
from responsa_server.embedded import EmbeddedError, Finding, Layout, check_port, diagnose
from responsa_server.embedded.lock import PlaceLock
from responsa_server.ingest.sandbox.confinement import SandboxCapabilities, capabilities


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""

    @app.command(name)
    def doctor(
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    ) -> None:  # pyright: ignore[reportUnusedFunction]  # typer keeps it
        """Check this machine and the instance in RESPONSA_HOME; change nothing. Exit code 1 when something is wrong."""
        with reporting():
            findings = examine(load())
        for one in findings:
            if as_json:
                typer.echo(
                    json.dumps({"name": one.name, "ok": one.ok, "detail": one.detail, "remedy": one.remedy})
                )
            else:
                typer.echo(
                    f"{'ok   ' if one.ok else 'WRONG'} {one.name}: {one.detail}"
                    + (f" — {one.remedy}" if one.remedy else "")
                )
        raise typer.Exit(0 if all(one.ok for one in findings) else FAILED)


def examine(settings: Settings) -> Sequence[Finding]:
    """All findings: places and tools, the one port, the sandbox for documents, the page."""
    layout = Layout.of(settings.home)
    findings = list(diagnose(layout))
    findings.append(_port(settings, layout))
    findings.append(sandbox_finding(capabilities(), allow_unconfined=settings.allows_unconfined_parsing))
    built = (settings.page / "index.html").is_file()
    findings.append(
        Finding(
            "page",
            built,
            str(settings.page) if built else "it has not been built",
            "" if built else "run `make up`, which builds it",
        )
    )
    return findings


def sandbox_finding(sandbox: SandboxCapabilities, *, allow_unconfined: bool) -> Finding:
    """What the kernel offers to confine parsers with, and whether documents are read at all."""
    name = "document sandbox"
    if sandbox.complete:
        return Finding(name, True, sandbox.sentence)
    if allow_unconfined:
        remedy = "use a kernel with Landlock and seccomp before reading documents of strangers"
        return Finding(name, False, sandbox.sentence, remedy)
    return Finding(
        name,
        False,
        f"{sandbox.sentence} No documents are read without both.",
        "use a kernel with Landlock and seccomp, or set ingestion.allow_unconfined if you trust every document",
    )


def _port(settings: Settings, layout: Layout) -> Finding:
    if layout.is_home():
        lock = PlaceLock(layout.lock, "Responsa")
        try:
            lock.acquire()
        except EmbeddedError:
            return Finding("port", True, f"{settings.port} is this instance's; it is running")
        lock.release()
    try:
        check_port(settings.listen, settings.port)
    except EmbeddedError as error:
        return Finding("port", False, error.message, error.remedy)
    return Finding("port", True, f"{settings.port} is free")
