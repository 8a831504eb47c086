"""What a terminal shows while an answer is made: the step, and the end of the text so far. It is drawn on stderr, over and over, and leaves nothing behind."""

from __future__ import annotations

from types import TracebackType

from rich.console import Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from responsa.chat.v1 import turn_pb2
from responsa_client.following import Notice, Reconnecting, Waiting
from responsa_server.cli.output import messages_console, shown

_LINES = 8
_TAIL = 2000


class LiveAnswer:
    """Shows a turn's progress where stderr is a terminal, and nothing elsewhere. Use it as a context manager."""

    def __init__(self, *, wanted: bool, begin: str) -> None:
        console = messages_console()
        self.visible = wanted and console.is_terminal
        self._console = console
        self._step = begin
        self._text = ""
        self._spinner = Spinner("dots", begin)
        self._live = Live(
            self._spinner, console=console, transient=True, refresh_per_second=12.5, redirect_stdout=False
        )

    def event(self, event: turn_pb2.TurnEvent, text: str) -> None:
        """Something of the turn came; `text` is the answer as it stands after it."""
        match event.WhichOneof("event"):
            case "status":
                again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
                self._step = event.status.message + again
            case "tool_call":
                self._step = f"Calling {event.tool_call.tool.removeprefix('tools/')}..."
            case "provider_switched":
                switched = event.provider_switched
                self._step = f"{switched.source} gave nothing. Asking {switched.target}..."
            case "attempt_restarted":
                self._step = "Starting over: another worker took the question on..."
            case _:
                pass
        self._text = text
        self._draw(self._step)

    def notice(self, notice: Notice) -> None:
        """Something else than an event happened."""
        match notice:
            case Waiting(place):
                before = "1 question comes" if place == 1 else f"{place} questions come"
                self._draw(f"Waiting: {before} before this one." if place else self._step)
            case Reconnecting():
                self._draw("The connection was lost. Going on...")

    def __enter__(self) -> LiveAnswer:
        if self.visible:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.visible:
            self._live.stop()

    def _draw(self, step: str) -> None:
        if self.visible:
            self._spinner.update(text=Text(shown(step)))
            self._live.update(self._view())

    def _view(self) -> RenderableType:
        if not self._text:
            return self._spinner
        lines = Text(shown(self._text[-_TAIL:])).wrap(self._console, self._console.width)
        # Higher than the terminal it could not be drawn over.
        most = max(1, min(_LINES, self._console.height - 2))
        return Group(*lines[-most:], self._spinner)
