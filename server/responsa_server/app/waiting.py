"""Waits at the start for a database of the user's own that is away, so that the start of a machine needs no order.
Meanwhile the process is live and not ready."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from responsa_server.app.notify import notify
from responsa_server.app.resources import reason_of
from responsa_server.app.settings import environment
from responsa_server.domain.addresses import Address
from responsa_server.domain.parts import Health, PartReport
from responsa_server.system.fixable import Fixable

PAUSE_SECONDS: Final = 0.5
"""The time between an attempt that failed and the next one."""
_CONNECT_SECONDS: Final = 5
_PING_SECONDS: Final = 2
_LONGEST_SECONDS: Final = 30
"""No attempt takes as long, so systemd may wait this long for the next sign of a process that waits."""
_PART: Final = "postgresql"
# A driver tells no code of an error for which there is no connection, and PostgreSQL's messages may be in any language.
# libpq's ping looks at the code. It stops all
# threads of its process, so it has a process of its own.
_PING: Final = (
    "import json, sys; from psycopg.pq import PGconn, Ping; "
    "sys.exit(all(PGconn.ping(one.encode()) != Ping.OK for one in json.load(sys.stdin)))"
)
# With these, libpq sends no secret, and no certificate can be wrong.
_BARE: Final[Mapping[str, str]] = {
    "sslmode": "prefer",
    "sslnegotiation": "postgres",
    "sslrootcert": f"{os.devnull}/none",
    "sslcertmode": "disable",
    "require_auth": "none",
}


class Reaching:
    """Attempts to connect to one database, and tells a database that is away from one that refuses this login."""

    def __init__(self, url: str) -> None:
        """url: that of the database, with the role that shall connect."""
        self._url = url
        self._away = ""
        self._answered = False

    def attempt(self) -> str:
        """Try to connect. Returns why the database is away: it refuses connections, cannot be reached, has a name
        without an address, starts, stops or recovers; "" once it is there.

        Blocks at most 20 seconds. Raises Fixable if a PostgreSQL answers, but does not let this login in: its password,
        role, database or TLS is wrong.
        """
        while True:
            try:
                psycopg.connect(self._url, connect_timeout=_CONNECT_SECONDS).close()
            except psycopg.OperationalError as error:
                reason = reason_of(error)
                # What has been found out about a reason stays true.
                if reason == self._away:
                    return reason
                # The database may have come just after the attempt, so it must have answered before it too.
                before, self._answered = self._answered, _answers(self._url)
                if not self._answered:
                    self._away = reason
                    return reason
                if before:
                    raise Fixable(
                        f"The database does not let Responsa in ({reason})",
                        (
                            "correct DATABASE_URL, DATABASE_APP_URL or DATABASE_LOG_URL (the user, the password, the "
                            "database, TLS); if the database is new, run `responsa migrate` first"
                        ),
                    ) from error
            else:
                return ""


def _answers(url: str) -> bool:
    """Whether a PostgreSQL takes connections at this URL, whatever it thinks of the login."""
    full = {**conninfo_to_dict(url), "connect_timeout": str(_PING_SECONDS)}
    bare = {**full, "password": "", **_BARE}
    # A server that speaks TLS alone answers only as the URL says.
    asked = json.dumps([make_conninfo("", **options) for options in (bare, full)])
    ping = subprocess.run([sys.executable, "-c", _PING], input=asked, text=True, check=False)
    return ping.returncode == 0


async def reached(
    url: str, http: Address | None, say: Callable[[str], None], stop: asyncio.Queue[Any] | None = None
) -> bool:
    """Wait until the database at this URL lets this login in. Returns False if something came into `stop` first.

    http: where `/health/live` answers 200 meanwhile, and everything else 503; None: nowhere. say: is told each new
    reason why the database is away, and "" once it is back. Raises Fixable as `Reaching.attempt`, and AddressTaken.
    """
    reaching = Reaching(url)
    if not (away := await asyncio.to_thread(reaching.attempt)):
        return True
    stops: asyncio.Queue[Any] = asyncio.Queue() if stop is None else stop
    told = ""
    async with _health(http):
        while away:
            if away != told:
                say(away)
                told = away
            notify(
                f"STATUS=Waiting for the database: {away}\nEXTEND_TIMEOUT_USEC={_LONGEST_SECONDS * 1_000_000}",
                environment(),
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stops.get(), PAUSE_SECONDS)
                return False
            away = await asyncio.to_thread(reaching.attempt)
    notify("STATUS=", environment())
    say("")
    return True


@contextlib.asynccontextmanager
async def _health(address: Address | None) -> AsyncGenerator[None]:
    """Serve at this address that the process lives and lacks its database."""
    if address is None:
        yield
        return
    # Imported late, because hardly any start waits.
    from starlette.applications import Starlette

    from responsa_server.app.gateway import GatewayServer
    from responsa_server.calls.health import ServerHealth
    from responsa_server.transports.http.health import health_routes, lacking_response

    async def lacking() -> Collection[str]:
        return (_PART,)

    async def parts() -> Mapping[str, PartReport]:
        return {_PART: PartReport(Health.DOWN)}

    routes = health_routes(ServerHealth(lambda: True, lacking, parts))
    server = GatewayServer(
        Starlette(routes=[*routes], exception_handlers={404: lambda _, __: lacking_response([_PART])}),
        address,
    )
    await server.start()
    try:
        yield
    finally:
        await server.stop()
