"""The command `responsa activate`, which ends the pause of a restored instance."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import psycopg
import typer

from responsa_local.commands.admin import database_there
from responsa_local.commands.failures import FAILED, reporting
from responsa_local.embedded import LocalLayout
from responsa_server.app.resources import pools_of, reason_of
from responsa_server.app.settings import Settings, load
from responsa_server.cli.output import CommandFailed, echo
from responsa_server.domain import names
from responsa_server.domain.errors import NotFound, ResponsaError
from responsa_server.domain.events import CancelCause, Cancelled, NumberedEvent
from responsa_server.domain.formatting import counted
from responsa_server.domain.people import AuditEvent, Principal, Role
from responsa_server.domain.turns import Ending, OpenTurn
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.pause import PauseState, PostgresPause

_ACTOR = "local"


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""
    app.command(name)(activate)


def activate(
    *,
    cancel_turns: Annotated[bool, typer.Option("--cancel-turns")] = False,
    yes: Annotated[bool, typer.Option("--yes")] = False,
) -> None:
    """End the pause of a restored instance: its turns continue, and its jobs, e-mails, webhooks and sources run. Running
    servers notice within seconds.

    A turn that continues may repeat tool calls that the original instance made after the backup. Activate an instance
    only if the original no longer runs.

    Args:
        cancel_turns: First end the turns that were open in the backup, as if an administrator had cancelled
            them.
        yes: Do not ask for confirmation.
    """
    with reporting(), database_there(settings := load()):
        try:
            pause = asyncio.run(_state(settings))
            if pause is None:
                echo("The instance is not paused.")
                return
            if pause.restoring:
                raise CommandFailed(
                    "The database is being restored.", "Wait until `responsa restore` has finished.", FAILED
                )
            echo(_what_follows(pause, cancel_turns=cancel_turns))
            if not yes:
                typer.confirm("Continue?", abort=True)
            ended = asyncio.run(_end(settings, cancel_turns=cancel_turns))
        except ResponsaError as error:
            raise CommandFailed(error.message, "", FAILED) from error
        except psycopg.OperationalError as error:
            raise CommandFailed(
                f"The database cannot be reached: {reason_of(error)}.",
                "Check DATABASE_URL, and that PostgreSQL runs.",
                FAILED,
            ) from error
        echo(
            f"{counted(ended, 'turn')} ended. The instance is active."
            if cancel_turns
            else "The instance is active."
        )


def _what_follows(pause: PauseState, *, cancel_turns: bool) -> str:
    jobs = f"{counted(pause.jobs, 'job')} will run: documents, sources, e-mails, webhooks and others."
    if cancel_turns:
        return f"{counted(pause.turns, 'turn')} of the backup will end. {jobs}"
    warning = " They may repeat tool calls that the original instance made after the backup; --cancel-turns ends them instead."
    return (
        f"{counted(pause.turns, 'turn')} of the backup will continue.{warning if pause.turns else ''} {jobs}"
    )


async def _state(settings: Settings) -> PauseState | None:
    async with pools_of(settings, LocalLayout.of(settings.home)) as pools:
        return await PostgresPause(pools).state()


async def _end(settings: Settings, *, cancel_turns: bool) -> int:
    async with pools_of(settings, LocalLayout.of(settings.home)) as pools:
        pause = PostgresPause(pools)
        ended = await _cancel_held(pools, pause) if cancel_turns else 0
        await pause.end()
        return ended


async def _cancel_held(pools: Database, pause: PostgresPause) -> int:
    # Imported late, because these modules load gRPC's messages.
    from responsa_server.calls.frames import AskFrames
    from responsa_server.stores.postgres.turns import PostgresTurnStore
    from responsa_server.turns.pack import ending

    codec = AskFrames()
    store = PostgresTurnStore(pools, codec)
    cancelled, ended = Cancelled(CancelCause.ADMINISTRATOR), 0
    for turn in await pause.find_held():
        caller = Principal(turn.tenant_id, turn.user_id, Role.ADMIN, _ACTOR)
        audited = AuditEvent(turn.tenant_id, _ACTOR, "turn.cancel", names.turn(turn.id), about=turn.user_id)

        def end(open_turn: OpenTurn) -> Ending:
            event = NumberedEvent(open_turn.last_seq + 1, open_turn.attempt, datetime.now(UTC), cancelled)
            return ending(codec, open_turn.turn_id, event)

        try:
            done = await store.cancel(caller, turn.id, False, end, audited)
        except NotFound:  # it was deleted
            continue
        ended += done.ended is not None
    return ended
