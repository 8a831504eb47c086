"""How the programs of tools are confined: the launcher that starts them, and the user under whom it runs each."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Final

LAUNCHER: Final = Path(__file__).with_name("launcher.py")
# Each identity has another user, so that two programs can neither signal nor trace each other. The range is above those that systems and containers use.
_FIRST_USER: Final = 1_700_000_000
_USERS: Final = 100_000_000


def user_of(identity: str) -> int:
    """The user id of a program if the server runs as root."""
    return _FIRST_USER + zlib.crc32(identity.encode()) % _USERS
