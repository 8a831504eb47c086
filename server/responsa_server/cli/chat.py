"""The command `responsa chat`: a talk, which is one conversation of many questions.

On a terminal, Ctrl-C stops the answer that is coming, and the talk goes on. Questions may also come from a pipe, one per
line.
"""

from __future__ import annotations

import sys
import termios
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Final

import typer

from responsa.chat.v1 import excerpt_pb2, turn_pb2
from responsa_client import Responsa, TurnStream
from responsa_client.errors import InvalidRequest, NotFound, ResponsaError, Unauthenticated
from responsa_server.cli.excerpts import print_cards
from responsa_server.cli.labels import FilterOption
from responsa_server.cli.output import (
    EXIT_CONNECT,
    EXIT_INTERRUPTED,
    exit_code_of,
    one_line,
    print_error,
    print_text,
    reporting,
    valid_text,
)
from responsa_server.cli.parameters import typed
from responsa_server.cli.prompt import is_interactive, open_reader
from responsa_server.cli.session import open_client
from responsa_server.cli.turns import (
    ON_BUSY,
    AgentOption,
    CollectionsOption,
    ConversationOption,
    MaxCostOption,
    OnBusy,
    OnBusyOption,
    ParametersOption,
    TurnPrinter,
    asked_agent,
    conversation_name,
    explain,
    going_on_with,
    micros,
    note_missing_tools,
    print_answer,
    print_next,
)

_WORDS: Final = ("/help", "/more", "/quit")
_HELP: Final = "Enter sends a question, Alt-Enter begins a new line. Ctrl-C stops an answer. /more prints the further passages of the last answer. /quit or Ctrl-D ends the talk."


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""
    app.command(name)(chat)


def chat(
    conversation: ConversationOption = "",
    agent: AgentOption = "",
    param: ParametersOption = None,
    collection: CollectionsOption = None,
    matching: FilterOption = "",
    max_cost: MaxCostOption = "",
    on_busy: OnBusyOption = OnBusy.REJECT,
    no_history: Annotated[
        bool,
        typer.Option(
            "--no-history",
            help="Do not offer questions of earlier talks, and do not keep the questions of this talk.",
        ),
    ] = False,
) -> None:
    """Ask questions one after the other in one conversation.

    On a terminal: Enter sends a question, and Alt-Enter begins a new line. Ctrl-C stops the answer that is coming; a second
    Ctrl-C does not wait for the server. Ctrl-D, or Ctrl-C at an empty prompt, ends the talk; the command then prints how to
    continue it. The questions are kept in ~/.local/state/responsa/chat-history (or below XDG_STATE_HOME), which only you
    can read.

    /help says this in short, /more prints the further passages of the last answer, and /quit ends the talk.

    Without a terminal, each line of standard input is a question. Ctrl-C then stops the answer and ends the command.

    Exit codes: 0 the talk was ended, 2 bad usage, 3 cannot connect or sign in. Without a terminal: 0 if every question was
    answered or refused, 130 after Ctrl-C, and otherwise the exit code that `ask` would have for the last question that failed
    or was cancelled.
    """
    with reporting(), open_client(timeout=None) as client:
        name = conversation_name(conversation)
        found = asked_agent(client, agent)
        ask = partial(
            client.ask,
            collections=collection or (),
            agent=agent,
            parameters=typed(param, found) if param else None,
            max_cost_usd_micros=micros(max_cost),
            filter_by=valid_text(matching, "The filter"),
            on_busy=ON_BUSY[on_busy],
        )
        if name:
            try:
                title = client.get_conversation(name).title
            except InvalidRequest as error:
                explain(client, agent, error)
                raise
            print_error(f"Continuing the conversation “{one_line(title, 80)}”.")
        else:
            note_missing_tools(found)
        if is_interactive():
            speaker = one_line(found.display_name or found.name, 80)
            print_error(f"{speaker} answers. Ctrl-C stops an answer, Ctrl-D ends the talk, /help says more.")
        talk = Talk(client, ask, agent, name)
        code = talk.run(keep=not no_history)
        print_next(going_on_with("chat", talk.conversation, agent, param, collection, max_cost, matching))
    raise typer.Exit(code)


