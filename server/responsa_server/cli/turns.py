"""The commands `responsa ask` and `resume`, which follow one turn. They print its events as they
arrive, and then its result and the command that continues the conversation. After Ctrl-C, they print the command that
resumes the turn.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated

import typer

from responsa.chat.v1 import agent_pb2, chat_service_pb2, excerpt_pb2, turn_pb2
from responsa_client import Responsa, TurnStream
from responsa_client.connection import SILENCE_SECONDS
from responsa_client.errors import DeadlineExceeded, InvalidRequest, NotFound, ResponsaError, Unavailable
from responsa_client.notices import Notice
from responsa_client.results import outcome, turn_error
from responsa_server.cli import excerpts
from responsa_server.cli.call_errors import going_on, sentence_of
from responsa_server.cli.labels import FilterOption
from responsa_server.cli.output import (
    EXIT_CANCELLED,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    CommandFailed,
    as_json,
    can_move_cursor,
    print_error,
    print_json,
    print_text,
    reporting,
    valid_text,
)
from responsa_server.cli.parameters import REASONS, format_value, hint, parse_typed
from responsa_server.cli.progress import LiveAnswer
from responsa_server.cli.rendering import (
    answer_body,
    answer_notes,
    origin,
    remarks,
    tool_line,
)
from responsa_server.cli.session import open_client
from responsa_server.domain.formatting import counted

_MAX_STDIN = 1024 * 1024


class OnBusy(StrEnum):
    """What the server does if the conversation has a running turn."""

    REJECT = "reject"
    QUEUE = "queue"
    INTERRUPT = "interrupt"


ON_BUSY = {
    # The server reads an unset field as REJECT. For REJECT, this client leaves the field unset, because the server
    # compares a repeated question with the first question byte by byte.
    OnBusy.REJECT: chat_service_pb2.ON_BUSY_UNSPECIFIED,
    OnBusy.QUEUE: chat_service_pb2.ON_BUSY_QUEUE,
    OnBusy.INTERRUPT: chat_service_pb2.ON_BUSY_INTERRUPT,
}
TurnArgument = Annotated[str, typer.Argument(help="The turn, as turns/{uuid} or as the UUID alone.")]
AsEvents = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one TurnEvent per line, as proto-JSON. The line with `started` also has the turn's name, `turn`.",
    ),
]
Deltas = Annotated[
    bool,
    typer.Option(
        "--deltas/--no-deltas", help="With --json: also print the pieces of the answer as they arrive."
    ),
]
ConversationOption = Annotated[
    str,
    typer.Option(
        "--conversation",
        help="Continue this conversation, as conversations/{uuid} or as the UUID alone. Default: a new conversation.",
    ),
]
CollectionsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--collection",
        "-c",
        help=(
            "Answer from this collection; repeatable. Default: all that you may read, "
            "but Responsa's documentation and the samples only if there are no others."
        ),
    ),
]
AgentOption = Annotated[
    str,
    typer.Option(
        help="The id of the agent that answers. Default: the server's default agent.",
    ),
]
ParametersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        "-p",
        help="A parameter of the agent, as name=value; repeatable. `responsa agents show AGENT` lists the parameters.",
    ),
]
MaxCostOption = Annotated[
    str,
    typer.Option(
        help="The maximum to spend on model calls for one question, in US dollars, e.g. 0.05. Default: the agent's own limit."
    ),
]
MoreOption = Annotated[
    bool,
    typer.Option("--more", help="Without a language model: also print the further passages in full."),
]
VerboseOption = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Print the byte range of each source that has no other place."),
]
OnBusyOption = Annotated[
    OnBusy, typer.Option(help="What to do if the conversation already has a running turn.")
]


def register(app: typer.Typer, name: str) -> None:
    """Add one of the commands `ask` and `resume`. name: which of them."""
    app.command(name)({"ask": ask, "resume": resume}[name])


def ask(
    question: str,
    conversation: ConversationOption = "",
    collection: CollectionsOption = None,
    matching: FilterOption = "",
    request_id: str | None = None,
    deltas: Deltas = True,
    agent: AgentOption = "",
    param: ParametersOption = None,
    max_cost: MaxCostOption = "",
    more: MoreOption = False,
    verbose: VerboseOption = False,
    on_busy: OnBusyOption = OnBusy.REJECT,
    cancel_on_disconnect: Annotated[bool, typer.Option("--cancel-on-disconnect")] = False,
    json: AsEvents = False,
) -> None:
    """Ask a question and get a cited answer, or a refusal with its reason. Without a language model, the answer shows
    the closest passages of the documents.

    The answer is Markdown. A terminal shows it rendered, without colors if NO_COLOR is set; a pipe and a terminal with
    TERM=dumb get the Markdown itself. On stderr, the command prints each call of a tool as it ends and, after the
    answer, the agent and the model, each fallback, the cost, and the command that continues the conversation.

    If the connection is lost or the server restarts, the command reconnects and prints every event once, in order. If
    the server or its database stays unavailable, the command says until when it tries again. If you have asked as many
    questions as you may in a minute, it says until when it waits, and then asks. Ctrl-C stops the command, but not the
    turn; the command then prints how to resume the turn.

    Exit codes: 0 answered or refused, 1 the turn failed, 2 bad usage, 3 cannot connect or sign in, 4 the turn was
    cancelled, 130 interrupted by Ctrl-C. With --json, an error before the turn begins is printed as a line {"error":
    google.rpc.Status}.

    Args:
        question: The question, at most 16 KiB; - reads the question from standard input.
        request_id: Any UUID. A repeated command with the same UUID and question shows the existing turn and
            asks nothing.
        cancel_on_disconnect: Cancel the turn 10 seconds after the last client has stopped following it.
    """
    with reporting(json=json), open_client(SILENCE_SECONDS) as client:
        text = valid_text(_from_stdin() if question == "-" else question, "The question")
        budget = micros(max_cost)
        parameters = parse_typed(param, find_agent(client, agent)) if param else None
        if agent and not conversation and not json:
            try:
                note_missing_tools(find_agent(client, agent))
            except (Unavailable, DeadlineExceeded):
                raise  # the command has waited long enough
            except ResponsaError:
                pass  # whatever is wrong with the agent's name, the question itself reports
        printer = TurnPrinter(json=json, begin="Asking...", more=client if more else None, verbose=verbose)
        stream = client.ask(
            text,
            conversation_name(conversation) or None,
            collection or [],
            request_id,
            deltas if json else printer.wants_deltas,
            agent=agent,
            parameters=parameters,
            max_cost_usd_micros=budget,
            filter_by=valid_text(matching, "The filter"),
            on_busy=ON_BUSY[on_busy],
            cancel_on_disconnect=cancel_on_disconnect,
            on_notice=printer.notice,
        )
        try:
            code = printer.follow(stream, cancel_on_disconnect=cancel_on_disconnect)
        except (InvalidRequest, NotFound) as error:
            explain(client, agent, error)
            raise
        if not json:
            print_next(
                going_on_with("ask", printer.conversation, agent, param, collection, max_cost, matching)
            )
    raise typer.Exit(code)


def resume(
    turn: TurnArgument,
    after: Annotated[int, typer.Option(min=0)] = 0,
    deltas: Deltas = True,
    more: MoreOption = False,
    verbose: VerboseOption = False,
    json: AsEvents = False,
) -> None:
    """Follow a turn that was asked earlier, here or elsewhere, while it runs or after it has ended.

    The command prints each event after the given seq once, in order. At the end, it prints how to continue the conversation
    with the same agent and parameters, but not the --collection, --filter and --max-cost of the question. The exit codes are
    those of `ask`.

    Args:
        after: The seq of the last event that you have received; 0 starts with the first event.
    """
    with reporting(json=json), open_client(SILENCE_SECONDS) as client:
        printer = TurnPrinter(json=json, begin="Following...", more=client if more else None, verbose=verbose)
        name = valid_text(turn, "The turn")
        stream = client.resume(
            name, after, deltas if json else printer.wants_deltas, on_notice=printer.notice
        )
        code = printer.follow(stream)
        if not json:
            # The result is complete without this command.
            with contextlib.suppress(ResponsaError):
                print_next(_going_on_after(client, client.get_turn(stream.turn)))
    raise typer.Exit(code)


def find_agent(client: Responsa, agent: str) -> agent_pb2.Agent:
    """Return the agent that answers a question. agent: the agent's id, the name of one of its versions, or "" for the
    server's default agent.

    Raises:
        NotFound: the agent does not exist; the metadata lists the known agents.
        CommandFailed: the server has no default agent.
    """
    if agent:
        return client.agent(agent.partition("/versions/")[0])
    default = next((known for known in client.agents() if known.is_default), None)
    if default is None:
        raise CommandFailed("The server has no default agent.", "Name an agent with --agent.", EXIT_USAGE)
    return client.agent(default.name)


def note_missing_tools(agent: agent_pb2.Agent) -> None:
    """Say which of its tools an agent works without on this server. Called once for a conversation."""
    if agent.missing_tools:
        tools = ", ".join(agent.missing_tools)
        print_error(
            f"{agent.name.removeprefix('agents/')} works without {tools}, because this server has no "
            "such tool. docs/tools.md says how to declare one."
        )


def explain(client: Responsa, agent: str, error: ResponsaError) -> None:
    """If the server refused the parameters or the conversation's name, add a note about the permitted values to the error.

    If the permitted parameters cannot be read, the error gets no note.
    """
    # The field is `conversation` in a question and `name` in GetConversation.
    if any(violation.field in ("conversation", "name") for violation in error.violations):
        error.add_note(
            "A conversation's name is conversations/{uuid}, as `responsa ask` prints it. --collection selects a collection."
        )
    if error.reason not in REASONS:
        return
    with contextlib.suppress(ResponsaError, CommandFailed):
        if advice := hint(find_agent(client, agent), error):
            error.add_note(advice)


def conversation_name(reference: str) -> str:
    """A bare UUID and "conversations/{uuid}" both name `conversations/{uuid}`; "" remains "".

    Raises:
        CommandFailed: the text is not valid UTF-8.
    """
    name = valid_text(reference, "The conversation")
    return name if "/" in name or not name else f"conversations/{name}"


def going_on_with(
    command: str,
    conversation: str,
    agent: str = "",
    parameters: Sequence[str] | None = None,
    collections: Sequence[str] | None = None,
    max_cost: str = "",
    matching: str = "",
) -> str:
    """Return the command that continues a conversation with the same options, or "" if the conversation is not known."""
    if not conversation:
        return ""
    words = ["responsa", command, "--conversation", conversation, *(["--agent", agent] if agent else [])]
    words += [word for parameter in parameters or () for word in ("--param", parameter)]
    words += [word for collection in collections or () for word in ("--collection", collection)]
    words += ["--filter", matching] if matching else []
    return shlex.join([*words, *(["--max-cost", max_cost] if max_cost else [])])


def _going_on_after(client: Responsa, turn: turn_pb2.Turn) -> str:
    """Return the command that continues a turn's conversation with the turn's agent and parameters. It does not name
    the server's default agent. A turn does not say its collections, filter and maximum cost."""
    agent = turn.agent_version.removeprefix("agents/").partition("/versions/")[0]
    default = next((known.name for known in client.agents() if known.is_default), "") if agent else ""
    values = [f"{name}={format_value(value)}" for name, value in sorted(as_json(turn.parameters).items())]
    return going_on_with("ask", turn.conversation, "" if default == f"agents/{agent}" else agent, values)


