"""Writes the generated part of the Python client before hatchling packs or links it, and puts the page and the documentation into the wheel."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LOCKS = ("requirements-model.lock", "requirements-embedded.lock", "requirements-ocr.lock")
"""What `responsa setup` installs."""


class ClientHook(BuildHookInterface[Any]):
    """Hatchling calls it for wheels, editable ones included, and for source distributions."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the files. The folder of the project is not on the path of an isolated build."""
        sys.path.insert(0, self.root)
        importlib.import_module("tools.clients.python").write()
        if self.target_name != "wheel" or version == "editable":
            return
        root = Path(self.root)
        page = root / "clients" / "web" / "dist"
        if not page.is_dir():
            self.app.display_warning(
                "The page has not been built, so the wheel has none: `make wheel` builds both."
            )
        packed = {
            **{file: f"page/{file.relative_to(page)}" for file in page.rglob("*") if file.is_file()},
            **{file: f"docs/{file.name}" for file in (root / "docs").glob("*.md")},
            **{root / lock: f"locks/{lock}" for lock in LOCKS},
        }
        build_data["force_include"] |= {
            str(file): f"responsa_server/{place}" for file, place in packed.items()
        }
