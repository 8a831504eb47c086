"""The extras of a distribution, such as `etl`: whether they are installed, and what installs them."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from typing import Final

OWN: Final = "responsa"
"""The distribution that this package belongs to."""
_NAME: Final = re.compile(r"[\w.-]+")
_EXTRA: Final = re.compile(r"extra == ['\"]([\w.-]+)['\"]")


@cache
def installed(extra: str, distribution: str = OWN) -> bool:
    """Whether all packages of an extra are installed. A distribution that does not have the extra needs nothing for it."""
    try:
        return all(metadata.distribution(name) for name in _requirements(extra, distribution))
    except metadata.PackageNotFoundError:
        return False


def remedy(extra: str, distribution: str = OWN) -> str:
    """The command that installs an extra."""
    return f"pip install '{distribution}[{extra}]'"


def has_musl() -> bool:
    """Whether this Python's C library is musl, for which there are no packages of PostgreSQL, Envoy and the embedding model."""
    return "musl" in str(sysconfig.get_config_var("SOABI"))


def _requirements(extra: str, distribution: str) -> Iterator[str]:
    for requirement in metadata.requires(distribution) or ():
        name, marker = _NAME.match(requirement), _EXTRA.search(requirement)
        if name is not None and marker is not None and marker[1] == extra:
            yield name[0]