def print_next(command: str) -> None:
    """Print on stderr how to continue the conversation. Prints nothing if the command is ""."""
    if command:
        print_error(f"`{command}` continues this conversation.")


def micros(dollars: str) -> int | None:
    """Convert dollars to millionths of a dollar, and "" to None.

    Raises:
        CommandFailed: the text is not an amount of money, is less than a millionth, or is not a whole number of millionths.
    """
    if not dollars:
        return None
    try:
        amount = Decimal(dollars) * 1_000_000
        if amount.is_finite() and 1 <= amount < 2**63 and amount == int(amount):
            return int(amount)
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

    conversation: the turn's conversation; "" until the turn's first event has arrived. more: reads the further passages, so
    that all are printed whole; None to print the first ones as cards. verbose: whether sources without another place have
    their byte ranges.
    """

    def __init__(
        self, *, json: bool, begin: str, more: Responsa | None = None, verbose: bool = False
    ) -> None:
        self._json = json
        self._more, self._verbose = more, verbose
        self._further = 0
        self._live = LiveAnswer(wanted=not json, begin=begin)
        self._agent_version = ""
        # The seq of the last event that was printed completely. If Ctrl-C interrupts the printing of an event, that
        # event is printed again when the turn is resumed.
        self._printed = 0
        self._calls: dict[str, turn_pb2.TurnEvent] = {}
        self.conversation = ""

    @property
    def wants_deltas(self) -> bool:
        """Whether the printer shows progress on a terminal and therefore needs the deltas."""
        return self._live.visible

    def notice(self, notice: Notice) -> None:
        """Show a notice. Pass this method to the client as `on_notice`."""
        self._live.notice(notice)

    def follow(self, stream: TurnStream, *, cancel_on_disconnect: bool = False) -> int:
        """Print the turn to its end, and return the exit code.

        Raises:
            typer.Exit: Ctrl-C was pressed.
        """
        try:
            terminal = self.watch(stream)
        except KeyboardInterrupt:
            print_error(self.describe_rest(stream, cancel_on_disconnect=cancel_on_disconnect))
            raise typer.Exit(EXIT_INTERRUPTED) from None
        return self.finish(terminal, stream.turn)

    def watch(self, stream: TurnStream) -> turn_pb2.TurnEvent:
        """Print the turn's events as they arrive, and return the terminal event."""
        self._printed = stream.last_seq
        with stream, self._live:
            for event in stream:
                self._agent_version = event.started.agent_version or self._agent_version
                self.conversation = event.started.conversation or self.conversation
                if self._json:
                    print_json(
                        {**as_json(event), "turn": stream.turn} if event.HasField("started") else event
                    )
                else:
                    self._live.event(event, stream.text)
                    self._tool(event)
                self._printed = stream.last_seq
        # A stream that ends without raising has delivered its terminal event.
        assert stream.terminal is not None
        return stream.terminal

    def _tool(self, event: turn_pb2.TurnEvent) -> None:
        if event.HasField("tool_call"):
            self._calls[event.tool_call.call_id] = event
        elif event.HasField("tool_result"):
            began = self._calls.pop(event.tool_result.call_id, event)
            took = event.create_time.ToDatetime() - began.create_time.ToDatetime()
            line = tool_line(began.tool_call, event.tool_result, max(0.0, took.total_seconds()))
            self._live.print_error(line)

    def finish(self, terminal: turn_pb2.TurnEvent, turn: str) -> int:
        if not self._json:
            self._print_end(terminal, turn)
            for sentence in remarks(outcome(terminal), self._agent_version):
                print_error(sentence)
            if self._further:
                passages = counted(self._further, "more passage", "more passages")
                print_error(f"{passages}: `responsa resume {turn} --more` prints all of them in full.")
        error = turn_error(terminal)
        if error is None:
            return 0
        sentence = sentence_of(error)
        advises = any(phrase in sentence.casefold() for phrase in ("ask again", "try again"))
        print_error(sentence + (" Ask again." if terminal.failed.retriable and not advises else ""))
        return EXIT_CANCELLED if terminal.WhichOneof("event") == "cancelled" else EXIT_FAILED

    def _print_end(self, event: turn_pb2.TurnEvent, turn: str) -> None:
        match event.WhichOneof("event"):
            case "answer" if event.answer.excerpts:
                print_text(excerpts.introduction(event.answer))
                self._print_passages([*event.answer.excerpts, *event.answer.more_excerpts], turn)
            case "answer":
                if body := answer_body(event.answer):
                    print_answer(body)
                notes = answer_notes(event.answer, verbose=self._verbose), origin(event.answer)
                if any(notes):
                    print_text("\n" + "\n\n".join(filter(None, notes)))
                if closest := event.answer.more_excerpts:
                    print_text("\nClosest passages")
                    self._print_passages(closest, turn)
            case "refused":
                print_text(event.refused.message)
                self._print_passages(event.refused.excerpts, turn)
            case _:
                pass

    def _print_passages(self, passages: Sequence[excerpt_pb2.Excerpt], turn: str) -> None:
        if self._more is not None:
            filled = [_fill(self._more, excerpt, turn) for excerpt in passages]
            excerpts.print_cards(filled, whole=True)
            return
        cards = [excerpt for excerpt in passages if excerpt.markdown][: excerpts.MOST_CARDS]
        excerpts.print_cards(cards)
        self._further = len(passages) - len(cards)

    def describe_rest(self, stream: TurnStream, *, cancel_on_disconnect: bool = False) -> str:
        """Describe how to follow or cancel the turn, which goes on without this command."""
        if not stream.turn:
            return (
                "Interrupted before the server had confirmed the question. To follow its turn, ask the same question with "
                f"--request-id {stream.request_id}."
            )
        follow = going_on(stream.turn, self._printed)
        if cancel_on_disconnect:
            return f"Interrupted. {stream.turn} is cancelled in 10 seconds unless you follow it: {follow}."
        cancel = f"`responsa call ChatService.CancelTurn --name {stream.turn}`"
        return f"Interrupted. {stream.turn} continues: {follow} follows it, {cancel} cancels it."


def _fill(client: Responsa, excerpt: excerpt_pb2.Excerpt, turn: str) -> excerpt_pb2.Excerpt:
    """The excerpt with its text, or with the reason why there is none any more."""
    if excerpt.markdown:
        return excerpt
    try:
        return client.get_passage(excerpt.passage, turn=turn).excerpt
    except NotFound as error:
        gone = excerpt_pb2.Excerpt(markdown=sentence_of(error))
        gone.MergeFrom(excerpt)
        return gone


def print_answer(markdown: str) -> None:
    """Print Markdown on stdout: rendered on a terminal, and as it is in a pipe or with TERM=dumb."""
    if not sys.stdout.isatty() or not can_move_cursor():
        print_text(markdown)
        return
    # Imported late, because it loads the renderer, which only a terminal needs.
    from responsa_server.cli.markdown import print_markdown

    print_markdown(markdown)
