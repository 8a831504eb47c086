"""Reads the questions of a talk: from a terminal with line editing and a history, or one per line from a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TextIO, cast

from responsa_server.cli import history
from responsa_server.cli.output import print_error
from responsa_server.cli.terminal import can_move_cursor, terminal_type

_PROMPT = "> "
_MAX_LINE = 256 * 1024


class Reader(Protocol):
    """Reads questions."""

    def read(self) -> str | None:
        """Return the next question, which may be empty, or None at the end.

        Bytes that are not UTF-8 become lone surrogates.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed at an empty prompt, or without an editor.
        """
        ...


def is_interactive() -> bool:
    """Whether a user types the questions and sees the prompt, which is written to stderr."""
    # A stream that the caller has closed is None.
    streams = cast("Sequence[TextIO | None]", (sys.stdin, sys.stderr))
    return all(stream is not None and stream.isatty() for stream in streams)


def open_reader(*, keep: bool) -> Reader:
    """Return the reader for this process's stdin. keep: whether a terminal's questions are kept in the history file."""
    if is_interactive() and can_move_cursor():
        return _Editor(keep=keep)
    return _Lines(_PROMPT if is_interactive() else "")


class _Lines:
    """Reads lines of stdin, as UTF-8."""

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt

    def read(self) -> str | None:
        if self._prompt:
            sys.stderr.write(self._prompt)
            sys.stderr.flush()
        if cast("TextIO | None", sys.stdin) is None:
            return None
        data = rest = self._line()
        # The server refuses so long a question, so its rest is not needed.
        while len(rest) == _MAX_LINE and not rest.endswith(b"\n"):
            rest = sys.stdin.buffer.readline(_MAX_LINE)
        return data.decode(errors="surrogateescape").strip() if data else None

    def _line(self) -> bytes:
        data = b""
        try:
            data = sys.stdin.buffer.readline(_MAX_LINE)
        finally:
            # After Ctrl-C or Ctrl-D, the terminal is still on the prompt's line.
            if self._prompt and not data:
                sys.stderr.write("\n")
        return data


class _Editor:
    """Reads questions from a terminal, with line editing.

    Enter sends the question, also one of several lines that was pasted. Alt-Enter begins a new line.
    """

    def __init__(self, *, keep: bool) -> None:
        # Imported late, because only a talk on a terminal needs the library.
        from prompt_toolkit import PromptSession
        from prompt_toolkit.history import InMemoryHistory
        from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
        from prompt_toolkit.output.vt100 import Vt100_Output

        bindings = KeyBindings()

        @bindings.add("c-c", eager=True)
        @bindings.add("<sigint>", eager=True)
        def interrupt(event: KeyPressEvent) -> None:
            if event.current_buffer.text:
                event.current_buffer.reset()
            else:
                event.app.exit(exception=KeyboardInterrupt())

        @bindings.add("escape", "enter")
        def new_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        self._path: Path | None = None
        earlier: Sequence[str] = ()
        if keep:
            try:
                self._path = history.history_file()
                earlier = history.read(self._path)
            except OSError as error:
                self._give_up(error)
        self._last = earlier[-1] if earlier else ""
        output = Vt100_Output.from_pty(sys.stderr, term=terminal_type())
        # The library asks the terminal for the cursor's place only to arrange menus, of which there are none here. Not all
        # terminals respond.
        output.enable_cpr = False
        self._session: PromptSession[str] = PromptSession(
            output=output, history=InMemoryHistory(earlier), key_bindings=bindings, enable_suspend=True
        )

    def read(self) -> str | None:
        try:
            question = self._session.prompt(_PROMPT).strip()
        except EOFError:
            return None
        if question and question != self._last and self._path is not None:
            try:
                history.add(self._path, question)
            except OSError as error:
                self._give_up(error)
        self._last = question
        return question

    def _give_up(self, error: OSError) -> None:
        print_error(f"The questions of this talk are not kept: {error}.")
        self._path = None
