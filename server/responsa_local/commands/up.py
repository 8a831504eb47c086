"""The command `responsa up`, which runs all of Responsa in the foreground, including a real PostgreSQL, Redis and
Envoy.

This module imports only what starts the parts. What works with the database is in `preparing`, which only the assistant imports.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from responsa_formats.sandbox.confinement import SandboxCapabilities, capabilities
from responsa_local.commands.assistant import Assistant
from responsa_local.commands.envoy import envoy_config
from responsa_local.commands.failures import reporting
from responsa_local.commands.lan import IN_CLEAR, lan_variables
from responsa_local.commands.own_docs import ASKED, OwnDocs
from responsa_local.commands.running import url_of, warnings
from responsa_local.commands.servers import Servers
from responsa_local.embedded import (
    Child,
    EmbeddedEnvoy,
    EmbeddedError,
    EmbeddedPostgres,
    EmbeddedRedis,
    LocalLayout,
    Supervisor,
)
from responsa_local.embedded.doctor import sandbox_finding
from responsa_local.envoy.envoy_config import EnvoyConfig, EnvoyConfigError, render
from responsa_server.app.processes import check_model, processes_of
from responsa_server.app.settings import Settings, environment, load, unknown_variables
from responsa_server.app.vector_stores import open_store
from responsa_server.domain.parts import Health
from responsa_server.domain.passages import VectorStore
from responsa_server.system.instance import MODEL_ANSWERS, MODEL_WINDOW


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""

    @app.command(name)
    def up(  # pyright: ignore[reportUnusedFunction]  # typer keeps it
        repair: Annotated[bool, typer.Option("--repair")] = False,
        lan: Annotated[bool, typer.Option("--lan")] = False,
    ) -> None:
        """Start PostgreSQL, Redis, the server and Envoy, and print a URL when everything is ready. Ctrl-C stops
        everything.

        Args:
            repair: First replace what is missing although the database is intact: create new database
                passwords and a new key that signs tokens. All data stays.
            lan: For a trial in a network that you trust: also listen on this computer's address there,
                without TLS.
        """
        with reporting():
            settings = load()
            if lan:
                # The server's processes read the same variables.
                os.environ.update(lan_variables(settings))
                settings = load()
            code = run(settings, repair=repair, lan=lan)
        raise typer.Exit(code)


def run(settings: Settings, *, repair: bool = False, lan: bool = False) -> int:
    """Run until stopped, and return the exit code. repair: whether to make lost files again first. lan: whether to
    listen on loopback, too. Raises EmbeddedError if the start fails before any part has started."""
    for name in unknown_variables(environment()):
        print(f"{name} is not a setting; docs/settings.md lists all settings.", flush=True)
    if settings.models.default:
        # Imported late, because this module loads the clients of models.
        from responsa_server.app.models import warn_of_spending

        if (spending := warn_of_spending(settings)) is not None:
            print(f"Warning: {': '.join(spending)}.", flush=True)
    if warning := sandbox_warning(settings, capabilities()):
        print(warning, flush=True)
    check_model()
    docs = settings.docs
    if (store := open_store(settings)) is not None and (away := asyncio.run(_away(store))):
        print(away, flush=True)
        docs = None  # loading them would wait for the store
    layout = LocalLayout.of(settings.home, repair=repair)
    listen = (settings.listen, settings.port)
    if repair:
        _repair(settings, layout)
    config = replace(envoy_config(settings, layout.replicas, layout.envoy_admin_socket), also_loopback=lan)

    layout.prepare()
    assistant = Assistant()
    if settings.database_url is not None:
        assistant.run(_await_database, settings, layout)
        assistant.run(_prepare_database, settings, layout)
    plan = processes_of(settings)
    children: list[Child] = []
    if settings.database_url is None:
        sizes = [("max_connections", str(plan.connections)), ("shared_buffers", f"{plan.buffers_mib}MB")]

        def prepare() -> None:
            assistant.run(_prepare_database, settings, layout, repair=repair)

        children.append(Child(EmbeddedPostgres(layout, settings=sizes), on_ready=prepare))
    if settings.redis_url is None:
        children.append(Child(EmbeddedRedis(layout)))
    if settings.models.wants_embedded:
        from responsa_local.embedded.llama import EmbeddedLlama

        children.append(Child(EmbeddedLlama(layout, environment(), MODEL_WINDOW, MODEL_ANSWERS)))

    def write_files() -> None:
        servers.send_to([child.part for child in servers.children])
        layout.port.write_text(f"{settings.port}\n", encoding="ascii")

    # The files are written under the supervisor's lock, because a second start on the same folder must not change the
    # files that the first start uses.
    servers = Servers(settings, layout, plan, write_files)
    children.extend(servers.children)
    children.append(Child(_Envoy(layout, config, assistant, listen=listen, concurrency=plan.envoy_threads)))

    def announce() -> None:
        code, pause = assistant.run(_finish, settings, layout)
        assistant.retire()
        for line in warnings(settings, layout.api_key.read_text(encoding="utf-8").strip()):
            print(line, flush=True)
        print(f"Responsa is ready: {url_of(settings)}/#code={code}", flush=True)
        if lan:
            print(IN_CLEAR, flush=True)
        if pause:
            print(f"{pause}.", flush=True)
        print(
            "The link signs you in once, within ten minutes. `responsa open` prints a new link. Ctrl-C stops Responsa.",
            flush=True,
        )

    def paused() -> bool:
        return assistant.run(_is_paused, settings, layout)

    print(f"Starting Responsa with {plan}; its data is in {layout.home}", flush=True)
    return Supervisor(
        layout,
        children,
        on_ready=announce,
        errand=OwnDocs(
            layout, docs, url_of(settings), paused, () if "docs" in settings.model_fields_set else ASKED
        ),
        routing=servers,
        say=lambda line: print(line, flush=True),
    ).run()


def sandbox_warning(settings: Settings, sandbox: SandboxCapabilities) -> str:
    """What each start says about a kernel without the sandbox of parsers; "" for other kernels."""
    finding = sandbox_finding(sandbox, allow_unconfined=settings.allows_unconfined_parsing)
    return "" if finding.ok else f"Warning: {finding.detail} To change that, {finding.remedy}."


# What the assistant calls.


def _await_database(settings: Settings, layout: LocalLayout) -> None:
    from responsa_local.commands import preparing

    preparing.await_database(settings, layout)


def _prepare_database(settings: Settings, layout: LocalLayout, *, repair: bool = False) -> None:
    from responsa_local.commands import preparing

    preparing.prepare_database(settings, layout, repair=repair)


def _write_envoy_config(path: Path, config: EnvoyConfig) -> None:
    try:
        path.write_text(render(config), encoding="utf-8")
    except EnvoyConfigError as error:
        raise EmbeddedError(str(error), "see docs/install.md") from error


def _is_paused(settings: Settings, layout: LocalLayout) -> bool:
    from responsa_local.commands import preparing

    return preparing.pause_of(settings, layout) is not None


def _finish(settings: Settings, layout: LocalLayout) -> tuple[str, str]:
    from responsa_local.commands import preparing

    code, pause = preparing.finish(settings, layout)
    return code, "" if pause is None else pause.sentence


def _repair(settings: Settings, layout: LocalLayout) -> None:
    """Set new passwords of the embedded PostgreSQL. Raises EmbeddedError."""
    if settings.database_url is not None:
        raise EmbeddedError(
            "There is nothing to repair: the database is that of DATABASE_URL, whose password Responsa does not manage",
            "start without --repair, and check DATABASE_URL",
        )
    from responsa_local.embedded.base_backup import repair

    repair(layout)
    print("The database has new passwords; its data is unchanged.", flush=True)


async def _away(store: VectorStore) -> str:
    """Why a vector store does not answer; "" if it does."""
    try:
        report = await store.check()
    finally:
        await store.close()
    return "" if report.health is Health.OK else report.detail


class _Envoy(EmbeddedEnvoy):
    """Writes its configuration before it starts, while the servers load."""

    def __init__(
        self,
        layout: LocalLayout,
        config: EnvoyConfig,
        assistant: Assistant,
        *,
        listen: tuple[str, int],
        concurrency: int,
    ) -> None:
        super().__init__(layout, layout.envoy_config, listen=listen, concurrency=concurrency)
        self._values = config
        self._assistant = assistant

    def preload(self) -> None:
        self._assistant.run(_write_envoy_config, self.layout.envoy_config, self._values)
