"""The problems that keep a program from running until a person fixes them."""

from __future__ import annotations


class Fixable(Exception):
    """A problem that a person can fix. It has a message, which states the problem, and a remedy.

    `str()` is one line, "<message>; <remedy>.", ready to print on a terminal.
    """

    def __init__(self, message: str, remedy: str) -> None:
        self.message = _one_line(message)
        self.remedy = _one_line(remedy)
        super().__init__(f"{self.message}; {self.remedy}.")


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".;")
