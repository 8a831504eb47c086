"""A progress bar on stderr where that is a terminal, nothing elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from responsa_server.cli.failures import tell
from responsa_server.cli.output import messages_console, shown


class Progress:
    """Counts steps of `total`; use it as a context manager. It is drawn for people alone."""

    def __init__(self, label: str, total: int) -> None:
        self._console = messages_console()
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(label, total=total)

    def advance(self) -> None:
        """One step more."""
        self._bar.advance(self._task)

    def tell(self, sentence: str) -> None:
        """A line of its own, above the bar."""
        if self._console.is_terminal:
            self._console.print(f"responsa: {shown(sentence)}", soft_wrap=True)
        else:
            tell(sentence)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()
