"""Writes the generated part of the Python client before hatchling packs or links it."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ClientHook(BuildHookInterface[Any]):
    """Hatchling calls it for wheels, editable ones included, and for source distributions."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the files. The folder of the project is not on the path of an isolated build."""
        sys.path.insert(0, self.root)
        importlib.import_module("tools.clients.python").write()
