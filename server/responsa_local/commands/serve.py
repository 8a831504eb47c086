"""The command `responsa serve`, which runs one server process in the foreground."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from responsa_formats.sandbox.confinement import SERVER, keep_capabilities
from responsa_local.commands.failures import reporting
from responsa_local.embedded import LocalLayout
from responsa_server.app.process import run as run_loop
from responsa_server.app.serve import preload, serve
from responsa_server.app.settings import ServeRole, load


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""

    @app.command(name)
    def run(  # pyright: ignore[reportUnusedFunction]  # typer keeps it
        role: ServeRole | None = None,
        listen: Annotated[str | None, typer.Option(metavar="ADDRESS")] = None,
        http_listen: Annotated[str | None, typer.Option(metavar="ADDRESS")] = None,
        held: Annotated[bool, typer.Option(hidden=True)] = False,
    ) -> None:
        """Run one server process without Envoy. Any number of processes can share a database and a Redis.

        The process uses the database of DATABASE_URL. If DATABASE_URL is not set, the process uses the embedded
        database of a running `responsa up`. Without --listen, the process listens on the sockets in the data folder,
        like the server of `responsa up`. After SIGTERM, the process gives Envoy time to notice and then drains. After
        Ctrl-C, it drains at once.

        Args:
            role: rpc takes calls; answers takes calls and runs turns; worker runs turns and jobs; jobs runs
                only jobs, such as ingesting documents; all, the default, does everything.
            listen: The address for gRPC (for a worker, only for its health checks): unix:PATH or HOST:PORT.
                Each process needs its own address.
            http_listen: The address for HTTP behind Envoy: page, sessions, uploads, sockets.
            held: Load the modules, then wait until stdin ends.
        """
        options = {"role": role, "grpc_listen": listen, "http_listen": http_listen}
        chosen = {key: value for key, value in options.items() if value is not None}
        if held:
            # `responsa up` has already made the folders, and has given up most capabilities.
            keep_capabilities(SERVER)
            preload()
            sys.stdin.read()
        with reporting():
            settings = load(**chosen)
            if not held:
                if settings.database_url is not None:
                    LocalLayout.of(settings.home).prepare()
                # Before there are threads, which keep the capabilities that they have begun with.
                keep_capabilities(SERVER)
            run_loop(serve(settings, LocalLayout.of(settings.home)))
