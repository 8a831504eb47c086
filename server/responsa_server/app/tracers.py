"""Other people's tracers: libraries that send a user's questions elsewhere when the environment has certain variables."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Final

# LangChain's and LangSmith's client reads these whenever it likes; any one of them may switch sending on.
PREFIXES: Final = ("LANGCHAIN_", "LANGSMITH_")


def drop_foreign_tracers(environ: MutableMapping[str, str]) -> Sequence[str]:
    """Remove the tracers' variables, and return the names of those that were there. To be called before a graph is built."""
    dropped = sorted(name for name in environ if name.upper().startswith(PREFIXES))
    for name in dropped:
        del environ[name]
    return dropped
