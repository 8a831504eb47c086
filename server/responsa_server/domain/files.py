"""Names for files that callers download."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_MAX_BYTES: Final = 200
# Path separators and the characters that Windows does not allow in names.
_RESERVED: Final = re.compile(r'[\\/:*?"<>|]+')
# Control characters, and invisible ones: among them are those that turn the direction of text, so that "gpj.exe" is shown for "exe.jpg".
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def file_name(source_key: str) -> str:
    """A name for the file of a document: the last part of its source key, in at most 200 bytes of UTF-8.

    Characters that file systems reserve, control characters and invisible characters are left out. Leading dots are left out too, so that no file is hidden. A
    long name keeps its suffix. The name is never empty.
    """
    last = re.split(r"[\\/]", source_key.rstrip("\\/"))[-1]
    shown = "".join(one for one in last if unicodedata.category(one) not in _HIDDEN)
    name = _RESERVED.sub("_", shown).strip().lstrip(".").rstrip(". ") or "document"
    stem, dot, suffix = name.rpartition(".")
    if not dot or len(suffix) > 10:
        stem, dot, suffix = name, "", ""
    tail = (dot + suffix).encode()
    return (stem.encode()[: _MAX_BYTES - len(tail)] + tail).decode(errors="ignore")
