"""The display on a terminal's stderr while a command works: a progress bar, or a turn's current step with the last
lines of its answer. The display is redrawn in place and erased at the end.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.spinner import Spinner
from rich.text import Text

from responsa.admin.v1 import source_pb2
from responsa.chat.v1 import turn_pb2
from responsa.knowledge.v1 import document_pb2, generation_pb2
from responsa_client.notices import Notice, Reconnecting, Waiting
from responsa_server.cli.connecting import ClientLine
from responsa_server.cli.output import disarm, messages_console, print_error

_LINE_SECONDS: Final = 30.0
"""The least time between two lines without a terminal."""


class Progress:
    """A context manager with a progress bar that counts up to `total` steps. If stderr is not a terminal, a line every
    half a minute says how many steps are done.
    """

    def __init__(self, label: str, total: int) -> None:
        self._console = messages_console()
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(label, total=total, detail="")
        self._label = label
        self._printed = time.monotonic()

    def advance(self) -> None:
        self._bar.advance(self._task)
        self._print_line()

    def reach(self, done: int, total: int) -> None:
        """Count up to `done` of `total` steps."""
        self._bar.update(self._task, completed=done, total=total)
        self._print_line()

    def detail(self, text: str) -> None:
        """Show what one of the current steps does, after the bar."""
        self._bar.update(self._task, detail=disarm(text))

    def print_error(self, sentence: str) -> None:
        """Print a separate line above the bar."""
        if self._console.is_terminal:
            self._console.print(f"responsa: {disarm(sentence)}", soft_wrap=True)
        else:
            print_error(sentence)

    def _print_line(self) -> None:
        now = time.monotonic()
        if self._console.is_terminal or now - self._printed < _LINE_SECONDS:
            return
        self._printed = now
        [task] = self._bar.tasks
        if task.total:
            print_error(f"{self._label}: {task.completed:,.0f} of {task.total:,.0f}")

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()


_STAGES = {
    document_pb2.INGEST_STAGE_QUEUED: "queued",
    document_pb2.INGEST_STAGE_PARSING: "parsing",
    document_pb2.INGEST_STAGE_EMBEDDING: "embedding",
}


def reading(progress: document_pb2.IngestMetadata | generation_pb2.ReindexMetadata) -> str:
    """The stage of an operation, or that its instance is paused; its passages and the time left, as far as they are known."""
    text = f"{'paused' if progress.paused else _STAGES.get(progress.stage, 'running'):<9}"
    if progress.passages_total:
        text += f"  {progress.passages_done:,} of {progress.passages_total:,} passages"
    if progress.HasField("time_left"):
        text += f", {_time_left(progress.time_left.ToTimedelta().total_seconds())} left"
    return text.rstrip()


def _time_left(seconds: float) -> str:
    """A rough time, because an estimate is no better than that."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"about {seconds / length:.0f} {unit}"
    return f"about {max(1.0, seconds):.0f} s"


_LINES = 8
"""The number of an answer's lines on a small terminal. On a large terminal, they fill half of it."""


class LiveAnswer:
    """A context manager that shows a turn's progress if stderr is a terminal, and otherwise nothing.

    It shows the last lines of the answer as they arrive, in a height that the terminal can redraw in place. A takeover may
    withdraw a part of this text; therefore nothing stays on the screen, and the caller prints the answer when it is
    complete.
    """

    def __init__(self, *, wanted: bool, begin: str) -> None:
        console = messages_console()
        self.visible = wanted and console.is_terminal
        self._console = console
        self._step = begin
        self._text = ""
        self._waiting = ClientLine(self.print_error)
        self._spinner = Spinner("dots", begin)
        self._live = Live(
            self._spinner, console=console, transient=True, refresh_per_second=12.5, redirect_stdout=False
        )

    def event(self, event: turn_pb2.TurnEvent, text: str) -> None:
        """Show an event of the turn. text: the answer so far, including this event."""
        match event.WhichOneof("event"):
            case "status":
                again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
                self._step = event.status.message + again
            case "tool_call":
                self._step = (
                    f"Calling {event.tool_call.title or event.tool_call.tool.removeprefix('tools/')}..."
                )
            case "provider_switched":
                switched = event.provider_switched
                failed = "broke off its answer" if switched.mid_answer else "did not answer"
                self._step = f"{switched.source} {failed}. Calling {switched.target}..."
            case "attempt_restarted":
                self._step = "Starting again: another worker or model took over..."
            case _:
                pass
        self._text = text
        self._draw(self._step)

    def notice(self, notice: Notice) -> None:
        """Show that the turn waits, or that the connection was lost. What a line says of it stays, also without a terminal."""
        match notice:
            case Waiting(ahead):
                earlier = "1 earlier question" if ahead == 1 else f"{ahead} earlier questions"
                self._draw(f"Waiting for {earlier}..." if ahead else self._step)
            case Reconnecting():
                self._draw(self._waiting.notice(notice) or "The connection was lost. Connecting again...")

    def print_error(self, sentence: str) -> None:
        """Print a line that stays, above the answer."""
        if self.visible:
            self._console.print(f"responsa: {disarm(sentence)}", soft_wrap=True)
        else:
            print_error(sentence)

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
            self._spinner.update(text=Text(disarm(step)))
            self._live.update(self._view())

    def _view(self) -> RenderableType:
        if not self._text:
            return self._spinner
        # A text with more lines than the terminal could not be redrawn in place.
        height = max(1, min(max(_LINES, self._console.height // 2), self._console.height - 2))
        screen = height * self._console.width
        # The beginning of the wrapped text moves in large steps, so that the lines break at the same words for a while.
        begin = max(0, len(self._text) - screen) // (4 * screen) * (4 * screen)
        lines = Text(disarm(self._text[begin:])).wrap(self._console, self._console.width)
        return Group(*lines[-height:], self._spinner)


def running(progress: source_pb2.SyncMetadata) -> str:
    """How far a run of a source has come, in a few words."""
    if progress.paused:
        return "paused"
    match progress.stage:
        case source_pb2.SYNC_STAGE_READING:
            return "reading"
        case source_pb2.SYNC_STAGE_INDEXING:
            return f"indexing {progress.documents_done} of {progress.documents_total}"
        case source_pb2.SYNC_STAGE_DONE:
            return "done"
        case _:
            return "waiting"


def describe_sync(result: source_pb2.SyncResult) -> str:
    """What a run of a source has done."""
    parts = [
        f"{count} {word}"
        for count, word in (
            (result.created, "created"),
            (result.updated, "updated"),
            (result.deleted, "deleted"),
            (result.failed, "failed"),
            (result.skipped, "skipped"),
        )
        if count
    ]
    return ", ".join([*parts, f"{result.unchanged} unchanged"])
