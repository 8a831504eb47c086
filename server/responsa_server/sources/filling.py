"""Fills in the templates of a mapping with bounded memory and time.

A template can make gigabytes of a few bytes, by loops or by joining a text with itself, and the engine has no limit for that. So templates that could are filled in in a separate
process with a limit for its memory: `python -m responsa_server.sources.filling`. If it dies or takes too long, the row makes no document, and the next row gets another process, a few times. Templates
that only put values in, like most, are filled in directly.
"""

from __future__ import annotations

import json
import os
import re
import resource
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Final

import responsa_server
from responsa_server.domain.sources import SourceDocument
from responsa_server.sources.mapping import RowProblem, SourceMapping, read_mapping

ROW_SECONDS: Final = 5.0
"""The time limit of the templates of a row."""
_START_SECONDS: Final = 30.0
MEMORY_BYTES: Final = 256 << 20
"""What the process may use beyond what it needs to start."""
_MOST_DEATHS: Final = 10
_DIRECT_BYTES: Final = 8 << 20
_PIECE_BYTES: Final = 1 << 20
_TAG: Final = re.compile(r"\{\{-?(?P<value>.*?)(?:-?\}\}|\Z)|\{%-?(?P<statement>.*?)(?:-?%\}|\Z)", re.DOTALL)
_FILTERS: Final = r"(?:upper|lower|title|capitalize|trim|round|int|float|abs|length|first|last|default)"
# A value with filters that make it hardly longer, and conditions. Neither has loops, `~`, `*` or `+`.
_VALUE: Final = re.compile(rf"\s*[\w.]+(?:\s*\|\s*{_FILTERS}(?:\([\w\s.'\"-]*\))?)*\s*")
_CONDITION: Final = re.compile(r"\s*(?:(?:if|elif)\s[\w\s.'\"!<>=()-]++|else|endif)\s*")
_TOO_MUCH: Final = "The templates make too much text of this row; simplify them."
_TOO_OFTEN: Final = (
    "The templates made too much text of earlier rows, so this row was not tried; simplify them."
)
_TOO_LONG: Final = f"The templates take longer than {ROW_SECONDS:g} s for this row; simplify them."


class Filler:
    """Makes documents of rows. Blocks; for one thread at a time. To be closed."""

    def __init__(self, mapping: SourceMapping) -> None:
        self._mapping = mapping
        self._plain = {kind: _values(mapping, kind) for query in mapping.queries for kind in query.kinds}
        self._process: subprocess.Popen[bytes] | None = None
        self._pending = b""
        self._closed = False
        self._deaths = 0

    def document(self, kind: str, row: Mapping[str, object]) -> SourceDocument:
        """The document that a row makes. Raises RowProblem."""
        values = self._plain[kind]
        if values is not None and values * max(map(_size, row.values()), default=0) <= _DIRECT_BYTES:
            return self._mapping.document(kind, row)
        if self._deaths == _MOST_DEATHS:
            raise RowProblem(_TOO_OFTEN)
        try:
            found = self._elsewhere(kind, row)
        except RowProblem:
            self._deaths += 1
            self._end()
            raise
        if "problem" in found:
            raise RowProblem(found["problem"])
        return SourceDocument(**found["document"])

    def close(self) -> None:
        """End the process. A row that another thread still fills in fails."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        process, self._process, self._pending = self._process, None, b""
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            process.wait()

    def _elsewhere(self, kind: str, row: Mapping[str, object]) -> Mapping[str, Any]:
        """The answer of the process. Raises RowProblem if it dies or takes too long."""
        if self._process is None:
            self._process = _started()
            if self._closed:
                self._end()
                raise RowProblem(_TOO_LONG)
            self._send(self._process, {"mapping": self._mapping.text})
            self._received(self._process, _START_SECONDS)
        self._send(self._process, {"kind": kind, "row": dict(row)})
        return self._received(self._process, ROW_SECONDS)

    def _send(self, process: subprocess.Popen[bytes], message: Mapping[str, object]) -> None:
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(message).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise RowProblem(_TOO_MUCH) from None

    def _received(self, process: subprocess.Popen[bytes], seconds: float) -> dict[str, Any]:
        """The next message of the process. Raises RowProblem if it dies or takes too long."""
        assert process.stdout is not None
        descriptor, until = process.stdout.fileno(), time.monotonic() + seconds
        pieces = [self._pending]
        while b"\n" not in pieces[-1]:
            if not select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
                raise RowProblem(_TOO_LONG)
            piece = os.read(descriptor, _PIECE_BYTES)
            if not piece:
                raise RowProblem(_TOO_MUCH)
            pieces.append(piece)
        line, _, self._pending = b"".join(pieces).partition(b"\n")
        return json.loads(line)


def _values(mapping: SourceMapping, kind: str) -> int | None:
    """The number of values that the templates of a kind put in; None if they do more than that."""
    count = 0
    for body in mapping.bodies(kind):
        for tag in _TAG.finditer(body):
            fits = (
                _VALUE.fullmatch(tag["value"])
                if tag["value"] is not None
                else _CONDITION.fullmatch(tag["statement"])
            )
            if fits is None:
                return None
            count += tag["value"] is not None
    return count


def _size(value: object) -> int:
    return len(value) if isinstance(value, str) else len(json.dumps(value))


def _started() -> subprocess.Popen[bytes]:
    # Nothing of the server's environment, which may hold passwords.
    place = str(Path(responsa_server.__file__ or "").resolve().parents[1])
    environment = {"PYTHONPATH": place, "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "responsa_server.sources.filling"],
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )


def _serve(given: IO[bytes], answers: IO[bytes]) -> None:
    """Fill in templates until the other side ends."""
    mapping, problems = read_mapping(json.loads(given.readline())["mapping"])
    assert mapping is not None, problems
    _bound()
    _answer(answers, {})
    for line in given:
        asked = json.loads(line)
        try:
            _answer(answers, {"document": asdict(mapping.document(asked["kind"], asked["row"]))})
        except RowProblem as problem:
            _answer(answers, {"problem": str(problem)})


def _answer(answers: IO[bytes], message: Mapping[str, object]) -> None:
    answers.write(json.dumps(message).encode() + b"\n")
    answers.flush()


def _bound() -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)
