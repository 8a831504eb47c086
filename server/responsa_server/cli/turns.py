"""The commands `responsa ask`, `resume` and `cancel`. `ask` and `resume` follow one turn. They print its events as they
arrive, and then its result. After Ctrl-C, they print the command that resumes the turn.
"""

from __future__ import annotations

import contextlib
import sys
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated

import typer

from responsa.chat.v1 import agent_pb2, chat_service_pb2, turn_pb2
from responsa_client import Responsa, TurnStream
from responsa_client.errors import InvalidRequest, NotFound, ResponsaError
from responsa_client.following import Notice
from responsa_client.results import outcome, turn_error
from responsa_server.cli.output import (
    EXIT_CANCELLED,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    CommandFailed,
    going_on,
    print_error,
    print_json,
    print_text,
    reporting,
    sentence_of,
    valid_text,
)
from responsa_server.cli.parameters import REASONS, hint, typed
from responsa_server.cli.progress import LiveAnswer
from responsa_server.cli.rendering import answer_text, remarks
from responsa_server.cli.session import open_client

_MAX_STDIN = 1024 * 1024


class OnBusy(StrEnum):
    """What the server does if the conversation has a running turn."""

    REJECT = "reject"
    QUEUE = "queue"
    INTERRUPT = "interrupt"


_ON_BUSY = {
    # The server reads an unset field as REJECT. For REJECT, this client leaves the field unset, because the server
    # compares a repeated question with the first question byte by byte.
    OnBusy.REJECT: chat_service_pb2.ON_BUSY_UNSPECIFIED,
    OnBusy.QUEUE: chat_service_pb2.ON_BUSY_QUEUE,
    OnBusy.INTERRUPT: chat_service_pb2.ON_BUSY_INTERRUPT,
}
_ENDS = {
    "answer": "had already ended with an answer",
    "refused": "had already ended with a refusal",
    "failed": "had already ended with a failure",
    "cancelled": "is cancelled",
}

TurnArgument = Annotated[str, typer.Argument(help="The turn, as turns/{uuid} or as the UUID alone.")]
AsEvents = Annotated[bool, typer.Option("--json", help="Print one TurnEvent per line, as proto-JSON.")]
Deltas = Annotated[
    bool,
    typer.Option(
        "--deltas/--no-deltas", help="With --json: also print the pieces of the answer as they arrive."
    ),
]


def register(app: typer.Typer, name: str) -> None:
    """Add the command `name`: ask, resume or cancel."""
    app.command(name)({"ask": ask, "resume": resume, "cancel": cancel}[name])


