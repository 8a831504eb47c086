"""Writes the generated part of the client before hatchling packs or links it, and packs the contract's own code with it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ClientHook(BuildHookInterface[Any]):
    """Hatchling calls it for wheels, editable ones included, and for source distributions."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the files. A source distribution has them already."""
        here = Path(self.root)
        checkout = here.parents[1]
        included: dict[str, str] = build_data["force_include"]
        if (here / "responsa").is_dir():
            included[str(here / "responsa")] = "responsa"
            return
        # The folder of the checkout is not on the path of an isolated build.
        sys.path.insert(0, str(checkout))
        importlib.import_module("tools.clients.python").write()
        if version == "editable":
            return
        included[str(checkout / "generated" / "python" / "responsa")] = "responsa"
        if importlib.util.find_spec("betterproto2_compiler") is None:
            self.app.display_warning(
                "betterproto2-compiler is not installed, so the client has no dataclasses of betterproto2."
            )
            return
        dataclasses = tempfile.mkdtemp()
        importlib.import_module("tools.clients.betterproto").write(Path(dataclasses))
        included[dataclasses] = "responsa_client/betterproto"
