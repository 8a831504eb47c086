"""Printing a turn for `ask` and `resume`: its events as they come, its end, and how to go on after Ctrl-C."""

from __future__ import annotations

import typer

from responsa.chat.v1 import turn_pb2
from responsa_client import TurnStream
from responsa_client.following import Notice
from responsa_client.results import outcome, turn_error
from responsa_server.cli.failures import (
    EXIT_CANCELLED,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    going_on,
    print_error,
    sentence_of,
)
from responsa_server.cli.output import print_json, print_text
from responsa_server.cli.progress import LiveAnswer
from responsa_server.cli.rendering import answer_text, remarks


class TurnPrinter:
    """Prints one turn: with `json` each event as a line, at once; else its end, and on a terminal its progress until then.

    With an end in text, stderr says who answered, what fell back and what it cost.
    """

    def __init__(self, *, json: bool, begin: str) -> None:
        self._json = json
        self._live = LiveAnswer(wanted=not json, begin=begin)

    @property
    def wants_deltas(self) -> bool:
        """Whether progress is drawn on a terminal."""
        return self._live.visible

    def notice(self, notice: Notice) -> None:
        """Take a notice; for `on_notice` of the client."""
        self._live.notice(notice)

    def follow(self, stream: TurnStream, *, cancel_on_disconnect: bool = False) -> None:
        """Print the turn to its end.

        Raises:
            typer.Exit: it failed, was cancelled, or was left by Ctrl-C.
        """
        # Counts only events that were printed whole: one that Ctrl-C interrupts comes again when the turn is resumed.
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
            f"Left before the question was known to be taken on. The same question with --request-id {stream.request_id} "
            "attaches to it."
        )
    follow = going_on(stream.turn, printed)
    if cancel_on_disconnect:
        return f"Left. {stream.turn} is cancelled in 10 seconds unless it is followed: {follow}."
    return f"Left. {stream.turn} goes on: {follow} follows it, `responsa cancel {stream.turn}` ends it."


def _print_end(event: turn_pb2.TurnEvent) -> None:
    match event.WhichOneof("event"):
        case "answer":
            print_text(answer_text(event.answer))
        case "refused":
            print_text(event.refused.message)
        case _:
            pass
