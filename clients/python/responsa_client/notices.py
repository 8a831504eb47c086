"""What a client says while it waits; events of a turn are not notices."""

from __future__ import annotations

import math
from dataclasses import dataclass

from responsa_client.errors import ResponsaError


@dataclass(frozen=True, slots=True)
class Waiting:
    """The place of a queued turn: the number of turns before it in its conversation, or 0 if it no longer waits."""

    place: int


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The stream ended before the turn did, or a call failed, and the client tries again after `seconds`.

    cause: the error; None if the server asked the client to reconnect. failing_seconds: the time since the first error,
    if no try has succeeded since. left_seconds: the time after which the client gives up; math.inf if it does not.
    """

    seconds: float
    cause: ResponsaError | None
    failing_seconds: float = 0.0
    left_seconds: float = math.inf


Notice = Waiting | Reconnecting
"""The kinds of notices."""
