"""Puts the page, the documentation and its vectors into the server's wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LOCKS = ("requirements-model.lock", "requirements-embedded.lock", "requirements-ocr.lock")
"""What `responsa setup` installs."""


class ServerHook(BuildHookInterface[Any]):
    """Hatchling calls it for wheels, editable ones included, and for source distributions."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files that a wheel has in addition to the packages."""
        if self.target_name != "wheel" or version == "editable":
            return
        root = Path(self.root)
        page = root / "clients" / "web" / "dist"
        if not page.is_dir():
            self.app.display_warning(
                "The page has not been built, so the wheel has none: `tools/wheel` builds both."
            )
        vectors = root / "server" / "responsa_server" / "ingest" / "shipped.vectors"
        sources = [root / folder for folder in ("server", "clients/python", "generated/python")]
        computed = subprocess.run(
            [sys.executable, root / "tools" / "docs_vectors.py"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sources))},
            check=False,
        )
        if computed.returncode != 0:
            self.app.display_warning(
                "The vectors of the documentation were not computed, so each new instance computes them."
            )
        packed = {
            **({vectors: "ingest/shipped.vectors"} if vectors.is_file() else {}),
            **{file: f"page/{file.relative_to(page)}" for file in page.rglob("*") if file.is_file()},
            **{file: f"docs/{file.name}" for file in (root / "docs").glob("*.md")},
            **{root / "locks" / lock: f"locks/{lock}" for lock in LOCKS},
        }
        build_data["force_include"] |= {
            str(file): f"responsa_server/{place}" for file, place in packed.items()
        }
