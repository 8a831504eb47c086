"""`responsa serve`: one server process, in the foreground."""

from __future__ import annotations

from typing import Annotated

import typer

from responsa_server.app.process import run as run_loop
from responsa_server.app.serve import serve
from responsa_server.app.settings import ServeRole, load
from responsa_server.cli.local.failures import reporting


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""

    @app.command(name)
    def run(  # pyright: ignore[reportUnusedFunction]  # typer keeps it
        role: Annotated[
            ServeRole | None,
            typer.Option(help="rpc takes calls, worker runs turns and takes in documents, all does both."),
        ] = None,
        listen: Annotated[
            str | None,
            typer.Option(
                metavar="ADDRESS",
                help="Where gRPC is served (a worker: health alone): unix:PATH or HOST:PORT. Each process needs its own.",
            ),
        ] = None,
        http_listen: Annotated[
            str | None,
            typer.Option(
                metavar="ADDRESS", help="Where the page, sessions and uploads are served, behind Envoy."
            ),
        ] = None,
    ) -> None:
        """Run one server process, without Envoy; any number of them share a database and a Redis.

        The database is DATABASE_URL's, else the embedded one of a running `responsa up`. Without --listen it serves on the sockets in the data
        folder, as the server of `responsa up` does. SIGTERM drains it after Envoy had time to notice, Ctrl-C at once.
        """
        given = {"role": role, "grpc_listen": listen, "http_listen": http_listen}
        with reporting():
            run_loop(serve(load(**{key: value for key, value in given.items() if value is not None})))
