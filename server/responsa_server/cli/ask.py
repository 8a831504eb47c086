"""`responsa ask`."""

from __future__ import annotations

import contextlib
import sys
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated

import typer

from responsa.chat.v1 import agent_pb2, chat_service_pb2
from responsa_client import Responsa
from responsa_client.errors import InvalidRequest, NotFound, ResponsaError
from responsa_server.cli.failures import EXIT_USAGE, CommandFailed, reporting, valid_text
from responsa_server.cli.parameters import REASONS, hint, typed
from responsa_server.cli.session import open_client
from responsa_server.cli.turns import TurnPrinter

_MAX_STDIN = 1024 * 1024


class OnBusy(StrEnum):
    """What happens when the conversation has a turn at work."""

    REJECT = "reject"
    QUEUE = "queue"
    INTERRUPT = "interrupt"


_ON_BUSY = {
    # Unset means REJECT. It must stay unset, since a question sent again is compared with the first one as bytes.
    OnBusy.REJECT: chat_service_pb2.ON_BUSY_UNSPECIFIED,
    OnBusy.QUEUE: chat_service_pb2.ON_BUSY_QUEUE,
    OnBusy.INTERRUPT: chat_service_pb2.ON_BUSY_INTERRUPT,
}


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""
    app.command(name)(ask)


def ask(
    question: Annotated[
        str, typer.Argument(help="The question, 16 KiB at most; - reads it from standard input.")
    ],
    conversation: Annotated[
        str, typer.Option(help="Go on with this conversation, conversations/{uuid}. Default: a new one.")
    ] = "",
    collection: Annotated[
        list[str] | None,
        typer.Option(
            "--collection", "-c", help="Answer from this collection; repeatable. Default: all you may read."
        ),
    ] = None,
    request_id: Annotated[
        str | None,
        typer.Option(
            help="Any UUID; the same one with the same question shows the turn that it made before."
        ),
    ] = None,
    deltas: Annotated[
        bool, typer.Option("--deltas/--no-deltas", help="With --json: pieces of the answer as they are made.")
    ] = True,
    agent: Annotated[
        str, typer.Option(help="The agent that answers, by its id. Default: the server's.")
    ] = "",
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            "-p",
            help="A parameter of the agent, name=value; repeatable. `responsa agents show AGENT` lists them.",
        ),
    ] = None,
    max_cost: Annotated[
        str,
        typer.Option(
            help="The most that models may cost, in US dollars, e.g. 0.05. Default: the agent's own limit."
        ),
    ] = "",
    on_busy: Annotated[
        OnBusy, typer.Option(help="What happens when the conversation has a question at work.")
    ] = OnBusy.REJECT,
    cancel_on_disconnect: Annotated[
        bool,
        typer.Option(
            "--cancel-on-disconnect", help="Cancel the turn once nobody has followed it for 10 seconds."
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one TurnEvent a line, as proto-JSON.")] = False,
) -> None:
    """Ask a question and get a cited answer, or a refusal that says why.

    Connections that are lost and servers that restart are borne: every event is printed once, in order. Ctrl-C leaves, and tells how to go on: the turn
    itself runs on. Beside the answer, stderr tells who gave it, what was done in place of what was meant, and what it cost.

    Exit codes: 0 answered or refused, 1 the turn failed, 2 bad usage, 3 cannot connect or sign in, 4 the turn was
    cancelled, 130 left by Ctrl-C. With --json an error before the turn is a line {"error": google.rpc.Status}.
    """
    with reporting(json=json), open_client(timeout=None) as client:
        text = valid_text(_from_stdin() if question == "-" else question, "The question")
        most = micros(max_cost)
        parameters = typed(param, asked_agent(client, agent)) if param else None
        printer = TurnPrinter(json=json, begin="Asking...")
        stream = client.ask(
            text,
            conversation or None,
            collection or [],
            request_id,
            deltas if json else printer.wants_deltas,
            agent=agent,
            parameters=parameters,
            max_cost_micros=most,
            on_busy=_ON_BUSY[on_busy],
            cancel_on_disconnect=cancel_on_disconnect,
            on_notice=printer.notice,
        )
        try:
            printer.follow(stream, cancel_on_disconnect=cancel_on_disconnect)
        except (InvalidRequest, NotFound) as error:
            _explain(client, agent, error)
            raise


def asked_agent(client: Responsa, agent: str) -> agent_pb2.Agent:
    """The agent that answers a question; "" is the server's default.

    Raises:
        NotFound: there is no such agent; the known ones are in its metadata.
        CommandFailed: the server names no default.
    """
    if agent:
        return client.agent(agent)
    default = next((one for one in client.agents() if one.is_default), None)
    if default is None:
        raise CommandFailed("The server has no default agent.", "Name one with --agent.", EXIT_USAGE)
    return client.agent(default.name)


def _explain(client: Responsa, agent: str, error: ResponsaError) -> None:
    """If the parameters were refused, add a note with those that may be given. The refusal stands even if that fails."""
    if error.reason not in REASONS:
        return
    with contextlib.suppress(ResponsaError, CommandFailed):
        if advice := hint(asked_agent(client, agent), error):
            error.add_note(advice)


def micros(dollars: str) -> int:
    """Millionths of a dollar; 0 for "".

    Raises:
        CommandFailed: the text is not a sum of money, is below a millionth, or is not a whole number of millionths.
    """
    if not dollars:
        return 0
    try:
        found = Decimal(dollars) * 1_000_000
        if found.is_finite() and 1 <= found < 2**63 and found == int(found):
            return int(found)
    except InvalidOperation:
        pass
    raise CommandFailed(
        f"{dollars!r} is no sum of money.",
        "Write US dollars, 0.000001 at least, e.g. --max-cost 0.05.",
        EXIT_USAGE,
    )


def _from_stdin() -> str:
    if sys.stdin.isatty():
        sys.stderr.write("Write the question, then Ctrl-D.\n")
    data = sys.stdin.buffer.read(_MAX_STDIN)
    try:
        return data.decode().rstrip("\n")
    except UnicodeDecodeError:
        raise CommandFailed(
            "The question is not valid UTF-8.", "Send it as UTF-8 text.", EXIT_USAGE
        ) from None
