"""Reads the regular expressions that stand beside the code, in files of this package. Pure functions."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any


def read_patterns(name: str, **parts: str) -> Mapping[str, Sequence[re.Pattern[str]]]:
    """The expressions of each key of `NAME.toml`, of which case does not count. <PART> in one of them stands for a row of the
    file's table `parts`, or of `parts`."""
    table: dict[str, Any] = tomllib.loads((files("responsa_server.text") / f"{name}.toml").read_text("utf-8"))
    known: dict[str, str] = {**table.pop("parts"), **parts}

    def insert(text: str) -> str:
        return re.sub("<([A-Z]+)>", lambda match: insert(known[match[1]]), text)

    return {
        key: [
            re.compile(insert(form), re.IGNORECASE) for form in ([forms] if isinstance(forms, str) else forms)
        ]
        for key, forms in table.items()
    }
