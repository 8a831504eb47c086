"""What is wrong with an agent's files: where, what, and what was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

AGENT_FILE: Final = "agent.toml"

SECRET: Final = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{12,}|rsp_[A-Za-z0-9_-]{8,}|AIza[A-Za-z0-9_-]{12,}|xox[bp]-[A-Za-z0-9-]{8,})"
)
"""What has the shape of a key or token."""
_BEGINNINGS: Final = ("sk-", "rsp_", "AIza", "xox")

Key = tuple[str | int, ...]
"""A place in a file of tables: names, and numbers from 0 in arrays."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. file: relative to the agent's folder, or as `shared/…`; line and column from 1, None where there is none (yet); key: in `agent.toml`, or
    in a prompt's front matter; suggestion: what was probably meant, "" for no idea. What looks like a secret is not told in any of them.
    """

    file: str
    message: str
    key: Key = ()
    suggestion: str = ""
    line: int | None = None
    column: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", SECRET.sub("[secret]", self.message))

    @property
    def path(self) -> str:
        """The key as people write it, e.g. `graph.edges[3].when`."""
        return shown(self.key)

    def __str__(self) -> str:
        place = ":".join(str(one) for one in (self.file, self.line, self.column) if one is not None)
        hint = f" Did you mean “{self.suggestion}”?" if self.suggestion else ""
        return f"{place}: {f'{self.path}: ' if self.key else ''}{self.message}.{hint}"


def may_hold(text: str) -> bool:
    """Whether SECRET need be looked for in a text at all: how each begins is found many times faster than where."""
    return any(one in text for one in _BEGINNINGS)


def shown(key: Key) -> str:
    """A key as people write it."""
    text = ""
    for one in key:
        text += f"[{one}]" if isinstance(one, int) else f".{one}" if text else one
    return SECRET.sub("[secret]", text)


def meant(given: object, allowed: Iterable[str]) -> str:
    """What is most like the given text among what is allowed, "" for nothing like it."""
    found = difflib.get_close_matches(str(given), list(allowed), n=1, cutoff=0.6)
    return found[0] if found else ""


def listed(names: Iterable[object]) -> str:
    """Names in a sentence."""
    return ", ".join(f"“{one}”" for one in names)
