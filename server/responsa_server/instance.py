"""Where an instance is by default: the facts that the server's settings and those of the command line share."""

from __future__ import annotations

from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parents[2]
DEFAULT_HOME: Final = CHECKOUT / ".responsa"
"""The data folder."""
DEFAULT_PORT: Final = 8080
"""The port of the page and of every API."""
