"""The command `responsa up`, which runs all of Responsa in the foreground, including a real PostgreSQL, Redis and
Envoy.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

import psycopg
import typer

from responsa_server.app.listening import AddressTaken
from responsa_server.app.resources import (
    bring_up_to_date,
    build_index,
    check_model,
    database_urls,
    ensure_administrator,
    identity_of,
    pools_of,
    processes_of,
    reason_of,
    targets_folder,
)
from responsa_server.app.settings import Settings, environment, load, unknown_variables
from responsa_server.app.vector_stores import open_store
from responsa_server.app.waiting import Reaching, reached
from responsa_server.cli.local.admin import say_waiting
from responsa_server.cli.local.envoy import envoy_config
from responsa_server.cli.local.failures import reporting
from responsa_server.cli.local.instance import sandbox_finding
from responsa_server.cli.local.own_docs import OwnDocs
from responsa_server.cli.local.servers import Servers
from responsa_server.confinement import SandboxCapabilities, capabilities
from responsa_server.domain.addresses import TcpAddress
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.parts import Health
from responsa_server.domain.passages import VectorStore
from responsa_server.embedded import (
    Child,
    EmbeddedEnvoy,
    EmbeddedError,
    EmbeddedPostgres,
    EmbeddedPrometheus,
    EmbeddedRedis,
    Layout,
    Supervisor,
)
from responsa_server.embedded.base_backup import repair as repair_cluster
from responsa_server.embedded.envoy import check_port
from responsa_server.envoy.envoy_config import EnvoyConfig, EnvoyConfigError, render
from responsa_server.instance import alert_rules
from responsa_server.stores.postgres.migrate import MigrationError, waiting
from responsa_server.stores.postgres.pause import PauseState, PostgresPause
from responsa_server.stores.postgres.vectors import drop_unused_index

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  only compared


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""

    @app.command(name)
    def up(  # pyright: ignore[reportUnusedFunction]  # typer keeps it
        observe: Annotated[
            bool,
            typer.Option(
                "--observe", help="Also start Prometheus, which reads metrics and evaluates alerts."
            ),
        ] = False,
        repair: Annotated[
            bool,
            typer.Option(
                "--repair",
                help="First make what is missing beside an intact database: new passwords of the database, and a new key that signs tokens. All data stay.",
            ),
        ] = False,
    ) -> None:
        """Start PostgreSQL, Redis, the server and Envoy, and print a URL when everything is ready. Ctrl-C stops
        everything.
        """
        with reporting():
            settings = load()
            code = run(settings, observe=observe or settings.telemetry.observe, repair=repair)
        raise typer.Exit(code)


def run(settings: Settings, *, observe: bool = False, repair: bool = False) -> int:
    """Run until stopped, and return the exit code. observe: whether Prometheus runs too. repair: whether to make lost files again first. Raises EmbeddedError if the start fails before any part has started."""
    for name in unknown_variables(environment()):
        print(f"{name} is not a setting; docs/settings.md lists all settings.", flush=True)
    if settings.models.default:
        # Imported late, like below.
        from responsa_server.app.models import unlimited_spending

        if (spending := unlimited_spending(settings)) is not None:
            print(f"Warning: {': '.join(spending)}.", flush=True)
    if warning := sandbox_warning(settings, capabilities()):
        print(warning, flush=True)
    check_model()
    docs = settings.docs
    if (store := open_store(settings)) is not None and (away := asyncio.run(_away(store))):
        print(away, flush=True)
        docs = None  # loading them would wait for the store
    layout = Layout.of(settings.home, repair=repair)
    listen = (settings.listen, settings.port)
    if repair:
        _repair(settings, layout)
    config = envoy_config(settings, layout.replicas, layout.envoy_admin_socket)

    layout.prepare()
    if settings.database_url is not None:
        _await_database(settings, layout)
        prepare_database(settings, layout)
    plan = processes_of(settings)
    children: list[Child] = []
    if settings.database_url is None:
        sizes = [("max_connections", str(plan.connections)), ("shared_buffers", f"{plan.buffers_mib}MB")]
        children.append(
            Child(
                EmbeddedPostgres(layout, settings=sizes),
                on_ready=partial(prepare_database, settings, layout, repair=repair),
            )
        )
    if settings.redis_url is None:
        children.append(Child(EmbeddedRedis(layout)))
    if settings.models.wants_embedded:
        # Imported late, because this module loads the clients of models, which this process needs only here.
        from responsa_server.app.models import llama_part

        if (llama := llama_part(settings.models, layout, environment())) is not None:
            children.append(Child(llama))

    def write_files() -> None:
        servers.send_to([child.part for child in servers.children])
        _configure_envoy(config, layout)
        layout.port.write_text(f"{settings.port}\n", encoding="ascii")

    # The files are written under the supervisor's lock, because a second start on the same folder must not change the
    # files that the first start uses.
    servers = Servers(settings, layout, plan, write_files, observed=observe)
    children.extend(servers.children)
    children.append(
        Child(EmbeddedEnvoy(layout, layout.envoy_config, listen=listen, concurrency=plan.envoy_threads))
    )
    prometheus = _prometheus(settings, layout) if observe else None
    if prometheus is not None:
        children.append(Child(prometheus, alongside=True))

    def announce() -> None:
        asyncio.run(build_index(settings, layout))
        code = asyncio.run(_session_code(settings, layout))
        pause = asyncio.run(_pause(settings, layout))
        if prometheus is not None:
            print(f"Metrics and alerts: {prometheus.url}", flush=True)
        print(f"Responsa is ready: {_url(settings)}/#code={code}", flush=True)
        if pause is not None:
            print(f"{pause.sentence}.", flush=True)
        print(
            "The link signs you in once, within ten minutes. `responsa open` prints a new link. Ctrl-C stops Responsa.",
            flush=True,
        )

    print(f"Starting Responsa with {plan}; its data is in {layout.home}", flush=True)
    return Supervisor(
        layout,
        children,
        on_ready=announce,
        errand=OwnDocs(
            layout, docs, _url(settings), lambda: asyncio.run(_pause(settings, layout)) is not None
        ),
        routing=servers,
        say=lambda line: print(line, flush=True),
    ).run()


def sandbox_warning(settings: Settings, sandbox: SandboxCapabilities) -> str:
    """What each start says about a kernel without the sandbox of parsers; "" for other kernels."""
    found = sandbox_finding(sandbox, allow_unconfined=settings.allows_unconfined_parsing)
    return "" if found.ok else f"Warning: {found.detail} To change that, {found.remedy}."


def _await_database(settings: Settings, layout: Layout) -> None:
    """Wait for the user's own database. Meanwhile, the health checks answer where Envoy will listen. Raises EmbeddedError."""
    address = TcpAddress(settings.listen, settings.port)
    try:
        asyncio.run(reached(database_urls(settings, layout).owner, address, say_waiting))
    except (AddressTaken, OSError):
        check_port(settings.listen, settings.port)  # raises the error that says what to do
        raise