def ask(
    question: Annotated[
        str, typer.Argument(help="The question, at most 16 KiB; - reads the question from standard input.")
    ],
    conversation: Annotated[
        str,
        typer.Option(
            help="Continue this conversation, as conversations/{uuid}. Default: a new conversation."
        ),
    ] = "",
    collection: Annotated[
        list[str] | None,
        typer.Option(
            "--collection",
            "-c",
            help="Answer from this collection; repeatable. Default: all collections that you may read.",
        ),
    ] = None,
    request_id: Annotated[
        str | None,
        typer.Option(
            help="Any UUID. A repeated command with the same UUID and question shows the existing turn and asks nothing."
        ),
    ] = None,
    deltas: Deltas = True,
    agent: Annotated[
        str, typer.Option(help="The id of the agent that answers. Default: the server's default agent.")
    ] = "",
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            "-p",
            help="A parameter of the agent, as name=value; repeatable. `responsa agents show AGENT` lists the parameters.",
        ),
    ] = None,
    max_cost: Annotated[
        str,
        typer.Option(
            help="The maximum to spend on model calls, in US dollars, e.g. 0.05. Default: the agent's own limit."
        ),
    ] = "",
    on_busy: Annotated[
        OnBusy, typer.Option(help="What to do if the conversation already has a running turn.")
    ] = OnBusy.REJECT,
    cancel_on_disconnect: Annotated[
        bool,
        typer.Option(
            "--cancel-on-disconnect", help="Cancel the turn 10 seconds after its last follower has left."
        ),
    ] = False,
    json: AsEvents = False,
) -> None:
    """Ask a question and get a cited answer, or a refusal with its reason.

    If the connection is lost or the server restarts, the command reconnects and prints every event once, in order.
    Ctrl-C stops the command, but not the turn; the command then prints how to resume the turn. After the answer, the
    command prints the agent and the model, each fallback, and the cost on stderr.

    Exit codes: 0 answered or refused, 1 the turn failed, 2 bad usage, 3 cannot connect or sign in, 4 the turn was
    cancelled, 130 interrupted by Ctrl-C. With --json, an error before the turn begins is printed as a line {"error":
    google.rpc.Status}.
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
            max_cost_usd_micros=most,
            on_busy=_ON_BUSY[on_busy],
            cancel_on_disconnect=cancel_on_disconnect,
            on_notice=printer.notice,
        )
        try:
            printer.follow(stream, cancel_on_disconnect=cancel_on_disconnect)
        except (InvalidRequest, NotFound) as error:
            _explain(client, agent, error)
            raise


def resume(
    turn: TurnArgument,
    after: Annotated[
        int,
        typer.Option(
            min=0, help="The seq of the last event that you have received; 0 starts with the first event."
        ),
    ] = 0,
    deltas: Deltas = True,
    json: AsEvents = False,
) -> None:
    """Follow a turn that was asked earlier, here or elsewhere, while it runs or after it has ended.

    The command prints each event after the given seq once, in order. It has the same exit codes as `ask`.
    """
    with reporting(json=json), open_client(timeout=None) as client:
        printer = TurnPrinter(json=json, begin="Following...")
        name = valid_text(turn, "The turn")
        printer.follow(
            client.resume(name, after, deltas if json else printer.wants_deltas, on_notice=printer.notice)
        )


def cancel(
    turn: TurnArgument,
    json: Annotated[bool, typer.Option("--json", help="Print the ended Turn as proto-JSON.")] = False,
) -> None:
    """Cancel a turn that has not ended, even if its question was asked in another program or on another machine. The
    command can be repeated safely.

    Exit codes: 0 the turn is cancelled or had already ended, 1 any other failure, 2 the turn does not exist, 3 cannot
    connect or sign in.
    """
    with reporting(json=json), open_client() as client:
        ended = client.cancel(valid_text(turn, "The turn"))
        if json:
            print_json(ended)
        else:
            how = _ENDS.get(ended.terminal_event.WhichOneof("event") or "", "has ended")
            print_text(f"{ended.name} {how}.")


def asked_agent(client: Responsa, agent: str) -> agent_pb2.Agent:
    """Return the agent that answers a question. agent: the agent's id, the name of one of its versions, or "" for the
    server's default agent.

    Raises:
        NotFound: the agent does not exist; the metadata lists the known agents.
        CommandFailed: the server has no default agent.
    """
    if agent:
        return client.agent(agent.partition("/versions/")[0])
    default = next((one for one in client.agents() if one.is_default), None)
    if default is None:
        raise CommandFailed("The server has no default agent.", "Name an agent with --agent.", EXIT_USAGE)
    return client.agent(default.name)


def _explain(client: Responsa, agent: str, error: ResponsaError) -> None:
    """If the server refused the parameters, add a note about the permitted parameters to the error.

    If the permitted parameters cannot be read, the error gets no note.
    """
    if error.reason not in REASONS:
        return
    with contextlib.suppress(ResponsaError, CommandFailed):
        if advice := hint(asked_agent(client, agent), error):
            error.add_note(advice)


def micros(dollars: str) -> int | None:
    """Convert dollars to millionths of a dollar, and "" to None.

    Raises:
        CommandFailed: the text is not an amount of money, is less than a millionth, or is not a whole number of millionths.
    """
    if not dollars:
        return None
    try:
        found = Decimal(dollars) * 1_000_000
        if found.is_finite() and 1 <= found < 2**63 and found == int(found):
            return int(found)
    except InvalidOperation:
        pass
    raise CommandFailed(
        f"{dollars!r} is not an amount of money.",
        "Give US dollars, at least 0.000001, such as --max-cost 0.05.",
        EXIT_USAGE,
    )


def _from_stdin() -> str:
    if sys.stdin.isatty():
        sys.stderr.write("Write the question, then press Ctrl-D.\n")
    data = sys.stdin.buffer.read(_MAX_STDIN)
    try:
        return data.decode().rstrip("\n")
    except UnicodeDecodeError:
        raise CommandFailed(
            "The question is not valid UTF-8.", "Send it as UTF-8 text.", EXIT_USAGE
        ) from None


class TurnPrinter:
    """Prints one turn.

    With `json`, each event is printed as a line when it arrives. Without `json`, the progress is shown on a terminal,
    and the result is printed at the end; then the agent and model, each fallback, and the cost are printed on stderr.
    """

    def __init__(self, *, json: bool, begin: str) -> None:
        self._json = json
        self._live = LiveAnswer(wanted=not json, begin=begin)

    @property
    def wants_deltas(self) -> bool:
        """Whether the printer shows progress on a terminal and therefore needs the deltas."""
        return self._live.visible

    def notice(self, notice: Notice) -> None:
        """Show a notice. Pass this method to the client as `on_notice`."""
        self._live.notice(notice)

    def follow(self, stream: TurnStream, *, cancel_on_disconnect: bool = False) -> None:
        """Print the turn to its end.

        Raises:
            typer.Exit: the turn failed or was cancelled, or Ctrl-C was pressed.
        """
        # The seq of the last event that was printed completely. If Ctrl-C interrupts the printing of an event, that
        # event is printed again when the turn is resumed.
        printed = stream.last_seq
        agent_version = ""
        try:
            with stream, self._live:
                for event in stream:
                    agent_version = event.started.agent_version or agent_version
                    if self._json:
                        print_json(event)
                    else:
                        self._live.event(event, stream.text)
                    printed = stream.last_seq
        except KeyboardInterrupt:
            print_error(_left(stream, printed, cancel_on_disconnect))
            raise typer.Exit(EXIT_INTERRUPTED) from None
        # A stream that ends without raising has delivered its terminal event.
        assert stream.terminal is not None
        if not self._json:
            _print_end(stream.terminal)
            for sentence in remarks(outcome(stream.terminal), agent_version):
                print_error(sentence)
        error = turn_error(stream.terminal)
        if error is not None:
            retriable = stream.terminal.failed.retriable
            sentence = sentence_of(error)
            said = any(one in sentence.casefold() for one in ("ask again", "try again"))
            print_error(sentence + (" Ask again." if retriable and not said else ""))
            raise typer.Exit(
                EXIT_CANCELLED if stream.terminal.WhichOneof("event") == "cancelled" else EXIT_FAILED
            )


def _left(stream: TurnStream, printed: int, cancel_on_disconnect: bool) -> str:
    if not stream.turn:
        return (
            "Interrupted before the server had confirmed the question. To follow its turn, ask the same question with "
            f"--request-id {stream.request_id}."
        )
    follow = going_on(stream.turn, printed)
    if cancel_on_disconnect:
        return f"Interrupted. {stream.turn} is cancelled in 10 seconds unless you follow it: {follow}."
    return f"Interrupted. {stream.turn} continues: {follow} follows it, `responsa cancel {stream.turn}` cancels it."


def _print_end(event: turn_pb2.TurnEvent) -> None:
    match event.WhichOneof("event"):
        case "answer":
            print_text(answer_text(event.answer))
        case "refused":
            print_text(event.refused.message)
        case _:
            pass
