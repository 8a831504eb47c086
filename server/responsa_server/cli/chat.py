"""The command `responsa chat`: one conversation of many questions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module

import typer

from responsa_client import Responsa, TurnStream
from responsa_client.connection import SILENCE_SECONDS
from responsa_client.errors import InvalidRequest, ResponsaError
from responsa_server.cli.labels import FilterOption
from responsa_server.cli.output import (
    EXIT_CANCELLED,
    EXIT_CONNECT,
    EXIT_INTERRUPTED,
    one_line,
    print_error,
    print_text,
    reporting,
    valid_text,
)
from responsa_server.cli.parameters import parse_typed
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
    conversation_name,
    explain,
    find_agent,
    going_on_with,
    micros,
    note_missing_tools,
    print_answer,
    print_next,
)

_KEYS = "Ctrl-C stops an answer, Ctrl-D ends the conversation."


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
) -> None:
    """Ask questions one after the other in one conversation. Each line of standard input is a question.

    The line /help explains the keys. On a terminal, Ctrl-C stops the current answer, and the conversation continues; Ctrl-D, or
    Ctrl-C at the prompt, ends it. The command then prints how to continue it. Without a terminal, Ctrl-C stops the answer and
    the command.

    Exit codes: 0 the conversation was ended, 2 bad usage, 3 cannot connect or sign in. Without a terminal: 0 if every question was
    answered or refused, 130 after Ctrl-C, and otherwise the exit code that `ask` would have for the last question that failed
    or was cancelled.
    """
    with reporting(), open_client(SILENCE_SECONDS) as client:
        name = conversation_name(conversation)
        chosen_agent = find_agent(client, agent)
        ask = partial(
            client.ask,
            collections=collection or (),
            agent=agent,
            parameters=parse_typed(param, chosen_agent) if param else None,
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
            note_missing_tools(chosen_agent)
        session = _ChatSession(client, ask, agent, name)
        if session.interactive:
            speaker = one_line(chosen_agent.display_name or chosen_agent.name, 80)
            print_error(f"{speaker} answers. {_KEYS}")
        code = session.run()
        print_next(going_on_with("chat", session.conversation, agent, param, collection, max_cost, matching))
    raise typer.Exit(code)


class _ChatSession:
    def __init__(
        self, client: Responsa, ask: Callable[..., TurnStream], agent: str, conversation: str
    ) -> None:
        self.conversation = conversation
        self.interactive = sys.stdin.isatty() and sys.stderr.isatty()
        self._client = client
        self._question = ask
        self._agent = agent
        self._printed = False

    def run(self) -> int:
        failed = 0
        while (question := self._read()) is not None:
            if question == "/help":
                print_error(f"Each line is a question. {_KEYS}")
            if question in ("", "/help"):
                continue
            try:
                with reporting():
                    code = self._ask(valid_text(question, "The question"))
            except typer.Exit as ended:
                code = ended.exit_code
            # A user can wait for the server, but the next lines of a pipe would fail at once.
            if code in (EXIT_CONNECT, EXIT_INTERRUPTED) and not self.interactive:
                return code
            failed = code or failed
        return 0 if self.interactive else failed

    def _read(self) -> str | None:
        """The next question, or None at the end. Bytes that are not UTF-8 become lone surrogates."""
        try:
            if self.interactive and sys.stdout.isatty():
                import_module("readline")  # `input` then edits lines
                return input("> ").strip()
            if self.interactive:
                sys.stderr.write("> ")
                sys.stderr.flush()
            line = sys.stdin.buffer.readline().decode(errors="surrogateescape")
        except (EOFError, KeyboardInterrupt):
            line = ""
        if self.interactive and not line:
            sys.stderr.write("\n")
        return line.strip() if line else None

    def _ask(self, question: str) -> int:
        printer = TurnPrinter(json=False, begin="Asking...")
        stream = self._question(
            question,
            self.conversation or None,
            include_deltas=printer.wants_deltas,
            on_notice=printer.notice,
        )
        try:
            terminal = printer.watch(stream)
        except KeyboardInterrupt:
            return self._stop(printer, stream)
        except ResponsaError as error:
            explain(self._client, self._agent, error)
            raise
        finally:
            self.conversation = printer.conversation or self.conversation
        if self._printed and not sys.stdout.isatty():
            print_text("")
        self._printed = True
        return printer.finish(terminal, stream.turn)

    def _stop(self, printer: TurnPrinter, stream: TurnStream) -> int:
        if stream.turn:
            self._client.cancel(stream.turn)
            # The display of the progress has disappeared, but the user has begun to read this text.
            print_answer(stream.text)
            print_error("The answer was stopped.")
        else:
            print_error(printer.describe_rest(stream))
        return EXIT_CANCELLED if self.interactive else EXIT_INTERRUPTED