class Talk:
    """A talk. conversation: its conversation; "" until the server has accepted a question."""

    def __init__(
        self, client: Responsa, ask: Callable[..., TurnStream], agent: str, conversation: str
    ) -> None:
        """ask: asks a question with the options of the talk."""
        self.conversation = conversation
        self._client = client
        self._question = ask
        self._agent = agent
        self._interactive = is_interactive()
        self._accepted = False
        self._printed = False
        self._interrupted = False
        self._over = False
        self._further: Sequence[excerpt_pb2.Excerpt] = ()

    def run(self, *, keep: bool) -> int:
        """Ask all questions, and return the exit code. keep: whether a terminal's questions are kept in a file."""
        reader = open_reader(keep=keep)
        code = 0
        try:
            while not self._over and (question := reader.read()) is not None:
                if question in _WORDS:
                    self._told(question)
                elif question:
                    code = self._asked(question) or code
                if self._interactive:
                    sys.stderr.write("\n")
        except KeyboardInterrupt:
            # At the prompt, Ctrl-C ends the talk like Ctrl-D.
            self._interrupted = True
        if self._interrupted and not self._interactive:
            return EXIT_INTERRUPTED
        return code if self._over or not self._interactive else 0

    def _told(self, word: str) -> None:
        """Do what a word of the talk itself says."""
        if word == "/quit":
            self._over = True
        elif word == "/help":
            print_error(_HELP)
        elif self._further:
            print_cards(self._further)
        else:
            print_error("The last answer has no further passages.")

    def _asked(self, question: str) -> int:
        """Ask one question. Returns the exit code that `ask` would have."""
        try:
            with reporting():
                return self._ask(valid_text(question, "The question"))
        except typer.Exit as ended:
            self._interrupted = self._interrupted or ended.exit_code == EXIT_INTERRUPTED
            return ended.exit_code
        finally:
            # Without a terminal, Ctrl-C ends the command, even while a result is being printed.
            self._over = self._over or (self._interrupted and not self._interactive)

    def _ask(self, question: str) -> int:
        printer = TurnPrinter(json=False, begin="Asking...")
        stream = self._question(
            question,
            self.conversation or None,
            include_deltas=printer.wants_deltas,
            on_notice=printer.notice,
        )
        stopped = False
        try:
            with _echo_off():
                try:
                    terminal = printer.watch(stream)
                except KeyboardInterrupt:
                    self._interrupted = stopped = True
                    if not stream.turn:
                        raise
                    print_error("Stopping the answer...")
                    terminal = self._client.cancel(stream.turn).terminal_event
        except KeyboardInterrupt:
            unknown = "Interrupted before the server had confirmed the question; it may still answer."
            print_error(printer.left(stream) if stream.turn else unknown)
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except ResponsaError as error:
            explain(self._client, self._agent, error)
            self._consider(error)
            raise
        finally:
            self.conversation = printer.conversation or self.conversation
            self._accepted = self._accepted or stream.turn != ""
        return self._print(printer, terminal, stream.text, stopped=stopped)

    def _print(self, printer: TurnPrinter, terminal: turn_pb2.TurnEvent, text: str, *, stopped: bool) -> int:
        kept = text if terminal.WhichOneof("event") == "cancelled" else ""
        if terminal.WhichOneof("event") in ("answer", "refused") or kept:
            if self._printed and not (self._interactive and sys.stdout.isatty()):
                print_text("")
            self._printed = True
        if kept:
            # The display of the progress has disappeared, but the user has begun to read this text.
            print_answer(kept)
        code = printer.end(terminal, stopped=stopped)
        self._further = printer.further
        if self._further:
            print_error("/more prints them whole.")
        return code

    def _consider(self, error: ResponsaError) -> None:
        """Decide whether the talk can go on after an error."""
        about_text = any(violation.field == "text" for violation in error.violations)
        if isinstance(error, NotFound) and error.metadata.get("resource_type") == "conversation":
            self.conversation = ""
            error.add_note("The next question begins a new conversation.")
        elif isinstance(error, Unauthenticated):
            self._over = True
        elif isinstance(error, NotFound | InvalidRequest) and not about_text:
            # The options are the same for all questions. If they were right once, an administrator may correct them.
            self._over = not self._accepted
        elif exit_code_of(error) == EXIT_CONNECT:
            # A user can wait for the server, but the next lines of a pipe would fail at once.
            self._over = not self._interactive


@contextmanager
def _echo_off() -> Generator[None]:
    """Hide the characters that the user types, which would mix with the display of the progress. The prompt shows them
    afterwards.
    """
    if not is_interactive():
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    hidden = [*before]
    hidden[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSANOW, hidden)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
