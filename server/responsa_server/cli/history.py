"""The questions of earlier talks, in a private file of this user.

Questions are personal data. Therefore only the file's owner can read the file, and the oldest questions are removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from responsa_server.private_files import write_private

KEPT = 1000
"""The number of questions that the file keeps at least, if there were that many. The file holds at most twice this number."""
_MAX_CHARACTERS = 16 * 1024
"""The length of the longest question that is kept. The server refuses longer questions."""
_MAX_BYTES = 4 * (2 * KEPT + 1) * _MAX_CHARACTERS


def history_file() -> Path:
    """Return the path of the file. Raises OSError if this user has no home folder."""
    return state_folder() / "chat-history"


def state_folder() -> Path:
    """Return this program's folder in the folder for state of the XDG Base Directory Specification.

    Raises:
        OSError: this user has no home folder.
    """
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    try:
        folder = given if given.is_absolute() else Path.home() / ".local" / "state"
    except RuntimeError as error:
        raise OSError(str(error)) from None
    return folder / "responsa"


def read(path: Path) -> Sequence[str]:
    """Return the questions, oldest first. If the file does not exist, there are no questions. Broken lines are skipped.

    Raises:
        OSError: the file cannot be read, is not a regular file, or belongs to another user.
    """
    try:
        with open(_opened(path, os.O_RDONLY), encoding="utf-8", errors="replace") as file:
            lines = file.read(_MAX_BYTES).splitlines()
    except FileNotFoundError:
        return []
    questions = [question for line in lines if (question := _question(line))]
    if len(questions) > 2 * KEPT:
        questions = questions[-KEPT:]
        with contextlib.suppress(OSError):
            write_private(path, "".join(map(_line, questions)))
    return questions


def add(path: Path, question: str) -> None:
    """Append a question, and create the file if it does not exist. A question that the server would refuse for its length is
    not kept.

    Raises:
        OSError: the file cannot be written, is not a regular file, or belongs to another user.
    """
    if len(question) > _MAX_CHARACTERS:
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(_opened(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "a", encoding="utf-8") as file:
        file.write(_line(question))


def _opened(path: Path, flags: int) -> int:
    """Open the file, and make it private if it is not."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{path} is not a file")
        if found.st_uid != os.geteuid():
            raise OSError(f"{path} belongs to another user")
        if stat.S_IMODE(found.st_mode) & 0o077:
            os.fchmod(descriptor, 0o600)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _line(question: str) -> str:
    # JSON keeps a question of several lines on one line.
    line = json.dumps(question, ensure_ascii=False) + "\n"
    return line.encode(errors="replace").decode()


def _question(line: str) -> str:
    # The parser could fail on thousands of nested lists, which are not questions.
    if not line.startswith('"'):
        return ""
    with contextlib.suppress(ValueError):
        found: object = json.loads(line)
        if isinstance(found, str):
            return found
    return ""
