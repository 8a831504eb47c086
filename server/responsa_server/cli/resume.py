"""`responsa resume`."""

from __future__ import annotations

from typing import Annotated

import typer

from responsa_server.cli.failures import reporting, valid_text
from responsa_server.cli.session import open_client
from responsa_server.cli.turns import TurnPrinter


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""
    app.command(name)(resume)


def resume(
    turn: Annotated[str, typer.Argument(help="The turn, turns/{uuid} or the UUID alone.")],
    after: Annotated[
        int, typer.Option(min=0, help="The seq of the last event that is known; 0 begins with the first.")
    ] = 0,
    deltas: Annotated[
        bool, typer.Option("--deltas/--no-deltas", help="With --json: pieces of the answer as they are made.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print one TurnEvent a line, as proto-JSON.")] = False,
) -> None:
    """Follow a turn that was asked before, here or elsewhere, while it runs or after it ended.

    Exit codes as of `ask`. Each event after the given seq is printed once, in order; of a turn that had ended there, none.
    """
    with reporting(json=json), open_client(timeout=None) as client:
        printer = TurnPrinter(json=json, begin="Following...")
        name = valid_text(turn, "The turn")
        printer.follow(
            client.resume(name, after, deltas if json else printer.wants_deltas, on_notice=printer.notice)
        )
