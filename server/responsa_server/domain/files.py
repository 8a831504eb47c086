"""Files that no folder's loading takes for documents."""

from __future__ import annotations

import re
from typing import Final

_LEFT_BEHIND: Final = re.compile(r"~\$.*|\.~lock\..*#|\.DS_Store|Thumbs\.db|desktop\.ini", re.IGNORECASE)


def is_left_behind(name: str) -> bool:
    """Whether a file with this name is Word's or LibreOffice's mark of an open file, or what a file manager keeps for itself."""
    return _LEFT_BEHIND.fullmatch(name) is not None
