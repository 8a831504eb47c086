"""The paths and defaults that the server and the command line share."""

from __future__ import annotations

from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parents[2]
DEFAULT_HOME: Final = CHECKOUT / ".responsa"
"""The data folder."""
DEFAULT_PORT: Final = 8080
"""The port of the page and of every API."""
OLDEST_POSTGRES: Final = 18
"""The oldest major version of PostgreSQL that Responsa works with."""
SHIPPED_AGENTS: Final = Path(__file__).parent / "agents" / "shipped"
"""The agents that come with Responsa, each in a folder named by its id."""


def generated(name: str) -> Path:
    """The path of a file of the folder `generated`: in the checkout or, if the server was installed from a wheel, in the package."""
    checkout = CHECKOUT / "generated" / name
    return checkout if checkout.is_file() else Path(__file__).parent / name


def alert_rules() -> Path:
    """The folder of Prometheus' rules: in the checkout or, if the server was installed from a wheel, in the package."""
    checkout = CHECKOUT / "deploy" / "prometheus" / "rules"
    return checkout if checkout.is_dir() else Path(__file__).parent / "alert_rules"
