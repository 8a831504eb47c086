"""The commands `responsa migrate`, which updates the database to this version, and `responsa admin create-tenant |
create-user | create-key | rotate-signing-key`, which work without a server and audit each action.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Final, TypeVar
from uuid import UUID

import psycopg
import typer

from responsa_local.commands.failures import FAILED, reporting
from responsa_local.embedded import EmbeddedPostgres, LocalLayout
from responsa_local.embedded.doctor import runs
from responsa_server.app.resources import (
    bring_up_to_date,
    database_urls,
    open_identity,
    pools_of,
    reason_of,
    refusal,
)
from responsa_server.app.settings import Settings, load
from responsa_server.app.waiting import PAUSE_SECONDS, Reaching, reached
from responsa_server.cli.output import CommandFailed, echo
from responsa_server.cli.waiting import WaitingLine, timeout
from responsa_server.domain import names
from responsa_server.domain.errors import ResponsaError
from responsa_server.domain.people import Role
from responsa_server.identity.service import Identity
from responsa_server.stores.postgres.migrate import waiting

Result = TypeVar("Result")
_HANGS_SECONDS: Final = 4.0


class _KeyRole(StrEnum):
    """The role that a key may have instead of its user's."""

    USER = "user"


def register(app: typer.Typer, name: str) -> None:
    """Add the command `migrate`, or the group `admin`."""
    if name == "migrate":
        app.command(name)(migrate)
        return
    group = typer.Typer(
        no_args_is_help=True,
        help=(
            "Create tenants, users and keys on the server's machine, without a server. Every action is "
            "audited. `responsa call` administers a running server."
        ),
        rich_markup_mode=None,
    )
    group.command("create-tenant")(create_tenant)
    group.command("create-user")(create_user)
    group.command("create-key")(create_key)
    group.command("rotate-signing-key")(rotate_signing_key)
    app.add_typer(group, name=name)


def migrate(
    *,
    rebuild_vectors: Annotated[bool, typer.Option("--rebuild-vectors")] = False,
) -> None:
    """Apply missing migrations to the database, and rebuild the vector index if its settings have changed.

    While servers of an earlier release run, `_post_` migrations wait, because those servers do not work after them.
    If the database of DATABASE_URL is unavailable, the command waits for it. The command can be repeated. If two of these commands run at
    the same time, one waits for the other.

    Args:
        rebuild_vectors: Then compute the vectors that the vector store of retrieval.vector_store lacks.
    """
    with reporting(), database(settings := load()):
        try:
            if settings.database_url is not None:
                asyncio.run(reached(settings.database_url.get_secret_value(), None, say_waiting))
            done = asyncio.run(bring_up_to_date(settings, LocalLayout.of(settings.home)))
            waits = asyncio.run(waiting(database_urls(settings, LocalLayout.of(settings.home)).owner))
        except psycopg.OperationalError as error:
            raise CommandFailed(
                f"The database cannot be reached: {reason_of(error)}.",
                "Check DATABASE_URL, and that PostgreSQL runs.",
                FAILED,
            ) from error
        echo("\n".join(done) or "The database is up to date.")
        if waits:
            echo(waits)
        if rebuild_vectors:
            # Imported late, because it loads the embedding model and the clients of models.
            from responsa_server.app.assemble import rebuild_vectors as rebuild

            passages = asyncio.run(rebuild(settings, LocalLayout.of(settings.home)))
            echo(f"Stored the vectors of {passages} passages.")


def create_tenant(
    tenant: Annotated[
        str, typer.Argument(help="The tenant's id, 1 to 63 characters of a-z, 0-9 and hyphen.")
    ],
    display_name: Annotated[str, typer.Option(help="The tenant's display name. Default: the id.")] = "",
) -> None:
    """Create a tenant and print its name."""

    async def act(identity: Identity) -> str:
        await identity.create_tenant(tenant, display_name or tenant)
        return names.tenant(tenant)

    _do(act)


def create_user(
    tenant: Annotated[str, typer.Argument(help="The tenant's id.")],
    display_name: Annotated[str, typer.Argument(help="The user's display name.")],
    email: Annotated[
        str, typer.Option(help="The user's e-mail address (optional). It is stored in lower case.")
    ] = "",
    role: Annotated[Role, typer.Option(help="The user's role.")] = Role.USER,
) -> None:
    """Create a user and print its name."""

    async def act(identity: Identity) -> str:
        return names.user((await identity.create_user(tenant, display_name, email, role)).id)

    _do(act)


