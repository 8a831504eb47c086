"""`responsa cancel`."""

from __future__ import annotations

from typing import Annotated

import typer

from responsa_server.cli.failures import reporting, valid_text
from responsa_server.cli.output import print_json, print_text
from responsa_server.cli.session import open_client

_ENDS = {
    "answer": "had ended before: it was answered",
    "refused": "had ended before: it was refused",
    "failed": "had ended before: it failed",
    "cancelled": "is cancelled",
}


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""
    app.command(name)(cancel)


def cancel(
    turn: Annotated[str, typer.Argument(help="The turn, turns/{uuid} or the UUID alone.")],
    json: Annotated[bool, typer.Option("--json", help="Print the Turn as it ended, as proto-JSON.")] = False,
) -> None:
    """End a turn that has not ended, wherever it was asked. Repeating it changes nothing.

    Exit codes: 0 the turn has ended, by this or before; 2 there is no such turn; 3 cannot connect or sign in; 1 all else.
    """
    with reporting(json=json), open_client() as client:
        ended = client.cancel(valid_text(turn, "The turn"))
        if json:
            print_json(ended)
        else:
            how = _ENDS.get(ended.terminal_event.WhichOneof("event") or "", "has ended")
            print_text(f"{ended.name} {how}.")