def _repair(settings: Settings, layout: Layout) -> None:
    """Set new passwords of the embedded PostgreSQL. Raises EmbeddedError."""
    if settings.database_url is not None:
        raise EmbeddedError(
            "There is nothing to repair: the database is that of DATABASE_URL, whose password Responsa does not make",
            "start without --repair, and check DATABASE_URL",
        )
    repair_cluster(layout)
    print("The database has new passwords; its data are as before.", flush=True)


def prepare_database(settings: Settings, layout: Layout, *, repair: bool = False) -> None:
    """Apply the missing migrations, say which one waits, and make the administrator of this machine. repair: also make a new key that signs tokens, because the secret of the old ones may be
    lost. Raises EmbeddedError.
    """
    urls = database_urls(settings, layout)
    try:
        asyncio.run(bring_up_to_date(settings, layout))
        if waits := asyncio.run(waiting(urls.owner)):
            print(waits, flush=True)
        if settings.database_url is not None:
            for url in (urls.app, urls.log):
                Reaching(url).attempt()
        asyncio.run(_administrator(settings, layout))
        if repair:
            asyncio.run(_new_signing_key(settings, layout))
        if settings.database_url is None and settings.docs is not None:
            # In a new database, the own documents are stored without the index. `announce` builds it, and so does the next start after a killed one.
            asyncio.run(drop_unused_index(urls.owner))
    except MigrationError as error:
        raise EmbeddedError(str(error), "see docs/operations.md, Migrations") from error
    except (psycopg.OperationalError, Unavailable) as error:
        told = f" ({reason_of(error)})" if isinstance(error, psycopg.OperationalError) else ""
        raise EmbeddedError(
            f"The database cannot be reached{told}", "check DATABASE_URL, and that PostgreSQL runs"
        ) from error


async def _away(store: VectorStore) -> str:
    """Why a vector store does not answer; "" if it does."""
    try:
        report = await store.check()
    finally:
        await store.close()
    return "" if report.health is Health.OK else report.detail


def _prometheus(settings: Settings, layout: Layout) -> EmbeddedPrometheus:
    chosen = settings.telemetry.prometheus
    return EmbeddedPrometheus(
        layout,
        targets_folder(settings, layout),
        chosen.rules or alert_rules(),
        port=chosen.port,
        seconds=chosen.scrape_seconds,
    )


async def _administrator(settings: Settings, layout: Layout) -> None:
    async with identity_of(settings, layout) as identity:
        await ensure_administrator(identity, layout.api_key)


async def _new_signing_key(settings: Settings, layout: Layout) -> None:
    # Imported late, because this module loads libraries of cryptography.
    from responsa_server.app.accounts import tokens_on

    async with pools_of(settings, layout) as pools:
        await tokens_on(settings, layout, pools).rotate()


async def _pause(settings: Settings, layout: Layout) -> PauseState | None:
    async with pools_of(settings, layout) as pools:
        return await PostgresPause(pools).state()


async def _session_code(settings: Settings, layout: Layout) -> str:
    async with identity_of(settings, layout) as identity:
        code, _ = await identity.create_session_code(await ensure_administrator(identity, layout.api_key))
        return code


def _configure_envoy(config: EnvoyConfig, layout: Layout) -> None:
    try:
        layout.envoy_config.write_text(render(config), encoding="utf-8")
    except EnvoyConfigError as error:
        raise EmbeddedError(str(error), "see docs/operations.md") from error


def _url(settings: Settings) -> str:
    """Return the URL for a browser on this machine. If the server listens on all addresses, the URL uses loopback."""
    host = "127.0.0.1" if settings.listen in EVERYWHERE else settings.listen
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