def create_key(
    tenant: str,
    user: str,
    display_name: str = "",
    role: _KeyRole | None = None,
    widget: Annotated[bool, typer.Option("--widget")] = False,
    agent: str = "",
) -> None:
    """Create an API key and print its secret. The secret is never shown again.

    Args:
        tenant: The tenant's id.
        user: The user as users/{uuid}, which create-user printed.
        display_name: The purpose of the key.
        role: With “user”, the key has only the rights of an ordinary user, even if its user is an
            administrator. Default: the role of its user.
        widget: Create the key of a widget: it only asks questions, on the pages that the setting `widget_keys`
            names with it, and reads only the collections that are shared with its user by name. The line of the
            setting is printed to stderr.
        agent: The agent that the widget asks, as agents/{id} or agents/{id}/versions/{n}. Default: the default
            agent.
    """
    try:
        user_id: UUID = names.parse_uuid("users", user)
    except ValueError:
        raise typer.BadParameter("must have the form users/{uuid}", param_hint="USER") from None

    async def act(identity: Identity) -> str:
        key, secret = await identity.create_key(
            tenant, user_id, display_name, None if role is None else Role.USER, widget=widget, agent=agent
        )
        if widget:
            echo(f"RESPONSA_WIDGET_KEYS={names.api_key(key.id)}=https://www.example.org", err=True)
        return secret

    _do(act)


def rotate_signing_key() -> None:
    """Make a new key that signs access tokens. Running servers use it within 30 seconds, and nobody is signed out."""

    async def act(settings: Settings, layout: LocalLayout) -> None:
        # Imported late, because this module loads libraries of cryptography, which other commands do not need.
        from responsa_server.app.accounts import tokens_on

        async with pools_of(settings, layout) as pools:
            await tokens_on(settings, layout, pools).rotate()

    with reporting():
        try:
            with database_there(settings := load()):
                asyncio.run(act(settings, LocalLayout.of(settings.home)))
        except ResponsaError as error:
            raise CommandFailed(error.message, "", FAILED) from error
        echo("There is a new signing key. Running servers will use it within 30 seconds.")


def _do(act: Callable[[Identity], Awaitable[Result]]) -> None:
    async def run() -> Result:
        settings = load()
        async with open_identity(settings, LocalLayout.of(settings.home)) as identity:
            return await act(identity)

    with reporting():
        try:
            with database_there(load()):
                echo(str(asyncio.run(run())))
        except ResponsaError as error:
            raise CommandFailed(error.message, "", FAILED) from error


def say_waiting(reason: str) -> None:
    """Say that the database is away, or that it is back."""
    echo(
        f"Waiting for the database, which is unavailable ({reason})."
        if reason
        else "The database is available again.",
        err=True,
    )


@contextmanager
def database_there(settings: Settings) -> Generator[None]:
    """As `database`, for commands with the option --timeout: wait that long for a database that is away, and say so. The
    embedded PostgreSQL of a running instance counts as away, because its supervisor starts it again.

    Raises CommandFailed if the database stays away, and Fixable if it does not let this login in.
    """
    layout = LocalLayout.of(settings.home)
    if settings.database_url is None and not runs(layout):
        with database(settings):
            yield
        return
    line, seconds = WaitingLine(), timeout()
    end = time.monotonic() + seconds
    with line.during("The database has not answered yet", seconds):
        reaching, began = Reaching(database_urls(settings, layout).owner), time.monotonic()
        while away := reaching.attempt():
            now, took = time.monotonic(), time.monotonic() - began
            left, began = end - now, now + PAUSE_SECONDS
            sentence = f"The database is unavailable ({away})"
            # An attempt on a database that hangs takes seconds, so the next one would end too late.
            if left <= (took if took > _HANGS_SECONDS else PAUSE_SECONDS):
                raise CommandFailed(f"{sentence}.", "`responsa doctor` names the part that is down.", FAILED)
            line.tell(sentence, left)
            time.sleep(PAUSE_SECONDS)
    yield


@contextmanager
def database(settings: Settings, prepared: LocalLayout | None = None) -> Generator[None]:
    """Keep a database available during the block. If the embedded PostgreSQL is configured but not running, this
    function runs it during the block. prepared: the instance's layout, if the caller has prepared it.
    """
    if settings.database_url is None:
        layout = prepared or LocalLayout.of(settings.home).prepare()
        postgres = EmbeddedPostgres(layout)
        if refusal(postgres.dsn("owner")):
            postgres.start()
            try:
                yield
            finally:
                postgres.stop()
            return
    yield
